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

    def _action_send_mail_comment(self, res_ids):
        # Core keeps nowhere which template a mail was made from, so the mails take it from the context.
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        return super()._action_send_mail_comment(res_ids)

    def _action_send_mail_mass_mail(self, res_ids, auto_commit=False):
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        return super()._action_send_mail_mass_mail(res_ids, auto_commit=auto_commit)
