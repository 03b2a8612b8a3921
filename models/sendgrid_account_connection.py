import logging
import time
from contextlib import contextmanager
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..tools.api import client, event_webhook, hosts
from .company_language import in_company_language
from .elsewhere import ElsewhereError
from .said import isolate

_logger = logging.getLogger(__name__)

# SendGrid repeats a POST for 24 hours (Twilio docs: Event Webhook getting started). An event that it signed with the
# previous key can come so late, so this key stays valid for that time and an hour longer.
PREVIOUS_KEY_VALID = timedelta(hours=25)


class SendgridAccount(models.Model):
    """The connection with SendGrid: what connecting made there, the buttons, and the client that calls its API."""

    _inherit = "sendgrid.account"

    webhook_id = fields.Char(
        string="Webhook at SendGrid",
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="SendGrid's id of the webhook that connecting made or found. Empty: it was set up by hand.",
    )
    webhook_created = fields.Boolean(
        readonly=True, copy=False, help="Connecting made the webhook at SendGrid, so that disconnecting deletes it."
    )
    previous_webhook_id = fields.Char(
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="SendGrid's id of the webhook that a new signing key replaced. It stays until the previous key ends.",
    )
    connection_date = fields.Datetime(
        string="Connected on",
        readonly=True,
        copy=False,
        help="When SendGrid's test event arrived here, with a valid signature.",
    )
    connection_state = fields.Selection(
        [
            ("none", "Not connected"),
            ("incomplete", "Incomplete"),
            ("manual", "Set up by hand"),
            ("connected", "Connected"),
        ],
        string="Connection",
        compute="_compute_connection_state",
    )

    @api.depends("webhook_id", "verification_key", "connection_date")
    def _compute_connection_state(self):
        for account in self:
            if account.connection_date:
                state = "connected"
            elif account.webhook_id:
                state = "incomplete"
            else:
                state = "manual" if account.verification_key else "none"
            account.connection_state = state

    # ------------------------------------------------------------
    # BUTTONS
    # ------------------------------------------------------------

    def action_connect(self):
        """Open the dialog that connects this account."""
        self.ensure_one()
        self.check_access("write")
        return self.env["sendgrid.account.connect"]._open(self)

    def action_choose_measured(self):
        """Open the dialog that asks who is measured of those who were not asked."""
        self.ensure_one()
        self.check_access("write")
        return self.env["sendgrid.account.connect"]._open(self, is_started=True, chooses_measured=True)

    def action_rotate_key(self):
        """Open the dialog that has SendGrid sign with a new key."""
        self.ensure_one()
        self.check_access("write")
        return self.env["sendgrid.account.connect"]._open(self, rotates_key=True)

    def action_disconnect(self):
        """Open the dialog that takes back what connecting made."""
        self.ensure_one()
        self.check_access("write")
        return self.env["sendgrid.account.disconnect"]._open(self)

    def action_sync_suppressions(self):
        """Begin to compare the whole of SendGrid's lists of suppressed addresses with Odoo, and show the progress."""
        self.ensure_one()
        self.check_access("write")
        self._get_client()  # raises now if the API key is missing
        sync = self.env["sendgrid.suppression.sync"].sudo()._start(self, is_whole=True)
        return {
            "type": "ir.actions.act_window",
            "res_model": sync._name,
            "res_id": sync.id,
            "views": [[False, "form"]],
        }

    def action_ask_for_missed(self):
        """Open the form by which to ask SendGrid for events that the webhook missed, by default since the last one."""
        self.ensure_one()
        last = self.env["sendgrid.event.batch"].search(
            [("account_id", "=", self.id), ("source", "=", "webhook")], order="id desc", limit=1
        )
        since = {"default_date_from": last.create_date} if last else {}
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Ask SendGrid for Missed Events"),
            "res_model": "sendgrid.backfill",
            "views": [[False, "form"]],
            "context": {"default_account_id": self.id, **since},
        }

    # ------------------------------------------------------------
    # PREVIOUS KEY
    # ------------------------------------------------------------

    def action_forget_previous_key(self):
        """Stop accepting the previous signing key, and delete the webhook that signs with it."""
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            self._forget_previous_key()

    def _forget_previous_key(self):
        """Delete at SendGrid the webhook with the previous signing key, then forget this key and the webhook's address.

        :raise client.ApiError: if SendGrid did not answer, or refused
        :raise UserError: if no other webhook has taken its place yet
        """
        self.ensure_one()
        if self.previous_webhook_id:
            if not self.webhook_id or not self.previous_verification_key_end:
                raise UserError(
                    self.env._(
                        "The change of the signing key has not come to its end: the old webhook is still needed."
                    )
                )
            api = self._get_client()
            # The last step of the dialog switches the new webhook on. Do it here, in case somebody closed the dialog
            # before that step.
            event_webhook.update(api, self.webhook_id, self.webhook_url, enabled=True)
            event_webhook.delete(api, self.previous_webhook_id, self.previous_webhook_token)
        self.write(
            {
                "previous_verification_key": False,
                "previous_verification_key_end": False,
                "previous_webhook_id": False,
                "previous_webhook_token": False,
            }
        )

    @api.model
    @in_company_language
    def _cron_forget_previous_keys(self):
        """Forget the previous signing keys whose time is over. If SendGrid does not answer, the next run tries it."""
        accounts = self.with_context(active_test=False).search(
            [("previous_verification_key_end", "<", fields.Datetime.now())]
        )
        for number, account in enumerate(accounts, 1):
            if not self._run_job(
                f"ending a key of account {account.id}",
                account._end_previous_key,
                account._note_previous_webhook,
                account._note_previous_webhook,
                others=len(accounts) - number,
                is_long=False,
            ):
                return

    def _end_previous_key(self):
        self._forget_previous_key()
        yield 1

    def _note_previous_webhook(self, words, _after=None):
        if words:
            _logger.warning("SendGrid account %s: its previous webhook is still there: %s", self.id, words)

    # ------------------------------------------------------------
    # API CALLS
    # ------------------------------------------------------------

    def _get_client(self, patience=15, timeout=client.TIMEOUT, sleep=time.sleep):
        """Return a `tools.api.client.Client` for the account. It changes nothing at SendGrid from a copied database.

        :param float patience: for how many seconds in all the client may wait before it repeats one call
        :param float timeout: for how many seconds it waits for an answer
        :param sleep: function that takes seconds and waits for them
        :raise UserError: if the account has no API key
        """
        self.ensure_one()
        account_sudo = self.sudo()
        if not account_sudo.api_key:
            raise UserError(self.env._("The account “%s” has no API key.", account_sudo.name))
        # For development, this parameter replaces SendGrid by a local program.
        host = self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.api_host")
        return client.Client(
            account_sudo.api_key,
            host or hosts.API[account_sudo.region],
            patience,
            sleep,
            before_change=self._require_place,
            timeout=timeout,
        )

    @contextmanager
    def _telling_api_errors(self):
        """Turn an `ApiError` into a `UserError` that tells the user of a button what he can do about it.

        If this database may not change anything at SendGrid, the user is asked whether it is the production database.
        """
        try:
            yield
        except ElsewhereError as error:
            raise self._ask_about_place(error) from error
        except client.ApiError as error:
            raise UserError(self._explain_api_error(error)) from error

    @api.model
    def _explain_api_error(self, error):
        """Return words for why a call failed and what the user can do about it, followed by SendGrid's own words.

        :param error: the `tools.api.client.ApiError`
        """
        explanations = {
            "key": self.env._("SendGrid does not know this API key: it is mistyped, or was deleted. Create a new one."),
            "credits": self.env._("All e-mails of SendGrid's plan are used up."),
            "sender": self.env._("SendGrid does not know this sender: verify the address or its domain there."),
            "scope": self.env._("The API key may not do this. Give it the permission at SendGrid, or use another key."),
            "missing": self.env._("SendGrid does not have this any more."),
            "size": self.env._("This is too large for SendGrid."),
            "limit": self.env._("SendGrid got too many calls. Try again in a minute."),
            "refused": self.env._("SendGrid refused this."),
            "server": self.env._("SendGrid has a problem of its own. Try again later."),
            "timeout": self.env._("SendGrid did not answer in time. Try again later."),
            "unreachable": self.env._("SendGrid cannot be reached from this server. Check its way to the internet."),
            "answer": self.env._("What answered is not SendGrid, or a proxy changed the answer."),
        }
        words = " ".join(filter(None, (one["message"] for one in error.errors)))
        if not words:
            return explanations[error.kind]
        return self.env._(
            "%(explanation)s It said: “%(words)s”", explanation=explanations[error.kind], words=isolate(words)
        )
