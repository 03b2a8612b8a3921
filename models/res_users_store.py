from odoo import models


class ResUsers(models.Model):
    """What core's first load of a page tells an employee: whether the switch *Track opens and links* and the feed can
    matter, and how many interactions with his e-mails he has not seen.
    """

    _inherit = "res.users"

    def _init_store_data(self, store):
        result = super()._init_store_data(store)
        if self.env.user._is_internal():
            unseen = self.env["sendgrid.interaction"]._count_unseen(self.env.user.ids)
            store.add_global_values(
                hasSendgridAccount=self.env["sendgrid.account"]._is_used(), sendgridUnseen=unseen[self.env.uid]
            )
        return result
