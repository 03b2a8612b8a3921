from odoo import models

# The fields that decide who may read a message besides its author.
DECIDES = {"model", "res_id", "message_type", "is_internal", "subtype_id"}


class MailMessage(models.Model):
    """If a message moves or leaves the chatter, its documents follow, so that nobody sees more of them than of it."""

    _inherit = "mail.message"

    def write(self, vals):
        result = super().write(vals)
        if DECIDES & vals.keys():
            self._move_sendgrid_emails()
        return result

    def _move_sendgrid_emails(self):
        """Let documents follow their messages to another record or out of the chatter.

        They never follow a message into the chatter: nobody has decided to show an e-mail that was not shown before.
        """
        emails = self.env["sendgrid.email"].sudo()
        for email in emails.search([("mail_message_id", "in", self.ids), ("is_in_chatter", "=", True)]):
            message = email.mail_message_id
            if not email._stands_in_chatter(message):
                email.is_in_chatter = False
            elif (email.model, email.res_id) != (message.model, message.res_id):
                email.write({"model": message.model, "res_id": message.res_id})
