import base64
import logging
from unittest.mock import patch

from odoo.tests import HttpCase, mute_logger, tagged
from odoo.tools import file_open
from odoo.tools.urls import urljoin

from ..controllers.webhook import MAX_BODY
from ..models import sendgrid_account_webhook, sendgrid_drain, sendgrid_rejection
from .common import SendgridMixin, now
from .simulator import Relayed, Signer, account_event, to_wire

HOUR = 3600
REJECTION = "odoo.addons.sendgrid_tracking.models.sendgrid_rejection"


@tagged("post_install", "-at_install")
class TestWebhook(SendgridMixin, HttpCase):
    def setUp(self):
        super().setUp()
        # A test before this one may have woken the drain; that must make no difference.
        self.enterContext(patch.dict(sendgrid_drain._last_wake, clear=True))
        self.enterContext(patch.dict(sendgrid_rejection._last_flush, clear=True))
        self.body = to_wire(
            [Relayed(["ada@example.org"]).event("open", useragent="secret-of-the-body"), {"x": "é\x7f"}]
        )

    def _batches(self):
        self.env.invalidate_all()
        return self.Batch.search([])

    def assertRefused(self, status, *args, **kwargs):
        """Assert that a POST is answered with a status, and leaves nothing behind."""
        before = self._batches()
        with mute_logger(REJECTION):
            response = self.post(*args, **kwargs)
        self.assertEqual(response.status_code, status)
        self.assertNotIn(b"secret-of-the-body", response.content)
        self.assertEqual(self._batches(), before)

    # ------------------------------------------------------------
    # TAKEN
    # ------------------------------------------------------------

    def test_stored(self):
        """Test that a signed POST is answered 204 and stored once, to the byte, unread."""
        for body in (self.body, b"", b"no JSON at all \xff\x00", b"[" + b" " * (MAX_BODY - 2) + b"]"):
            with self.subTest(body[:20]):
                before = self._batches()
                response = self.post(body)
                self.assertEqual((response.status_code, response.content), (204, b""))
                self.assertNotIn("Set-Cookie", response.headers)
                batch = self._batches() - before
                self.assertEqual(len(batch), 1)
                self.assertEqual(base64.b64decode(batch.body or b""), body)
                self.assertEqual((batch.account_id, batch.state, batch.size), (self.account, "pending", len(body)))
                self.assertFalse(batch.event_ids)

    def test_any_content_type(self):
        """Test that the bytes are stored as they are, whatever content type the header names."""
        # Not a form's type: Odoo reads a form's body before us. Such a POST is answered 403.
        for content_type in ("application/json;charset=utf-8", "application/json", "text/plain", "", None):
            with self.subTest(content_type):
                before = self._batches()
                headers = {**self.signer.sign(self.body), "Content-Type": content_type}
                self.assertEqual(self.post(self.body, headers=headers).status_code, 204)
                self.assertEqual(base64.b64decode((self._batches() - before).body), self.body)

    def test_drained(self):
        """Test the whole way of an event: from the POST to the document."""
        email = self.create_email()
        self.assertEqual(
            self.post([self.relay(email).event("delivered", timestamp=self.after(email, 60))]).status_code, 204
        )
        self.drain()
        self.assertEmail(email, status="delivered", delivered_date=self.after(email, 60))

    def test_another_database(self):
        """Test that an event of another database that shares the account is stored, counted and set aside."""
        email = self.create_email()
        theirs = {"odoo_db": "another-database", "odoo_id": "f" * 32}
        for events in ([Relayed([email.recipient], theirs).event("bounce")], [self.relay(email).event("delivered")]):
            self.assertEqual(self.post(events).status_code, 204)
        self.drain()
        own, foreign = self._batches()[:2]
        self.assertBatch(own, state="done", event_count=1, unmatched_count=0)
        self.assertBatch(foreign, state="done", event_count=1, unmatched_count=1, rejected_count=0)
        self.assertEqual(self.event_of(foreign).match, "foreign")
        self.assertFalse(self.event_of(foreign).email_id)
        self.assertEqual(email.status, "delivered")
        self.assertFalse(self.contact.email_bounced, "what happened there has no consequence here")

    def test_url(self):
        """Test that the address shown in the account is the one that answers."""
        self.account.env["ir.config_parameter"].set_param("web.base.url", self.base_url())
        url = self.account.webhook_url
        self.assertEqual(url, urljoin(self.base_url(), f"sendgrid/webhook/{self.account.webhook_token}"))
        response = self.url_open(url, data=self.body, headers=self.signer.sign(self.body))
        self.assertEqual(response.status_code, 204)

    # ------------------------------------------------------------
    # KEYS
    # ------------------------------------------------------------

    def test_signature(self):
        """Test that a POST that this account's SendGrid did not sign is answered 403."""
        signed = self.signer.sign(self.body)
        signature, timestamp = list(signed)[:2]
        stranger = Signer()
        other = self.env["sendgrid.account"].create({"name": "Other", "verification_key": stranger.public_key})
        for name, arguments in {
            "another key": {"signer": stranger},
            "no headers": {"headers": {}},
            "no signature": {"headers": {timestamp: signed[timestamp]}},
            "no timestamp": {"headers": {signature: signed[signature]}},
            "empty": {"headers": {signature: "", timestamp: ""}},
            "another time": {"headers": {**signed, timestamp: str(int(signed[timestamp]) + 1)}},
            "another body": {"headers": self.signer.sign(self.body.strip())},
            "no base64": {"headers": {**signed, signature: "!" * 96}},
            "another account": {"account": other},
        }.items():
            with self.subTest(name):
                self.assertRefused(403, self.body, **arguments)
        self.assertEqual(self.post(self.body, account=other, signer=stranger).status_code, 204)

    def test_previous_key(self):
        """Test that both signing keys are valid during a change, and afterwards only the new one."""
        old, new = self.signer, Signer()
        self.account.write({"verification_key": new.public_key, "previous_verification_key": old.public_key})
        for signer in (old, new):
            self.assertEqual(self.post(self.body, signer=signer).status_code, 204)
        self.account.previous_verification_key = False
        self.assertRefused(403, self.body, signer=old)
        self.assertEqual(self.post(self.body, signer=new).status_code, 204)

    def test_no_key(self):
        """Test that an account without a key accepts nothing."""
        self.account.verification_key = False
        self.assertRefused(403, self.body)
        self.assertRefused(403, self.body, headers={})

    def test_age(self):
        """Test that a signature of any age is valid, unless the account limits it."""
        for age in (-50 * HOUR, 0, HOUR, 23 * HOUR, 1000 * HOUR):
            self.assertEqual(self.post(self.body, timestamp=now() - age).status_code, 204)
        self.account.signature_max_age = 24
        for age, taken in ((-25 * HOUR, False), (-23 * HOUR, True), (0, True), (23 * HOUR, True), (25 * HOUR, False)):
            with self.subTest(age):
                if taken:
                    self.assertEqual(self.post(self.body, timestamp=now() - age).status_code, 204)
                else:
                    self.assertRefused(403, self.body, timestamp=now() - age)

    def test_odd_times(self):
        """Test that a timestamp that is no number of seconds is valid if signed, and refused if its age counts."""
        for timestamp in ("soon", "-1", "1.5", "9" * 400, "\u00b2", "1795500000 "):
            with self.subTest(timestamp):
                headers = {
                    name: value.encode("latin-1") for name, value in self.signer.sign(self.body, timestamp).items()
                }
                self.account.signature_max_age = 24
                self.assertRefused(403, self.body, headers=headers)

    def test_neutralized(self):
        """Test that a neutralized copy of a database has another address and no key."""
        old = self.account.webhook_token
        self.env.flush_all()
        with file_open("sendgrid_tracking/data/neutralize.sql") as script:
            self.env.cr.execute(script.read())
        self.env.invalidate_all()
        self.env.registry.clear_cache()  # another process serves the copy
        self.assertRefused(403, self.body)
        response = self.opener.post(
            f"{self.base_url()}/sendgrid/webhook/{old}", data=self.body, headers=self.signer.sign(self.body), timeout=20
        )
        self.assertEqual(response.status_code, 404)

    # ------------------------------------------------------------
    # ANSWERS
    # ------------------------------------------------------------

    def test_unknown_token(self):
        """Test that another token, or an archived account's, is answered 404, signed or not."""
        for token in ("x", "neutralized-1", "%00", "é", "' OR 1=1"):
            with self.subTest(token):
                response = self.url_open(
                    f"/sendgrid/webhook/{token}", data=self.body, headers=self.signer.sign(self.body)
                )
                self.assertEqual(response.status_code, 404)
        self.account.mail_server_ids.active = False
        self.account.active = False
        self.assertRefused(404, self.body)
        self.account.active = True
        self.assertEqual(self.post(self.body).status_code, 204)

    def test_new_token(self):
        """Test that a new address replaces the old one at once."""
        old = self.account.webhook_token
        self.account.action_new_webhook_token()
        self.assertNotEqual(self.account.webhook_token, old)
        self.assertEqual(self.post(self.body).status_code, 204)
        response = self.url_open(f"/sendgrid/webhook/{old}", data=self.body, headers=self.signer.sign(self.body))
        self.assertEqual(response.status_code, 404)

    def test_remembered_too_late(self):
        """Test that the webhook reads its account again after some seconds, even if nothing cleared its cache.

        A request that began before a change needs this: it caches the old key after the change has cleared the cache.
        """
        new = Signer()
        memory = self.enterContext(patch.object(type(self.account), "_get_memory", return_value=1))
        self.account.verification_key = new.public_key
        self.assertEqual(self.post(self.body, signer=new).status_code, 204)
        self.env.cr.execute(
            "UPDATE sendgrid_account SET verification_key = %s WHERE id = %s",
            [self.signer.public_key, self.account.id],
        )
        self.assertEqual(self.post(self.body, signer=new).status_code, 204)
        memory.return_value = 2
        self.assertRefused(403, self.body, signer=new)
        self.assertEqual(self.post(self.body).status_code, 204)

    @mute_logger("odoo.http")
    def test_other_methods(self):
        """Test that only POST is answered."""
        url = f"/sendgrid/webhook/{self.account.webhook_token}"
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            with self.subTest(method):
                response = self.opener.request(
                    method, self.base_url() + url, data=self.body, headers=self.signer.sign(self.body), timeout=20
                )
                self.assertEqual(response.status_code, 405)
        self.assertFalse(self._batches())

    @mute_logger("odoo.http", "werkzeug")
    def test_too_large(self):
        """Test that more than 4 MB are answered 413, however well signed."""
        self.assertEqual(MAX_BODY, 4 * 1024 * 1024)
        self.assertRefused(413, b"[" + b" " * (MAX_BODY - 1) + b"]")

    # ------------------------------------------------------------
    # COST AND SILENCE
    # ------------------------------------------------------------

    def test_nothing_logged(self):
        """Test that the log holds nothing of a body, stored or refused."""
        for headers in (None, {}, self.signer.sign(b"")):
            with self.subTest(headers), self.assertLogs(level=logging.DEBUG) as logs:
                logging.getLogger(REJECTION).debug("something, or assertLogs complains")
                self.post(self.body, headers=headers)
            said = "\n".join(logs.output)
            self.assertNotIn("secret-of-the-body", said)
            self.assertNotIn("ada@example.org", said)

    def test_refusal_is_logged(self):
        """Test that a refusal is logged, with the account and without its token: that is how a wrong key is noticed."""
        with self.assertLogs(REJECTION, "WARNING") as logs:
            self.post(self.body, headers={})
        self.assertIn(f"account {self.account.id}", logs.output[0])
        self.assertNotIn(self.account.webhook_token, logs.output[0])

    def test_account_is_not_written(self):
        """Test that a POST writes nothing but its batch: the account's row is the same version afterwards."""
        self.env.flush_all()

        def version():
            self.env.cr.execute(
                "SELECT ctid::text, xmin::text, write_date FROM sendgrid_account WHERE id = %s", [self.account.id]
            )
            return self.env.cr.fetchone()

        before = version()
        self.assertEqual(self.post(self.body).status_code, 204)
        self.assertEqual(version(), before)

    def test_number_of_queries(self):
        """Test that a good POST costs one INSERT and little else, whatever is in it."""
        self.enterContext(patch.object(sendgrid_drain, "WAKE_INTERVAL", 3600))
        self.enterContext(patch.object(sendgrid_account_webhook, "MEMORY_LASTS", 1e9))
        self.post(self.body)  # fills the caches, and wakes the drain
        counts = []
        execute = type(self.env.cr).execute
        for body in (self.body, to_wire([account_event(now())]), b"x" * 1_000_000):
            sendgrid_drain._last_wake[self.env.cr.dbname] = sendgrid_drain.time.monotonic()
            with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                self.assertEqual(self.post(body).status_code, 204)
            queries = [str(getattr(call.args[1], "code", call.args[1])) for call in watch.call_args_list]
            counts.append(len(queries))
            writes = [query for query in queries if query.lstrip().startswith(("INSERT", "UPDATE", "DELETE"))]
            self.assertEqual([query.split("(")[0].split()[2] for query in writes], ["sendgrid_event_batch"])
        self.assertEqual(len(set(counts)), 1, counts)
        self.assertLessEqual(counts[0], 6)
