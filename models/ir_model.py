from odoo import api, models

# How core asks, for each bounce, which models have addresses (see `_routing_handle_bounce` of `mail.thread`).
WITH_ADDRESSES = ["&", ("is_mail_blacklist", "=", True), ("model", "!=", "mail.thread.blacklist")]


class IrModel(models.Model):
    """Within a drain, core looks for bounced addresses in those models only that have some of them."""

    _inherit = "ir.model"

    @api.model
    def search(self, domain, offset=0, limit=None, order=None):
        ids = self.env.context.get("sendgrid_bounce_models")
        if ids is not None and domain == WITH_ADDRESSES:
            return self.browse(ids)
        return super().search(domain, offset=offset, limit=limit, order=order)

    @api.model
    def _get_ids_with_addresses(self, addresses):
        """Return the ids of the models that have a record with one of the addresses: a query a model, not a bounce."""
        return [
            model.id
            for model in self.sudo().search(WITH_ADDRESSES)
            if model.model in self.env
            and self.env[model.model].sudo().search_count([("email_normalized", "in", addresses)], limit=1)
        ]
