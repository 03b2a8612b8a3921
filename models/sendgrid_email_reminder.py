from odoo import api, fields, models
from odoo.exceptions import UserError

from .sendgrid_consequence import FAILURES


class SendgridEmail(models.Model):
    """Whoever sees an e-mail can be reminded if no answer comes: see `sendgrid.reminder`."""

    _inherit = "sendgrid.email"

    reminder_days = fields.Integer(
        readonly=True, help="After so many days without an answer the author wanted to be reminded when he wrote it."
    )
    reminder_date = fields.Datetime(
        compute="_compute_reminder_date", help="When the user is reminded of the e-mail if there is no answer by then."
    )
    can_follow_up = fields.Boolean(
        compute="_compute_can_follow_up", help="The e-mail left, nobody refused it, and it was not answered yet."
    )

    @api.depends_context("uid")
    def _compute_reminder_date(self):
        # A user may read his own reminders only.
        waiting = self.env["sendgrid.reminder"].search(
            [("email_id", "in", self.ids), ("user_id", "=", self.env.uid), ("state", "=", "waiting")]
        )
        dates = {reminder.email_id.id: reminder.date for reminder in waiting}
        for email in self:
            email.reminder_date = dates.get(email.id)

    @api.depends("status", "facts", "is_unsubscribed_by_machine", "reply_date", "sent_date")
    def _compute_can_follow_up(self):
        for email in self:
            email.can_follow_up = (
                bool(email.sent_date)
                and not email.reply_date
                and not email._is_unwanted()
                # A machine's unsubscription hides a failure from the status.
                and FAILURES.keys().isdisjoint(email.sudo().facts or ())
            )

    def _is_unwanted(self):
        """Tell whether the recipient complained, or unsubscribed through the e-mail: he wants no further one.

        No other status is stronger than these two. What a machine or a colleague asked for is nobody's wish.
        """
        return self.status == "spam" or (self.status == "unsubscribed" and not self.is_unsubscribed_by_machine)

    def _check_wanted(self):
        """Check that the recipient can be asked once more.

        :raise UserError: if he complained or unsubscribed
        """
        if self._is_unwanted():
            raise UserError(
                self.env._(
                    "The recipient reported this e-mail as spam or unsubscribed, so it is neither followed up nor sent "
                    "again."
                )
            )

    def action_follow_up(self):
        """Open the dialog that asks after how many days without an answer the user wants to be reminded."""
        self.ensure_one()
        self.check_access("read")
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Follow Up"),
            "res_model": "sendgrid.follow.up",
            "views": [[False, "form"]],
            "target": "new",
            "context": {"default_email_id": self.id},
        }

    def action_no_reminder(self):
        """Do not remind the user of the e-mails."""
        self.check_access("read")
        self.env["sendgrid.reminder"].sudo().search(
            [("email_id", "in", self.ids), ("user_id", "=", self.env.uid), ("state", "=", "waiting")]
        ).write({"state": "over"})
        self.invalidate_recordset(["reminder_date"])
