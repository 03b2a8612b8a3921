from odoo import models


class MailTemplate(models.Model):
    """A mail that is made from a template tells its documents which one."""

    _inherit = "mail.template"

    def send_mail_batch(self, *args, **kwargs):
        self = self.with_context(sendgrid_template_id=self.id)
        return super().send_mail_batch(*args, **kwargs)
