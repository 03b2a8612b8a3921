from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL, escape_psql

from ..tools.address_form import spellings
from .company_language import in_company_language

# The fields of records with addresses that are computed from what is known of the addresses.
FACES = (
    "email_bounced",
    "email_bounce_reason",
    "email_bounce_date",
    "email_valid_date",
    "sendgrid_warning",
    "is_held_by_sendgrid",
    "may_clear_at_sendgrid",
)
# A mail that was received within this time comes in now: fetching takes some minutes, and servers' clocks differ.
LATE = timedelta(minutes=5)


class SendgridAddress(models.Model):
    """The bounces of an address: which contacts they flag, and what ends them.

    A bounce ends when somebody confirms the address (`_confirm`), or when a mail from it comes in (`_hear`). An older
    bounce that is told later does not bring it back. SendGrid's lists are left alone: it may go on holding mail back.
    """

    _inherit = "sendgrid.address"

    def _confirm(self):
        """Note that the current user says that the addresses are valid. `_hold` has returned them, so they are locked.

        :return: the contacts whose flag changed
        """
        for address in self:
            address.valid_date = address._get_decision_date(address.bounce_date)
        self.valid_uid = self.env.uid
        return self._end_bounces()

    @api.model
    def _hear_from(self, email, received=None):
        """Note that a mail from an address has come in, if the address is known: it is noted here already, a document
        went to it, or a contact has it. Nothing is kept of strangers who write.

        :param email: an address in its comparable form
        :param received: as for `_hear`
        """
        if self._is_known(email):
            self._hold([email])._hear(received)

    @in_company_language
    def _hear(self, received=None):
        """Note that a mail from the addresses has come in, which is no automatic answer. `_hold` has returned them.

        The time is when the mail came in, and not its Date: that is what the sender's clock says. A mail that Odoo
        fetches late came in long before, and does not end a bounce that is younger than it.

        :param received: when a mail server received the mail (naive, in UTC), None if that is not known
        """
        bounced = self.filtered("is_bounced")
        is_late = received and received < fields.Datetime.now() - LATE
        for address in self:
            if is_late:
                address.last_reply_date = max(filter(None, (address.last_reply_date, received)))
            else:
                address.last_reply_date = address._get_decision_date(address.bounce_date)
        bounced = bounced.filtered(lambda address: not address.is_bounced)
        # Anybody can write any From into a mail. So the chatter tells why the flag is gone.
        partners = bounced._end_bounces()
        emails = set(bounced.mapped("email"))
        partners._message_log_batch(
            {
                partner.id: self.env._(
                    "An e-mail from %s came in, so the address works: its bounce does not count any more.",
                    [email for email in own if email in emails],
                )
                for partner, own in partners._get_addresses().items()
            },
            author_id=self.env.ref("base.partner_root").id,
        )

    @api.model
    def _is_known(self, email):
        """Tell whether there is anything about an address in its comparable form, in one query."""
        self.flush_model(["email"])
        self.env["sendgrid.email"].flush_model(["recipient"])
        self.env["res.partner"].flush_model(["email", "email_normalized"])
        [(is_known,)] = self.env.execute_query(
            SQL(
                """SELECT EXISTS (SELECT FROM sendgrid_address WHERE email = %(email)s)
                       OR EXISTS (SELECT FROM sendgrid_email WHERE recipient = %(email)s)
                       OR EXISTS (SELECT FROM res_partner WHERE email_normalized = ANY(%(spellings)s))
                       OR EXISTS (SELECT FROM res_partner
                                   WHERE (email LIKE %(several)s OR octet_length(email) <> char_length(email))
                                     AND email ILIKE ANY(%(patterns)s))""",
                email=email,
                spellings=spellings(email),
                several="%@%@%",
                patterns=[f"%{escape_psql(spelling)}%" for spelling in spellings(email)],
            )
        )
        return is_known

    def _end_bounces(self):
        """Take the flags and core's counters away from all records with the addresses.

        :return: the contacts whose flag changed
        """
        if not self:
            return self.env["res.partner"]
        partners = self._refresh_contacts()
        for Model in self._get_models_with_addresses():
            # A record with two addresses keeps its counter while the other one is bounced.
            records = Model._get_by_addresses(self.mapped("email")).filtered("message_bounce")
            records._message_reset_bounce(False)
        return partners

    def _refresh_contacts(self):
        """Write to the contacts with the addresses whether one of their addresses bounced. Rules that watch it run.

        :return: the contacts (`res.partner`) whose flag, reason or date changed
        """
        if not self:
            return self.env["res.partner"]
        partners = self.env["res.partner"].sudo()._get_by_addresses(self.mapped("email"))._refresh_bounces()
        for Model in self._get_models_with_addresses():
            Model.invalidate_model([name for name in FACES if not Model._fields[name].store])
        return partners

    @api.autovacuum
    def _gc_contradictions(self):
        """Let contacts show what is known of their addresses, where they show something else.

        While the drain notes a bounce, somebody may create a contact with the address, or give it to one: neither
        transaction sees what the other does. Contacts store the flag, so that it would stay wrong.
        """
        Partner = self.env["res.partner"].sudo().with_context(active_test=False)
        self.flush_model()
        Partner.flush_model(["email", "email_normalized", "email_bounced"])
        rows = self.env.execute_query(
            SQL(
                """WITH bounced AS (SELECT email FROM sendgrid_address
                                     WHERE bounce_date > COALESCE(GREATEST(valid_date, last_reply_date), '-infinity'))
                   SELECT partner.id
                     FROM res_partner partner JOIN bounced ON bounced.email = partner.email_normalized
                    WHERE partner.email_bounced IS NOT TRUE
                UNION
                   SELECT partner.id
                     FROM res_partner partner LEFT JOIN bounced ON bounced.email = partner.email_normalized
                    WHERE partner.email_bounced AND bounced.email IS NULL"""
            )
        )
        # These queries know the first address of each contact only. Those with further ones are few.
        several = Partner._get_with_several_addresses()
        bounced = self._get_bounced(email for emails in several.values() for email in emails)
        ids = {id_ for (id_,) in rows}
        ids |= {id_ for id_, emails in several.items() if not bounced.keys().isdisjoint(emails)}
        Partner.browse(sorted(ids))._refresh_bounces()

    @api.model
    def _get_models_with_addresses(self):
        """Return the models whose records have addresses (contacts, leads, mailing contacts, …), as a list."""
        names = self.env.registry.descendants(["mail.thread.blacklist"], "_inherit")
        return [self.env[name].sudo() for name in names if self.env[name]._auto and not self.env[name]._abstract]

    @api.model
    def _get_bounced(self, emails):
        """Return those of some normalized addresses that bounced, as {address: `sendgrid.address` record}."""
        emails = [email for email in set(emails) if email]
        if not emails or not self.env["sendgrid.account"]._has_told():
            return {}
        addresses = self.sudo().search([("email", "in", emails), ("is_bounced", "=", True)])
        return {address.email: address for address in addresses}

    def _is_proved_since(self, moment):
        """Tell whether a proof that the address is valid is not older than a moment (naive, in UTC)."""
        return any(date and date >= moment for date in (self.valid_date, self.last_reply_date))
