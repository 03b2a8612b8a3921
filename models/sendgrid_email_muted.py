from odoo import api, fields, models
from odoo.exceptions import AccessError


class SendgridEmail(models.Model):
    """The author of an e-mail can mute it: then he is told of nothing that happens to it."""

    _inherit = "sendgrid.email"

    is_muted = fields.Boolean(
        string="Muted", readonly=True, help="Its author is not told of what happens to it. His feed shows it as seen."
    )
    can_mute = fields.Boolean(compute="_compute_can_mute", help="Only the author can mute an e-mail: only he is told.")

    @api.depends("author_id")
    @api.depends_context("uid")
    def _compute_can_mute(self):
        for email in self:
            email.can_mute = email.author_id == self.env.user.partner_id

    def action_mute(self):
        """Tell the author nothing more of what happens to the e-mails.

        :raise AccessError: if the user is not their author
        """
        self._set_muted(True)

    def action_unmute(self):
        """Tell the author again what happens to the e-mails.

        :raise AccessError: if the user is not their author
        """
        self._set_muted(False)

    def _set_muted(self, is_muted):
        self.check_access("read")
        if not all(email.can_mute for email in self):
            raise AccessError(self.env._("Only the author of an e-mail can mute it."))
        self.sudo().is_muted = is_muted
