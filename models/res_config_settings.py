from odoo import api, fields, models

# {setting: the ready-made automation rule that it switches}
RULES = {
    "sendgrid_rule_bounce": "sendgrid_tracking.base_automation_bounce",
    "sendgrid_rule_click": "sendgrid_tracking.base_automation_click",
    "sendgrid_rule_silent_click": "sendgrid_tracking.base_automation_silent_click",
    "sendgrid_rule_unanswered": "sendgrid_tracking.base_automation_unanswered",
    "sendgrid_rule_unsubscribe": "sendgrid_tracking.base_automation_unsubscribe",
}


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    sendgrid_accounts = fields.Text(
        string="SendGrid Accounts",
        compute="_compute_sendgrid_accounts",
        help="Shows for each account, in a line of its own, whether it is connected.",
    )
    sendgrid_detail_months = fields.Integer(related="company_id.sendgrid_detail_months", readonly=False)
    sendgrid_document_months = fields.Integer(related="company_id.sendgrid_document_months", readonly=False)
    sendgrid_unasked = fields.Selection(related="company_id.sendgrid_unasked", readonly=False)
    sendgrid_has_notice = fields.Boolean(related="company_id.sendgrid_has_notice", readonly=False)
    sendgrid_keeps_details = fields.Boolean(related="company_id.sendgrid_keeps_details", readonly=False)
    sendgrid_networks = fields.Text(related="company_id.sendgrid_networks", readonly=False)

    sendgrid_rule_bounce = fields.Boolean(
        string="Find another address",
        help="An activity when an address bounces, on the record that the e-mail is about.",
    )
    sendgrid_rule_click = fields.Boolean(
        string="Call who clicked",
        help="An activity on the first click by a person, on the record that the e-mail is about.",
    )
    sendgrid_rule_silent_click = fields.Boolean(
        string="Call who clicked and did not answer",
        help="An activity if a person clicked and has not answered a day later, on the record that it is about.",
    )
    sendgrid_rule_unanswered = fields.Boolean(
        string="Follow up after 3 days without an answer",
        help="An activity if a delivered e-mail was not answered after 3 days, on the record that it is about.",
    )
    sendgrid_rule_unsubscribe = fields.Boolean(
        string="Tag who unsubscribes", help="Contacts who unsubscribe by e-mail get a tag."
    )
    sendgrid_deleted_rules = fields.Char(
        help="The settings above whose automation rule somebody has deleted: they have nothing to switch."
    )

    @api.model
    def get_values(self):
        values = super().get_values()
        deleted = []
        for name, xmlid in RULES.items():
            rule = self.env.ref(xmlid, raise_if_not_found=False)
            values[name] = bool(rule and rule.active)
            if not rule:
                deleted.append(name)
        return {**values, "sendgrid_deleted_rules": " ".join(deleted)}

    def set_values(self):
        result = super().set_values()
        for name, xmlid in RULES.items():
            rule = self.env.ref(xmlid, raise_if_not_found=False)
            if rule and rule.active != self[name]:
                rule.active = self[name]
        return result

    def action_open_sendgrid_countries(self):
        """Show the countries that ask for consent."""
        self.check_access("read")
        return self.env["res.company"]._get_action_of_consent_countries()

    @api.depends_context("allowed_company_ids", "lang")
    def _compute_sendgrid_accounts(self):
        accounts = self.env["sendgrid.account"].search([("active", "=", True)])  # those of the user's companies
        states = dict(accounts._fields["connection_state"]._description_selection(self.env))
        self.sendgrid_accounts = "\n".join(
            self.env._("%(account)s: %(state)s", account=account.name, state=states[account.connection_state])
            for account in accounts
        )
