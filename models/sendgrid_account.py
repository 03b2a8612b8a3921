import hashlib
import logging
import secrets
import time
from contextlib import contextmanager
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.tools import ormcache
from odoo.tools.urls import urljoin

from ..tools.api import client, event_webhook, hosts, tracking_settings
from ..tools.events import signature
from .sendgrid_email import to_seconds
from .undoable import TRY_LATER, undoable

_logger = logging.getLogger(__name__)


# What the webhook's path remembers between two calls.
WEBHOOK_FIELDS = {
    "active",
    "webhook_token",
    "previous_webhook_token",
    "verification_key",
    "previous_verification_key",
    "previous_verification_key_end",
    "signature_max_age",
}
# Seconds after which the webhook's path looks again. Who writes makes it forget at once; but a request that began
# before the commit may read what was, and remember it after that: old keys would be believed for good, new ones never.
MEMORY_LASTS = 5
# SendGrid posts an event again for 24 hours: so long, and a little longer, a key that it used is of use.
PREVIOUS_KEY_VALID = timedelta(hours=25)


class SendgridAccount(models.Model):
    """One SendGrid account or subuser: whose mail servers are tracked, and whose webhook is believed."""

    _name = "sendgrid.account"
    _description = "SendGrid Account"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _order = "name, id"

    name = fields.Char(required=True)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one("res.company", help="Empty: the account serves all companies.")
    api_key = fields.Char(
        string="API Key",
        groups="base.group_system",
        copy=False,
        help="The key that SendGrid shows once, at its creation (SG.…). Only administrators can read it.",
    )
    region = fields.Selection(
        [("global", "Global"), ("eu", "European Union")],
        required=True,
        default="global",
        help="Where SendGrid keeps the account's data. Subusers of the European region have hosts of their own.",
    )
    webhook_token = fields.Char(
        default=lambda self: secrets.token_urlsafe(32),
        groups="base.group_system",
        required=True,
        readonly=True,
        copy=False,
        help="The secret part of the webhook's address.",
    )
    webhook_url = fields.Char(
        string="Webhook URL",
        compute="_compute_webhook_url",
        groups="base.group_system",
        help="The address to enter at SendGrid: Settings > Mail Settings > Event Webhook > HTTP Post URL.",
    )
    verification_key = fields.Char(
        groups="base.group_system",
        copy=False,
        help="The public key that SendGrid shows once the Signed Event Webhook is on. Without it every event is "
        "refused.",
    )
    previous_verification_key = fields.Char(
        groups="base.group_system",
        copy=False,
        help="A second key that is accepted as well, while SendGrid changes from one to the other.",
    )
    previous_verification_key_end = fields.Datetime(
        string="Previous Key Valid until",
        copy=False,
        help="From then on the previous key is not accepted any more. Empty: it is accepted for good.",
    )
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
    previous_webhook_token = fields.Char(
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The secret part of that webhook's address, which is answered as well.",
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
            ("manual", "By hand"),
            ("connected", "Connected"),
        ],
        string="Connection",
        compute="_compute_connection_state",
    )
    open_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        help="SendGrid's setting for the whole account: an invisible picture in each e-mail tells that it was opened.",
    )
    click_tracking = fields.Boolean(
        readonly=True,
        copy=False,
        help="SendGrid's setting for the whole account: links lead over SendGrid, which tells that they were followed.",
    )
    tracking_settings_date = fields.Datetime(
        readonly=True, copy=False, help="When the two settings were read from SendGrid."
    )
    signature_max_age = fields.Integer(
        string="Signature Valid for (hours)",
        groups="base.group_system",
        help="Refuse events that were signed longer ago than this, or as far in the future. 0 accepts any age: "
        "SendGrid tries again for 24 hours, and an event that arrives twice counts once.",
    )
    act_on_events = fields.Boolean(
        default=True,
        tracking=True,
        help="Let events have consequences in Odoo: bounces are counted and shown to the sender, who unsubscribes or "
        "complains is blacklisted, mailing statistics are updated. Off: events are only recorded.",
    )
    group_unsubscribe_action = fields.Selection(
        [("nothing", "Nothing"), ("blacklist", "Blacklist the address")],
        string="On Group Unsubscribe",
        required=True,
        default="nothing",
        help="What to do in Odoo when a recipient leaves one of SendGrid's unsubscribe groups.",
    )
    compliance_status = fields.Selection(
        [
            ("compliance_suspend", "Suspended: mail is accepted but not delivered"),
            ("compliance_deactivate", "Deactivated: mail is refused"),
            ("compliance_ban", "Banned"),
            ("reactivate", "Active again"),
        ],
        readonly=True,
        help="What SendGrid did to the account, as it last reported.",
    )
    compliance_date = fields.Datetime(readonly=True)
    mail_server_ids = fields.One2many("ir.mail_server", "sendgrid_account_id", string="Outgoing Mail Servers")

    # Partial, so that for PostgreSQL it is no key: to change it does not collide with new batches of the account.
    _webhook_token_uniq = models.UniqueIndex(
        "(webhook_token) WHERE webhook_token IS NOT NULL", "Two accounts cannot share a webhook address."
    )

    @api.depends("webhook_token")
    def _compute_webhook_url(self):
        for account in self:
            account.webhook_url = urljoin(account.get_base_url(), f"sendgrid/webhook/{account.webhook_token}")

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

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._normalize_keys(vals)
        accounts = super().create(vals_list)
        self._forget_webhooks()
        return accounts

    def write(self, vals):
        self._normalize_keys(vals)
        if vals.get("active") is False and self.mail_server_ids:
            raise UserError(
                self.env._("Mail servers still send through this account. Archive them first, or give them another.")
            )
        result = super().write(vals)
        if vals.keys() & WEBHOOK_FIELDS:
            self._forget_webhooks()
        return result

    def unlink(self):
        result = super().unlink()
        self._forget_webhooks()
        return result

    @api.model
    def _forget_webhooks(self):
        """Forget the keys that the webhook remembers: now, and what another thread remembers before the commit."""
        self.env.registry.clear_cache()
        self.env.cr.postcommit.add(self.env.registry.clear_cache)

    def action_new_webhook_token(self):
        """Give the webhook another address, when the old one got into the wrong hands."""
        self.write({"webhook_token": secrets.token_urlsafe(32), "connection_date": False})

    def _normalize_keys(self, vals):
        for name in ("verification_key", "previous_verification_key"):
            if vals.get(name):
                try:
                    vals[name] = signature.normalize_key(vals[name])
                except ValueError as error:
                    raise ValidationError(
                        self.env._(
                            "This is not a verification key of SendGrid. Copy it whole from Settings > Mail Settings > "
                            "Signed Event Webhook: about 124 letters and digits that begin with MFkw."
                        )
                    ) from error

    @api.model
    def _get_ids_of_companies(self):
        """Return the ids of the accounts of the user's companies and of all, archived ones included."""
        domain = [("company_id", "in", [False, *self.env.companies.ids])]
        return self.sudo().with_context(active_test=False).search(domain).ids

    @api.model
    def _get_by_webhook_token(self, webhook_token):
        """Return the active account of a webhook's address, or none.

        Digests are compared: how long that takes tells a guesser nothing about the token.
        """
        return self.browse(self._get_ids_by_webhook_token().get(_digest(webhook_token)))

    def _get_memory(self):
        """Return what changes when the webhook's path is to look again: a part of the keys of what it remembers."""
        return time.monotonic() // MEMORY_LASTS

    @ormcache("self._get_memory()")
    def _get_ids_by_webhook_token(self):
        # All at once: whoever guesses addresses neither gets to the database nor fills the cache.
        return {
            _digest(token): account.id
            for account in self.search([])
            for token in (account.previous_webhook_token, account.webhook_token)
            if token
        }

    @ormcache("self.id", "self._get_memory()")
    def _get_webhook_trust(self):
        """Return what the webhook's path needs of the account, without a query: the keys, each with the Unix time until
        which it is accepted, and the window in hours."""
        end = self.previous_verification_key_end
        until = to_seconds(end) if end else float("inf")
        keys = ((self.verification_key, float("inf")), (self.previous_verification_key, until))
        return tuple(key for key in keys if key[0]), self.signature_max_age

    def _verify_webhook(self, signed, timestamp, body):
        """Tell whether SendGrid signed ``body`` for this account.

        :param str signed: the signature header, or None
        :param str timestamp: the timestamp header (Unix seconds), or None
        :param bytes body: the raw body
        """
        self.ensure_one()
        keys, max_age = self._get_webhook_trust()
        if not signed or not timestamp or not self._is_in_time(timestamp, max_age):
            return False
        now = time.time()
        return any(now < until and signature.verify(key, signed, timestamp, body) for key, until in keys)

    @api.model
    def _is_in_time(self, timestamp, max_age):
        if not max_age:
            return True
        is_number = len(timestamp) < 20 and timestamp.isascii() and timestamp.isdigit()
        return is_number and abs(time.time() - int(timestamp)) <= max_age * 3600

    def _note_refusal(self, signed, timestamp, body, encoding):
        """Count a POST that did not verify, with the likely cause.

        :param encoding: the Content-Encoding header, or None; the rest as for `_verify_webhook`
        """
        keys, max_age = self._get_webhook_trust()
        is_in_time = self._is_in_time(timestamp or "", max_age)
        hint = signature.guess_cause([key for key, _until in keys], signed, timestamp, body, is_in_time, encoding)
        self.env["sendgrid.rejection"]._count(self, hint)

    # ------------------------------------------------------------
    # CONNECTION
    # ------------------------------------------------------------

    def action_connect(self):
        """Open the dialog that connects this account."""
        self.ensure_one()
        self.check_access("write")
        return self.env["sendgrid.account.connect"]._open(self)

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

    def action_forget_previous_key(self):
        """End the previous key now, and delete the webhook that signs with it."""
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            self._forget_previous_key()

    def _forget_previous_key(self):
        """Delete the webhook that a new signing key replaced, then forget its key and its address.

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
            # The dialog's last step did it, unless somebody closed it before.
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
    def _cron_forget_previous_keys(self):
        """End the previous keys whose time is over; those whose SendGrid does not answer at the next run."""
        accounts = self.with_context(active_test=False).search(
            [("previous_verification_key_end", "<", fields.Datetime.now())]
        )
        for account in accounts:
            try:
                account._forget_previous_key()
            except (client.ApiError, UserError) as error:
                _logger.warning("SendGrid account %s: its previous webhook is still there: %s", account.id, error)
            self.env["ir.cron"]._commit_progress(1)

    # ------------------------------------------------------------
    # TRACKING SETTINGS
    # ------------------------------------------------------------

    def action_read_tracking_settings(self):
        """Ask SendGrid whether it tracks opens and clicks."""
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            self._read_tracking_settings()

    def action_switch_open_tracking(self):
        """Switch the account's open tracking at SendGrid."""
        self._switch_tracking("open", not self.open_tracking)

    def action_switch_click_tracking(self):
        """Switch the account's click tracking at SendGrid."""
        self._switch_tracking("click", not self.click_tracking)

    def _switch_tracking(self, name, enabled):
        self.ensure_one()
        self.check_access("write")
        with self._telling_api_errors():
            tracking_settings.switch(self._get_client(), name, enabled)
            self._read_tracking_settings()

    def _read_tracking_settings(self):
        """Note what SendGrid's tracking settings are.

        :raise client.ApiError: if SendGrid did not answer, or refused
        """
        enabled = tracking_settings.read(self._get_client())
        self.write(
            {
                "open_tracking": enabled.get("open", False),
                "click_tracking": enabled.get("click", False),
                "tracking_settings_date": fields.Datetime.now(),
            }
        )

    # ------------------------------------------------------------
    # CALLS OF SENDGRID
    # ------------------------------------------------------------

    def _get_client(self, patience=15):
        """Return a `tools.api.client.Client` for the account.

        :param float patience: seconds that the waiting of one call may last in all
        :raise UserError: if there is no key
        """
        self.ensure_one()
        account_sudo = self.sudo()
        if not account_sudo.api_key:
            raise UserError(self.env._("The account “%s” has no API key.", account_sudo.name))
        # The parameter leads to a local stand-in, for development.
        host = self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.api_host")
        return client.Client(account_sudo.api_key, host or hosts.API[account_sudo.region], patience)

    @contextmanager
    def _telling_api_errors(self):
        """Tell whoever pressed a button what he can do about a call that fails: as a `UserError`."""
        try:
            yield
        except client.ApiError as error:
            raise UserError(self._explain_api_error(error)) from error

    @api.model
    def _explain_api_error(self, error):
        """Return what a person can do about a failed call.

        :param tools.api.client.ApiError error: what the client raised
        :rtype: str
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
        return self.env._("%(explanation)s It said: “%(words)s”", explanation=explanations[error.kind], words=words)

    # ------------------------------------------------------------
    # BOTH SIDES AGREED
    # ------------------------------------------------------------

    def action_sync_suppressions(self):
        """Compare SendGrid's lists of suppressed addresses with Odoo, whole, and show how far that is."""
        self.ensure_one()
        self.check_access("write")
        self._get_client()  # says what is missing
        sync = self.env["sendgrid.suppression.sync"].sudo()._start(self, is_whole=True)
        return {
            "type": "ir.actions.act_window",
            "res_model": sync._name,
            "res_id": sync.id,
            "views": [[False, "form"]],
        }

    def action_ask_for_missed(self):
        """Open the form to ask SendGrid for what the webhook missed: since the last event, if nothing else is said."""
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
    # ACCOUNT STATUS
    # ------------------------------------------------------------

    def _follow_account_events(self, events):
        """Show what SendGrid did to the accounts, and give the administrators an activity, until it is undone.

        :param events: new `sendgrid.event` records; those about accounts count
        """
        known = dict(self._fields["compliance_status"]._description_selection(self.env))
        for account in self:
            about = events.filtered(
                lambda e, account=account: e.account_id == account and e.match == "account" and e.bounce_type in known
            )
            last = max(about, key=lambda event: event.timestamp, default=None)
            if not last or (account.compliance_date and last.timestamp < account.compliance_date):
                continue
            account.write({"compliance_status": last.bounce_type, "compliance_date": last.timestamp})
            if account.act_on_events:
                try:
                    with undoable(self.env.cr):
                        account._warn_administrators(account._is_restricted())
                except TRY_LATER:
                    raise
                except Exception:
                    # The banner on the account says it all the same.
                    _logger.exception("SendGrid: no activity about account %s", account.id)


def _digest(token):
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
