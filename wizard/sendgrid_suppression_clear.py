import itertools

from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError

from ..models.sendgrid_address import HOLDING_LISTS
from ..tools.api.client import ApiError
from ..tools.api.suppressions import WISHES, find_address


class SendgridSuppressionClear(models.TransientModel):
    """The dialog that offers to take addresses off SendGrid's lists, after somebody has cleared them in Odoo.

    A contact may have several addresses, so there may be lines for each.
    """

    _name = "sendgrid.suppression.clear"
    _description = "Clear an Address at SendGrid"

    email = fields.Char(
        string="Addresses", required=True, readonly=True, help="The normalized addresses, with commas between them."
    )
    line_ids = fields.One2many("sendgrid.suppression.clear.line", "wizard_id", string="Lists")
    problem = fields.Text(readonly=True, help="Says why SendGrid could not be asked which lists the address is on.")

    @api.model
    def _get_action(self, text):
        """Return the action that shows the dialog, or False if there is nothing to offer.

        :param text: the address or addresses, as they were typed
        """
        emails = self.env["sendgrid.address"]._split(text)
        # Offer nothing to a user who may not clear addresses, and do not call SendGrid for him.
        if not emails or not self._may_clear():
            return False
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Clear at SendGrid too?"),
            "res_model": self._name,
            "views": [[False, "form"]],
            "target": "new",
            "context": {"default_email": ", ".join(emails)},
        }

    @api.model
    def _may_clear(self):
        """Tell whether the user may have addresses cleared, and there is an account that can do it."""
        return self.env["res.partner"].has_access("write") and bool(self._get_accounts_sudo())

    @api.model
    def _get_accounts_sudo(self):
        """Return the accounts of the user's companies that have an API key."""
        return (
            self.env["sendgrid.account"]
            .sudo()
            .search([("api_key", "!=", False), ("company_id", "in", [False, *self.env.companies.ids])])
        )

    @api.model
    def default_get(self, fields_list):
        """Fill the dialog with the lists that the address is on.

        SendGrid is asked, because Odoo compares the lists once a day only. If SendGrid does not answer, the dialog
        shows what Odoo knows, and why it knows no better.
        """
        self.env["res.partner"].check_access("write")
        values = super().default_get(fields_list)
        emails = self.env["sendgrid.address"]._split(values.get("email"))
        if emails and "line_ids" in fields_list:
            lines, problems = [], []
            for account, email in itertools.product(self._get_accounts_sudo(), emails):
                try:
                    found = list(find_address(account._get_client(patience=0), email))
                except ApiError as error:
                    problems.append(account._explain_api_error(error))
                    known = (
                        self.env["sendgrid.suppression"]
                        .sudo()
                        .search([("account_id", "=", account.id), ("email", "=", email), ("state", "=", "listed")])
                    )
                    found = [(entry.list, entry._to_entry()) for entry in known]
                else:
                    self._note_absent(account, email, {name for name, _entry in found})
                lines += [self._prepare_line(account, email, name, entry) for name, entry in found]
            values["line_ids"] = [fields.Command.create(line) for line in lines]
            values["problem"] = "\n".join(dict.fromkeys(problems)) or False
        return values

    @api.model
    def _note_absent(self, account, email, names):
        """Note that SendGrid has taken an address off lists, because it has just been asked for this very address.

        Otherwise the contact would say until the next whole comparison that SendGrid holds mail back.

        :param names: the lists that the address is on
        """
        entries = self.env["sendgrid.suppression"].sudo()
        absent = entries.search(
            [
                ("account_id", "=", account.id),
                ("email", "=", email),
                ("state", "=", "listed"),
                ("list", "in", [name for name in HOLDING_LISTS if name not in names]),
            ]
        )
        absent.write({"state": "cleared", "cleared_date": fields.Datetime.now(), "error": False})

    @api.model
    def _prepare_line(self, account, email, name, entry):
        return {
            "email": email,
            "account_number": account.id,
            "account_name": account.name,
            "list": name,
            "group_id": entry.group_id,
            "group_name": entry.group_name,
            "reason": entry.reason,
            # Complaints and unsubscribes are wishes of the recipient. The user has to choose them himself.
            "is_chosen": name not in WISHES,
        }

    def action_clear(self):
        """Have the address taken off the chosen lists, after the commit. The contact's chatter then says the result.

        :raise AccessError: if the user may not undo a wish of the recipient
        :raise UserError: if nothing is chosen
        """
        self.ensure_one()
        chosen = self.line_ids.filtered("is_chosen")
        if not chosen:
            raise UserError(
                self.env._(
                    "Nothing is ticked: tick the entries that SendGrid shall delete. To keep them all, press “Leave It "
                    "There”."
                )
            )
        self.env["res.partner"].check_access("write")
        if any(line.list in WISHES for line in chosen) and not self.env["mail.blacklist"].has_access("write"):
            raise AccessError(
                self.env._(
                    "The recipient asked for this. Only who may change the blacklist can take it back: please ask your "
                    "administrator."
                )
            )
        accounts = self._get_accounts_sudo().grouped("id")
        Suppression = self.env["sendgrid.suppression"].sudo()
        entries = Suppression
        for line in chosen:
            if not (account := accounts.get(line.account_number)):
                continue
            entries += Suppression._get_entry(
                account, line.list, line.email, line.group_id, line.group_name, line.reason
            )
        # SendGrid has just said that the address is listed, whatever Odoo thought.
        entries.filtered(lambda entry: entry.state == "cleared").state = "listed"
        entries._clear_later()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "info",
                "message": self.env._("SendGrid is being asked. What comes of it will be in the contact's chatter."),
                "next": {"type": "ir.actions.act_window_close"},
            },
        }


class SendgridSuppressionClearLine(models.TransientModel):
    """A list that the address is on."""

    _name = "sendgrid.suppression.clear.line"
    _description = "List that an Address Is on"

    wizard_id = fields.Many2one("sendgrid.suppression.clear", required=True, ondelete="cascade")
    email = fields.Char(string="Address", required=True)
    # This is no many2one, because the user need not be allowed to read accounts.
    account_number = fields.Integer()
    account_name = fields.Char(string="Account")
    list = fields.Selection(
        lambda self: self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env), required=True
    )
    group_id = fields.Integer(string="Group ID")
    group_name = fields.Char(string="Group")
    reason = fields.Text()
    is_chosen = fields.Boolean(string="Clear", help="Have SendGrid take the address off this list.")
