from odoo import api, fields, models


class SendgridEmail(models.Model):
    """An e-mail that was sent again, and the one that it was sent again after: each knows the other."""

    _inherit = "sendgrid.email"

    again_of_id = fields.Many2one(
        "sendgrid.email",
        string="Sent Again After",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        help="The earlier e-mail, from whose page somebody sent this one again.",
    )
    again_ids = fields.One2many("sendgrid.email", "again_of_id", string="Sent Again", readonly=True)
    is_sent_again = fields.Boolean(
        compute="_compute_again",
        compute_sudo=True,
        help="Somebody sent it again from its page. The new e-mail may still be on its way.",
    )
    again_date = fields.Datetime(
        string="Sent Again On", compute="_compute_again", compute_sudo=True, help="When it was sent again last."
    )

    @api.depends("again_ids.date")
    def _compute_again(self):
        # The message comes first, its documents follow when SendGrid has taken it, and may outlive the message.
        messages = self.env["mail.message"].search_fetch(
            [("sendgrid_again_of_id", "in", self.ids)], ["sendgrid_again_of_id", "date"]
        )
        by_email = messages.grouped("sendgrid_again_of_id")
        for email in self:
            dates = [*email.again_ids.mapped("date"), *by_email.get(email, messages.browse()).mapped("date")]
            email.again_date = max(filter(None, dates), default=False)
            email.is_sent_again = bool(dates)

    def action_view_again(self):
        """Open the e-mails with which this one was sent again, as far as the user may see them."""
        self.ensure_one()
        self.check_access("read")
        emails = self.search([("again_of_id", "=", self.id)])
        if not emails:
            return {
                "type": "ir.actions.client",
                "tag": "display_notification",
                "params": {
                    "type": "info",
                    "message": self.env._("The new e-mail has not left yet, or you may not see it."),
                },
            }
        if len(emails) == 1:
            return emails.get_formview_action()
        action = self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_email_action")
        return {
            **action,
            "display_name": self.env._("Sent Again: %s", self.display_name),
            "domain": [("again_of_id", "=", self.id)],
            "path": "sendgrid-sent-again",
            "context": {"active_id": self.id},
        }
