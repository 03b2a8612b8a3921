import logging
import smtplib

from odoo import api, models
from odoo.exceptions import UserError

from odoo.addons.base.models.ir_model import MODULE_UNINSTALL_FLAG

from ..tools.api import event_webhook, hosts
from ..tools.api.client import ApiError
from .elsewhere import ElsewhereError

_logger = logging.getLogger(__name__)

TIMEOUT = 4  # seconds for one call while something is being removed: nobody should wait for a SendGrid that is away
NOBODY_THERE = ("timeout", "unreachable")


class SendgridAccount(models.Model):
    """What goes when an account is disconnected or deleted, or the addon is uninstalled.

    At SendGrid the webhook goes, because what it posts would find nobody. Here the mail servers go on sending.
    """

    _inherit = "sendgrid.account"

    def unlink(self):
        if self.env.context.get(MODULE_UNINSTALL_FLAG):
            return super().unlink()
        known = [(account.name, account._get_webhooks(), account._get_client_or_none()) for account in self]
        result = super().unlink()
        # A foreign key may refuse the deletion, so SendGrid is asked only now.
        self.env.flush_all()
        failures = []
        for name, webhooks, client in known:
            done, remains = self._delete_webhooks(webhooks, client, failures)
            if done or remains:
                self._tell_deleted(name, done, remains)
        return result

    def _tell_deleted(self, name, done, remains):
        """Tell the user what became of a deleted account's webhook at SendGrid: the account's chatter is gone."""
        message = self.env._(
            "The account “%(name)s” is deleted. %(remains)s", name=name, remains=" ".join(done + remains)
        )
        if remains:
            _logger.warning("SendGrid: %s", message)
        notice = {"type": "warning" if remains else "info", "sticky": True, "message": message}
        self.env.user._bus_send("simple_notification", notice)

    def _get_webhooks(self, only_created=False):
        """Return SendGrid's ids of the account's webhooks, with the token that is part of their addresses.

        :param bool only_created: leave out a webhook that connecting found, or somebody set up by hand
        :return: list of (webhook id, token, whether it is the one with the previous signing key). Without an id,
            somebody may have set it up by hand.
        """
        account = self.sudo()
        webhooks = []
        if account.previous_webhook_id:
            webhooks.append((account.previous_webhook_id, account.previous_webhook_token, True))
        if account.webhook_id and (account.webhook_created or not only_created):
            webhooks.append((account.webhook_id, account.webhook_token, False))
        elif not only_created and not account.webhook_id and (account.api_key or account.verification_key):
            webhooks.append((None, account.webhook_token, False))
        return webhooks

    def _get_client_or_none(self):
        """Return a client that does not wait long and can be used when the account is gone; None without an API key."""
        account = self.sudo()
        if not account.api_key:
            return None
        client = account._get_client(patience=0, timeout=TIMEOUT)
        if question := account._get_place_question():
            error = ElsewhereError(account._explain_place(), question)
        else:
            error = None

        def check():
            if error:
                raise error

        client.before_change = check
        return client

    @api.model
    def _delete_webhooks(self, webhooks, client, failures=None):
        """Delete webhooks at SendGrid that still lead to their address. It never raises.

        Call it before anything is written here, so that no lock is held while SendGrid answers.

        :param webhooks: as `_get_webhooks` returns them
        :param client: `tools.api.client.Client`, or None without an API key
        :param failures: list of the `ApiError` of earlier calls, to which those of this one are added. Where nobody
            answered, nobody is called again.
        :return: two lists of sentences: what was done, and what remains to be done by hand
        """
        done, remains, failures = [], [], [] if failures is None else failures
        for webhook_id, token, is_previous in webhooks:
            try:
                if not client:
                    raise UserError(self.env._("There is no API key."))
                if failures and failures[-1].kind in NOBODY_THERE:
                    raise failures[-1]
                gone = event_webhook.delete(client, webhook_id, token)
            except ElsewhereError as error:
                done.append(
                    self._tell_webhook(is_previous, "stays", id=webhook_id or self.env._("unknown"), why=str(error))
                )
            except (ApiError, UserError) as error:
                if isinstance(error, ApiError):
                    failures.append(error)
                    why = self._explain_api_error(error)
                else:
                    why = str(error)
                remains.append(
                    self.env._(
                        "Delete the webhook at SendGrid under Settings > Mail Settings > Event Webhooks (its id is "
                        "%(id)s). It stays there, because it could not be done from here. %(why)s",
                        id=webhook_id or self.env._("unknown"),
                        why=why,
                    )
                )
            else:
                if gone is not None:
                    done.append(self._tell_webhook(is_previous, "deleted" if gone else "elsewhere"))
        return done, remains

    @api.model
    def _tell_webhook(self, is_previous, outcome, **words):
        """Return a sentence for what became of a webhook at SendGrid.

        :param outcome: "deleted", "elsewhere" or "stays"
        :param words: for "stays" the webhook's ``id``, and a sentence that says ``why``
        """
        if is_previous:
            sentences = {
                "deleted": self.env._("The webhook with the previous signing key was deleted at SendGrid."),
                "elsewhere": self.env._(
                    "The webhook with the previous signing key leads elsewhere at SendGrid by now, and was left alone."
                ),
                "stays": self.env._(
                    "The webhook with the previous signing key stays at SendGrid (its id is %(id)s), because it may be "
                    "another database's. %(why)s"
                ),
            }
        else:
            sentences = {
                "deleted": self.env._("The webhook was deleted at SendGrid."),
                "elsewhere": self.env._("The webhook leads elsewhere at SendGrid by now, and was left alone."),
                "stays": self.env._(
                    "The webhook stays at SendGrid (its id is %(id)s), because it may be another database's. %(why)s"
                ),
            }
        return sentences[outcome] % words if words else sentences[outcome]

    # ------------------------------------------------------------
    # UNINSTALL
    # ------------------------------------------------------------

    @api.model
    def _prepare_uninstall(self):
        """Let mails leave without the addon, and take the webhooks away. It never raises: see `hooks`."""
        accounts = self.sudo().search([("active", "in", [True, False])])
        for step in (
            accounts._free_mail_servers,
            accounts._remove_webhooks,
            accounts._forget_reminders,
            accounts._forget_parameters,
            accounts._forget_leftovers,
        ):
            try:
                with self.env.cr.savepoint():
                    step()
            except Exception:
                _logger.exception("SendGrid: a part of the uninstallation was left out")

    def _free_mail_servers(self):
        """Have the mail servers of the Web API send by SMTP with the same API key, or archive them if that cannot work.

        One that cannot be changed is archived too, and does not keep the others from going on.
        """
        troubles = {}
        servers = self.env["ir.mail_server"].sudo().with_context(active_test=False)
        for server in servers.search([("smtp_authentication", "=", "sendgrid_api")]):
            account = server.sendgrid_account_id
            try:
                if account.api_key:
                    with self.env.cr.savepoint():
                        server.write(account._get_relay_values())
                    if account not in troubles:
                        troubles[account] = account._find_relay_trouble()
                    if not troubles[account]:
                        _logger.info("SendGrid: the mail server “%s” sends by SMTP from now on.", server.name)
                        continue
                    why = f"it cannot send by SMTP ({troubles[account]})"
                else:
                    why = "its account has no API key"
            except Exception:
                _logger.exception("SendGrid: the mail server “%s” could not be changed", server.name)
                why = "it could not be changed"
            try:
                with self.env.cr.savepoint():
                    server._archive_after_sendgrid()
                _logger.warning("SendGrid: the mail server “%s” is archived: %s.", server.name, why)
            except Exception:
                _logger.exception("SendGrid: the mail server “%s” could not be archived", server.name)

    def _find_relay_trouble(self):
        """Log in at SendGrid's SMTP relay as the mail servers would; return what went wrong, or None.

        Core's `_connect__` would do it too, but waits a minute for an answer. Until then nobody could use the database,
        which the uninstallation holds.
        """
        if self.env["ir.mail_server"]._disable_send():
            return None
        values = self._get_relay_values()
        try:
            with smtplib.SMTP(values["smtp_host"], values["smtp_port"], timeout=TIMEOUT) as relay:
                if values["smtp_encryption"] == "starttls":
                    relay.starttls()
                relay.login(values["smtp_user"], values["smtp_pass"])
        except OSError as error:  # those of smtplib are such too
            return error
        return None

    def _get_relay_values(self):
        """Return the values of a mail server that sends through SendGrid's SMTP relay with the account's API key."""
        account = self.sudo()
        host, port, encryption = hosts.RELAY[account.region], hosts.RELAY_PORT, "starttls"
        # For development, this parameter replaces SendGrid's relay by a local program.
        if stand_in := self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.smtp_host"):
            host, _colon, port = stand_in.rpartition(":")
            encryption = "none"
        return {
            "smtp_authentication": "login",
            "smtp_host": host,
            "smtp_port": int(port),
            "smtp_encryption": encryption,
            "smtp_user": hosts.RELAY_USER,
            "smtp_pass": account.api_key,
        }

    def _remove_webhooks(self):
        """Delete the accounts' webhooks at SendGrid: their addresses end here. What stays is said in the log."""
        failures = []
        for account in self:
            webhooks, client = account._get_webhooks(), account._get_client_or_none()
            done, remains = self._delete_webhooks(webhooks, client, failures)
            for line in done:
                _logger.info("SendGrid account “%s”: %s", account.name, line)
            for line in remains:
                _logger.warning("SendGrid account “%s”: %s", account.name, line)

    @api.model
    def _forget_reminders(self):
        """Delete the activities of reminders that nobody has done: no answer would end them, their links lead nowhere.

        What somebody has done stays in the history of its record.
        """
        self.env["sendgrid.reminder"].sudo().search([("activity_id.active", "=", True)]).activity_id.unlink()

    @api.model
    def _forget_parameters(self):
        """Delete the system parameters of the addon, which no data file has made."""
        self.env["ir.config_parameter"].sudo().search([("key", "=like", r"sendgrid\_tracking.%")]).unlink()

    @api.model
    def _forget_leftovers(self):
        """Delete what core would leave: the index of a field of its own, and names that its modules gave to our models.

        The names are the external ids of inherited fields' selections and of inheritance. What they name goes with the
        models.
        """
        self.env.cr.execute("DROP INDEX IF EXISTS res_partner__email_normalized_index")
        self.env.cr.execute(
            """
            DELETE FROM ir_model_data
             WHERE module != 'sendgrid_tracking'
               AND model IN ('ir.model.fields', 'ir.model.fields.selection', 'ir.model.inherit')
               AND name ~ '^(field|selection|model_inherit)_+sendgrid_'
            """
        )

    @api.model
    def _tell_uninstall(self):
        """Return sentences for what uninstalling the addon does, for the dialog that asks before."""
        lines = []
        accounts = self.sudo().search([("active", "in", [True, False])])
        for account in accounts:
            # One that somebody set up by hand has no id here, and there is one only if its events are accepted.
            ids = [webhook_id for webhook_id, _token, _is_previous in account._get_webhooks() if webhook_id]
            has_webhook = bool(ids or account.verification_key)
            if account._get_place_question():
                lines.append(
                    self.env._(
                        "“%s”: its webhook stays at SendGrid, because it was connected from another database or "
                        "address.",
                        account.name,
                    )
                )
            elif has_webhook and account.api_key:
                lines.append(
                    self.env._(
                        "“%(name)s”: its webhook at SendGrid is deleted. If SendGrid does not answer, it stays there, "
                        "and posts to an address that is gone: delete it under Settings > Mail Settings > Event "
                        "Webhooks (its id is %(ids)s). The server's log says which it was.",
                        name=account.name,
                        ids=ids or self.env._("unknown"),
                    )
                )
            elif has_webhook:
                lines.append(
                    self.env._(
                        "“%s”: there is no API key to delete its webhook with. Delete it at SendGrid under Settings > "
                        "Mail Settings > Event Webhooks.",
                        account.name,
                    )
                )
            lines += account._tell_servers_after_uninstall()
        if accounts:
            lines.append(self.env._("The API key stays at SendGrid, until you delete it there."))
            lines.append(
                self.env._(
                    "What people said about being measured is deleted, with the proof of it. SendGrid then measures "
                    "e-mails as its account is set, whoever declined. To prevent that, switch tracking off there first."
                )
            )
        return lines

    def _tell_servers_after_uninstall(self):
        lines = []
        for server in self.with_context(active_test=True).mail_server_ids:
            if server.smtp_authentication != "sendgrid_api":
                line = self.env._("The mail server “%s” goes on sending; Odoo tracks nothing any more.", server.name)
            elif self.sudo().api_key:
                line = self.env._(
                    "The mail server “%(name)s” sends by SMTP (%(host)s, port %(port)s) instead of the Web API. If it "
                    "cannot log in there, it is archived.",
                    name=server.name,
                    host=self._get_relay_values()["smtp_host"],
                    port=self._get_relay_values()["smtp_port"],
                )
            else:
                line = self.env._("The mail server “%s” is archived: there is no API key to send with.", server.name)
            lines.append(line)
        return lines
