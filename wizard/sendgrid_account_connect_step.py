import base64
import ipaddress
import secrets
from datetime import timedelta
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..models.sendgrid_account_connection import PREVIOUS_KEY_VALID
from ..tools.api import event_webhook, hosts, scopes
from ..tools.api.client import ApiError
from ..tools.events.event import MAX_TEST_BODY, TEST_RECIPIENT

# The steps that have to be done before a step can run.
NEEDS = {
    "webhook": ("key", "second"),
    "signing": ("webhook",),
    "server": ("key",),
    "tracking": ("key",),
    "test": ("signing",),
}
POLL = 1.5  # seconds between two checks whether the test event has arrived
TEST_ARRIVES_WITHIN = timedelta(seconds=60)  # SendGrid needs some seconds; after a minute the step fails
SENT_AGAIN_AFTER = timedelta(seconds=15)


class SendgridAccountConnectStep(models.TransientModel):
    """One step of connecting, and its result.

    A step can run any number of times, because it first looks at what SendGrid and Odoo already have. So it does no
    harm if the process dies between SendGrid's answer and the commit, or if two windows run the same step.

    Each method `_run_<name>` returns (state, message), and raises `ApiError` or `UserError` if the step fails.
    """

    _name = "sendgrid.account.connect.step"
    _description = "Step of Connecting"

    connect_id = fields.Many2one("sendgrid.account.connect", required=True, ondelete="cascade", index=True)
    name = fields.Selection(
        [
            ("key", "API key and its permissions"),
            ("second", "Room for a second webhook"),
            ("webhook", "Event webhook"),
            ("signing", "Signature"),
            ("server", "Outgoing mail server"),
            ("tracking", "Open and click tracking"),
            ("test", "SendGrid's test event"),
        ],
        required=True,
    )
    state = fields.Selection(
        [
            ("waiting", "Waiting"),
            ("running", "Running"),
            ("done", "Done"),
            ("warning", "Done, with a remark"),
            ("skipped", "Skipped"),
            ("failed", "Failed"),
        ],
        required=True,
        default="waiting",
    )
    message = fields.Text(help="The result, or what the user can do about a failure.")
    last_batch_id = fields.Integer(help="The id of the account's last batch before the test: the test comes after it.")
    test_date = fields.Datetime(help="When SendGrid was first asked to send the test event.")
    test_count = fields.Integer(help="How often SendGrid was asked to send the test event.")

    @api.depends("name")
    @api.depends_context("lang")
    def _compute_display_name(self):
        labels = dict(self._fields["name"]._description_selection(self.env))
        for step in self:
            step.display_name = labels.get(step.name)

    def _is_passed(self):
        return self.state in ("done", "warning", "skipped")

    def _can_run(self):
        others = self.connect_id.step_ids.filtered(lambda other: other.name in NEEDS.get(self.name, ()))
        return all(other.state in ("done", "warning") for other in others)

    def action_repeat(self):
        """Mark this step, and all that have not passed, to run again. The dialog then runs them."""
        self.ensure_one()
        steps = self | self.connect_id.step_ids.filtered(lambda other: not other._is_passed())
        steps.write({"state": "waiting", "message": False, "test_date": False, "test_count": 0})
        self.connect_id._mark_next()

    def _get_pause(self):
        return POLL if self.test_count else 0

    def _run(self):
        """Run the step. If it fails, its message says why, and what the user can do about it."""
        try:
            with self.env.cr.savepoint():
                state, message = getattr(self, f"_run_{self.name}")()
        except ApiError as error:
            state, message = "failed", self._explain(error)
        except UserError as error:
            state, message = "failed", str(error)
        self.write({"state": state, "message": message})

    def _explain(self, error):
        message = self.env["sendgrid.account"]._explain_api_error(error)
        if error.wait:
            message += "\n" + self.env._("It takes calls again in %s seconds.", round(error.wait) + 1)
        return message

    def _get_account(self):
        account = self.connect_id.account_id
        account.check_access("write")  # each call uses the account's API key
        return account

    # ------------------------------------------------------------
    # KEY
    # ------------------------------------------------------------

    def _get_purposes(self):
        """Return words for the purpose of each scope that `tools.api.scopes` names.

        :return: {scope: words}
        """
        return {
            "mail.send": self.env._("send e-mails"),
            "user.webhooks.event.settings.read": self.env._("find the event webhook"),
            "user.webhooks.event.settings.update": self.env._("set up the event webhook and its signature"),
            "user.webhooks.event.test.create": self.env._("have SendGrid send a test event"),
            "tracking_settings.read": self.env._("show what is tracked, and track links by the Web API"),
            "tracking_settings.open.update": self.env._("switch open tracking"),
            "tracking_settings.click.update": self.env._("switch click tracking"),
            "suppression.read": self.env._("fetch bounces, unsubscribes and complaints that the webhook missed"),
            "suppression.delete": self.env._("clear an address at SendGrid that is valid again"),
            "asm.groups.read": self.env._("fetch who left an unsubscribe group"),
            "email_activity.read": self.env._("fetch events that the webhook missed"),
        }

    def _run_key(self):
        allowed, _date = scopes.read(self.connect_id._get_client())
        purposes = self._get_purposes()
        missing, useful = (
            [
                self.env._("%(scope)s, to %(purpose)s", scope=scope, purpose=purposes[scope])
                for scope in wanted
                if scope not in allowed
            ]
            for wanted in (scopes.NEEDED, scopes.USEFUL)
        )
        if missing:
            return "failed", "\n".join(
                [
                    self.env._("SendGrid knows the key, but the key may not do what is needed. It lacks:"),
                    *(f"• {line}" for line in missing),
                    *(f"• {line} " + self.env._("(not necessary)") for line in useful),
                    self.env._("Add these under Settings > API Keys at SendGrid, or make a key with Full Access."),
                ]
            )
        self.connect_id._save_account()
        if useful:
            return "warning", "\n".join(
                [
                    self.env._("The key is good. For these it lacks the permission, and they will not work:"),
                    *(f"• {line}" for line in useful),
                ]
            )
        return "done", self.env._("The key is good, and has every permission that is used.")

    # ------------------------------------------------------------
    # WEBHOOK
    # ------------------------------------------------------------

    def _run_second(self):
        """Note the present webhook as the previous one, so that the next step makes a new one beside it.

        A webhook has one pair of keys. To get another pair, its signature would have to be switched off and on, and
        events posted in between would be refused. With two webhooks SendGrid posts each event twice for a day; the
        second time it is a duplicate.
        """
        account = self._get_account()
        if account.previous_webhook_token and not account.webhook_id:
            return "done", self.env._("The present webhook has been put aside already.")
        if account.previous_webhook_token or account.previous_verification_key:
            raise UserError(
                self.env._(
                    "The last change of keys has not ended yet. End it first, on the account: “Delete it now”, or "
                    "empty the previous key on the page By Hand."
                )
            )
        webhooks, allowed = event_webhook.list_all(account._get_client(patience=5))
        own = event_webhook.find(webhooks, account.webhook_token, account.webhook_id)
        if not own:
            raise UserError(
                self.env._("SendGrid has no webhook for this account. Connect it: that gives a new key too.")
            )
        if allowed and len(webhooks) >= allowed:
            raise UserError(
                self.env._(
                    "To change the key without losing an event, a second webhook is needed for a day, and the plan "
                    "allows no more: %(names)s. Delete one at SendGrid that nobody needs, or ask for a larger plan.",
                    names=self._name_webhooks(webhooks),
                )
            )
        account.write(
            {
                "previous_webhook_id": own["id"],
                "previous_webhook_token": account.webhook_token,
                "webhook_id": False,
                "webhook_token": secrets.token_urlsafe(32),
            }
        )
        return "done", self.env._("The present webhook goes on beside the new one until the old key ends.")

    def _run_webhook(self):
        account = self._get_account()
        client, url = account._get_client(patience=5), account.webhook_url
        webhooks, allowed = event_webhook.list_all(client)
        own = event_webhook.find(webhooks, account.webhook_token, account.webhook_id)
        created = False
        try:
            if not own:
                if allowed and len(webhooks) >= allowed:
                    raise UserError(
                        self.env._(
                            "The plan allows no more webhooks than there are: %(names)s. Delete one at SendGrid "
                            "(Settings > Mail Settings > Event Webhooks) that nobody needs, then repeat this step.",
                            names=self._name_webhooks(webhooks),
                        )
                    )
                own, created = event_webhook.create(client, url), True
            # Leave it on or off as it is. Only the last step switches it on, when the signing key is committed: events
            # that come earlier would be refused.
            event_webhook.update(client, own["id"], url, bool(own.get("enabled")))
        except ApiError as error:
            if error.kind == "refused":
                raise UserError(self._explain_refusal(error, url)) from error
            raise
        if own["id"] != account.webhook_id:
            account.write(
                {
                    "webhook_id": own["id"],
                    # A process that died may have made it before it stored the id. Then it has the name that we give.
                    "webhook_created": created or own.get("friendly_name") == event_webhook.FRIENDLY_NAME,
                }
            )
        message = (
            self.env._("Made at SendGrid, for all events.")
            if created
            else self.env._("It was there. It sends all events to this address.")
        )
        doubt = self._explain_unreachable(url)
        return ("warning", f"{message}\n{doubt}") if doubt else ("done", message)

    @api.model
    def _name_webhooks(self, webhooks):
        # Show no more than the host of an address: the rest may hold somebody's secret.
        return ", ".join(
            f"“{one.get('friendly_name') or urlsplit(one.get('url') or '').hostname or one['id']}”" for one in webhooks
        )

    def _explain_refusal(self, error, url):
        """Return words for why SendGrid did not make or change the webhook, and what the user can do about it.

        :param error: `ApiError` of kind ``refused``
        :param url: the webhook's address
        """
        words, reason = str(error), event_webhook.read_refusal(error)
        if reason == "exists":
            return self.env._(
                "Another webhook has this address already, but this key does not see it: it may belong to a parent "
                "account or a subuser. Delete it there, or give the account a new webhook address. SendGrid said: “%s”",
                words,
            )
        if reason == "maximum":
            return self.env._(
                "The plan allows no more webhooks. Delete one at SendGrid (Settings > Mail Settings > Event Webhooks) "
                "that nobody needs, then repeat this step. SendGrid said: “%s”",
                words,
            )
        return self.env._(
            "SendGrid does not take the address %(host)s…: it has to be the one under which the internet reaches this "
            "Odoo, best with https. It is the system parameter web.base.url. SendGrid said: “%(words)s”",
            host=url.partition("/sendgrid/")[0],
            words=words,
        )

    def _explain_unreachable(self, url):
        """Return words for why SendGrid might not reach an address, or None. Only the test event shows if it does."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        try:
            is_local = not ipaddress.ip_address(host).is_global
        except ValueError:
            is_local = "." not in host or host.endswith((".local", ".internal", ".localhost", ".test"))
        if is_local:
            return self.env._(
                "SendGrid cannot reach %s over the internet: it is an address of this machine or network. The system "
                "parameter web.base.url has to be the public one.",
                host,
            )
        if parts.scheme != "https":
            return self.env._("The address does not begin with https: events travel unencrypted, signed all the same.")
        return None

    def _run_signing(self):
        account = self._get_account()
        if not account.webhook_id:
            raise UserError(self.env._("There is no webhook yet: repeat that step first."))
        old = account.verification_key
        account.verification_key = event_webhook.sign(account._get_client(patience=5), account.webhook_id)
        if not old or account.verification_key == old:
            return "done", self.env._("SendGrid signs every event, and the key to check it with is stored.")
        end = fields.Datetime.now() + PREVIOUS_KEY_VALID
        account.write({"previous_verification_key": old, "previous_verification_key_end": end})
        return "done", self.env._("SendGrid signs with a new key. The old one is accepted for another day.")

    # ------------------------------------------------------------
    # SENDING
    # ------------------------------------------------------------

    def _run_server(self):
        account, sending = self._get_account(), self.connect_id.sending
        Server = self.env["ir.mail_server"]
        servers = Server.with_context(active_test=False).search([("sendgrid_account_id", "=", account.id)])
        created = servers.filtered(lambda server: server.sendgrid_connection == "created")
        others = (servers - created).filtered(lambda server: server.active and server.smtp_authentication == sending)
        if others:
            server, message = others[:1], self.env._("Mails leave through “%s”, as before.", others[0].name)
        elif adopted := self._find_adoptable(sending) if not created else None:
            adopted.write({"sendgrid_account_id": account.id, "sendgrid_connection": "adopted"})
            names = ", ".join(adopted.mapped("name"))
            server, message = adopted[:1], self.env._("“%s” was there, and is tracked from now on.", names)
        else:
            values = self._get_server_values(account, sending)
            if created:
                created.write(values)
            else:
                created = Server.create({**values, "name": account.name, "sendgrid_connection": "created"})
            server, message = created, self.env._("“%s” is ready to send.", created.name)
        first = Server.search([("from_filter", "in", [False, ""])], order="sequence, id", limit=1)
        if first and first != server and not server.from_filter:
            return "warning", "\n".join(
                [
                    message,
                    self.env._(
                        "Odoo sends through the first mail server of the list, and that is “%s”. To send through this "
                        "one, move it up: the account's page Connection leads to all outgoing mail servers.",
                        first.name,
                    ),
                ]
            )
        return "done", message

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
        servers = self.env["ir.mail_server"].search(
            [
                ("sendgrid_account_id", "=", False),
                ("smtp_host", "in", list(hosts.RELAY.values())),
                ("smtp_user", "=", hosts.RELAY_USER),
            ]
        )
        same_key = servers.filtered(lambda server: server.sudo().smtp_pass == account.sudo().api_key)
        is_alone = not self.env["sendgrid.account"].sudo().search_count([("id", "!=", account.id)], limit=1)
        return same_key or (servers if is_alone else None)

    def _get_server_values(self, account, sending):
        values = {"sendgrid_account_id": account.id, "smtp_authentication": sending, "active": True}
        if sending != "login":
            return {**values, "smtp_host": False, "smtp_user": False, "smtp_pass": False, "smtp_encryption": "none"}
        host, port, encryption = hosts.RELAY[account.region], hosts.RELAY_PORT, "starttls"
        # For development, this parameter replaces SendGrid's relay by a local program.
        if stand_in := self.env["ir.config_parameter"].sudo().get_param("sendgrid_tracking.smtp_host"):
            host, _colon, port = stand_in.rpartition(":")
            encryption = "none"
        return {
            **values,
            "smtp_host": host,
            "smtp_port": int(port),
            "smtp_encryption": encryption,
            "smtp_user": hosts.RELAY_USER,
            "smtp_pass": account.sudo().api_key,
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
            "SendGrid does not track: %s. Switch it on at the account, if you want it and may.", ", ".join(off)
        )

    # ------------------------------------------------------------
    # TEST
    # ------------------------------------------------------------

    def _run_test(self):
        """Switch the webhook on and have SendGrid send its test event. Later calls look whether it has arrived.

        A later call has a transaction of its own, and so sees what the webhook has stored meanwhile. If the test does
        not come soon, ask for it again: SendGrid does not repeat a test that was refused.
        """
        account = self._get_account()
        now = fields.Datetime.now()
        if self.test_count and self._has_arrived(account):
            account.connection_date = now
            return "done", self.env._("The webhook is switched on. The test has arrived, and its signature is valid.")
        waited = now - (self.test_date or now)
        if waited >= self.test_count * SENT_AGAIN_AFTER and waited < TEST_ARRIVES_WITHIN:
            last = self.env["sendgrid.event.batch"].sudo().search([("account_id", "=", account.id)], limit=1)
            client = account._get_client(patience=5)
            event_webhook.update(client, account.webhook_id, account.webhook_url, enabled=True)
            try:
                event_webhook.test(client, account.webhook_id, account.webhook_url)
            except ApiError as error:
                if error.kind != "scope":
                    raise
                return "skipped", self.env._(
                    "The webhook is switched on, but the key may not have a test sent. Press “Test Integration” on the "
                    "page of the webhook, and look under Configuration > Event Batches whether something arrives."
                )
            if not self.test_count:
                self.write({"last_batch_id": last.id, "test_date": now})
            self.test_count += 1
        if waited < TEST_ARRIVES_WITHIN:
            return "running", self.env._("The webhook is switched on, and SendGrid has been asked for the test.")
        reasons = [
            self._explain_unreachable(account.webhook_url),
            self.env._("Is this Odoo reachable from the internet under that address, with a valid certificate?"),
            self.env._("Does a proxy or firewall in front of it hold back or change what SendGrid posts?"),
            self.env._("With several databases, does the host name decide which one answers (--db-filter)?"),
        ]
        return "failed", "\n".join(
            [
                self.env._(
                    "It has not arrived within a minute, at %s…", account.webhook_url.partition("/sendgrid/")[0]
                ),
                *(f"• {reason}" for reason in reasons if reason),
            ]
        )

    def _has_arrived(self, account):
        """Tell whether a batch that came since holds SendGrid's test event.

        The webhook stores only what has a valid signature, so that a stored test event proves the signing key as well.
        """
        batches = self.env["sendgrid.event.batch"].search(
            [("account_id", "=", account.id), ("id", ">", self.last_batch_id), ("size", "<", MAX_TEST_BODY)]
        )
        return any(TEST_RECIPIENT.encode() in base64.b64decode(batch.body or b"") for batch in batches)
