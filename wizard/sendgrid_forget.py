from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain
from odoo.tools import SQL

from ..models.company_language import in_company_language
from ..models.lists import join_words
from ..tools.address_form import comparable

# The dialog names so many addresses.
NAMED = 5


class SendgridForget(models.TransientModel):
    """The dialog that has the tracking of some people or e-mails forgotten, here and, if one says so, at SendGrid.

    It opens on contacts, leads, addresses and documents (`active_model`, `active_ids`). An address is forgotten whoever
    has it, and in all companies: it is one person's. So only administrators may do this, and of contacts and leads only
    those that they may change.
    """

    _name = "sendgrid.forget"
    _description = "Forget Tracking"

    addresses = fields.Json(
        string="List of Addresses",
        readonly=True,
        help="All e-mails to these addresses, known by now, are concerned.",
    )
    email_numbers = fields.Json(readonly=True, help="The ids of further documents that are concerned.")
    address_names = fields.Text(string="Addresses", compute="_compute_counts")
    address_count = fields.Integer(compute="_compute_counts")
    email_count = fields.Integer(string="E-mails", compute="_compute_counts")
    event_count = fields.Integer(string="Opens and Clicks", compute="_compute_counts")
    account_ids = fields.Many2many("sendgrid.account", compute="_compute_account_ids")
    erases_at_sendgrid = fields.Boolean(
        string="Erase them at SendGrid too",
        help="SendGrid deletes what it keeps about the recipients: names, addresses, subjects, IP addresses.",
    )
    place_warning = fields.Text(compute="_compute_account_ids")
    reduction_numbers = fields.Json(readonly=True)
    erasure_ids = fields.Many2many("sendgrid.erasure", readonly=True)
    result = fields.Text(readonly=True, help="What was done, and what goes on by itself.")

    @api.model
    def default_get(self, fields_list):
        """Fill the dialog with what the selected records are about.

        :raise UserError: if they have neither an address nor an e-mail
        """
        self._check_is_administrator()
        values = super().default_get(fields_list)
        model, ids = self.env.context.get("active_model"), self.env.context.get("active_ids")
        if model and ids and model in self.env:
            records = self.env[model].browse(ids)
            addresses, emails = self._get_subjects(records)
            if not addresses and not emails:
                raise UserError(self.env._("There is nothing to forget: no address, and no e-mail."))
            values |= {"addresses": addresses, "email_numbers": emails.ids}
        return values

    @api.model_create_multi
    def create(self, vals_list):
        self._check_is_administrator()
        return super().create(vals_list)

    @api.model
    def _check_is_administrator(self):
        if not self.env.user.has_group("base.group_system"):
            raise AccessError(
                self.env._("Only administrators can have the tracking of somebody forgotten or exported.")
            )

    @api.model
    def _get_subjects(self, records):
        """Return whom and what some records are about.

        :param records: contacts, leads, addresses or documents
        :return: sorted list of comparable addresses, and `sendgrid.email` records that went to other addresses
        :raise AccessError: if the user may not change a contact or lead, or not see a document or an address
        """
        emails = self.env["sendgrid.email"].sudo()
        if records._name == "sendgrid.email":
            records.check_access("read")
            return [], records.sudo()
        if records._name == "sendgrid.address":
            records.check_access("read")
            return sorted(records.mapped("email")), emails
        records.check_access("write")
        addresses = sorted({email for own in records._get_addresses().values() for email in own})
        if records._name == "res.partner":
            emails = emails.search(Domain("partner_id", "in", records.ids) & Domain("recipient", "not in", addresses))
        return addresses, emails

    @api.depends("addresses", "email_numbers")
    def _compute_counts(self):
        self.env["sendgrid.event"].flush_model(["email_id", "event"])
        self.env["sendgrid.email"].flush_model(["recipient"])
        for dialog in self:
            addresses = dialog.addresses or []
            [(emails, events)] = self.env.execute_query(
                SQL(
                    """WITH concerned AS (SELECT id FROM sendgrid_email WHERE recipient = ANY(%s)
                                           UNION SELECT id FROM sendgrid_email WHERE id = ANY(%s))
                       SELECT (SELECT count(*) FROM concerned),
                              (SELECT count(*) FROM sendgrid_event
                                WHERE email_id IN (SELECT id FROM concerned) AND event IN ('open', 'click'))""",
                    addresses,
                    dialog.email_numbers or [],
                )
            )
            dialog.email_count, dialog.event_count, dialog.address_count = emails, events, len(addresses)
            names = join_words(self.env, addresses[:NAMED])
            more = len(addresses) - NAMED
            dialog.address_names = f"{names} … (+{more})" if more > 0 else names

    @api.depends("addresses")
    @api.depends_context("allowed_company_ids")
    def _compute_account_ids(self):
        accounts = self.env["sendgrid.account"].search([("api_key", "!=", False)])
        for dialog in self:
            dialog.account_ids = accounts
            dialog.place_warning = "\n".join(filter(None, accounts.mapped("place_warning"))) or False

    def action_forget(self):
        """Forget the tracking, note who said so, and ask SendGrid to erase the addresses if that is wished for.

        :return: the action that shows what came of it
        """
        self.ensure_one()
        self._check_is_administrator()
        if not self.result:  # a second click does nothing
            self._forget()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Forget Tracking"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [[False, "form"]],
            "target": "new",
        }

    def _forget(self):
        addresses = sorted(map(comparable, self.addresses or []))
        further = self.env["sendgrid.email"].sudo().browse(self.email_numbers or []).exists()
        emails_of_further = sorted(set(further.mapped("recipient")) - set(addresses))
        counts = self._count_documents(addresses, further)
        reductions = (
            self.env["sendgrid.reduction"].sudo()._begin("forgotten", addresses=addresses, email_ids=further.ids)
        )
        self.reduction_numbers = reductions.ids
        self._log(addresses, counts)
        if self.erases_at_sendgrid:
            self.erasure_ids = (
                self.env["sendgrid.erasure"].sudo()._begin(self.account_ids, {*addresses, *emails_of_further})
            )
        self.result = self._describe(reductions)

    def _count_documents(self, addresses, further):
        """Return {comparable address: how many documents are concerned}."""
        counts = self.env["sendgrid.address"]._count_documents(addresses)
        for email in further:
            counts[email.recipient] = counts.get(email.recipient, 0) + 1
        return counts

    @in_company_language
    def _log(self, addresses, counts):
        Address = self.env["sendgrid.address"]
        values = {"forgotten_date": fields.Datetime.now(), "forgotten_uid": self.env.uid}
        for address in Address.sudo()._hold(addresses):
            address.write({**values, "forgotten_count": counts[address.email]})
        Address._log_right(
            counts,
            self.env._("The tracking of %(email)s was forgotten. E-mails: %(count)s."),
            self.env._("The tracking of the address was forgotten. E-mails: %s."),
        )

    def _describe(self, reductions):
        words = [
            self.env._(
                "Opens, clicks, IP addresses and programs are forgotten, and what SendGrid still reports of them is "
                "not kept."
            )
        ]
        if any(one.state != "done" for one in reductions):
            words.append(self.env._("The rest, and the bodies of the reports, follow by themselves within minutes."))
        if self.erasure_ids:
            words.append(self.env._("SendGrid is being asked to erase the addresses."))
        return "\n".join(words)

    def action_view_progress(self):
        """Open the list that shows how far it is."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Forget Tracking"),
            "res_model": "sendgrid.reduction",
            "views": [[False, "list"], [False, "form"]],
            "domain": [("id", "in", self.reduction_numbers or [])],
        }

    def action_view_erasures(self):
        """Open the requests to SendGrid."""
        self.ensure_one()
        return {
            **self.env["ir.actions.act_window"]._for_xml_id("sendgrid_tracking.sendgrid_erasure_action"),
            "domain": [("id", "in", self.erasure_ids.ids)],
        }
