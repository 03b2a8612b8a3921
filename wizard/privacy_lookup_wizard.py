from odoo import models
from odoo.tools import SQL, email_normalize

from ..tools.address_form import all_spellings
from ..tools.events.answer import FROM_ANYWHERE

# The models whose records are about an address that events name, each with its field.
ADDRESSES = {"sendgrid.email": "recipient", "sendgrid.event": "recipient", "sendgrid.address": "email"}


class PrivacyLookupWizard(models.TransientModel):
    """Privacy Lookup finds what is known of an address through SendGrid, with or without a contact.

    A document is one line, and its events go with it: thousands of them would be thousands of lines to click. Events
    that found no e-mail have lines of their own, and so have answers to somebody else's e-mail. What the owner of an
    address said about being measured goes with the line of the address.
    """

    _inherit = "privacy.lookup.wizard"

    def _get_query_models_blacklist(self):
        # Core would compare parts of addresses, which finds other people's too, and list each event of a contact.
        own = self.env["sendgrid.address"]._get_models_of_addresses()
        return [*super()._get_query_models_blacklist(), "sendgrid.email", "sendgrid.event", *own]

    def _get_query(self):
        query = super()._get_query()  # raises if the address is none
        emails = all_spellings([email_normalize(self.email.strip())])
        # Core's query begins with `indirect_references`: the contacts with this name, or this spelling of the address.
        partners = SQL(
            """SELECT id FROM indirect_references
                UNION SELECT id FROM res_partner WHERE email_normalized = ANY(%s)""",
            emails,
        )
        # Each part of the union has its index. One condition with OR would read all documents.
        documents = SQL(
            """SELECT id FROM sendgrid_email WHERE recipient = ANY(%(emails)s)
                UNION SELECT id FROM sendgrid_email WHERE partner_id IN (%(partners)s)
                UNION SELECT id FROM sendgrid_email WHERE author_id IN (%(partners)s)""",
            emails=emails,
            partners=partners,
        )
        selects = [
            self._select_for_lookup(
                "res.partner",
                SQL(
                    "email_normalized = ANY(%s) AND id NOT IN (SELECT id FROM indirect_references)",
                    emails,
                ),
            ),
            self._select_for_lookup("sendgrid.email", SQL("id IN (%s)", documents)),
            self._select_for_lookup("sendgrid.event", SQL("email_id IS NULL AND recipient = ANY(%s)", emails)),
            self._select_for_lookup(
                "sendgrid.event",
                SQL("email_id NOT IN (%s) AND answer IN %s AND recipient = ANY(%s)", documents, FROM_ANYWHERE, emails),
            ),
            *(
                self._select_for_lookup(name, condition)
                for name, condition in self.env["sendgrid.address"]._get_conditions_on_addresses(emails).items()
                if "email" in self.env[name]
            ),
        ]
        return SQL(" UNION ALL ").join([query, *selects])

    def _select_for_lookup(self, name, condition):
        """Return the part of core's query that finds the records of a model.

        :param str name: the model's
        :param condition: SQL about its columns
        """
        Model = self.env[name]
        return SQL(
            "SELECT %s AS res_model_id, id AS res_id, %s AS is_active FROM %s WHERE %s",
            self.env["ir.model"]._get_id(name),
            SQL.identifier("active") if "active" in Model else SQL("TRUE"),
            SQL.identifier(Model._table),
            condition,
        )


class PrivacyLookupWizardLine(models.TransientModel):
    """What is deleted here does not stay in the bodies of SendGrid's reports either."""

    _inherit = "privacy.lookup.wizard.line"

    def action_unlink(self):
        addresses, answered = [], self.env["sendgrid.email"].sudo()
        if self.res_model in ADDRESSES and not self.is_unlinked:
            record = self.env[self.res_model].sudo().browse(self.res_id).exists()
            addresses = record.mapped(ADDRESSES[self.res_model])
            if self.res_model == "sendgrid.event":
                answered = record.email_id
        result = super().action_unlink()
        answered._fold_quietly()
        if addresses:
            self.env["sendgrid.reduction"]._begin_deleted(addresses)
        return result
