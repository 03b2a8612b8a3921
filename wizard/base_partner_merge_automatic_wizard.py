from odoo import api, models


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    def _update_reference_fields_generic(
        self, referenced_model, src_records, dst_record, additional_update_records=None
    ):
        """Have documents about the merged contacts point to the contact that remains."""
        return super()._update_reference_fields_generic(
            referenced_model,
            src_records,
            dst_record,
            [
                *(additional_update_records or []),
                {"model": "sendgrid.email", "field_model": "model", "field_id": "res_id"},
            ],
        )

    @api.model
    def _update_values(self, src_partners, dst_partner):
        bounced = (src_partners | dst_partner).filtered("email_bounced").mapped("email_normalized")
        result = super()._update_values(src_partners, dst_partner)
        # Core copies each value that one of the contacts has. But "bounced" is true of an address, not of a contact: it
        # goes if the contact that remains has an address that did not bounce.
        if dst_partner.email_bounced and dst_partner.email_normalized not in bounced:
            dst_partner._clear_bounce()
        return result
