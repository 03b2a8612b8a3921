from odoo import api, fields, models

# So many of the latest e-mails to a recipient are offered.
OFFERED = 200


class SendgridEventAttach(models.TransientModel):
    """The dialog that asks to which document unmatched events belong."""

    _name = "sendgrid.event.attach"
    _description = "Attach Events to an E-mail"

    event_ids = fields.Many2many(
        "sendgrid.event", default=lambda self: self.env.context.get("active_ids"), readonly=True, required=True
    )
    email_id = fields.Many2one("sendgrid.email", string="E-mail", required=True)
    offered_ids = fields.Many2many(
        "sendgrid.email",
        compute="_compute_offered_ids",
        help="The latest e-mails to the recipients that the events name. If there are none, all e-mails are offered.",
    )

    @api.depends("event_ids")
    def _compute_offered_ids(self):
        for dialog in self:
            recipients = set(dialog.event_ids.mapped("recipient"))
            dialog.offered_ids = self.env["sendgrid.email"].search([("recipient", "in", recipients)], limit=OFFERED)

    def action_attach(self):
        """Attach the events to the document, and show it."""
        self.event_ids._attach_by_hand(self.email_id)
        return {
            "type": "ir.actions.act_window",
            "res_model": "sendgrid.email",
            "res_id": self.email_id.id,
            "views": [[False, "form"]],
        }
