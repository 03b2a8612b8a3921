from odoo import models

from ..models.company_language import in_company_language


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

    def _update_values(self, src_partners, dst_partner):
        """Give the remaining contact the counter of bounces of the address that it has then.

        Core would give it any contact's counter, and the flag, which is that of the address, would disagree. What is
        known of addresses stays with them: see `sendgrid.address`. But who declined to be measured at one address, and
        is the same person, declines at the remaining one.
        """
        counted = [(partner.email_normalized, partner.message_bounce) for partner in src_partners | dst_partner]
        result = super()._update_values(src_partners, dst_partner)
        dst_partner.message_bounce = max(
            (count for email, count in counted if email == dst_partner.email_normalized), default=0
        )
        dst_partner._keep_declined(src_partners._get_emails(), self._name_merge())
        return result

    @in_company_language
    def _name_merge(self):
        return self.env._("merged contacts")
