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

    def write(self, vals):
        """Take an e-mail that gets another author out of its former author's feed."""
        if "author_id" not in vals:
            return super().write(vals)
        moved = self.filtered(lambda email: email.author_id.id != vals["author_id"])
        result = super().write(vals)
        Interaction = self.env["sendgrid.interaction"].sudo()
        Interaction._delete_kinds({id_: set(Interaction._get_all_kinds()) for id_ in moved.ids})
        Interaction._announce()
        return result

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
