import json
import smtplib
from datetime import timedelta
from email.message import EmailMessage
from unittest.mock import patch

from odoo.tests import mute_logger, tagged

from ..models import sendgrid_backfill
from ..tools.api import history
from ..tools.api.client import ApiError
from .common import now
from .properties import few, given, in_database, st
from .sandbox_case import API_KEY
from .test_drain import FIGURES
from .test_reduction import PERSON, ReductionCase
from .test_suppression import HOUR, AgreementCase

DAY = 24 * HOUR
# The events that may happen to a copy after its delivery, with their time in seconds after the sending.
LIFE = (("open", 600), ("click", 605), ("click", 605), ("machine-open", 700), ("group_unsubscribe", 900))


class BackfillCase(AgreementCase):
    """Messages that the local SendGrid has taken, with their documents."""

    def relay_to_sandbox(self, email):
        """Have the local SendGrid take the copy of a document; return the sandbox's id of the message."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "odoo@example.com", email.recipient, email.subject
        message["Message-ID"] = email.message_id
        args = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": email.odoo_id}
        message["X-SMTPAPI"] = json.dumps({"unique_args": args})
        message.set_content("Hello")
        message.add_alternative(
            "<html><body><a href='https://example.com/a'>A</a> <a href='https://example.com/b'>B</a></body></html>",
            subtype="html",
        )
        host, port = self.sandbox_smtp.split(":")
        with smtplib.SMTP(host, int(port), timeout=30) as smtp:
            smtp.login("apikey", API_KEY)
            smtp.send_message(message)
        return self.sandbox("GET", "/sandbox/messages")[0]["id"]

    def fire(self, message_id, kind, **details):
        """Make an event happen to the only copy of a message; return it as the webhook sends it."""
        return self.sandbox("POST", f"/sandbox/messages/{message_id}/0/events", {"event": kind, **details})

    def wire_events(self, message_id):
        return self.sandbox("GET", f"/sandbox/messages/{message_id}")["recipients"][0]["events"]

    def ask(self, **values):
        """Ask SendGrid for the last days, and run the backfill to its end."""
        backfill = self.env["sendgrid.backfill"].create({"account_id": self.account.id, **values})
        backfill.action_start()
        self.run_cron("ir_cron_backfill")
        self.drain()
        return backfill

    def figures(self, email):
        return {name: email[name] for name in FIGURES}


@tagged("post_install", "-at_install")
class TestBackfill(BackfillCase):
    def test_document(self):
        """Test that SendGrid is asked about one e-mail, and that the events of its answer count once."""
        email = self.create_email()
        message = self.relay_to_sandbox(email)
        self.fire(message, "open", timestamp=now() + 600)
        self.assertEmail(email, status="sent")
        for _again in range(2):
            email.action_ask_sendgrid()
            self.drain()
            self.assertEvents(email, ["processed", "delivered", "open"])
            self.assertEmail(email, status="opened", open_count=1)
        self.assertEqual(email.event_ids.mapped("source"), ["history"] * 3)
        backfill = self.env["sendgrid.backfill"].search([("email_id", "=", email.id)], limit=1)
        self.assertEqual((backfill.state, backfill.event_count, backfill.new_count), ("done", 3, 0))

    def test_document_among_many(self):
        """Test that a question about one e-mail to a busy address does not read all of the address's messages first."""
        email = self.create_email()
        for _copy in range(4):
            self.relay_to_sandbox(email)
        with patch.object(sendgrid_backfill, "MESSAGES_AT_ONCE", 1):
            self.assertIn("goes on asking", email.action_ask_sendgrid()["params"]["message"])
            backfill = self.env["sendgrid.backfill"].search([("email_id", "=", email.id)])
            self.assertEqual((backfill.state, backfill.message_count), ("running", 2))
            self.run_cron("ir_cron_backfill")
        self.assertEqual((backfill.state, backfill.message_count), ("done", 4))

    def test_unknown_document(self):
        """Test that the user reads it if SendGrid does not know an e-mail."""
        message = self.create_email().action_ask_sendgrid()["params"]["message"]
        self.assertIn("does not know this e-mail", message)

    def test_mixed(self):
        """Test that the result is the same whether the webhook, SendGrid's history or both bring the events."""
        email = self.create_email()
        message = self.relay_to_sandbox(email)
        for kind, seconds in LIFE:
            self.fire(message, kind, timestamp=self.after(email, seconds), **({"link": 1} if seconds == 605 else {}))
        self.fire(message, "click", link=0, timestamp=self.after(email, 605))
        self.fire(message, "open", timestamp=self.after(email, 600), ip="198.51.100.9", useragent="Another/1.0 Firefox")
        wire = self.wire_events(message)
        client = self.account._get_client()
        [id_] = history.EmailLogs(client).find(now() - HOUR, now() + HOUR)
        logs = history.EmailLogs(client).get_events(id_)
        self.sandbox("PUT", "/sandbox/keys/SG.activity", ["email_activity.read"])
        self.account.api_key = "SG.activity"
        activity = history.EmailActivity(self.account._get_client()).get_events(id_)
        self.assertEqual({event["event"] for event in logs}, {event["event"] for event in activity})

        def told(event):
            return event.event, event.timestamp, event.url, event.url_offset, event.asm_group_id

        def state(*reports):
            with self.env.cr.savepoint(flush=False) as savepoint:
                for source, events in reports:
                    self.Batch._receive(self.account, json.dumps(events).encode(), source=source)
                    self.drain()
                result = self.figures(email), sorted(map(told, email.event_ids), key=str)
                savepoint.rollback()
            self.env.invalidate_all()
            return result

        expected = state(("webhook", wire))

        @in_database
        @given(st.data())
        def check(data):
            first = data.draw(st.lists(st.sampled_from(wire), unique_by=lambda event: event["sg_event_id"]))
            reports = [("webhook", first), ("webhook", wire)]
            reports += data.draw(st.lists(st.sampled_from([("history", logs), ("history", activity)]), max_size=3))
            self.assertEqual(state(*data.draw(st.permutations(reports))), expected)

        check()
        # The events that only the history has are there too.
        self.assertEqual(state(("history", logs))[0], expected[0])
        # Two histories that tell of the same events, one of them in less detail, tell of no more events.
        for reports in ((activity, logs), (logs, activity), (logs, activity, logs)):
            self.assertEqual(state(*(("history", told) for told in reports))[0], expected[0])

    def test_activity(self):
        """Test that Email Activity is asked if there are no Email Logs."""
        email = self.create_email()
        message = self.relay_to_sandbox(email)
        self.fire(message, "click", timestamp=self.after(email, 900))
        self.sandbox("PUT", "/sandbox/keys/SG.activity", ["email_activity.read"])
        self.account.api_key = "SG.activity"
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/logs", "status": 403, "times": 99})
        backfill = self.ask(date_from="2026-01-01", date_to="2040-01-01")
        self.assertEqual((backfill.state, backfill.api_name), ("done", "activity"), backfill.error)
        self.assertEmail(email, status="clicked")

    def test_neither(self):
        """Test that the user reads it if the API key may see no history."""
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/", "status": 403, "times": 99})
        backfill = self.ask()
        self.assertEqual(backfill.state, "failed")
        self.assertIn("Email Logs", backfill.error)

    def test_busy(self):
        """Test that a backfill that SendGrid puts off continues later, with the events it had found."""
        emails = [self.create_email(f"{number}@example.net") for number in range(3)]
        for email in emails:
            self.relay_to_sandbox(email)
        client_get = sendgrid_backfill.EmailLogs.get_events
        calls = []

        def get_events(source, message_id):
            calls.append(message_id)
            if len(calls) == 2:
                raise ApiError("limit", 429, wait=60)
            return client_get(source, message_id)

        with patch.object(sendgrid_backfill.EmailLogs, "get_events", get_events):
            with patch.object(sendgrid_backfill, "MESSAGES_AT_ONCE", 1):
                backfill = self.ask()
            self.assertEqual((backfill.state, backfill.message_count), ("running", 1))
            self.assertIn("too many calls", backfill.error)
            self.run_cron("ir_cron_backfill")
        self.drain()
        self.assertEqual((backfill.state, backfill.message_count, backfill.error), ("done", 3, False))
        self.assertEqual([email.status for email in emails], ["delivered"] * 3)

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin")
    def test_failure(self):
        """Test that a backfill that fails keeps the events it had, and can be tried again."""
        email = self.create_email()
        self.relay_to_sandbox(email)
        with patch.object(sendgrid_backfill.EmailLogs, "get_events", side_effect=ZeroDivisionError("no")):
            backfill = self.ask()
        self.assertEqual((backfill.state, backfill.error), ("failed", "no"))
        backfill.action_start()
        self.run_cron("ir_cron_backfill")
        self.drain()
        self.assertEqual(backfill.state, "done")
        self.assertEmail(email, status="delivered")

    def answer(self, path, body, times=1):
        """Have SendGrid answer the next calls of this path with this body."""
        self.sandbox("POST", "/sandbox/faults", {"path": path, "action": "answer", "body": body, "times": times})

    def test_wrong_answers(self):
        """Test that an answer of the wrong form is not taken for one that says that nothing happened."""
        email = self.create_email()
        message = self.relay_to_sandbox(email)
        [id_] = history.EmailLogs(self.account._get_client()).find(now() - HOUR, now() + HOUR)
        for body in (None, {}, [], {"messages": None}, {"messages": {}}):
            with self.subTest(body=body):
                # The search of the first call only finds out whether it may be asked.
                self.sandbox("DELETE", "/sandbox/faults")
                self.answer("/v3/logs", body)
                backfill = self.ask()
                self.assertEqual(backfill.state, "running")
                self.assertTrue(backfill.error)
                self.run_cron("ir_cron_backfill")
                self.assertEqual((backfill.state, backfill.message_count, backfill.error), ("done", 1, False))
        for body in (None, {}, [], {"events": None}, {"events": {}}):
            with self.subTest(body=body):
                self.sandbox("DELETE", "/sandbox/faults")
                self.answer(f"/v3/logs/{id_}", body)
                backfill = self.ask()
                self.assertEqual((backfill.state, backfill.is_incomplete), ("done", True), backfill.error)
                self.answer(f"/v3/logs/{id_}", body)
                self.assertIn("could not be read", email.action_ask_sendgrid()["params"]["message"])
        self.assertFalse(self.ask().is_incomplete)
        self.fire(message, "open")
        wire = [7, None, {"event": "open"}, *self.wire_events(message)]
        self.answer(f"/v3/logs/{id_}", {"events": wire})
        self.assertEqual(self.ask().batch_ids.rejected_count, 3)

    def test_message_without_id(self):
        """Test that a message whose id cannot be read is told as missing."""
        email = self.create_email()
        self.relay_to_sandbox(email)
        [row] = self.account._get_client().call("post", ("logs",), body={"limit": 9}).body["messages"]
        for bad in (None, 7, {}, {**row, "sg_message_id": 7}):
            with self.subTest(bad=bad):
                self.answer("/v3/logs", {"messages": []})
                backfill = self.env["sendgrid.backfill"].create({"account_id": self.account.id})
                backfill.action_start()
                client = self.account._get_client()
                backfill._step(client)
                self.answer("/v3/logs", {"messages": [bad, row]})
                while backfill.state == "running":
                    backfill._step(client)
                self.assertEqual((backfill.message_count, backfill.is_incomplete), (1, True))

    def test_fewer_than_asked_for(self):
        """Test that an API that gives fewer messages than asked for is asked about shorter periods."""
        Backfill = self.env["sendgrid.backfill"]
        start = now() - 1000
        read = []

        class Source(history.EmailLogs):
            def widen(self, start, end, now):
                return start, end

            def find(self, begin, end, recipient=None):
                return [f"{n}" for n in range(900) if begin <= start + n < end][: history.ROUND]

            def get_events(self, message_id):
                read.append(message_id)
                return []

        with patch.dict(sendgrid_backfill.APIS, {"logs": Source}):
            backfill = Backfill.create({"account_id": self.account.id, "state": "running"})
            while backfill.state == "running":
                backfill._step(None)
        self.assertEqual(sorted(read, key=int), [f"{n}" for n in range(900)])

    def test_windows(self):
        """Test that all messages are found, however many SendGrid has and however few it returns at once."""
        Backfill = self.env["sendgrid.backfill"]
        start = now() - 1000

        @few
        @given(st.lists(st.integers(0, 999), max_size=40))
        def check(moments):
            read = []
            # Messages within one second cannot be told apart if they are more than SendGrid returns at once.
            moments = [moment for moment in set(moments) for _copy in range(min(moments.count(moment), 2))]

            class Source:
                def __init__(self, client):
                    pass

                def widen(self, start, end, now):
                    return start, end

                def find(self, begin, end, recipient=None):
                    return [f"{n}" for n, moment in enumerate(moments) if begin <= start + moment < end][:3]

                def get_events(self, message_id):
                    read.append(message_id)
                    return []

            with patch.object(sendgrid_backfill, "AT_ONCE", 3), patch.dict(sendgrid_backfill.APIS, {"logs": Source}):
                backfill = Backfill.create({"account_id": self.account.id, "state": "running"})
                for _step in range(10_000):
                    if backfill.state != "running":
                        break
                    backfill._step(None)
            self.assertEqual((backfill.state, backfill.is_incomplete), ("done", False))
            self.assertEqual(sorted(read), sorted(f"{n}" for n in range(len(moments))))

        check()

    def test_far_back(self):
        """Test that Email Logs are asked for mails sent up to 72 hours before; later events of them are missed."""
        email = self.create_email()
        self.relay_to_sandbox(email)
        for hours, found in ((73, 0), (71, 1)):
            begin = self.env.cr.now() + timedelta(hours=hours)
            backfill = self.ask(date_from=begin, date_to=begin + timedelta(hours=1))
            self.assertEqual((backfill.state, backfill.message_count), ("done", found), hours)

    def test_default_time(self):
        """Test that by default SendGrid is asked for the time since the last event."""
        batch = self.store([])
        action = self.account.action_ask_for_missed()
        self.assertEqual(action["context"]["default_date_from"], batch.create_date)


@tagged("post_install", "-at_install")
class TestOutage(BackfillCase):
    """Two days without a webhook leave the same behind as two days with one."""

    maxDiff = None

    # The events of each of the messages.
    LIVES = {
        "opened": [("open", HOUR), ("click", HOUR + 5)],
        "bounced": [("bounce", 60)],
        "late": [("late-bounce", 2 * HOUR)],
        "blocked": [("blocked", 60)],
        "spam": [("open", HOUR), ("spamreport", HOUR + 60)],
        "left": [("unsubscribe", 2 * HOUR)],
        "group": [("group_unsubscribe", 2 * HOUR)],
        "deferred": [("deferred", 60)],
    }

    def _live(self, suffix):
        """Let everything happen; return the documents, and the events that the webhook would have sent."""
        emails, events = {}, []
        for name, life in self.LIVES.items():
            address = f"{suffix}-{name}@example.net"  # an address that is not magic
            contact = self.env["res.partner"].create({"name": name, "email": address})
            email = self.create_email(address, ago=timedelta(days=2), partner_id=contact.id)
            message = self.relay_to_sandbox(email)
            for kind, seconds in life:
                self.fire(message, kind, timestamp=self.after(email, seconds))
            events += self.wire_events(message)
            emails[name] = email
        return emails, events

    def _state(self, emails):
        """Return the state of the documents and their contacts, without the values that always differ."""
        state = {}
        for name, email in emails.items():
            contact = email.partner_id
            figures = {
                figure: (
                    email[figure] - email.sent_date if figure.endswith("date") and email[figure] else email[figure]
                )
                for figure in FIGURES
                if figure not in ("sg_message_id", "processed_date", "delivered_date")
            }
            state[name] = {
                **figures,
                "events": sorted((event.event, event.bounce_type or "") for event in email.event_ids),
                "bounced": (contact.email_bounced, contact.message_bounce, bool(contact.email_bounce_reason)),
                "blacklisted": self.is_blacklisted(email.recipient),
                "facts": sorted(email.facts or ()),
            }
            state[name]["status_reason"] = str(state[name]["status_reason"]).replace(email.recipient, "")
        return state

    def test_repaired(self):
        """Test that comparing and asking, in either order and again, repairs an outage of two days."""
        self.account.group_unsubscribe_action = "blacklist"
        with_webhook, events = self._live("with")
        self.receive(*events)
        expected = self._state(with_webhook)
        self.assertEqual(expected["late"]["events"], [("bounce", "bounce"), ("delivered", ""), ("processed", "")])
        for steps in (("sync", "ask"), ("ask", "sync"), ("sync", "ask", "sync", "ask")):
            with self.subTest(steps=steps):
                without, _lost = self._live("-".join(steps))
                for step in steps:
                    if step == "sync":
                        # The comparison is a whole one: the lists have just learned of entries that are dated days ago.
                        self.assertEqual(self.sync(is_whole=True).state, "done")
                    else:
                        backfill = self.ask(date_from=self.env.cr.now() - timedelta(days=3))
                        self.assertEqual(backfill.state, "done", backfill.error)
                self.assertEqual(self._state(without), expected)
                self.assertEqual(self._state(with_webhook), expected)


@tagged("post_install", "-at_install")
class TestForgotten(BackfillCase, ReductionCase):
    """What SendGrid tells once more of somebody whose tracking was forgotten, or who declined, brings nothing back."""

    def test_asking(self):
        """Test the histories that SendGrid answers with, the same POST again, and the batches processed again."""
        for number, end in enumerate((self.forget, self.decline)):
            for api in ("logs", "activity"):
                with self.subTest(end=end.__name__, api=api):
                    self.sandbox("POST", "/sandbox/reset")
                    self.account.api_key = API_KEY
                    address = f"{api}{number}-{PERSON}"
                    email, other = self.create_email(address), self.create_email(f"other-{address}")
                    messages = [self.relay_to_sandbox(one) for one in (email, other)]
                    for message in messages:
                        for kind, seconds in LIFE:
                            self.fire(message, kind, timestamp=self.after(email, seconds))
                    wire = [event for message in messages for event in self.wire_events(message)]
                    batch = self.receive(*wire)
                    self.assertTrue(email.open_count and email.click_count and email.machine_open_count)
                    end(address)
                    if api == "activity":
                        self.sandbox("PUT", "/sandbox/keys/SG.activity", ["email_activity.read"])
                        self.account.api_key = "SG.activity"
                        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/logs", "status": 403, "times": 99})
                    known = self.figures(other)
                    backfill = self.ask(date_from="2026-01-01", date_to="2040-01-01")
                    self.assertEqual((backfill.state, backfill.api_name), ("done", api), backfill.error)
                    self.assertGreaterEqual(backfill.event_count, 2 * len(LIFE))
                    email.action_ask_sendgrid()
                    again = self.receive(*wire)
                    (batch | again | backfill.batch_ids).action_process_again()
                    self.finish()
                    self.assertNothingTold(address)
                    self.assertLessEqual({"processed", "delivered"}, set(email.event_ids.mapped("event")))
                    self.assertTrue(email.delivered_date)
                    self.assertIn("group_unsubscribe", email.event_ids.mapped("event"))
                    self.assertEqual(self.figures(other), known, "of others nothing is lost")
                    self.assertTrue(other.open_count and other.click_count)
