from odoo import models


class SendgridEmail(models.Model):
    """An e-mail that gets another author leaves the feed of its former one: only who wrote it is told of it."""

    _inherit = "sendgrid.email"

    def write(self, vals):
        if "author_id" not in vals:
            return super().write(vals)
        moved = self.filtered(lambda email: email.author_id.id != vals["author_id"])
        result = super().write(vals)
        if moved:
            Interaction = self.env["sendgrid.interaction"].sudo()
            Interaction._delete_kinds({id_: set(Interaction._get_all_kinds()) for id_ in moved.ids})
            Interaction._announce()
        return result
