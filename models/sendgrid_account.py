import hashlib
import logging
import secrets
import time

from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import ormcache
from odoo.tools.urls import urljoin

from ..tools import client, signature
from .undoable import undoable

_logger = logging.getLogger(__name__)


# What the webhook's path remembers between two calls.
WEBHOOK_FIELDS = {"active", "webhook_token", "verification_key", "previous_verification_key", "signature_max_age"}


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

    _webhook_token_uniq = models.UniqueIndex("(webhook_token)", "Two accounts cannot share a webhook address.")

    @api.depends("webhook_token")
    def _compute_webhook_url(self):
        for account in self:
            account.webhook_url = urljoin(account.get_base_url(), f"sendgrid/webhook/{account.webhook_token}")

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
        self.webhook_token = secrets.token_urlsafe(32)

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
    def _get_by_webhook_token(self, webhook_token):
        """Return the active account of a webhook's address, or none.

        Digests are compared: how long that takes tells a guesser nothing about the token.
        """
        return self.browse(self._get_ids_by_webhook_token().get(_digest(webhook_token)))

    @ormcache()
    def _get_ids_by_webhook_token(self):
        # All at once: whoever guesses addresses neither gets to the database nor fills the cache.
        return {_digest(account.webhook_token): account.id for account in self.search([])}

    @ormcache("self.id")
    def _get_webhook_trust(self):
        """Return what the webhook's path needs of the account, without a query: the keys, and the window in hours."""
        keys = (self.verification_key, self.previous_verification_key)
        return tuple(key for key in keys if key), self.signature_max_age

    def _verify_webhook(self, signed, timestamp, body):
        """Tell whether SendGrid signed ``body`` for this account.

        :param str signed: the signature header, or None
        :param str timestamp: the timestamp header (Unix seconds), or None
        :param bytes body: the raw body
        """
        self.ensure_one()
        keys, max_age = self._get_webhook_trust()
        if not signed or not timestamp:
            return False
        if max_age:
            is_number = len(timestamp) < 20 and timestamp.isascii() and timestamp.isdigit()
            if not is_number or abs(time.time() - int(timestamp)) > max_age * 3600:
                return False
        return any(signature.verify(key, signed, timestamp, body) for key in keys)

    # ------------------------------------------------------------
    # CALLS OF SENDGRID
    # ------------------------------------------------------------

    def _get_client(self, patience=15):
        """Return a `tools.client.Client` for the account.

        :param float patience: seconds that the waiting of one call may last in all
        :raise UserError: if there is no key
        """
        self.ensure_one()
        account_sudo = self.sudo()
        if not account_sudo.api_key:
            raise UserError(self.env._("The account “%s” has no API key.", account_sudo.name))
        # The parameter leads to a local stand-in, for development.
        host = self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.api_host")
        return client.Client(account_sudo.api_key, host or client.HOSTS[account_sudo.region], patience)

    @api.model
    def _explain_api_error(self, error):
        """Return what a person can do about a failed call.

        :param tools.client.ApiError error: what the client raised
        :rtype: str
        """
        explanations = {
            "key": self.env._("SendGrid does not know this API key: it is mistyped, or was deleted. Create a new one."),
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
                        account._warn_administrators(known[last.bounce_type])
                except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
                    raise
                except Exception:
                    # The banner on the account says it all the same.
                    _logger.exception("SendGrid: no activity about account %s", account.id)

    def _warn_administrators(self, what):
        self.activity_unlink(["mail.mail_activity_data_warning"])
        if self.compliance_status == "reactivate":
            return
        for user in self.env.ref("base.group_system").all_user_ids.filtered(lambda u: u.active and not u.share):
            self.activity_schedule(
                "mail.mail_activity_data_warning",
                summary=self.env._("SendGrid account “%s”", self.name),
                note=what,
                user_id=user.id,
            )


def _digest(token):
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
