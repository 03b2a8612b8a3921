from collections import Counter

from odoo import api, fields, models
from odoo.tools import SQL, format_datetime

from ..tools.times import to_datetime
from . import bulk

# A contact's page shows no more documents than this, because all their ids go to the browser. The page says so, and
# its button leads to all documents.
SHOWN_DOCUMENTS = 1000


class ResPartner(models.Model):
    """A contact shows its documents, whether its address bounced, and why an e-mail would not reach it."""

    _inherit = "res.partner"

    # The index serves two searches: for the contacts that a mail went to, and for those whose address bounced.
    email_normalized = fields.Char(index="btree_not_null")
    sendgrid_email_ids = fields.Many2many(
        "sendgrid.email",
        string="Documents",
        compute="_compute_sendgrid_email_ids",
        groups="base.group_user",
        help="The newest 1,000 e-mails sent to this contact through SendGrid; for a company, also those to its people.",
    )
    sendgrid_email_count = fields.Integer(
        string="Number of Documents", compute="_compute_sendgrid_email_count", groups="base.group_user"
    )
    email_bounced = fields.Boolean(
        string="Address Bounced",
        groups="base.group_user",
        readonly=True,
        copy=False,
        help="The e-mail address does not exist or refuses all mail.",
    )
    email_bounce_reason = fields.Text(string="Bounce Reason", groups="base.group_user", readonly=True, copy=False)
    email_bounce_date = fields.Datetime(string="Bounced On", groups="base.group_user", readonly=True, copy=False)

    email_valid_date = fields.Datetime(
        string="Address Confirmed On",
        groups="base.group_user",
        readonly=True,
        copy=False,
        help="When somebody last said that the address is valid again. Older bounces no longer count.",
    )

    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="Why an e-mail will not reach the contact, or why the contact does not want it.",
    )

    @api.depends_context("uid")
    def _compute_sendgrid_email_ids(self):
        for partner in self:
            partner.sendgrid_email_ids = self.env["sendgrid.email"].search(
                partner._get_sendgrid_email_domain(), limit=SHOWN_DOCUMENTS
            )

    @api.depends_context("uid")
    def _compute_sendgrid_email_count(self):
        # Count as the list does, whose domain has "child_of": add to a company the documents of its people, archived
        # ones included.
        family = self.sudo().with_context(active_test=False).search_fetch([("id", "child_of", self.ids)], ["parent_id"])
        counts = Counter()
        for partner, count in self.env["sendgrid.email"]._read_group(
            [("partner_id", "in", family.ids)], ["partner_id"], ["__count"]
        ):
            ancestor = partner.sudo()
            while ancestor:
                counts[ancestor.id] += count
                ancestor = ancestor.parent_id
        for partner in self:
            partner.sendgrid_email_count = counts[partner.id]

    @api.depends("email_normalized", "email_bounced", "email_bounce_reason", "email_bounce_date", "is_blacklisted")
    @api.depends_context("uid", "lang", "tz")
    def _compute_sendgrid_warning(self):
        refusals = self.filtered("is_blacklisted")._get_refusals()
        emails = self.env["sendgrid.email"].browse(email.id for email, *_rest in refusals.values())
        visible = emails._filtered_access("read")
        for partner in self:
            lines = []
            if partner.email_bounced:
                lines.append(
                    self.env._(
                        "%(email)s bounced on %(date)s: %(reason)s",
                        email=partner.email,
                        date=format_datetime(self.env, partner.email_bounce_date),
                        reason=partner.email_bounce_reason or self.env._("no reason given"),
                    )
                )
            if refusal := partner.is_blacklisted and refusals.get(partner.email_normalized):
                email, is_spam, timestamp = refusal
                # A user who may not see the e-mail must not learn its subject here.
                subject = email.sudo().subject if email in visible else ""
                lines.append(
                    self.env._(
                        "%(email)s %(what)s on %(date)s %(subject)s",
                        email=partner.email,
                        what=self.env._("reported spam") if is_spam else self.env._("unsubscribed"),
                        date=format_datetime(self.env, timestamp),
                        subject=f"(“{subject}”)" if subject else "",
                    ).strip()
                )
            partner.sendgrid_warning = "\n".join(lines)

    def _get_refusals(self):
        """Return the last complaint or unsubscription of each of the contacts' addresses.

        :return: {normalized address: (`sendgrid.email` record, whether it was a complaint, time in UTC)}
        """
        if not self:
            return {}
        self.env["sendgrid.event"].flush_model()
        rows = self.env.execute_query(
            SQL(
                """SELECT DISTINCT ON (email.recipient) email.recipient, email.id,
                          event.event = 'spamreport' OR event.reason ILIKE 'spam reporting%%', event.timestamp
                     FROM sendgrid_email email
                     JOIN sendgrid_event event ON event.email_id = email.id
                    WHERE email.recipient = ANY(%s)
                      AND (event.event IN ('spamreport', 'unsubscribe', 'group_unsubscribe')
                           OR (event.event = 'dropped'
                               AND (event.reason ILIKE 'spam reporting%%' OR event.reason ILIKE 'unsubscribed%%')))
                 ORDER BY email.recipient, event.timestamp DESC, event.id""",
                [address for address in self.mapped("email_normalized") if address],
            )
        )
        Email = self.env["sendgrid.email"]
        return {recipient: (Email.browse(id_), bool(is_spam), moment) for recipient, id_, is_spam, moment in rows}

    def write(self, vals):
        judged = self.filtered(lambda p: p.email_bounced or p.email_valid_date) if "email" in vals else self.browse()
        addresses = {partner: partner.email_normalized for partner in judged}
        result = super().write(vals)
        # The old address bounced or was confirmed, not the new one. Leave SendGrid's lists alone, because another
        # contact may have the old address.
        if changed := judged.filtered(lambda partner: partner.email_normalized != addresses[partner]):
            changed._clear_bounce()
            changed.email_valid_date = False
        return result

    def action_email_is_valid(self):
        """Take back the bounce, because the user knows that the address works again.

        :return: the action of the dialog that offers to take the address off SendGrid's lists as well
        :raise AccessError: if the user may not write the contact
        """
        self.check_access("write")
        for partner in self.filtered("email_bounced"):
            partner._message_reset_bounce(partner.email_normalized)
            partner.message_post(body=self.env._("%s is valid again.", partner.email))
        self._clear_bounce()
        self.email_valid_date = fields.Datetime.now()
        return self.env["sendgrid.suppression.clear"]._get_action(self[:1].email_normalized)

    def _flag_bounced(self, bounces):
        """Flag contacts whose address bounced. Automation rules that watch the flag run.

        :param bounces: {contact id: `tools.events.fold.Evidence`}, with an entry for each of these contacts
        """
        if not self:
            return
        # Write in SQL, because reason and date differ from contact to contact.
        names = ["email_bounced", "email_bounce_reason", "email_bounce_date"]
        columns = [*names, "write_uid", "write_date"]
        self.flush_recordset(columns)
        values = {
            id_: dict(
                zip(
                    columns,
                    (True, bounce.reason, to_datetime(bounce.timestamp), self.env.uid, self.env.cr.now()),
                    strict=True,
                )
            )
            for id_, bounce in bounces.items()
        }
        self.env["base.automation"]._run_on_write(self, names, lambda: bulk.update(self, values))

    def _message_receive_bounce(self, email, partner):
        # Only the rules that the counter may concern have to look: see `base.automation`.
        counting = self.with_context(sendgrid_is_counting_bounce=True)
        return super(ResPartner, counting)._message_receive_bounce(email, partner)

    def _clear_bounce(self):
        """Take the flag, the reason and the date of the bounce away. Core's own count of bounces stays."""
        self.write({"email_bounced": False, "email_bounce_reason": False, "email_bounce_date": False})

    def _get_sendgrid_email_domain(self):
        """Return the domain of the documents of the contacts and of their people."""
        return [("partner_id", "child_of", self.ids)]

    def action_view_sendgrid_emails(self):
        """Open the list of the contact's documents, newest first."""
        self.ensure_one()
        return self.env["sendgrid.email"]._get_action_about(self, self._get_sendgrid_email_domain())
