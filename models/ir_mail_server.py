from odoo import api, fields, models
from odoo.tools import email_normalize

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..tools import links, smtpapi

# SendGrid's SMTP relay, global and EU (Twilio docs: Integrating with the SMTP API).
SENDGRID_HOSTS = ("smtp.sendgrid.net", "smtp.eu.sendgrid.net")


class IrMailServer(models.Model):
    _inherit = "ir.mail_server"

    sendgrid_account_id = fields.Many2one(
        "sendgrid.account",
        string="SendGrid Account",
        ondelete="restrict",
        index="btree_not_null",
        help="Set it if the server is SendGrid's: what is sent through it is tracked.",
    )

    sendgrid_connection = fields.Selection(
        [("created", "Made by connecting"), ("adopted", "Taken over by connecting")],
        readonly=True,
        copy=False,
        help="What connecting the account did with the server, and disconnecting undoes. Empty: the account was chosen "
        "by hand.",
    )

    _sendgrid_created_uniq = models.UniqueIndex(
        "(sendgrid_account_id) WHERE sendgrid_connection = 'created'",
        "Connecting makes one mail server for an account.",
    )

    @api.onchange("smtp_host")
    def _onchange_smtp_host_sendgrid(self):
        if not self.sendgrid_account_id and (self.smtp_host or "").strip().lower() in SENDGRID_HOSTS:
            self.sendgrid_account_id = self.env["sendgrid.account"].search([], limit=1)

    def _build_email__(self, email_from, email_to, subject, body, *args, **kwargs):  # noqa: PLW3201
        """Keep secret links out of SendGrid's click tracking.

        Here, because mass mailing adds its links after whoever depends on `mail` alone has seen the body.
        """
        if not self.env.context.get("sendgrid_outbox") or not body or kwargs.get("subtype") != "html":
            return super()._build_email__(email_from, email_to, subject, body, *args, **kwargs)
        body, has_secrets = links.protect(body)
        message = super()._build_email__(email_from, email_to, subject, body, *args, **kwargs)
        if has_secrets:
            self._set_smtpapi(message, smtpapi.no_plain_text_tracking())
        return message

    def _prepare_email_message__(self, message, smtp_session):  # noqa: PLW3201
        """Name the copy for SendGrid, now that its recipients are final."""
        smtp_from, smtp_to_list, message = super()._prepare_email_message__(message, smtp_session)
        if outbox := self.env.context.get("sendgrid_outbox"):
            addresses = [email_normalize(address, strict=False) or address for address in smtp_to_list]
            copy = outbox.stamp(message["Message-Id"], addresses)
            # Without a document to find there is nothing to name: its events are known as ours, and as nobody's.
            self._set_smtpapi(message, smtpapi.unique_args(outbox.odoo_db, copy.tracked and copy.odoo_id))
        return smtp_from, smtp_to_list, message

    def send_email(self, message, *args, **kwargs):
        result = super().send_email(message, *args, **kwargs)
        if outbox := self.env.context.get("sendgrid_outbox"):
            outbox.accept()
        return result

    def _set_smtpapi(self, message, settings):
        try:
            header = smtpapi.merge(message.get_all(smtpapi.HEADER, []), settings)
        except smtpapi.SmtpapiError as error:
            # SendGrid would take the message and then drop it: better to fail now, with the reason in sight.
            raise MailDeliveryException(self.env._("SendGrid would drop this message"), str(error)) from error
        del message[smtpapi.HEADER]
        message[smtpapi.HEADER] = header
