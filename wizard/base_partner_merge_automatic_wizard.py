from odoo import models


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
