import hashlib
import secrets
import time

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import ormcache
from odoo.tools.urls import urljoin

from ..tools.events import signature
from ..tools.times import to_seconds

# The fields on which the webhook's cache depends.
WEBHOOK_FIELDS = {
    "active",
    "webhook_token",
    "previous_webhook_token",
    "verification_key",
    "previous_verification_key",
    "previous_verification_key_end",
    "signature_max_age",
}
# Seconds that the webhook's cache lasts. A write clears the cache at once; but a request that began before the commit
# may read the old values and cache them after that. Without this limit old keys would stay valid, and new ones refused,
# until the next write.
MEMORY_LASTS = 5


class SendgridAccount(models.Model):
    """The webhook of an account: its secret address, and the signing keys by which it knows SendGrid's POSTs.

    The webhook must cost little, so everything that it needs of an account is cached.
    """

    _inherit = "sendgrid.account"

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
        help="The public key that SendGrid shows after somebody has switched the Signed Event Webhook on. Without it "
        "Odoo refuses every event.",
    )
    previous_verification_key = fields.Char(
        groups="base.group_system",
        copy=False,
        help="Odoo accepts this key as well, while SendGrid changes from one key to the other.",
    )
    previous_verification_key_end = fields.Datetime(
        string="Previous Key Valid until",
        copy=False,
        help="From then on Odoo does not accept the previous key any more. Empty: Odoo accepts it for good.",
    )
    previous_webhook_token = fields.Char(
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The secret part of the previous webhook's address, at which Odoo receives events as well.",
    )
    signature_max_age = fields.Integer(
        string="Signature Valid for (hours)",
        groups="base.group_system",
        tracking=True,
        help="Refuse events that were signed longer ago than this, or further in the future. 0 accepts any age, which "
        "does no harm: SendGrid repeats a POST for 24 hours, and an event that arrives twice counts once.",
    )

    # With the condition PostgreSQL does not take the index for a key. Else a new token would lock the row against new
    # batches that reference the account.
    _webhook_token_uniq = models.UniqueIndex(
        "(webhook_token) WHERE webhook_token IS NOT NULL", "Two accounts cannot share a webhook address."
    )

    @api.depends("webhook_token")
    def _compute_webhook_url(self):
        for account in self:
            account.webhook_url = urljoin(account.get_base_url(), f"sendgrid/webhook/{account.webhook_token}")

    @api.model_create_multi
    def create(self, vals_list):
        for vals in vals_list:
            self._normalize_keys(vals)
        accounts = super().create(vals_list)
        self._forget_cached()
        return accounts

    def write(self, vals):
        self._normalize_keys(vals)
        result = super().write(vals)
        if vals.keys() & WEBHOOK_FIELDS:
            self._forget_cached()
        return result

    def unlink(self):
        result = super().unlink()
        self._forget_cached()
        return result

    @api.model
    def _forget_cached(self):
        """Clear what is cached of accounts now, and after the commit: another thread may cache old values meanwhile."""
        self.env.registry.clear_cache()
        self.env.cr.postcommit.add(self.env.registry.clear_cache)

    def action_new_webhook_token(self):
        """Give the webhook another secret address, after the old one has become known to others."""
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
    def _get_by_webhook_token(self, webhook_token):
        """Return the active account with this webhook token, or an empty recordset.

        Digests are looked up and not the tokens: otherwise the time of a look-up could help somebody to guess a token.
        """
        return self.browse(self._get_ids_by_webhook_token().get(_digest(webhook_token)))

    def _get_memory(self):
        """Return a number that changes every `MEMORY_LASTS` seconds. As a part of cache keys it limits their life."""
        return time.monotonic() // MEMORY_LASTS

    @ormcache("self._get_memory()")
    def _get_ids_by_webhook_token(self):
        # One entry holds all tokens: a guessed one causes no query and no new cache entry.
        return {
            _digest(token): account.id
            for account in self.search([])
            for token in (account.previous_webhook_token, account.webhook_token)
            if token
        }

    @ormcache("self.id", "self._get_memory()")
    def _get_webhook_trust(self):
        """Return what verifying a POST needs to know of the account, without a query if it is cached.

        :return: (((signing key, Unix seconds until which it is valid), …), signature_max_age in hours)
        """
        end = self.previous_verification_key_end
        until = to_seconds(end) if end else float("inf")
        keys = ((self.verification_key, float("inf")), (self.previous_verification_key, until))
        return tuple(key for key in keys if key[0]), self.signature_max_age

    def _verify_webhook(self, signed, timestamp, body):
        """Tell whether SendGrid signed ``body`` with one of this account's signing keys, and not too long ago.

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
        """Count a refused POST, with the likely cause.

        :param encoding: the Content-Encoding header, or None; the other parameters are those of `_verify_webhook`
        """
        keys, max_age = self._get_webhook_trust()
        is_in_time = self._is_in_time(timestamp or "", max_age)
        hint = signature.guess_cause([key for key, _until in keys], signed, timestamp, body, is_in_time, encoding)
        self.env["sendgrid.rejection"]._count(self, hint)


def _digest(token):
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
