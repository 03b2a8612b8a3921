from odoo import api, models
from odoo.tools import SQL

from ..tools.address_form import comparable, spellings

# What separates the addresses of a contact that has several, in PostgreSQL's words.
BETWEEN_ADDRESSES = r'[\s,;<>"]+'
# As the indexes on contacts and leads have it.
SEVERAL = "%@%@%"


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

        Where nothing depends on countries, because of words or settings, no record is looked for.

        :return: ({address: word}, {address: whether a country of it asks for consent}, {company id: (setting, whether
            its country asks)}), without what is not known
        """
        wanted = [(address, spelling) for address in addresses for spelling in spellings(address)]
        asks = self._get_asks()
        self.env["sendgrid.address"].flush_model(["email", "email_tracking"])
        self.env["res.company"].flush_model(["partner_id", "sendgrid_unasked"])
        query = SQL(
            """WITH word AS MATERIALIZED (
                    SELECT email, email_tracking FROM sendgrid_address
                     WHERE email = ANY(%(addresses)s) AND email_tracking IS NOT NULL),
                setting AS MATERIALIZED (
                    SELECT company.id, company.sendgrid_unasked, %(asks)s AS asks
                      FROM res_company company JOIN res_partner record ON record.id = company.partner_id
                     WHERE company.id = ANY(%(companies)s)),
                spelling AS MATERIALIZED (
                    SELECT wanted.spelling FROM unnest(%(names)s::varchar[], %(spellings)s::varchar[])
                                              AS wanted (address, spelling)
                     WHERE EXISTS (SELECT FROM setting WHERE sendgrid_unasked = 'country')
                       AND NOT EXISTS (SELECT FROM word WHERE word.email = wanted.address)),
                country (kind, name, asks) AS MATERIALIZED (%(countries)s),
                missing AS MATERIALIZED (
                    SELECT spelling FROM spelling
                     WHERE NOT EXISTS (SELECT FROM country WHERE country.name = spelling AND country.asks))
               SELECT 'word' AS kind, email AS name, email_tracking AS word, NULL::boolean AS asks FROM word
                UNION ALL
               SELECT 'company', id::varchar, sendgrid_unasked, asks FROM setting
                UNION ALL
               SELECT kind, name, NULL, asks FROM country %(last)s""",
            addresses=list(addresses),
            asks=asks,
            companies=list(filter(None, company_ids)),
            names=[address for address, _spelling in wanted],
            spellings=[spelling for _address, spelling in wanted],
            countries=SQL(" UNION ALL ").join(
                self._select_countries(self.env[name], asks) for name in ("res.partner", "crm.lead")
            ),
            last=self._select_countries_of_mailing_contacts(asks),
        )
        words, countries, settings = {}, {}, {}
        split = self.env["sendgrid.address"]._split
        for kind, name, word, has_to_ask in self.env.execute_query(query):
            if kind == "word":
                words[name] = word
            elif kind == "company":
                settings[int(name)] = (word, bool(has_to_ask))
            else:
                for address in split(name) if kind == "several" else [comparable(name)]:
                    countries[address] = countries.get(address, False) or has_to_ask
        return words, countries, settings

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
    def _select_countries(self, Model, asks):
        """Return the part of the query that reads the countries of a model's records, archived ones included.

        Arrays let PostgreSQL take the indexes, however many addresses it expects.
        """
        text = Model._primary_email
        Model.flush_model(["email_normalized", text, "country_id"])
        # The column `email_normalized` has the first address only. Few records have several: an index finds these.
        return SQL(
            """SELECT 'country', record.email_normalized, bool_or(%(asks)s)
                 FROM %(table)s record
                WHERE EXISTS (SELECT FROM spelling)
                  AND record.email_normalized = ANY(ARRAY(SELECT spelling FROM spelling))
                  AND record.country_id IS NOT NULL
             GROUP BY record.email_normalized
                UNION ALL
               SELECT 'several', record.%(text)s, %(asks)s
                 FROM %(table)s record
                WHERE EXISTS (SELECT FROM spelling)
                  AND record.%(text)s LIKE %(several)s AND record.country_id IS NOT NULL
                  AND regexp_split_to_array(lower(record.%(text)s), %(between)s)
                      && ARRAY(SELECT spelling::text FROM spelling)""",
            asks=asks,
            table=SQL.identifier(Model._table),
            text=SQL.identifier(text),
            several=SEVERAL,
            between=BETWEEN_ADDRESSES,
        )

    @api.model
    def _select_countries_of_mailing_contacts(self, asks):
        """Return the part of the query about mailing contacts, empty without them.

        Core has no index on their addresses. So they come last, and are read once, only if it may change something.
        """
        if "mailing.contact" not in self.env:
            return SQL()
        self.env["mailing.contact"].flush_model(["email_normalized", "email", "country_id"])
        return SQL(
            """UNION ALL
               SELECT 'several', record.email, NULL, %(asks)s
                 FROM mailing_contact record
                WHERE EXISTS (SELECT FROM missing) AND record.country_id IS NOT NULL
                  AND (record.email_normalized = ANY(ARRAY(SELECT spelling FROM missing))
                       OR (record.email LIKE %(several)s
                           AND regexp_split_to_array(lower(record.email), %(between)s)
                               && ARRAY(SELECT spelling::text FROM missing)))""",
            asks=asks,
            several=SEVERAL,
            between=BETWEEN_ADDRESSES,
        )
