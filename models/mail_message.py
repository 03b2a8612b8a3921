from odoo import models

# What decides who may read a message, beside its author.
DECIDES = {"model", "res_id", "message_type", "is_internal", "subtype_id"}


class MailMessage(models.Model):
    _inherit = "mail.message"

    def write(self, vals):
        result = super().write(vals)
        if DECIDES & vals.keys():
            self._move_sendgrid_emails()
        return result

    def _move_sendgrid_emails(self):
        """Have the documents of messages follow them to another record or out of the chatter, but never into it:
        nobody has decided to show what was not shown."""
        emails = self.env["sendgrid.email"].sudo()
        for email in emails.search([("mail_message_id", "in", self.ids), ("is_in_chatter", "=", True)]):
            message = email.mail_message_id
            if not email._stands_in_chatter(message):
                email.is_in_chatter = False
            elif (email.model, email.res_id) != (message.model, message.res_id):
                email.write({"model": message.model, "res_id": message.res_id})
