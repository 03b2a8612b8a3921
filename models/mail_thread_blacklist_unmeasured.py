from odoo import api, fields, models

from ..tools.address_form import comparable
from .lists import join_words


class MailThreadBlacklist(models.AbstractModel):
    """A record with an address tells composers why it will not be measured who opens and clicks there."""

    _inherit = "mail.thread.blacklist"

    sendgrid_unmeasured_reason = fields.Selection(
        [("wish", "declined"), ("company", "not asked")],
        string="Not Measured Because",
        compute="_compute_sendgrid_unmeasured_reason",
        groups="base.group_user",
        help="Why opens and clicks of e-mails to an address are not measured. Empty: they are, or no e-mail to it is "
        "tracked.",
    )

    @api.depends(lambda self: [self._primary_email])
    @api.depends_context("company")
    def _compute_sendgrid_unmeasured_reason(self):
        reasons = self._get_unmeasured_reasons(self.env.company)
        for record in self:
            record.sendgrid_unmeasured_reason = reasons.get(record, False)

    def _get_unmeasured_reasons(self, company):
        """Return {record: reason} of those who are not measured in mails of a company, with one query for all."""
        if not self.env["sendgrid.account"]._is_used():
            return {}
        # A colleague's mail has no document, so that there is nothing to say of it.
        records = self.filtered("partner_share") if "partner_share" in self._fields else self
        addresses = records._get_addresses()
        known = {email for emails in addresses.values() for email in emails}
        reasons = self.env["sendgrid.measuring"]._get_reasons(known, company)
        found = {record: {reasons.get(email) for email in emails} for record, emails in addresses.items()}
        # The addresses of a record share a copy, which is measured as the strictest of them allows.
        return {
            record: "wish" if "wish" in own else "company" for record, own in found.items() if own & {"wish", "company"}
        }

    def _describe_unmeasured(self, company, emails=()):
        """Return the line that names those of the records, and of further addresses, who are not measured.

        Who may not read a record learns nothing of it.

        :param company: the `res.company` whose mail it is
        :param emails: addresses of which there is no record, in any spelling
        :return: a sentence, "" if all are measured
        """
        labels = dict(self._fields["sendgrid_unmeasured_reason"]._description_selection(self.env))
        readable = self._filtered_access("read")
        reasons = readable._get_unmeasured_reasons(company)
        found = [(record.display_name, reasons[record]) for record in readable if record in reasons]
        if emails and self.env["sendgrid.account"]._is_used():
            known = self.env["sendgrid.measuring"]._get_reasons(emails, company)
            found += [(email, reason) for email in emails if (reason := known.get(comparable(email)))]
        told = [self.env._("%(name)s (%(reason)s)", name=name, reason=labels[reason]) for name, reason in found]
        return self.env._("Opens and links are not measured: %s", join_words(self.env, told)) if told else ""
