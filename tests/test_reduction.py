import base64
import json
from contextlib import suppress
from datetime import timedelta

from odoo.fields import Datetime
from odoo.tests import tagged

from ..tools.events.event import DELIVERY_EVENTS, INTERACTIONS
from .common import SendgridCase, Undo
from .properties import given, in_database, st
from .simulator import Relayed, async_bounce
from .test_order import KEYS, SAID

PERSON = "a@example.org"
# What a mail's neighbours can tell of an unsubscription depends on what was known of them when it came.
STABLE = [name for name in KEYS if name != "is_unsubscribed_by_machine"]


class ReductionCase(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Reduction = cls.env["sendgrid.reduction"]

    def decline(self, address=PERSON):
        """Note the word of somebody who does not want to be measured, as `sendgrid.address` does."""
        address = self.env["sendgrid.address"]._hold([address])
        address.write({"email_tracking": "declined", "email_tracking_date": Datetime.now()})
        return self.Reduction._begin("wish", addresses=address.mapped("email"))

    def forget(self, address=PERSON):
        return self.Reduction._begin("forgotten", addresses=[address])

    def finish(self):
        """Do the rest of the work as the drain and the scheduled action do."""
        self.drain()
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
            self.assertFalse(email.open_count or email.click_count or email.machine_open_count)
            self.assertFalse(email.first_open_date or email.last_open_date or email.person_click_date)
        for element in self.read_bodies():
            if element.get("email") == address and element["event"] not in DELIVERY_EVENTS:
                self.assertNotIn(element["event"], INTERACTIONS)
                self.assertNotIn("ip", element)
                self.assertNotIn("useragent", element)


@tagged("post_install", "-at_install")
class TestAnyMoment(ReductionCase):
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
                (email.odoo_id, email.recipient, *(email[name] for name in STABLE))
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
        }

    def _tell(self, told, split, moments):
        """Receive events in several POSTs; at some moments something else happens.

        :param moments: {number of POSTs before it: function}
        """
        rest = list(told)
        for number, (size, drained) in enumerate(split):
            if act := moments.get(number):
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
        stored, decided = (data.draw(st.integers(0, len(split) - 1)) for _ in range(2))
        at_the_end = data.draw(st.booleans())
        end = data.draw(st.sampled_from([self.decline, self.forget]))

        def create_late():
            # A bounce without ids belongs to the latest mail, which this shall not be.
            self.create_email(PERSON, ago=timedelta(hours=3), odoo_id="late")

        def reference():
            without = [e for e in told if not (e["email"] == PERSON and e["event"] in INTERACTIONS)]
            self._tell(without, split, {stored: create_late})

        def declining():
            def both():
                create_late()
                if not at_the_end:
                    end()

            moments = {stored: create_late, decided: end} if not at_the_end else {stored: create_late}
            self._tell(told, split, {stored: both} if stored == decided else moments)
            if at_the_end:
                end()
            self.finish()
            self.assertNothingTold()
            # Nothing comes back.
            self.receive(*reversed(told))
            self.Batch.search([("account_id", "=", self.account.id)]).action_process_again()
            self.finish()
            self.assertNothingTold()

        state = self.compare_ways(lambda: self._look(contacts), reference, declining)
        self.assertFalse(any(state["failed"]))
