import gzip
import json
import logging
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from ..models import sendgrid_account_health, sendgrid_drain, sendgrid_rejection
from ..models.durations import describe_time
from ..models.sendgrid_drain import SendgridDrain
from ..tools.api import event_webhook
from .common import SendgridMixin, now
from .sandbox_case import API_KEY, SandboxCase
from .simulator import Relayed, Signer, account_event, to_wire

WARNING = "mail.mail_activity_data_warning"
LOGGER = "odoo.addons.sendgrid_tracking.models.sendgrid_rejection"


@tagged("post_install", "-at_install")
class TestHealth(SandboxCase, SendgridMixin, HttpCase):
    def setUp(self):
        super().setUp()
        self.account.api_key = False  # the checks ask SendGrid only if a test sets an API key
        self.administrator = new_test_user(
            self.env, "sendgrid_test_admin", groups="base.group_system", email="admin@example.com"
        )
        self.body = to_wire([Relayed(["ada@example.org"]).event("delivered")])
        self.enterContext(patch.dict(sendgrid_drain._last_wake, clear=True))
        self.enterContext(patch.dict(sendgrid_rejection._counts, clear=True))
        self.enterContext(patch.dict(sendgrid_rejection._last_flush, clear=True))

    def _check(self, account=None):
        """Run the scheduled action; return the states by subject."""
        self.run_cron("ir_cron_check_health")
        return {check.subject: check for check in (account or self.account).check_ids}

    def _activities(self, user=None):
        return self.account.activity_search([WARNING], user_id=(user or self.administrator).id)

    def _refuse(self, *args, **kwargs):
        with mute_logger(LOGGER):
            self.assertEqual(self.post(*args, **kwargs).status_code, 403)
        self.env.invalidate_all()

    def _rejections(self):
        self.env.invalidate_all()
        rows = self.env["sendgrid.rejection"].search([("account_id", "=", self.account.id)], order="id")
        return [(row.hint, row.count) for row in rows]

    # ------------------------------------------------------------
    # CONSENT
    # ------------------------------------------------------------

    def test_nobody_has_chosen(self):
        """Test that it is said which companies have not chosen who is measured, as no problem, until somebody has."""
        other = self.env["res.company"].create({"name": "Undecided", "sendgrid_unasked": False})
        check = self._check()["measuring"]
        self.assertEqual((check.state, check.finding), ("warning", "measuring_open"))
        self.assertIn("Undecided", check.message)
        self.assertNotIn(self.env.company.name, check.message)
        self.assertFalse(self._activities())
        self.assertTrue(check.can_open)
        action = check.with_user(self.administrator).action_open()
        self.assertEqual(action["res_model"], "sendgrid.account.connect")
        other.sendgrid_unasked = "everybody"
        self.assertEqual((check.state, check.finding), ("ok", "measuring_chosen"), "not only at the next look")

    def test_choice_of_another_company(self):
        """Test that an account is concerned by its own company only."""
        self.env["res.company"].create({"name": "Undecided", "sendgrid_unasked": False})
        self.account.company_id = self.env.company
        self.assertEqual(self._check()["measuring"].finding, "measuring_chosen")

    def test_new_companies_have_the_proposal(self):
        company = self.env["res.company"].create({"name": "New"})
        self.assertEqual(company.sendgrid_unasked, "country")

    # ------------------------------------------------------------
    # FIGURES
    # ------------------------------------------------------------

    def test_figures(self):
        """Test the account's figures after signed POSTs were drained."""
        email = self.create_email()
        relayed = self.relay(email)
        happened = now() - 40
        delivered = relayed.event("delivered", timestamp=happened)
        self.assertEqual(self.post([delivered, relayed.event("processed", timestamp=happened - 5)]).status_code, 204)
        self.assertEqual(self.account.pending_batch_count, 1)
        self.drain()
        self.post([delivered, Relayed(["x@example.org"]).event("open", timestamp=happened - 9), {"x": 1}])
        self.post(b"no JSON")
        with mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_drain"):
            self.drain()
        self.assertRecordValues(
            self.account,
            [
                {
                    "today_event_count": 5,
                    "event_count": 5,
                    "duplicate_count": 1,
                    "unmatched_count": 1,
                    "rejected_count": 1,
                    "pending_batch_count": 0,
                    "failed_batch_count": 1,
                    "refused_count": 0,
                }
            ],
        )
        self.assertEqual(self.account.last_event_date, email.delivered_date)
        self.assertRegex(self.account.event_lag, r"^\d+ s$")
        [graph] = json.loads(self.account.event_graph)
        self.assertEqual([bar["value"] for bar in graph["values"]], [0] * 29 + [5])

    def test_processed_again(self):
        """Test that processing a batch again does not count it twice, and counts a batch that failed before once."""
        batch = self.receive(Relayed(["x@example.org"]).event("open"))
        batch.action_process_again()
        self.drain()
        self.assertEqual((self.account.event_count, self.account.duplicate_count), (1, 0))
        email = self.create_email()
        with (
            patch.object(type(self.env["sendgrid.ingest"]), "_ingest", side_effect=ValueError("not today")),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_drain"),
        ):
            failed = self.receive(self.relay(email).event("delivered"))
        self.assertEqual((failed.state, self.account.event_count), ("failed", 1))
        failed.action_process_again()
        self.drain()
        self.assertEqual((failed.state, self.account.event_count), ("done", 2))

    def test_outlasts_batches(self):
        """Test that the figures stay when the batches and the events are gone."""
        self.receive(*(Relayed(["x@example.org"]).event("open") for _ in range(3)))
        self.Event.search([]).unlink()
        self.Batch.search([]).unlink()
        self.env.invalidate_all()
        self.assertEqual(self.account.event_count, 3)

    def test_cost_of_days(self):
        """Test that the day costs a drain one query, however many batches and events it has."""
        counts = []
        execute = type(self.env.cr).execute
        for size in (1, 20):
            for _ in range(size):
                self.store([Relayed(["x@example.org"]).event("open") for _ in range(size)])
            with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                self.drain()
            queries = [str(getattr(call.args[1], "code", call.args[1])) for call in watch.call_args_list]
            counts.append(len([query for query in queries if "sendgrid_account_day" in query]))
        self.assertEqual(counts, [1, 1])

    def test_figures_of_many(self):
        """Test that a list of accounts costs the same queries as one account."""
        accounts = self.account | self.env["sendgrid.account"].create([{"name": f"A{n}"} for n in range(10)])
        names = ["health", "event_graph", "pending_batch_count", "refused_count", "last_event_date"]
        accounts.read(names)  # fills the caches
        queries = []
        execute = type(self.env.cr).execute
        for some in (self.account, accounts):
            self.env.invalidate_all()
            with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                some.read(names)
            queries.append([str(getattr(call.args[1], "code", call.args[1])) for call in watch.call_args_list])
        self.assertEqual(*map(len, queries), queries[1])

    # ------------------------------------------------------------
    # REFUSED
    # ------------------------------------------------------------

    def test_hints(self):
        """Test that a refusal names its likely cause, and that the account shows it."""
        signed = self.signer.sign(self.body)
        changed = json.dumps(json.loads(self.body)).encode()
        for hint, body, arguments in (
            ("key", self.body, {"signer": Signer()}),
            ("unsigned", self.body, {"headers": {}}),
            ("unsigned", self.body, {"headers": {**signed, "X-Twilio-Email-Event-Webhook-Signature": ""}}),
            ("body", changed, {"headers": signed}),
            ("body", self.body.replace(b"\r\n", b"\n"), {"headers": signed}),
            ("body", self.body.strip(), {"headers": signed}),
            ("body", gzip.compress(self.body), {"headers": {**signed, "Content-Encoding": "gzip"}}),
            ("body", b"", {"headers": signed}),
        ):
            with self.subTest(hint, body=body[:20]):
                sendgrid_rejection._last_flush.clear()
                self._refuse(body, **arguments)
                self.assertEqual(self._rejections()[-1], (hint, 1))
        self.account.signature_max_age = 1
        sendgrid_rejection._last_flush.clear()
        self._refuse(self.body, timestamp=now() - 7200)
        self.assertEqual(self._rejections()[-1], ("age", 1))
        self.account.write({"verification_key": False, "signature_max_age": 0})
        sendgrid_rejection._last_flush.clear()
        self._refuse(self.body)
        self.assertEqual(self._rejections()[-1], ("no_key", 1))
        self.assertEqual((self.account.refused_count, self.account.refused_hint), (10, "body"))

    def test_flood(self):
        """Test that many refusals write and log once, and that none of them is forgotten."""
        with self.assertLogs(LOGGER, logging.WARNING) as logs:
            for _ in range(5):
                self.assertEqual(self.post(self.body, headers={}).status_code, 403)
        self.assertEqual(len(logs.output), 1)
        self.assertEqual(self._rejections(), [("unsigned", 1)])
        sendgrid_rejection._last_flush.clear()
        self._refuse(self.body, signer=Signer())
        self.assertEqual(sorted(self._rejections()), [("key", 1), ("unsigned", 1), ("unsigned", 4)])

    def test_cost_of_refusal(self):
        """Test that a refusal between two writes costs no query beyond those of any request."""
        self.post(self.body)
        self._refuse(self.body, headers={})
        execute = type(self.env.cr).execute
        counts = []
        for arguments in ({}, {"headers": {}}, {"signer": Signer()}):
            sendgrid_drain._last_wake[self.env.cr.dbname] = sendgrid_drain.time.monotonic()
            with patch.object(type(self.env.cr), "execute", autospec=True, side_effect=execute) as watch:
                self.post(self.body, **arguments)
            counts.append(watch.call_count)
        good, *refused = counts
        self.assertEqual(refused, [good - 1] * 2)

    def test_deleted_account(self):
        """Test that refusals of an account that is gone do not prevent counting those of others."""
        other = self.env["sendgrid.account"].create({"name": "Other"})
        self._refuse(self.body, headers={})
        self._refuse(self.body, account=other, headers={})
        other.unlink()
        self.env.flush_all()
        sendgrid_rejection._last_flush.clear()
        self._refuse(self.body, headers={})
        self.assertEqual(self._rejections(), [("unsigned", 1), ("unsigned", 1)])

    # ------------------------------------------------------------
    # CHECKS AND WARNINGS
    # ------------------------------------------------------------

    def test_silence(self):
        """Test that mails without events warn the administrators once, until an event comes back."""
        self.administrator.tz = "Asia/Tokyo"
        self.assertEqual(self._check()["arrivals"].finding, "quiet")
        self.create_email(ago=timedelta(minutes=59))
        self.assertEqual(self._check()["arrivals"].finding, "quiet", "events may still come")
        email = self.create_email(ago=timedelta(minutes=61))
        check = self._check()["arrivals"]
        self.assertEqual((check.state, check.finding), ("problem", "silent"))
        for zone in ("Asia/Tokyo", "America/Lima"):
            local = check.with_context(tz=zone)
            self.assertIn(describe_time(local.env, email.sent_date), local.message)
        self.assertIn(describe_time(local.env(context={"tz": "Asia/Tokyo"}), email.sent_date), self._activities().note)
        self.assertEqual(self.account.health, "problem")
        activity = self._activities()
        self.assertEqual(len(activity), 1)
        self.assertIn("cannot reach", activity.note)
        self.assertFalse(self._activities(self.salesperson))
        self._check()
        self.assertEqual(self._activities(), activity, "one, not one per run")
        # A week later no more mail is sent, and the problem stands.
        self.age("sendgrid.email", timedelta(days=7), "sent_date")
        self.assertEqual(self._check()["arrivals"].state, "problem")
        self.age("sendgrid.account.check", timedelta(hours=1), "since")
        self.post([self.relay(email).event("delivered")])
        self.assertEqual(self._check()["arrivals"].finding, "arriving", "received is enough")
        self.assertFalse(self._activities())
        self.assertFalse(self.account.activity_search([WARNING]))

    def test_events_keep_coming(self):
        """Test that an e-mail is not waited for if something was received after it."""
        self.create_email(ago=timedelta(hours=3))
        self.receive(Relayed(["x@example.org"]).event("open"))
        self.assertEqual(self._check()["arrivals"].finding, "arriving")
        self.age("sendgrid.event.batch", timedelta(hours=4))
        self.age("sendgrid.account.day", timedelta(hours=4), "received_date")
        self.assertEqual(self._check()["arrivals"].finding, "silent")

    def test_done_is_done(self):
        """Test that an administrator who marked the warning as done gets it again only if something else is wrong."""
        self.create_email(ago=timedelta(hours=2))
        self._check()
        self._activities().action_done()
        self._check()
        self.assertFalse(self._activities())
        self._refuse(self.body, headers={})
        self._check()
        self.assertEqual(len(self._activities()), 1)

    def test_signatures(self):
        """Test that refused events warn for an hour, with the cause and in the reader's language."""
        self._refuse(self.body, signer=Signer())
        check = self._check()["signatures"]
        self.assertEqual((check.state, check.finding, check.detail), ("problem", "key", "1"))
        self.assertIn("another key", self._activities().note)
        self.age("sendgrid.rejection", timedelta(hours=2))
        self.assertEqual(self._check()["signatures"].state, "ok")
        self.assertFalse(self._activities())

    def test_batches(self):
        """Test that batches which nobody processes, or which failed, warn until they are processed."""
        batch = self.store([Relayed(["x@example.org"]).event("open")])
        self.assertEqual(self._check()["batches"].state, "ok")
        self.age("sendgrid.event.batch", timedelta(minutes=16))
        self.assertEqual(self._check()["batches"].finding, "stuck")
        self.assertEqual(len(self._activities()), 1)
        with (
            patch.object(SendgridDrain, "_process", side_effect=ValueError("not today")),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_drain"),
        ):
            self.drain()
        self.assertEqual(self._check()["batches"].finding, "failed")
        batch.action_process_again()
        self.assertEqual(self._check()["batches"].finding, "processed", "it waits only since now")
        self.drain()
        self.assertEqual(self._check()["batches"].finding, "processed")
        self.assertFalse(self._activities())

    def _refuse_for_sender(self, count, seconds=0, **fields):
        fields = {
            "type": "bounce",
            "status": "5.7.509",
            "reason": "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification",
            "bounce_classification": "Reputation",
            **fields,
        }
        emails = [self.create_email(f"{self.id()}{seconds}.{number}@example.org") for number in range(count)]
        self.receive(*(self.relay(email).event("bounce", timestamp=now() - seconds, **fields) for email in emails))

    def test_refused_for_the_sender(self):
        """Test that refusals for the sender make one warning with number, words and remedy, and nobody else is told."""
        self.assertEqual(self._check()["refusals"].finding, "sender_accepted")
        self._refuse_for_sender(20, seconds=60)
        check = self._check()["refusals"]
        self.assertEqual((check.state, check.finding), ("problem", "refused"))
        for words in ("20 in the last hour", "20 within a day", "does not pass DMARC", "Sender Authentication"):
            self.assertIn(words, check.message)
        activity = self._activities()
        self.assertEqual(len(activity), 1)
        self.assertIn("does not pass DMARC", activity.note)
        self.assertFalse(self._activities(self.salesperson))
        # It goes on: the same activity with the new number.
        self._refuse_for_sender(5, seconds=120)
        self._check()
        self.assertEqual(self._activities(), activity)
        self.assertIn("25 in the last hour", activity.note)
        # Whoever has seen it is not told again.
        activity.action_done()
        self._refuse_for_sender(1, seconds=180)
        self._check()
        self.assertFalse(self._activities())
        # An hour later it stands, a day later it is over.
        self.age("sendgrid.event", timedelta(hours=2), "timestamp")
        self.assertIn("0 in the last hour, 26 within a day", self._check()["refusals"].message)
        self.age("sendgrid.event", timedelta(hours=22), "timestamp")
        self.assertEqual(self._check()["refusals"].finding, "sender_accepted")
        self.assertEqual(self.account.health, "unknown")

    def test_refused_for_others(self):
        """Test that neither the recipient's own rules, nor addresses, nor drops for an earlier bounce warn."""
        self._refuse_for_sender(1, status="5.7.133", reason="550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup")
        self._refuse_for_sender(1, 1, status="5.1.1", reason="550 5.1.1 User unknown")
        self._refuse_for_sender(1, 2, status="4.2.2", reason="452 4.2.2 over quota")
        self._refuse_for_sender(1, 3, status="4.7.500", reason="451 4.7.500 Server busy. Please try again later")
        self._refuse_for_sender(1, 4, status="5.7.1", reason="554 5.7.1 The file attachment type is not allowed")
        self.assertEqual(self._check()["refusals"].finding, "sender_accepted")
        self._refuse_for_sender(1, 3 * 24 * 3600)
        held = self.create_email(f"{self.id()}{3 * 24 * 3600}.0@example.org")
        self.receive(self.relay(held).event("dropped"))
        self.assertEqual(held.refusal_cause, "sender")
        self.assertEqual(self._check()["refusals"].finding, "sender_accepted")

    def test_faults(self):
        """Test what the administrators are advised, by what most of the refusals are about."""
        for number, (reason, fault, words) in enumerate(
            (
                ("550 5.7.1 Message rejected as spam by content filter", "content", "text, links"),
                ("554 5.7.1 Client host blocked using zen.spamhaus.org", "reputation", "reputation"),
                ("550 5.7.26 This mail is unauthenticated", "authentication", "SPF"),
            )
        ):
            with self.subTest(reason):
                self._refuse_for_sender(number + 2, number * 10, status=None, reason=reason)
                check = self._check()["refusals"]
                self.assertEqual((check.finding, check.detail.split()[0]), ("refused", fault))
                self.assertIn(words, check.message)
        for number, (reason, fault, words) in enumerate(
            (
                ("Recipient List over Package Quota", "quota", "plan's limit"),
                ("Invalid SMTPAPI header", "header", "X-SMTPAPI"),
            )
        ):
            emails = [self.create_email(f"{number}.{i}@example.net") for i in range(10 * (number + 1))]
            self.receive(*(self.relay(email).event("dropped", reason=reason) for email in emails))
            check = self._check()["refusals"]
            self.assertEqual((check.finding, check.detail.split()[0]), ("refused", fault))
            self.assertIn(words, check.message)

    def test_few_refusals(self):
        """Test that few refusals a day are a warning without an activity, and that more of them make a problem."""
        self._refuse_for_sender(9, 60)
        check = self._check()["refusals"]
        self.assertEqual((check.state, check.finding, self.account.health), ("warning", "refused", "warning"))
        self.assertIn("9 within a day", check.message)
        self.assertFalse(self._activities())
        self._refuse_for_sender(1, 120)
        self.assertEqual(self._check()["refusals"].state, "problem")
        activity = self._activities()
        self.assertEqual(len(activity), 1)
        # A number that goes up and down makes no second activity.
        long_ago = fields.Datetime.now() - timedelta(days=2)
        day = self.env["sendgrid.event"].search([("account_id", "=", self.account.id)], order="id")
        day[:3].write({"timestamp": long_ago})
        self.assertEqual(self._check()["refusals"].state, "problem")
        self._refuse_for_sender(3, 180)
        self._check()
        self.assertEqual(self._activities(), activity)
        day[3:9].write({"timestamp": long_ago})
        self.assertEqual(self._check()["refusals"].state, "warning")
        self.assertFalse(self._activities())
        self._refuse_for_sender(6, 240)
        self.assertEqual(self._check()["refusals"].state, "problem")
        self.assertEqual(len(self._activities()), 1, "it is a problem again")

    def test_fault_changes(self):
        """Test that other refusals which become the most frequent change the words, and warn nobody again."""
        self._refuse_for_sender(12, 60)
        self._check()
        self._activities().action_done()
        check = self._check()["refusals"]
        since = check.since
        self._refuse_for_sender(13, 120, status="5.7.1", reason="554 5.7.1 Client host blocked using zen.spamhaus.org")
        self._check()
        self.assertEqual((check.state, check.since), ("problem", since))
        self.assertIn("do not trust", check.message)
        self.assertFalse(self._activities())

    def test_compliance(self):
        """Test that SendGrid's actions against the account and other problems share one activity."""
        self.receive(account_event(now() - 60))
        self.assertEqual((len(self._activities()), self.account.health), (1, "problem"))
        self._refuse(self.body, headers={})
        self._check()
        note = self._activities().note
        self.assertIn("Suspended", note)
        self.assertIn("no signature", note)
        self.age("sendgrid.rejection", timedelta(hours=2))
        self._check()
        self.assertIn("Suspended", self._activities().note)
        self.assertNotIn("no signature", self._activities().note)
        self.receive(account_event(now() - 30, type="reactivate"))
        self.assertFalse(self._activities())

    # ------------------------------------------------------------
    # WHAT SENDGRID SAYS
    # ------------------------------------------------------------

    def _connect(self):
        """Create a webhook of ours at SendGrid, as connecting leaves it; return its id."""
        self.account.api_key = API_KEY
        client = self.account._get_client()
        webhook_id = event_webhook.create(client, self.account.webhook_url)["id"]
        event_webhook.update(client, webhook_id, self.account.webhook_url, True)
        self.account.write({"webhook_id": webhook_id, "verification_key": event_webhook.sign(client, webhook_id)})
        return webhook_id

    def assertFound(self, **findings):
        checks = self._check()
        self.assertEqual({name: checks[name].finding for name in findings}, findings)

    def test_asked(self):
        """Test that SendGrid is asked about the API key and the webhook, and the clocks are compared."""
        self.assertFound(key="key_none", webhook="webhook_unknown", clock="clock_unknown")
        self.assertEqual(self.account.health, "unknown")
        self._connect()
        self.assertFound(key="key_valid", webhook="webhook_ready", clock="clock_right")
        self.assertEqual(self.account.health, "ok")
        self.account.check_ids.unlink()
        self.account.with_user(self.administrator).action_check_health()
        self.assertEqual(self.account.health, "ok")
        with patch.object(sendgrid_account_health.time, "time", return_value=now() + 90):
            check = self._check()["clock"]
        self.assertEqual((check.state, check.finding), ("warning", "clock_wrong"))
        self.assertIn("90", check.message)

    def test_webhook_changed(self):
        """Test that changes of the webhook at SendGrid are found, and warn if events get lost."""
        webhook_id = self._connect()
        client = self.account._get_client()
        path = (*event_webhook.SETTINGS, webhook_id)
        url = self.account.webhook_url
        token = self.account.webhook_token

        def change(**values):
            client.call("patch", path, body={"url": url, **values})

        change(click=False)
        self.assertFound(webhook="webhook_partial")
        self.assertFalse(self._activities())
        change(click=True, url=f"https://elsewhere.example.com/sendgrid/webhook/{token}")
        self.assertFound(webhook="webhook_address")
        self.assertNotIn(token, self.account.check_ids.filtered(lambda c: c.subject == "webhook").message)
        change(enabled=False)
        self.assertFound(webhook="webhook_disabled")
        self.assertEqual(len(self._activities()), 1)
        change(enabled=True)
        signed = (*event_webhook.SETTINGS, "signed", webhook_id)
        client.call("patch", signed, body={"enabled": False})
        self.assertFound(webhook="webhook_unsigned")
        client.call("patch", signed, body={"enabled": True})
        self.assertFound(webhook="webhook_key")
        self.account.verification_key = event_webhook.sign(client, webhook_id)
        self.assertFound(webhook="webhook_ready")
        self.assertFalse(self._activities())
        event_webhook.delete(client, webhook_id, token)
        self.assertFound(webhook="webhook_gone")
        self.assertEqual(len(self._activities()), 1)
        self.account.webhook_id = False
        self.receive(Relayed(["x@example.org"]).event("open"))
        self.assertFound(webhook="webhook_detour")
        self.assertFalse(self._activities())

    def test_key_refused(self):
        """Test that a refused API key warns, that a missing answer does not end that, and that the right key does."""
        self._connect()
        self.sandbox("DELETE", f"/sandbox/keys/{API_KEY}")
        self.assertFound(key="key_refused", webhook="webhook_unknown")
        self.assertEqual(len(self._activities()), 1)
        parameters = self.env["ir.config_parameter"].sudo()
        parameters.set_param("sendgrid_tracking.api_host", "http://127.0.0.1:9")  # nobody listens there
        self.assertFound(key="key_refused", webhook="no_answer")
        self.assertEqual(len(self._activities()), 1)
        parameters.set_param("sendgrid_tracking.api_host", self.sandbox_url)
        self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", ["user.webhooks.event.settings.read"])
        self.assertFound(key="key_cannot_send", webhook="webhook_ready")
        self.sandbox("PUT", f"/sandbox/keys/{API_KEY}", ["mail.send"])
        self.assertFound(key="key_valid", webhook="webhook_unreadable")
        self.assertFalse(self._activities())

    # ------------------------------------------------------------
    # COST
    # ------------------------------------------------------------

    def test_account_is_not_written(self):
        """Test that a check does not write the account's row, which every new event and document references."""
        self.create_email(ago=timedelta(hours=2))
        self.env.flush_all()

        def version():
            self.env.cr.execute("SELECT ctid::text, xmin::text FROM sendgrid_account WHERE id = %s", [self.account.id])
            return self.env.cr.fetchone()

        before = version()
        self._check()
        self.env.flush_all()
        self.assertEqual(version(), before)

    def test_one_does_not_stop_the_others(self):
        """Test that an account that cannot be checked does not prevent the check of another."""
        other = self.env["sendgrid.account"].create({"name": "A, before"})
        check_batches = type(self.account)._check_batches

        def fail(account):
            if account == other:
                raise ValueError("not today")
            return check_batches(account)

        with (
            patch.object(type(self.account), "_check_batches", fail),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin"),
        ):
            self.assertIn("batches", self._check())
        self.assertFalse(other.check_ids)
