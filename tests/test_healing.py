from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from email.utils import format_datetime
from unittest.mock import patch

from psycopg2.errors import SerializationFailure

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from ..models.sendgrid_address_bounce import SendgridAddress
from .common import now
from .test_consequences import SENT_SECONDS, ConsequenceCase

MAIL = """Return-Path: <{sender}>
To: {to}
From: {sender}
Subject: {subject}
Date: Tue, 24 Nov 2026 07:00:00 +0000
Message-ID: <{number}@mail.example.org>
MIME-Version: 1.0
{headers}Content-Type: text/plain; charset=utf-8

Hello, I am here.
"""


class PeopleCase(ConsequenceCase):
    def _bounce(self, partner, address=None, **fields):
        """Let a document to one of a contact's addresses bounce, by a POST.

        :return: the document
        """
        email, relayed = self._sent(partner, recipient=address or partner.email_normalized)
        self._post(relayed.event("bounce", timestamp=SENT_SECONDS + 60, **fields))
        self.env.invalidate_all()
        return email

    def _address(self, email):
        return self.env["sendgrid.address"].search([("email", "=", email)])

    def _write(self, sender, headers="", subject="Re: Offer", raw=None, to="catchall@example.com"):
        """Have a mail come in by Odoo's gateway, as a new lead."""
        type(self).number += 1
        mail = raw or MAIL.format(sender=sender, to=to, subject=subject, headers=headers, number=self.number)
        with mute_logger("odoo.addons.mail.models.mail_thread"):
            self.env["mail.thread"].message_process("crm.lead", mail)
        self.env.invalidate_all()


@tagged("post_install", "-at_install")
class TestWritingBack(PeopleCase):
    """A mail from an address ends its bounce, wherever the address stands, unless a machine sent it."""

    def test_language(self):
        """Test that what Odoo notes by itself is in the company's language, whoever runs the gateway."""
        self.env["res.lang"]._activate_lang("fr_FR")
        self.env.company.partner_id.lang = "fr_FR"
        partner = self._contact(email="zoe@example.org")
        self._bounce(partner)
        self._write(partner.email)
        self.assertIn("Un e-mail", str(partner.message_ids.sorted("id")[-1].body))

    def test_all_records(self):
        """Test that the flag, the banner and core's counters go for all records with the address."""
        partner = self._contact(email="ada@example.org")
        twin = self._contact(email='"Twin" <twin@example.org>, ADA@example.org')
        archived = self._contact(email="Ada@Example.org", active=False)
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "Ada <ada@example.org>"})
        lost = self.env["crm.lead"].create({"name": "Lost", "email_from": "ada@example.org", "active": False})
        records = [partner, twin, archived, lead, lost]
        if "mailing.contact" in self.env:
            records.append(self.env["mailing.contact"].create({"name": "Ada", "email": "ada@example.org"}))
        self._bounce(partner)
        for record in (archived, lost, twin):
            record.message_bounce = 2
        for record in records:
            self.assertTrue(record.email_bounced, record)
            self.assertIn("ada@example.org bounced", record.sendgrid_warning)
        self._write('"Ada Lovelace" <Ada@Example.ORG>')
        for record in records:
            self.assertFalse(record.email_bounced, record)
            self.assertEqual(record.message_bounce, 0, record)
            self.assertNotIn("bounced on", record.sendgrid_warning)
        self.assertRecordValues(partner, [{"email_bounce_reason": False, "email_bounce_date": False}])
        self.assertIn("came in", str(partner.message_ids.mapped("body")))
        # Anybody can write any From, so SendGrid's list is only offered.
        self.assertIn("SendGrid holds back e-mails to ada@example.org", partner.sendgrid_warning)
        entry = self.env["sendgrid.suppression"].search([("email", "=", "ada@example.org")])
        self.assertEqual(entry.state, "listed")

    def test_second_address(self):
        """Test that a mail from either address of a contact ends the bounce of this address only."""
        partner = self._contact(email="first@example.org, second@example.org")
        for address in ("first@example.org", "second@example.org"):
            self._bounce(partner, address)
        self._write("second@example.org")
        self.assertTrue(partner.email_bounced)
        self.assertIn("first@example.org bounced", partner.sendgrid_warning)
        self.assertNotIn("second@example.org bounced", partner.sendgrid_warning)
        self.assertGreater(partner.message_bounce, 0, "the other address is bounced, and core's counter agrees")
        self._write("first@example.org")
        self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])

    def test_automatic(self):
        """Test that what a machine sent by itself ends no bounce, and leaves core's counter alone."""
        partner = self._contact(email="ada@example.org")
        self._bounce(partner)
        report = (
            "From: ada@example.org\nTo: catchall@example.com\nSubject: Read: Offer\nMessage-ID: <report@example.org>\n"
            "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: message/disposition-notification\n\n"
            "Disposition: automatic-action/MDN-sent-automatically; displayed\n--x--\n"
        )
        for mail in (
            {"headers": "Auto-Submitted: auto-replied\n"},
            {"headers": "Auto-Submitted: Auto-Generated; owner=x\n"},
            {"headers": "auto-submitted: auto-notified (cron)\n"},
            {"headers": "Precedence: bulk\n"},
            {"headers": "Precedence: Auto_Reply\n"},
            {"headers": "Precedence: junk\n"},
            {"headers": "Precedence: list\n"},
            {"headers": "X-Autoreply: yes\n"},
            {"headers": "X-Autorespond: Offer\n"},
            {"headers": "X-Auto-Response-Suppress: DR, OOF, AutoReply\n"},
            {"headers": "List-Id: <news.example.org>\n"},
            {"headers": "Return-Path: <>\n"},
            {"subject": "Automatic reply: Offer"},
            {"subject": "Out of Office: Offer"},
            {"subject": "Automatische Antwort: Offer"},
            {"raw": report},
        ):
            with self.subTest(mail=mail):
                self._write("ada@example.org", **mail)
                self.assertRecordValues(partner, [{"email_bounced": True, "message_bounce": 1}])
        self.assertFalse(self._address("ada@example.org").last_reply_date)
        for mail in (
            {"headers": "Auto-Submitted: no\n"},
            {"headers": "X-Auto-Response-Suppress: None\n", "subject": "Re: Automatic reply: Offer"},
            {"subject": "Out of office furniture"},
        ):
            with self.subTest(mail=mail):
                self.assertTrue(partner.email_bounced)
                self._write("ada@example.org", **mail)
                self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])
            self.env["sendgrid.address"].search([]).unlink()
            self._bounce(partner)

    def test_automatic_without_our_bounce(self):
        """Test that core decides as always about counters that are not ours."""
        partner = self._contact(email="core@example.org", message_bounce=3)
        self._write("core@example.org", "Auto-Submitted: auto-replied\n")
        self.assertEqual(partner.message_bounce, 0)

    def test_older_bounce(self):
        """Test that a bounce from before the mail does not bring the flag back, and one from after it does."""
        partner = self._contact(email="ada@example.org")
        email, relayed = self._sent(partner)
        self._write("ada@example.org")
        replied = self._address("ada@example.org").last_reply_date
        self.assertTrue(replied)
        self._post(relayed.event("bounce", timestamp=now() - 3600))
        self.assertEqual(email.status, "bounced")
        self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])
        _email, relayed = self._sent(partner)
        self._post(relayed.event("bounce", timestamp=now() + 3600))
        self.assertRecordValues(partner, [{"email_bounced": True, "message_bounce": 1}])
        # A clock that is ahead does not keep the next mail from proving the address.
        self._write("ada@example.org")
        self.assertFalse(partner.email_bounced)

    def test_late(self):
        """Test that a mail that is fetched days after a server received it ends no bounce that is younger than it."""

        def trace(*received):
            return "".join(f"Received: from a.example.org by b.example.org; {date}\n" for date in received)

        def ago(**period):
            return format_datetime(datetime.now(timezone.utc) - timedelta(**period))

        partner = self._contact(email="ada@example.org")
        _email, relayed = self._sent(partner)
        self._post(relayed.event("bounce", timestamp=now() - 86400))
        self.assertTrue(partner.email_bounced)
        for headers in (trace(ago(days=3)), trace(ago(days=2), ago(hours=1)), trace(ago(hours=25))):
            self._write("ada@example.org", headers)
            self.assertRecordValues(partner, [{"email_bounced": True, "message_bounce": 1}])
        self.assertLess(self._address("ada@example.org").last_reply_date, fields.Datetime.now() - timedelta(hours=24))
        for headers in (trace(ago(hours=23)), trace(ago(hours=-9)), trace("no date"), trace(""), trace(ago(seconds=9))):
            with self.subTest(headers):
                self._write("ada@example.org", headers)
                self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])
                self.assertLessEqual(self._address("ada@example.org").last_reply_date, fields.Datetime.now())
            self.env["sendgrid.address"].search([]).unlink()
            _email, relayed = self._sent(partner)
            self._post(relayed.event("bounce", timestamp=now() - 86400))
            self.assertTrue(partner.email_bounced)

    def test_strangers(self):
        """Test that the time is noted of whom we know, and nothing of strangers."""
        contact = self._contact(email="known@example.org")
        two = self._contact(email="one@example.org, two_2@example.org")
        self.env["sendgrid.email"].create(
            {
                "odoo_id": "stranger",
                "account_id": self.account.id,
                "recipient": "document@example.org",
                "sent_date": "2026-11-24 06:00:00",
            }
        )
        for address in ("known@example.org", "two_2@example.org", "document@example.org"):
            self._write(address)
            self.assertTrue(self._address(address).last_reply_date, address)
        for address in ("stranger@example.org", "two-2@example.org"):
            self._write(address)
            self.assertFalse(self._address(address), address)
        self.assertFalse(contact.email_bounced or two.email_bounced)
        self.assertFalse(contact.message_ids.filtered(lambda message: "came in" in (message.body or "")))

    def test_queries(self):
        """Test that a mail of a stranger costs one query, and one of a known address few."""
        thread = self.env["mail.thread"]
        contact = self._contact(email="known@example.org")
        mail = {"email_from": "x@example.org"}

        def count(email):
            mail["email_from"] = email
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            thread._routing_reset_bounce(EmailMessage(), mail)
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        count("x@example.org")
        with patch.object(SendgridAddress, "_hear_from", lambda *_args: None):
            core = count("x@example.org")
        self.assertEqual(count("y@example.org"), core + 1)
        count(contact.email)
        self.assertLessEqual(count(contact.email), core + 7)

    @mute_logger("odoo.addons.sendgrid_tracking.models.mail_thread")
    def test_never_costs_the_mail(self):
        """Test that the mail comes in whatever happens while its sender's bounce is being ended."""
        partner = self._contact(email="ada@example.org")
        self._bounce(partner)

        def fail(*_args):
            raise ValueError("no")

        def conflict(*_args):
            raise SerializationFailure("somebody else writes the address")

        for number, failing in enumerate((fail, conflict), 1):
            with patch.object(SendgridAddress, "_hear_from", failing):
                self._write("ada@example.org", subject=f"Question {number}")
            self.assertTrue(self.env["crm.lead"].search([("name", "=", f"Question {number}")]))
            self.assertRecordValues(partner, [{"email_bounced": True, "message_bounce": 1}])
        # After the commit it is tried again.
        self.env.flush_all()
        with self.enter_registry_test_mode():
            self.env.cr.postcommit.run()
        self.env.invalidate_all()
        self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])

    def test_not_at_sendgrid(self):
        """Test that after the mail the banner says that SendGrid still holds mail back, with the button to clear it."""
        self.account.api_key = "SG.secret"
        partner = self._contact(email="ada@example.org").with_user(self.salesperson)
        self._bounce(partner.sudo())
        self._write("ada@example.org")
        self.assertRecordValues(
            partner, [{"email_bounced": False, "is_held_by_sendgrid": True, "may_clear_at_sendgrid": True}]
        )
        action = partner.action_clear_at_sendgrid()
        self.assertEqual(action["context"], {"default_email": "ada@example.org"})


@tagged("post_install", "-at_install")
class TestBanner(PeopleCase):
    """What contacts and leads say of each of their addresses, and the buttons beside it."""

    def _list(self, address, name="bounces", **values):
        return self.env["sendgrid.suppression"].create(
            {
                "account_id": self.account.id,
                "list": name,
                "email": address,
                "created": "2026-11-24 06:00:00",
                **values,
            }
        )

    def test_each_address(self):
        """Test that each of a contact's addresses bounces by itself, in both directions, and is named."""
        for bounced, other in (
            ("first@example.org", "second@example.org"),
            ("fourth@example.org", "third@example.org"),
        ):
            pair = sorted((bounced, other))
            partner = self._contact(email=f"Ada <{pair[0]}>, {pair[1]}")
            self._bounce(partner, bounced)
            self.assertTrue(partner.email_bounced)
            self.assertIn(f"{bounced} bounced on", partner.sendgrid_warning)
            self.assertNotIn(other, partner.sendgrid_warning)
            self.account.api_key = "SG.secret"
            action = partner.with_user(self.salesperson).action_email_is_valid()
            self.assertFalse(partner.email_bounced)
            self.assertEqual(action["context"], {"default_email": bounced}, "the dialog is about what bounced")
            self.assertTrue(self._address(bounced).valid_date)
            self.assertFalse(self._address(other).valid_date)

    def test_contradictions(self):
        """Test that a contact that a bounce missed shows it on the next day, and that a wrong flag goes."""
        first = self._contact(email="ada@example.org")
        self._bounce(first)
        missed = self._contact(email="ada@example.org", active=False)
        second = self._contact(email="bob@example.org, ada@example.org")
        wrong = self._contact(email="bob@example.org, carl@example.org")
        # Another transaction, which does not see the bounce, leaves contacts like this.
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE res_partner SET email_bounced = id = %s, email_bounce_date = NULL WHERE id = ANY(%s)",
            [wrong.id, (missed | second | wrong).ids],
        )
        self.env.invalidate_all()
        changed = first.write_date
        self.env["sendgrid.address"]._gc_contradictions()
        self.env.invalidate_all()
        self.assertEqual((first | missed | second | wrong).mapped("email_bounced"), [True, True, True, False])
        self.assertEqual((missed | second).mapped("email_bounce_date"), [first.email_bounce_date] * 2)
        self.assertEqual(first.write_date, changed)

    def test_long_reason(self):
        """Test that of a server's endless words the beginning is kept and shown."""
        partner = self._contact(email="ada@example.org")
        self._bounce(partner, reason="550 5.1.1 no such user " + "x" * 60000)
        self.assertEqual(len(self._address("ada@example.org").bounce_reason), 1000)
        self.assertIn("550 5.1.1 no such user", partner.sendgrid_warning)
        self._address("ada@example.org").bounce_reason = "y" * 60000
        self.env["sendgrid.suppression"].search([]).reason = "z" * 60000
        self.env.invalidate_all()
        self.assertLess(len(partner.sendgrid_warning), 3000)

    def test_many_addresses(self):
        """Test that contacts with several addresses are found by many addresses as by few, without many patterns."""
        Partner = self.env["res.partner"]
        texts = (
            '"Ada, née Byron" <Ada@Example.org>, other@example.org',
            "other@example.org, a_d'a+x@example.org",
            "xada@example.org, ada@example.organic",
            "Jürgen <jürgen@exämple.org>, other@example.org",
        )
        ids = Partner.create([{"name": "x", "email": text} for text in texts]).ids
        sought = ["ada@example.org", "a_d'a+x@example.org", *self.env["sendgrid.address"]._split(texts[3])[:1]]
        self.assertEqual(set(Partner._get_by_addresses(sought).ids), {ids[0], ids[1], ids[3]})
        many = [*sought, *(f"nobody{number}@example.org" for number in range(1000))]
        execute, queries = self.env.cr.execute, []
        with patch.object(
            self.env.cr, "execute", lambda *args, **kw: queries.append(str(args)) or execute(*args, **kw)
        ):
            self.assertEqual(set(Partner._get_by_addresses(many).ids), {ids[0], ids[1], ids[3]})
        self.assertTrue(queries)
        self.assertFalse([query for query in queries if "ILIKE" in query])

    def test_lead(self):
        """Test that a lead has the banner, the filter and the button of a contact."""
        lead = self.env["crm.lead"].create(
            {"name": "Lead", "email_from": "Lea <lea@example.org>, lee@example.org", "user_id": self.salesperson.id}
        )
        other = self.env["crm.lead"].create(
            {"name": "Other", "email_from": "biglee@example.org, x@example.org", "user_id": self.salesperson.id}
        )
        third = self.env["crm.lead"].create(
            {"name": "Third", "email_from": "lee@example.org", "active": False, "user_id": self.salesperson.id}
        )
        partner = self._contact(email="lee@example.org")
        leads = (lead | other | third).with_context(active_test=False).with_user(self.salesperson)
        domain = [("id", "in", leads.ids)]
        self.assertFalse(leads.search([*domain, ("email_bounced", "=", True)]))
        self._bounce(partner)
        for found, flag in ((lead | third, True), (other, False)):
            self.assertEqual(leads.search([*domain, ("email_bounced", "=", flag)], order="id"), found.sorted("id"))
            self.assertEqual(
                leads.filtered(lambda r, flag=flag: r.email_bounced == flag).sorted("id"), found.sorted("id")
            )
        with Form(lead.with_user(self.salesperson)) as form:
            self.assertIn("lee@example.org bounced on", form.sendgrid_warning)
            form.email_from = "new@example.org"
            self.assertFalse(form.sendgrid_warning or form.email_bounced)
            form.email_from = "lea@example.org, lee@example.org"
            self.assertTrue(form.email_bounced)
        lead.with_user(self.salesperson).action_email_is_valid()
        self.env.invalidate_all()
        self.assertFalse(lead.email_bounced or partner.email_bounced)
        self.assertIn("lee@example.org", lead.message_ids[0].body)

    def test_contacts_are_found_by_the_stored_flag(self):
        """Test that a search of contacts reads the flag, as rules and filters see it, and no addresses."""
        partner = self._contact()
        self._bounce(partner)
        self.assertEqual(
            self.env["res.partner"].search([("email_bounced", "=", True), ("id", "=", partner.id)]), partner
        )
        query = self.env["res.partner"]._search([("email_bounced", "=", True)])
        self.assertNotIn("sendgrid_address", query.select().code)

    def test_search_reads_few(self):
        """Test that the filter on leads costs the same queries for one bounced address as for many."""
        Lead = self.env["crm.lead"]

        def count(number, prefix):
            addresses = [f"{prefix}{n}@example.org" for n in range(number)]
            Lead.create([{"name": address, "email_from": address} for address in addresses])
            self.env["sendgrid.address"].create([{"email": email, "bounce_date": "2026-11-24"} for email in addresses])
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            found = Lead.search_count([("email_bounced", "=", True), ("name", "like", prefix)])
            self.assertEqual(found, number)
            return self.env.cr.sql_log_count - before

        count(1, "warm")
        self.assertEqual(count(60, "many"), count(2, "few"))

    def test_typing(self):
        """Test that the banner follows the address that is being typed, and says nothing of the old one."""
        partner = self._contact()
        old = partner.email
        self._bounce(partner)
        bad = self._contact()
        self._bounce(bad)
        with Form(partner) as form:
            self.assertIn(old, form.sendgrid_warning)
            form.email = "corrected@example.org"
            self.assertFalse(form.sendgrid_warning or form.email_bounced or form.may_clear_at_sendgrid)
            form.email = bad.email
            self.assertIn(bad.email, form.sendgrid_warning)
            self.assertNotIn(old, form.sendgrid_warning)
            form.email = "corrected@example.org"
        self.assertRecordValues(
            partner, [{"email_bounced": False, "email_bounce_reason": False, "email_bounce_date": False}]
        )
        partner.email = old
        self.assertTrue(partner.email_bounced, "the old address still bounces")

    def test_import(self):
        """Test that contacts that are imported with an address that bounced are flagged at once."""
        partner = self._contact()
        self._bounce(partner)
        self.env["res.partner"].load(
            ["id", "name", "email"],
            [["__test__.one", "One", partner.email], ["__test__.two", "Two", "two@example.org"]],
        )
        self.assertTrue(self.env.ref("__test__.one").email_bounced)
        self.assertFalse(self.env.ref("__test__.two").email_bounced)
        self.env["res.partner"].load(["id", "email"], [["__test__.two", f"two@example.org; {partner.email}"]])
        self.assertTrue(self.env.ref("__test__.two").email_bounced)

    def test_archived(self):
        """Test that an archived contact is flagged, and still is when it comes back."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        partner.active = False
        self._post(relayed.event("bounce", timestamp=SENT_SECONDS + 60))
        self.assertTrue(partner.email_bounced)
        partner.active = True
        self.assertTrue(partner.email_bounced)
        self.assertIn("bounced", partner.sendgrid_warning)

    def test_merge(self):
        """Test that a merged contact has flag, counter and confirmation of the address that it keeps."""
        for archived in (False, True):
            for good_remains in (True, False):
                with self.subTest(archived=archived, good_remains=good_remains):
                    bad, good = self._contact(), self._contact()
                    good.action_email_is_valid()
                    self._bounce(bad)
                    bad.active = not archived
                    remains, gone = (good, bad) if good_remains else (bad, good)
                    confirmed = good.email_valid_date if good_remains else False
                    self.assertTrue(good.email_valid_date)
                    wizard = self.env["base.partner.merge.automatic.wizard"].create(
                        {"partner_ids": [(6, 0, (good | bad).ids)], "dst_partner_id": remains.id, "state": "selection"}
                    )
                    wizard._merge((good | bad).ids, remains)
                    self.env.invalidate_all()
                    self.assertFalse(gone.exists())
                    self.assertRecordValues(
                        remains,
                        [
                            {
                                "email_bounced": not good_remains,
                                "message_bounce": 0 if good_remains else 1,
                                "email_valid_date": confirmed,
                            }
                        ],
                    )
        nameless = self._contact(email=False)
        bad = self._contact()
        self._bounce(bad)
        self.env["base.partner.merge.automatic.wizard"].create({})._merge((nameless | bad).ids, nameless)
        self.assertTrue(nameless.email)
        self.assertRecordValues(nameless, [{"email_bounced": True, "message_bounce": 1}])

    def test_wish_has_its_own_date(self):
        """Test that the banner dates a complaint by itself, and never by a later drop."""
        partner = self._contact()
        _email, relayed = self._sent(partner)
        _email, dropped = self._sent(partner, subject="Second offer")
        drop = dropped.event("dropped", reason="Spam Reporting Address", timestamp=SENT_SECONDS + 20 * 86400)
        self._post(relayed.event("spamreport", timestamp=SENT_SECONDS + 60), drop)
        self.env.invalidate_all()
        warning = partner.sendgrid_warning
        self.assertIn("reported spam on Nov 24", warning)
        self.assertIn("“Offer”", warning)
        self.assertNotIn("Dec 14", warning)
        self.assertNotIn("Second offer", warning)
        for reason, words in (
            ("Spam Reporting Address", "reported spam some time before Dec 14"),
            ("Unsubscribed Address", "unsubscribed some time before Dec 14"),
        ):
            partner = self._contact()
            _email, relayed = self._sent(partner)
            self._post(relayed.event("dropped", reason=reason, timestamp=SENT_SECONDS + 20 * 86400))
            self.assertIn(words, partner.sendgrid_warning)
            # SendGrid's list has told when it was.
            self._address(partner.email_normalized).wish_date = "2026-11-02 08:00:00"
            self.env.invalidate_all()
            self.assertIn("on Nov 2, ", partner.sendgrid_warning.splitlines()[0])

    def test_held(self):
        """Test that an address on SendGrid's list is shown with cause and date, whatever else is known of it."""
        self.account.api_key = "SG.secret"
        partner = self._contact(email="one@example.org, two@example.org", company_id=False)
        lead = self.env["crm.lead"].create(
            {"name": "L", "email_from": "two@example.org", "user_id": self.salesperson.id}
        )
        for name, words in (
            ("bounces", "Bounces"),
            ("invalid_emails", "Invalid Addresses"),
            ("spam_reports", "Spam Reports"),
            ("unsubscribes", "Global Unsubscribes"),
        ):
            entry = self._list("two@example.org", name, reason="552 5.2.2 full")
            self.env.invalidate_all()
            for record in (partner.with_user(self.salesperson), lead.with_user(self.salesperson)):
                self.assertTrue(record.is_held_by_sendgrid and record.may_clear_at_sendgrid)
                self.assertFalse(record.email_bounced)
                self.assertIn("holds back e-mails to two@example.org since Nov 24", record.sendgrid_warning)
                self.assertIn(words, record.sendgrid_warning)
                self.assertIn("552 5.2.2 full", record.sendgrid_warning)
                self.assertEqual(record.action_clear_at_sendgrid()["context"], {"default_email": "two@example.org"})
            entry.state = "clearing"
            self.env.invalidate_all()
            self.assertIn("being asked to clear", partner.sendgrid_warning)
            entry.unlink()
        for name, values in (("blocks", {}), ("groups", {"group_id": 7}), ("bounces", {"state": "cleared"})):
            self._list("one@example.org", name, **values)
        self.env.invalidate_all()
        self.assertFalse(partner.sendgrid_warning or partner.is_held_by_sendgrid)

    def test_held_for_another_company(self):
        """Test that what another company's account holds back is no matter of this company's users."""
        company = self.env["res.company"].create({"name": "Another"})
        self.account.company_id = company
        partner = self._contact()
        self._list(partner.email_normalized)
        self.env.invalidate_all()
        self.assertFalse(partner.with_user(self.salesperson).sendgrid_warning)
        theirs = new_test_user(
            self.env,
            "sendgrid_theirs",
            groups="base.group_user",
            company_id=company.id,
            company_ids=[(6, 0, company.ids)],
        )
        self.assertIn("holds back", partner.with_user(theirs).sendgrid_warning)

    def test_readers(self):
        """Test who reads the banner: every employee, in his language and time zone, and no portal user."""
        self.env["res.lang"]._activate_lang("fr_FR")
        partner = self._contact()
        self._bounce(partner)
        for name, values, words in (
            ("plain", {"tz": "UTC"}, r"Nov 24,( 2026,)? 6:01 AM"),
            ("kiritimati", {"tz": "Pacific/Kiritimati"}, r"Nov 24,( 2026,)? 8:01 PM"),
            ("honolulu", {"tz": "Pacific/Honolulu"}, r"Nov 23,( 2026,)? 8:01 PM"),
            ("french", {"tz": "Europe/Paris", "lang": "fr_FR"}, r"24 nov\.( 2026)?, 07:01"),
        ):
            user = new_test_user(self.env, f"sendgrid_{name}", groups="base.group_user", **values)
            seen = partner.with_user(user).with_context(lang=user.lang)
            self.assertRegex(seen.sendgrid_warning, words)
            self.assertTrue(seen.email_bounced)
            self.assertFalse(seen.may_clear_at_sendgrid)
            with self.assertRaises(AccessError):
                seen.action_email_is_valid()
        portal = new_test_user(self.env, "sendgrid_portal", groups="base.group_portal")
        own = portal.partner_id.with_user(portal)
        for name in ("email_bounced", "sendgrid_warning", "sendgrid_resend_offer", "may_clear_at_sendgrid"):
            with self.assertRaises(AccessError):
                own.read([name])


@tagged("post_install", "-at_install")
class TestManyAtOnce(PeopleCase):
    """The action of a list: the addresses of many records are valid again."""

    def _flagged(self, number, prefix, **values):
        partners = self.env["res.partner"].create(
            [{"name": f"{prefix} {n}", "email": f"{prefix}{n}@example.org", **values} for n in range(number)]
        )
        addresses = self.env["sendgrid.address"].create(
            [
                {"email": partner.email, "bounce_date": "2026-11-24 06:00:00", "bounce_reason": "550"}
                for partner in partners
            ]
        )
        addresses._refresh_contacts()
        partners.message_bounce = 1
        return partners

    def _run(self, name, records, user):
        action = self.env.ref(f"sendgrid_tracking.ir_actions_server_{name}_are_valid")
        context = {"active_model": records._name, "active_ids": records.ids, "active_id": records[:1].id}
        result = action.with_user(user).with_context(**context).run()
        self.env.invalidate_all()
        return result

    def test_contacts(self):
        """Test that 500 contacts are done at once, with as many queries as ten, and a number is told."""
        administrator = new_test_user(self.env, "sendgrid_manager", groups="base.group_user,base.group_partner_manager")

        def count(number, prefix):
            partners = self._flagged(number, prefix)
            self.assertEqual(len(partners.filtered("email_bounced")), number)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            result = self._run("contacts", partners, administrator)
            self.env.flush_all()
            queries = self.env.cr.sql_log_count - before
            self.assertFalse(partners.filtered("email_bounced") or partners.filtered("message_bounce"))
            self.assertIn(f"valid again: {number}.", result["params"]["message"])
            self.assertEqual(
                partners.mapped("message_ids").filtered(lambda m: "Valid again" in m.body).author_id,
                (administrator.partner_id),
            )
            self.assertEqual(self._address(partners[0].email).valid_uid, administrator)
            return queries

        count(2, "warm")
        few = count(10, "few")
        # Core inserts a hundred rows at a time.
        self.assertLessEqual(count(500, "many"), few + 15)

    def test_not_bounced(self):
        """Test that contacts of a list whose address did not bounce are not confirmed."""
        partner = self._contact()
        result = self._run("contacts", partner, self.env.user)
        self.assertIn("valid again: 0.", result["params"]["message"])
        self.assertFalse(self._address(partner.email_normalized))

    def test_held(self):
        """Test that the number of those that SendGrid still holds back is told."""
        partners = self._flagged(2, "held")
        self.env["sendgrid.suppression"].create(
            {
                "account_id": self.account.id,
                "list": "bounces",
                "email": partners[0].email,
                "created": fields.Datetime.now() - timedelta(days=1),
            }
        )
        self.assertIn(
            "which their pages offer to end: 1.", self._run("contacts", partners, self.env.user)["params"]["message"]
        )

    def test_rights(self):
        """Test that only records that the user may change are done, and that he is told."""
        partners = self._flagged(3, "mine")
        reader = new_test_user(self.env, "sendgrid_reader", groups="base.group_user")
        with self.assertRaisesRegex(AccessError, "may not change any"):
            self._run("contacts", partners, reader)
        self.assertEqual(len(partners.filtered("email_bounced")), 3)
        own = self.env["crm.lead"].create(
            [{"name": p.name, "email_from": p.email, "user_id": self.salesperson.id} for p in partners[:2]]
        )
        colleague = self.env["crm.lead"].create(
            {"name": "C", "email_from": partners[2].email, "user_id": self.administrator.id}
        )
        result = self._run("leads", own | colleague, self.salesperson)
        self.assertIn("valid again: 2.", result["params"]["message"])
        self.assertIn("left alone: 1.", result["params"]["message"])
        self.assertEqual((own | colleague).filtered("email_bounced"), colleague)
        self.assertEqual(partners.filtered("email_bounced"), partners[2])


@tagged("post_install", "-at_install")
class TestSendAgain(PeopleCase):
    """A corrected address: what bounced at the former one is offered to be sent again."""

    def setUp(self):
        super().setUp()
        self.yesterday = fields.Datetime.now() - timedelta(days=1)
        self.partner = self._contact(email="old@example.org")

    def _bounced(self, subject="Offer", **values):
        email, relayed = self._sent(self.partner, **{"subject": subject, "sent_date": self.yesterday, **values})
        self._post(relayed.event("bounce", timestamp=int(self.yesterday.timestamp()) + 60))
        self.env.invalidate_all()
        return email

    def _offered(self, user=None):
        self.env.invalidate_all()
        partner = self.partner.with_user(user or self.salesperson)
        if not partner.sendgrid_resend_offer:
            return self.env["sendgrid.email"]
        action = partner.action_view_sendgrid_resend()
        return self.env["sendgrid.email"].search(action["domain"])

    def test_offer(self):
        """Test that what bounced is offered once the address is corrected, until it was sent again."""
        email = self._bounced()
        other = self._bounced("Invoice")
        self.assertFalse(self._offered(), "nothing is gained by the same address")
        with Form(self.partner) as form:
            form.email = "new@example.org"
            self.assertFalse(form.sendgrid_resend_offer, "not while it is being typed")
        self.assertEqual(self._offered(), email | other)
        self.assertIn("old@example.org", self.partner.sendgrid_resend_offer)
        again, relayed = self._sent(self.partner, sent_date=fields.Datetime.now())
        self.assertEqual(again.recipient, "new@example.org")
        self.assertEqual(self._offered(), other)
        self._post(relayed.event("bounce"))
        self.assertFalse(self._offered(), "the new address bounces too")

    def test_sent_again_otherwise(self):
        """Test that what was sent again from its page is not offered, though its subject or the recipient changed."""
        first, second = self._bounced(), self._bounced("Invoice")
        again = self._bounced("Re: Invoice", again_of_id=second.id, sent_date=self.yesterday + timedelta(hours=1))
        self.partner.email = "new@example.org"
        self.assertEqual(self._offered(), first | again, "the last of those that bounced")
        self._sent(self.partner, subject="The right offer", again_of_id=first.id, sent_date=fields.Datetime.now())
        self.assertEqual(self._offered(), again)
        # It has not left yet, or never did.
        self._sent(self.partner, subject="Invoices", again_of_id=again.id, sent_date=False, date=fields.Datetime.now())
        self.assertEqual(self._offered(), again)

    def test_not_offered(self):
        """Test what is not offered: what is old, what arrived, what others may not see, what belongs to a mailing."""
        self._sent(self.partner, sent_date=self.yesterday)
        self._bounced(sent_date=self.yesterday - timedelta(days=40))
        self._bounced(mailing_res_id=7)
        secret = self._bounced(with_message=False, model=False, res_id=False, author_id=False)
        self.partner.email = "new@example.org"
        self.assertFalse(self._offered())
        self.assertEqual(self._offered(self.administrator), secret)

    def test_dismissed(self):
        """Test that somebody can dismiss the offer, and that a later bounce is offered again."""
        self._bounced()
        self.partner.email = "new@example.org"
        self.assertTrue(self._offered())
        self.partner.with_user(self.salesperson).action_dismiss_sendgrid_resend()
        self.assertFalse(self._offered())
