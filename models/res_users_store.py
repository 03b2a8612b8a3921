from odoo import models


class ResUsers(models.Model):
    """The chatter of an employee knows whether the switch *Track opens and links* can matter."""

    _inherit = "res.users"

    def _init_store_data(self, store):
        result = super()._init_store_data(store)
        if self.env.user._is_internal():
            store.add_global_values(hasSendgridAccount=self.env["sendgrid.account"]._is_used())
        return result
