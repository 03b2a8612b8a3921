from odoo import api, fields, models
from odoo.exceptions import AccessError, ValidationError
from odoo.fields import Domain
from odoo.tools import SQL

# These are computed from the words about the addresses.
WORD_FACES = ("email_tracking", "email_tracking_date", "email_tracking_details")


class MailThreadBlacklist(models.AbstractModel):
    """A record with addresses shows what their owner said about being measured, and takes the word by hand or import.

    The word belongs to the address: see `sendgrid_address_consent`. So a changed address brings its own word along, and
    records that share an address share its word. Of several addresses the stricter word is shown.
    """

    _inherit = "mail.thread.blacklist"

    email_tracking = fields.Selection(
        [("unknown", "Not asked"), ("agreed", "Agreed"), ("declined", "Declined")],
        string="E-mail Tracking",
        compute="_compute_email_tracking",
        inverse="_inverse_email_tracking",
        search="_search_email_tracking",
        groups="base.group_user",
        help="Whether the contact agreed that opens and clicks are measured. Of several addresses one that declined "
        "decides. Who was not asked is measured as the company's setting says. Declined: the opens and clicks that "
        "are stored are deleted, for good.",
    )
    email_tracking_date = fields.Datetime(
        string="E-mail Tracking Since",
        compute="_compute_email_tracking",
        groups="base.group_user",
        help="When the contact said so.",
    )
    email_tracking_details = fields.Text(
        string="What Was Said",
        compute="_compute_email_tracking_details",
        groups="base.group_user",
        help="What was said about each address, when, by whom or where, and in which wording.",
    )

    # ------------------------------------------------------------
    # COMPUTE
    # ------------------------------------------------------------

    @api.depends(lambda self: [self._primary_email])
    def _compute_email_tracking(self):
        addresses = self._get_addresses()
        known = self._get_words(addresses)
        for record, emails in addresses.items():
            word = self._get_stricter(known, emails)
            dates = [known[email].email_tracking_date for email in emails if email in known]
            record.email_tracking = word
            # All agreed since the last did; one declines since the first did.
            record.email_tracking_date = False
            if word == "agreed":
                record.email_tracking_date = max(dates)
            elif word == "declined":
                declined = [known[email] for email in emails if self._get_stricter(known, [email]) == "declined"]
                record.email_tracking_date = min(address.email_tracking_date for address in declined)

    @api.depends(lambda self: [self._primary_email])
    @api.depends_context("lang", "tz")
    def _compute_email_tracking_details(self):
        addresses = self._get_addresses()
        known = self._get_words(addresses)
        for record, emails in addresses.items():
            if len(emails) == 1:
                lines = [known[email]._describe_tracking() for email in emails if email in known]
            else:
                lines = [
                    self.env._(
                        "%(email)s: %(words)s",
                        email=email,
                        words=known[email]._describe_tracking() if email in known else self.env._("Not asked"),
                    )
                    for email in emails
                    if known
                ]
            record.email_tracking_details = "\n".join(lines)

    @api.model
    def _get_words(self, addresses):
        """Return what was said about the addresses of records.

        :param addresses: as `_get_addresses` returns them
        :return: {address: `sendgrid.address` record, as superuser} for those of which a word is known
        """
        emails = list({email for emails in addresses.values() for email in emails})
        domain = Domain("email", "in", emails) & Domain("email_tracking", "!=", False)
        return {address.email: address for address in self.env["sendgrid.address"].sudo().search(domain)}

    @api.model
    def _get_stricter(self, known, emails):
        """Return the word that counts for several addresses together.

        :param known: as `_get_words` returns it
        """
        words = {known[email].email_tracking if email in known else "unknown" for email in emails}
        if "declined" in words:
            return "declined"
        return "agreed" if words == {"agreed"} else "unknown"

    # ------------------------------------------------------------
    # SEARCH
    # ------------------------------------------------------------

    @api.model
    def _search_email_tracking(self, operator, value):
        if operator != "in":
            return NotImplemented
        words = {word or "unknown" for word in value}
        is_negative = "unknown" in words
        if is_negative:
            words = {"agreed", "declined"} - words
        found = self._select_by_words(words & {"agreed", "declined"})
        comparison = SQL("NOT IN") if is_negative else SQL("IN")
        return Domain.custom(
            to_sql=lambda model, alias, query: SQL("%s %s (%s)", SQL.identifier(alias, "id"), comparison, found)
        )

    @api.model
    def _select_by_words(self, words):
        """Return the SQL that selects the ids of the records that have one of some words.

        `email_normalized` tells the address of nearly all records. Those with further addresses are few.

        :param words: set of ``"agreed"`` and ``"declined"``
        """
        Address = self.env["sendgrid.address"].sudo()
        Address.flush_model(["email", "email_tracking"])
        self.flush_model(["email_normalized"])
        several = self._get_with_several_addresses()
        known = self._get_words(several)
        ids = [id_ for id_, emails in several.items() if self._get_stricter(known, emails) in words]
        return SQL(
            """SELECT record.id
                 FROM %(table)s record JOIN sendgrid_address address ON address.email = record.email_normalized
                WHERE address.email_tracking = ANY(%(words)s) AND NOT record.id = ANY(%(several)s)
            UNION ALL
               SELECT unnest(%(ids)s::int[])""",
            table=SQL.identifier(self._table),
            words=list(words),
            several=list(several),
            ids=ids,
        )

    # ------------------------------------------------------------
    # SET
    # ------------------------------------------------------------

    def _inverse_email_tracking(self):
        """Take the word as that of all addresses of the records. Who may write a record may do so.

        What is shown already changes nothing, because a form also sends what a changed address brought along. Of
        records that share an address the stricter counts.

        An import says nothing by an empty cell, and does not turn declined into agreed: nobody knows how old its rows
        are, and one address may stand in several of them.

        :raise ValidationError: if a record has no address that the word could belong to
        """
        is_import = "_import_current_module" in self.env.context
        wanted = {record: record.email_tracking for record in self}
        addresses = self.sudo()._get_addresses()
        known = self._get_words(addresses)
        emails_by_word = {"declined": set(), "agreed": set(), "unknown": set()}
        for record, emails in addresses.items():
            word = wanted[record] or "unknown"
            if (is_import and not wanted[record]) or word == self._get_stricter(known, emails):
                continue
            if not emails:
                raise ValidationError(
                    self.env._(
                        "%s has no e-mail address to which the word on e-mail tracking could belong.",
                        record.display_name,
                    )
                )
            words = {email: self._get_stricter(known, [email]) for email in emails}
            kept = (word, "declined") if is_import else (word,)
            emails_by_word[word].update(email for email in emails if words[email] not in kept)
        emails_by_word["agreed"] -= emails_by_word["declined"]
        emails_by_word["unknown"] -= emails_by_word["declined"] | emails_by_word["agreed"]
        Address = self.env["sendgrid.address"].sudo()
        # Lock all of them at once, in their order.
        Address._hold(set().union(*emails_by_word.values()))
        for word, emails in emails_by_word.items():
            said = False if word == "unknown" else word
            Address._set_word(emails, said, "import" if is_import else "hand")
        self.invalidate_recordset(WORD_FACES)

    def _get_emails(self):
        """Return the set of all addresses of the records, also of those that the user may not read."""
        return {email for emails in self.sudo()._get_addresses().values() for email in emails}

    def _keep_declined(self, others, occasion):
        """Have the addresses of a record declined if one of some others is, because all of them are one person's now.

        Call it when the record has the addresses that it will have.

        :param others: set of the addresses of the records that became a part of this one
        :param occasion: names it in the proof
        """
        own = self._get_emails()
        known = self._get_words({self: own | others})
        declined = {email for email, address in known.items() if address.email_tracking == "declined"}
        if declined and own - declined:
            self.env["sendgrid.address"].sudo()._set_word(own - declined, "declined", "hand", occasion)

    def action_set_email_tracking(self):
        """Open the dialog that asks what the contacts of a list said about being measured.

        :raise AccessError: if the user may write none of the records
        """
        allowed = self._filtered_access("write")
        if not allowed:
            raise AccessError(
                self.env._(
                    "You may not change any of these records, so you cannot say whether they are measured. Please ask "
                    "your administrator."
                )
            )
        return self.env["sendgrid.consent.ask"]._get_action(self)
