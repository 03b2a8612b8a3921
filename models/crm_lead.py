from odoo import api, fields, models
from odoo.fields import Domain

from ..tools.address_form import comparable
from .company_language import in_company_language


class CrmLead(models.Model):
    """A lead shows its documents, and hands them on to the contact or lead that it becomes."""

    _inherit = "crm.lead"

    sendgrid_email_count = fields.Integer(
        string="Number of Documents", compute="_compute_sendgrid_email_count", groups="base.group_user"
    )

    # As for contacts: few leads have several addresses, or one that is not ASCII, and the index finds these.
    _addresses_idx = models.Index(
        "(id) WHERE email_from LIKE '%@%@%' OR octet_length(email_from) <> char_length(email_from)"
    )
    # Of that one PostgreSQL expects more rows than there are, and reads the table instead: it cannot estimate lengths.
    _several_addresses_idx = models.Index("(id) WHERE email_from LIKE '%@%@%'")
    # Core's index is one of trigrams, which is slow for the many addresses of a run of mails.
    _email_normalized_idx = models.Index("(email_normalized) WHERE email_normalized IS NOT NULL")

    @api.depends("email_normalized")
    @api.depends_context("uid")
    def _compute_sendgrid_email_count(self):
        Email = self.env["sendgrid.email"]
        has_told = self.env["sendgrid.account"]._has_told()
        for lead in self:
            lead.sendgrid_email_count = has_told and Email.search_count(lead._get_sendgrid_email_domain())

    def _get_sendgrid_email_domain(self):
        """Return the domain of the lead's documents.

        They are the e-mails about the lead and those to its address, because a lead often has no contact yet.
        """
        self.ensure_one()
        domain = Domain("model", "=", "crm.lead") & Domain("res_id", "=", self._origin.id)
        if self.email_normalized:
            domain |= Domain("recipient", "=", comparable(self.email_normalized))
        return domain

    def action_view_sendgrid_emails(self):
        """Open the list of the lead's documents, newest first."""
        self.ensure_one()
        domain = self._get_sendgrid_email_domain()
        return self.env["sendgrid.email"]._get_action_about(self, domain, "sendgrid-lead-documents")

    def write(self, vals):
        result = super().write(vals)
        if vals.get("partner_id"):
            self._give_sendgrid_emails_to_contact()
        return result

    def _give_sendgrid_emails_to_contact(self):
        """Give documents of a lead that have no contact to the lead's new contact, if they went to his address."""
        emails = (
            self.env["sendgrid.email"]
            .sudo()
            .search([("model", "=", "crm.lead"), ("res_id", "in", self.ids), ("partner_id", "=", False)])
        )
        for lead in self.filtered("partner_id"):
            address = comparable(lead.partner_id.email_normalized or lead.email_normalized or "")
            own = emails.filtered(lambda e, lead=lead, address=address: e.res_id == lead.id and e.recipient == address)
            own.write({"partner_id": lead.partner_id.id})

    def _merge_dependences(self, opportunities):
        # Core moves the messages one by one. What has been sent with them is moved here, all at once.
        result = super()._merge_dependences(opportunities.with_context(sendgrid_is_merging=True))
        emails = self.env["sendgrid.email"].sudo()
        emails.search([("model", "=", "crm.lead"), ("res_id", "in", opportunities.ids)]).write({"res_id": self.id})
        return result

    def _merge_opportunity(self, user_id=False, team_id=False, auto_unlink=True, max_length=5):
        """Have the remaining lead declined if one of the leads is.

        Core gives it another lead's address where it has none, and deletes the others, so the words are read before.
        """
        emails = self._get_emails()
        merged = super()._merge_opportunity(
            user_id=user_id, team_id=team_id, auto_unlink=auto_unlink, max_length=max_length
        )
        merged._keep_declined(emails, self._name_merge())
        return merged

    @in_company_language
    def _name_merge(self):
        return self.env._("merged leads")
