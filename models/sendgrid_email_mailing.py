from odoo import api, fields, models


class SendgridEmail(models.Model):
    """The mass mailing that a document belongs to, and its recipient's entry in a mailing list."""

    _inherit = "sendgrid.email"

    mailing_source_id = fields.Many2one(
        "utm.source",
        string="Mailing",
        readonly=True,
        ondelete="set null",
        help="The mass mailing that the e-mail belongs to, by the name that it has in campaigns.",
    )
    contact_name = fields.Char(
        string="Recipient",
        compute="_compute_contact_name",
        help="The contact's name, or the name of the recipient's entry in a mailing list if there is no contact.",
    )

    _mailing_idx = models.Index("(mailing_res_id) WHERE mailing_res_id IS NOT NULL")

    @api.depends("partner_id", "model", "res_id")
    def _compute_contact_name(self):
        # Whoever may see the e-mail may know to whom it went, also without access to the lists.
        entries = {}
        if "mailing.contact" in self.env:
            listed = self.filtered(lambda email: email.model == "mailing.contact" and not email.partner_id)
            found = self.env["mailing.contact"].sudo().browse(listed.mapped("res_id")).exists()
            entries = {entry.id: entry.name for entry in found}
        for email in self:
            entry = entries.get(email.res_id) if email.model == "mailing.contact" else ""
            email.contact_name = email.partner_id.sudo().display_name or entry or ""
