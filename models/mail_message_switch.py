from odoo import api, models

from .sendgrid_switch_mixin import read_mark


class MailMessage(models.Model):
    """A message whose text was rendered from a template that is not tracked is not tracked either."""

    _inherit = "mail.message"

    @api.model_create_multi
    def create(self, vals_list):
        return super().create([read_mark(vals, "body") for vals in vals_list])
