"""Connecting an account to the local SendGrid: each step, each failure, each step twice, and disconnecting."""

from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import TransactionCase, tagged

from odoo.addons.base.models.ir_cron import IrCron

from ..tools.api import client, event_webhook
from ..wizard import sendgrid_account_connect_step, sendgrid_account_connect_test
from .common import SendgridMixin
from .sandbox_case import API_KEY, SandboxCase
from .simulator import Signer

SETTINGS = "/v3/user/webhooks/event/settings"
NEEDED = ["mail.send", "user.webhooks.event.settings.read", "user.webhooks.event.settings.update"]
ALL_STEPS = ["key", "webhook", "signing", "server", "tracking", "measuring", "test"]
# The states after connecting for the first time: one step asks, and the account is connected all the same.
ASKED = {**dict.fromkeys(ALL_STEPS, "done"), "measuring": "warning", "mail": "offered"}


class ConnectCase(SandboxCase, SendgridMixin, TransactionCase):
    """Provides the dialog, and runs its steps with the local SendGrid."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.unlink()
        cls.account.unlink()
        cls.Connect = cls.env["sendgrid.account.connect"]
        cls.env["ir.config_parameter"].set_param("web.base.url", "https://odoo.example.com")

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(client, "FIRST_PAUSE", 0.01))

    # ------------------------------------------------------------
    # HELP
    # ------------------------------------------------------------

    def open(self, account=None, **values):
        """Return the dialog, with an API key that SendGrid knows."""
        if account:
            connect = self.Connect.browse(account.action_connect()["res_id"])
            connect.write(values)
            return connect
        return self.Connect.create({"name": "Ours", "api_key": API_KEY, **values})

    def run_steps(self, connect):
        """Run all steps that can, as the dialog does; SendGrid's test event arrives at once."""
        pause = 0
        while pause is not False:
            pause = connect.run_next()
            test = self.step(connect, "test")
            if test.state == "running" and test.test_count:
                self.arrive(connect.account_id)
        return connect

    def start(self, connect):
        connect.action_start()
        return self.run_steps(connect)

    def connect(self, account=None, **values):
        """Connect, and return the account."""
        connect = self.start(self.open(account, **values))
        self.assertTrue(connect.is_done, self.tell(connect))
        return connect.account_id

    def arrive(self, account):
        self.store([{"email": "example@test.com", "event": "open", "timestamp": 1}], account)

    def step(self, connect, name):
        return connect.step_ids.filtered(lambda step: step.name == name)

    def tell(self, connect):
        return [(step.name, step.state, step.message) for step in connect.step_ids]

    def states(self, connect):
        return {step.name: step.state for step in connect.step_ids}

    def assertFailed(self, connect, name, *words):
        """Assert that a step failed with these words, the steps after it wait, and nobody learns the API key."""
        step = self.step(connect, name)
        self.assertEqual(step.state, "failed", self.tell(connect))
        for word in words:
            self.assertIn(word, step.message)
        self.assertNotIn(API_KEY, step.message)
        for other in connect.step_ids:
            if name in sendgrid_account_connect_step.NEEDS.get(other.name, ()):
                self.assertEqual(other.state, "offered" if other.name == "mail" else "waiting")
        self.assertIs(connect.run_next(), False, "nothing is left to run")

    def assertRepaired(self, connect, name):
        """Assert that all steps are done after "Repeat"."""
        self.step(connect, name).action_repeat()
        self.run_steps(connect)
        self.assertTrue(connect.is_done, self.tell(connect))

    def webhooks(self):
        webhooks, _allowed = event_webhook.list_all(client.Client(API_KEY, self.sandbox_url))
        return webhooks

    def foreign(self, url="https://elsewhere.example.com/hook", **settings):
        """Make a webhook of another program; return its id."""
        body = {"url": url, "enabled": True, **settings}
        return client.Client(API_KEY, self.sandbox_url).call("post", event_webhook.SETTINGS, body=body).body["id"]

    def fault(self, path, **what):
        self.sandbox("POST", "/sandbox/faults", {"path": path, "times": 1, **what})

    def calls(self, method):
        return [call["path"] for call in self.sandbox("GET", "/sandbox/calls") if call["method"] == method]

    def disconnect(self, account):
        dialog = self.env["sendgrid.account.disconnect"].browse(account.action_disconnect()["res_id"])
        dialog.action_disconnect()
        return dialog

    def rotate(self, account):
        connect = self.Connect.browse(account.action_rotate_key()["res_id"])
        return self.start(connect)


@tagged("post_install", "-at_install")
class TestConnect(ConnectCase):
    # ------------------------------------------------------------
    # ALL IS WELL
    # ------------------------------------------------------------

    def test_connect(self):
        """Test that an API key is enough: webhook, signature, mail server, tracking, and a test event that arrives."""
        connect = self.start(self.open())
        self.assertEqual(connect.step_ids.mapped("name"), [*ALL_STEPS, "mail"])
        self.assertEqual(self.states(connect), ASKED)
        self.assertTrue(connect.is_done)
        account = connect.account_id
        self.assertEqual((account.name, account.api_key, account.connection_state), ("Ours", API_KEY, "connected"))
        self.assertFalse(connect.api_key, "the dialog keeps no key")
        [webhook] = self.webhooks()
        self.assertEqual(webhook["id"], account.webhook_id)
        self.assertEqual(webhook["url"], account.webhook_url)
        self.assertEqual({name for name in event_webhook.EVENTS if webhook[name]}, set(event_webhook.EVENTS))
        self.assertEqual(len(event_webhook.EVENTS), 11)
        self.assertTrue(webhook["enabled"])
        self.assertEqual(account.verification_key, webhook["public_key"])
        self.assertFalse(account.previous_verification_key)
        [server] = account.mail_server_ids
        host, port = self.sandbox_smtp.split(":")
        self.assertEqual((server.smtp_host, server.smtp_port), (host, int(port)))
        self.assertEqual((server.smtp_user, server.smtp_pass, server.active), ("apikey", API_KEY, True))
        self.assertTrue(account.tracking_settings_date)
        patched = [
            call["body"] for call in self.sandbox("GET", "/sandbox/calls") if call["method"] == "PATCH" and call["body"]
        ]
        self.assertTrue(any(body.get("account_status_change") for body in patched))

    def test_real_hosts(self):
        """Test the mail server's host outside of development, by region."""
        self.env["ir.config_parameter"].set_param("sendgrid_tracking.smtp_host", False)
        for region, host in (("global", "smtp.sendgrid.net"), ("eu", "smtp.eu.sendgrid.net")):
            with self.subTest(region):
                account = self.connect(region=region, name=region)
                server = account.mail_server_ids
                self.assertEqual((server.smtp_host, server.smtp_port, server.smtp_encryption), (host, 587, "starttls"))

    def test_all_again(self):
        """Test that connecting twice changes nothing: one account, one webhook, one server, the same signing key."""
        account = self.connect()
        before = account.read()[0], account.mail_server_ids.read()[0]
        again = self.connect(account)
        self.assertEqual(again, account)
        self.assertEqual(len(self.webhooks()), 1)
        left_out = {"connection_date", "tracking_settings_date", "write_date", "message_ids", "__last_update"}
        for old, new in zip(before, (account.read()[0], account.mail_server_ids.read()[0]), strict=True):
            self.assertEqual(
                {name: value for name, value in old.items() if name not in left_out},
                {name: value for name, value in new.items() if name not in left_out},
            )

    def test_each_step_again(self):
        """Test that each step can run again by itself, and ends the same."""
        connect = self.start(self.open())
        for name in ALL_STEPS:
            with self.subTest(name):
                self.assertRepaired(connect, name)
        self.assertEqual(len(self.webhooks()), 1)
        self.assertEqual(len(connect.account_id.mail_server_ids), 1)

    def test_new_key(self):
        """Test that the account, and the mail server that connecting made, take over another API key."""
        account = self.connect()
        self.sandbox("PUT", "/sandbox/keys/SG.other", NEEDED)
        connect = self.start(self.open(account, api_key=" SG.other\n"))
        self.assertTrue(connect.is_done, self.tell(connect))
        self.assertEqual((account.api_key, account.mail_server_ids.smtp_pass), ("SG.other", "SG.other"))

    def test_off_until_the_key_is_stored(self):
        """Test that a webhook posts nothing before its signing key is stored: such events would be refused."""
        connect = self.open()
        connect.action_start()
        for _step in ALL_STEPS[:-1]:
            self.assertFalse([webhook for webhook in self.webhooks() if webhook["enabled"]])
            connect.run_next()
        self.run_steps(connect)
        self.assertTrue(self.webhooks()[0]["enabled"])
        self.start(self.open(connect.account_id))
        bodies = [call["body"] or {} for call in self.sandbox("GET", "/sandbox/calls")]
        switched = [body["enabled"] for body in bodies if {"url", "enabled"} <= body.keys()]
        self.assertNotIn(False, switched[switched.index(True) :], "connecting again never switches it off")

    def test_died_after_creation(self):
        """Test that a webhook whose id was never stored is found by its address, and counts as made by us."""
        connect = self.open()
        connect.action_start()
        connect.run_next()
        account = connect.account_id
        with self.assertRaises(ZeroDivisionError), self.env.cr.savepoint():
            self.step(connect, "webhook")._run()
            raise ZeroDivisionError
        self.assertFalse(account.webhook_id)
        self.run_steps(connect)
        self.assertTrue(connect.is_done)
        [webhook] = self.webhooks()
        self.assertEqual((account.webhook_id, account.webhook_created), (webhook["id"], True))

    def test_answer_lost(self):
        """Test that a webhook is not made twice if SendGrid made it and its answer was lost."""
        connect = self.open()
        self.fault(SETTINGS, method="POST", action="cut", after=True)
        self.start(connect)
        self.assertFailed(connect, "webhook", "did not answer")
        self.assertRepaired(connect, "webhook")
        self.assertEqual(len(self.webhooks()), 1)
        self.assertTrue(connect.account_id.webhook_created)

    def test_by_hand_before(self):
        """Test that an account set up by hand keeps its webhook and signing key, and its mail server is taken over."""
        account = self.env["sendgrid.account"].create({"name": "By hand"})
        server = self.env["ir.mail_server"].create(
            {"name": "Mine", "smtp_host": "smtp.sendgrid.net", "smtp_user": "apikey", "smtp_pass": "SG.for-mails"}
        )
        webhook_id = self.foreign(account.webhook_url, open=True)
        key = event_webhook.sign(client.Client(API_KEY, self.sandbox_url), webhook_id)
        account.verification_key = key
        self.assertEqual(account.connection_state, "manual")
        self.connect(account, api_key=API_KEY)
        self.assertEqual((account.webhook_id, account.webhook_created), (webhook_id, False))
        self.assertEqual((account.verification_key, account.previous_verification_key), (key, False))
        self.assertEqual(account.mail_server_ids, server)
        self.assertEqual((server.smtp_pass, server.sendgrid_connection), ("SG.for-mails", "adopted"))
        [webhook] = self.webhooks()
        self.assertTrue(webhook["bounce"])

    def test_new_address(self):
        """Test that after a new address the same webhook leads to it."""
        account = self.connect()
        account.action_new_webhook_token()
        self.assertEqual(account.connection_state, "incomplete")
        self.connect(account)
        [webhook] = self.webhooks()
        self.assertEqual((webhook["id"], webhook["url"]), (account.webhook_id, account.webhook_url))

    def test_webhook_given_away(self):
        """Test that a webhook that now leads to another program is not taken back."""
        account = self.connect()
        url = "https://elsewhere.example.com/hook"
        client.Client(API_KEY, self.sandbox_url).call(
            "patch", (*event_webhook.SETTINGS, account.webhook_id), body={"url": url, "enabled": True}
        )
        self.connect(account)
        self.assertEqual({webhook["url"] for webhook in self.webhooks()}, {url, account.webhook_url})

    def test_key_lost(self):
        """Test that a signing key that SendGrid exchanged replaces ours, and the old one stays valid too."""
        account = self.connect()
        old = account.verification_key
        api = client.Client(API_KEY, self.sandbox_url)
        for enabled in (False, True):
            api.call("patch", (*event_webhook.SETTINGS, "signed", account.webhook_id), body={"enabled": enabled})
        self.connect(account)
        self.assertNotEqual(account.verification_key, old)
        self.assertEqual(account.previous_verification_key, old)
        self.assertTrue(account.previous_verification_key_end)

    # ------------------------------------------------------------
    # MAIL SERVERS
    # ------------------------------------------------------------

    def test_web_api(self):
        """Test that choosing the Web API makes a server for it, and that the choice can be changed."""
        account = self.connect(sending="sendgrid_api")
        server = account.mail_server_ids
        self.assertEqual(server.smtp_authentication, "sendgrid_api")
        connect = self.open(account)
        self.assertEqual(connect.sending, "sendgrid_api")
        self.connect(account, sending="login")
        self.assertEqual(account.mail_server_ids, server)
        self.assertEqual((server.smtp_authentication, server.smtp_user, server.smtp_pass), ("login", "apikey", API_KEY))

    def test_which_server_is_taken_over(self):
        """Test that with several accounts only a server with the same API key is taken over."""
        other = self.env["sendgrid.account"].create({"name": "Another"})
        values = {"smtp_host": "smtp.sendgrid.net", "smtp_user": "apikey", "from_filter": "example.com"}
        others, own = self.env["ir.mail_server"].create(
            [{**values, "name": "Other", "smtp_pass": "SG.x"}, {**values, "name": "Own", "smtp_pass": API_KEY}]
        )
        account = self.connect()
        self.assertEqual(account.mail_server_ids, own)
        own.sendgrid_account_id = other
        account = self.connect()
        self.assertEqual(account.mail_server_ids.sendgrid_connection, "created")
        self.assertFalse(others.sendgrid_account_id)

    def test_another_server_first(self):
        """Test that the user hears of another server through which his mails leave."""
        self.env["ir.mail_server"].create({"name": "Provider", "smtp_host": "localhost", "sequence": 1})
        connect = self.start(self.open())
        step = self.step(connect, "server")
        self.assertEqual(step.state, "warning")
        self.assertIn("Provider", step.message)
        self.assertTrue(connect.is_done)

    # ------------------------------------------------------------
    # FAILURES
    # ------------------------------------------------------------

    def test_bad_key(self):
        """Test that an unknown API key leaves no account behind, and does not replace a good one."""
        connect = self.start(self.open(api_key="SG.mistyped"))
        self.assertFailed(connect, "key", "does not know this API key")
        self.assertFalse(connect.account_id)
        self.assertEqual(set(connect.step_ids[1:].mapped("state")), {"waiting", "offered"})
        self.assertFalse(self.env["sendgrid.account"].search([]))
        connect.action_back()
        self.assertFalse(connect.step_ids)
        self.assertEqual(connect.api_key, "SG.mistyped")
        connect.api_key = API_KEY
        self.start(connect)
        self.assertTrue(connect.is_done)

        account = connect.account_id
        connect = self.start(self.open(account, api_key="SG.mistyped"))
        self.assertFailed(connect, "key", "does not know this API key")
        self.assertEqual(account.api_key, API_KEY)

    def test_no_key(self):
        """Test that a text of spaces is no API key."""
        for key in (False, " "):
            connect = self.start(self.open(api_key=key))
            self.assertFailed(connect, "key", "no API key")

    def test_missing_scope(self):
        """Test that each missing permission is named, with its purpose."""
        for scope, purpose in zip(NEEDED, ("Send e-mails", "Find the event webhook", "Set up"), strict=True):
            with self.subTest(scope):
                self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", sorted(set(NEEDED) - {scope}))
                connect = self.start(self.open())
                self.assertFailed(connect, "key", scope, purpose, "tracking_settings.read")
                lacks = [line for line in self.step(connect, "key").message.splitlines() if scope in line]
                self.assertNotIn("not necessary", lacks[0])
                self.assertFalse(self.webhooks_or_none())

    def webhooks_or_none(self):
        try:
            return self.webhooks()
        except client.ApiError:
            return None

    def test_missing_small_scopes(self):
        """Test that connecting works without the minor permissions, and says what will not work."""
        self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", NEEDED)
        connect = self.start(self.open())
        self.assertEqual(
            self.states(connect),
            {
                "key": "warning",
                "webhook": "done",
                "signing": "done",
                "server": "done",
                "tracking": "skipped",
                "measuring": "warning",
                "test": "skipped",
                "mail": "offered",
            },
            self.tell(connect),
        )
        self.assertTrue(connect.is_done)
        for scope in ("suppression.read", "suppression.delete", "email_activity.read", "tracking_settings.read"):
            self.assertIn(scope, self.step(connect, "key").message)
        self.assertIn("Test Integration", self.step(connect, "test").message)
        self.assertTrue(self.webhooks()[0]["enabled"])
        self.assertEqual(connect.account_id.connection_state, "incomplete")

    def test_maximum_reached(self):
        """Test that a full plan is explained with the webhooks that fill it; sending is set up all the same."""
        self.sandbox("PUT", "/sandbox/max-webhooks", 1)
        webhook_id = self.foreign(friendly_name="Shop")
        connect = self.start(self.open())
        self.assertFailed(connect, "webhook", "“Shop”", "no more webhooks")
        self.assertEqual(self.step(connect, "server").state, "done")
        self.assertEqual(self.states(connect)["test"], "waiting")
        client.Client(API_KEY, self.sandbox_url).call("delete", (*event_webhook.SETTINGS, webhook_id))
        self.assertRepaired(connect, "webhook")

    def test_maximum_reached_meanwhile(self):
        """Test that SendGrid's own refusal is explained too, if another webhook was made in between."""
        self.fault(
            SETTINGS, method="POST", status=400, message="You have reached the maximum number of webhooks per plan."
        )
        connect = self.start(self.open())
        self.assertFailed(connect, "webhook", "no more webhooks", "maximum number")
        self.assertRepaired(connect, "webhook")

    def test_already_exists(self):
        """Test that an address that SendGrid has already, but does not show to this API key, is explained."""
        self.fault(SETTINGS, method="POST", status=400, message="Webhook at 'x' already exists.")
        connect = self.start(self.open())
        self.assertFailed(connect, "webhook", "has this address already")

    def test_url_refused(self):
        """Test that an address that SendGrid does not accept is explained, without the secret in it."""
        self.env["ir.config_parameter"].set_param("web.base.url", "ftp://odoo.example.com")
        connect = self.start(self.open())
        self.assertFailed(connect, "webhook", "ftp://odoo.example.com", "web.base.url", "is not a valid url")
        self.env["ir.config_parameter"].set_param("web.base.url", "https://odoo.example.com")
        self.assertRepaired(connect, "webhook")

    def test_url_in_doubt(self):
        """Test that the user is warned of an address that SendGrid can hardly reach; the test event decides."""
        self.sandbox("PUT", "/sandbox/max-webhooks", 10)
        for url, word in (
            ("http://odoo.example.com", "https"),
            ("https://localhost:8069", "localhost"),
            ("https://192.168.1.5", "192.168.1.5"),
            ("http://[::1]:8069", "::1"),
            ("https://erp", "erp"),
            ("https://odoo.internal", "odoo.internal"),
        ):
            with self.subTest(url):
                self.env["ir.config_parameter"].set_param("web.base.url", url)
                connect = self.start(self.open(name=url))
                step = self.step(connect, "webhook")
                self.assertEqual(step.state, "warning", self.tell(connect))
                self.assertIn(word, step.message)
                self.assertTrue(connect.is_done)

    def test_calls_that_fail(self):
        """Test each step with each fault of SendGrid's: it says what to do, and "Repeat" ends well."""
        troubles = {
            "limit": ({"status": 429, "reset": 900}, "too many calls"),
            "server": ({"status": 500}, "problem of its own"),
            "timeout": ({"action": "hang", "seconds": 30}, "did not answer in time"),
            "cut": ({"action": "cut"}, "did not answer in time"),
            "scope": ({"status": 403, "message": "access forbidden"}, "may not do this"),
            "key": ({"status": 401, "message": "revoked"}, "does not know this API key"),
        }
        places = {
            "key": ("/v3/scopes", "GET"),
            "webhook": (f"{SETTINGS}/all", "GET"),
            "signing": (f"{SETTINGS}/signed", "PATCH"),
            "tracking": ("/v3/tracking_settings", "GET"),
            "test": ("/v3/user/webhooks/event/test", "POST"),
        }
        for (step, (path, method)), (kind, (fault, word)) in (
            (place, trouble) for place in places.items() for trouble in troubles.items()
        ):
            if kind == "scope" and step in ("tracking", "test"):
                continue  # these steps do not need it: see test_missing_small_scopes
            with self.subTest(step=step, kind=kind), patch.object(client, "TRIES", 1), self.hurry(kind == "timeout"):
                self.sandbox("POST", "/sandbox/reset")
                self.fault(path, method=method, **fault)
                connect = self.start(self.open(name=f"{step} {kind}"))
                self.assertFailed(connect, step, word)
                self.assertRepaired(connect, step)
                self.assertEqual(len(self.webhooks()), 1)

    @contextmanager
    def hurry(self, is_hurried):
        """Give up waiting for SendGrid sooner."""
        call = client.Client._call_once

        def call_once(self, method, path, params, body, timeout):
            return call(self, method, path, params, body, 2)

        with patch.object(client.Client, "_call_once", call_once if is_hurried else call):
            yield

    def test_trouble_that_passes(self):
        """Test that a rate limit and a broken server are waited for, and not shown."""
        self.fault("/v3/scopes", status=429, reset=1)
        self.fault(f"{SETTINGS}/all", status=503)
        connect = self.start(self.open())
        self.assertTrue(connect.is_done, self.tell(connect))
        self.assertEqual(self.calls("GET")[:2], ["/v3/scopes"] * 2)
        self.assertEqual(self.calls("GET").count(f"{SETTINGS}/all"), 2)

    def test_answers_that_are_none(self):
        """Test that the user reads it if an answer is not SendGrid's."""
        for answer in (None, [], {"scopes": 5}, "x"):
            with (
                self.subTest(answer=answer),
                patch.object(client.Client, "_call_once", return_value=client.Answer(200, answer, {})),
            ):
                connect = self.start(self.open())
            self.assertFailed(connect, "key", "not SendGrid")
        nameless = {"url": "https://odoo.example.com/sendgrid/webhook/x"}
        for answer in (None, [], {"webhooks": {}}, {"webhooks": [7]}, {"webhooks": [{}, nameless]}, "x"):
            connect = self.open()
            connect.action_start()
            connect.run_next()
            with (
                self.subTest(answer=answer),
                patch.object(client.Client, "_call_once", return_value=client.Answer(200, answer, {})),
            ):
                connect.run_next()
            self.assertFailed(self.run_steps(connect), "webhook", "not SendGrid")

    def test_no_test_event(self):
        """Test that a test event that does not arrive within a minute is reported, with things to check."""
        connect = self.open()
        connect.action_start()
        for _step in ALL_STEPS:
            connect.run_next()
        test = self.step(connect, "test")
        self.assertEqual((test.state, connect.run_next()), ("running", sendgrid_account_connect_step.POLL))
        self.store([{"email": "ada@example.org", "event": "open", "timestamp": 1}], connect.account_id)
        connect.run_next()
        self.assertEqual(test.state, "running", "another event is no test")
        test.test_date -= sendgrid_account_connect_test.TEST_ARRIVES_WITHIN
        self.assertIs(connect.run_next(), False)
        self.assertFailed(connect, "test", "within a minute", "https://odoo.example.com", "proxy", "--db-filter")
        self.assertNotIn(connect.account_id.webhook_token, test.message)
        self.assertEqual(connect.account_id.connection_state, "incomplete")
        self.assertRepaired(connect, "test")

    def test_earlier_test_event(self):
        """Test that a test event that arrived before does not count."""
        account = self.connect()
        connect = self.open(account)
        connect.action_start()
        for _step in ALL_STEPS:
            connect.run_next()
        connect.run_next()
        self.assertEqual(self.step(connect, "test").state, "running")

    # ------------------------------------------------------------
    # WHO IS MEASURED
    # ------------------------------------------------------------

    def test_measuring_is_asked(self):
        """Test that a new account asks who is measured, that each answer is kept, and that it can be given anew."""
        connect = self.start(self.open())
        step = self.step(connect, "measuring")
        self.assertEqual((step.state, step.question), ("warning", "measuring"))
        for words in ("By country (proposed)", "you answer for it", "no legal advice"):
            self.assertIn(words, step.message)
        companies = connect.account_id._get_companies()
        self.assertEqual(companies, self.env["res.company"].search([]))
        companies.country_id = self.env.ref("base.cl")
        self.assertNotIn("no country is chosen", step._explain_measuring(companies))
        companies[:1].country_id = False
        step.action_repeat()
        self.run_steps(connect)
        self.assertIn("no country is chosen", step.message)
        for choice, words in (("everybody", "Everybody"), ("nobody", "Only who agreed"), ("country", "outside")):
            with self.subTest(choice=choice):
                step.action_measure(choice)
                self.assertEqual(set(companies.mapped("sendgrid_unasked")), {choice})
                self.assertEqual((step.state, step.question), ("done", False))
                self.assertIn(words, step.message)
                self.assertRepaired(connect, "measuring")
                self.assertEqual(step.question, "measuring")
        log = "".join(connect.account_id.message_ids.mapped("body"))
        self.assertIn(": Only who agreed is measured.", log)

    def test_measuring_is_not_asked_again(self):
        """Test that connecting again only tells what was chosen; but it asks while nobody has chosen."""
        account = self.connect()
        companies = account._get_companies()
        companies.sendgrid_unasked = "nobody"
        step = self.step(self.start(self.open(account)), "measuring")
        self.assertEqual((step.state, step.question), ("done", False))
        self.assertIn("Only who agreed is measured.", step.message)
        companies[:1].sendgrid_unasked = False
        step = self.step(self.start(self.open(account)), "measuring")
        self.assertEqual(step.question, "measuring")

    def test_measuring_of_one_company(self):
        """Test that the answer holds for the account's company only, and that several companies are named."""
        other = self.env["res.company"].create({"name": "Another company", "sendgrid_unasked": "nobody"})
        step = self.step(self.start(self.open(company_id=self.env.company.id)), "measuring")
        self.assertNotIn("Another company", step.message)
        step.action_measure("everybody")
        self.assertEqual((self.env.company.sendgrid_unasked, other.sendgrid_unasked), ("everybody", "nobody"))
        step = self.step(self.start(self.open(name="For all", company_id=False)), "measuring")
        self.assertIn("Another company", step.message)

    def test_choosing_alone(self):
        """Test the dialog that only asks, to which Health leads: it runs no other step, and asks SendGrid nothing."""
        account = self.connect()
        calls = len(self.sandbox("GET", "/sandbox/calls"))
        connect = self.Connect.browse(account.action_choose_measured()["res_id"])
        self.run_steps(connect)
        self.assertEqual(self.states(connect), {"measuring": "warning"})
        connect.step_ids.action_measure()
        self.assertEqual(set(account._get_companies().mapped("sendgrid_unasked")), {"country"})
        self.assertEqual(len(self.sandbox("GET", "/sandbox/calls")), calls)
        action = connect.step_ids.action_open_countries()
        self.assertEqual(action["res_model"], "res.country.group")

    # ------------------------------------------------------------
    # THE WAY BACK
    # ------------------------------------------------------------

    def test_disconnect(self):
        """Test that disconnecting removes only the webhook, the keys and the server that connecting made."""
        foreign = self.foreign()
        account = self.connect()
        server = account.mail_server_ids
        own = self.env["ir.mail_server"].create(
            {"name": "Chosen by hand", "smtp_host": "smtp.sendgrid.net", "sendgrid_account_id": account.id}
        )
        email = self.create_email(account_id=account.id)
        dialog = self.env["sendgrid.account.disconnect"].browse(account.action_disconnect()["res_id"])
        for words in (
            "webhook that connecting made will be deleted",
            "“Ours”, which connecting made",
            "“Chosen by hand” will stay",
        ):
            self.assertIn(words, dialog.plan)
        dialog.action_disconnect()
        self.assertFalse(dialog.remains)
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [foreign])
        self.assertFalse(account.api_key or account.verification_key or account.webhook_id or account.connection_date)
        self.assertEqual(account.connection_state, "none")
        self.assertEqual((server.active, server.smtp_pass), (False, False))
        self.assertEqual((own.active, own.sendgrid_account_id), (True, account))
        self.assertTrue(email.exists())
        self.assertFalse(self.disconnect(account).remains, "twice does no harm")

        self.connect(account, api_key=API_KEY)
        self.assertEqual(len(self.webhooks()), 2)

    def test_connect_after_disconnect(self):
        """Test that connecting again uses the server that it had made."""
        account = self.connect()
        server = account.mail_server_ids
        self.disconnect(account)
        self.connect(account, api_key=API_KEY)
        self.assertEqual(account.mail_server_ids, server)
        self.assertEqual((server.active, server.smtp_pass), (True, API_KEY))

    def test_disconnect_what_was_there(self):
        """Test that a webhook and a server that existed before connecting stay."""
        account = self.env["sendgrid.account"].create({"name": "By hand"})
        values = {"name": "Mine", "smtp_host": "smtp.sendgrid.net", "smtp_user": "apikey", "smtp_pass": "SG.mine"}
        server = self.env["ir.mail_server"].create(values)
        webhook_id = self.foreign(account.webhook_url)
        self.connect(account, api_key=API_KEY)
        dialog = self.disconnect(account)
        self.assertFalse(dialog.remains)
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [webhook_id])
        self.assertEqual({name: server[name] for name in values}, values)
        self.assertTrue(server.active)
        self.assertFalse(server.sendgrid_account_id or server.sendgrid_connection)

    def test_disconnect_given_away(self):
        """Test that a webhook that now leads elsewhere is left alone."""
        account = self.connect()
        client.Client(API_KEY, self.sandbox_url).call(
            "patch",
            (*event_webhook.SETTINGS, account.webhook_id),
            body={"url": "https://elsewhere.example.com/hook", "enabled": True},
        )
        dialog = self.disconnect(account)
        self.assertIn("left alone", dialog.done)
        self.assertEqual(len(self.webhooks()), 1)

    def test_disconnect_without_sendgrid(self):
        """Test that disconnecting works while SendGrid does not answer, and lists what is left to do there."""
        troubles = {
            "dead key": lambda account: self.sandbox("DELETE", f"/sandbox/keys/{API_KEY}"),
            "down": lambda account: self.fault(SETTINGS, status=500, times=100),
            "unreachable": lambda account: self.env["ir.config_parameter"].set_param(
                "sendgrid_tracking.api_host", "http://127.0.0.1:9"
            ),
            "no key": lambda account: account.write({"api_key": False}),
        }
        for name, trouble in troubles.items():
            with self.subTest(name):
                self.sandbox("POST", "/sandbox/reset")
                self.env["ir.config_parameter"].set_param("sendgrid_tracking.api_host", self.sandbox_url)
                account = self.connect(name=name)
                webhook_id = account.webhook_id
                trouble(account)
                dialog = self.disconnect(account)
                self.assertIn(webhook_id, dialog.remains)
                self.assertFalse(account.api_key or account.verification_key or account.webhook_id)
                self.assertFalse(account.mail_server_ids)

    def test_disconnect_server_in_use(self):
        """Test that a server in use is listed as left to do, and the rest is done."""
        account = self.connect()
        server = account.mail_server_ids
        with patch.object(type(server), "_active_usages_compute", lambda self: {self.id: ["A mailing"]}):
            dialog = self.disconnect(account)
        self.assertIn("A mailing", dialog.remains)
        self.assertTrue(server.active)
        self.assertFalse(account.verification_key)

    # ------------------------------------------------------------
    # ANOTHER KEY
    # ------------------------------------------------------------

    def test_rotation(self):
        """Test that a new signing key comes with a second webhook, and that the first is deleted in time."""
        self.enterContext(patch.object(IrCron, "_commit_progress"))
        account = self.connect()
        old = account.webhook_id, account.webhook_token, account.verification_key
        begin = fields.Datetime.now()
        connect = self.rotate(account)
        self.assertTrue(connect.is_done, self.tell(connect))
        self.assertEqual(connect.step_ids.mapped("name"), ["second", "webhook", "signing", "test"])
        end = account.previous_verification_key_end - timedelta(hours=25)
        self.assertTrue(begin <= end <= fields.Datetime.now(), end)
        self.assertFalse({account.webhook_id, account.webhook_token, account.verification_key} & set(old))
        self.assertEqual(
            (account.previous_webhook_id, account.previous_webhook_token, account.previous_verification_key), old
        )
        self.assertEqual({webhook["id"] for webhook in self.webhooks()}, {old[0], account.webhook_id})
        self.assertEqual({account._get_by_webhook_token(token) for token in (old[1], account.webhook_token)}, {account})

        connect = self.rotate(account)
        self.assertFailed(connect, "second", "has not ended yet")

        self.run_cron("ir_cron_forget_previous_keys")
        self.assertEqual(len(self.webhooks()), 2, "its time is not over")
        account.previous_verification_key_end = fields.Datetime.now() - timedelta(seconds=1)
        self.fault(SETTINGS, method="DELETE", status=500, times=4)
        with self.assertLogs("odoo.addons.sendgrid_tracking.models.sendgrid_account_connection", "WARNING"):
            self.run_cron("ir_cron_forget_previous_keys")
        self.assertTrue(account.previous_webhook_id, "SendGrid did not answer: at the next run")
        self.run_cron("ir_cron_forget_previous_keys")
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [account.webhook_id])
        self.assertFalse(
            account.previous_webhook_id or account.previous_webhook_token or account.previous_verification_key
        )
        self.assertFalse(account._get_by_webhook_token(old[1]))
        self.assertTrue(self.rotate(account).is_done, "and again")

    def test_rotation_of_an_archived_account(self):
        """Test that the replaced webhook is deleted too if its account was archived meanwhile."""
        self.enterContext(patch.object(IrCron, "_commit_progress"))
        account = self.connect()
        self.rotate(account)
        account.mail_server_ids.active = False
        account.active = False
        account.previous_verification_key_end = fields.Datetime.now() - timedelta(seconds=1)
        self.run_cron("ir_cron_forget_previous_keys")
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [account.webhook_id])
        self.assertFalse(account.previous_webhook_id or account.previous_verification_key)

    def test_rotation_ended_by_hand(self):
        """Test that the old signing key can be ended at once."""
        account = self.connect()
        self.rotate(account)
        account.action_forget_previous_key()
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [account.webhook_id])
        self.assertFalse(account.previous_verification_key or account.previous_verification_key_end)

    def test_rotation_without_room(self):
        """Test that a plan with one webhook keeps its signing key, and says why."""
        account = self.connect()
        before = account.webhook_id, account.webhook_token, account.verification_key
        self.sandbox("PUT", "/sandbox/max-webhooks", 1)
        connect = self.rotate(account)
        self.assertFailed(connect, "second", "a second webhook is needed")
        self.assertEqual((account.webhook_id, account.webhook_token, account.verification_key), before)
        self.sandbox("PUT", "/sandbox/max-webhooks", 2)
        self.assertRepaired(connect, "second")

    def test_rotation_died(self):
        """Test that a rotation that stopped between two steps continues in a new dialog."""
        account = self.connect()
        old = account.webhook_token
        connect = self.Connect.browse(account.action_rotate_key()["res_id"])
        connect.action_start()
        connect.run_next()
        with self.assertRaisesRegex(UserError, "still needed"):
            account.action_forget_previous_key()
        self.assertEqual(len(self.webhooks()), 1, "the only webhook is left alone")
        connect = self.rotate(account)
        self.assertTrue(connect.is_done, self.tell(connect))
        self.assertEqual(account.previous_webhook_token, old)
        self.assertEqual(len(self.webhooks()), 2)

    def test_rotation_died_before_the_test(self):
        """Test that the old webhook is only deleted once the new one is on, even if nobody saw the last step."""
        account = self.connect()
        connect = self.Connect.browse(account.action_rotate_key()["res_id"])
        connect.action_start()
        for _step in range(3):
            connect.run_next()
        self.assertEqual(self.step(connect, "signing").state, "done")
        account.action_forget_previous_key()
        [webhook] = self.webhooks()
        self.assertEqual((webhook["id"], webhook["enabled"]), (account.webhook_id, True))

    def test_disconnect_during_rotation(self):
        """Test that disconnecting deletes both webhooks."""
        account = self.connect()
        self.rotate(account)
        self.assertFalse(self.disconnect(account).remains)
        self.assertFalse(self.webhooks())

    def test_end_of_previous_key(self):
        """Test that the previous signing key is valid until its end, to the second, and for good without an end."""
        new, old = Signer(), Signer()
        account = self.env["sendgrid.account"].create(
            {"name": "Two keys", "verification_key": new.public_key, "previous_verification_key": old.public_key}
        )
        end = fields.Datetime.now().replace(microsecond=0)
        for previous_end, accepted in (
            (False, True),
            (end + timedelta(hours=1), True),
            (end - timedelta(seconds=1), False),
        ):
            account.previous_verification_key_end = previous_end
            for signer, expected in ((old, accepted), (new, True)):
                with self.subTest(end=previous_end, new=signer == new):
                    signed = signer.sign(b"[]")
                    headers = [signed[f"X-Twilio-Email-Event-Webhook-{name}"] for name in ("Signature", "Timestamp")]
                    self.assertEqual(account._verify_webhook(*headers, b"[]"), expected)

    # ------------------------------------------------------------
    # TRACKING SETTINGS
    # ------------------------------------------------------------

    def test_tracking_settings(self):
        """Test that the account's tracking settings are shown, and switched one by one."""
        account = self.connect()
        before = account.open_tracking, account.click_tracking
        account.action_switch_open_tracking()
        self.assertEqual((account.open_tracking, account.click_tracking), (not before[0], before[1]))
        account.action_switch_click_tracking()
        self.assertEqual((account.open_tracking, account.click_tracking), (not before[0], not before[1]))
        account.write({"open_tracking": before[0], "tracking_settings_date": False})
        account.action_read_tracking_settings()
        self.assertEqual(account.open_tracking, not before[0])
        self.assertTrue(account.tracking_settings_date)

    def test_tracking_settings_in_part(self):
        """Test that a setting which an answer leaves out is not taken for off: it is asked for by itself."""
        account = self.connect()
        for name in ("open", "click"):
            if not account[f"{name}_tracking"]:
                account._switch_tracking(name, True)
        rows = account._get_client().get(("tracking_settings",))["result"]
        click = next(row for row in rows if row["name"] == "click")
        for result in ([], [None, {"name": 7}], [click], [{**row, "enabled": str(row["enabled"])} for row in rows]):
            with self.subTest(result=result):
                fault = {"path": "/v3/tracking_settings", "action": "answer", "body": {"result": result}}
                self.sandbox("POST", "/sandbox/faults", fault)
                account.action_read_tracking_settings()
                self.assertTrue(account.open_tracking and account.click_tracking)
        fault = {"path": "/v3/tracking_settings", "action": "answer", "body": {"result": []}, "times": 2}
        self.sandbox("POST", "/sandbox/faults", fault)
        with self.assertRaises(UserError):
            account.action_read_tracking_settings()
        self.assertTrue(account.open_tracking and account.click_tracking)

    def test_tracking_settings_refused(self):
        """Test that an API key that may not switch them changes nothing in Odoo either."""
        account = self.connect()
        before = account.open_tracking
        self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", [*NEEDED, "tracking_settings.read"])
        with self.assertRaisesRegex(UserError, "may not do this"):
            account.action_switch_open_tracking()
        self.assertEqual(account.open_tracking, before)

    def test_tracking_is_off(self):
        """Test that connecting says what SendGrid does not track."""
        account = self.connect()
        if account.open_tracking:
            account.action_switch_open_tracking()
        connect = self.start(self.open(account))
        step = self.step(connect, "tracking")
        self.assertEqual(step.state, "warning")
        self.assertIn("opens", step.message)
