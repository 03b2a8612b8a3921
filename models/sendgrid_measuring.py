from odoo import api, models
from odoo.tools import SQL

from ..tools.address_form import all_spellings, comparable

# What separates the addresses of a contact that has several, in PostgreSQL's words.
BETWEEN_ADDRESSES = r'[\s,;<>"]+'


class SendgridMeasuring(models.AbstractModel):
    """Whose opens and clicks are measured: the word of an address' owner decides, or else the company's setting.

    `mail.mail` asks for all recipients of a run of mails at once, and composers before they send. What else lowers the
    level of a mail does not depend on the recipient; see `tools.sending.outbox`.
    """

    _name = "sendgrid.measuring"
    _description = "Who Is Measured"

    @api.model
    def _get_reasons(self, addresses, company):
        """Return why mails of a company do not measure some addresses.

        :param addresses: iterable of addresses, in any spelling
        :param company: `res.company` record
        :return: {comparable address: ``wish`` if the owner declined, ``company`` if nobody asked him and the company's
            setting is not to measure him, None if he is measured}
        """
        return self._get_reasons_of_companies(addresses, company.ids)[company.id]

    @api.model
    def _get_reasons_of_companies(self, addresses, company_ids):
        """Return {company id: what `_get_reasons` returns}, with one query for all addresses and companies."""
        addresses = {comparable(address) for address in addresses}
        words, countries, settings = self._look_up(addresses, company_ids)
        return {
            company_id: {
                address: self._decide(
                    words.get(address), countries.get(address), *settings.get(company_id, (None, None))
                )
                for address in addresses
            }
            for company_id in company_ids
        }

    @api.model
    def _decide(self, word, asks, setting, company_asks):
        """Return why an address is not measured; see `_get_reasons`.

        :param str word: what its owner said
        :param bool asks: whether its country asks for consent; None if no country is known
        :param str setting: the company's `sendgrid_unasked`; None where nobody has chosen: then all are measured, as
            they were before there was a choice
        :param bool company_asks: the same as ``asks`` for the company
        """
        if word:
            return "wish" if word == "declined" else None
        if setting == "nobody" or (setting == "country" and (company_asks if asks is None else asks)):
            return "company"
        return None

    @api.model
    def _look_up(self, addresses, company_ids):
        """Read what decides, in one query.

        :return: ({address: word}, {address: whether a country of it asks for consent}, {company id: (setting, whether
            its country asks)}), without what is not known
        """
        asks = self._get_asks()
        self.env["sendgrid.address"].flush_model(["email", "email_tracking"])
        self.env["res.company"].flush_model(["partner_id", "sendgrid_unasked"])
        parts = [
            SQL(
                """SELECT 'word' AS kind, email AS name, email_tracking AS word, NULL::boolean AS asks
                     FROM sendgrid_address WHERE email = ANY(%s) AND email_tracking IS NOT NULL""",
                list(addresses),
            ),
            SQL(
                """SELECT 'company', company.id::varchar, company.sendgrid_unasked, %s
                     FROM res_company company JOIN res_partner record ON record.id = company.partner_id
                    WHERE company.id = ANY(%s)""",
                asks,
                list(filter(None, company_ids)),
            ),
            *(self._select_countries(self.env[name], addresses, asks) for name in self._get_models()),
        ]
        words, countries, settings = {}, {}, {}
        split = self.env["sendgrid.address"]._split
        for kind, name, word, has_to_ask in self.env.execute_query(SQL(" UNION ALL ").join(parts)):
            if kind == "word":
                words[name] = word
            elif kind == "company":
                settings[int(name)] = (word, bool(has_to_ask))
            else:
                for address in split(name) if kind == "several" else [comparable(name)]:
                    countries[address] = countries.get(address, False) or has_to_ask
        return words, countries, settings

    @api.model
    def _get_models(self):
        """Return the names of the models whose records tell the country of an address."""
        return [name for name in ("res.partner", "crm.lead", "mailing.contact") if name in self.env]

    @api.model
    def _get_asks(self):
        """Return SQL that tells whether the country of a row that is called ``record`` asks for consent."""
        # `env.ref` would cost a query to see that it exists.
        find = self.env["ir.model.data"]._xmlid_to_res_id
        group_id = find("sendgrid_tracking.country_group_consent", raise_if_not_found=False)
        if not group_id:
            return SQL("TRUE")  # without a list, nobody can say of a country that it does not ask
        self.env["res.country.group"].flush_model(["country_ids"])
        return SQL(
            """record.country_id IN (SELECT res_country_id FROM res_country_res_country_group_rel
                                      WHERE res_country_group_id = %s)""",
            group_id,
        )

    @api.model
    def _select_countries(self, Model, addresses, asks):
        """Return the part of the query that reads the countries of a model's records, archived ones included."""
        text = Model._primary_email
        Model.flush_model(["email_normalized", text, "country_id"])
        spellings = all_spellings(addresses)
        # The column `email_normalized` has the first address only. Few records have several: an index finds these.
        return SQL(
            """SELECT 'country', record.email_normalized, NULL, bool_or(%(asks)s)
                 FROM %(table)s record
                WHERE record.email_normalized = ANY(%(spellings)s) AND record.country_id IS NOT NULL
             GROUP BY record.email_normalized
                UNION ALL
               SELECT 'several', record.%(text)s, NULL, %(asks)s
                 FROM %(table)s record
                WHERE record.%(text)s LIKE %(several)s AND record.country_id IS NOT NULL
                  AND regexp_split_to_array(lower(record.%(text)s), %(between)s) && %(spellings)s::text[]""",
            asks=asks,
            table=SQL.identifier(Model._table),
            text=SQL.identifier(text),
            spellings=spellings,
            several="%@%@%",
            between=BETWEEN_ADDRESSES,
        )
