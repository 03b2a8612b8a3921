from odoo import fields, models

from .sendgrid_switch_mixin import add_mark


class MailTemplate(models.Model):
    """A mail that is made from a template tells its documents which one, and is tracked as the template says."""

    _name = "mail.template"
    _inherit = ["mail.template", "sendgrid.switch.mixin"]

    sendgrid_is_tracked = fields.Boolean(default=True)

    def _render_field(self, field, res_ids, *args, **kwargs):
        rendered = super()._render_field(field, res_ids, *args, **kwargs)
        return add_mark(rendered, self) if field == "body_html" else rendered

    def send_mail_batch(
        self, res_ids, force_send=False, raise_exception=False, email_values=None, email_layout_xmlid=False
    ):
        self = self.with_context(sendgrid_template_id=self.id)
        if not self.sendgrid_is_tracked:
            email_values = {**(email_values or {}), "sendgrid_is_unmeasured": True}
        return super().send_mail_batch(
            res_ids,
            force_send=force_send,
            raise_exception=raise_exception,
            email_values=email_values,
            email_layout_xmlid=email_layout_xmlid,
        )
