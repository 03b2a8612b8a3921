import base64
import json
from collections import defaultdict
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from unittest.mock import patch

from odoo import SUPERUSER_ID, api
from odoo.fields import Datetime
from odoo.service.model import retrying
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from ..models import sendgrid_drain, sendgrid_reduction, sendgrid_reduction_bodies
from ..models.sendgrid_drain import SendgridDrain
from ..models.sendgrid_ingest import SendgridIngest
from ..tools.events.event import DELIVERY_EVENTS, INTERACTIONS
from .committed import CommittedCase
from .common import SendgridCase, Undo
from .properties import given, in_database, st
from .simulator import Relayed, async_bounce, to_wire
from .test_answers import AnswerCase
from .test_order import KEYS, SAID

PERSON = "a@example.org"
# What a mail's neighbours can tell of an unsubscription depends on what was known of them when it came.
STABLE = [name for name in KEYS if name != "is_unsubscribed_by_machine"]
# What a document tells of opens and clicks.
TELLING = (
    *(f"{who}{what}_count" for who in ("", "unknown_", "machine_") for what in ("open", "click")),
    *("first_open_date", "last_open_date", "person_open_date", "person_click_date"),
)


class ReductionCase(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Reduction = cls.env["sendgrid.reduction"]

    def decline(self, address=PERSON):
        """Let somebody decline, by the method that forms and the page call; return what has to be taken back."""
        return self._get_new(
            lambda: self.env["sendgrid.address"].set_email_tracking([address], "declined", "form", "The website")
        )

    def forget(self, address=PERSON):
        """Press the button of the dialog that has the tracking of an address forgotten."""
        known = self.env["sendgrid.address"]._hold([address])
        Forget = self.env["sendgrid.forget"].with_context(active_model=known._name, active_ids=known.ids)
        return self._get_new(Form(Forget).save().action_forget)

    def _get_new(self, act):
        known = self.Reduction.search([])
        act()
        return self.Reduction.search([]) - known

    def finish(self):
        """Do the rest of the work as the drain and the scheduled action do, in turn."""
        for _turn in range(3):
            self.drain()
            while self.Drain._reduce_what_slipped_in():
                self.env.flush_all()
            for _count in self.Reduction._reduce_all():
                self.env.invalidate_all()
        self.assertFalse(self.Reduction.search([("state", "!=", "done")]))
        self.env.invalidate_all()

    def read_bodies(self):
        """Return the elements of all stored bodies."""
        return [
            element
            for batch in self.Batch.search([("account_id", "=", self.account.id)])
            for element in json.loads(base64.b64decode(batch.body))
        ]

    def assertNothingTold(self, address=PERSON):
        """Assert that nothing tells of opens and clicks, or of the device, of whom is not measured."""
        emails = self.Email.search([("recipient", "=", address)])
        events = emails.event_ids | self.Event.search([("recipient", "=", address)])
        self.assertEqual(set(emails.filtered(lambda email: email.odoo_id != "late").mapped("measured")), {"none"})
        self.assertFalse(events.filtered(lambda event: event.event in INTERACTIONS))
        for event in events.filtered(lambda event: event.event not in DELIVERY_EVENTS):
            self.assertFalse(event.ip or event.user_agent or "?" in (event.url or ""))
        for email in emails:
            self.assertFalse([name for name in TELLING if email[name]])
            self.assertFalse({"opened", "clicked"} & set(email.facts or {}))
        told = self.env["sendgrid.interaction"].search([("email_id", "in", emails.ids)])
        self.assertLessEqual(set(told.mapped("kind")), {"replied", "failed", "spam"}, "the author's feed")
        known = self.env["sendgrid.address"].search([("email", "=", address)])
        self.assertFalse(known.last_open_date or known.last_click_date)
        for element in self.read_bodies():
            if element.get("email") == address and element["event"] not in DELIVERY_EVENTS:
                self.assertNotIn(element["event"], INTERACTIONS)
                self.assertNotIn("ip", element)
                self.assertNotIn("useragent", element)


@tagged("post_install", "-at_install")
class TestAnyMoment(ReductionCase, AnswerCase):
    """Whenever somebody declines, what is left is what would be there if his opens and clicks had never come."""

    maxDiff = None

    def _prepare(self):
        self.env.company.sendgrid_networks = "192.0.2.0/24"
        emails = self.Email
        contacts = self.env["res.partner"]
        for name, count in (("a", 2), ("b", 1)):
            contact = contacts.create({"name": name, "email": f"{name}@example.org"})
            contacts += contact
            for _number in range(count):
                message = contact.message_post(
                    body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment", partner_ids=contact.ids
                )
                message.notification_ids.notification_status = "sent"
                emails += self.create_email(
                    contact.email, ago=timedelta(hours=2), partner_id=contact.id, mail_message_id=message.id
                )
        shared = {"odoo_id": "shared", "is_alone": False, "ago": timedelta(hours=2)}
        emails += self.create_email("a@example.org", **shared)
        emails += self.create_email("b@example.org", **shared)
        return contacts, emails

    def _draw(self, data, emails):
        """Return events of the documents, of one that is stored later, and of mails that Odoo does not know."""
        seconds = st.sampled_from([1, 2, 60, 3600, 7000])
        relays = [(self.relay(email), email.recipient) for email in emails]
        late = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "late"}
        relays += [(Relayed([PERSON], late), PERSON), (Relayed([PERSON]), PERSON), (Relayed(["b@example.org"]), None)]
        sent = self.after(emails[0], 0)
        events = []
        for relay, recipient in relays:
            said = {}
            for kind, fields in data.draw(st.lists(st.sampled_from(SAID), max_size=4)):
                event = relay.event(kind, recipient, timestamp=sent + data.draw(seconds), **fields)
                said[event["event"], event["timestamp"], event.get("asm_group_id")] = event
            events += said.values()
        if data.draw(st.integers(0, 4)) == 0:
            events.append(async_bounce(PERSON, sent + data.draw(seconds)))
        return events

    def _draw_answers(self, data, emails):
        """Return answers of the recipients that come in by Odoo's gateway."""
        answers = []
        for email in data.draw(st.lists(st.sampled_from(list(emails)), max_size=2)):
            moment = self.after(email, data.draw(st.sampled_from([1800, 5000])))
            headers = {"Date": format_datetime(datetime.fromtimestamp(moment, timezone.utc))}
            answers.append(self.write_mail(email, email.recipient, headers))
        return answers

    def _look(self, contacts):
        """Return all that is not covered, or is computed from what is left."""
        addresses = contacts.mapped("email_normalized")
        emails = self.Email.search([("recipient", "in", addresses)], order="odoo_id, recipient")
        events = self.Event.search([("account_id", "=", self.account.id)])
        known = self.env["sendgrid.address"].search([("email", "in", addresses)])
        entries = self.env["sendgrid.suppression"].search([("email", "in", addresses)])
        listed = self.env["mail.blacklist"].search([("email", "in", addresses)])
        return {
            "documents": [
                (email.odoo_id, email.recipient, *(email[name] or None for name in STABLE))
                + ((email.is_unsubscribed_by_machine,) if email.recipient != PERSON else ())
                for email in emails
            ],
            "events": sorted(
                (event.fingerprint, event.email_id.odoo_id or "", event.match, event.refusal_cause or "")
                + ((event.verdict or "", event.ip or "", event.url or "") if event.recipient != PERSON else ())
                for event in events
            ),
            "contacts": contacts.read(["email_bounced", "email_bounce_reason", "email_bounce_date", "message_bounce"]),
            "notifications": emails.mail_message_id.notification_ids.sorted("id").read(
                ["notification_status", "failure_type", "failure_reason"]
            ),
            "blacklist": sorted(listed.mapped("email")),
            "addresses": sorted(
                (a.email, a.is_bounced, a.bounce_date or "", a.bounce_reason or "", a.wish_date or "", a.groups or {})
                for a in known
                if a.bounce_date or a.wish_date or a.groups or a.reminder_date
            ),
            "lists": sorted((entry.email, entry.list, entry.state, str(entry.created)) for entry in entries),
            "failed": emails.mapped("failed_consequences"),
            "feed": sorted(
                (row.email_id.odoo_id, row.recipient, row.kind, row.date)
                for row in self.env["sendgrid.interaction"].search([("email_id", "in", emails.ids)])
                if row.recipient != PERSON or row.kind not in ("opened", "clicked")
            ),
        }

    def _measure_by_core(self):
        """Let core itself note that somebody opened and clicked, where it does."""

    def _get_figures(self):
        """Return the daily figures of the account, without the moments and what is counted of opens and clicks."""
        self.env.flush_all()
        days = self.env["sendgrid.account.day"].search([("account_id", "=", self.account.id)])
        # Answers are none of SendGrid's events.
        batches = self.Batch.search([("account_id", "=", self.account.id), ("source", "!=", "gateway")])
        return [(sum(some.mapped("event_count")), sum(some.mapped("rejected_count"))) for some in (days, batches)]

    def _tell(self, told, split, moments):
        """Receive events in several POSTs; at some moments something else happens.

        :param moments: list of (number of POSTs before it, function)
        """
        rest, acts = list(told), defaultdict(list)
        for number, act in moments:
            acts[number].append(act)
        for number, (size, drained) in enumerate(split):
            for act in acts[number]:
                act()
            part, rest = rest[:size], rest[size:]
            self.store(part)
            if drained:
                self.drain()
        self.receive(*rest)

    @in_database
    @given(st.data())
    def test_any_moment(self, data):
        """Test that it makes no difference when somebody declines, or has his tracking forgotten: before, between or
        after his events, in any order, repetition and split, and also if the batches are processed once more.
        """
        with suppress(Undo), self.env.cr.savepoint():
            self._try(data)
            raise Undo
        self.env.invalidate_all()

    def _try(self, data):
        self.account.group_unsubscribe_action = data.draw(st.sampled_from(["blacklist", "nothing"]))
        contacts, emails = self._prepare()
        events = self._draw(data, emails)
        repeated = data.draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
        told = data.draw(st.permutations(events + repeated))
        split = data.draw(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=8))
        moment = st.integers(0, len(split) - 1)
        stored, decided = data.draw(moment), data.draw(moment)
        at_the_end = data.draw(st.booleans())
        end = data.draw(st.sampled_from([self.decline, self.forget]))

        def create_late():
            # A bounce without ids belongs to the latest mail, which this shall not be.
            self.create_email(PERSON, ago=timedelta(hours=3), odoo_id="late")

        moments = [(stored, create_late)] + [
            (data.draw(moment), partial(self.come_in, mail, drained=False)) for mail in self._draw_answers(data, emails)
        ]

        def reference():
            without = [e for e in told if not (e["email"] == PERSON and e["event"] in INTERACTIONS)]
            self._tell(without, split, moments)

        def declining():
            self._tell(told, split, moments if at_the_end else [*moments, (decided, end)])
            if at_the_end:
                self._measure_by_core()
                end()
            self.finish()
            self.assertNothingTold()
            self._measure_by_core()
            self.assertNothingTold()
            # A day has only sums, and these are of all that was told.
            self.assertEqual(*self._get_figures())
            # Nothing comes back.
            self.receive(*reversed(told))
            self.Batch.search([("account_id", "=", self.account.id)]).action_process_again()
            self.finish()
            self.assertNothingTold()

        state = self.compare_ways(lambda: self._look(contacts), reference, declining)
        self.assertFalse(any(state["failed"]))


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestAnyMomentOfMailings(TestAnyMoment):
    """The same for the statistics of a mass mailing, where `mass_mailing` is installed. Core measures as well."""

    __test__ = False  # pytest's database does not have it; see `end_to_end/test_visibility.py`
    allow_inherited_tests_method = True

    def _prepare(self):
        contacts, emails = super()._prepare()
        mailing = self.env["mailing.mailing"].create(
            {
                "subject": "Autumn cheese",
                "mailing_type": "mail",
                "mailing_model_id": self.env["ir.model"]._get_id("res.partner"),
            }
        )
        self.link = self.env["link.tracker"].create({"url": "https://shop.example.com", "mass_mailing_id": mailing.id})
        # The same people stand in a mailing list, as they wrote themselves there: these e-mails have no contact.
        self.entries = self.env["mailing.contact"].create(
            [{"name": "A", "email": "A@Example.ORG "}, {"name": "B", "email": "B <b@example.org>"}]
        )
        sent = [(email, partner) for email in emails for partner in contacts if partner.email == email.recipient]
        for entry in self.entries:
            # Core's mailing to a list has a trace for each entry, with its address in its normal form.
            values = {"ago": timedelta(hours=2), "model": entry._name, "res_id": entry.id}
            sent.append((self.create_email(entry.email_normalized, **values), entry))
        emails = self.Email.union(*(email for email, _recipient in sent))
        emails.mailing_res_id = mailing.id
        self.traces = self.env["mailing.trace"].create(
            [
                {
                    "mass_mailing_id": mailing.id,
                    "model": recipient._name,
                    "res_id": recipient.id,
                    "email": email.recipient,
                    "message_id": email.message_id,
                    "trace_status": "sent",
                }
                for email, recipient in sent
            ]
            + [
                # Another mailing went through another mail server, and has no documents.
                {
                    "mass_mailing_id": mailing.copy().id,
                    "model": entry._name,
                    "res_id": entry.id,
                    "email": entry.email_normalized,
                    "message_id": f"<{entry.id}@elsewhere.example.com>",
                    "trace_status": "sent",
                }
                for entry in self.entries
            ]
        )
        return contacts, emails

    def _draw(self, data, emails):
        return [
            {**event, "url": self.link.short_url} if event["event"] == "click" else event
            for event in super()._draw(data, emails)
        ]

    def _measure_by_core(self):
        traces = self.traces.filtered(lambda trace: trace.email == PERSON)
        traces.set_opened()
        for trace in traces:
            self.env["link.tracker.click"].add_click(
                self.link.code, ip="203.0.113.7", country_code="BE", mailing_trace_id=trace.id
            )

    def _look(self, contacts):
        return {
            **super()._look(contacts),
            "traces": [
                (
                    trace.email,
                    trace.trace_status,
                    trace.failure_type,
                    trace.failure_reason,
                    # Core takes who answers for one who opened. Of whom is not measured it notes the answer only.
                    bool(trace.open_datetime) and trace.email != PERSON,
                    bool(trace.links_click_datetime),
                    len(trace.links_click_ids),
                )
                for trace in self.traces
            ],
            "clicks": self.link.count,
            "entries": self.entries.read(["email_bounced", "email_bounce_reason", "message_bounce"]),
        }

    def assertNothingTold(self, address=PERSON):  # pylint: disable=missing-return
        super().assertNothingTold(address)
        for trace in self.traces.filtered(lambda trace: trace.email == address):
            self.assertFalse(trace.open_datetime or trace.links_click_datetime or trace.links_click_ids)
            self.assertNotEqual(trace.trace_status, "open")


@tagged("post_install", "-at_install")
class TestReduction(ReductionCase):
    """What is reduced, and what is left, case by case."""

    def _tell(self, email, *said):
        """Receive events of a document: (seconds after it was sent, kind, fields)."""
        relay = self.relay(email)
        events = [
            relay.event(kind, email.recipient, timestamp=self.after(email, seconds), **(fields[0] if fields else {}))
            for seconds, kind, *fields in said
        ]
        return events, self.receive(*events)

    def test_counts_and_pages(self):
        """Test that what is left out is counted apart, and that no rule runs and no page hears of it."""
        email = self.create_email(PERSON, ago=timedelta(hours=2))
        self._tell(email, (2, "delivered"))
        self.decline()
        self.finish()
        rule = self.env["base.automation"].create(
            {
                "name": "On events",
                "model_id": self.env["ir.model"]._get_id("sendgrid.event"),
                "trigger": "on_create",
                "action_server_ids": [
                    (
                        0,
                        0,
                        {
                            "name": "x",
                            "model_id": self.env["ir.model"]._get_id("sendgrid.event"),
                            "state": "code",
                            "code": "env['ir.config_parameter'].sudo().set_param('test.rule_ran', 'yes')",
                        },
                    )
                ],
            }
        )
        with patch.object(type(email), "_send_to_pages") as told:
            _events, batch = self._tell(email, (3600, "open"), (3700, "click"))
        self.assertBatch(batch, event_count=2, duplicate_count=0, unmatched_count=0, reduced_count=2, state="done")
        self.assertFalse(told.called)
        self.assertFalse(batch.event_ids)
        self.assertFalse(self.env["ir.config_parameter"].sudo().get_param("test.rule_ran"))
        self._tell(email, (3800, "spamreport"))
        self.assertTrue(self.env["ir.config_parameter"].sudo().get_param("test.rule_ran"), "the rule works")
        self.assertEqual(email.status, "spam")
        rule.unlink()

    def test_pages_hear(self):
        """Test that open pages hear that a document was reduced."""
        email = self.create_email(PERSON, ago=timedelta(hours=2))
        self._tell(email, (2, "delivered"), (3600, "open"))
        with patch.object(type(email), "_send_to_pages") as told:
            self.decline()
        self.assertIn(email.ids, [call.args[0] for call in told.call_args_list])
        self.assertEqual((email.status, email.unmeasured_reason), ("delivered", "wish"))

    def test_verdicts_of_others_stay(self):
        """Test that a stored unsubscription keeps its verdict when the clicks are deleted by which it was judged."""
        email = self.create_email(PERSON, ago=timedelta(hours=2))
        clicks = [(3, "click", {"url": f"https://{name}.example.com"}) for name in "abc"]
        self._tell(email, (2, "delivered"), *clicks, (4, "unsubscribe"))
        wish = email.event_ids.filtered(lambda event: event.event == "unsubscribe")
        self.assertEqual(wish.verdict, "machine")
        self.decline()
        self._tell(email, (5, "delivered"))
        self.assertRecordValues(wish, [{"verdict": "machine", "ip": False, "user_agent": False, "is_final": True}])
        self.assertTrue(email.is_unsubscribed_by_machine)

    def test_arrival_stays_proved(self):
        """Test that a deferred e-mail of which only an open proved the arrival is not given up, whenever it came."""
        for declines_first in (True, False):
            with self.subTest(declines_first=declines_first):
                address = f"{declines_first}@example.org"
                email = self.create_email(address, ago=timedelta(days=5))
                self._tell(email, (2, "deferred"))
                if declines_first:
                    self.decline(address)
                self._tell(email, (3600, "open"))
                if not declines_first:
                    self.decline(address)
                self.finish()
                self.Email._expire()
                self.assertEqual(email.status, "deferred")
                other = self.create_email(f"not-{address}", ago=timedelta(days=5))
                self._tell(other, (2, "deferred"))
                self.decline(f"not-{address}")
                self.Email._expire()
                self.assertEqual(other.status, "blocked", "of this one nothing proves that it arrived")
                self._tell(other, (3600, "open"))
                self.assertEqual(other.status, "deferred", "it did arrive")

    def test_documents(self):
        """Test that documents can be reduced by themselves, without a word of the address."""
        email, other = (self.create_email(PERSON, ago=timedelta(hours=2)) for _ in range(2))
        for one in (email, other):
            self._tell(one, (2, "delivered"), (3600, "open"))
        self.Reduction._begin("forgotten", email_ids=email.ids)
        self.finish()
        self._tell(email, (3700, "click"))
        self._tell(other, (3700, "click"))
        self.assertEqual([one.measured for one in (email, other)], ["none", False])
        self.assertEqual([one.status for one in (email, other)], ["delivered", "clicked"])
        ours = {email.odoo_id: set(), other.odoo_id: set()}
        for element in self.read_bodies():
            ours[element["odoo_id"]].add(element["event"])
        self.assertEqual(ours, {email.odoo_id: {"delivered"}, other.odoo_id: {"delivered", "open", "click"}})

    def test_agreed_after_all(self):
        """Test that what happened until somebody agreed stays away, and what happens later counts."""
        old = self.create_email(PERSON, ago=timedelta(hours=2))
        self.decline()
        self.finish()
        address = self.env["sendgrid.address"]._hold([PERSON])
        address.write({"email_tracking": "agreed", "unmeasured_until": Datetime.now() - timedelta(hours=1)})
        email = self.create_email(PERSON, ago=timedelta(hours=2), measured="full")
        self._tell(old, (2, "delivered"), (7100, "open"))
        self._tell(email, (2, "delivered"), (1800, "open"), (7100, "click"))
        self.assertEqual([old.status, email.status, email.open_count], ["delivered", "clicked", 0])

    def test_early_and_by_hand(self):
        """Test that events that find an unmeasured document later are reduced then: early ones, and by hand."""
        later = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "later"}
        relay = Relayed([PERSON], later)
        sent = self.after(self.create_email("x@example.org", ago=timedelta(hours=2)), 0)
        self.receive(
            relay.event("open", timestamp=sent + 60),
            relay.event("unsubscribe", timestamp=sent + 600),
            Relayed([PERSON]).event("click", timestamp=sent + 60),
        )
        email = self.create_email(PERSON, ago=timedelta(hours=2), odoo_id="later", measured="none")
        self.drain()
        self.assertEqual(email.event_ids.mapped("event"), ["unsubscribe"])
        self.assertRecordValues(email.event_ids, [{"ip": False, "is_final": True, "verdict": "human"}])
        self.Event.search([("event", "=", "click"), ("recipient", "=", PERSON)])._attach_by_hand(email)
        self.assertNothingTold()

    def test_bodies(self):
        """Test what becomes of bodies: escapes and spellings, elements that are no events, texts that are no list."""
        email = self.create_email(PERSON, ago=timedelta(hours=2))
        opened = self.relay(email).event("open", timestamp=self.after(email, 60), email="A@Example.ORG")
        other = Relayed(["b@example.org"]).event("open", timestamp=self.after(email, 60))
        escaped = json.dumps(opened).replace("@", "\\u0040").encode()
        broken = b'[{"email":"a\\u0040EXAMPLE.org","event":"open"},{"email":"b@example.org" oops'
        rejected = {**opened, "timestamp": "never"}
        bodies = [b"[" + escaped + b"]", to_wire([rejected, other]), broken, b"[\xff]", to_wire([opened, other])]
        before = [self.store(body) for body in bodies[:4]]
        self.drain()
        self.decline()
        self.finish()
        after = before + [self.store(body) for body in bodies[1:3]]
        self.drain()
        read = [base64.b64decode(batch.body) for batch in after]
        self.assertEqual(json.loads(read[0]), [])
        self.assertEqual(json.loads(read[1]), [other])
        self.assertNotIn(b"EXAMPLE", read[2])
        self.assertIn(b'"email":"b@example.org" oops', read[2])
        self.assertEqual(read[3], b"[\xff]")
        self.assertEqual(json.loads(read[4]), [other], "on arrival as well")
        self.assertNotIn(b"EXAMPLE", read[5])

    def test_body_of_what_fails(self):
        """Test that nothing stays in the body of a batch that fails either, even if that fails as well at first."""
        email = self.create_email(PERSON, ago=timedelta(hours=2))
        self.decline()
        self.finish()
        self.env.company.sendgrid_keeps_details = False
        relay = self.relay(email)
        told = [relay.event("open", timestamp=self.after(email, 60)), relay.event("spamreport", ip="203.0.113.7")]
        batch = self.store(told)
        with (
            patch.object(SendgridIngest, "_ingest", side_effect=ValueError("broken")),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_drain"),
        ):
            self.drain()
        self.assertBatch(batch, state="failed", error="broken")
        [element] = json.loads(base64.b64decode(batch.body))
        self.assertEqual((element["event"], element.get("ip")), ("spamreport", None))
        batch.action_process_again()
        self.drain()
        self.assertBatch(batch, state="done")
        self.assertEqual(email.event_ids.mapped("event"), ["spamreport"])
        other = self.store(told)
        with (
            patch.object(SendgridIngest, "_ingest", side_effect=ValueError("broken")),
            patch.object(type(self.Batch), "_rewrite", side_effect=ValueError("broken too")),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_drain"),
        ):
            self.drain()
        self.assertBatch(other, state="failed", error="broken")

    def test_no_details(self):
        """Test a company that keeps no details: verdicts are those of events that have them, and final."""
        self.env.company.sendgrid_keeps_details = False
        email = self.create_email(ago=timedelta(hours=2))
        link = {"url": "https://shop.example.com/?token=secret"}
        events, batch = self._tell(email, (2, "delivered"), (3, "machine_open"), (3600, "open"), (3700, "click", link))
        self.assertEqual((email.status, email.open_count, email.machine_open_count), ("clicked", 1, 1))
        for event in email.event_ids:
            self.assertFalse(event.ip or event.user_agent)
            self.assertTrue(event.is_final)
        self.assertEqual(email.event_ids.filtered("url").url, "https://shop.example.com/")
        body = base64.b64decode(batch.body)
        for secret in (b"203.0.113", b"Mozilla", b"secret", b"198.51.100"):
            self.assertNotIn(secret, body)
        known = self.receive(*events)
        self.assertBatch(known, event_count=4, duplicate_count=4)
        batch.action_process_again()
        self.drain()
        self.assertBatch(batch, event_count=4, duplicate_count=4, rejected_count=0)
        self.assertEqual(len(email.event_ids), 4)
        self.assertNotIn(b"Mozilla", base64.b64decode(known.body))

    def test_no_details_before_the_document(self):
        """Test that without details the verdicts are the same, whenever an event finds its document."""
        self.env.company.sendgrid_keeps_details = False
        sent = self.after(self.create_email("x@example.org", ago=timedelta(hours=2)), 0)
        program = {"useragent": "python-requests/2.32.3"}

        def tell(name, count_first):
            args = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": name}
            relay, unknown = Relayed([PERSON], args), Relayed([PERSON])
            unknown.key = relay.key
            links = [{"url": f"https://{part}.example.com/?token=secret"} for part in "abc"]
            told = [
                [relay.event("delivered", timestamp=sent + 2)],
                [relay.event("click", timestamp=sent + 20, **link) for link in links],
                [unknown.event("open", timestamp=sent + 3600, **program)],
                [relay.event("open", timestamp=sent + 3600)],
                [relay.event("unsubscribe", timestamp=sent + 21)],
            ]
            for part in told[:count_first]:
                self.receive(*part)
            events = self.Event.search([("sg_message_id", "=", relay.key)])
            self.assertFalse(events.filtered(lambda event: event.event not in DELIVERY_EVENTS and event.ip))
            self.assertFalse(events.filtered("user_agent"))
            email = self.create_email(PERSON, ago=timedelta(hours=2), odoo_id=name)
            self.drain()
            for part in told[count_first:]:
                self.receive(*part)
            verdicts = [
                (event.event, event.timestamp, event.url, event.verdict, event.machine_reason, event.is_final)
                for event in email.event_ids.sorted(lambda event: (event.timestamp, event.event, event.url or ""))
            ]
            return verdicts, (email.click_count, email.machine_click_count, email.open_count, email.machine_open_count)

        at_once = tell("at once", 0)
        self.assertEqual(at_once[1], (0, 3, 1, 1))
        self.assertIn(("unsubscribe", "machine"), [(said[0], said[3]) for said in at_once[0]])
        for count in range(1, 6):
            with self.subTest(count=count):
                self.assertEqual(tell(f"after {count}", count), at_once)

    def test_verdicts_before_the_document(self):
        """Test that an event keeps its verdict if its details are removed before it finds a document: because its owner
        declined, before it came or after, or because the company keeps no details any more.
        """
        sent = self.after(self.create_email("x@example.org", ago=timedelta(hours=2)), 0)

        def forget_details():
            self.env.company.sendgrid_keeps_details = False
            for _count in self.env["sendgrid.retention"]._forget_details(self.account):
                pass

        for number, (first, then) in enumerate(
            ((self.decline, None), (None, self.decline), (None, self.forget), (None, forget_details))
        ):
            with self.subTest(number=number):
                self.env["sendgrid.address"].search([]).unlink()
                name = f"number {number}"
                relay = Relayed([PERSON], {"odoo_db": self.Email._get_odoo_db(), "odoo_id": name})
                if first:
                    first()
                self.receive(relay.event("unsubscribe", timestamp=sent + 60, useragent="python-requests/2.32.3"))
                if then:
                    then()
                    self.env.invalidate_all()
                    self.finish()
                email = self.create_email(PERSON, ago=timedelta(hours=2), odoo_id=name)
                self.drain()
                self.assertRecordValues(email.event_ids, [{"verdict": "machine", "user_agent": False}])
                self.assertTrue(email.is_unsubscribed_by_machine)

    def test_large(self):
        """Test that a large request goes on where it stopped, and looks at nothing twice."""
        emails = self.Email.union(*(self.create_email(PERSON, ago=timedelta(hours=2)) for _ in range(9)))
        for email in emails:
            self._tell(email, (2, "delivered"), (60, "open"))
        with (
            patch.multiple(sendgrid_reduction, AT_ONCE=2, CHUNK_EMAILS=3, CHUNK_EVENTS=4),
            patch.multiple(sendgrid_reduction_bodies, CHUNK_BATCHES=2),
        ):
            reduction = self.decline()
            self.assertEqual(emails.mapped("open_count").count(0), 2)
            self.assertRecordValues(reduction, [{"state": "documents", "email_count": 2}])
            self.finish()
        self.assertNothingTold()
        self.assertRecordValues(reduction, [{"state": "done", "email_count": 9, "addresses": False}])

    def test_people_keep_declining(self):
        """Test that a request ends although others follow it all the time, and that these share their work."""
        email = self.create_email("x@example.org", ago=timedelta(hours=2))
        for number in range(12):
            self._tell(email, (60 + number, "open"))
        with (
            patch.multiple(sendgrid_reduction, CHUNK_EVENTS=3),
            patch.multiple(sendgrid_reduction_bodies, CHUNK_BATCHES=3),
        ):
            first = self.decline()
            following = self.Reduction
            self.drain()
            self.assertEqual(first.state, "events")
            work, count = iter(self.Reduction._reduce_all()), 0
            while first.state != "done":
                next(work)
                count += 1
                following |= self.decline(f"{count}@example.org")
                self.drain()
                self.assertLess(count, 100, "it ends")
                self.env.invalidate_all()
            pieces = sum(1 for _count in work)
        self.assertEqual(set(following.mapped("state")), {"done"})
        self.assertLess(pieces, 5 * count, "it is not done once for each")

    def test_queries(self):
        """Test that the queries do not depend on how many people declined, nor on their events."""
        # Else it would depend on the time how often the drain is woken.
        self.enterContext(patch.object(sendgrid_drain, "WAKE_INTERVAL", 0))
        counts = []
        for number in (2, 2, 60):
            addresses = [f"{number}-{one}-{len(counts)}@example.org" for one in range(number)]
            emails = [self.create_email(address, ago=timedelta(hours=2)) for address in addresses]
            events = [
                self.relay(email).event(kind, timestamp=self.after(email, 3600))
                for email in emails
                for kind in ("delivered", "open", "click")
            ]
            self.env["sendgrid.address"]._hold(addresses).write({"email_tracking": "declined"})
            self.store(events)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.drain()
            on_arrival = self.env.cr.sql_log_count - before
            before = self.env.cr.sql_log_count
            self.Reduction._begin("wish", addresses=addresses)
            self.finish()
            counts.append((on_arrival, self.env.cr.sql_log_count - before))
        self.assertLessEqual(counts[2], counts[1], counts)


@tagged("post_install", "-at_install")
class TestConflict(CommittedCase):
    """Declining beside a drain that is folding the same person, in transactions of their own."""

    def setUp(self):
        super().setUp()
        self.addCleanup(self._delete_requests)
        self.email = self.create_email(PERSON, ago=timedelta(hours=2))
        relay = self.relay(self.email)
        told = ((2, "delivered"), (3600, "open"), (3700, "click"))
        self.store([relay.event(kind, timestamp=self.after(self.email, seconds)) for seconds, kind in told])
        self.commit()

    def _delete_requests(self):
        self.env.cr.rollback()
        self.env["sendgrid.reduction"].search([]).unlink()
        self.commit()

    def _decline(self, env):
        env["sendgrid.address"]._hold([PERSON]).email_tracking = "declined"
        env["sendgrid.reduction"]._begin("wish", addresses=[PERSON])
        env.flush_all()

    def _check(self):
        self.run_cron("ir_cron_reduce")
        self.run_cron("ir_cron_drain")
        self.run_cron("ir_cron_reduce")
        self.assertEqual(set(self.env["sendgrid.reduction"].search([]).mapped("state")), {"done"})
        self.assertEqual((self.email.status, self.email.measured), ("delivered", "none"))
        self.assertEqual(self.email.event_ids.mapped("event"), ["delivered"])
        [batch] = self._own("sendgrid.event.batch")
        self.assertEqual([one["event"] for one in json.loads(base64.b64decode(batch.body))], ["delivered"])

    def _drain_while_declining(self):
        """Run the drain; once it has begun, somebody declines, and that is committed.

        :return: how often the drain began
        """
        process, begun = SendgridDrain._process, []

        def decline_first(drain, batches):
            begun.append(batches)
            if len(begun) == 1:
                with self.registry.cursor() as cr:
                    self._decline(api.Environment(cr, SUPERUSER_ID, {}))
            return process(drain, batches)

        with patch.object(SendgridDrain, "_process", decline_first), mute_logger("odoo.sql_db"):
            self.run_cron("ir_cron_drain")
        return len(begun)

    def test_lock(self):
        """Test that the lock on an address that is known makes the drain begin anew: it stores nothing wrong."""
        self.env["sendgrid.address"]._hold([PERSON])
        self.commit()
        with patch.multiple(sendgrid_reduction, AT_ONCE=0):
            self.assertEqual(self._drain_while_declining(), 2)
        self.assertEqual(self.email.event_ids.mapped("event"), ["delivered"])
        self._check()

    def test_lane(self):
        """Test that where nothing shows the conflict, what the drain stores meanwhile is reduced afterwards."""
        ingest, seen = SendgridIngest._ingest, []

        def note(model, received):
            result = ingest(model, received)
            seen.append(model.env["sendgrid.event"].search_count([("recipient", "=", PERSON), ("event", "=", "open")]))
            return result

        with patch.multiple(sendgrid_reduction, AT_ONCE=0), patch.object(SendgridIngest, "_ingest", note):
            self.assertEqual(self._drain_while_declining(), 1)
        self.assertEqual(seen, [1], "the chunk did not know")
        self._check()

    def test_drain_first(self):
        """Test that who declines on a state from before a chunk begins anew, and misses nothing of it."""
        with self.registry.cursor() as cr:
            env = api.Environment(cr, SUPERUSER_ID, {})
            cr.execute("SELECT 1 FROM sendgrid_email")  # from now on it sees this state
            self.run_cron("ir_cron_drain")
            self.assertEqual(self.email.status, "clicked")
            with mute_logger("odoo.sql_db", "odoo.service.model"):
                retrying(lambda: self._decline(env), env)
        self.commit()
        self.assertEqual(self.email.status, "delivered")
        self._check()
