from odoo import api, models


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    def _update_reference_fields_generic(
        self, referenced_model, src_records, dst_record, additional_update_records=None
    ):
        """Let the documents about merged contacts be about the one that remains."""
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
        # Core takes over whatever is set somewhere; the flag is about one address.
        if dst_partner.email_bounced and dst_partner.email_normalized not in bounced:
            dst_partner._clear_bounce()
        return result
