from odoo import api, fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    sendgrid_accounts = fields.Text(
        string="SendGrid Accounts",
        compute="_compute_sendgrid_accounts",
        help="Shows for each account, in a line of its own, whether it is connected.",
    )
    sendgrid_detail_months = fields.Integer(related="company_id.sendgrid_detail_months", readonly=False)
    sendgrid_document_months = fields.Integer(related="company_id.sendgrid_document_months", readonly=False)
    sendgrid_networks = fields.Text(related="company_id.sendgrid_networks", readonly=False)

    @api.depends_context("allowed_company_ids", "lang")
    def _compute_sendgrid_accounts(self):
        accounts = self.env["sendgrid.account"].search([("active", "=", True)])  # those of the user's companies
        states = dict(accounts._fields["connection_state"]._description_selection(self.env))
        self.sendgrid_accounts = "\n".join(
            self.env._("%(account)s: %(state)s", account=account.name, state=states[account.connection_state])
            for account in accounts
        )
