import secrets

from odoo import api, fields, models
from odoo.exceptions import UserError


class SendgridAccountDisconnect(models.TransientModel):
    """The dialog that disconnects an account.

    Before, it says what will be deleted and what stays. Afterwards it says what was done, and what is left to do by
    hand because SendGrid did not answer.
    """

    _name = "sendgrid.account.disconnect"
    _description = "Disconnect a SendGrid Account"

    account_id = fields.Many2one("sendgrid.account", required=True, readonly=True, ondelete="cascade")
    plan = fields.Text(compute="_compute_plan", help="Says what disconnecting deletes, and what it leaves alone.")
    done = fields.Text(string="What Was Done", readonly=True, help="Says what was deleted or changed.")
    remains = fields.Text(readonly=True, help="Says what is left to do by hand.")

    @api.depends("account_id")
    def _compute_plan(self):
        for wizard in self:
            account = wizard.account_id
            servers = account.with_context(active_test=True).mail_server_ids
            lines = []
            if account._get_place_question():
                lines.append(
                    self.env._(
                        "The webhook will stay at SendGrid: the account was connected from another database or address."
                    )
                )
            elif account.previous_webhook_id or (account.webhook_id and account.webhook_created):
                lines.append(self.env._("The webhook that connecting made will be deleted at SendGrid."))
            elif account.webhook_id:
                lines.append(self.env._("The webhook will stay at SendGrid: it was there before."))
            lines.append(self.env._("The signing key will be forgotten: no event will be accepted any more."))
            lines.append(
                self.env._("The API key will be forgotten here. At SendGrid it stays, until you delete it there.")
            )
            for server in servers:
                if server.sendgrid_connection == "created":
                    lines.append(
                        self.env._("The mail server “%s”, which connecting made, will be archived.", server.name)
                    )
                elif server.sendgrid_connection == "adopted":
                    lines.append(
                        self.env._(
                            "The mail server “%s” will stay. Its e-mails will not be tracked any more.", server.name
                        )
                    )
                elif server.smtp_authentication == "sendgrid_api":
                    lines.append(
                        self.env._(
                            "The mail server “%s” will stay as you set it up, but cannot send without the API key.",
                            server.name,
                        )
                    )
                else:
                    lines.append(self.env._("The mail server “%s” will stay as you set it up.", server.name))
            lines.append(self.env._("The e-mails and what happened to them will stay."))
            wizard.plan = "\n".join(f"• {line}" for line in lines)

    @api.model
    def _open(self, account):
        """Return the action that shows the dialog for ``account``."""
        return self.create({"account_id": account.id})._reopen()

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Disconnect SendGrid"),
            "res_model": self._name,
            "res_id": self.id,
            "views": [[False, "form"]],
            "target": "new",
        }

    def action_disconnect(self):
        """Take back what connecting made, and nothing else.

        If SendGrid does not answer, Odoo forgets its part all the same, and the dialog says what remains to be done.
        """
        self.ensure_one()
        account = self.account_id
        is_copy = bool(account._get_place_question())
        # Before anything is written here, so that no lock is held while SendGrid answers.
        client = account._get_client(patience=5) if account.api_key else None
        done, remains = account._delete_webhooks(account._get_webhooks(only_created=True), client)
        for server in account.with_context(active_test=True).mail_server_ids:
            if server.sendgrid_connection == "created":
                try:
                    with self.env.cr.savepoint():
                        server.write({"active": False, "smtp_pass": False})
                except UserError as error:
                    remains.append(str(error))
                else:
                    done.append(self.env._("The mail server “%s” was archived.", server.name))
            elif server.sendgrid_connection == "adopted":
                server.write({"sendgrid_account_id": False, "sendgrid_connection": False})
                done.append(self.env._("The e-mails of the mail server “%s” are not tracked any more.", server.name))
        account.write(
            {
                "api_key": False,
                "verification_key": False,
                "previous_verification_key": False,
                "previous_verification_key_end": False,
                "previous_webhook_id": False,
                "previous_webhook_token": False,
                "webhook_id": False,
                "webhook_created": False,
                "connection_date": False,
                "tracking_settings_date": False,
                "connected_uuid": False,
                "connected_database": False,
                "connected_url": False,
                # The original goes on with the token. Connected anew, the copy must not find the original's webhook.
                **({"webhook_token": secrets.token_urlsafe(32)} if is_copy else {}),
            }
        )
        done.append(self.env._("The signing key and the API key were forgotten."))
        account._log_lines([self.env._("Disconnected."), *done, *remains])
        self.write({"done": self._to_list(done), "remains": self._to_list(remains)})
        return self._reopen()

    @api.model
    def _to_list(self, sentences):
        return "\n".join(f"• {sentence}" for sentence in sentences)
