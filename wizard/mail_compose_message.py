from odoo import api, fields, models


class MailComposeMessage(models.TransientModel):
    _inherit = "mail.compose.message"

    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        help="Names the recipients that the message will not reach, and those who do not want it.",
    )

    @api.depends("partner_ids", "composition_mode")
    def _compute_sendgrid_warning(self):
        for composer in self:
            partners = composer.partner_ids if composer.composition_mode == "comment" else composer.partner_ids.browse()
            composer.sendgrid_warning = "\n".join(filter(None, partners.mapped("sendgrid_warning")))
