from odoo import fields, models
from odoo.tools import SQL, email_normalize
from odoo.tools.mail import email_normalize_all

from ..tools.sending.outbox import Outbox


class MailMail(models.Model):
    """A mail that leaves through a SendGrid account gets documents for its recipients.

    `_send` opens an outbox (`tools.sending.outbox.Outbox`), `ir.mail_server` notes in it the copies that SendGrid
    accepted, and `_postprocess_sent_message` records their documents.
    """

    _inherit = "mail.mail"

    sendgrid_email_ids = fields.One2many("sendgrid.email", "mail_id", string="Tracked E-mails", readonly=True)
    sendgrid_event_ids = fields.Many2many(
        "sendgrid.event", string="Tracking", compute="_compute_sendgrid_event_ids", groups="base.group_system"
    )
    sendgrid_is_named_by_message = fields.Boolean(
        string="Copies Named by the Message",
        readonly=True,
        help="Version 19.0.1.0.0 may have tried to send the mail. Its copies keep the names that this version gave "
        "them, so that they have one document if the mail is sent again.",
    )

    def _compute_sendgrid_event_ids(self):
        for mail in self:
            mail.sendgrid_event_ids = mail.sendgrid_email_ids.event_ids

    def _send(
        self,
        auto_commit=False,
        raise_exception=False,
        smtp_session=None,
        alias_domain_id=False,
        mail_server=False,
        **kwargs,
    ):
        account = mail_server.sudo().sendgrid_account_id if mail_server else self.env["sendgrid.account"]
        outbox = None
        if account:
            outbox = Outbox(account.id, self.env["sendgrid.email"]._get_odoo_db(), commits_each=auto_commit)
            # Look colleagues up for all mails at once, because core then prepares the mails one by one.
            self._find_colleagues(outbox, self._get_recipient_addresses())
        if outbox or self.env.context.get("sendgrid_outbox"):
            self = self.with_context(sendgrid_outbox=outbox)
        try:
            return super()._send(
                auto_commit=auto_commit,
                raise_exception=raise_exception,
                smtp_session=smtp_session,
                alias_domain_id=alias_domain_id,
                mail_server=mail_server,
                **kwargs,
            )
        except Exception:
            # If the connection is lost, core raises at once. The copies that were accepted before have left, so write
            # their documents.
            if outbox and (copies := outbox.close()):
                Email = self.env["sendgrid.email"]
                copies = Email._keep_contents(outbox, copies, can_query=False)
                Email._write_lost(self.env.registry, Email._prepare_bare_rows(account.id, copies, outbox.about))
            raise

    def _prepare_outgoing_list(self, mail_server=False, doc_to_followers=None):
        email_list = super()._prepare_outgoing_list(mail_server=mail_server, doc_to_followers=doc_to_followers)
        if outbox := self.env.context.get("sendgrid_outbox"):
            addresses = {address for email in email_list for address in email["email_to_normalized"]}
            self._find_colleagues(outbox, addresses)
            outbox.open(
                email_normalize(self.email_from) or "",
                about=self.env["sendgrid.email"]._prepare_about(self),
                mail_id=None if self.sendgrid_is_named_by_message else self._origin.id,
                contacts=[
                    (email["email_to_normalized"], email["partner_id"].id if email["partner_id"] else None)
                    for email in email_list
                ],
                mail_message_id=self.mail_message_id.id,
                mailing_id=(self.mailing_id.id or None) if "mailing_id" in self._fields else None,
                opens_account=self.env["sendgrid.email"]._opens_account(self),
            )
        return email_list

    def _get_recipient_addresses(self):
        """Return the set of normalized addresses that core will send the mails to. Other modules may add more later."""
        partners = self.sudo().recipient_ids
        partners.fetch(["email"])
        texts = [*self.mapped("email_to"), *self.mapped("email_cc"), *partners.mapped("email")]
        return {address for text in texts for address in email_normalize_all(text)}

    def _find_colleagues(self, outbox, addresses):
        """Tell the outbox which addresses are internal users', since mails to colleagues are not tracked.

        :param outbox: `tools.sending.outbox.Outbox`; addresses that it knows are not looked up again
        :param addresses: set of normalized addresses
        """
        if not (addresses := addresses - outbox.known):
            return
        self.env["res.partner"].flush_model(["email_normalized"])
        self.env["res.users"].flush_model(["partner_id", "active", "share"])
        rows = self.env.execute_query(
            SQL(
                """SELECT partner.email_normalized
                     FROM res_partner partner
                     JOIN res_users users ON users.partner_id = partner.id AND users.active AND NOT users.share
                    WHERE partner.email_normalized = ANY(%s)""",
                list(addresses),
            )
        )
        outbox.learn(addresses, {address for (address,) in rows})

    def _postprocess_sent_message(self, success_pids, success_emails, failure_reason=False, failure_type=None):
        # Record the documents before core deletes the mail, and in the transaction that marks it as sent.
        if (outbox := self.env.context.get("sendgrid_outbox")) and (copies := outbox.close()):
            Email = self.env["sendgrid.email"].sudo()
            Email._record_sent(
                self,
                outbox.account_id,
                Email._keep_contents(outbox, copies),
                success_pids,
                is_kept=bool(failure_type),
                is_final=outbox.commits_each,
            )
        return super()._postprocess_sent_message(
            success_pids, success_emails, failure_reason=failure_reason, failure_type=failure_type
        )
