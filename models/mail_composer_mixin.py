from odoo import models

from .sendgrid_switch_mixin import add_mark


class MailComposerMixin(models.AbstractModel):
    """What a dialog renders from a template that is not tracked tells the message that is made of it.

    Each app has dialogs of its own (invitations to surveys and courses, mails to applicants), without a switch.
    """

    _inherit = "mail.composer.mixin"

    def _render_field(self, field, res_ids, *args, **kwargs):
        rendered = super()._render_field(field, res_ids, *args, **kwargs)
        return add_mark(rendered, self.template_id) if field == "body" else rendered
