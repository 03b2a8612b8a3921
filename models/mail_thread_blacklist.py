from odoo import api, fields, models
from odoo.tools import SQL, format_datetime


class MailThreadBlacklist(models.AbstractModel):
    """A record with an address (contact, lead, mailing contact, …) shows the facts about each of its addresses.

    The facts stand in `sendgrid.address`. Only contacts store a part of them, see `res_partner`.
    """

    _inherit = "mail.thread.blacklist"

    email_bounced = fields.Boolean(
        string="Address Bounced",
        compute="_compute_email_bounced",
        compute_sudo=True,
        groups="base.group_user",
        help="An e-mail address does not exist or refuses all mail.",
    )
    email_bounce_reason = fields.Text(
        string="Bounce Reason", compute="_compute_email_bounced", compute_sudo=True, groups="base.group_user"
    )
    email_bounce_date = fields.Datetime(
        string="Bounced On", compute="_compute_email_bounced", compute_sudo=True, groups="base.group_user"
    )
    email_valid_date = fields.Datetime(
        string="Address Confirmed On",
        compute="_compute_email_valid_date",
        compute_sudo=True,
        groups="base.group_user",
        help="When somebody last said that the address is valid again. Older bounces no longer count.",
    )
    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="Why an e-mail will not reach the contact, or why the contact does not want it.",
    )
    is_held_by_sendgrid = fields.Boolean(
        compute="_compute_sendgrid_warning",
        groups="base.group_user",
        help="SendGrid holds back all e-mails to an address.",
    )

    def _get_addresses(self):
        """Return the normalized addresses of the records, as {record: list of addresses}."""
        split = self.env["sendgrid.address"]._split
        return {record: split(record[record._primary_email]) for record in self}

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_bounced(self):
        for record, values in self._prepare_bounce_vals().items():
            record.update(values)

    def _prepare_bounce_vals(self):
        """Return the values of the fields about bounces, as {record: dict}. Of several bounces the latest is told."""
        addresses = self._get_addresses()
        bounced = self.env["sendgrid.address"]._get_bounced(email for emails in addresses.values() for email in emails)
        values = {}
        for record, emails in addresses.items():
            last = max(
                (bounced[email] for email in emails if email in bounced), key=lambda a: a.bounce_date, default=None
            )
            values[record] = {
                "email_bounced": bool(last),
                "email_bounce_reason": (last and last.bounce_reason) or False,
                "email_bounce_date": last.bounce_date if last else False,
            }
        return values

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_valid_date(self):
        addresses = self._get_addresses()
        known = self.env["sendgrid.address"].search(
            [("email", "in", [email for emails in addresses.values() for email in emails]), ("valid_date", "!=", False)]
        )
        dates = {address.email: address.valid_date for address in known}
        for record, emails in addresses.items():
            record.email_valid_date = max((dates[email] for email in emails if email in dates), default=False)

    # ------------------------------------------------------------
    # WARNING
    # ------------------------------------------------------------

    @api.depends(lambda self: [self._primary_email, "is_blacklisted", "email_bounced"])
    @api.depends_context("uid", "lang", "tz")
    def _compute_sendgrid_warning(self):
        addresses = self._get_addresses()
        emails = {email for emails in addresses.values() for email in emails}
        Address = self.env["sendgrid.address"].sudo()
        bounced = Address._get_bounced(emails)
        held = {a.email: a for a in Address.search([("email", "in", list(emails))]) if a.held_list}
        refusals = self.filtered("is_blacklisted")._get_refusals()
        documents = self.env["sendgrid.email"].browse(email.id for email, *_rest in refusals.values())
        visible = documents._filtered_access("read")
        for record, own in addresses.items():
            lines = [record._describe_bounce(bounced[email]) for email in own if email in bounced]
            lines += [
                record._describe_held(held[email])
                for email in own
                # The line about a bounce or a wish says it already.
                if email in held and email not in bounced and email not in refusals
            ]
            if refusal := record.is_blacklisted and refusals.get(record.email_normalized):
                lines.append(record._describe_refusal(*refusal, visible))
            record.sendgrid_warning = "\n".join(lines)
            record.is_held_by_sendgrid = any(email in held for email in own)

    def _describe_bounce(self, address):
        return self.env._(
            "%(email)s bounced on %(date)s: %(reason)s",
            email=address.email,
            date=format_datetime(self.env, address.bounce_date),
            reason=address.bounce_reason or self.env._("no reason given"),
        )

    def _describe_held(self, address):
        lists = dict(self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env))
        return self.env._(
            "SendGrid holds back e-mails to %(email)s since %(date)s (list “%(list)s”): %(reason)s",
            email=address.email,
            date=format_datetime(self.env, address.held_since),
            list=lists[address.held_list],
            reason=address.held_reason or self.env._("no reason given"),
        )

    def _describe_refusal(self, email, is_spam, timestamp, visible):
        # A user who may not see the e-mail must not learn its subject here.
        subject = email.sudo().subject if email in visible else ""
        return self.env._(
            "%(email)s %(what)s on %(date)s %(subject)s",
            email=self.email_normalized,
            what=self.env._("reported spam") if is_spam else self.env._("unsubscribed"),
            date=format_datetime(self.env, timestamp),
            subject=f"(“{subject}”)" if subject else "",
        ).strip()

    def _get_refusals(self):
        """Return the last complaint or unsubscription of each of the records' addresses.

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

    # ------------------------------------------------------------
    # BUTTON
    # ------------------------------------------------------------

    def action_email_is_valid(self):
        """Take back the bounces of the records' addresses, because the user knows that they work again.

        :return: the action of the dialog that offers to take the address off SendGrid's lists as well
        :raise AccessError: if the user may not write the records
        """
        self.check_access("write")
        addresses = self._get_addresses()
        Address = self.env["sendgrid.address"]
        bounced = Address._get_bounced(email for emails in addresses.values() for email in emails)
        Address.sudo()._hold(email for emails in addresses.values() for email in emails)._confirm()
        for record, emails in addresses.items():
            for email in emails:
                if email in bounced:
                    record.message_post(body=self.env._("%s is valid again.", email))
        self.invalidate_recordset(["sendgrid_warning", "email_valid_date"])
        first = next((email for emails in addresses.values() for email in emails), False)
        return self.env["sendgrid.suppression.clear"]._get_action(first)
