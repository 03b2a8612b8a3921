"""Coming and going: a copied database, an address that changes, another API key, deleting, and uninstalling."""

import socket
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from psycopg2.errors import RestrictViolation

from odoo import fields
from odoo.exceptions import RedirectWarning, UserError
from odoo.tests import Form, tagged
from odoo.tools import SQL, mute_logger
from odoo.tools.misc import file_path

from odoo.addons.base.models.ir_cron import IrCron
from odoo.addons.base.models.ir_mail_server import IrMail_Server

from ..hooks import uninstall_hook
from ..tools.api import client
from ..wizard import sendgrid_account_connect_step
from .sandbox_case import API_KEY
from .simulator import Signer
from .test_connect import NEEDED, SETTINGS, ConnectCase

OLD = "https://odoo.example.com"
REMOVAL = "odoo.addons.sendgrid_tracking.models.sendgrid_account_removal"


class GoingCase(ConnectCase):
    def setUp(self):
        super().setUp()
        # A test's transaction must not commit. `tests/end_to_end/test_uninstall.py` tests it.
        self.startPatcher(patch("odoo.addons.sendgrid_tracking.hooks.hold_scheduled_actions"))

    @contextmanager
    def unchanged(self):
        """Assert that nothing is changed at SendGrid meanwhile."""
        self.sandbox("DELETE", "/sandbox/calls")
        before = self.webhooks()
        yield
        changes = [call for call in self.sandbox("GET", "/sandbox/calls") if call["method"] != "GET"]
        self.assertFalse(changes)
        self.assertEqual(self.webhooks(), before)

    def set_url(self, url):
        self.env["ir.config_parameter"].set_param("web.base.url", url)
        self.env.invalidate_all()  # a request of its own would have read nothing yet

    def copy_database(self, kind):
        """Make this database another one than the one from which the accounts were connected."""
        if kind == "uuid":
            self.env["ir.config_parameter"].set_param("database.uuid", "00000000-0000-0000-0000-000000000000")
        elif kind == "name":
            # The copy's name is the present one; what is stored is the original's.
            self.env["sendgrid.account"].search([]).connected_database = "production"
            self.env.invalidate_all()
        else:
            self.set_url("https://staging.example.com")

    def forget_history(self, account):
        """Delete what prevents deleting an account: an account with events or documents has to stay."""
        account.mail_server_ids.unlink()
        self.env["sendgrid.event"].sudo().search([("account_id", "=", account.id)]).unlink()
        self.env["sendgrid.event.batch"].sudo().search([("account_id", "=", account.id)]).unlink()

    def log(self, account):
        return "\n".join(account.message_ids.mapped("body"))


@tagged("post_install", "-at_install")
class TestCopies(GoingCase):
    def test_nothing_is_changed(self):
        """Test that no button of a copy changes anything at SendGrid: each asks first, or says what it left alone."""
        for kind in ("uuid", "name", "address"):
            with self.subTest(kind), self.env.cr.savepoint() as savepoint:
                self.sandbox("POST", "/sandbox/reset")
                account = self.connect(name=kind)
                self.rotate(account)
                account.flush_recordset()
                self.copy_database(kind)
                with self.unchanged():
                    for button in (
                        account.action_switch_open_tracking,
                        account.action_switch_click_tracking,
                        account.action_forget_previous_key,
                    ):
                        with self.assertRaisesRegex(RedirectWarning, "production" if kind == "name" else "") as asked:
                            button()
                        _words, action, label, context = asked.exception.args
                        self.assertEqual(context["active_id"], account.id)
                        self.assertTrue(label)
                        self.assertTrue(self.env["ir.actions.server"].browse(action).exists())
                    connect = self.start(self.open(account))
                    step = self.step(connect, "webhook")
                    self.assertEqual(step.state, "failed")
                    self.assertEqual(step.question, "address" if kind == "address" else "place")
                    self.assertTrue(account.place_warning)
                    dialog = self.disconnect(account)
                    self.assertFalse(dialog.remains, "nobody shall delete the original's webhook by hand")
                    self.assertIn("stays at SendGrid", dialog.done)
                savepoint.rollback()
                self.env.registry.clear_all_caches()  # that of the system parameters too

    def test_nothing_is_deleted(self):
        """Test that deleting an account of a copy, or uninstalling there, leaves the original's webhook alone."""
        for leave in (lambda account: account.unlink(), lambda account: uninstall_hook(account.env)):
            account = self.connect()
            self.copy_database("name")
            self.forget_history(account)
            with self.unchanged():
                leave(account)

    def test_disconnected_copy(self):
        """Test that a copy that was disconnected and is connected again gets a webhook of its own."""
        account = self.connect()
        self.copy_database("uuid")
        [original] = self.webhooks()
        self.disconnect(account)
        self.connect(account, api_key=API_KEY)
        self.assertEqual(len(self.webhooks()), 2)
        self.assertIn(original, self.webhooks())

    def test_jobs_wait(self):
        """Test that scheduled actions of a copy change nothing at SendGrid, do not fail, and go on after the answer."""
        self.enterContext(patch.object(IrCron, "_commit_progress"))
        account = self.connect()
        self.rotate(account)
        account.previous_verification_key_end = fields.Datetime.now() - timedelta(seconds=1)
        self.sandbox("POST", "/sandbox/suppressions/bounces", [{"email": "ada@example.org"}])
        entry = self.env["sendgrid.suppression"]._get_entry(account, "bounces", "ada@example.org")
        entry.action_clear()
        self.copy_database("name")
        with self.unchanged():
            with self.assertLogs("odoo.addons.sendgrid_tracking.models.sendgrid_account_connection", "WARNING"):
                self.run_cron("ir_cron_forget_previous_keys")
            self.run_cron("ir_cron_clear")
        self.assertTrue(account.previous_webhook_id)
        self.assertEqual(entry.state, "clearing")
        self.assertIn("another database", entry.error)
        account._claim()
        self.run_cron("ir_cron_forget_previous_keys")
        self.run_cron("ir_cron_clear")
        self.assertFalse(account.previous_webhook_id)
        self.assertEqual(entry.state, "cleared")

    def test_health(self):
        """Test that Health tells a copy from the original, without an activity."""
        account = self.connect()

        def finding():
            account._check_health()
            check = account.check_ids.filtered(lambda check: check.subject == "place")
            return check.state, check.finding

        self.assertEqual(finding(), ("ok", "place_known"))
        self.set_url("https://new.example.com")
        self.assertEqual(finding(), ("warning", "place_address"))
        self.copy_database("name")
        self.assertEqual(finding(), ("warning", "place_other"))
        self.assertIn("production", account.check_ids.filtered(lambda check: check.subject == "place").message)
        self.assertFalse(account.activity_ids)

    def test_claim(self):
        """Test that an administrator can say, by one button, that this is the production database now."""
        account = self.connect()
        token, [webhook] = account.webhook_token, self.webhooks()
        self.copy_database("name")
        self.set_url("https://new.example.com")
        connect = self.Connect.browse(account.action_claim()["res_id"])
        self.run_steps(connect)
        self.assertTrue(connect.is_done, self.tell(connect))
        [moved] = self.webhooks()
        self.assertEqual((moved["id"], moved["url"]), (webhook["id"], account.webhook_url))
        self.assertTrue(moved["url"].startswith("https://new.example.com/"))
        self.assertEqual(account.webhook_token, token)
        self.assertFalse(account.place_warning)
        for words in ("“production”", OLD, "https://new.example.com"):
            self.assertIn(words, self.log(account))

    def test_claim_in_the_dialog(self):
        """Test both answers to the dialog's question: this is production, or this is a copy beside it."""
        for answer, number in (("action_claim", 1), ("action_connect_beside", 2)):
            with self.subTest(answer):
                self.sandbox("POST", "/sandbox/reset")
                account = self.connect(name=answer)
                [original] = self.webhooks()
                self.copy_database("name")
                connect = self.start(self.open(account))
                step = self.step(connect, "webhook")
                self.assertEqual(step.question, "place")
                getattr(step, answer)()
                self.run_steps(connect)
                self.assertTrue(connect.is_done, self.tell(connect))
                self.assertFalse(step.question)
                self.assertEqual(len(self.webhooks()), number)
                self.assertEqual(original["id"] == account.webhook_id, number == 1)

    def test_neutralized(self):
        """Test that a neutralised copy asks too if somebody enters a key, and its token is not that of other copies."""
        account = self.connect()
        self.env.flush_all()
        with open(file_path("sendgrid_tracking/data/neutralize.sql")) as file:
            self.env.cr.execute(SQL(file.read()))
        self.env.invalidate_all()
        self.copy_database("uuid")
        self.copy_database("address")
        with self.unchanged():
            connect = self.start(self.open(account, api_key=API_KEY))
            self.assertEqual(self.step(connect, "webhook").question, "place")
        self.step(connect, "webhook").action_claim()
        self.assertFalse(account.webhook_token.startswith("neutralized"))

    def test_sending_and_asking_go_on(self):
        """Test that what changes nothing at SendGrid is not asked about."""
        account = self.connect()
        self.copy_database("name")
        account.action_read_tracking_settings()
        api = account._get_client()
        api.call("post", ("logs",), body={"query": "status IN ('delivered')", "limit": 1}, changes=False)
        with self.assertRaises(UserError):
            api.call("post", ("asm", "groups"), body={"name": "x", "description": "x"})


@tagged("post_install", "-at_install")
class TestAddress(GoingCase):
    def test_it_asks_before_moving(self):
        """Test that connecting again and a new signing key show the old and new address, and move only if told to."""
        for begin in (self.start, self.rotate):
            with self.subTest(begin.__name__):
                self.sandbox("POST", "/sandbox/reset")
                self.set_url(OLD)
                account = self.connect(name=begin.__name__)
                self.set_url("https://new.example.com")
                with self.unchanged():
                    connect = begin(self.open(account)) if begin == self.start else begin(account)
                    step = connect.step_ids.filtered("question")
                    self.assertIn(f"{OLD} → https://new.example.com", step.message)
                    self.assertEqual((step.state, step.question), ("failed", "address"))
                step.action_move()
                self.run_steps(connect)
                self.assertTrue(connect.is_done, self.tell(connect))
                self.assertIn(
                    "https://new.example.com", {one["url"].partition("/sendgrid/")[0] for one in self.webhooks()}
                )
                self.assertIn("https://new.example.com", self.log(account))

    def test_unreachable(self):
        """Test that an address that SendGrid can hardly reach is refused, unless the user is certain."""
        account = self.connect()
        for url in (
            "http://odoo.example.com",
            "https://localhost:8069",
            "http://10.0.0.5:8069",
            "https://[fe80::1]",
            "https://erp",
            "https://erp.",
            "https://odoo.internal",
            "https://ODOO.LAN:8443",
            "https://odoo.home.arpa",
            "https://localhost.localdomain",
            "odoo.example.com",
        ):
            with self.subTest(url):
                self.set_url(url)
                with self.unchanged():
                    connect = self.start(self.open(account))
                    step = self.step(connect, "webhook")
                    self.assertEqual(step.question, "unreachable")
                    self.assertNotIn("reach  over", step.message, "it names the address")
                    with self.assertRaises(UserError):
                        step.action_move()
        self.set_url("https://erp")
        connect = self.start(self.open(account))
        self.step(connect, "webhook").action_move(True)
        self.run_steps(connect)
        self.assertTrue(connect.is_done, self.tell(connect))
        self.assertTrue(self.webhooks()[0]["url"].startswith("https://erp/"))

    def test_claim_of_an_unreachable_address(self):
        """Test that the button on the account does not move the webhook out of SendGrid's reach."""
        account = self.connect()
        self.set_url("http://10.0.0.5:8069")
        with self.unchanged():
            connect = self.Connect.browse(account.action_claim()["res_id"])
            self.run_steps(connect)
            self.assertEqual(self.step(connect, "webhook").question, "unreachable")

    def test_address_changed_before_the_upgrade(self):
        """Test that SendGrid's own words about the webhook count: it may lead elsewhere though nobody noted that."""
        account = self.connect()
        self.set_url("https://new.example.com")
        account._take_place()
        with self.unchanged():
            connect = self.start(self.open(account))
            self.assertEqual(self.step(connect, "webhook").question, "address")

    def test_back_again(self):
        """Test that an address that changes and changes back is not asked about."""
        account = self.connect()
        self.set_url("http://10.0.0.5:8069")
        self.assertTrue(account.place_warning)
        self.set_url(OLD)
        account.invalidate_recordset()
        self.assertFalse(account.place_warning)
        self.connect(account)


@tagged("post_install", "-at_install")
class TestServers(GoingCase):
    def setUp(self):
        super().setUp()
        # Logging in is tried where mails may leave.
        self.enterContext(patch.object(IrMail_Server, "_disable_send", lambda server: False))
        self.host, port = self.sandbox_smtp.split(":")
        self.port = int(port)

    def adopt(self, **values):
        """Return an account with a mail server that was there before, and that connecting took over."""
        server = self.env["ir.mail_server"].create(
            {
                "name": "Mine",
                "smtp_host": self.host,
                "smtp_port": self.port,
                "smtp_encryption": "none",
                "smtp_authentication": "login",
                "smtp_user": "apikey",
                "smtp_pass": API_KEY,
                **values,
            }
        )
        account = self.env["sendgrid.account"].create({"name": "Ours", "api_key": API_KEY})
        server.write({"sendgrid_account_id": account.id, "sendgrid_connection": "adopted"})
        return account, server

    def test_another_key(self):
        """Test that a mail server with the old key is noticed, tried, and gets the new one by a button."""
        account, server = self.adopt()
        self.assertEqual(self.step(self.start(self.open(account)), "server").state, "done")
        self.sandbox("PUT", "/sandbox/keys/SG.new", NEEDED)
        connect = self.start(self.open(account, api_key="SG.new"))
        step = self.step(connect, "server")
        self.assertEqual((step.state, step.question), ("warning", "password"), step.message)
        self.assertIn("“Mine”", step.message)
        self.assertEqual(server.smtp_pass, API_KEY, "it may be so on purpose")

        self.sandbox("DELETE", f"/sandbox/keys/{API_KEY}")
        connect = self.start(self.open(account))
        step = self.step(connect, "server")
        self.assertEqual((step.state, step.question), ("failed", "password"), step.message)
        self.assertIn("535", step.message)
        self.assertFalse(connect.is_done)
        step.action_use_key()
        self.run_steps(connect)
        self.assertEqual((server.smtp_pass, step.state, step.question), ("SG.new", "done", False), step.message)
        self.assertIn("“Mine” got the account's API key", self.log(account))
        self.assertNotIn("SG.", self.log(account))
        for message in connect.step_ids.mapped("message"):
            self.assertNotIn("SG.", message or "")

    def test_another_key_elsewhere(self):
        """Test that all servers with the old key are noticed, however their host is written, and no others."""
        account, server = self.adopt()
        other = self.env["sendgrid.account"].create({"name": "Theirs", "api_key": "SG.theirs"})
        relay = server.copy_data()[0]
        upper, unassigned, archived, theirs, provider = self.env["ir.mail_server"].create(
            [
                {**relay, "name": "Upper", "smtp_host": "SMTP.SendGrid.net ", "sendgrid_account_id": account.id},
                {**relay, "name": "Unassigned", "sendgrid_account_id": False},
                {**relay, "name": "Archived", "sendgrid_account_id": account.id, "active": False},
                {**relay, "name": "Theirs", "sendgrid_account_id": other.id, "smtp_pass": "SG.theirs"},
                {**relay, "name": "Provider", "sendgrid_account_id": False, "smtp_user": "me", "smtp_pass": "secret"},
            ]
        )
        upper.smtp_pass = unassigned.smtp_pass = archived.smtp_pass = API_KEY
        self.sandbox("PUT", "/sandbox/keys/SG.new", NEEDED)
        with patch.object(type(self.env["sendgrid.account.connect.step"]), "_try_login", lambda step, one: None):
            connect = self.start(self.open(account, api_key="SG.new"))
            step = self.step(connect, "server")
            self.assertEqual((step.state, step.question), ("warning", "password"), step.message)
            for one in (server, upper, unassigned):
                self.assertIn(f"“{one.name}”", step.message)
            for one in (archived, theirs, provider):
                self.assertNotIn(f"“{one.name}”", step.message)
            step.action_use_key()
            self.run_steps(connect)
        self.assertEqual(set((server | upper | unassigned).mapped("smtp_pass")), {"SG.new"})
        self.assertFalse(unassigned.sendgrid_account_id, "nobody has asked to track it")
        self.assertEqual([theirs.smtp_pass, provider.smtp_pass], ["SG.theirs", "secret"])
        self.assertEqual((step.state, step.question), ("done", False), step.message)

    def test_port_is_blocked(self):
        """Test that a relay that cannot be reached is told, with the other way to send."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            self.env["ir.config_parameter"].set_param("sendgrid_tracking.smtp_host", f"127.0.0.1:{port}")
            connect = self.start(self.open())
            self.assertFailed(connect, "server", str(port), "Web API")
            account = connect.account_id
            connect = self.start(self.open(account, sending="sendgrid_api"))
            self.assertEqual(self.step(connect, "server").state, "done", self.tell(connect))

    def test_other_servers(self):
        """Test that a server of another provider that somebody gave to the account is not tried."""
        account, server = self.adopt(smtp_host="mail.example.com", smtp_user="someone", smtp_pass="secret")
        connect = self.start(self.open(account))
        self.assertEqual(self.step(connect, "server").state, "done")
        self.assertEqual(server.smtp_pass, "secret")


@tagged("post_install", "-at_install")
class TestMail(GoingCase):
    """The test e-mail, through the local SendGrid and back."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(IrMail_Server, "_disable_send", lambda server: False))
        self.env.user.email = "me@example.com"

    def send(self, to=None, **values):
        """Connect, have the test e-mail sent, and return its step."""
        if to:
            self.env.user.email = to
        connect = self.start(self.open(**values))
        step = self.step(connect, "mail")
        self.assertEqual(step.state, "offered", self.tell(connect))
        step.action_repeat()
        connect.run_next()
        return step

    def happen(self, step):
        """Let what SendGrid has reported of the last message arrive, and the dialog look again."""
        message = self.sandbox("GET", "/sandbox/messages")[0]
        events = [event for recipient in message["recipients"] for event in recipient["events"]]
        self.receive(*events, account=step.connect_id.account_id)
        step.connect_id.run_next()
        return message

    def test_delivered(self):
        """Test that the e-mail reaches the user by either way, has a document, and is followed until delivered."""
        for sending in ("login", "sendgrid_api"):
            with self.subTest(sending):
                self.sandbox("POST", "/sandbox/reset")
                step = self.send(name=sending, sending=sending)
                self.assertEqual(step.state, "running", step.message)
                self.assertIn("… delivered", step.message)
                self.assertEqual(step.connect_id.run_next(), sendgrid_account_connect_step.POLL)
                message = self.happen(step)
                self.assertEqual([one["address"] for one in message["recipients"]], ["me@example.com"])
                self.assertEqual(step.state, "done", step.message)
                for line in ("✓ sent to me@example.com", "✓ processed by SendGrid", "✓ delivered"):
                    self.assertIn(line, step.message)
                self.assertEqual(step.email_id.status, "delivered")
                self.assertEqual(step.action_open_email()["res_id"], step.email_id.id)
                self.assertEqual(len(self.sandbox("GET", "/sandbox/messages")), 1)

    def test_refused(self):
        """Test that a refusal is told with the server's words."""
        step = self.send(to="bounce@example.com")
        self.happen(step)
        self.assertEqual(step.state, "failed")
        self.assertIn("550", step.message)

    def test_silence(self):
        """Test that the dialog says what is missing if nothing has come within a minute."""
        step = self.send()
        account = step.connect_id.account_id
        for words, happens in (
            ("Repeat the steps", lambda: None),
            ("are not processed", lambda: self.store([{"email": "a@b.c", "event": "open", "timestamp": 1}], account)),
        ):
            with self.subTest(words):
                happens()
                step.write({"state": "running", "mail_date": fields.Datetime.now() - timedelta(seconds=61)})
                step.connect_id.run_next()
                self.assertEqual(step.state, "failed")
                self.assertIn(words, step.message)
        step.connect_id.step_ids.filtered(lambda one: one.name == "test").state = "failed"
        self.drain()
        step.state = "running"
        step._run()
        self.assertIn("“SendGrid's test event” is missing", step.message)

    def test_not_sent(self):
        """Test that the user reads why the e-mail did not leave, and that none leaves by itself later."""
        connect = self.start(self.open())
        self.sandbox("DELETE", f"/sandbox/keys/{API_KEY}")
        step = self.step(connect, "mail")
        step.action_repeat()
        with mute_logger("odoo.addons.mail.models.mail_mail"):
            connect.run_next()
        self.assertEqual(step.state, "failed")
        self.assertIn("did not leave", step.message)
        self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", NEEDED)
        self.step(connect, "webhook").action_repeat()
        self.run_steps(connect)
        self.assertFalse(self.sandbox("GET", "/sandbox/messages"))

    def test_own_address_is_refused(self):
        """Test that an e-mail that never left is not called sent, whoever refused the user's own address."""
        for sending in ("login", "sendgrid_api"):
            with self.subTest(sending):
                self.sandbox("POST", "/sandbox/reset")
                with mute_logger("odoo.addons.mail.models.mail_mail"):
                    step = self.send(to="jörg@example.com", name=sending, sending=sending)
                self.assertEqual(step.state, "failed", step.message)
                self.assertIn("did not leave", step.message)
                self.assertIn("not ASCII", step.message)
                self.assertIs(step.connect_id.run_next(), False)

    def test_no_address(self):
        """Test that a user without an address is told."""
        self.env.user.email = False
        step = self.send()
        self.assertEqual(step.state, "failed")
        self.assertIn("no e-mail address", step.message)


@tagged("post_install", "-at_install")
class TestRemoval(GoingCase):
    def test_unlink(self):
        """Test that a deleted account takes its webhooks along, and leaves those of others."""
        foreign = self.foreign()
        account = self.connect()
        self.rotate(account)
        self.forget_history(account)
        account.unlink()
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [foreign])

    def test_unlink_refused(self):
        """Test that an account that may not be deleted keeps its webhook."""
        account = self.connect()
        with (
            self.unchanged(),
            mute_logger("odoo.sql_db"),
            self.assertRaises(RestrictViolation),
            self.env.cr.savepoint(),
        ):
            account.unlink()
        self.assertTrue(account.exists())

    def test_unlink_without_sendgrid(self):
        """Test that an account is deleted while SendGrid does not answer, and the user hears what stays there."""
        sent = []
        self.patch(type(self.env["res.users"]), "_bus_send", lambda user, *message, **kwargs: sent.append(message))
        account = self.connect()
        webhook_id = account.webhook_id
        self.forget_history(account)
        self.fault(SETTINGS, status=500, times=9)
        with self.assertLogs(REMOVAL, "WARNING") as logs:
            account.unlink()
        self.assertFalse(account.exists())
        [(kind, notice)] = sent
        self.assertEqual(kind, "simple_notification")
        for words in (webhook_id, "Delete the webhook at SendGrid", "problem of its own"):
            self.assertIn(words, notice["message"])
            self.assertIn(words, logs.output[0])

    def test_unlink_tells(self):
        """Test that who deletes an account hears what became of its webhook, however that was set up."""
        sent = []
        self.patch(type(self.env["res.users"]), "_bus_send", lambda user, *message, **kwargs: sent.append(message))
        key = {"verification_key": Signer().public_key}
        for case, values, words in (
            ("connected", {}, "was deleted at SendGrid"),
            ("copy", {}, "stays at SendGrid"),
            ("by hand", {"api_key": API_KEY, **key}, "was deleted at SendGrid"),
            ("by hand, without a key", key, "no API key"),
            ("by hand, SendGrid is away", {"api_key": API_KEY, **key}, "problem of its own"),
            ("never connected", {"api_key": API_KEY}, None),
            ("empty", {}, None),
        ):
            with self.subTest(case), self.env.cr.savepoint() as savepoint:
                self.sandbox("POST", "/sandbox/reset")
                if case in ("connected", "copy"):
                    account = self.connect(name=case)
                    self.forget_history(account)
                else:
                    account = self.env["sendgrid.account"].create({"name": case, **values})
                    if "by hand" in case:
                        self.foreign(account.webhook_url)
                if case == "copy":
                    self.copy_database("name")
                if "away" in case:
                    self.fault(f"{SETTINGS}/all", status=500, times=9)
                sent.clear()
                account.unlink()
                self.assertEqual(len(sent), bool(words), sent)
                if words:
                    self.assertIn(words, sent[0][1]["message"])
                self.sandbox("DELETE", "/sandbox/faults")
                self.assertEqual(bool(words) and "deleted" not in words, bool(self.webhooks()))
                savepoint.rollback()
                self.env.registry.clear_all_caches()

    def test_a_line_is_said_once(self):
        """Test that disconnecting during a change of keys tells the two webhooks apart."""
        account = self.connect()
        self.rotate(account)
        lines = self.disconnect(account).done.splitlines()
        self.assertEqual(len(lines), len(set(lines)), lines)
        self.assertEqual(sum("deleted at SendGrid" in line for line in lines), 2)

    def test_uninstall_hook(self):
        """Test what uninstalling does: servers of the Web API send by SMTP or are archived, webhooks go."""
        account = self.connect(sending="sendgrid_api")
        template = self.env["mail.template"].create(
            {"name": "T", "model_id": self.env.ref("base.model_res_partner").id}
        )
        keyless = self.env["sendgrid.account"].create({"name": "Without a key"})
        servers = self.env["ir.mail_server"].create(
            [
                {
                    "name": "A",
                    "smtp_authentication": "sendgrid_api",
                    "sendgrid_account_id": account.id,
                    "active": False,
                },
                {"name": "B", "smtp_authentication": "sendgrid_api", "sendgrid_account_id": keyless.id},
                {"name": "C", "smtp_host": "smtp.sendgrid.net", "smtp_user": "apikey", "smtp_pass": "SG.c"},
            ]
        )
        servers[2].sendgrid_account_id = account
        template.mail_server_id = servers[1]
        uninstall = self.env["base.module.uninstall"].create(
            {"module_ids": self.env.ref("base.module_sendgrid_tracking").ids}
        )
        told = uninstall.sendgrid_consequences
        for words in ("instead of the Web API", "“B” is archived", "“C” goes on", account.webhook_id, "whoever"):
            self.assertIn(words, told)
        with self.assertLogs(REMOVAL, "WARNING") as logs:
            uninstall_hook(self.env)
        self.assertIn("“B” is archived", "".join(logs.output))
        host, port = self.sandbox_smtp.split(":")
        created = account.mail_server_ids - servers
        for server, active in ((created, True), (servers[0], False)):
            self.assertEqual(
                (server.smtp_authentication, server.smtp_host, server.smtp_port, server.smtp_user, server.smtp_pass),
                ("login", host, int(port), "apikey", API_KEY),
            )
            self.assertEqual(server.active, active)
        self.assertFalse(servers[1].active)
        self.assertEqual((servers[2].active, servers[2].smtp_pass), (True, "SG.c"))
        self.assertFalse(self.webhooks())
        self.assertFalse(self.env["ir.config_parameter"].search([("key", "like", "sendgrid_tracking.")]))

    def test_uninstall_with_reminders(self):
        """Test that the to-dos of reminders go, of which no answer would end any, and that what was done stays."""
        account = self.env["sendgrid.account"].create({"name": "Left"})
        lead = self.env["crm.lead"].create({"name": "Cheese", "user_id": self.salesperson.id})
        activities = self.env["mail.activity"]
        for number in range(2):
            email = self.create_email(f"r{number}@example.org", model="crm.lead", res_id=lead.id, account_id=account.id)
            self.env["sendgrid.reminder"]._remind_of(email, self.salesperson, email.sent_date)
            self.env["sendgrid.reminder"]._remind()
            activities |= self.env["sendgrid.reminder"].search([("email_id", "=", email.id)]).activity_id
        own = lead.activity_schedule("mail.mail_activity_data_todo", user_id=self.salesperson.id)
        done, left = activities
        done.action_feedback()
        uninstall_hook(self.env)
        self.assertTrue(done.exists())
        self.assertEqual(lead.activity_ids, own)
        self.assertFalse(left.exists())

    def test_uninstall_where_a_server_resists(self):
        """Test that a mail server that cannot be changed is archived alone, and that the others send by SMTP."""
        account = self.env["sendgrid.account"].create({"name": "Resists", "api_key": API_KEY})
        first, resisting, last = self.env["ir.mail_server"].create(
            [{"name": name, "smtp_authentication": "sendgrid_api", "sendgrid_account_id": account.id} for name in "ABC"]
        )
        self.env.flush_all()
        # Another addon may have such a rule.
        self.env.cr.execute(
            SQL(
                "ALTER TABLE ir_mail_server ADD CONSTRAINT x_resists CHECK (id != %s OR smtp_host IS NULL)",
                resisting.id,
            )
        )
        with self.assertLogs(REMOVAL, "WARNING") as logs, mute_logger("odoo.sql_db"):
            uninstall_hook(self.env)
        self.assertIn("“B” is archived", "".join(logs.output))
        host = self.sandbox_smtp.split(":")[0]
        self.assertEqual(
            [(s.smtp_authentication, s.smtp_host, s.active) for s in (first, resisting, last)],
            [("login", host, True), ("login", False, False), ("login", host, True)],
        )

    def test_uninstall_where_the_relay_is_out_of_reach(self):
        """Test that a server that could not log in by SMTP is archived: the host may block SMTP."""
        self.enterContext(patch.object(IrMail_Server, "_disable_send", lambda server: False))
        account = self.env["sendgrid.account"].create({"name": "Blocked", "api_key": API_KEY})
        server = self.env["ir.mail_server"].create(
            {"name": "A", "smtp_authentication": "sendgrid_api", "sendgrid_account_id": account.id}
        )
        relay = self.sandbox_smtp
        for trouble, address, key in (
            ("nobody there", "127.0.0.1:9", API_KEY),
            ("the key was deleted", relay, "SG.deleted"),
            (None, relay, API_KEY),
        ):
            with self.subTest(trouble), self.env.cr.savepoint() as savepoint:
                self.env["ir.config_parameter"].set_param("sendgrid_tracking.smtp_host", address)
                account.api_key = key
                expected = self.assertLogs(REMOVAL, "WARNING") if trouble else self.assertNoLogs(REMOVAL, "WARNING")
                with expected as logs:
                    uninstall_hook(self.env)
                if trouble:
                    self.assertIn("“A” is archived", logs.output[0])
                    self.assertNotIn(key, logs.output[0])
                self.assertEqual((server.active, server.smtp_authentication), (not trouble, "login"))
                self.assertEqual(server.smtp_host, "127.0.0.1", "whoever takes it from the archive can use it")
                savepoint.rollback()

    def test_uninstall_real_hosts(self):
        """Test the relay that servers of the Web API get, by the account's region."""
        self.env["ir.config_parameter"].set_param("sendgrid_tracking.smtp_host", False)
        for region, host in (("global", "smtp.sendgrid.net"), ("eu", "smtp.eu.sendgrid.net")):
            account = self.env["sendgrid.account"].create({"name": region, "region": region, "api_key": API_KEY})
            server = self.env["ir.mail_server"].create(
                {"name": region, "smtp_authentication": "sendgrid_api", "sendgrid_account_id": account.id}
            )
            uninstall_hook(self.env)
            self.assertEqual((server.smtp_host, server.smtp_port, server.smtp_encryption), (host, 587, "starttls"))

    def test_uninstall_without_sendgrid(self):
        """Test that nothing prevents the uninstallation: the log names what stays at SendGrid, after one try."""
        accounts = self.connect(name="one") | self.connect(name="two")
        for trouble in ("down", "key", "unreachable"):
            with self.subTest(trouble), patch.object(client, "TRIES", 1):
                self.sandbox("DELETE", "/sandbox/faults")
                if trouble == "down":
                    self.fault(SETTINGS, status=500, times=9)
                elif trouble == "key":
                    self.fault(SETTINGS, status=401, times=9)
                else:
                    self.env["ir.config_parameter"].set_param("sendgrid_tracking.api_host", "http://127.0.0.1:9")
                with self.assertLogs(REMOVAL, "WARNING") as logs, self.env.cr.savepoint() as savepoint:
                    uninstall_hook(self.env)
                    savepoint.rollback()
                for account in accounts:
                    self.assertIn(account.webhook_id, "".join(logs.output))

    def test_uninstall_by_hand(self):
        """Test that a webhook that was set up by hand goes too: it would post to an address that is gone."""
        account = self.env["sendgrid.account"].create({"name": "By hand", "api_key": API_KEY})
        foreign = self.foreign()
        self.foreign(account.webhook_url)
        uninstall_hook(self.env)
        self.assertEqual([webhook["id"] for webhook in self.webhooks()], [foreign])


@tagged("post_install", "-at_install")
class TestLog(GoingCase):
    def test_chatter(self):
        """Test that the chatter tells each change of keys and of the webhook, by whom, and no secret."""
        account = self.connect()
        self.assertIn("Connected", self.log(account))
        self.rotate(account)
        self.assertIn("accepted until", self.log(account))
        account.action_forget_previous_key()
        self.assertIn("not accepted any more", self.log(account))
        account.action_new_webhook_token()
        self.assertIn("another secret address", self.log(account))
        with Form(account) as form:
            form.api_key = "SG.other"
        self.assertIn("The API key was replaced", self.log(account))
        self.disconnect(account)
        self.assertIn("Disconnected.", self.log(account))
        self.assertIn("The API key was removed", self.log(account))
        self.assertEqual(account.message_ids.author_id, self.env.user.partner_id)
        for secret in ("SG.", account.webhook_token, "MFkw"):
            self.assertNotIn(secret, self.log(account))
