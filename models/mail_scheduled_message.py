import json

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .mail_thread_switch import SWITCHES
from .sendgrid_reminder import LONGEST


class MailScheduledMessage(models.Model):
    """A message that waits keeps *Track opens and links* and *Remind me* among core's parameters for posting it."""

    _name = "mail.scheduled.message"
    _inherit = ["mail.scheduled.message", "sendgrid.switch.mixin"]

    sendgrid_is_tracked = fields.Boolean(
        compute="_compute_sendgrid_is_tracked", inverse="_inverse_sendgrid_is_tracked", readonly=False
    )

    sendgrid_reminder_days = fields.Integer(
        string="Days to Wait for an Answer",
        compute="_compute_sendgrid_reminder_days",
        inverse="_inverse_sendgrid_reminder_days",
        readonly=False,
        help="The author gets an activity if there is no answer in so many days. 0: he is not reminded.",
    )

    @api.depends("notification_parameters")
    def _compute_sendgrid_is_tracked(self):
        for message in self:
            message.sendgrid_is_tracked = not message._get_parameters().get("sendgrid_is_unmeasured")

    def _inverse_sendgrid_is_tracked(self):
        for message in self:
            parameters = message._get_parameters()
            if message.sendgrid_is_tracked:
                parameters.pop("sendgrid_is_unmeasured", None)
            else:
                parameters["sendgrid_is_unmeasured"] = True
            message.notification_parameters = json.dumps(parameters)

    @api.depends("notification_parameters")
    def _compute_sendgrid_reminder_days(self):
        for message in self:
            message.sendgrid_reminder_days = message._get_parameters().get("sendgrid_reminder_days")

    def _inverse_sendgrid_reminder_days(self):
        for message in self:
            # The message itself refuses this too, but that would be when it is due: then core throws it away unsent.
            if not 0 <= message.sendgrid_reminder_days <= LONGEST:
                raise ValidationError(self.env._("A reminder cannot come later. Longest wait, in days: %s.", LONGEST))
            parameters = message._get_parameters()
            parameters["sendgrid_reminder_days"] = message.sendgrid_reminder_days
            message.notification_parameters = json.dumps(parameters)

    def _get_parameters(self):
        return json.loads(self.notification_parameters or "{}")

    @api.model
    def _notification_parameters_whitelist(self):
        return super()._notification_parameters_whitelist() | SWITCHES
