import itertools
from datetime import timedelta

from odoo.tests import tagged

from .common import SendgridCase
from .properties import given, in_database, st
from .simulator import async_bounce

QUOTA = {"type": "bounce", "status": "5.2.2", "reason": "552 5.2.2 over quota", "bounce_classification": None}
GONE = {"type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 User unknown", "bounce_classification": None}
DMARC = {
    "type": "bounce",
    "status": "5.7.509",
    "bounce_classification": "Reputation",
    "reason": "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification",
}


@tagged("post_install", "-at_install")
class TestRefusalEvents(SendgridCase):
    """Why messages were refused, from the POST to the document."""

    def _bounce(self, email, seconds, **fields):
        return self.relay(email).event("bounce", timestamp=self.after(email, seconds), **fields)

    def _drop(self, email, seconds, **fields):
        return self.relay(email).event("dropped", timestamp=self.after(email, seconds), **fields)

    def _list(self, address, created, **vals):
        """Create an entry of SendGrid's list of bounces."""
        return self.env["sendgrid.suppression"].create(
            {
                "account_id": self.account.id,
                "list": "bounces",
                "email": address,
                "created": created,
                "reason": "552 5.2.2 over quota",
                "smtp_status": "5.2.2",
                **vals,
            }
        )

    # ------------------------------------------------------------
    # CAUSES
    # ------------------------------------------------------------

    def test_document(self):
        """Test status, cause and fact of a document, by what the server said."""
        for kind, fields, status, cause, fact in (
            ("bounce", {}, "bounced", "address", "bounced"),
            ("bounce", {**QUOTA, "status": "4.2.2", "reason": "452 4.2.2 over quota"}, "blocked", "mailbox", "blocked"),
            ("bounce", QUOTA, "bounced", "mailbox", "blocked"),
            ("bounce", DMARC, "bounced", "sender", "blocked"),
            ("bounce", {**DMARC, "type": "Blocked"}, "blocked", "sender", "blocked"),
            (
                "bounce",
                {"status": None, "reason": "554 no", "bounce_classification": None},
                "bounced",
                "unknown",
                "bounced",
            ),
            (
                "blocked",
                {"status": None, "reason": "no", "bounce_classification": None},
                "blocked",
                "temporary",
                "blocked",
            ),
            ("dropped", {"reason": "Invalid"}, "dropped", "address", "dropped_bounced"),
            ("dropped", {"reason": "Spam Content"}, "dropped", "sender", "dropped"),
            ("dropped", {"reason": "Unsubscribed Address"}, "dropped", False, "dropped_unsubscribed"),
            ("dropped", {}, "dropped", False, "dropped_held"),
            ("delivered", {"reason": "Invalid"}, "delivered", False, "delivered"),
        ):
            with self.subTest(kind=kind, **fields):
                email = self.create_email(f"{kind}{status}{cause}{fact}@example.org".lower())
                self.receive(self.relay(email).event(kind, timestamp=self.after(email, 60), **fields))
                self.assertEmail(email, status=status, refusal_cause=cause)
                self.assertEqual(email.event_ids.refusal_cause, cause)
                self.assertEqual(list(email.facts), [fact])

    def test_given_up(self):
        """Test that Odoo's own end of waiting is temporary, and that a real refusal afterwards counts."""
        email = self.create_email(ago=timedelta(days=4))
        self.receive(self.relay(email).event("deferred", timestamp=self.after(email, 60)))
        self.Email._expire()
        self.assertEmail(email, status="blocked", refusal_cause="temporary")
        refusal = {**QUOTA, "type": "blocked", "status": "4.2.2", "reason": "452 4.2.2 over quota"}
        self.receive(self._bounce(email, 80 * 3600, **refusal))
        self.assertEmail(email, status="blocked", refusal_cause="mailbox")
        self.assertEqual(list(email.facts), ["blocked"])

    # ------------------------------------------------------------
    # HELD BACK
    # ------------------------------------------------------------

    def test_held_back(self):
        """Test that a drop takes the cause of the bounce behind it, whichever comes first."""
        for cause, said, fact in (
            ("mailbox", QUOTA, "dropped_held"),
            ("address", GONE, "dropped_bounced"),
            ("sender", DMARC, "dropped_held"),
        ):
            for is_first in (True, False):
                with self.subTest(cause=cause, is_first=is_first):
                    address = f"{cause}{is_first}@example.org"
                    first, second = self.create_email(address), self.create_email(address)
                    told = [self._bounce(first, 60, **said), self._drop(second, 120)]
                    for event in told if is_first else reversed(told):
                        self.receive(event)
                    self.assertEmail(second, status="dropped", refusal_cause=cause, status_reason="Bounced Address")
                    self.assertEqual(list(second.facts), [fact])

    def test_not_behind(self):
        """Test that a later, a blocked, or another account's or address's bounce is not behind a drop."""
        other = self.account.copy({"name": "Another"})
        bounces = {
            "later": {},
            "blocked": {"type": "Blocked"},
            "expired": {"type": "expired"},
            "account": {},
            "address": {"email": "somebody@example.org"},
        }
        for name, fields in bounces.items():
            for is_first in (True, False):
                with self.subTest(name, is_first=is_first):
                    first = self.create_email(f"{name}{is_first}@example.org")
                    second = self.create_email(first.recipient)
                    bounce = self._bounce(first, 60, **GONE) | fields
                    if name == "later":
                        bounce["timestamp"] = self.after(second, 300)
                    posts = [(bounce, other if name == "account" else self.account), (self._drop(second, 120), None)]
                    for event, account in posts if is_first else reversed(posts):
                        self.receive(event, account=account)
                    self.assertEmail(second, status="dropped", refusal_cause=False)
                    self.assertEqual(list(second.facts), ["dropped_held"])

    def test_latest(self):
        """Test that of several bounces the latest before the drop counts, in any order of arrival."""
        for number, order in enumerate(itertools.permutations(range(5))):
            with self.subTest(order=order):
                address = f"order{number}@example.org"
                emails = [self.create_email(address) for _count in range(5)]
                told = [
                    self._bounce(emails[0], 60, **QUOTA),
                    self._drop(emails[1], 120),
                    self._bounce(emails[2], 180, **GONE),
                    self._drop(emails[3], 180),
                    self._bounce(emails[4], 240, **DMARC),
                ]
                for index in order:
                    self.receive(told[index])
                self.assertEqual(emails[1].refusal_cause, "mailbox")
                self.assertEqual(emails[3].refusal_cause, "address")

    def test_without_document(self):
        """Test that a bounce that no document was found for tells the cause of a drop."""
        email = self.create_email("late@example.org")
        self.receive(self._drop(email, 120))
        self.receive(async_bounce("LATE@example.org", self.after(email, -30 * 24 * 3600)))
        self.assertEmail(email, refusal_cause="address")

    def test_list(self):
        """Test that SendGrid's list tells the cause if no bounce does, or if its entry is newer than the bounce."""
        email = self.create_email("listed@example.org")
        self._list("listed@example.org", "2020-01-01")
        self.receive(self._drop(email, 60))
        self.assertEmail(email, refusal_cause="mailbox")
        self.receive(async_bounce("listed@example.org", self.after(email, -3600), **GONE))
        self.assertEmail(email, refusal_cause="address")
        self._list("again@example.org", "2020-01-01 05:00:00")
        email = self.create_email("again@example.org")
        self.receive(async_bounce("again@example.org", 1577854800 - 7200, **GONE), self._drop(email, 60))
        self.assertEmail(email, refusal_cause="mailbox")
        self._list("future@example.org", "2099-01-01")
        email = self.create_email("future@example.org")
        self.receive(self._drop(email, 60))
        self.assertEmail(email, refusal_cause=False)

    @in_database
    @given(st.data())
    def test_any_order(self, data):
        """Test that any order, repetition and split of bounces and drops gives the same causes, statuses and facts."""
        emails = self.Email
        events = []
        for address in ("ada@example.org", "ben@example.org"):
            for _number in range(3):
                email = self.create_email(address)
                emails |= email
                for _event in range(data.draw(st.integers(0, 2))):
                    seconds = data.draw(st.sampled_from([60, 61, 120, 7200]))
                    if data.draw(st.booleans()):
                        events.append(self._drop(email, seconds))
                    else:
                        said = data.draw(st.sampled_from([QUOTA, GONE, DMARC, {**GONE, "type": "blocked"}]))
                        events.append(self._bounce(email, seconds, **said))
        is_listed = data.draw(st.booleans())
        again = data.draw(st.lists(st.sampled_from(events), max_size=2)) if events else []
        told = data.draw(st.permutations(events + again))
        cuts = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=4)))
        parts = [told[start:end] for start, end in itertools.pairwise([0, *cuts, len(told)])]

        def receive(parts):
            if is_listed:
                self._list("ada@example.org", emails[0].sent_date)
            for part in parts:
                self.receive(*part)

        def look():
            causes = sorted((e.fingerprint, e.refusal_cause or "") for e in emails.event_ids)
            return [(e.status, e.refusal_cause, sorted(e.facts or ())) for e in emails], causes

        self.compare_ways(look, lambda: receive([events]), lambda: receive(parts))

    # ------------------------------------------------------------
    # QUERIES
    # ------------------------------------------------------------

    def _count_queries(self, kind, count):
        emails = self.Email.browse(
            self.create_email(f"{kind}{count}.{number}@example.org").id for number in range(count)
        )
        held = [self._drop(email, 120) for email in emails]
        told = [self._bounce(email, 60, **QUOTA) for email in emails]
        if kind == "bounce":
            self.receive(*held)
        self.store(held if kind == "drop" else told)
        self.env.flush_all()
        received = self.env["sendgrid.event.batch"].search([("state", "=", "pending")])._parse()[0]
        before = self.env.cr.sql_log_count
        changed = self.Event._settle_held([(self.account.id, event) for event in received])
        queries = self.env.cr.sql_log_count - before
        self.assertEqual(len(changed), count if kind == "bounce" else 0)
        self.drain()
        return queries

    def test_number_of_queries(self):
        """Test that many drops and bounces take as many queries as one, and that a chunk without them takes none."""
        for kind in ("drop", "bounce"):
            with self.subTest(kind):
                one, many = self._count_queries(kind, 1), self._count_queries(kind, 40)
                self.assertEqual(one, many)
                self.assertLessEqual(many, 4)
        before = self.env.cr.sql_log_count
        email = self.create_email()
        self.store([self.relay(email).event("open"), self._drop(email, 60, reason="Spam Content")])
        received = self.env["sendgrid.event.batch"].search([("state", "=", "pending")])._parse()[0]
        self.env.flush_all()
        before = self.env.cr.sql_log_count
        self.Event._settle_held([(self.account.id, event) for event in received])
        self.assertEqual(self.env.cr.sql_log_count, before)
