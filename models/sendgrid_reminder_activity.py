from markupsafe import Markup

from odoo import api, fields, models

from .company_language import in_company_language
from .durations import describe_time
from .lists import join_links

TODO = "mail.mail_activity_data_todo"


class SendgridReminder(models.Model):
    """The activity of a reminder: on the record that the e-mail is about, for whoever wants to be reminded."""

    _inherit = "sendgrid.reminder"

    @api.model
    def _create_activities(self, reminders):
        """Create the activities of reminders, all in one go. Where nothing is left to do, reminders are over.

        The recipients of one message who have not answered share an activity. Each failure has its own, so that it does
        not matter in how many POSTs SendGrid reports them.
        """
        emails = reminders.email_id
        subjects = emails._get_subjects()
        ended = self._get_ended(emails, subjects)
        going = reminders.filtered(lambda one: one.email_id not in ended)

        def get_key(one):
            email = one.email_id
            about = subjects.get(email) or email.partner_id
            return one.user_id, about, one.id if one.state == "failed" else email.message_id or email.odoo_id

        wanted = [
            (group, values)
            for group in going.grouped(get_key).values()
            if (values := group._prepare_activity(subjects.get(group[:1].email_id)))
        ]
        todo = self.env.ref(TODO, raise_if_not_found=False)
        type_id = todo.id if todo else False
        # Nobody is told by a mail of an activity that he has asked for.
        activities = self.env["mail.activity"].with_context(mail_activity_quick_update=True)
        created = activities.create([{**values, "activity_type_id": type_id} for _group, values in wanted])
        for (group, _values), activity in zip(wanted, created, strict=True):
            group.write({"activity_id": activity.id})
        reminders.filtered(lambda one: not one.activity_id).write({"state": "over"})

    @api.model
    def _get_ended(self, emails, subjects):
        """Return the documents that nobody has to follow up: their record was archived, or won or lost since.

        :param subjects: {document: the record that it is about}
        """
        ended = emails.browse()
        for email, record in subjects.items():
            is_archived = "active" in record._fields and not record.active
            is_closed = (
                record._name == "crm.lead"
                and record.won_status != "pending"
                and bool(record.date_closed)
                and record.date_closed >= email.sent_date
            )
            if is_archived or is_closed:
                ended |= email
        return ended

    @in_company_language
    def _prepare_activity(self, subject):
        """Return the values of the activity of reminders of one message, None if nobody could see it.

        :param subject: the record that the e-mail is about, None if it gets no activity: then the contact has it, or
            else the user alone. Its readers may not know of the e-mail, so that they are told nothing of it.
        """
        email, user = self[:1].email_id, self[:1].user_id
        record = subject or email.partner_id.filtered("active")
        if record:
            may_see = user.active and not user.share and record.with_user(user).has_access("read")
            if not may_see:
                [user] = email._choose_responsible([(email, record, email.partner_id)])
        elif not user.active or user.share:
            return None
        words = self.with_context(lang=user.lang or self.env.lang, tz=user.tz)
        failed = self[:1].state == "failed"
        due = fields.Datetime.now() if failed else self[:1].date
        return {
            "res_model_id": self.env["ir.model"]._get_id(record._name) if record else False,
            "res_id": record.id if record else False,
            "automated": True,
            "user_id": user.id,
            "date_deadline": fields.Datetime.context_timestamp(words, due).date(),
            **(words._describe_failed(subject) if failed else words._describe_unanswered(subject)),
        }

    def _describe_unanswered(self, subject):
        email = self[:1].email_id
        if not subject:
            return {
                "summary": self.env._("An e-mail was not answered yet."),
                "note": self._write_anonymously(
                    email,
                    self.env._("There is no answer yet to an e-mail of %s.", describe_time(self.env, email.sent_date)),
                ),
            }
        words = {"subject": email.display_name, "date": describe_time(self.env, email.sent_date)}
        names = join_links(self.env, [self._link(one, one.contact_name or one.recipient) for one in self.email_id])
        if len(self) == 1:
            note = self.env._("%(name)s has not answered the e-mail “%(subject)s” of %(date)s.", name=names, **words)
        else:
            note = self.env._(
                "Nobody has answered the e-mail “%(subject)s” of %(date)s: %(names)s.", names=names, **words
            )
        return {
            "summary": self.env._("“%s” was not answered yet.", email.display_name),
            "note": Markup("<p>%s</p>") % note,
        }

    def _describe_failed(self, subject):
        email = self.email_id
        if not subject:
            return {
                "summary": self.env._("An e-mail did not arrive."),
                "note": self._write_anonymously(
                    email,
                    self.env._(
                        "An e-mail of %s did not arrive, so that no answer can come.",
                        describe_time(self.env, email.sent_date),
                    ),
                ),
            }
        note = self.env._(
            "The e-mail “%(subject)s” of %(date)s to %(name)s did not arrive, so that no answer can come.",
            subject=email.display_name,
            date=describe_time(self.env, email.sent_date),
            name=self._link(email, email.contact_name or email.recipient),
        )
        reason = email.status_explanation or ""
        return {
            "summary": self.env._("“%s” did not arrive.", email.display_name),
            "note": Markup("<p>%s</p><p>%s</p>") % (note, reason) if reason else Markup("<p>%s</p>") % note,
        }

    @api.model
    def _link(self, email, text):
        return Markup('<a href="/odoo/sendgrid-documents/%s">%s</a>') % (email.id, text)

    @api.model
    def _write_anonymously(self, email, sentence):
        """Return a note that says of an e-mail no more than its time, with a link to it."""
        return Markup("<p>%s</p><p>%s</p>") % (sentence, self._link(email, self.env._("Open the e-mail")))
