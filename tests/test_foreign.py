from datetime import timedelta
from unittest.mock import patch

from odoo.tests import tagged

from ..models import sendgrid_retention
from ..tools.events.event import ADDRESS_EVENTS
from .common import SendgridCase
from .simulator import KINDS, Relayed

# What marks the events of SendGrid's newsletters, new and old.
SINGLE_SEND = {
    "singlesend_id": "5a2b",
    "singlesend_name": "May",
    "mc_stats": "singlesend",
    "category": ["May", "Newsletter"],
    "phase_id": "p",
    "template_id": "t",
}
CAMPAIGN = {"marketing_campaign_id": 12345, "marketing_campaign_name": "May"}
DAY = timedelta(hours=25)
ROUTINE = ("processed", "delivered", "deferred", "open", "click")


@tagged("post_install", "-at_install")
class TestForeign(SendgridCase):
    """Events about e-mails that other programs send through the same account."""

    def setUp(self):
        super().setUp()
        self.Foreign = self.env["sendgrid.account.foreign"]

    def _newsletter(self, number=1, kinds=("delivered", "open"), **fields):
        """Return the events of a newsletter to some recipients that Odoo does not know."""
        fields = fields or SINGLE_SEND
        return [
            Relayed([f"{index}@newsletter.test"]).event(kind, **fields) for index in range(number) for kind in kinds
        ]

    def _count(self):
        """Return {kind: number} of what was counted for the account."""
        return dict(
            self.Foreign._read_group([("account_id", "=", self.account.id)], ["event"], ["count:sum"], order="event")
        )

    def _forget(self):
        self.run_cron("ir_cron_forget_foreign")

    # ------------------------------------------------------------
    # COUNTED, NOT STORED
    # ------------------------------------------------------------

    def test_newsletter(self):
        """Test that the events of SendGrid's newsletters are counted by day and kind, and not stored."""
        for fields in (SINGLE_SEND, CAMPAIGN, {"mc_stats": "automation"}):
            with self.subTest(fields):
                self.Foreign.search([]).unlink()
                batch = self.receive(*self._newsletter(3, **fields), {"event": "open"})
                self.assertBatch(batch, state="done", event_count=7, rejected_count=1, unmatched_count=6)
                self.assertFalse(batch.event_ids)
                self.assertEqual(self._count(), {"delivered": 3, "open": 3})
        self.receive(*self._newsletter(2, kinds=("open", "invented", "also-invented")))
        self.assertEqual(self._count(), {"delivered": 3, "open": 5, "other": 4})
        days = self.Foreign.search([("account_id", "=", self.account.id)])
        self.assertEqual(len(days), 3)
        self.assertEqual(set(days.mapped("date")), {batch.create_date.date()})

    def test_own_mail_beside_a_newsletter(self):
        """Test that our own events are stored, even if they carry a newsletter's fields, by whatever they are found."""
        email = self.create_email()
        message = self.relay(email)
        anonymous = {"odoo_id": None, "odoo_db": None, "smtp-id": None}
        batch = self.receive(
            *self._newsletter(2),
            message.event("processed", timestamp=self.after(email, 1), **SINGLE_SEND),
            message.event("delivered", timestamp=self.after(email, 2), **SINGLE_SEND, odoo_id=None, odoo_db=None),
            *self._newsletter(2),
        )
        self.receive(message.event("open", timestamp=self.after(email, 3600), **SINGLE_SEND, **anonymous))
        self.assertBatch(batch, event_count=10, unmatched_count=8)
        self.assertEvents(email, ["processed", "delivered", "open"])
        self.assertEqual(self._count(), {"delivered": 4, "open": 4})

    def test_another_programs_mail(self):
        """Test that what carries neither our name nor a newsletter's is counted, and stays while it may be ours."""
        batch = self.receive(*self._newsletter(2, category=["orders"]))
        self.assertBatch(batch, event_count=4, unmatched_count=4)
        self.assertEqual(batch.event_ids.mapped("match"), ["unknown"] * 4)
        self.assertEqual(self._count(), {"delivered": 2, "open": 2})
        self.age("sendgrid.event", timedelta(hours=23))
        self._forget()
        self.assertEqual(len(batch.event_ids), 4)
        self.age("sendgrid.event", timedelta(hours=2))
        self._forget()
        self.assertFalse(batch.event_ids)
        self.assertEqual(self._count(), {"delivered": 2, "open": 2})

    def test_another_database(self):
        """Test that another database's events are counted as well, and stay for 30 days as before."""
        batch = self.receive(*self._newsletter(1, odoo_db="another", odoo_id="x"))
        self.assertEqual(self._count(), {"delivered": 1, "open": 1})
        self.age("sendgrid.event", DAY)
        self._forget()
        self.assertEqual(batch.event_ids.mapped("match"), ["foreign"] * 2)

    def test_what_is_not_counted(self):
        """Test that neither SendGrid's test nor an event about the account nor one that waits is another program's."""
        email = self.create_email()
        message = self.relay(email)
        own_db = message.unique_args["odoo_db"]
        batch = self.receive(
            Relayed(["example@test.com"]).event("open"),
            {"event": "account_status_change", "timestamp": self.after(email, 1), "type": "reactivate"},
            message.event("delivered", timestamp=self.after(email, 2)),
            Relayed(["later@example.org"]).event("open", odoo_db=own_db, odoo_id="later"),
            Relayed(["colleague@example.org"]).event("open", **message.unique_args, sg_message_id=f"{message.key}.1"),
        )
        self.assertEqual(len(batch.event_ids), 5)
        self.assertFalse(self._count())
        self.age("sendgrid.event", DAY)
        self._forget()
        self.assertEqual(len(batch.event_ids), 5)

    def test_counted_once(self):
        """Test that a batch that is processed again, and what Odoo asks SendGrid for, are not counted again."""
        batch = self.receive(*self._newsletter(2), *self._newsletter(1, category=[]))
        expected = {"delivered": 3, "open": 3}
        self.assertEqual(self._count(), expected)
        batch.action_process_again()
        self.Batch._receive(self.account, batch._get_raw_body(), source="history")
        self.drain()
        self.assertEqual(self._count(), expected)

    # ------------------------------------------------------------
    # ADDRESSES OF OURS
    # ------------------------------------------------------------

    def test_own_addresses(self):
        """Test that bounces, complaints and opt-outs of known addresses stay 30 days, whoever sent the e-mail."""
        self.env["crm.lead"].create({"name": "A lead", "email_from": "Lead <LEAD@example.org>"})
        self.create_email("guest@example.org")
        kinds = (*ADDRESS_EVENTS, *ROUTINE)
        for fields in (SINGLE_SEND, {"category": ["orders"]}):
            events = [
                Relayed([address]).event(kind, **fields)
                for address in ("ada@example.org", "lead@example.org", "guest@example.org", "stranger@example.org")
                for kind in kinds
            ]
            with self.subTest(fields):
                batch = self.receive(*events)
                self.age("sendgrid.event", DAY)
                self._forget()
                self.assertEqual(
                    sorted(batch.event_ids.mapped(lambda event: (event.recipient, event.event))),
                    sorted(
                        (f"{name}@example.org", event) for name in ("ada", "lead", "guest") for event in ADDRESS_EVENTS
                    ),
                )
                self.assertFalse(batch.event_ids.email_id)
        everything = self.Event.search([("match", "=", "unknown")])
        email = self.create_email("ada@example.org")
        attach = self.env["sendgrid.event.attach"].create(
            {"event_ids": [(6, 0, batch.event_ids[:1].ids)], "email_id": email.id}
        )
        attach.action_attach()
        self.assertEqual(email.event_ids, batch.event_ids[:1])
        self.age("sendgrid.event", timedelta(days=27))
        self.env["sendgrid.retention"]._gc_unmatched()
        self.assertEqual(everything.exists(), everything)
        self.age("sendgrid.event", timedelta(days=2))
        self.env["sendgrid.retention"]._gc_unmatched()
        self.assertEqual(everything.exists(), email.event_ids)

    def test_second_addresses(self):
        """Test that a record's second address is known as well, and that of a mailing contact."""
        self.env["res.partner"].create({"name": "Two", "email": "First <first@example.org>, SECOND@example.org"})
        self.env["crm.lead"].create({"name": "Two", "email_from": "third@example.org; fourth@example.org"})
        known = {"first@example.org", "second@example.org", "fourth@example.org"}
        if "mailing.contact" in self.env:
            self.env["mailing.contact"].create({"name": "x", "email": "mailing@example.org"})
            known.add("mailing@example.org")
        addresses = [*sorted(known), "stranger@example.org", "third@example.organic"]
        batch = self.receive(*(Relayed([address]).event("bounce", **SINGLE_SEND) for address in addresses))
        self.age("sendgrid.event", DAY)
        self._forget()
        self.assertEqual(set(batch.event_ids.mapped("recipient")), known)

    # ------------------------------------------------------------
    # KEPT ON REQUEST
    # ------------------------------------------------------------

    def test_kept(self):
        """Test that an account can say that all is kept, and that it says nothing for another account."""
        other = self.env["sendgrid.account"].create({"name": "Other"})
        self.account.keep_foreign_events = True
        events = [*self._newsletter(2), *self._newsletter(1, category=[])]
        kept, forgotten = self.receive(*events), self.receive(*self._newsletter(2), account=other)
        self.assertEqual((len(kept.event_ids), len(forgotten.event_ids)), (6, 0))
        self.assertEqual(self._count(), {"delivered": 3, "open": 3})
        self.age("sendgrid.event", timedelta(days=29))
        self._forget()
        self.assertEqual(len(kept.event_ids), 6)
        self.account.keep_foreign_events = False
        self._forget()
        self.assertFalse(kept.event_ids)

    # ------------------------------------------------------------
    # MANY
    # ------------------------------------------------------------

    def _count_queries(self, count):
        """Drain a POST about a newsletter to some recipients, and one about an own e-mail behind it.

        :return: the number of queries of the drain
        """
        email = self.create_email(f"own-{count}@example.org")
        self.store(self._newsletter(count, kinds=("delivered", "open", "bounce")))
        self.store([self.relay(email).event("delivered", timestamp=self.after(email, 60))])
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        self.Drain._drain()
        self.env.flush_all()
        queries = self.env.cr.sql_log_count - before
        self.assertEqual(email.status, "delivered")
        return queries

    def test_number_of_queries(self):
        """Test that a thousand events of newsletters take as many queries as three, and leave one row for each kind."""
        for _time in range(2):
            self._count_queries(1)
        stored = self.Event.search_count([])
        self.assertEqual(self._count_queries(400), self._count_queries(1))
        self.assertEqual(self.Event.search_count([]), stored + 2, "nothing but the own e-mails' events")
        self.assertEqual(self._count(), dict.fromkeys(("bounce", "delivered", "open"), 403))
        self.assertEqual(self.Foreign.search_count([]), 3)

    def test_forgotten_piece_by_piece(self):
        """Test that many events go in small transactions, also past some that stay."""
        events = self._newsletter(4, kinds=ROUTINE, category=[])
        events[3:3] = [Relayed(["ada@example.org"]).event("bounce") for _time in range(5)]
        batch = self.receive(*events)
        self.age("sendgrid.event", DAY)
        with patch.object(sendgrid_retention, "CHUNK_EVENTS", 4):
            pieces = list(self.env["sendgrid.retention"]._forget_foreign(self.account))
        self.assertEqual(pieces, [4, 4, 4, 4, 4, 4, 1])
        self.assertEqual(batch.event_ids.mapped("event"), ["bounce"] * 5)

    # ------------------------------------------------------------
    # TOLD
    # ------------------------------------------------------------

    def test_words(self):
        """Test that the account's page says how many of which kinds came, and what becomes of them."""
        self.assertEqual((self.account.foreign_count, self.account.foreign_explanation), (0, False))
        kinds = [kind for kind in KINDS if kind not in ("blocked", "machine_open")]
        self.receive(*self._newsletter(1, kinds=[*kinds, "invented"]))
        self.receive(*self._newsletter(1100, kinds=["delivered"]))
        self.env.invalidate_all()
        self.assertEqual(self.account.foreign_count, len(kinds) + 1 + 1100)
        self.assertIn("30 days: delivered (1,101), ", self.account.foreign_explanation)
        self.assertIn("refused (1)", self.account.foreign_explanation)
        self.assertIn("other (1)", self.account.foreign_explanation)
        self.assertIn("forgotten within a day", self.account.foreign_explanation)
        self.account.keep_foreign_events = True
        self.assertIn("kept for 30 days", self.account.foreign_explanation)
        self.age("sendgrid.account.foreign", timedelta(days=30), "date")
        self.env.invalidate_all()
        self.assertEqual(self.account.foreign_count, 0)
