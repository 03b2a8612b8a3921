from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.sendgrid_reminder import LONGEST


class SendgridFollowUp(models.TransientModel):
    """The dialog of a document's *Follow Up*: in how many days without an answer is the user reminded?"""

    _name = "sendgrid.follow.up"
    _description = "Follow Up an E-mail"

    email_id = fields.Many2one("sendgrid.email", required=True, readonly=True, help="The e-mail.")
    days = fields.Integer(default=3, help="In so many days the user is reminded, if there is no answer by then.")

    @api.constrains("email_id")
    def _check_email_id(self):
        """Nobody makes a dialog for an e-mail that he may not see: its name, which is the subject, would stand there.

        :raise AccessError: if the user may not see it
        """
        # sudo(False): core checks constraints as superuser
        self.sudo(False).email_id.check_access("read")

    def action_remind(self):
        """Remind the user in so many days from now, if there is no answer by then. It replaces what he said before.

        :raise UserError: if no answer can come any more, or the number is none of days
        """
        self.ensure_one()
        self.email_id.check_access("read")  # he may have lost the access since
        if not 1 <= self.days <= LONGEST:
            raise UserError(self.env._("Please choose a number of days from 1 to %s.", LONGEST))
        if self.email_id.reply_date:
            raise UserError(self.env._("The e-mail was answered meanwhile."))
        self.email_id._check_wanted()
        if not self.email_id.can_follow_up:
            raise UserError(self.env._("The e-mail did not arrive, so that no answer can come. Send it again instead."))
        self.env["sendgrid.reminder"].sudo()._remind_of(
            self.email_id, self.env.user, fields.Datetime.now() + timedelta(days=self.days)
        )
        self.email_id.invalidate_recordset(["reminder_date"])
        return {"type": "ir.actions.act_window_close"}
