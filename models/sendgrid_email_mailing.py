from odoo import api, fields, models

from ..tools.address_form import comparable

# {model: the fields that name whoever has a record's address, the best first}
NAMES = {"mailing.contact": ("name",), "crm.lead": ("contact_name", "partner_name")}


class SendgridEmail(models.Model):
    """The mass mailing that a document belongs to, and the name of a recipient who is no contact."""

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
        # Whoever may see the e-mail may know to whom it went, also without access to the record.
        records = {}
        for model in NAMES:
            emails = self.filtered(lambda email, model=model: email.model == model and not email.partner_id)
            if emails and model in self.env:
                found = self.env[model].sudo().browse(emails.mapped("res_id")).exists()
                records |= {(model, record.id): record for record in found}
        for email in self:
            name, record = email.partner_id.sudo().display_name, records.get((email.model, email.res_id))
            # A mailing goes to the record's own address, an e-mail about a lead may go to others too.
            if record and (email.mailing_res_id or comparable(record.email_normalized or "") == email.recipient):
                name = next(filter(None, (record[field] for field in NAMES[email.model])), "")
            email.contact_name = name or ""
