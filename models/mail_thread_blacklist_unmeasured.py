from odoo import api, fields, models


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
        self.sendgrid_unmeasured_reason = False
        if not self.env["sendgrid.account"]._is_used():
            return
        # A colleague's mail is not tracked at all, so that there is nothing to say of it.
        records = self.filtered("partner_share") if "partner_share" in self._fields else self
        addresses = records._get_addresses()
        known = {email for emails in addresses.values() for email in emails}
        reasons = self.env["sendgrid.measuring"]._get_reasons(known, self.env.company)
        for record, emails in addresses.items():
            found = {reasons.get(email) for email in emails}
            # The addresses of a record share a copy, which is measured as the strictest of them allows.
            record.sendgrid_unmeasured_reason = next((one for one in ("wish", "company") if one in found), False)

    def _describe_unmeasured(self):
        """Return the line that names those of the records who are not measured, "" if all are.

        Who may not read a record learns nothing of it.
        """
        labels = dict(self._fields["sendgrid_unmeasured_reason"]._description_selection(self.env))
        told = [
            self.env._("%(name)s (%(reason)s)", name=record.display_name, reason=labels[reason])
            for record in self._filtered_access("read")
            if (reason := record.sendgrid_unmeasured_reason)
        ]
        return self.env._("Opens and links are not measured: %s", ", ".join(told)) if told else ""
