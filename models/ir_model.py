from odoo import api, models

# With this domain core searches, for each bounce, the models whose records have addresses; see
# `_routing_handle_bounce` of `mail.thread`.
WITH_ADDRESSES = ["&", ("is_mail_blacklist", "=", True), ("model", "!=", "mail.thread.blacklist")]


class IrModel(models.Model):
    """While a drain handles bounces, core looks for the addresses only in models that have some of them.

    For each bounce, core searches the models whose records have addresses (contacts, leads, mailing contacts, …), and
    then searches the bounced address in each of these models. A drain may have thousands of bounces, so
    `sendgrid.consequence` finds out once for all of them which models have any of the addresses
    (`_get_ids_with_addresses`). It hands their ids on in the context key ``sendgrid_bounce_models``.
    """

    _inherit = "ir.model"

    @api.model
    def search(self, domain, offset=0, limit=None, order=None):
        """Answer core's search for models with addresses from the context key ``sendgrid_bounce_models``.

        Core has no hook between this search and the searches in the models, so its search is recognized by its domain.
        Only a search with the context key and exactly this domain is answered here: all others are core's.

        If core changes its domain, it is not recognized any more. Core's own query then runs for each bounce, as
        without this override: bounces are handled as before, only slower.
        """
        ids = self.env.context.get("sendgrid_bounce_models")
        if ids is not None and domain == WITH_ADDRESSES:
            return self.browse(ids)
        return super().search(domain, offset=offset, limit=limit, order=order)

    @api.model
    def _get_ids_with_addresses(self, addresses):
        """Return the ids of the models (`ir.model`) that have a record with one of the addresses.

        It makes one query for each model, however many addresses there are.

        :param addresses: list of normalized addresses
        """
        return [
            model.id
            for model in self.sudo().search(WITH_ADDRESSES)
            if model.model in self.env
            and self.env[model.model].sudo().search_count([("email_normalized", "in", addresses)], limit=1)
        ]
