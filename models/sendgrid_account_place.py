import ipaddress
import logging
import secrets
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import RedirectWarning

from .company_language import in_company_language
from .elsewhere import ElsewhereError

# Names that exist in networks of one's own only (RFC 6761, RFC 6762 appendix G, RFC 8375; the third is what many Linux
# systems call themselves).
LOCAL_DOMAINS = tuple(
    ".local .localhost .localdomain .internal .intranet .private .corp .home .lan .home.arpa .test .invalid".split()
)
# What tells one database from another. A dump keeps the uuid, and a copy that was made by hand may keep the address.
PLACE_FIELDS = ("connected_uuid", "connected_database", "connected_url")
# The place of an account that was connected before the place was noted, in a database that is known to be a copy. It
# differs from every place, so that an administrator is asked once.
UNKNOWN_PLACE = {"connected_uuid": "unknown", "connected_database": None, "connected_url": None}


class SendgridAccount(models.Model):
    """The place from which an account was connected: a copy of the database must not change anything at SendGrid.

    A copy has the same API key, webhook and token as production. If it changed the webhook, production would hear
    nothing any more. So each call that changes something is preceded by `_require_place`, which the client makes.
    """

    _inherit = "sendgrid.account"

    connected_uuid = fields.Char(
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The uuid of the database from which the account was connected.",
    )
    connected_database = fields.Char(
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The name of the database from which the account was connected.",
    )
    connected_url = fields.Char(
        string="Connected from",
        readonly=True,
        copy=False,
        groups="base.group_system",
        help="The address that Odoo had when the account was connected. If the database or its address is another one "
        "by now, nothing is changed at SendGrid until an administrator agrees.",
    )
    place_warning = fields.Text(compute="_compute_place_warning", groups="base.group_system")

    @api.depends(*PLACE_FIELDS)
    @api.depends_context("lang")
    def _compute_place_warning(self):
        for account in self:
            account.place_warning = account._explain_place() if account._get_place_question() else False

    @api.model_create_multi
    def create(self, vals_list):
        accounts = super().create(vals_list)
        accounts.filtered("api_key")._take_place()
        return accounts

    def write(self, vals):
        result = super().write(vals)
        if vals.get("api_key"):
            # Only where no place is known: in a copy, another key may still be one of the same SendGrid account.
            self.filtered(lambda account: not account.connected_uuid)._take_place()
        return result

    def _get_place(self):
        """Return what tells this database from its copies, as values of `PLACE_FIELDS`."""
        self.ensure_one()
        values = (
            self.env["ir.config_parameter"].sudo().get_param("database.uuid"),
            self.env.cr.dbname,
            self.get_base_url().rstrip("/"),
        )
        return dict(zip(PLACE_FIELDS, values, strict=True))

    def _take_place(self):
        """Note that the accounts are connected from here."""
        for account in self:
            account.write(account._get_place())

    def _get_place_question(self):
        """Return what an administrator has to be asked before something is changed at SendGrid, or None.

        :return: ``place`` if the account was connected from another database, ``address`` if only the address of this
            one is another, None if all is as it was or nobody has connected the account yet
        """
        self.ensure_one()
        account_sudo = self.sudo()
        if not account_sudo.connected_uuid:
            return None
        differing = {name for name, value in account_sudo._get_place().items() if account_sudo[name] != value}
        if not differing:
            return None
        return "address" if differing == {"connected_url"} else "place"

    def _require_place(self):
        """Raise if something would be changed at SendGrid from another place than the one of connecting.

        :raise ElsewhereError: with words for a person
        """
        if question := self._get_place_question():
            raise ElsewhereError(self._explain_place(), question)

    def _explain_place(self):
        """Return words for how this place differs from the one from which the account was connected."""
        account_sudo = self.sudo()
        now = account_sudo._get_place()
        if account_sudo._get_place_question() == "address":
            lines = [
                self.env._(
                    "The address of this Odoo is another one than when the account was connected: %(old)s → %(new)s. "
                    "Nothing is changed at SendGrid, which goes on posting to the old address, until an administrator "
                    "says that this is no copy.",
                    old=account_sudo.connected_url,
                    new=now["connected_url"],
                )
            ]
        elif not account_sudo.connected_database:
            lines = [
                self.env._(
                    "This database, “%(name)s” at %(url)s, is a copy of another one, from which the account was "
                    "connected. A change at SendGrid could take the events away from the original. Nothing is changed "
                    "there until an administrator decides.",
                    name=now["connected_database"],
                    url=now["connected_url"],
                )
            ]
        else:
            lines = [
                self.env._(
                    "The account was connected from another database: “%(old_name)s” at %(old_url)s. This one is "
                    "“%(name)s” at %(url)s. If it is a copy, a change at SendGrid could take the events away from the "
                    "original. Nothing is changed there until an administrator decides.",
                    old_name=account_sudo.connected_database,
                    old_url=account_sudo.connected_url,
                    name=now["connected_database"],
                    url=now["connected_url"],
                )
            ]
        if doubt := self._explain_unreachable(now["connected_url"]):
            lines.append(doubt)
        return "\n".join(lines)

    def action_claim(self):
        """Decide that this is the production database: from now on SendGrid is changed from here. Then connect anew.

        The dialog does not ask about the webhook's address again, unless SendGrid can hardly reach the new one.
        """
        self.ensure_one()
        self.check_access("write")
        self._claim()
        connect = self.env["sendgrid.account.connect"]
        return connect._open(self, is_started=True, moves_webhook=not self._explain_unreachable(self.webhook_url))

    @in_company_language
    def _claim(self):
        """Take this database for the one that the account is connected from, and say so in the chatter."""
        self.ensure_one()
        if not self._get_place_question():
            return
        old = {name: self[name] for name in PLACE_FIELDS}
        if self.webhook_token.startswith("neutralized-"):
            # Each copy that was neutralised got this token, so it does not tell them apart.
            self.webhook_token = secrets.token_urlsafe(32)
        self._take_place()
        unknown = self.env._("unknown")
        self.message_post(
            body=self.env._(
                "This is the production database now: “%(name)s” at %(url)s. Before, the account was connected from "
                "“%(old_name)s” at %(old_url)s.",
                name=self.connected_database,
                url=self.connected_url,
                old_name=old["connected_database"] or unknown,
                old_url=old["connected_url"] or unknown,
            )
        )

    @in_company_language
    def _leave_original(self):
        """Forget what belongs to the database that this one was copied from, without touching it at SendGrid.

        From then on the account can be connected beside the original: with an address of its own, which makes another
        webhook.
        """
        self.ensure_one()
        original = self.connected_database, self.connected_url
        self.write(
            {
                "webhook_token": secrets.token_urlsafe(32),
                "webhook_id": False,
                "webhook_created": False,
                "verification_key": False,
                "previous_verification_key": False,
                "previous_verification_key_end": False,
                "previous_webhook_id": False,
                "previous_webhook_token": False,
                "connection_date": False,
            }
        )
        self._take_place()
        self.message_post(
            body=self.env._(
                "This database is a copy of “%(name)s” at %(url)s. It gets a webhook of its own; the original's is "
                "left alone.",
                name=original[0] or self.env._("unknown"),
                url=original[1] or self.env._("unknown"),
            )
        )

    def _ask_about_place(self, error):
        """Return a `RedirectWarning` that shows an `ElsewhereError` and leads to the dialog that asks what to do."""
        if error.question == "address":
            label = self.env._("Use the New Address")
        else:
            label = self.env._("This is the production database: connect from here")
        action = self.env.ref("sendgrid_tracking.ir_actions_server_claim").sudo()
        context = {"active_model": self._name, "active_id": self.id, "active_ids": self.ids}
        warning = RedirectWarning(str(error), action.id, label, context)
        warning.loglevel = logging.INFO  # core would log it as an error of the server's
        return warning

    @api.model
    def _explain_unreachable(self, url):
        """Return words for why SendGrid might not reach an address, or None. Only the test event shows if it does."""
        url = url or ""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        try:
            is_local = not ipaddress.ip_address(host).is_global
        except ValueError:
            is_local = "." not in host or host.endswith(LOCAL_DOMAINS)
        if is_local:
            return self.env._(
                "SendGrid cannot reach %s over the internet: it is an address of this machine or network. The system "
                "parameter web.base.url has to be the public one.",
                host or url.partition("/")[0],
            )
        if parts.scheme != "https":
            return self.env._("The address does not begin with https: events travel unencrypted, signed all the same.")
        return None
