from collections import defaultdict

from odoo import api, models
from odoo.tools import SQL, plaintext2html

from .company_language import in_company_language


class SendgridEmail(models.Model):
    """What the ready-made automation rules make of an e-mail: an activity on the right record, for the right person.

    The rules are data that core does not update, so their code only calls these methods.
    """

    _inherit = "sendgrid.email"

    def _schedule_follow_up(self, activity_type, summary):
        """Have somebody look after each of these documents: an activity on the record that the e-mail is about.

        If that record cannot have activities, is gone, or its readers may not know of the e-mail, the contact gets it.
        Documents about the same record for the same person become one activity.

        :param str activity_type: external id of a `mail.activity.type`
        :param str summary: what to do. Everybody who may see the record can read it, so it must tell nothing of the
            e-mail
        """
        subjects = self._get_subjects()
        about = [(email, subjects.get(email) or email.partner_id, email.partner_id) for email in self]
        about = [(email, record, partner) for email, record, partner in about if record]
        responsible = self._choose_responsible(about)
        wanted = dict.fromkeys(
            ((record, user) for (_e, record, _p), user in zip(about, responsible, strict=True)), False
        )
        self._create_follow_ups(wanted, activity_type, summary)

    def _schedule_unanswered_follow_up(self, activity_type, summary):
        """Do the same for those of the documents that can be followed up, and of which nobody is reminded anyway.

        An answer to another copy of the message counts too, see `sendgrid.reminder`. The parameters are those of
        `_schedule_follow_up`.
        """
        Reminder = self.env["sendgrid.reminder"]
        Reminder.flush_model()
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT email.id FROM sendgrid_email email
                    WHERE email.id = ANY(%s) AND NOT %s
                      AND NOT EXISTS (SELECT FROM sendgrid_reminder reminder
                                       WHERE reminder.email_id = email.id AND reminder.state <> 'over')
                 ORDER BY email.id""",
                list(self.ids),
                Reminder._get_answered(),
            )
        )
        unanswered = self.browse(id_ for (id_,) in rows).filtered("can_follow_up")
        unanswered._schedule_follow_up(activity_type, summary)

    @api.model
    def _schedule_bounce_follow_up(self, partners, activity_type, summary):
        """Do the same for contacts whose address bounces, on what the latest e-mail that was not delivered is about.

        Without such an e-mail the contact gets the activity: SendGrid may have told of the bounce by its list only.

        :param partners: `res.partner` records
        """
        domain = [("partner_id", "in", partners.ids), ("status", "in", ("bounced", "dropped"))]
        found = self._read_group(domain, ["partner_id"], ["id:max"])
        # Take the documents from one recordset, so that a field that is read of one is prefetched for all.
        emails = {email.id: email for email in self.browse(id_ for _partner, id_ in found)}
        latest = {partner: emails[id_] for partner, id_ in found}
        subjects = self.union(*latest.values())._get_subjects()
        about = [(latest.get(partner, self.browse()), partner) for partner in partners]
        about = [(email, subjects.get(email) or partner, partner) for email, partner in about]
        wanted = {}
        for (_email, record, partner), user in zip(about, self._choose_responsible(about), strict=True):
            # The server's words are plain text, and often name an address in angle brackets.
            reason = partner.email_bounce_reason
            wanted.setdefault((record, user), reason and plaintext2html(reason))
        self._create_follow_ups(wanted, activity_type, summary)

    def _get_subjects(self):
        """Return the records that the documents are about: {document: record}, without those that get no activity.

        Everybody who may see the record reads its activities, and with a bounce the server's words, which name the
        address. So an e-mail that does not stand in the chatter, or a copy of which others do not know, is left out.
        """
        emails = self.filtered(
            lambda e: e.is_in_chatter and e.recipient_role != "bcc" and e.res_id and self._has_activities(e.model)
        )
        subjects = {}
        for model, about in emails.grouped("model").items():
            # Take the records from one recordset, so that a field that is read of one is prefetched for all.
            existing = {record.id: record for record in self.env[model].browse(set(about.mapped("res_id"))).exists()}
            subjects |= {e: existing[e.res_id] for e in about if e.res_id in existing}
        return subjects

    @api.model
    def _has_activities(self, model):
        """Tell whether the records of a model have activities of their own: users show those of their contact."""
        return model in self.env and isinstance(self.env[model], self.env.registry["mail.activity.mixin"])

    @api.model
    def _choose_responsible(self, about):
        """Return who looks after records: an e-mail's author if he is a colleague, else whoever is responsible.

        Only a user who may see the record gets the activity.

        :param about: list of (document, which may be empty, the record that gets the activity, the contact)
        :return: list of `res.users` records in the same order, empty ones where there is nobody
        """
        candidates, asked = [], defaultdict(set)
        for email, record, partner in about:
            users = [*email.author_id.user_ids]
            if record._fields.get("user_id") and record._fields["user_id"].comodel_name == "res.users":
                users.append(record.user_id)
            users += [partner.user_id, partner.commercial_partner_id.user_id, record.create_uid]
            candidates.append([user for user in users if user.active and not user.share])
            for user in candidates[-1]:
                asked[user, record._name].add(record.id)
        # Ask for many records at once: there are few users and many records.
        readable = {
            (user, name): set(self.env[name].browse(ids).with_user(user)._filtered_access("read").ids)
            for (user, name), ids in asked.items()
        }
        return [
            next((user for user in users if record.id in readable[user, record._name]), self.env["res.users"])
            for (_email, record, _partner), users in zip(about, candidates, strict=True)
        ]

    @api.model
    @in_company_language
    def _create_follow_ups(self, wanted, activity_type, summary):
        """Create the activities, in one go and without a mail about each, since there may be many.

        :param wanted: {(record, user): note or False}
        """
        languages = {user.lang or self.env.lang for _record, user in wanted}
        summaries = {lang: self.with_context(lang=lang)._translate_summary(summary) for lang in languages}
        type_id = self.env.ref(activity_type).id
        # An activity keeps the name of its record. Core asks each record by itself, and then knows these names already.
        for model in {record._name for record, _user in wanted}:
            records = self.env[model].browse(record.id for record, _user in wanted if record._name == model)
            records.mapped("display_name")
        self.env["mail.activity"].with_context(mail_activity_quick_update=True).create(
            [
                {
                    "res_model_id": self.env["ir.model"]._get_id(record._name),
                    "res_id": record.id,
                    "activity_type_id": type_id,
                    "automated": True,
                    "summary": summaries[user.lang or self.env.lang],
                    "note": note,
                    "user_id": user.id,
                }
                for (record, user), note in wanted.items()
            ]
        )

    @api.model
    def _translate_summary(self, summary):
        """Return the summary of a ready-made rule in the user's language; what somebody has written himself stays.

        Core translates no text that stands in the code of an action. So these are repeated here.
        """
        return {
            "Find another e-mail address": self.env._("Find another e-mail address"),
            "Clicked a link in an e-mail": self.env._("Clicked a link in an e-mail"),
            "Not answered after 3 days": self.env._("Not answered after 3 days"),
            "Clicked a link in an e-mail, and did not answer": self.env._(
                "Clicked a link in an e-mail, and did not answer"
            ),
        }.get(summary, summary)
