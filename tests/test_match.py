from datetime import timedelta

from freezegun import freeze_time

from odoo.fields import Datetime
from odoo.tests import tagged

from .common import SendgridCase
from .simulator import Relayed, account_event, async_bounce

OUR_IDS = {"odoo_id": None, "odoo_db": None}


@tagged("post_install", "-at_install")
class TestMatch(SendgridCase):
    def _create_copy(self, *recipients, **values):
        """Create the documents of one copy to several recipients."""
        emails = []
        for recipient in recipients:
            emails.append(self.create_email(recipient, is_alone=len(recipients) == 1, **values))
            values = {**values, "odoo_id": emails[0].odoo_id, "message_id": emails[0].message_id}
        return emails

    def assertMatch(self, batch, match, email=None):
        """Assert how the only event of a batch found its document, or why it has none."""
        event = self.event_of(batch)
        self.assertEqual((event.match, event.email_id.id), (match, email.id if email else False))
        self.assertEqual(batch.unmatched_count, 0 if email or match == "test" else 1)
        if email:
            self.assertEqual(event.partner_id, email.partner_id)

    # ------------------------------------------------------------
    # THE LADDER
    # ------------------------------------------------------------

    def test_odoo_id(self):
        """Test that our own identifier is enough, and stronger than all others."""
        email, other = self.create_email(partner_id=self.contact.id), self.create_email("other@example.org")
        self.receive(self.relay(other).event("processed", timestamp=self.after(other, 1)))
        message = self.relay(email)
        batch = self.receive(
            message.event(
                "delivered",
                timestamp=self.after(email, 60),
                sg_message_id=f"{other.sg_message_id}.recvd.0",
                **{"smtp-id": other.message_id},
            )
        )
        self.assertMatch(batch, "odoo_id", email)

    def test_sg_message_id(self):
        """Test that SendGrid's id, once seen with our identifier, is enough by itself."""
        email = self.create_email()
        message = self.relay(email)
        self.receive(message.event("processed", timestamp=self.after(email, 1)))
        self.assertEqual(email.sg_message_id, message.key)
        batch = self.receive(message.event("open", timestamp=self.after(email, 60), **OUR_IDS))
        self.assertMatch(batch, "sg_message_id", email)

    def test_sg_message_id_taught_later(self):
        """Test that the event that links SendGrid's id to a document may come before, after or together with others."""
        for order in ("before", "after", "together", "together, behind"):
            with self.subTest(order):
                email = self.create_email(f"{order.replace(' ', '').replace(',', '')}@example.org")
                message = self.relay(email)
                teacher = message.event("processed", timestamp=self.after(email, 1))
                pupil = message.event("open", timestamp=self.after(email, 3600), **OUR_IDS)
                posts = {
                    "before": [[teacher], [pupil]],
                    "after": [[pupil], [teacher]],
                    "together": [[teacher, pupil]],
                    "together, behind": [[pupil, teacher]],
                }[order]
                for post in posts:
                    self.receive(*post)
                self.assertEvents(email, [("processed", "odoo_id"), ("open", "sg_message_id")])
                self.assertEmail(email, status="opened", open_count=1)

    def test_server_names_are_no_ids(self):
        """Test that a server's name in place of SendGrid's id, which many messages share, connects nothing."""
        email = self.create_email()
        name = "filter0093p1las1.9128.5C6"
        self.receive(self.relay(email).event("dropped", timestamp=self.after(email, 1), sg_message_id=name))
        self.assertFalse(email.sg_message_id)
        other = Relayed(["ada@example.org"]).event("dropped", timestamp=self.after(email, 2), sg_message_id=name)
        self.assertMatch(self.receive(other), "unknown")

    def test_smtp_id(self):
        """Test that the Message-ID is enough, and links SendGrid's id to the document."""
        email = self.create_email()
        message = self.relay(email)
        self.assertMatch(
            self.receive(message.event("delivered", timestamp=self.after(email, 60), **OUR_IDS)), "smtp_id", email
        )
        self.assertEqual(email.sg_message_id, message.key)
        self.assertMatch(
            self.receive(message.event("open", timestamp=self.after(email, 3600), **OUR_IDS)), "sg_message_id", email
        )

    def test_smtp_id_of_several_copies(self):
        """Test that the address decides between the copies of one mail, which share the Message-ID."""
        ada = self.create_email("ada@example.org")
        bob = self.create_email("bob@example.org", message_id=ada.message_id)
        for email in (ada, bob):
            message = Relayed([email.recipient], {}, ada.message_id)
            batch = self.receive(message.event("delivered", timestamp=self.after(email, 60)))
            self.assertMatch(batch, "smtp_id", email)
            self.assertEqual(email.sg_message_id, message.key)
        self.assertNotEqual(ada.sg_message_id, bob.sg_message_id)
        stranger = Relayed(["eve@example.org"], {}, ada.message_id)
        self.assertMatch(self.receive(stranger.event("delivered")), "untracked")

    # ------------------------------------------------------------
    # BOUNCES THAT COME BACK AS A MAIL
    # ------------------------------------------------------------

    def test_address(self):
        """Test that a bounce with nothing but an address belongs to the latest e-mail sent to it before."""
        older = self.create_email(ago=timedelta(days=2))
        latest = self.create_email(ago=timedelta(hours=2))
        newer = self.create_email(ago=timedelta(minutes=1))
        other = self.create_email("other@example.org", ago=timedelta(hours=1))
        batch = self.receive(async_bounce("Ada@Example.org", self.after(latest, 3600)))
        self.assertMatch(batch, "address", latest)
        self.assertEmail(latest, status="bounced", status_reason="550 5.1.10 RecipientNotFound")
        self.assertEqual({email.status for email in older | newer | other}, {"sent"})

    def test_address_limits(self):
        """Test how far back a bounce looks: five days, and never to an e-mail sent later."""
        for seconds, found in (
            (-1, False),
            (0, True),
            (1, True),
            (5 * 86400 - 1, True),
            (5 * 86400, True),
            (5 * 86400 + 1, False),
        ):
            with self.subTest(seconds):
                email = self.create_email(f"{seconds}@example.org", ago=timedelta(days=10))
                batch = self.receive(async_bounce(email.recipient, self.after(email, seconds)))
                self.assertMatch(batch, "address" if found else "unknown", email if found else None)

    def test_address_is_the_last_resort(self):
        """Test that only a bounce without any id is matched by address: another kind, or one with ids, is not."""
        email = self.create_email()
        at = self.after(email, 60)
        for name, event in {
            "open": {**async_bounce(email.recipient, at), "event": "open"},
            "dropped": {**async_bounce(email.recipient, at), "event": "dropped"},
            "with SendGrid's id": async_bounce(email.recipient, at, sg_message_id="abc.recvd.0"),
            "with a Message-ID": async_bounce(email.recipient, at, **{"smtp-id": "<1@elsewhere.example.com>"}),
        }.items():
            with self.subTest(name):
                self.assertMatch(self.receive(event), "unknown")
        self.assertMatch(self.receive(async_bounce(email.recipient, at + 1, odoo_db="x", odoo_id="y")), "foreign")
        self.assertEqual(email.status, "sent")

    def test_address_of_another_account(self):
        """Test that a bounce of one account does not match an e-mail that left through another."""
        email = self.create_email()
        other = self.env["sendgrid.account"].create({"name": "Other"})
        self.assertMatch(self.receive(async_bounce(email.recipient, self.after(email, 60)), account=other), "unknown")

    # ------------------------------------------------------------
    # SEVERAL RECIPIENTS
    # ------------------------------------------------------------

    def test_cc_bounces(self):
        """Test that a bounce of the Cc never lands on the To's document, however the copy is found."""
        for name, ids in (("odoo_id", {}), ("sg_message_id", OUR_IDS), ("smtp_id", OUR_IDS)):
            with self.subTest(name):
                to, cc = self._create_copy(f"to-{name}@example.org", f"cc-{name}@example.org")
                message = self.relay(to | cc)
                if name == "sg_message_id":
                    self.receive(message.event("processed", to.recipient, timestamp=self.after(to, 1)))
                    ids = {**ids, "smtp-id": None}
                batch = self.receive(message.event("bounce", cc.recipient, timestamp=self.after(to, 60), **ids))
                self.assertMatch(batch, name, cc)
                self.assertEqual(cc.status, "bounced")
                self.assertIn(to.status, ("sent", "processed"))

    def test_copy_to_one(self):
        """Test that a copy to one recipient is found whatever address the event names."""
        email = self.create_email()
        message = self.relay(email)
        batch = self.receive(message.event("delivered", "ada@mail.example.org", timestamp=self.after(email, 60)))
        self.assertMatch(batch, "odoo_id", email)
        self.assertEqual(self.event_of(batch).recipient, "ada@mail.example.org", "what SendGrid said stays visible")
        batch = self.receive(message.event("dropped", timestamp=self.after(email, 60), email="", **OUR_IDS))
        self.assertMatch(batch, "sg_message_id", email)

    def test_copy_to_several(self):
        """Test that an event that names another address matches no document of a copy to several recipients."""
        to, cc = self._create_copy("to@example.org", "cc@example.org")
        message = self.relay(to | cc)
        self.assertMatch(
            self.receive(message.event("open", "eve@example.org", timestamp=self.after(to, 60))), "untracked"
        )
        self.assertMatch(
            self.receive(message.event("open", "CC@example.org", timestamp=self.after(to, 60))), "odoo_id", cc
        )
        self.assertEqual(to.status, "sent")

    def test_colleague(self):
        """Test that the events of a colleague, who has no document in a shared copy, are not the customer's."""
        customer = self.create_email("customer@example.org", is_alone=False)
        message = Relayed(["customer@example.org", "colleague@example.com"], self.relay(customer).unique_args)
        for kind in ("processed", "delivered", "open", "click", "bounce"):
            batch = self.receive(message.event(kind, "colleague@example.com", timestamp=self.after(customer, 3600)))
            self.assertMatch(batch, "untracked")
        self.assertEmail(customer, status="sent", open_count=0)

    def test_colleague_alone(self):
        """Test that events of this database's mails without a document are told from those of strangers."""
        message = Relayed(["colleague@example.com"], {"odoo_db": self.Email._get_odoo_db()})
        self.assertMatch(self.receive(message.event("open")), "untracked")

    def test_same_address_twice(self):
        """Test that two contacts with one address each have their own document and events."""
        twins = [self.create_email("twin@example.org"), self.create_email("twin@example.org")]
        twins[1].message_id = twins[0].message_id
        for twin, kind in zip(twins, ("delivered", "bounce"), strict=True):
            self.receive(self.relay(twin).event(kind, timestamp=self.after(twin, 60)))
        self.assertEqual([twin.status for twin in twins], ["delivered", "bounced"])

    # ------------------------------------------------------------
    # NOT OURS
    # ------------------------------------------------------------

    def test_nobody_s(self):
        """Test that events of others are told apart, and kept."""
        email = self.create_email()
        for match, event in (
            ("foreign", Relayed(["x@example.org"], {"odoo_db": "another", "odoo_id": "z"}).event("open")),
            ("unknown", Relayed(["x@example.org"]).event("open")),
            ("test", Relayed(["example@test.com"]).event("open")),
            ("account", account_event(self.after(email, 60))),
        ):
            with self.subTest(match):
                batch = self.receive(event)
                self.assertMatch(batch, match)
                self.assertEqual(self.event_of(batch).account_id, self.account)

    def test_document_deleted(self):
        """Test that a deleted document takes its events along, and that later ones wait a day for it."""
        email = self.create_email()
        message = self.relay(email)
        first = self.receive(message.event("delivered", timestamp=self.after(email, 60)))
        email.unlink()
        self.assertFalse(first.event_ids)
        self.assertMatch(self.receive(message.event("open")), "early")

    # ------------------------------------------------------------
    # EARLY
    # ------------------------------------------------------------

    def test_early(self):
        """Test that events of a copy that is not stored yet find it by themselves once it is."""
        message = Relayed(["late@example.org"], {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "f" * 32})
        batch = self.receive(message.event("processed"), message.event("delivered"))
        self.assertBatch(batch, state="done", unmatched_count=2)
        self.assertEqual(set(batch.event_ids.mapped("match")), {"early"})
        only_key = self.receive(message.event("open", timestamp=Datetime.now().timestamp() + 3600, **OUR_IDS))
        self.assertMatch(only_key, "unknown")
        self.assertTrue(self.Match._has_early(60))

        email = self.create_email("late@example.org", odoo_id="f" * 32, partner_id=self.contact.id)
        self.drain()
        self.assertEqual(
            {(e.event, e.match) for e in email.event_ids},
            {("processed", "odoo_id"), ("delivered", "odoo_id"), ("open", "sg_message_id")},
        )
        self.assertEmail(email, status="opened", open_count=1, sg_message_id=message.key)
        self.assertEqual(email.event_ids.partner_id, self.contact)
        self.assertFalse(self.Match._has_early(60))

    def test_early_of_several(self):
        """Test that early events of a copy to several recipients each find their own document."""
        message = Relayed(
            ["to@example.org", "cc@example.org", "colleague@example.com"],
            {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "e" * 32},
        )
        self.receive(*(message.event("delivered", recipient) for recipient in message.recipients))
        to, cc = self._create_copy("to@example.org", "cc@example.org", odoo_id="e" * 32)
        self.drain()
        self.assertEqual([email.status for email in (to, cc)], ["delivered", "delivered"])
        self.assertEqual((len(to.event_ids), len(cc.event_ids)), (1, 1))

    def test_early_gives_up(self):
        """Test that events stop waiting after a day, and that a later document changes nothing about it."""
        args = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "d" * 32}
        event = self.event_of(self.receive(Relayed(["never@example.org"], args).event("processed")))
        for hours, match in ((23, "early"), (25, "gone")):
            with freeze_time(event.create_date + timedelta(hours=hours)):
                self.Match._give_up_early()
                self.drain()
            self.assertEqual(event.match, match)

    def test_early_by_hand(self):
        """Test that an administrator can have an event that was given up matched again."""
        args = {"odoo_db": self.Email._get_odoo_db(), "odoo_id": "c" * 32}
        event = self.event_of(self.receive(Relayed(["late@example.org"], args).event("delivered")))
        with freeze_time(event.create_date + timedelta(hours=25)):
            self.Match._give_up_early()
        email = self.create_email("late@example.org", odoo_id="c" * 32)
        event.action_match_again()
        self.assertEqual((event.match, event.email_id), ("odoo_id", email))
        self.assertEqual(email.status, "delivered")
