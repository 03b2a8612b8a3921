from odoo import api, fields, models

MODULE = "sendgrid_tracking"


class BaseModuleUninstall(models.TransientModel):
    """The dialog before an uninstallation tells what becomes of the mail servers, and of the webhook at SendGrid."""

    _inherit = "base.module.uninstall"

    sendgrid_consequences = fields.Text(compute="_compute_sendgrid_consequences", groups="base.group_system")

    @api.depends("module_ids")
    def _compute_sendgrid_consequences(self):
        for wizard in self:
            lines = []
            if MODULE in wizard._get_modules().mapped("name"):
                lines = self.env["sendgrid.account"]._tell_uninstall()
            wizard.sendgrid_consequences = "\n".join(f"• {line}" for line in lines) or False
