from odoo import api, fields, models

from ..tools.events.fold import FAILURES

ARRIVED = ("delivered", "opened", "clicked")


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
    # It is written at once, while the documents of the new e-mail follow when SendGrid has taken it.
    again_date = fields.Datetime(
        string="Sent Again On", readonly=True, help="When somebody sent it again last, from its page."
    )

    can_send_again = fields.Boolean(
        compute="_compute_can_send_again",
        help="It did not arrive, or was delivered and not answered, and it can be sent again from its page.",
    )

    @api.depends("status", "can_follow_up", "mailing_res_id", "resource_ref")
    @api.depends_context("uid")
    def _compute_can_send_again(self):
        for email in self:
            is_unanswered = email.can_follow_up and email.status in ARRIVED
            email.can_send_again = not email.mailing_res_id and (
                email.status == "failed" or bool(email.resource_ref and (is_unanswered or email.status in FAILURES))
            )

    def action_view_again(self):
        """Open the e-mails with which this one was sent again, as far as the user may see them."""
        self.ensure_one()
        self.check_access("read")
        domain = [("again_of_id", "=", self.id)]
        emails = self.search(domain)
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
            "domain": domain,
            "path": "sendgrid-sent-again",
            "context": {"active_id": self.id},
        }
