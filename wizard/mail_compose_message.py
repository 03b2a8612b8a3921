from odoo import api, fields, models


class MailComposeMessage(models.TransientModel):
    _inherit = "mail.compose.message"

    sendgrid_warning = fields.Text(
        compute="_compute_sendgrid_warning",
        help="Names the recipients that the message will not reach, and those who do not want it.",
    )

    sendgrid_resent_id = fields.Many2one(
        "sendgrid.email", help="The e-mail that is sent again, if the composer was opened by its button."
    )

    @api.depends("partner_ids", "composition_mode")
    def _compute_sendgrid_warning(self):
        for composer in self:
            partners = composer.partner_ids if composer.composition_mode == "comment" else composer.partner_ids.browse()
            composer.sendgrid_warning = "\n".join(filter(None, partners.mapped("sendgrid_warning")))

    def action_send_mail(self):
        """Say where the e-mail went if it is one that is sent again, because its page is not where the new one is."""
        action = super().action_send_mail()
        resent = self.sendgrid_resent_id
        record = resent.resource_ref if len(self) == 1 and resent.has_access("read") else None
        if not record or not self.partner_ids or self.subtype_id.internal:
            return action
        names = ", ".join(self.partner_ids.mapped("display_name"))
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "title": self.env._("Sent Again"),
                "message": self.env._("The e-mail is on its way to %(names)s: see %%s.", names=names),
                "links": [{"label": record.display_name, "url": f"/odoo/{record._name}/{record.id}"}],
                "next": action,
            },
        }

    def _action_send_mail_comment(self, res_ids):
        # Core keeps nowhere which template a mail was made from, so the mails take it from the context.
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        resent = self.sendgrid_resent_id
        if not resent or not resent.has_access("read"):
            return super()._action_send_mail_comment(res_ids)
        self = self.with_context(sendgrid_again_of=resent.id)
        messages = super()._action_send_mail_comment(res_ids)
        # The user may have made a note of it instead.
        if messages.partner_ids and not messages.subtype_id.internal:
            resent.sudo().again_date = fields.Datetime.now()
        return messages

    def _action_send_mail_mass_mail(self, res_ids, auto_commit=False):
        self = self.with_context(sendgrid_template_id=self.template_id.id)
        return super()._action_send_mail_mass_mail(res_ids, auto_commit=auto_commit)
