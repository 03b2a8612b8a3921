from odoo import api, fields, models
from odoo.exceptions import ValidationError

from ..tools.networks import NetworkError, parse

# For how many months something is kept. 0 means for ever.
PERIODS = ("sendgrid_detail_months", "sendgrid_document_months")


class ResCompany(models.Model):
    """What a company decides about tracking.

    Core reads the company for each mail and each page, nearly always without any of these fields. So they are read by
    themselves, and all at once.
    """

    _inherit = "res.company"

    sendgrid_detail_months = fields.Integer(
        string="Forget Details of E-mail Events after",
        default=12,
        prefetch="sendgrid",
        groups="base.group_system",
        help="After so many months Odoo removes IP addresses, user agents and the secret part of links from events. "
        "Counts of opens and clicks stay as they are. 0: never. An account that serves all companies follows the "
        "shortest of their periods.",
    )
    sendgrid_document_months = fields.Integer(
        string="Forget Tracked E-mails after",
        default=36,  # a company that was there before keeps its own, also if it is "never"
        prefetch="sendgrid",
        groups="base.group_system",
        help="After so many months Odoo deletes documents with all their events, and with them the proof of a bounce "
        "or a complaint. 0: never. An account that serves all companies follows the shortest of their periods.",
    )

    sendgrid_networks = fields.Text(
        string="Own Networks",
        prefetch="sendgrid",
        groups="base.group_system",
        help="IP addresses of your offices, one network a line, such as 203.0.113.0/24 or 2001:db8:1::/48. Whoever "
        "opens or clicks from there is a colleague, which counts as nobody's. An account that serves all companies "
        "knows the networks of all.",
    )

    sendgrid_unasked = fields.Selection(
        [
            ("country", "Only outside the countries that ask for consent"),
            ("nobody", "Nobody"),
            ("everybody", "Everybody"),
        ],
        string="Measure Who Was Not Asked",
        default="country",
        prefetch="sendgrid",
        groups="base.group_system",
        help="Whose opens and clicks are measured of those who neither agreed nor declined. Empty: nobody has chosen "
        "yet, and everybody is measured as before.",
    )
    sendgrid_has_notice = fields.Boolean(
        string="Tell How E-mails Are Measured",
        prefetch="sendgrid",
        groups="base.group_system",
        help="Measured e-mails end with a link to a page that tells how they are measured, where the recipient can "
        "decline or agree. Instead, you can put a link to /sendgrid/measuring into templates, mailings and signatures: "
        "when an e-mail is sent, each recipient's own link takes its place, and no other is added.",
    )
    sendgrid_keeps_details = fields.Boolean(
        string="Keep IP Addresses and Programs",
        default=True,
        prefetch="sendgrid",
        groups="base.group_system",
        help="If it is off, Odoo decides who opened or clicked when the event comes in, and keeps neither the IP "
        "address nor the program.",
    )

    _sendgrid_months_not_negative = models.Constraint(
        "CHECK (sendgrid_detail_months >= 0 AND sendgrid_document_months >= 0)",
        "A period in months cannot be negative: 0 means never.",
    )

    @api.model_create_multi
    def create(self, vals_list):
        months = {period: self._get_sendgrid_months(period) for period in PERIODS}
        companies = super().create(vals_list)
        # Whoever may make companies need not be one who may change the periods.
        for company, vals in zip(companies.sudo(), vals_list, strict=True):
            company.write(
                {name: value for name, value in months.items() if name not in vals and company[name] != value}
            )
        return companies

    @api.model
    def _get_sendgrid_months(self, period):
        """Return after how many months a new company forgets documents, or details.

        An account that serves all companies follows the shortest period. So a new company must not be the one for which
        the documents or details of the others are deleted.

        :param str period: one of PERIODS
        """
        Account = self.env["sendgrid.account"].sudo().with_context(active_test=False)
        usual = self._fields[period].default(self)
        if not Account.search_count([("company_id", "=", False)], limit=1):
            return usual
        shortest = min(filter(None, self.sudo().search([("active", "=", True)]).mapped(period)), default=0)
        return max(shortest, usual) if shortest else 0

    def write(self, vals):
        if "sendgrid_unasked" not in vals:
            return super().write(vals)
        old = {company: company.sudo().sendgrid_unasked for company in self}
        result = super().write(vals)
        if changed := self.filtered(lambda company: company.sudo().sendgrid_unasked != old[company]):
            self.env["sendgrid.account"]._note_choice(changed)
        return result

    @api.constrains("sendgrid_networks")
    def _check_sendgrid_networks(self):
        for company in self:
            try:
                parse(company.sendgrid_networks or "")
            except NetworkError as error:
                code, parameters = error.reason
                raise ValidationError(self._get_network_messages()[code] % parameters) from None

    @api.model
    def _get_choices_in_words(self):
        """Return {value of `sendgrid_unasked`, False for none: a sentence that says who is measured}."""
        return {
            "country": self.env._("Who was not asked is measured only outside the countries that ask for consent."),
            "nobody": self.env._("Only who agreed is measured."),
            "everybody": self.env._("Everybody is measured who has not declined."),
            False: self.env._("Nobody has chosen yet: everybody is measured, as before."),
        }

    @api.model
    def _get_network_messages(self):
        """Return {code of a `tools.networks.NetworkError`: its words}."""
        return {
            "no_network": self.env._(
                "“%(word)s” is no network. Please write one a line, such as 203.0.113.0/24, 203.0.113.7 or "
                "2001:db8:1::/48."
            ),
            "too_large": self.env._(
                "The network %(word)s is too large to be an office's: too many people would count as colleagues."
            ),
        }

    @api.model
    def _get_action_of_consent_countries(self):
        """Return the action that shows the countries that ask for consent, or all groups of countries if it is gone."""
        action = self.env["ir.actions.act_window"]._for_xml_id("base.action_country_group")
        if group := self.env.ref("sendgrid_tracking.country_group_consent", raise_if_not_found=False):
            action |= {"res_id": group.id, "views": [[False, "form"]]}
        return action

    def _get_sendgrid_networks(self):
        """Return the company's own networks as a list of `ipaddress` networks. What is no network is left out."""
        self.ensure_one()
        try:
            return parse(self.sendgrid_networks or "")
        except NetworkError:  # written without the ORM
            return []
