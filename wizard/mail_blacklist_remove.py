from odoo import models


class MailBlacklistRemove(models.TransientModel):
    _inherit = "mail.blacklist.remove"

    def action_unblacklist_apply(self):
        """Take the address off the blacklist, and offer to clear it at SendGrid as well."""
        entry = super().action_unblacklist_apply()
        return self.env["sendgrid.suppression.clear"]._get_action(self.email) or entry
