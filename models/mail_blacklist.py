from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL


class MailBlacklist(models.Model):
    _inherit = "mail.blacklist"

    is_suppressed = fields.Boolean(
        string="Suppressed at SendGrid",
        compute="_compute_is_suppressed",
        search="_search_is_suppressed",
        help="SendGrid does not deliver to the address either, as the last comparison with its lists found.",
    )

    @api.depends("email")
    def _compute_is_suppressed(self):
        domain = [("id", "in", self.ids), ("is_suppressed", "=", True)]
        suppressed = self.with_context(active_test=False).search(domain)
        for entry in self:
            entry.is_suppressed = entry.id in suppressed._ids

    @api.model
    def _search_is_suppressed(self, operator, value):
        if operator != "in":
            return NotImplemented

        def to_sql(_model, alias, _query):
            return SQL(
                """EXISTS (SELECT 1 FROM sendgrid_suppression
                            WHERE email = %s AND state != 'cleared' AND list != 'blocks')""",
                SQL.identifier(alias, "email"),
            )

        self.env["sendgrid.suppression"].flush_model()
        return Domain.custom(to_sql=to_sql)
