from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..tools.sending.pixels import remove_pixels
from .sendgrid_reminder import LONGEST

# The fields that decide who may read a message besides its author.
DECIDES = {"model", "res_id", "message_type", "is_internal", "subtype_id"}


class MailMessage(models.Model):
    """If a message moves or leaves the chatter, its documents follow, so that nobody sees more of them than of it.

    Messages have no pixels of SendGrid's: else whoever looks at the chatter would count as a recipient. Nor have they
    the link by which a mail's recipient decides how he is measured: else whoever follows it would decide for him.
    """

    _inherit = "mail.message"

    # It has no default, so that an upgrade does not rewrite the table.
    sendgrid_is_unmeasured = fields.Boolean(
        string="Opens and Links Not Tracked",
        copy=False,
        groups="base.group_user",
        help="Whoever wrote the message switched off that its opens and clicks are measured.",
    )

    sendgrid_reminder_days = fields.Integer(
        string="Remind After Days",
        copy=False,
        groups="base.group_user",
        help="Whoever wrote the message wants to be reminded if there is no answer in so many days. 0: not at all.",
    )

    @api.constrains("sendgrid_reminder_days")
    def _check_sendgrid_reminder_days(self):
        if any(not 0 <= message.sendgrid_reminder_days <= LONGEST for message in self.sudo()):
            raise ValidationError(self.env._("A reminder cannot come later. Longest wait, in days: %s.", LONGEST))

    @api.model_create_multi
    def create(self, vals_list):
        return super().create([self._without_traces(vals) for vals in vals_list])

    def write(self, vals):
        result = super().write(self._without_traces(vals))
        if DECIDES & vals.keys() and not self.env.context.get("sendgrid_is_merging"):
            self._move_sendgrid_emails()
        return result

    @api.model
    def _without_traces(self, vals):
        """Return a message's values without what is a recipient's own in an answer or a mail that somebody pastes."""
        body = vals.get("body")
        if not isinstance(body, str):
            return vals
        clean = self.env["sendgrid.notice"]._withdraw(type(body)(remove_pixels(body)))
        return vals if clean == body else {**vals, "body": clean}

    def _move_sendgrid_emails(self):
        """Let documents follow their messages to another record or out of the chatter.

        They never follow a message into the chatter: nobody has decided to show an e-mail that was not shown before.
        """
        emails = self.env["sendgrid.email"].sudo()
        emails = emails.search([("mail_message_id", "in", self.ids), ("is_in_chatter", "=", True)])
        staying = emails.filtered(lambda email: email._stands_in_chatter(email.mail_message_id))
        (emails - staying).is_in_chatter = False
        (emails - staying)._notify_changed()
        # One write for each record, because core moves all messages of a thread at once.
        by_record = staying.grouped(lambda email: (email.mail_message_id.model, email.mail_message_id.res_id))
        for (model, res_id), moved in by_record.items():
            moved.filtered(lambda email, to=(model, res_id): (email.model, email.res_id) != to).write(
                {"model": model, "res_id": res_id}
            )
