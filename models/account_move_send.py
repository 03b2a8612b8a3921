from odoo import api, models


class SendgridInvoice(models.AbstractModel):
    """An invoice is tracked as its template says, if accounting is installed (`account.move.send`)."""

    _name = "sendgrid.invoice"
    _description = "Invoices and Their Tracking"
    _inherit = ["sendgrid.patch.mixin"]

    def _get_patches(self):
        @api.model
        def _send_mail(self, move, mail_template, **kwargs):
            """Let the template decide. Its text may have been changed in core's dialog since."""
            if mail_template and not mail_template.sendgrid_is_tracked:
                move = move.with_context(sendgrid_is_switched_off=True)
            return _send_mail.origin(self, move, mail_template, **kwargs)

        return {("account.move.send", "_send_mail"): _send_mail}
