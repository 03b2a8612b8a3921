from email import message_from_bytes, policy

from odoo import fields
from odoo.tests import BaseCase, new_test_user, tagged
from odoo.tools import email_normalize

from ..tools.address_form import all_spellings, comparable, spellings
from ..tools.api.suppressions import Entry
from ..tools.sending.addresses import find_impossible
from .common import SendgridCase, now
from .properties import given, quick, st
from .simulator import async_bounce

UNICODE = "user@bücher.example"
ENCODED = "user@xn--bcher-kva.example"


@tagged("post_install", "-at_install")
class TestAddressForm(BaseCase):
    def test_comparable(self):
        """Test that two spellings of one address are one, and that no others become one."""
        for address, form in (
            ("Ada@Example.ORG", "ada@example.org"),
            (UNICODE, ENCODED),
            ("User@BÜCHER.example", ENCODED),
            (ENCODED.upper(), ENCODED),
            ("user@bu\u0308cher.example", ENCODED),
            ("user@bücher\uff0eexample", ENCODED),
            ("user@mail_1.bücher.example", "user@mail_1.xn--bcher-kva.example"),
            ("user@例え.テスト", "user@xn--r8jz45g.xn--zckzah"),
            ("user@straße.example", "user@xn--strae-oqa.example"),
            ("PÉPÉ@Example.com", "PÉPÉ@example.com"),
            ("pépé@Bücher.example", "pépé@xn--bcher-kva.example"),
            ("", ""),
            ("doe", "doe"),
        ):
            with self.subTest(address):
                self.assertEqual(comparable(address), form)
                self.assertEqual(comparable(comparable(address)), form)

    def test_spellings(self):
        self.assertEqual(spellings("Ada@example.org"), ["ada@example.org"])
        self.assertEqual(spellings(UNICODE), [ENCODED, UNICODE])
        self.assertEqual(spellings(ENCODED), [ENCODED, UNICODE])
        self.assertEqual(all_spellings([UNICODE, "ada@example.org", ENCODED]), [ENCODED, UNICODE, "ada@example.org"])

    def test_what_is_no_domain(self):
        """Test that nothing is raised for domains that no name server knows."""
        for domain in (
            "", ".", "..", "a..ü", ".ü", "ü.", "ü" * 64, "a" * 64, ".".join(["ü" * 20] * 40), "xn--", "xn--.de",
            "xn--zzzzzzzz", "xn--" + "9" * 70, "xn--ü", "-ü", "ü-", "\u200d", "\u0301a", "\u00ad", "😀", "\ud800",
            "a b", "[1.2.3.4]", "ü@ü", "\x00ü",
        ):  # fmt: skip
            with self.subTest(ascii(domain)):
                address = f"user@{domain}"
                self.assertEqual(comparable(comparable(address)), comparable(address))
                self.assertIn(len(spellings(address)), (1, 2))
                find_impossible([address])

    @given(st.text(max_size=40), st.text(max_size=40))
    @quick
    def test_anything(self, local, domain):
        """Test that any text has one form, and that each of its spellings leads to it."""
        form = comparable(f"{local}@{domain}")
        self.assertEqual(comparable(form), form)
        for spelling in spellings(form):
            self.assertEqual(comparable(spelling), form)

    @given(st.from_regex(r"[a-zA-Z0-9.+_-]{1,10}@[a-zA-Z0-9-]{1,8}(\.[a-z]{1,5}){1,2}", fullmatch=True))
    @quick
    def test_like_odoo(self, address):
        """Test that an address in ASCII has the form that Odoo stores."""
        self.assertEqual(comparable(address), email_normalize(address))


@tagged("post_install", "-at_install")
class TestUnicodeDomain(SendgridCase):
    """A contact whose domain is not ASCII: Odoo stores it as typed, mail servers and SendGrid say it in punycode."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.reader = cls.env["res.partner"].create({"name": "Reader", "email": UNICODE})
        cls.lead = cls.env["crm.lead"].create({"name": "Lead", "email_from": f'"Reader" <{UNICODE}>'})

    def send_to_reader(self, **values):
        sent, email = self.send_mail(
            recipient_ids=self.reader.ids, model="res.partner", res_id=self.reader.id, **values
        )
        self.assertEmail(email, recipient=ENCODED, partner_id=self.reader)
        return sent, email

    def test_sent(self):
        """Test that the mail leaves, readable for every mail program, and that its document has the contact."""
        [sent], email = self.send_to_reader(reply_to='"Bücher, Inc." <reply@bücher.example>')
        self.assertEqual(sent.recipients, [ENCODED])
        raw = message_from_bytes(sent.data)
        self.assertIn(f"<{ENCODED}>", raw["To"])
        self.assertIn("<reply@xn--bcher-kva.example>", raw["Reply-To"])
        message = message_from_bytes(sent.data, policy=policy.default)
        self.assertEqual(message["Reply-To"].addresses[0].display_name, "Bücher, Inc.")
        self.assertEqual(self.lead.sendgrid_email_count, 1, "the lead has the address too")

    def test_bounce(self):
        """Test that a bounce flags and counts for all records, however they spell the address."""
        twin = self.env["res.partner"].create({"name": "Twin", "email": ENCODED})
        others = self.env["res.partner"].create(
            [{"name": "Other", "email": email} for email in ("User@bu\u0308cher.example", "user@bücher\uff0eexample")]
        )
        _sent, email = self.send_to_reader()
        self.receive(self.relay(email).event("bounce", timestamp=self.after(email, 60)))
        self.assertEmail(email, status="bounced")
        self.assertTrue(self.reader.email_bounced)
        self.assertTrue(twin.email_bounced)
        self.assertEqual(others.mapped("email_bounced"), [True, True])
        self.assertTrue(self.lead.email_bounced)
        self.assertEqual(self.reader.message_bounce, 1)
        self.assertIn(self.lead, self.env["crm.lead"].search([("email_bounced", "=", True)]))
        self.assertIn(self.reader, self.env["res.partner"].search([("email_bounced", "=", True)]))
        self.env["sendgrid.address"]._gc_contradictions()
        self.assertTrue(self.reader.email_bounced)

        self.reader.action_email_is_valid()
        self.assertFalse(self.reader.email_bounced)
        self.assertFalse(twin.email_bounced)
        self.assertEqual(self.reader.message_bounce, 0)

    def test_asynchronous_bounce(self):
        """Test a bounce without any id, in both spellings."""
        for seconds, address in enumerate((ENCODED, UNICODE)):
            with self.subTest(address):
                _sent, email = self.send_to_reader(subject=address)
                batch = self.receive(async_bounce(address, now() + 10 + seconds))
                self.assertEqual(self.event_of(batch).email_id, email)
                self.assertEqual(self.event_of(batch).recipient, ENCODED)

    def test_event_in_unicode(self):
        """Test that an event that spells the address as Odoo does is the recipient's of a copy to several."""
        _sent, emails = self.send_mail(email_to=f"{UNICODE}, ada@example.org")
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org", ENCODED])
        relayed = self.relay(emails)
        batch = self.receive(relayed.event("open", timestamp=self.after(emails[0], 3600), email=UNICODE))
        self.assertEqual(self.event_of(batch).email_id.recipient, ENCODED)

    def test_unsubscribed(self):
        """Test that core finds the contact on the blacklist, and that taking it off there takes off the address."""
        Blacklist = self.env["mail.blacklist"]
        _sent, email = self.send_to_reader()
        self.receive(self.relay(email).event("unsubscribe", timestamp=self.after(email, 3600)))
        self.assertTrue(self.reader.is_blacklisted)
        self.assertEqual(set(Blacklist.search([]).mapped("email")) & {UNICODE, ENCODED}, {UNICODE, ENCODED})
        self.assertIn("unsubscribed", self.reader.sendgrid_warning)

        Blacklist._remove(UNICODE)
        self.assertFalse(Blacklist.search([("email", "in", [UNICODE, ENCODED])]))
        self.receive(self.relay(email).event("unsubscribe", timestamp=self.after(email, 3000)))
        self.assertFalse(
            Blacklist.search([("email", "in", [UNICODE, ENCODED])]), "that wish is older than the decision"
        )

    def test_blacklisted_by_somebody(self):
        """Test that core finds the contact on the blacklist, however somebody spells the address that he puts there."""
        Blacklist = self.env["mail.blacklist"]
        for spelling in (UNICODE, "User@BÜCHER.example", ENCODED.upper()):
            for put in (Blacklist._add, lambda email: Blacklist.create({"email": email})):
                put(spelling)
                self.env.invalidate_all()
                self.assertTrue(self.reader.is_blacklisted)
                self.assertEqual(set(Blacklist.search([]).mapped("email")), {UNICODE, ENCODED})
                Blacklist.search([("email", "=", UNICODE)]).unlink()
                self.assertFalse(Blacklist.search([]))
                Blacklist.with_context(active_test=False).search([]).unlink()

    def test_suppressed(self):
        """Test what SendGrid's lists say of the address."""
        Sync = self.env["sendgrid.suppression.sync"]
        sync = Sync.create({"account_id": self.account.id, "until": fields.Datetime.now()})
        Suppression = self.env["sendgrid.suppression"]
        Suppression._store(sync, "spam_reports", [Entry(ENCODED, now() - 60)])
        Suppression._store(
            sync, "bounces", [Entry(UNICODE, now() - 60, reason="550 5.1.1 unknown", smtp_status="5.1.1")]
        )
        self.assertTrue(self.reader.is_blacklisted)
        self.assertTrue(self.reader.email_bounced)
        self.assertTrue(self.reader.is_held_by_sendgrid)
        self.assertEqual(Suppression.search([("account_id", "=", self.account.id)]).mapped("email"), [ENCODED] * 2)
        entries = self.env["mail.blacklist"].search([("is_suppressed", "=", True)])
        self.assertEqual(set(entries.mapped("email")), {UNICODE, ENCODED})

    def test_mail_comes_in(self):
        """Test that a mail from the contact ends its bounce."""
        _sent, email = self.send_to_reader()
        self.receive(self.relay(email).event("bounce", timestamp=self.after(email, 60)))
        self.env["sendgrid.address"]._hear_from(comparable(UNICODE))
        self.assertFalse(self.reader.email_bounced)
        self.reader.email = "x@example.org"
        self.reader.email = UNICODE
        self.assertFalse(self.reader.email_bounced)

    def test_stranger_who_writes(self):
        """Test that nothing is kept of a stranger, and something of a contact, whatever the spelling."""
        Address = self.env["sendgrid.address"]
        Address._hear_from("stranger@xn--bcher-kva.example")
        Address._hear_from(ENCODED)
        self.assertEqual(Address.search([("email", "like", "xn--bcher-kva")]).mapped("email"), [ENCODED])

    def test_colleague(self):
        """Test that a colleague whose domain is not ASCII has no document."""
        new_test_user(self.env, "colleague_elsewhere", email="kollege@bücher.example")
        sent, emails = self.send_mail(email_to="kollege@bücher.example, ada@example.org")
        self.assertEqual(sent[0].recipients, ["kollege@xn--bcher-kva.example", "ada@example.org"])
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org"])

    def test_contact_of_an_address(self):
        """Test that a mail to an address as text has the contact, whatever it spells."""
        for address in (UNICODE, ENCODED):
            _sent, email = self.send_mail(email_to=address, subject=address)
            self.assertEmail(email, recipient=ENCODED, partner_id=self.reader)

    def test_strangers_events(self):
        """Test that an event of another program about the address is kept, since a contact has it."""
        own = self.env["sendgrid.ingest"]._get_own_addresses({ENCODED, "stranger@xn--bcher-kva.example"})
        self.assertEqual(own, {ENCODED})

    def test_letters_before_the_at(self):
        """Test that such letters keep their case, as in the contact's normalized address."""
        contact = self.env["res.partner"].create({"name": "Pépé", "email": "PÉPÉ@Example.com"})
        self.assertEqual(contact.email_normalized, "PÉPÉ@example.com")
        batch = self.receive({"email": "PÉPÉ@EXAMPLE.com", "event": "open", "timestamp": now(), "sg_event_id": "x"})
        self.assertEqual(self.event_of(batch).recipient, contact.email_normalized)
        sync = self.env["sendgrid.suppression.sync"].create(
            {"account_id": self.account.id, "until": fields.Datetime.now()}
        )
        entry = Entry("PÉPÉ@EXAMPLE.com", now() - 60, smtp_status="5.1.1")
        self.env["sendgrid.suppression"]._store(sync, "bounces", [entry])
        self.assertTrue(contact.email_bounced)
