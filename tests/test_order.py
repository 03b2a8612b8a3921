from datetime import timedelta

from odoo.tests import tagged

from .common import SendgridCase
from .properties import given, in_database, st
from .simulator import KINDS, async_bounce

KEYS = (
    "status",
    "status_reason",
    "processed_date",
    "delivered_date",
    "first_open_date",
    "last_open_date",
    "open_count",
    "click_count",
    "machine_open_count",
    "machine_click_count",
    "unknown_open_count",
    "unknown_click_count",
    "person_open_date",
    "person_click_date",
    "is_unsubscribed_by_machine",
    "refusal_cause",
    "facts",
)
# Each is what SendGrid may say: the kind, and fields that differ from the simulator's.
SAID = [
    *((kind, {}) for kind in sorted(KINDS)),
    ("bounce", {"status": "4.2.2", "reason": "452 4.2.2 over quota", "bounce_classification": "Mailbox Unavailable"}),
    ("bounce", {"status": "5.7.26", "reason": "550 5.7.26 unauthenticated", "bounce_classification": "Reputation"}),
    ("bounce", {"status": "5.1.10", "reason": "550 5.1.10 another word"}),
    ("bounce", {"status": None, "reason": "", "bounce_classification": "Unclassified"}),
    ("dropped", {"reason": "Invalid"}),
    ("dropped", {"reason": "Spam Content"}),
    ("dropped", {"reason": "Spam Reporting Address"}),
    ("dropped", {"reason": "Unsubscribed Address"}),
    ("dropped", {"reason": "Unsubscribed Address", "asm_group_id": 1}),
    *((f"group_{word}subscribe", {"asm_group_id": group}) for word in ("un", "re") for group in (1, 2)),
    # From the company's own network.
    *((kind, {"ip": "192.0.2.7"}) for kind in ("open", "click", "unsubscribe")),
    ("group_unsubscribe", {"ip": "192.0.2.7", "asm_group_id": 1}),
]


@tagged("post_install", "-at_install")
class TestOrder(SendgridCase):
    """The order of events, their repetition and their split into POSTs make no difference, to no consequence."""

    maxDiff = None

    def _prepare(self):
        """Create two contacts, and two documents with a message and a notification for each."""
        self.env.company.sendgrid_networks = "192.0.2.0/24"
        contacts = self.env["res.partner"]
        emails = self.Email
        for name in ("a", "b"):
            contact = contacts.create({"name": name, "email": f"{name}@example.org"})
            contacts += contact
            for _number in range(2):
                message = contact.message_post(
                    body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment", partner_ids=contact.ids
                )
                message.notification_ids.notification_status = "sent"
                emails += self.create_email(
                    contact.email,
                    ago=timedelta(hours=2),
                    partner_id=contact.id,
                    mail_message_id=message.id,
                    model="res.partner",
                    res_id=contact.id,
                )
        # A copy of the first contact, archived, and a lead with the address of the second.
        contacts += contacts.create({"name": "twin", "email": "Twin <a@example.org>, twin@example.org"})
        contacts += contacts.create({"name": "archived", "email": "b@example.org", "active": False})
        lead = self.env["crm.lead"].create({"name": "lead", "email_from": "b@example.org"})
        return contacts, emails, lead

    def _get_state(self, contacts, emails, lead):
        """Return all that the events may have changed."""
        flags = ("email_bounced", "email_bounce_reason", "email_bounce_date", "message_bounce")
        addresses = contacts.mapped("email_normalized")
        listed = self.env["mail.blacklist"].with_context(active_test=False).search([("email", "in", addresses)])
        known = self.env["sendgrid.address"].search([("email", "in", [*addresses, "twin@example.org"])])
        entries = self.env["sendgrid.suppression"].search([("email", "in", addresses)])
        return {
            "documents": emails.read([*KEYS]),
            "events": sorted(
                (e.fingerprint, e.email_id.id, e.verdict or "", e.is_colleague, e.refusal_cause or "")
                for e in emails.event_ids
            ),
            "contacts": contacts.read([*flags]),
            "lead": lead.read([*flags]),
            "notifications": emails.mail_message_id.notification_ids.sorted("id").read(
                ["notification_status", "failure_type", "failure_reason"]
            ),
            "blacklist": sorted((entry.email, entry.active) for entry in listed if entry.active),
            "addresses": sorted(
                (a.email, a.is_bounced, a.bounce_date or "", a.bounce_reason or "", a.wish_date or "", a.groups or {})
                for a in known
            ),
            "lists": sorted((entry.email, entry.list, entry.state, str(entry.created)) for entry in entries),
            "failed": emails.mapped("failed_consequences"),
        }

    @in_database
    @given(st.data())
    def test_any_order_repetition_and_split(self, data):
        """Test that all that follows from a set of events is the same in whatever way they come in."""
        self.account.group_unsubscribe_action = data.draw(st.sampled_from(["blacklist", "nothing"]))
        contacts, emails, lead = self._prepare()
        # Some of the events are older than what people decided in between, others are younger.
        for contact in contacts[:2]:
            if data.draw(st.booleans()):
                contact.action_email_is_valid()
            if data.draw(st.booleans()):
                self.env["mail.blacklist"]._remove(contact.email)
        seconds = st.sampled_from([1, 2, 60, 3600, 9000, 9001])
        events = []
        for email in emails:
            relayed = self.relay(email)
            said = {}
            for kind, fields in data.draw(st.lists(st.sampled_from(SAID), max_size=5)):
                event = relayed.event(kind, timestamp=self.after(email, data.draw(seconds)), **fields)
                # A server refuses a message once in a second.
                said[event["event"], event["timestamp"], event.get("asm_group_id")] = event
            events += said.values()
            if data.draw(st.integers(0, 5)) == 0:
                events.append(async_bounce(email.recipient, self.after(email, data.draw(seconds))))
        told = data.draw(
            st.permutations(events + (data.draw(st.lists(st.sampled_from(events), max_size=4)) if events else []))
        )
        split = data.draw(st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=12))

        state = self.compare_ways(
            lambda: self._get_state(contacts, emails, lead),
            lambda: self.receive(*events),
            lambda: self.receive_bit_by_bit(told, split),
        )
        self.assertFalse(any(state["failed"]))


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestOrderOfMailings(TestOrder):
    """The same for the statistics of a mass mailing, where `mass_mailing` is installed."""

    __test__ = False  # pytest's database does not have it; see `end_to_end/test_visibility.py`
    allow_inherited_tests_method = True

    def _prepare(self):
        contacts, emails, lead = super()._prepare()
        mailing = self.env["mailing.mailing"].create(
            {
                "subject": "Autumn cheese",
                "mailing_type": "mail",
                "mailing_model_id": self.env["ir.model"]._get_id("res.partner"),
            }
        )
        emails.mailing_res_id = mailing.id
        self.traces = self.env["mailing.trace"].create(
            [
                {
                    "mass_mailing_id": mailing.id,
                    "model": "res.partner",
                    "res_id": email.partner_id.id,
                    "email": email.recipient,
                    "message_id": email.message_id,
                    "trace_status": "pending",
                }
                for email in emails
            ]
        )
        return contacts, emails, lead

    def _get_state(self, contacts, emails, lead):
        state = super()._get_state(contacts, emails, lead)
        state["traces"] = [
            (
                trace.trace_status,
                trace.failure_type,
                trace.failure_reason,
                bool(trace.open_datetime),
                bool(trace.links_click_datetime),
            )
            for trace in self.traces
        ]
        return state
