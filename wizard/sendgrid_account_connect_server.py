import contextlib
import smtplib

from odoo import models

from ..models.said import isolate
from ..tools.api.client import ApiError
from ..tools.sending.watched_session import read_answer


class SendgridAccountConnectStep(models.TransientModel):
    """The steps about sending: the mail server, whether it can log in, and what SendGrid tracks."""

    _inherit = "sendgrid.account.connect.step"

    def _run_server(self):
        account, sending = self._get_account(), self.connect_id.sending
        server, message = self._choose_server(account, sending)
        state, lines = "done", [message]
        first = self.env["ir.mail_server"].search([("from_filter", "in", [False, ""])], order="sequence, id", limit=1)
        if first and first != server and not server.from_filter:
            state = "warning"
            lines.append(
                self.env._(
                    "Odoo sends through the first mail server of the list, and that is “%s”. To send through this "
                    "one, move it up: the account's page Connection leads to all outgoing mail servers.",
                    first.name,
                )
            )
        relayed = self._get_relayed_servers(account)
        if others := relayed.filtered(lambda one: one.smtp_pass != account.sudo().api_key):
            # It may be so on purpose, so ask.
            state, self.question = "warning", "password"
            lines.append(
                self.env._(
                    "Another API key than the account's is the password of %s. If that key is deleted at SendGrid, "
                    "their e-mails fail.",
                    [f"“{one.name}”" for one in others],
                )
            )
        for one in relayed:
            if trouble := self._try_login(one):
                state = "failed" if one == server or state == "failed" else "warning"
                lines.append(trouble)
        return state, "\n".join(lines)

    def _choose_server(self, account, sending):
        """Return the mail server through which the account sends, and a sentence about it. Make one if there is none.

        :param sending: the chosen `smtp_authentication`
        """
        Server = self.env["ir.mail_server"]
        servers = Server.with_context(active_test=False).search([("sendgrid_account_id", "=", account.id)])
        created = servers.filtered(lambda server: server.sendgrid_connection == "created")
        others = (servers - created).filtered(lambda server: server.active and server.smtp_authentication == sending)
        if others:
            return others[:1], self.env._("Mails leave through “%s”, as before.", others[0].name)
        if adopted := self._find_adoptable(sending) if not created else None:
            adopted.write({"sendgrid_account_id": account.id, "sendgrid_connection": "adopted"})
            names = ", ".join(adopted.mapped("name"))
            return adopted[:1], self.env._("“%s” was there, and is tracked from now on.", names)
        values = self._get_server_values(account, sending)
        if created:
            created.write(values)
        else:
            created = Server.create({**values, "name": account.name, "sendgrid_connection": "created"})
        return created, self.env._("“%s” is ready to send.", created.name)

    def _get_relayed_servers(self, account):
        """Return the active mail servers that send through SendGrid's relay with the account's API key, or with the
        one that the account had before.
        """
        servers = account.sudo().mail_server_ids.filtered("active") | self.connect_id.stale_server_ids
        return servers.filtered(lambda server: server._uses_sendgrid_relay())

    def _try_login(self, server):
        """Log in as the mail server will, and return words for what went wrong, or None."""
        if server._disable_send():
            return None
        try:
            # A server that somebody has for himself sends for him only.
            connection = server._connect__(mail_server_id=server.id, smtp_from=server.owner_user_id.email)
        except smtplib.SMTPAuthenticationError as error:
            return self.env._(
                "SendGrid refuses the password of “%(name)s”: it has to be an API key that may send. It said: "
                "“%(words)s”",
                name=server.name,
                words=isolate(read_answer((error.smtp_code, error.smtp_error))),
            )
        except smtplib.SMTPException as error:
            if not isinstance(error, (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected)):
                return self.env._(
                    "“%(name)s” cannot be used. SendGrid said: “%(words)s”", name=server.name, words=isolate(error)
                )
            return self._explain_no_connection(server, error)
        except (OSError, UnicodeError) as error:
            return self._explain_no_connection(server, error)
        with contextlib.suppress(smtplib.SMTPException):  # it has logged in, and nothing else was asked
            connection.quit()
        return None

    def _explain_no_connection(self, server, error):
        return self.env._(
            "“%(name)s” cannot reach %(host)s, port %(port)s, from this server (%(words)s). Many hosts block SMTP: ask "
            "yours, or go back and choose the Web API.",
            name=server.name,
            host=server.smtp_host,
            port=server.smtp_port,
            words=isolate(error),
        )

    def action_use_key(self):
        """Give the account's API key to its mail servers that have another, then run the step again."""
        account = self._get_account()
        others = self._get_relayed_servers(account).filtered(lambda one: one.smtp_pass != account.api_key)
        others.write({"smtp_pass": account.api_key})
        account._log_lines([self.env._("The mail server “%s” got the account's API key.", one.name) for one in others])
        self.action_repeat()

    def _find_adoptable(self, sending):
        """Return mail servers that use SendGrid's relay but belong to no account yet, and can belong to this one.

        These are the servers with this account's API key. If there are none, and Odoo has no other account, these are
        all such servers.

        :param sending: the chosen `smtp_authentication`
        :return: `ir.mail_server` records, or None
        """
        if sending != "login":
            return None
        account = self._get_account()
        servers = self.env["ir.mail_server"].search([("sendgrid_account_id", "=", False)])
        servers = servers.filtered(lambda server: server._uses_sendgrid_relay())
        same_key = servers.filtered(lambda server: server.sudo().smtp_pass == account.sudo().api_key)
        is_alone = not self.env["sendgrid.account"].sudo().search_count([("id", "!=", account.id)], limit=1)
        return same_key or (servers if is_alone else None)

    def _get_server_values(self, account, sending):
        values = {"sendgrid_account_id": account.id, "active": True}
        if sending == "login":
            return {**values, **account._get_relay_values()}
        return {
            **values,
            "smtp_authentication": sending,
            "smtp_host": False,
            "smtp_user": False,
            "smtp_pass": False,
            "smtp_encryption": "none",
        }

    def _run_tracking(self):
        account = self._get_account()
        try:
            account._read_tracking_settings()
        except ApiError as error:
            if error.kind != "scope":
                raise
            return "skipped", self.env._(
                "The key may not read these settings: Settings > Tracking at SendGrid shows them."
            )
        off = [
            name
            for name, enabled in (
                (self.env._("opens"), account.open_tracking),
                (self.env._("clicks"), account.click_tracking),
            )
            if not enabled
        ]
        if not off:
            return "done", self.env._("SendGrid tracks opens and clicks.")
        return "warning", self.env._(
            "SendGrid does not track: %s. Switch it on at the account, if you want it and may.", off
        )
