from odoo import models


class IrModuleModule(models.Model):
    """Modules are installed, upgraded and uninstalled although events come in all the time."""

    _inherit = "ir.module.module"

    def _button_immediate_function(self, function):
        with self.env["sendgrid.drain"]._resting():
            return super()._button_immediate_function(function)
