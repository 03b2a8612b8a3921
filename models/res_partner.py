from collections import Counter

from odoo import api, fields, models


class ResPartner(models.Model):
    _inherit = "res.partner"

    sendgrid_email_ids = fields.Many2many(
        "sendgrid.email",
        string="Documents",
        compute="_compute_sendgrid_email_ids",
        groups="base.group_user",
        help="The e-mails sent to this contact through SendGrid; for a company, to its people too.",
    )
    sendgrid_email_count = fields.Integer(
        string="Number of Documents", compute="_compute_sendgrid_email_count", groups="base.group_user"
    )
    email_bounced = fields.Boolean(
        string="Address Bounced",
        readonly=True,
        copy=False,
        help="The e-mail address does not exist or refuses all mail.",
    )
    email_bounce_reason = fields.Text(string="Bounce Reason", readonly=True, copy=False)
    email_bounce_date = fields.Datetime(string="Bounced On", readonly=True, copy=False)

    @api.depends_context("uid")
    def _compute_sendgrid_email_ids(self):
        for partner in self:
            partner.sendgrid_email_ids = self.env["sendgrid.email"].search(partner._get_sendgrid_email_domain())

    @api.depends_context("uid")
    def _compute_sendgrid_email_count(self):
        # As the list counts them: a company's people, archived ones included, are its own (see child_of).
        family = self.sudo().with_context(active_test=False).search_fetch([("id", "child_of", self.ids)], ["parent_id"])
        counts = Counter()
        for partner, count in self.env["sendgrid.email"]._read_group(
            [("partner_id", "in", family.ids)], ["partner_id"], ["__count"]
        ):
            ancestor = partner.sudo()
            while ancestor:
                counts[ancestor.id] += count
                ancestor = ancestor.parent_id
        for partner in self:
            partner.sendgrid_email_count = counts[partner.id]

    def _get_sendgrid_email_domain(self):
        return [("partner_id", "child_of", self.ids)]

    def action_view_sendgrid_emails(self):
        """Open the contact's documents: the e-mails sent to it, newest first."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_email_action")
        return {
            **action,
            "display_name": self.env._("Documents of %s", self.display_name),
            "domain": self._get_sendgrid_email_domain(),
            "context": {},
        }
