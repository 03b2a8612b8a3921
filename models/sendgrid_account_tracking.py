from odoo import fields, models

from ..tools.api import tracking_settings


class SendgridAccount(models.Model):
    """SendGrid's settings for open and click tracking of the whole account, as Odoo last read them."""

    _inherit = "sendgrid.account"

    open_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        tracking=True,
        help="SendGrid's setting for the whole account: an invisible picture in each e-mail shows that it was opened.",
    )
    click_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        tracking=True,
        help="SendGrid's setting for the whole account: links lead to SendGrid first, which notes the click.",
    )
    tracking_settings_date = fields.Datetime(
        readonly=True, copy=False, help="When the two settings were read from SendGrid."
    )

    def action_read_tracking_settings(self):
        """Ask SendGrid whether it tracks opens and clicks, and store the answer."""
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            self._read_tracking_settings()

    def action_switch_open_tracking(self):
        """Switch open tracking of the whole account on or off at SendGrid."""
        self._switch_tracking("open", not self.open_tracking)

    def action_switch_click_tracking(self):
        """Switch click tracking of the whole account on or off at SendGrid."""
        self._switch_tracking("click", not self.click_tracking)

    def _tracks_nothing(self):
        """Tell whether SendGrid surely tracks neither opens nor clicks, because its settings were read."""
        return bool(self.tracking_settings_date) and not (self.open_tracking or self.click_tracking)

    def _switch_tracking(self, name, enabled):
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            tracking_settings.switch(self._get_client(), name, enabled)
            self._read_tracking_settings()

    def _read_tracking_settings(self):
        """Read SendGrid's tracking settings and store them.

        :raise tools.api.client.ApiError: if SendGrid did not answer, or refused
        :raise UserError: if the account has no API key
        """
        client = self._get_client()
        enabled = tracking_settings.read(client)
        # What the answer leaves out need not be off: it is asked for by itself.
        for name in {"open", "click"} - enabled.keys():
            enabled[name] = tracking_settings.is_on(client, name)
        self.write(
            {
                "open_tracking": enabled["open"],
                "click_tracking": enabled["click"],
                "tracking_settings_date": fields.Datetime.now(),
            }
        )
