import base64
import gzip
import json
from contextlib import contextmanager
from unittest.mock import patch

import psycopg2
from psycopg2.errors import SerializationFailure

from odoo import api
from odoo.fields import Datetime
from odoo.orm import models as orm_models
from odoo.sql_db import db_connect
from odoo.tests import tagged
from odoo.tools import SQL, mute_logger

from odoo.addons.base.models import ir_cron

from ..models import sendgrid_drain
from ..models.sendgrid_drain import SendgridDrain
from ..models.sendgrid_ingest import SendgridIngest
from ..tools.events.parsing import parse_batch
from .committed import CommittedCase
from .common import SendgridCase, now
from .properties import given, in_database, st
from .simulator import BROWSER, KINDS, Relayed, account_event, sample, sample_names, to_wire

CHANGED = "sendgrid.email/changed"
LOGGER = "odoo.addons.sendgrid_tracking.models.sendgrid_drain"
FIGURES = (
    "status status_reason refusal_cause processed_date delivered_date first_open_date last_open_date open_count "
    "click_count "
    "machine_open_count machine_click_count sg_message_id"
).split()

# The fields that the samples share, and those of each sample: every field of the event that it becomes.
COMMON = {
    "match": "foreign",
    "email_id": False,
    "partner_id": False,
    "timestamp": "2026-11-24 06:00:00",
    "recipient": "ada@example.org",
    "reason": False,
    "response": False,
    "smtp_status": False,
    "attempt": 0,
    "bounce_type": False,
    "bounce_classification": False,
    "refusal_cause": False,
    "url": False,
    "url_offset": False,
    "ip": False,
    "user_agent": False,
    "asm_group_id": 0,
    "sg_machine_open": False,
    "sg_message_id": "k3Jx0QmFT2eWz1yYbN4t7A",
    "smtp_id": False,
    "odoo_id": False,
}
MESSAGE_ID = {"smtp_id": "<1795500000.123456.odoo-mail@example.com>"}
PERSON = {"ip": "203.0.113.7", "user_agent": BROWSER}
GROUP = {**PERSON, "asm_group_id": 1042, "url": "https://u48120033.ct.sendgrid.net/asm/?user_id=48120033"}
SAMPLES = {
    "account_status_change": {
        "event": "account_status_change",
        "match": "account",
        "recipient": False,
        "sg_message_id": False,
        "bounce_type": "compliance_suspend",
        "sg_event_id": "NDgxMjAwMzMtc3VzcGVuZC0xNzk1NTAwMDAw",
    },
    "bounce": {
        **MESSAGE_ID,
        "event": "bounce",
        "timestamp": "2026-11-24 06:00:02",
        "recipient": "nobody@example.org",
        "reason": "550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown",
        "smtp_status": "5.1.1",
        "bounce_type": "bounce",
        "bounce_classification": "Invalid Address",
        "refusal_cause": "address",
        "ip": "198.51.100.24",
        "sg_event_id": "Ym91bmNlLTAtNDgxMjAwMzMtazNKeDBRbUZUMmVXejF5WWJONHQ3QS0z",
    },
    "bounce_async": {
        "event": "bounce",
        "match": "unknown",
        "timestamp": "2026-11-24 06:10:00",
        "recipient": "late@example.org",
        "reason": "550 5.1.10 RecipientNotFound; recipient not found by SMTP address lookup",
        "smtp_status": "5.1.10",
        "bounce_type": "bounce",
        "refusal_cause": "address",
        "sg_message_id": False,
        "sg_event_id": "qT3mX0aBQ5m1Yd2nV8wKzA",
    },
    "bounce_blocked": {
        **MESSAGE_ID,
        "event": "bounce",
        "timestamp": "2026-11-24 06:00:02",
        "recipient": "full@example.org",
        "reason": "552 5.2.2 mailbox over quota",
        "smtp_status": "5.2.2",
        "bounce_type": "blocked",
        "bounce_classification": "Mailbox Unavailable",
        "refusal_cause": "mailbox",
        "ip": "198.51.100.24",
        "sg_event_id": "Ym91bmNlLTAtNDgxMjAwMzMtazNKeDBRbUZUMmVXejF5WWJONHQ3QS00",
    },
    "bounce_blocked_expired": {
        **MESSAGE_ID,
        "event": "bounce",
        "timestamp": "2026-11-27 06:00:00",
        "recipient": "slow@example.net",
        "reason": "unable to get mx info",
        "bounce_type": "blocked",
        "bounce_classification": "Unclassified",
        "refusal_cause": "temporary",
        "sg_event_id": "Ym91bmNlLTktNDgxMjAwMzMtazNKeDBRbUZUMmVXejF5WWJONHQ3QS0y",
    },
    "click": {
        **PERSON,
        "event": "click",
        "timestamp": "2026-11-24 06:02:20",
        "url": "https://shop.example.com/my/orders/7?access_token=é&x=1",
        "url_offset": "html:2",
        "sg_event_id": "c1Zp3sVtR4iJk7uHqWm2Xg",
    },
    "deferred": {
        **MESSAGE_ID,
        "event": "deferred",
        "timestamp": "2026-11-24 06:00:04",
        "recipient": "slow@example.net",
        "response": "451 4.7.1 Greylisting in action, please come back later",
        "attempt": 1,
        "ip": "198.51.100.24",
        "sg_event_id": "ZGVmZXJyZWQtMS00ODEyMDAzMy1rM0p4MFFtRlQyZVd6MXlZYk40dDdBLTI",
    },
    "delivered": {
        **MESSAGE_ID,
        "event": "delivered",
        "timestamp": "2026-11-24 06:00:03",
        "response": "250 2.0.0 OK 1795500003 d9443c01a7336-test - mx.example.org",
        "ip": "198.51.100.24",
        "sg_event_id": "ZGVsaXZlcmVkLTAtNDgxMjAwMzMtazNKeDBRbUZUMmVXejF5WWJONHQ3QS0w",
    },
    "dropped_bounced": {
        **MESSAGE_ID,
        "event": "dropped",
        "timestamp": "2026-11-24 06:00:01",
        "recipient": "gone@example.org",
        "reason": "Bounced Address",
        "sg_event_id": "ZHJvcC00ODEyMDAzMy1rM0p4MFFtRlQyZVd6MXlZYk40dDdBLTE",
    },
    "dropped_invalid_header": {
        **MESSAGE_ID,
        "event": "dropped",
        "match": "unknown",
        "timestamp": "2026-11-24 06:00:01",
        "recipient": "gone@example.org",
        "reason": "Invalid SMTPAPI header",
        "refusal_cause": "sender",
        "sg_event_id": "ZHJvcC00ODEyMDAzMy1rM0p4MFFtRlQyZVd6MXlZYk40dDdBLTI",
    },
    "group_resubscribe": {
        **GROUP,
        "event": "group_resubscribe",
        "timestamp": "2026-11-24 07:05:00",
        "sg_event_id": "g2Zp3sVtR4iJk7uHqWm2Xg",
    },
    "group_unsubscribe": {
        **GROUP,
        "event": "group_unsubscribe",
        "timestamp": "2026-11-24 07:03:20",
        "sg_event_id": "g1Zp3sVtR4iJk7uHqWm2Xg",
    },
    "open": {
        **PERSON,
        "event": "open",
        "timestamp": "2026-11-24 06:02:00",
        "sg_event_id": "o1Zp3sVtR4iJk7uHqWm2Xg",
    },
    "open_machine": {
        "event": "open",
        "timestamp": "2026-11-24 06:00:05",
        "ip": "203.0.113.200",
        "user_agent": "Mozilla/5.0",
        "sg_machine_open": True,
        "sg_event_id": "o2Zp3sVtR4iJk7uHqWm2Xg",
    },
    "processed": {
        **MESSAGE_ID,
        "event": "processed",
        "sg_event_id": "cHJvY2Vzc2VkLTQ4MTIwMDMzLWszSngwUW1GVDJlV3oxeVliTjR0N0EtMA",
    },
    "spamreport": {
        "event": "spamreport",
        "timestamp": "2026-11-24 07:00:00",
        "sg_event_id": "s1Zp3sVtR4iJk7uHqWm2Xg",
    },
    "unsubscribe": {
        **PERSON,
        "event": "unsubscribe",
        "timestamp": "2026-11-24 07:01:40",
        "sg_event_id": "u1Zp3sVtR4iJk7uHqWm2Xg",
    },
}


# Two programs at two places, the one a machine's, each of which may open or click in the same second as the other.
PROGRAMS = (
    {"ip": "203.0.113.2", "useragent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/146.0 Safari/537.36"},
    {"ip": "198.51.100.1", "useragent": "Mozilla/5.0 (compatible; BarracudaCentral/1.0; link scanner)"},
)


@tagged("post_install", "-at_install")
class TestDrain(SendgridCase):
    def _figures(self, emails):
        """Return the stored values of documents that depend on their events."""
        self.env.invalidate_all()
        return [[email[name] for name in FIGURES] for email in emails]

    # ------------------------------------------------------------
    # WHAT AN EVENT BECOMES
    # ------------------------------------------------------------

    def test_samples(self):
        """Test each sample of SendGrid's shape: every field of the event that it becomes."""
        self.assertEqual(set(SAMPLES), set(sample_names()))
        for name, expected in SAMPLES.items():
            with self.subTest(name):
                batch = self.receive(*sample(name))
                self.assertBatch(
                    batch,
                    state="done",
                    error=False,
                    event_count=1,
                    duplicate_count=0,
                    unmatched_count=1,
                    rejected_count=0,
                )
                event = self.event_of(batch)
                self.assertEqual((event.account_id, event.batch_id), (self.account, batch))
                expected = {**COMMON, **expected}
                actual = {
                    field: Datetime.to_string(event[field]) if field == "timestamp" else event[field]
                    for field in expected
                }
                actual = {field: value or False for field, value in actual.items()}
                self.assertEqual(actual, {field: value or False for field, value in expected.items()})

    def test_samples_together(self):
        """Test that all samples in one POST, in the wire form, become as many events."""
        raw = [event for name in sample_names() for event in sample(name)]
        batch = self.receive(*raw)
        self.assertBatch(batch, state="done", event_count=17, duplicate_count=0, unmatched_count=17, rejected_count=0)
        self.assertEqual(len(batch.event_ids), 17)
        self.assertEqual(
            base64.b64decode(batch.body or b""), to_wire(raw), "the body is what was received, to the byte"
        )
        self.assertTrue(batch.processed_date)

    def test_every_kind_reaches_its_document(self):
        """Test for each kind of event the document, the contact's view and the sender's view that follow from it."""
        opened = {"first_open_date": 3600, "last_open_date": 3600, "open_count": 1}
        for kind, expected in {
            "processed": {"status": "processed", "processed_date": 3600},
            "dropped": {"status": "dropped", "status_reason": "Bounced Address"},
            "deferred": {"status": "deferred", "status_reason": KINDS["deferred"]["response"]},
            "delivered": {"status": "delivered", "delivered_date": 3600, "status_reason": False},
            "bounce": {
                "status": "bounced",
                "status_reason": KINDS["bounce"]["reason"],
                "refusal_cause": "address",
            },
            "blocked": {
                "status": "blocked",
                "status_reason": KINDS["blocked"]["reason"],
                "refusal_cause": "mailbox",
            },
            "open": {"status": "opened", **opened},
            "machine_open": {"status": "sent", "open_count": 0, "machine_open_count": 1, "first_open_date": False},
            "click": {"status": "clicked", "click_count": 1, "open_count": 0},
            "spamreport": {"status": "spam"},
            "unsubscribe": {"status": "unsubscribed"},
            "group_unsubscribe": {"status": "unsubscribed"},
            "group_resubscribe": {"status": "sent"},
            "something_new": {"status": "sent"},
        }.items():
            with self.subTest(kind):
                email = self.create_email(f"{kind}@example.org", partner_id=self.contact.id)
                message = self.relay(email)
                # Long after the arrival nobody takes a person for a machine.
                events = [] if kind == "processed" else [message.event("processed", timestamp=self.after(email, 1))]
                if kind not in ("processed", "delivered"):
                    expected = {"processed_date": 1, **expected}
                expected = {
                    name: self.after(email, value) if name.endswith("_date") and value else value
                    for name, value in expected.items()
                }
                if expected["status"] == "sent":
                    expected["status"] = "processed"
                batch = self.receive(*events, message.event(kind, timestamp=self.after(email, 3600)))
                self.assertBatch(batch, state="done", unmatched_count=0, rejected_count=0)
                self.assertEmail(email, sg_message_id=message.key, **expected)
                event = email.event_ids.sorted("timestamp")[-1]
                self.assertEqual(event.event, KINDS.get(kind, {"event": kind})["event"])
                self.assertEqual((event.match, event.partner_id), ("odoo_id", self.contact))
                self.assertFalse(event.smtp_id, "what has its document needs no other way to find it")

    def test_account_event(self):
        """Test that an event about the account is kept with it and belongs to no e-mail."""
        email = self.create_email()
        event = self.event_of(self.receive(account_event(self.after(email, 60))))
        self.assertEqual((event.match, event.account_id, event.email_id.id), ("account", self.account, False))
        self.assertEqual(email.status, "sent")

    # ------------------------------------------------------------
    # WHAT CANNOT BE UNDERSTOOD
    # ------------------------------------------------------------

    def test_not_a_list(self):
        """Test that a body that is no list fails as a whole, says why, is kept, and does not block others."""
        for body in (b"", b"{}", b'"text"', b"<html>", b"[{]", b"\xff\xfe\x00", to_wire([KINDS["open"]])[:-9]):
            with self.subTest(body):
                email = self.create_email()
                batch = self.store(body)
                neighbour = self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 60)))
                self.assertBatch(batch, state="failed", event_count=0, processed_date=neighbour.processed_date)
                self.assertRegex(batch.error_explanation, "^The body ")
                self.assertEqual(base64.b64decode(batch.body or b""), body)
                self.assertEqual((neighbour.state, email.status), ("done", "delivered"))

    def test_unreadable(self):
        """Test that a body that was not stored whole fails alone, also after a conflict, and that its page opens."""
        for stored in (b"no base64!", base64.b64encode(b"no gzip"), base64.b64encode(gzip.compress(b"[]"))[:-12]):
            for holds_contacts in (False, True):
                with self.subTest(stored, holds_contacts=holds_contacts):
                    batches = self.store(b"[]") | self.store(b"[]")
                    batches[0].body_gzip = stored
                    self.Drain._drain(holds_contacts=holds_contacts)
                    self.assertEqual(batches.mapped("state"), ["failed", "done"])
                    self.assertRegex(batches[0].error_explanation, "^The body cannot be read")
                    self.assertFalse(batches[0].body)

    def test_bad_element(self):
        """Test that an element that is no event is rejected alone, with its reason; the body stays."""
        email = self.create_email()
        message = self.relay(email)
        body = to_wire(
            [
                message.event("processed", timestamp=self.after(email, 1)),
                7,
                {**message.event("open"), "timestamp": "yesterday"},
                message.event("delivered", timestamp=self.after(email, 60)),
                message.event("click", timestamp=self.after(email, 61), email="x" * 1_000_000),
            ]
        )
        batch = self.store(body)
        self.drain()
        self.assertBatch(batch, state="done", event_count=5, rejected_count=3, unmatched_count=0, duplicate_count=0)
        self.assertEqual(base64.b64decode(batch.body or b""), body)
        lines = batch.rejected_explanation.splitlines()
        self.assertEqual([line.split(":")[0] for line in lines], ["Event 2", "Event 3", "Event 5"])
        self.assertTrue(all(len(line) < 200 for line in lines))
        self.assertEvents(email, ["processed", "delivered"])
        self.assertEqual(email.status, "delivered")

    def test_a_body_of_rubbish(self):
        """Test that of very many rejected elements all are counted, and the first are explained."""
        batch = self.store(b"[" + b"1," * 5000 + b"1]")
        self.drain()
        self.assertBatch(batch, state="done", event_count=5001, rejected_count=5001)
        lines = batch.rejected_explanation.splitlines()
        self.assertEqual(len(lines), 101)
        self.assertEqual(lines[-1], "Further events of which the reason is not told: 4901")

    def test_absurd_texts(self):
        """Test that values that pass the parser can be stored: long texts, all characters, extreme numbers."""
        email = self.create_email()
        message = self.relay(email)
        texts = {name: "é🙂\x01\x7f\ufffe\u2028" * 9_000 for name in ("reason", "response", "url", "useragent")}
        batch = self.receive(
            message.event("click", timestamp=self.after(email, 60), **texts),
            message.event(
                "x" * 64, timestamp=4_102_444_799, attempt=2**31 - 1, asm_group_id=2**31 - 1, ip="x" * 60_000
            ),
            message.event("bounce", timestamp=1_230_768_000, type="y" * 60_000, status="z" * 60_000),
        )
        self.assertBatch(batch, state="done", rejected_count=0, unmatched_count=0)
        self.assertEqual(len(email.event_ids), 3)
        self.assertEqual(email.event_ids.filtered(lambda e: e.event == "click").url, texts["url"].strip())

    def test_custom_arguments(self):
        """Test that custom arguments with the names of fields cost no event, and are shown as nothing."""
        arguments = {"attempt": "2nd reminder", "status": "quote-sent", "reason": "renewal", "type": ["x"], "ip": 7.5}
        email = self.create_email()
        message = self.relay(email)
        names = ("processed", "delivered", "open")
        batch = self.receive(
            *(
                {**arguments, "asm_group_id": "newsletter", **message.event(kind, timestamp=self.after(email, seconds))}
                for kind, seconds in zip(names, (1, 2, 3600), strict=True)
            )
        )
        self.assertBatch(batch, rejected_count=0, unmatched_count=0)
        self.assertEvents(email, list(names))
        self.assertEmail(email, status="opened", status_reason=False)
        for event in email.event_ids:
            self.assertEqual(
                (event.attempt, event.smtp_status, event.reason, event.bounce_type, event.asm_group_id),
                (0, False, False, False, 0),
            )
        # All three have a field of this name, which is a number.
        self.assertEqual(email.event_ids.mapped("unread"), ["asm_group_id"] * 3)

    def test_odd_fields(self):
        """Test that a field of an odd type costs itself only, and the event says so."""
        for kind, odd in (
            ("deferred", {"attempt": 1.0}),
            ("open", {"sg_machine_open": 1}),
            ("click", {"url_offset": "3"}),
            ("delivered", {"asm_group_id": -1}),
            ("open", {"ip": ["203.0.113.7"], "useragent": {}}),
            ("bounce", {"status": 5.1}),
        ):
            with self.subTest(kind=kind, odd=odd):
                email = self.create_email()
                batch = self.receive(self.relay(email).event(kind, timestamp=self.after(email, 3600), **odd))
                self.assertBatch(batch, rejected_count=0, unmatched_count=0)
                event = self.event_of(batch)
                self.assertEqual(event.email_id, email)
                self.assertEqual(event.unread_explanation, f"Could not be read: {', '.join(odd)}")
                self.assertNotEqual(email.status, "sent")
        self.assertFalse(self.event_of(self.receive(self.relay(email).event("processed"))).unread_explanation)

    def test_what_no_text_can_hold(self):
        """Test that a bounce is not lost because of its wording: what no text can hold becomes U+FFFD."""
        for number, (said, shown) in enumerate(
            (
                (b"550 Unbekannter Empf\xe4nger", "550 Unbekannter Empf\ufffdnger"),
                (b"550 no such user\\u0000 id=1", "550 no such user\ufffd id=1"),
                (b"550 \\ud83d cut in the middle", "550 \ufffd cut in the middle"),
            )
        ):
            with self.subTest(shown):
                email = self.create_email(f"{number}@example.org")
                bounce = self.relay(email).event("bounce", timestamp=self.after(email, 60), reason="?")
                batch = self.store(to_wire([bounce]).replace(b"?", said))
                self.drain()
                self.assertBatch(batch, rejected_count=0, unmatched_count=0)
                self.assertEmail(email, status="bounced", status_reason=shown)

    def test_types_in_any_case(self):
        """Test that the type of a bounce, and the reason of a drop, mean the same in capital letters."""
        for kind, fields, status, name in (
            ("bounce", {"type": "Blocked", "status": "4.7.1", "reason": "451 later"}, "blocked", "Blocked"),
            ("bounce", {"type": "Expired", "status": "4.4.7"}, "blocked", "Not delivered within 72 hours"),
            ("bounce", {"type": "bounced", "status": "5.1.1"}, "bounced", "Bounced"),
            ("dropped", {"reason": "BOUNCED ADDRESS"}, "dropped", "Dropped"),
        ):
            with self.subTest(fields):
                email = self.create_email()
                event = self.event_of(
                    self.receive(self.relay(email).event(kind, timestamp=self.after(email, 60), **fields))
                )
                self.assertEqual((email.status, event.name), (status, name))
        self.assertIn("dropped_bounced", email.facts)

    def test_times(self):
        """Test that a time in another notation is the same time."""
        email = self.create_email()
        message, moment = self.relay(email), self.after(email, 3600)
        batch = self.receive(
            *(
                {**message.event("open", useragent=f"Mozilla/5.0 ({said}) Firefox/140.0"), "timestamp": said}
                for said in (f"{moment}.41447", f" {moment} ", moment + 0.5, f"{moment * 1000}.5")
            )
        )
        self.assertBatch(batch, rejected_count=0, unmatched_count=0)
        self.assertEmail(email, first_open_date=moment, last_open_date=moment)

    def test_texts_to_the_letter(self):
        """Test that nothing in a text means anything to the database: quotes, backslashes, what looks like no value."""
        email = self.create_email()
        message = self.relay(email)
        texts = (
            "NULL",
            "null",
            '"',
            "\\",
            '\\"',
            "{}",
            '{"a",NULL}',
            "a,b",
            "it's %s %(a)s",
            'tab\tline\nend "\\n"',
            "\\N",
        )
        events = [
            message.event("click", timestamp=self.after(email, 60 + number), url=text, useragent=text, ip=text)
            for number, text in enumerate(texts)
        ]
        self.assertBatch(self.receive(*events), state="done", rejected_count=0, unmatched_count=0)
        stored = email.event_ids.sorted("timestamp")
        self.assertEqual(
            [(event.url, event.user_agent, event.ip) for event in stored], [(text, text, text) for text in texts]
        )

    # ------------------------------------------------------------
    # ORDER, REPETITION, SPLIT
    # ------------------------------------------------------------

    def test_huge_ids(self):
        """Test that an id that no index can hold costs neither its event nor the bounce beside it."""
        email = self.create_email()
        huge = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(998))
        opened = self.relay(email).event("open", sg_message_id=huge, timestamp=self.after(email, 3600))
        bounce = self.relay(email).event("bounce", timestamp=self.after(email, 4000))
        unmatched = {**opened, "odoo_id": None, "odoo_db": None, "event": "bounce"}
        batch = self.receive(opened, bounce, unmatched)
        self.assertBatch(batch, state="done", event_count=3, rejected_count=0)
        self.assertEmail(email, status="bounced")
        self.assertIn("sg_message_id", email.event_ids.filtered(lambda event: event.event == "open").unread)

    def test_same_batch_twice(self):
        """Test that the same POST again, with the same or other event ids, changes nothing and is counted."""
        email = self.create_email()
        message = self.relay(email)
        events = [message.event(kind, timestamp=self.after(email, 3600)) for kind in KINDS]
        self.receive(*events)
        before = self._figures(email)
        count = len(email.event_ids)
        renamed = [{**event, "sg_event_id": f"again-{number}"} for number, event in enumerate(events)]
        for again in (events, renamed, [*events, *renamed]):
            batch = self.receive(*again)
            self.assertBatch(batch, state="done", event_count=len(again), duplicate_count=len(again), unmatched_count=0)
            self.assertEqual((self._figures(email), len(email.event_ids)), (before, count))

    @in_database
    @given(st.data())
    def test_any_split_and_order(self, data):
        """Test that any order, repetition and split into POSTs and drains leaves the same documents behind."""
        emails = self.Email
        events = []
        for recipient in ("a@example.org", "b@example.org"):
            email = self.create_email(recipient)
            emails |= email
            message = self.relay(email)
            chosen = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=6))
            for kind in chosen:
                fields = {}
                if kind in ("open", "click"):
                    fields = data.draw(st.sampled_from([{}, *PROGRAMS]))
                if kind == "click":
                    # Make a new dict: other tests share the one that was drawn.
                    fields = fields | {
                        "url": data.draw(st.sampled_from(["https://a", "https://b", "https://c"])),
                        "url_offset": data.draw(st.sampled_from([None, {"index": 0, "type": "html"}])),
                    }
                if kind.startswith("group"):
                    fields = {"asm_group_id": data.draw(st.sampled_from([None, 0, 1, 2]))}
                seconds = data.draw(st.sampled_from([1, 2, 3, 10, 3600, 3601]))
                ids = data.draw(st.sampled_from([{}, {"odoo_id": None, "odoo_db": None}]))
                events.append(message.event(kind, timestamp=self.after(email, seconds), **fields, **ids))
        # One event must name its message, or the events without our ids would have no document.
        events += [
            self.relay(email).event("processed", timestamp=self.after(email, 1), sg_message_id=key)
            for email, key in {
                email: next(e["sg_message_id"] for e in events if e["email"] == email.recipient) for email in emails
            }.items()
        ]
        again = [{**event, "sg_event_id": f"again-{number}"} for number, event in enumerate(events)]
        told = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events + again), max_size=4))))
        split = data.draw(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8))

        def look():
            verdicts = sorted(
                (e.fingerprint, e.email_id.id, e.is_machine, e.machine_reason or "")
                for e in self.Event.search([("email_id", "in", emails.ids)])
            )
            return self._figures(emails), verdicts

        self.compare_ways(look, lambda: self.receive(*events), lambda: self.receive_bit_by_bit(told, split))

    @in_database
    @given(st.data())
    def test_any_order_of_sources(self, data):
        """Test that what SendGrid's history tells besides, in any order and with less details, changes nothing."""
        email = self.create_email()
        message = self.relay(email)
        told = [message.event("delivered", timestamp=self.after(email, 1))]
        for kind in data.draw(st.lists(st.sampled_from(["open", "click"]), min_size=1, max_size=5)):
            fields = {"url": "https://a"} if kind == "click" else {}
            seconds = data.draw(st.sampled_from([3600, 3601]))
            program = data.draw(st.sampled_from(PROGRAMS))
            told.append(message.event(kind, timestamp=self.after(email, seconds), **fields, **program))

        def forget(event):
            """Return the event as one of SendGrid's histories tells it."""
            unsaid = data.draw(
                st.sampled_from(
                    [
                        {"sg_event_id"},
                        {"ip", "sg_machine_open", "url_offset"},
                        {"ip", "useragent", "sg_machine_open", "url_offset"},
                    ]
                )
            )
            return {name: value for name, value in event.items() if name not in unsaid}

        asked = [[forget(event) for event in data.draw(st.lists(st.sampled_from(told), max_size=6))] for _api in "ab"]
        first = data.draw(st.lists(st.sampled_from(told), max_size=3))
        reports = [("webhook", told), ("webhook", first), *(("history", events) for events in asked)]

        def state(reports, drains):
            with self.env.cr.savepoint(flush=False) as savepoint:
                for (source, events), is_drained in zip(reports, drains, strict=True):
                    self.Batch._receive(self.account, to_wire(events), source=source)
                    if is_drained:
                        self.drain()
                self.drain()
                result = self._figures(email), sorted(email.event_ids.mapped("fingerprint"))
                savepoint.rollback()
            self.env.invalidate_all()
            return result

        def draw_state(reports):
            drains = data.draw(st.lists(st.booleans(), min_size=len(reports), max_size=len(reports)))
            return state(data.draw(st.permutations(reports)), drains)

        self.assertEqual(draw_state(reports), state([("webhook", told)], [True]))
        # Without the webhook's report of all, the result is another, but the order does not matter either.
        self.assertEqual(draw_state(reports[1:]), draw_state(reports[1:]))

    # ------------------------------------------------------------
    # TWO IN ONE SECOND
    # ------------------------------------------------------------

    def test_natural_order(self):
        """Test that events of one second are listed in their natural order, however they arrived."""
        email = self.create_email()
        message = self.relay(email)
        names = "processed deferred delivered open click dropped bounce spamreport group_resubscribe group_unsubscribe"
        names = [*names.split(), "unsubscribe", "something_new"]
        for name in sorted(names):
            self.receive(message.event(name, timestamp=self.after(email, 60)))
        self.receive(message.event("open", timestamp=self.after(email, 61)))
        expected = ["open", *reversed(names)]
        self.assertEqual(email.event_ids.mapped("event"), expected)
        self.assertEqual(email.event_ids.sorted().mapped("event"), expected)
        found = self.Event.search([("email_id", "=", email.id)])
        self.assertEqual(found.mapped("event"), expected)
        self.assertEqual(self.Event.search([("email_id", "=", email.id)], limit=3), found[:3])

    def test_two_open_in_one_second(self):
        """Test that a machine and a person who open in the same second are two, whoever is reported first."""
        prefetch = {"ip": "198.51.100.1", "useragent": "Mozilla/5.0", "sg_machine_open": True}
        for order in (1, -1):
            email = self.create_email(f"{order}@example.org")
            message = self.relay(email)
            opens = [
                message.event("open", timestamp=self.after(email, 3600), **fields) for fields in (prefetch, PROGRAMS[0])
            ][::order]
            for event in opens:
                self.receive(event)
            expected = {"status": "opened", "open_count": 1, "machine_open_count": 1}
            self.assertEmail(email, **expected)
            batch = self.receive(*({**event, "sg_event_id": "again"} for event in opens))
            self.assertBatch(batch, event_count=2, duplicate_count=2)
            self.assertEmail(email, **expected)

    def _store_as_before(self, *raw, source="webhook"):
        """Store events as version 19.0.1.0.0 did: two programs in one second were one event, under another name."""
        self.env["ir.config_parameter"].set_param("sendgrid_tracking.former_names_until", "4102444800")
        self.Batch._receive(self.account, to_wire(raw), source=source)
        self.drain()
        for event in parse_batch(to_wire(raw))[0]:
            if event.former_fingerprint:
                stored = self.Event.search([("fingerprint", "=", event.fingerprint)])
                self.assertTrue(stored)
                self.env.cr.execute(
                    SQL("UPDATE sendgrid_event SET fingerprint = %s WHERE id = %s", event.former_fingerprint, stored.id)
                )
        self.env.invalidate_all()

    def test_stored_before(self):
        """Test that events that an earlier version stored are known when they are reported again."""
        email = self.create_email()
        message = self.relay(email)
        custom = {"attempt": "2", "url": "about"}
        raw = [
            {**custom, **message.event("processed", timestamp=self.after(email, 1))},
            message.event("open", timestamp=self.after(email, 3600), **PROGRAMS[0]),
            {**custom, **message.event("click", timestamp=self.after(email, 3600), **PROGRAMS[0])},
            message.event("bounce", timestamp=self.after(email, 7200), type="Blocked"),
        ]
        self._store_as_before(*raw)
        before = self._figures(email)
        for again in (raw, [{**event, "sg_event_id": "again"} for event in raw]):
            batch = self.receive(*again)
            self.assertBatch(batch, event_count=4, duplicate_count=4, unmatched_count=0)
        batch.action_process_again()
        self.Batch._receive(self.account, to_wire(raw), source="history")
        poorer = [{name: value for name, value in event.items() if name not in ("ip", "useragent")} for event in raw]
        self.Batch._receive(self.account, to_wire(poorer), source="history")
        self.drain()
        self.assertEqual((self._figures(email), len(email.event_ids)), (before, 4))

    def test_stored_before_and_forgotten(self):
        """Test that an event is known by its former name also if its details have been removed since."""
        email = self.create_email()
        message = self.relay(email)
        raw = [
            message.event("open", timestamp=self.after(email, 3600), **PROGRAMS[0]),
            message.event("click", timestamp=self.after(email, 3600), url="https://a/?b=1#c", **PROGRAMS[0]),
        ]
        self._store_as_before(*raw)
        email.event_ids.write({"ip": False, "user_agent": False, "is_final": True})
        email.event_ids.filtered("url").url = "https://a/"
        before = self._figures(email)
        self.assertBatch(self.receive(*raw), duplicate_count=2)
        for unsaid in ((), ("ip",), ("ip", "useragent", "url_offset")):
            told = to_wire([{name: value for name, value in event.items() if name not in unsaid} for event in raw])
            self.Batch._receive(self.account, told, source="history")
            self.drain()
        self.assertEqual((self._figures(email), len(email.event_ids)), (before, 2))

    def test_two_of_which_one_was_stored_before(self):
        """Test that of two interactions in one second, which were one before, the other one is found again."""
        for first, second in (PROGRAMS, PROGRAMS[::-1]):
            email = self.create_email(f"{first['ip']}@example.org")
            message = self.relay(email)
            one, other = (
                message.event("open", timestamp=self.after(email, 3600), **fields) for fields in (first, second)
            )
            self._store_as_before(one)
            for _again in range(2):
                self.receive(one, other)
                self.assertEmail(email, status="opened", open_count=1, machine_open_count=1)
                self.assertEqual(len(email.event_ids), 2)

    def test_asked_for_before(self):
        """Test that the webhook's report replaces what an earlier version learned of it from SendGrid's history."""
        email = self.create_email()
        opened = self.relay(email).event("open", timestamp=self.after(email, 3600), **PROGRAMS[0])
        for unsaid in ((), ("ip",)):
            with self.subTest(unsaid), self.env.cr.savepoint(flush=False) as savepoint:
                told = {name: value for name, value in opened.items() if name not in unsaid}
                self._store_as_before(told, source="history")
                self.assertEqual(email.event_ids.source, "history")
                self.receive(opened, {**opened, "sg_event_id": "again"})
                self.assertEmail(email, open_count=1)
                self.assertEqual((email.event_ids.source, email.event_ids.ip), (False, PROGRAMS[0]["ip"]))
                savepoint.rollback()
            self.env.invalidate_all()

    def test_group_without_number(self):
        """Test that leaving and coming back concern one group also if SendGrid names none."""
        email = self.create_email()
        message = self.relay(email)
        self.receive(message.event("group_unsubscribe", timestamp=self.after(email, 60), asm_group_id=None))
        self.assertEqual(email.status, "unsubscribed")
        self.receive(message.event("group_resubscribe", timestamp=self.after(email, 90), asm_group_id=None))
        self.assertEqual(email.status, "sent")

    def test_event_before_its_message_is_known(self):
        """Test that an event with only SendGrid's id finds its document once another event names both."""
        email = self.create_email()
        message = self.relay(email)
        anonymous = {"odoo_id": None, "odoo_db": None, "smtp-id": None}
        opened = self.receive(message.event("open", timestamp=self.after(email, 3600), **anonymous))
        self.assertBatch(opened, state="done", unmatched_count=1)
        self.assertEqual(self.event_of(opened).match, "unknown")
        self.receive(message.event("delivered", timestamp=self.after(email, 60)))
        self.assertEvents(email, [("delivered", "odoo_id"), ("open", "sg_message_id")])
        self.assertEmail(email, status="opened", open_count=1)

    def test_told_twice_before_its_message_is_known(self):
        """Test that an interaction from SendGrid's history counts once, even if its message was not known then."""
        email = self.create_email()
        event = self.relay(email).event("click", timestamp=self.after(email, 3600), url="https://example.com/a")
        unsaid = {"odoo_id", "odoo_db", "smtp-id", "url_offset"}
        told = to_wire([{name: value for name, value in event.items() if name not in unsaid}])
        self.Batch._receive(self.account, told, source="history")
        self.drain()
        self.assertFalse(email.event_ids)
        self.receive(event)
        self.assertEmail(email, status="clicked", click_count=1)
        self.assertEvents(email, [("click", "odoo_id")])

    def test_nothing_stale(self):
        """Test that values computed from a document follow at once, in the same transaction."""
        email = self.create_email()
        message = self.relay(email)
        self.receive(message.event("open", timestamp=self.after(email, 600), useragent=BROWSER))
        event = email.event_ids
        self.assertEqual((email.engagement_summary, event.name), ("Opened once.", "Opened"))
        self.store([message.event("bounce", timestamp=self.after(email, 900))])
        self.Drain._drain()
        self.assertIn("did not arrive", email.engagement_summary)
        self.assertEqual(event.name, "Opened by a scanner")
        self.assertIn("bounced", [step["status"] for step in email.journey])

    # ------------------------------------------------------------
    # QUERIES
    # ------------------------------------------------------------

    def _count_queries(self, count, kinds=("processed", "delivered", "open", "click")):
        """Drain some events in one POST, each kind for as many documents.

        :return: the number of queries of the drain
        """
        emails = self.Email.browse(
            self.create_email(f"{count}-{number}@example.org").id for number in range(count // len(kinds))
        )
        events = [
            self.relay(email).event(kind, timestamp=self.after(email, 3600 * number))
            for email in emails
            for number, kind in enumerate(kinds)
        ]
        self.store(events)
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        # The ORM inserts and updates a hundred rows at once; its queries for more rows are its own.
        with patch.multiple(orm_models, INSERT_BATCH_SIZE=10_000, UPDATE_BATCH_SIZE=10_000):
            self.Drain._drain()
            self.env.flush_all()
        queries = self.env.cr.sql_log_count - before
        self.assertEqual(set(emails.mapped("status")), {"clicked"})
        self.assertEqual(len(emails.event_ids), len(events))
        return queries

    def test_number_of_queries(self):
        """Test that a thousand events take as many queries as ten."""
        for _time in range(2):
            self._count_queries(8)  # this fills the caches; the message to open pages waits for the next drain
        self.assertEqual(self._count_queries(1_000), self._count_queries(12))

    def test_number_of_queries_of_many_posts(self):
        """Test that events in many POSTs take about as many queries as in one: they are processed together."""
        self._count_queries(8)
        email = self.create_email()
        for number in range(50):
            self.store([self.relay(email).event("open", timestamp=self.after(email, 3600 + number))])
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        self.Drain._drain()
        self.env.flush_all()
        self.assertLess(self.env.cr.sql_log_count - before, 60)
        self.assertEqual(email.open_count, 50)
        self.assertFalse(self.Drain._has_pending())

    # ------------------------------------------------------------
    # FAILURES
    # ------------------------------------------------------------

    @mute_logger(LOGGER)
    def test_failing_batch_fails_alone(self):
        """Test that a batch that raises is marked with the error, and its neighbours are processed."""
        emails = [self.create_email(f"{name}@example.org") for name in "abc"]
        batches = [
            self.store([self.relay(email).event("delivered", timestamp=self.after(email, 60))]) for email in emails
        ]
        ingest = SendgridIngest._ingest

        def fail_on_b(model, received):
            if any(event.recipient == "b@example.org" for _batch, event in received):
                # Fail in PostgreSQL, not only in the ORM: the transaction itself is in error.
                model.env.cr.execute("SELECT 1/0")
            return ingest(model, received)

        with patch.object(SendgridIngest, "_ingest", fail_on_b), mute_logger("odoo.sql_db"):
            self.drain()
        self.assertEqual([batch.state for batch in batches], ["done", "failed", "done"])
        self.assertEqual([email.status for email in emails], ["delivered", "sent", "delivered"])
        self.assertIn("division by zero", batches[1].error_explanation)
        self.assertFalse(batches[1].event_ids)

        batches[1].action_process_again()
        self.assertBatch(batches[1], state="pending", error=False)
        self.drain()
        self.assertBatch(batches[1], state="done", error=False, event_count=1, duplicate_count=0)
        self.assertEqual(emails[1].status, "delivered")

    def test_process_again(self):
        """Test that a processed batch can be processed again: its events are duplicates, and nothing changes."""
        email = self.create_email()
        batch = self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 60)), 7)
        before = self._figures(email)
        batch.action_process_again()
        self.drain()
        self.assertBatch(batch, state="done", event_count=2, duplicate_count=1, rejected_count=1, unmatched_count=0)
        self.assertEqual(self._figures(email), before)
        self.assertEqual(len(email.event_ids), 1)

    def test_rejected_before(self):
        """Test that a batch that an earlier version rejected in part is read anew, and its day no longer counts it."""
        email = self.create_email()
        message = self.relay(email)
        bounce = message.event("bounce", timestamp=self.after(email, 60), status=5.1)
        batch = self.receive(message.event("processed", timestamp=self.after(email, 1)), bounce, 7)
        # The version before this one left these marks behind.
        batch.event_ids.filtered(lambda event: event.event == "bounce").unlink()
        batch.write(
            {
                "rejected_count": 2,
                "rejected_reasons": '{"code": "not_a_text", "number": 2, "key": "status", "kind": "a number"}\n'
                '{"code": "not_an_object", "number": 3, "kind": "a number"}',
            }
        )
        day = self.env["sendgrid.account.day"].search([("account_id", "=", self.account.id)])
        day.rejected_count = 2
        email._refresh_state()
        self.assertEqual(email.status, "processed")
        counted = (day.batch_count, day.event_count)

        batch.action_process_again()
        self.drain()
        self.assertBatch(batch, state="done", event_count=3, duplicate_count=1, rejected_count=1, unmatched_count=0)
        self.assertEqual(batch.rejected_explanation, "Event 3: It is not an object. Found instead: a number.")
        self.assertEmail(email, status="bounced")
        self.assertEqual((day.batch_count, day.event_count, day.rejected_count), (*counted, 1))

    def test_concurrent_write_is_not_the_batch_s_fault(self):
        """Test that a serialization failure marks no batch: the whole is to be tried again."""
        email = self.create_email()
        batch = self.store([self.relay(email).event("delivered", timestamp=self.after(email, 60))])
        with (
            patch.object(SendgridIngest, "_ingest", side_effect=SerializationFailure("concurrent update")),
            self.assertRaises(SerializationFailure),
        ):
            self.Drain._drain()
        self.assertBatch(batch, state="pending", error=False)


@tagged("post_install", "-at_install")
class TestCronDrain(SendgridCase):
    """The drain as the cron runs it, with commits and rollbacks, on a cursor that the test undoes."""

    def setUp(self):
        super().setUp()
        self.enterContext(self.enter_registry_test_mode())
        cursor = self.enterContext(self.registry.cursor())
        self.cron_env = api.Environment(cursor, self.env.uid, {})
        for name in ("LINGER", "LINGER_FOR_EARLY", "POLL_INTERVAL"):
            self.enterContext(patch.object(sendgrid_drain, name, 0))

    def _run(self):
        self.env.flush_all()
        self.cron_env["sendgrid.drain"]._cron_drain()
        self.env.invalidate_all()

    def test_until_nothing_is_left(self):
        """Test that one run processes all that waits, also in more than one chunk."""
        emails = [self.create_email(f"{name}@example.org") for name in "abcde"]
        batches = [
            self.store([self.relay(email).event("delivered", timestamp=self.after(email, 60))]) for email in emails
        ]
        with patch.object(sendgrid_drain, "CHUNK_BATCHES", 2):
            self._run()
        self.assertEqual({batch.state for batch in batches}, {"done"})
        self.assertEqual({email.status for email in emails}, {"delivered"})

    def test_rests(self):
        """Test that the drain does nothing while a module is being installed."""
        batch = self.store([account_event(now())])
        with db_connect(self.env.cr.dbname).cursor() as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [sendgrid_drain.REST_LOCK])
            self._run()
        self.assertEqual(batch.state, "pending")
        self._run()
        self.assertEqual(batch.state, "done")

    def test_is_not_due_while_it_rests(self):
        """Test that no process begins the drain during an uninstallation, which could not delete the action then."""
        cron = self.env.ref("sendgrid_tracking.ir_cron_drain")
        trigger = cron._trigger()
        self.env.flush_all()
        self.cron_env["sendgrid.drain"]._put_actions_off()
        self.env.invalidate_all()
        self.assertGreater(cron.nextcall, Datetime.now())
        self.assertGreater(trigger.call_at, Datetime.now())
        sendgrid_drain._last_wake.clear()
        with db_connect(self.env.cr.dbname).cursor() as other:
            other.execute("SELECT pg_advisory_xact_lock(%s)", [sendgrid_drain.WAKE_LOCK])
            self.Drain._wake()
        triggers = [("cron_id", "=", cron.id)]
        self.assertEqual(self.env["ir.cron.trigger"].search(triggers), trigger)
        sendgrid_drain._last_wake.clear()
        self.Drain._wake()
        self.assertEqual(self.env["ir.cron.trigger"].search_count(triggers), 2)

    def test_chunk_of_bytes(self):
        """Test that large bodies are processed a few at a time, and so is one that is larger than a chunk."""
        for _number in range(3):
            self.store([account_event(now(), type="x" * 1000, sg_event_id="y")])
        with patch.object(sendgrid_drain, "CHUNK_BYTES", 3000):
            self.assertEqual(len(self.Drain._get_next_pending()), 2)
        with patch.object(sendgrid_drain, "CHUNK_BYTES", 10):
            self.assertEqual(len(self.Drain._get_next_pending()), 1)
            self._run()
        self.assertFalse(self.Drain._has_pending())

    def test_never_raises(self):
        """Test that the cron's method logs an error and returns: core switches off a cron that keeps failing."""
        batch = self.store([account_event(now())])
        for error in (ValueError("broken"), psycopg2.OperationalError("gone"), KeyError("x"), MemoryError()):
            with (
                self.subTest(error),
                patch.object(SendgridDrain, "_drain", side_effect=error),
                self.assertLogs(LOGGER, "ERROR") as logs,
            ):
                self._run()
            self.assertIn("the drain stopped", logs.output[0])
        self.assertEqual(batch.state, "pending")
        self._run()
        self.assertEqual(batch.state, "done")

    def test_less_at_once_after_a_conflict(self):
        """Test that after a conflict the drain takes one batch, locks its contacts first, and then takes more again."""
        for _number in range(4):
            self.store([account_event(now())])
        drain, seen = SendgridDrain._drain, []

        def collide_once(batches, *args, **kwargs):
            seen.append((*args, *kwargs.values()))
            if len(seen) == 1:
                raise SerializationFailure("x")
            return drain(batches, *args, **kwargs)

        with patch.object(SendgridDrain, "_drain", autospec=True, side_effect=collide_once):
            self._run()
        self.assertEqual(seen[:4], [(500, False), (1, True), (2, True), (4, True)])
        self.assertFalse(self.env["sendgrid.event.batch"].search([("state", "!=", "done")]))

    def test_stays_active(self):
        """Test that the cron itself, run by core with a drain that fails, stays active, and its work waits."""
        cron = self.env.ref("sendgrid_tracking.ir_cron_drain")
        batch = self.store([account_event(now())])
        with patch.object(SendgridDrain, "_drain", side_effect=ValueError("broken")), mute_logger(LOGGER):
            cron.method_direct_trigger()
        self.assertTrue(cron.active)
        self.env.invalidate_all()
        self.assertEqual(batch.state, "pending")
        cron.method_direct_trigger()
        self.env.invalidate_all()
        self.assertEqual(batch.state, "done")

    def test_wake(self):
        """Test that storing a batch wakes the cron, and that many at once wake it once."""
        cron = self.env.ref("sendgrid_tracking.ir_cron_drain")
        Trigger = self.env["ir.cron.trigger"].sudo()
        self.enterContext(patch.dict(sendgrid_drain._last_wake, clear=True))
        Trigger.search([("cron_id", "=", cron.id)]).unlink()
        self.store([account_event(now())])
        self.assertEqual(Trigger.search_count([("cron_id", "=", cron.id)]), 1)
        # This happens after the commit.
        sendgrid_drain._last_wake[self.env.cr.dbname] = sendgrid_drain.time.monotonic()
        for _number in range(10):
            self.store([account_event(now())])
        self.assertEqual(Trigger.search_count([("cron_id", "=", cron.id)]), 1)
        sendgrid_drain._last_wake[self.env.cr.dbname] -= 1
        self.store([account_event(now())])
        self.assertEqual(Trigger.search_count([("cron_id", "=", cron.id)]), 2)


@tagged("post_install", "-at_install")
class TestConflicts(CommittedCase):
    """The drain beside other transactions, which write what it writes: PostgreSQL decides who has to try again."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(sendgrid_drain, "LINGER", 0))
        self.contact = self.create_contact("ada@example.org")
        self.email = self.create_email(partner_id=self.contact.id)

    @contextmanager
    def colliding(self, record, column, value, times):
        """Have each of the drain's first tries collide with a write of somebody else's."""
        drain = SendgridDrain._drain
        with self.rival(record, column, value, times) as rival:
            self.enterContext(patch.object(SendgridDrain, "_drain", rival.before(drain)))
            yield rival

    def test_serialization_failures(self):
        """Test that the drain goes on behind conflicts about a document, and that no write of either is lost."""
        batch = self.store([self.relay(self.email).event("delivered", timestamp=self.after(self.email, 60))])
        with self.colliding(self.email, "subject", "Changed meanwhile", times=3) as rival:
            self.run_cron("ir_cron_drain")
        self.assertEqual(len(rival.seen), 3)
        self.assertBatch(batch, state="done", error=False, event_count=1, duplicate_count=0)
        self.assertEqual((self.email.status, self.email.subject), ("delivered", "Changed meanwhile"))
        self.assertEvents(self.email, ["delivered"])
        day = self.env["sendgrid.account.day"].search([("account_id", "=", self.account.id)])
        self.assertEqual(day.event_count, 1)

    def test_conflicts_about_a_contact(self):
        """Test that the drain goes on behind conflicts about a contact whom it flags."""
        batch = self.store([self.relay(self.email).event("bounce", timestamp=self.after(self.email, 60))])
        with self.colliding(self.contact, "function", "Changed meanwhile", times=2) as rival:
            self.run_cron("ir_cron_drain")
        self.assertEqual(len(rival.seen), 2)
        self.assertBatch(batch, state="done", error=False, event_count=1, duplicate_count=0)
        self.assertFalse(self.email.failed_consequences)
        self.assertRecordValues(
            self.contact, [{"email_bounced": True, "message_bounce": 1, "function": "Changed meanwhile"}]
        )

    def test_put_off_behind_a_run(self):
        """Test that the scheduled actions are put off also if one ran until just now: PostgreSQL refuses the first try.

        The run writes the action's row, as core does at its end.
        """
        cron = self.env.ref("sendgrid_tracking.ir_cron_drain")
        before = cron.nextcall
        try:
            with self.rival(cron, "failure_count", 0, times=1) as rival:
                rival.wait()
                self.Drain._put_actions_off()
            self.commit()
            self.assertEqual(len(rival.seen), 1)
            self.assertGreater(cron.nextcall, Datetime.now())
        finally:
            cron.nextcall = before
            self.commit()

    def test_time_is_over(self):
        """Test that a run whose time is over ends with its chunk, and that another run follows."""
        batches = [self.store([account_event(now())]) for _number in range(3)]
        cron = self.env.ref("sendgrid_tracking.ir_cron_drain")
        with (
            patch.object(sendgrid_drain, "CHUNK_BATCHES", 1),
            patch.object(ir_cron, "MIN_TIME_PER_JOB", 0),
        ):
            for number in range(3):
                self.assertEqual([batch.state for batch in batches], ["done"] * number + ["pending"] * (3 - number))
                self.run_cron("ir_cron_drain")
                waits = self.env["ir.cron.trigger"].search_count([("cron_id", "=", cron.id)])
                self.assertEqual(bool(waits), number < 2)
        self.assertEqual({batch.state for batch in batches}, {"done"})

    def test_conflicts_without_end(self):
        """Test that the drain gives up for now after several tries, marks nothing, and goes on at its next run."""
        batch = self.store([self.relay(self.email).event("delivered", timestamp=self.after(self.email, 60))])
        with (
            self.assertLogs(LOGGER, "WARNING"),
            self.colliding(self.email, "subject", "Changed again and again", times=None) as rival,
        ):
            self.run_cron("ir_cron_drain")
        self.assertEqual(len(rival.seen), sendgrid_drain.MAX_TRIES)
        self.assertBatch(batch, state="pending", error=False)
        self.assertEqual((self.email.status, self.email.subject), ("sent", "Changed again and again"))
        self.assertFalse(self.email.event_ids)
        self.run_cron("ir_cron_drain")
        self.assertBatch(batch, state="done", error=False, event_count=1, duplicate_count=0)
        self.assertEqual((self.email.status, self.email.subject), ("delivered", "Changed again and again"))


@tagged("post_install", "-at_install")
class TestNotify(CommittedCase):
    """What open pages hear after the commit, by the listener with which Odoo's server serves them."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(sendgrid_drain, "LINGER", 0))
        self.channel = ("res.groups", self.env.ref("base.group_user").id)

    def _create_rule(self, code):
        """Create an automation rule that runs this code when the status of a document changes."""
        model = self.env["ir.model"]._get("sendgrid.email")
        action = {"name": "Rule", "usage": "base_automation", "state": "code", "code": code, "model_id": model.id}
        rule = self.env["base.automation"].create(
            {
                "name": "Rule",
                "model_id": model.id,
                "trigger": "on_create_or_write",
                "trigger_field_ids": model.field_id.filtered(lambda field: field.name == "status").ids,
                "action_server_ids": [(0, 0, action)],
            }
        )

        def delete():
            rule.action_server_ids.unlink()
            rule.unlink()
            self.commit()

        self.addCleanup(delete)

    def _get_changes(self, told):
        """Return the payloads that tell of changed documents."""
        changes = [payload for channel, kind, payload in told if (channel, kind) == (self.channel, CHANGED)]
        self.assertEqual(len(changes), len([one for one in told if one[1] == CHANGED]), "nobody else hears of it")
        return changes

    def _drain_while_listening(self, events):
        """Store events as one POST and run the drain.

        :return: the batch, and the ids of the documents of which open pages hear
        """
        batch = self.store(events)
        self.commit()
        with self.listening() as told:
            self.run_cron("ir_cron_drain")
        self.assertEqual(batch.state, "done")
        return batch, {id_ for change in self._get_changes(told) for id_ in change["ids"]}

    def test_ids_only(self):
        """Test that open pages hear once per drain which documents changed, and nothing about them."""
        emails = self.create_email("a@example.org") | self.create_email("b@example.org")
        untouched = self.create_email("c@example.org")
        events = [self.relay(email).event("delivered", timestamp=self.after(email, 60)) for email in emails]
        self.store([*events, Relayed(["z@example.org"]).event("open")])
        self.commit()
        with self.listening() as told:
            self.env.cr.rollback()
        self.assertFalse(told, "nothing has happened yet")
        with self.listening() as told:
            self.run_cron("ir_cron_drain")
        [change] = self._get_changes(told)
        self.assertEqual((set(change), sorted(change["ids"])), ({"ids", "about", "is_new"}, emails.ids))
        self.assertEqual((change["about"], change["is_new"]), ({}, False))
        self.assertNotIn("example.org", json.dumps(told))
        self.assertNotIn(untouched.id, change["ids"])

    @mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_after_a_failing_rule(self):
        """Test that the pages of all documents are updated live though a rule has failed on one of them.

        The rule tells a page something before it fails, and that is taken back.
        """
        contact = self.create_contact("bad@example.org")
        emails = self.create_email("bad@example.org", partner_id=contact.id) | self.create_email("good@example.org")
        self._create_rule(
            """
            if record.recipient == 'bad@example.org':
                record.partner_id.activity_schedule('mail.mail_activity_data_todo', user_id=env.uid)
                raise UserError('not this one')
            """
        )
        events = [self.relay(email).event("delivered", timestamp=self.after(email, 60)) for email in emails]
        batch, changed = self._drain_while_listening(events)
        self.assertIn("not this one", batch.failed_rules)
        self.assertFalse(contact.activity_ids)
        self.assertEqual(emails.mapped("status"), ["delivered", "delivered"])
        self.assertEqual(changed, set(emails.ids))

    def test_after_a_failing_consequence(self):
        """Test that the pages of all documents are updated live though a consequence has failed for one of them."""
        emails = self.create_email("bad@example.org") | self.create_email("good@example.org")
        MailThread = self.env.registry["mail.thread"]
        handle = MailThread._routing_handle_bounce

        def fail(thread, message, message_dict):
            if "bad@example.org" in str(message_dict):
                thread.env.user._bus_send("sendgrid.test/undone", {})
                raise ValueError("another module fails")
            return handle(thread, message, message_dict)

        events = [self.relay(email).event("bounce", timestamp=self.after(email, 60)) for email in emails]
        with (
            patch.object(MailThread, "_routing_handle_bounce", fail),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_consequence"),
        ):
            _batch, changed = self._drain_while_listening(events)
        self.assertEqual([email.consequence_error for email in emails], ["count: another module fails", False])
        self.assertEqual(changed, set(emails.ids))
