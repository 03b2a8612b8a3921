from odoo import fields, models

from ..tools.api import tracking_settings


class SendgridAccount(models.Model):
    """The switches for open and click tracking of the whole account: as last read from SendGrid."""

    _inherit = "sendgrid.account"

    open_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        help="SendGrid's setting for the whole account: an invisible picture in each e-mail tells that it was opened.",
    )
    click_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        help="SendGrid's setting for the whole account: links lead over SendGrid, which tells that they were followed.",
    )
    tracking_settings_date = fields.Datetime(
        readonly=True, copy=False, help="When the two settings were read from SendGrid."
    )

    def action_read_tracking_settings(self):
        """Ask SendGrid whether it tracks opens and clicks."""
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            self._read_tracking_settings()

    def action_switch_open_tracking(self):
        """Switch the account's open tracking at SendGrid."""
        self._switch_tracking("open", not self.open_tracking)

    def action_switch_click_tracking(self):
        """Switch the account's click tracking at SendGrid."""
        self._switch_tracking("click", not self.click_tracking)

    def _switch_tracking(self, name, enabled):
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            tracking_settings.switch(self._get_client(), name, enabled)
            self._read_tracking_settings()

    def _read_tracking_settings(self):
        """Note what SendGrid's tracking settings are.

        :raise client.ApiError: if SendGrid did not answer, or refused
        """
        enabled = tracking_settings.read(self._get_client())
        self.write(
            {
                "open_tracking": enabled.get("open", False),
                "click_tracking": enabled.get("click", False),
                "tracking_settings_date": fields.Datetime.now(),
            }
        )
