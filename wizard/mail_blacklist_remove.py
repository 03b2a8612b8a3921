from odoo import models


class MailBlacklistRemove(models.TransientModel):
    _inherit = "mail.blacklist.remove"

    def action_unblacklist_apply(self):
        """Take the address off the blacklist, then offer to take it off SendGrid's lists as well.

        :return: the action of that dialog, or core's result where there is nothing to offer
        """
        entry = super().action_unblacklist_apply()
        return self.env["sendgrid.suppression.clear"]._get_action(self.email) or entry
