from odoo import api, fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    sendgrid_account_ids = fields.Many2many(
        "sendgrid.account", string="SendGrid Accounts", compute="_compute_sendgrid_account_ids"
    )

    sendgrid_detail_months = fields.Integer(related="company_id.sendgrid_detail_months", readonly=False)
    sendgrid_document_months = fields.Integer(related="company_id.sendgrid_document_months", readonly=False)

    @api.depends_context("allowed_company_ids")
    def _compute_sendgrid_account_ids(self):
        # Those that the user may see, by the rule.
        self.sendgrid_account_ids = self.env["sendgrid.account"].search([("active", "=", True)])
