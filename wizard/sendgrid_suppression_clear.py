from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.tools import email_normalize

from ..tools.api.client import ApiError
from ..tools.api.suppressions import WISHES, find_address


class SendgridSuppressionClear(models.TransientModel):
    """Ask whether an address that is fine in Odoo is to be taken off SendGrid's lists as well."""

    _name = "sendgrid.suppression.clear"
    _description = "Clear an Address at SendGrid"

    email = fields.Char(string="Address", required=True, readonly=True)
    line_ids = fields.One2many("sendgrid.suppression.clear.line", "wizard_id", string="Lists")
    problem = fields.Text(readonly=True, help="Why SendGrid could not be asked which lists the address is on.")

    @api.model
    def _get_action(self, email):
        """Return the action of the dialog, False if there is nobody to ask."""
        email = email_normalize(email)
        # Who may not clear is not asked; SendGrid is not called for him either.
        if not email or not self.env["res.partner"].has_access("write") or not self._get_accounts_sudo():
            return False
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Clear at SendGrid too?"),
            "res_model": self._name,
            "views": [[False, "form"]],
            "target": "new",
            "context": {"default_email": email},
        }

    @api.model
    def _get_accounts_sudo(self):
        """Return the accounts with a key, of the user's companies."""
        return (
            self.env["sendgrid.account"]
            .sudo()
            .search([("api_key", "!=", False), ("company_id", "in", [False, *self.env.companies.ids])])
        )

    @api.model
    def default_get(self, fields_list):
        """Ask SendGrid which lists the address is on: what Odoo knows of it can be a day old."""
        self.env["res.partner"].check_access("write")
        values = super().default_get(fields_list)
        email = email_normalize(values.get("email"))
        if email and "line_ids" in fields_list:
            lines, problems = [], []
            for account in self._get_accounts_sudo():
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
                lines += [self._prepare_line(account, name, entry) for name, entry in found]
            values["line_ids"] = [fields.Command.create(line) for line in lines]
            values["problem"] = "\n".join(dict.fromkeys(problems)) or False
        return values

    @api.model
    def _prepare_line(self, account, name, entry):
        return {
            "account_number": account.id,
            "account_name": account.name,
            "list": name,
            "group_id": entry.group_id,
            "group_name": entry.group_name,
            "reason": entry.reason,
            # What a person asked for is undone only on purpose.
            "is_chosen": name not in WISHES,
        }

    def action_clear(self):
        """Have the address taken off the chosen lists, after the commit. What comes of it is told in the chatter."""
        self.ensure_one()
        chosen = self.line_ids.filtered("is_chosen")
        self.env["res.partner"].check_access("write")
        if any(line.list in WISHES for line in chosen) and not self.env["mail.blacklist"].has_access("write"):
            raise AccessError(
                self.env._(
                    "Somebody asked for this himself. Only who may change the blacklist can take it back: please ask "
                    "your administrator."
                )
            )
        accounts = self._get_accounts_sudo().grouped("id")
        Suppression = self.env["sendgrid.suppression"].sudo()
        now = fields.Datetime.now()
        entries = Suppression
        for line in chosen:
            if not (account := accounts.get(line.account_number)):
                continue
            entry = Suppression.search(
                [
                    ("account_id", "=", account.id),
                    ("list", "=", line.list),
                    ("group_id", "=", line.group_id),
                    ("email", "=", self.email),
                ]
            )
            entries += entry or Suppression.create(
                {
                    "account_id": account.id,
                    "list": line.list,
                    "group_id": line.group_id,
                    "group_name": line.group_name,
                    "email": self.email,
                    "created": now,
                    "reason": line.reason,
                    "outcome": "known",
                }
            )
        entries.filtered(lambda entry: entry.state == "cleared").state = "listed"  # since SendGrid says so
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
    # Not a many2one: the accounts are the administrators'.
    account_number = fields.Integer()
    account_name = fields.Char(string="Account")
    list = fields.Selection(
        lambda self: self.env["sendgrid.suppression"]._fields["list"]._description_selection(self.env), required=True
    )
    group_id = fields.Integer(string="Group ID")
    group_name = fields.Char(string="Group")
    reason = fields.Text()
    is_chosen = fields.Boolean(string="Clear", help="Have SendGrid take the address off this list.")
