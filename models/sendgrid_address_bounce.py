from odoo import api, models


class SendgridAddress(models.Model):
    """The bounces of an address: which contacts they flag, and what ends them.

    A bounce ends when somebody confirms the address (`_confirm`), or when a mail from it comes in (`_hear`). An older
    bounce that is told later does not bring it back. SendGrid's lists are left alone: it may go on holding mail back.
    """

    _inherit = "sendgrid.address"

    def _confirm(self):
        """Note that the current user says that the addresses are valid."""
        self._hold(self.mapped("email"))
        for address in self:
            address.valid_date = address._get_decision_date(address.bounce_date)
        self.valid_uid = self.env.uid
        self._end_bounces()

    def _hear(self):
        """Note that a mail from the addresses has come in, which is no automatic answer."""
        self._hold(self.mapped("email"))
        bounced = self.filtered("is_bounced")
        for address in self:
            address.last_reply_date = address._get_decision_date(address.bounce_date)
        bounced._end_bounces()

    def _end_bounces(self):
        """Take the flags and core's counters away from all records with the addresses.

        Core's own `_routing_reset_bounce` reaches only the records whose first address it is.
        """
        emails = set(self.mapped("email"))
        for model in self.env["ir.model"].sudo().search([("is_mail_blacklist", "=", True)]):
            if model.model in self.env and not self.env[model.model]._abstract:
                Model = self.env[model.model].sudo().with_context(active_test=False)
                records = Model.search([("message_bounce", ">", 0), ("email_normalized", "in", list(emails))])
                records._message_reset_bounce(False)
        partners = self._refresh_contacts()
        # A contact with two addresses keeps its counter while the other one is still bounced.
        partners.filtered(lambda partner: partner.message_bounce and not partner.email_bounced)._message_reset_bounce(
            False
        )

    def _refresh_contacts(self):
        """Write to the contacts with the addresses whether one of their addresses bounced. Rules that watch it run.

        :return: the contacts (`res.partner`) whose flag, reason or date changed
        """
        if not self:
            return self.env["res.partner"]
        return self.env["res.partner"].sudo()._get_by_addresses(self.mapped("email"))._refresh_bounces()

    @api.model
    def _get_bounced(self, emails):
        """Return those of some normalized addresses that bounced, as {address: `sendgrid.address` record}."""
        emails = [email for email in set(emails) if email]
        if not emails:
            return {}
        addresses = self.sudo().search([("email", "in", emails), ("is_bounced", "=", True)])
        return {address.email: address for address in addresses}

    def _is_proved_since(self, moment):
        """Tell whether a proof that the address is valid is not older than a moment (naive, in UTC)."""
        return any(date and date >= moment for date in (self.valid_date, self.last_reply_date))
