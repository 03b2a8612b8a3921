import json
import re
from datetime import timedelta
from unittest.mock import Mock, patch

from freezegun import freeze_time

from odoo.fields import Datetime
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import MailDeliveryException

from ..tools.sending.links import MARK
from ..tools.sending.outbox import Outbox
from ..tools.sending.smtpapi import no_tracking
from .common import SendgridCase
from .test_migrations import load

SITE = "https://odoo.example.com"
refused = mute_logger("odoo.addons.mail.models.mail_mail")


@tagged("post_install", "-at_install")
class TestSending(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.colleague = new_test_user(
            cls.env, "sendgrid_test_colleague", groups="base.group_user", email="colleague@example.com"
        ).partner_id
        cls.bob = cls.env["res.partner"].create({"name": "Bob", "email": "Bob <Bob@Example.org>"})
        cls.lead = cls.env["crm.lead"].create(
            {"name": "Lead", "email_from": "lead@example.org", "user_id": cls.salesperson.id}
        )

    def assertCopies(self, sent, emails):
        """Assert that the messages that left name the copies of these documents, and nothing but opaque ids."""
        self.assertEqual({email.odoo_id for email in emails}, {s.unique_args["odoo_id"] for s in sent} - {None})
        for copy in sent:
            self.assertEqual(copy.unique_args["odoo_db"], self.Email._get_odoo_db())
            self.assertEqual(set(copy.smtpapi), {"unique_args"})
            self.assertEqual(set(copy.unique_args), {"odoo_db", "odoo_id"})
            self.assertRegex(copy.unique_args["odoo_id"], r"^[0-9a-f]{32}$")
            self.assertNotIn(self.env.cr.dbname, json.dumps(copy.smtpapi))

    # ------------------------------------------------------------
    # THE DOCUMENT
    # ------------------------------------------------------------

    def test_document(self):
        """Test a document's values after its copy left."""
        with freeze_time("2026-11-24 06:00:00"):
            [sent], email = self.send_mail(model="crm.lead", res_id=self.lead.id)
        self.assertCopies([sent], email)
        self.assertEqual(sent.recipients, ["ada@example.org"])
        self.assertEmail(
            email,
            account_id=self.account,
            recipient="ada@example.org",
            partner_id=self.contact,
            author_id=self.salesperson.partner_id,
            subject="Your quotation",
            message_id=sent.message["Message-Id"],
            model="crm.lead",
            res_id=self.lead.id,
            status="sent",
            is_alone=True,
            sg_message_id=False,
            sent_date=1795500000,
            open_count=0,
        )
        self.assertEqual(email.resource_ref, self.lead)

    def test_events_find_it(self):
        """Test that the events of a message that left find their document by the header alone."""
        [sent], email = self.send_mail()
        message = sent.relayed()
        self.receive(
            *(message.event(kind, timestamp=self.after(email, n * 100)) for n, kind in enumerate(["delivered", "open"]))
        )
        self.assertEmail(email, status="opened", open_count=1)
        self.assertEvents(email, [("delivered", "odoo_id"), ("open", "odoo_id")])

    def test_chatter(self):
        """Test a message in the chatter: the document points to it, and keeps what was sent."""
        with self.sending() as sent:
            message = self.lead.with_user(self.salesperson).message_post(
                body="Hello Ada",
                subject="Offer",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=self.contact.ids,
            )
        email = self.find_emails(message.message_id)
        self.assertCopies(sent, email)
        self.assertEmail(
            email,
            mail_message_id=message,
            model="crm.lead",
            res_id=self.lead.id,
            partner_id=self.contact,
            author_id=self.salesperson.partner_id,
            content_state="kept",
        )
        self.assertIn("Hello Ada", email.content)

    def test_composer(self):
        """Test a mail written in the composer, with an attachment: the document shows it."""
        composer = (
            self.env["mail.compose.message"]
            .with_user(self.salesperson)
            .with_context(default_model="res.partner", default_res_ids=self.contact.ids)
            .create(
                {
                    "subject": "Offer",
                    "body": "<p>See <b>below</b></p>",
                    "partner_ids": self.contact.ids,
                    "attachment_ids": [(0, 0, {"name": "offer.txt", "raw": b"1 EUR"})],
                }
            )
        )
        with self.sending() as sent:
            composer._action_send_mail()
        email = self.Email.search([("odoo_id", "=", sent[0].unique_args["odoo_id"])])
        self.assertEmail(email, subject="Offer", partner_id=self.contact, model="res.partner", res_id=self.contact.id)
        self.assertIn("<b>below</b>", email.content)
        self.assertEqual(email.attachment_ids.mapped("name"), ["offer.txt"])
        self.assertEqual([a.get_filename() for a in sent[0].message.iter_attachments()], ["offer.txt"])

    def test_template(self):
        """Test a mail made from a template, also one that Odoo deletes once sent."""
        template = self.env["mail.template"].create(
            {
                "name": "Offer",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "subject": "Offer {{ object.name }}",
                "body_html": "<p>Hello <t t-out='object.name'/></p>",
                "email_to": "{{ object.email_from }}",
                "mail_server_id": self.server.id,
            }
        )
        for auto_delete in (True, False):
            with self.subTest(auto_delete=auto_delete), self.sending() as sent:
                template.auto_delete = auto_delete
                template.send_mail(self.lead.id, force_send=True)
                email = self.Email.search([("odoo_id", "=", sent[-1].unique_args["odoo_id"])])
                self.assertEmail(
                    email, subject="Offer Lead", recipient="lead@example.org", model="crm.lead", res_id=self.lead.id
                )
                self.assertIn("Hello Lead", email.content)
                self.assertEqual(bool(email.mail_id), not auto_delete)

    def test_outlives_everything(self):
        """Test that a document stays when its mail, message, contact and author are deleted."""
        partner = self.env["res.partner"].create({"name": "Eve", "email": "eve@example.org"})
        _sent, email = self.send_mail(recipient_ids=partner.ids, author_id=self.bob.id)
        self.assertTrue(email.mail_id and email.mail_message_id)
        email.mail_id.unlink()
        email.mail_message_id.unlink()
        (partner | self.bob).unlink()
        self.env.invalidate_all()
        self.assertEmail(
            email, recipient="eve@example.org", partner_id=False, author_id=False, mail_id=False, mail_message_id=False
        )
        self.assertIn("Hello", email.content)

    # ------------------------------------------------------------
    # ACCEPTED OR NOT
    # ------------------------------------------------------------

    @refused
    def test_refused(self):
        """Test that a copy that the server refused has a document that says so, and a retry gives the same name."""
        tried = []

        def refuse(sent):
            tried.append(sent)
            return OSError("connection reset") if len(tried) == 1 else None

        sent, email = self.send_mail(refuse)
        self.assertEqual((len(tried), sent), (1, []))
        self.assertEmail(email, status="failed", sent_date=False, partner_id=self.contact, subject="Your quotation")
        self.assertIn("connection reset", email.status_reason)
        mail = self.env["mail.mail"].search([("message_id", "=", tried[0].message["Message-Id"])])
        self.assertEqual(mail.state, "exception")
        mail.state = "outgoing"
        with self.sending(refuse) as sent:
            mail.send()
        self.assertEqual(len(tried), 2)
        self.env.invalidate_all()
        self.assertEqual(self.find_emails(mail.message_id), email)
        self.assertEmail(email, status="sent", status_reason=False, sent_count=1)
        self.assertCopies(sent, email)
        self.assertEqual(tried[0].unique_args, tried[1].unique_args)

    @refused
    def test_partly_refused(self):
        """Test that each copy has a document that says whether it left, and what a retry does to them."""
        partners = self.contact | self.bob | self.env["res.partner"].create({"name": "Eve", "email": "eve@example.org"})
        sent, emails = self.send_mail(
            lambda copy: OSError("no") if copy.recipients == ["bob@example.org"] else None, recipient_ids=partners.ids
        )
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org", "bob@example.org", "eve@example.org"])
        self.assertEqual(emails.mapped("status"), ["sent", "failed", "failed"])
        self.assertEqual(emails.partner_id, partners)
        mail = emails.mail_id
        self.assertEqual(mail.state, "exception")
        ada = emails[0]
        self.receive(sent[0].relayed().event("open", timestamp=self.after(ada, 3600)))
        ada.flush_recordset()
        before = ada.read([name for name, field in ada._fields.items() if field.store])
        mail.state = "outgoing"
        with self.sending() as again:
            mail.send()
        self.env.invalidate_all()
        self.assertSentAgain(ada, before, 2)
        everything = self.find_emails(mail.message_id)
        self.assertEqual(everything, emails)
        self.assertEqual(everything.mapped("status"), ["opened", "sent", "sent"])
        self.assertEqual(everything.mapped("sent_count"), [2, 1, 1])
        self.assertEqual(everything.mapped("recipient"), ["ada@example.org", "bob@example.org", "eve@example.org"])
        self.assertEqual([copy.recipients for copy in again], [[p.email_normalized] for p in partners])
        self.assertEqual(again[0].unique_args, sent[0].unique_args)
        self.assertEqual(everything.mapped("partner_id"), partners)

    def assertSentAgain(self, email, before, times):
        """Assert that nothing but the number of sendings has changed since ``before``, and that the page says so."""
        told = ("sent_count", "sent_again_explanation", "write_date")
        now = email.read(list(before[0]))
        self.assertEqual(
            [{k: v for k, v in one.items() if k not in told} for one in now],
            [{k: v for k, v in one.items() if k not in told} for one in before],
        )
        self.assertEqual(email.sent_count, times)
        self.assertIn(f"sent this e-mail {times}×", email.sent_again_explanation)

    def test_sent_again(self):
        """Test that a mail that is sent once more, which Odoo allows, still has one document, which says so."""
        [sent], email = self.send_mail()
        self.receive(sent.relayed().event("delivered", timestamp=self.after(email, 60)))
        before = email.read()
        mail = email.mail_id
        mail.state = "outgoing"
        with freeze_time(Datetime.now() + timedelta(hours=1)), self.sending() as again:
            mail.send()
        self.env.invalidate_all()
        self.assertEqual(again[0].unique_args, sent.unique_args)
        self.assertEqual(self.find_emails(mail.message_id), email)
        self.assertSentAgain(email, before, 2)

    def test_invalid_recipient_among_others(self):
        """Test that a recipient without a usable address shifts nobody's document to somebody else."""
        broken = self.env["res.partner"].create([{"name": "Broken", "email": "nonsense"}, {"name": "None"}])
        partners = broken[0] | self.contact | broken[1] | self.bob
        sent, emails = self.send_mail(recipient_ids=partners.ids)
        left = emails.filtered("sent_date")
        self.assertCopies(sent, left)
        self.assertEqual(
            {email.recipient: email.partner_id for email in left},
            {"ada@example.org": self.contact, "bob@example.org": self.bob},
        )
        # Nothing can be sent to the others, and their documents say why.
        self.assertEqual(
            {email.recipient: (email.partner_id, email.status, email.status_reason) for email in emails - left},
            {
                "nonsense": (broken[0], "failed", "“nonsense” is no e-mail address."),
                "": (broken[1], "failed", "The contact has no e-mail address."),
            },
        )

    # ------------------------------------------------------------
    # WHO
    # ------------------------------------------------------------

    def test_several_contacts(self):
        """Test that each contact has a copy with a name of its own: none leaks into the next one's header."""
        partners = (
            self.contact
            | self.bob
            | self.env["res.partner"].create([{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(10)])
        )
        sent, emails = self.send_mail(recipient_ids=partners.ids, headers=repr({"X-SMTPAPI": '{"category": ["a"]}'}))
        self.assertEqual(len({copy.unique_args["odoo_id"] for copy in sent}), 12)
        self.assertEqual(emails.partner_id, partners)
        for copy in sent:
            [email] = emails.filtered(lambda e, copy=copy: e.odoo_id == copy.unique_args["odoo_id"])
            self.assertEqual(copy.recipients, [email.recipient])
            self.assertEqual(copy.smtpapi["category"], ["a"])
            self.assertTrue(email.is_alone)

    def test_fifty_addresses(self):
        """Test one copy to very many addresses, with a long subject: a readable header, a document for each."""
        addresses = [f"somebody{n}@example.org" for n in range(50)]
        [sent], emails = self.send_mail(
            email_to=", ".join(f'"Somebody with a long name {a}" <{a}>' for a in addresses),
            subject="Ä long subject " * 40,
        )
        self.assertEqual(sorted(sent.recipients), sorted(addresses))
        self.assertCopies([sent], emails)
        self.assertEqual(sorted(emails.mapped("recipient")), sorted(addresses))
        self.assertEqual(set(emails.mapped("is_alone")), {False})
        self.assertEqual(max(map(len, sent.data.split(b"\r\n"))) <= 998, True)

    def test_copy_to(self):
        """Test that a Cc shares the copy of the To and has a document of its own, with its own contact."""
        [sent], emails = self.send_mail(email_to="Ada <ada@example.org>", email_cc="BOB@example.org, new@example.org")
        self.assertCopies([sent], emails)
        self.assertEqual(
            {e.recipient: (e.partner_id, e.is_alone) for e in emails},
            {
                "ada@example.org": (self.contact, False),
                "bob@example.org": (self.bob, False),
                "new@example.org": (self.env["res.partner"], False),
            },
        )

    def test_copy_to_alone(self):
        """Test that a mail with nothing but Cc and contacts keeps each contact's copy apart from the Cc's."""
        sent, emails = self.send_mail(recipient_ids=(self.contact | self.bob).ids, email_cc="cc@example.org")
        self.assertCopies(sent, emails)
        self.assertEqual(
            {e.recipient: e.partner_id for e in emails},
            {"ada@example.org": self.contact, "bob@example.org": self.bob, "cc@example.org": self.env["res.partner"]},
        )

    def test_one_address_twice(self):
        """Test that two contacts with one address have a document each."""
        twin = self.env["res.partner"].create({"name": "Ada's twin", "email": "ADA@example.org"})
        sent, emails = self.send_mail(recipient_ids=(self.contact | twin).ids)
        self.assertCopies(sent, emails)
        self.assertEqual(set(emails.mapped("recipient")), {"ada@example.org"})
        self.assertEqual(emails.partner_id, self.contact | twin)
        self.assertEqual(len(set(emails.mapped("odoo_id"))), 2)

    def _post_to_twins(self):
        """Post a message to two contacts who share an address, in a mail each, as Odoo does where there are many.

        :return: the two contacts, their mails, and the copies that left
        """
        self.env["ir.config_parameter"].sudo().set_param("mail.batch_size", 1)
        twins = self.env["res.partner"].create([{"name": name, "email": "Info@example.org"} for name in "AB"])
        message = self.lead.message_post(
            body="Hello",
            partner_ids=twins.ids,
            subtype_xmlid="mail.mt_comment",
            mail_server_id=self.server.id,
            author_id=self.salesperson.partner_id.id,
            email_from="salesperson@example.com",
            mail_auto_delete=False,
            force_send=False,
        )
        mails = message.mail_ids.sorted("id")
        self.assertEqual([mail.recipient_ids for mail in mails], list(twins))
        with self.sending() as sent:
            mails.send()
        self.assertEqual([copy.recipients for copy in sent], [["info@example.org"]] * 2)
        return twins, mails, sent

    def test_two_mails_to_one_address(self):
        """Test that contacts who share an address have a document each, with its own events, in two mails as in one."""
        twins, mails, sent = self._post_to_twins()
        emails = self.find_emails(mails[0].message_id)
        self.assertCopies(sent, emails)
        self.assertEqual(len({copy.message["Message-Id"] for copy in sent}), 1)
        self.assertEqual({e.partner_id: e.mail_id for e in emails}, dict(zip(twins, mails, strict=True)))
        by_mail = {mail: emails.filtered(lambda email, mail=mail: email.mail_id == mail) for mail in mails}
        for kind, mail, copy in zip(("delivered", "bounce"), mails, sent, strict=True):
            self.receive(copy.relayed().event(kind, timestamp=self.after(by_mail[mail], 60)))
            self.assertEvents(by_mail[mail], [kind])
        self.assertEqual([by_mail[mail].status for mail in mails], ["delivered", "bounced"])

        mails.state = "outgoing"
        with self.sending() as again:
            mails[::-1].send()
        self.assertEqual([copy.unique_args for copy in again[::-1]], [copy.unique_args for copy in sent])
        self.assertEqual(self.find_emails(mails[0].message_id), emails)

    def test_one_address_twice_in_another_order(self):
        """Test that contacts who share an address keep their documents if they are renamed before another try."""
        twins = self.env["res.partner"].create([{"name": name, "email": "info@example.org"} for name in "AB"])
        sent, emails = self.send_mail(recipient_ids=twins.ids, auto_delete=False)
        by_contact = {email.partner_id: email.odoo_id for email in emails}
        self.assertEqual([copy.unique_args["odoo_id"] for copy in sent], [by_contact[twin] for twin in twins])
        mail = emails.mail_id
        twins[0].name = "C"
        mail.state = "outgoing"
        self.env.flush_all()
        self.env.invalidate_all()
        with self.sending() as again:
            mail.send()
        self.assertEqual([copy.unique_args["odoo_id"] for copy in again], [by_contact[twin] for twin in twins[::-1]])
        self.assertEqual(self.find_emails(mail.message_id), emails)

    def test_mail_of_the_released_version(self):
        """Test that a mail that version 19.0.1.0.0 tried to send keeps the names of its copies, and a newer one not."""
        values = {"recipient_ids": self.contact.ids, "mail_server_id": self.server.id, "auto_delete": False}
        old = self.env["mail.mail"].create(values)
        self.env.flush_all()
        load("post-names_of_copies.py").migrate(self.env.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        new = self.env["mail.mail"].create({**values, "mail_message_id": old.mail_message_id.id})
        with self.sending() as sent:
            (old | new).send()
        emails = self.find_emails(old.message_id)
        self.assertCopies(sent, emails)
        self.assertEqual(emails.mail_id, old | new)
        by_message = Outbox(0, self.Email._get_odoo_db()).stamp(old.message_id, ["ada@example.org"])
        self.assertEqual([copy.unique_args["odoo_id"] == by_message.odoo_id for copy in sent], [True, False])

    def test_contact_with_two_addresses(self):
        """Test that both addresses of one contact have documents of that contact."""
        self.bob.email = "bob@example.org, robert@example.org"
        _sent, emails = self.send_mail(recipient_ids=self.bob.ids)
        self.assertEqual(emails.mapped("recipient"), ["bob@example.org", "robert@example.org"])
        self.assertEqual(emails.partner_id, self.bob)

    def test_colleagues(self):
        """Test that an internal user has no document and no name; an archived or portal user is a customer."""
        sent, emails = self.send_mail(recipient_ids=(self.colleague | self.contact).ids)
        self.assertEqual(emails.partner_id, self.contact)
        unnamed = [copy for copy in sent if copy.recipients == ["colleague@example.com"]]
        self.assertEqual([copy.smtpapi for copy in unnamed], [{"unique_args": {"odoo_db": self.Email._get_odoo_db()}}])

        [shared], emails = self.send_mail(email_to="ada@example.org", email_cc="Colleague@example.com")
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org"])
        self.assertFalse(emails.is_alone)
        self.receive(shared.relayed().event("open", "colleague@example.com", timestamp=self.after(emails, 3600)))
        self.assertEmail(emails, status="sent", open_count=0)

        self.colleague.user_ids.active = False
        self.assertEqual(self.send_mail(recipient_ids=self.colleague.ids)[1].partner_id, self.colleague)
        portal = new_test_user(self.env, "sendgrid_test_p", groups="base.group_portal", email="portal@example.org")
        self.assertEqual(self.send_mail(recipient_ids=portal.partner_id.ids)[1].partner_id, portal.partner_id)

    def test_colleague_added(self):
        """Test that a colleague has no document even if another module adds him while the mail is made."""
        with patch.object(self.env.registry["mail.mail"], "_get_recipient_addresses", lambda mails: set()):
            sent, emails = self.send_mail(recipient_ids=(self.colleague | self.contact).ids)
        self.assertEqual(len(sent), 2)
        self.assertEqual(emails.partner_id, self.contact)

    def test_colleagues_are_asked_for_once(self):
        """Test that colleagues among the recipients of many mails cost one query for all."""
        mails = self.env["mail.mail"].create(
            [
                {
                    "body_html": "<p>Hello</p>",
                    "email_from": "salesperson@example.com",
                    "mail_server_id": self.server.id,
                    "auto_delete": True,
                    **values,
                }
                for values in (
                    {"recipient_ids": self.contact.ids},
                    {"email_to": "Lead <lead@example.org>", "email_cc": "Colleague@example.com"},
                    {"recipient_ids": (self.bob | self.colleague).ids},
                )
            ]
        )
        message_ids = mails.mapped("message_id")
        with self.sending() as sent, patch.object(Outbox, "learn", autospec=True, side_effect=Outbox.learn) as learn:
            mails.send()
        self.assertEqual(len(sent), 4)
        learn.assert_called_once()
        emails = self.Email.search([("message_id", "in", message_ids)])
        self.assertEqual(sorted(emails.mapped("recipient")), ["ada@example.org", "bob@example.org", "lead@example.org"])

    def test_from_address(self):
        """Test that a copy to oneself has no document, unless it is the only one."""
        sender = {"email_from": "Ada <ada@example.org>"}
        _sent, emails = self.send_mail(email_to="ada@example.org, bob@example.org", **sender)
        self.assertEqual(emails.mapped("recipient"), ["bob@example.org"])
        _sent, emails = self.send_mail(email_to="bob@example.org", email_cc="ADA@example.org", **sender)
        self.assertEqual(emails.mapped("recipient"), ["bob@example.org"])
        _sent, emails = self.send_mail(email_to="ada@example.org", **sender)
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org"])

    def test_whose_address(self):
        """Test the owner of an address: the recipient, else the record's contact, else the company's oldest contact."""
        company = self.env["res.company"].create({"name": "Another"})
        Partner = self.env["res.partner"]
        foreign = Partner.create({"name": "Foreign", "email": "x@example.org", "company_id": company.id})
        contacts = {}
        for name, to in (
            (None, {"email_to": "x@example.org"}),
            ("Oldest", {"email_to": "x@example.org"}),
            ("Of the record", {"email_to": "x@example.org"}),
            ("Of the mail", {}),
        ):
            with self.subTest(name):
                expected = Partner.create({"name": name, "email": "X@example.org"}) if name else Partner
                contacts[name] = expected
                if name == "Of the record":
                    self.lead.partner_id = expected
                to = to or {"recipient_ids": expected.ids}
                _sent, email = self.send_mail(model="crm.lead", res_id=self.lead.id, **to)
                self.assertEqual(email.partner_id, expected)
        # Without the record it is the oldest contact, and in the other company the one that is there.
        self.assertEqual(self.send_mail(email_to="x@example.org")[1].partner_id, contacts["Oldest"])
        for contact in filter(None, contacts.values()):
            contact.active = False
        self.account.company_id = company
        self.assertEqual(self.send_mail(email_to="x@example.org")[1].partner_id, foreign)

    def test_document_fails(self):
        """Test that a mail that left is sent and has a document, if its details fail or their records are gone."""
        values = {"email_to": "x@example.org", "auto_delete": False}
        for name, patched in (
            ("fail", {"_get_contacts": Mock(side_effect=ValueError)}),
            ("gone", {"_get_contacts": lambda *_args: {"x@example.org": 2**30}}),
        ):
            with (
                self.subTest(name),
                patch.multiple(self.env.registry["sendgrid.email"], **patched),
                mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent"),
            ):
                sent, email = self.send_mail(**values)
                self.assertCopies(sent, email)
                self.assertEmail(
                    email, recipient="x@example.org", status="sent", partner_id=False, subject="Your quotation"
                )
                self.assertIn("Hello", email.content)
                mail = self.env["mail.mail"].search([("message_id", "=", email.message_id)])
                self.assertEqual((mail.state, mail.failure_reason), ("sent", False))

    # ------------------------------------------------------------
    # CONTENT
    # ------------------------------------------------------------

    def test_content_is_sanitized(self):
        """Test that the content of a document cannot do anything, and looks as it was sent."""
        _sent, email = self.send_mail(
            auto_delete=True,
            body_html=(
                '<p style="color: red" class="x">Hello</p><script>alert(1)</script><img src="x" onerror="alert(1)">'
                '<a href="javascript:alert(1)">x</a><table border="0"><tr><td>1</td></tr></table>'
            ),
        )
        for gone in ("script", "onerror", "javascript"):
            self.assertNotIn(gone, email.content)
        for kept in ("Hello", "color", "<td>1</td>"):
            self.assertIn(kept, email.content)

    def test_credentials(self):
        """Test that a mail that opens an account leaves its link neither in the document nor to SendGrid's clicks."""
        user = new_test_user(self.env, "sendgrid_test_new", groups="base.group_portal", email="new@example.org")
        with self.sending() as sent:
            user.with_context(create_user=True).action_reset_password()
            user.action_reset_password()
        self.assertEqual(len(sent), 2)
        # Core undoes the writes of sending such a link; the document is written after the commit.
        with self.enter_registry_test_mode():
            self.env.cr.postcommit.run()
        for copy in sent:
            email = self.Email.search([("odoo_id", "=", copy.unique_args["odoo_id"])])
            self.assertEmail(email, recipient="new@example.org", content_state="credentials", content_id=False)
            self.assertNotIn("token", email.content or "")
            [link] = re.findall(r"<a[^>]*/web/(?:signup|reset_password)[^>]*>", copy.part("html"))
            self.assertIn(MARK, link)
            self.assertEqual(copy.smtpapi["filters"], no_tracking()["filters"])

    def test_credentials_in_any_mail(self):
        """Test the same for a link to set a password in a mail about something else."""
        body = f'<p><a href="{SITE}/web/reset_password?token=aB3">x</a></p>'
        for values in ({"auto_delete": True}, {"auto_delete": False}):
            _sent, email = self.send_mail(body_html=body, **values)
            self.assertEmail(email, content_state="credentials", content_id=False)
            self.assertNotIn("aB3", email.content or "")

    # ------------------------------------------------------------
    # LINKS
    # ------------------------------------------------------------

    def test_secret_links(self):
        """Test that secret links are marked on the wire in the html part, and the text part is not tracked."""
        body = (
            f'<p>Hi <a class="x" href="{SITE}/my/orders/7?access_token=1&amp;x=2">order</a> '
            f'<a href="{SITE}/shop">shop</a></p>'
        )
        [sent], email = self.send_mail(body_html=body, auto_delete=True)
        self.assertEqual(sent.part("html").strip(), body.replace('<a class="x"', f'<a{MARK} class="x"'))
        self.assertNotIn("clicktracking", sent.part("plain"))
        self.assertEqual(sent.smtpapi["filters"], {"clicktrack": {"settings": {"enable_text": 0}}})
        self.assertNotIn("clicktracking", email.content)

    def test_ordinary_links(self):
        """Test that a body without such links is on the wire as it was written, and no setting is sent."""
        body = f"<P  >Hi <A HREF='{SITE}/shop' >shop</A>&nbsp;é<br/></p>"
        [sent], email = self.send_mail(body_html=body)
        self.assertCopies([sent], email)
        self.assertEqual(sent.part("html").strip(), email.mail_id.body_html)

    def test_unfollow(self):
        """Test that the unfollow link, which Odoo puts in for each recipient, is marked."""
        self.lead.message_subscribe(self.contact.ids)
        with self.sending() as sent:
            self.lead.with_user(self.salesperson).message_post(
                body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment"
            )
        [copy] = [copy for copy in sent if copy.recipients == ["ada@example.org"]]
        for link in re.findall(r"<a[^>]*>", copy.part("html")):
            self.assertEqual(MARK in link, "token" in link or "unfollow" in link, link)

    # ------------------------------------------------------------
    # HEADERS OF THE USER
    # ------------------------------------------------------------

    def test_own_header(self):
        """Test that a header set by the user, in any case, is merged with ours and is there once."""
        for name in ("X-SMTPAPI", "x-smtpapi", "X-Smtpapi"):
            with self.subTest(name):
                said = {
                    "category": ["sale", "é"],
                    "unique_args": {"mine": "1", "odoo_id": "stolen"},
                    "send_at": 1795500000,
                }
                sent, emails = self.send_mail(
                    recipient_ids=(self.contact | self.bob).ids,
                    headers=repr({name: json.dumps(said, ensure_ascii=False), "X-Other": "1"}),
                )
                self.assertEqual(len(emails), 2)
                for copy in sent:
                    self.assertEqual(copy.message["X-Other"], "1")
                    self.assertEqual({**copy.smtpapi, "unique_args": None}, {**said, "unique_args": None})
                    self.assertEqual(set(copy.unique_args), {"mine", "odoo_id", "odoo_db"})
                    self.assertIn(copy.unique_args["odoo_id"], emails.mapped("odoo_id"))

    @refused
    def test_broken_header(self):
        """Test that a mail fails with a visible reason if SendGrid would drop it for its header."""
        for header in ("{broken", "[1]", json.dumps({"a": "x" * 2000})):
            with self.subTest(header[:20]):
                sent, emails = self.send_mail(headers=repr({"X-SMTPAPI": header}), subject=header[:20])
                self.assertFalse(sent)
                self.assertEmail(emails, status="failed", recipient="ada@example.org", sent_date=False)
                self.assertIn("X-SMTPAPI", emails.status_reason)
                mail = self.env["mail.mail"].search([("subject", "=", header[:20])], limit=1)
                self.assertEqual((mail.state, mail.failure_type), ("exception", "unknown"))
                self.assertIn("X-SMTPAPI", mail.failure_reason)
        with self.sending(), self.assertRaises(MailDeliveryException):
            mail.state = "outgoing"
            mail.send(raise_exception=True)

    # ------------------------------------------------------------
    # OTHER SERVERS
    # ------------------------------------------------------------

    def _bytes(self, sent):
        """Return the bytes of a message, without the parts that differ from one time to the next."""
        return re.sub(rb"={15}\d+==", b"BOUNDARY", sent.data)

    def test_other_server(self):
        """Test that a message through another server is the same but for SendGrid's additions."""
        values = {
            "message_id": "<fixed@example.com>",
            "body_html": f'<p><a href="{SITE}/my?access_token=1">x</a> é</p>',
            "headers": repr({"X-Mine": "1"}),
        }
        with freeze_time("2026-11-24 06:00:00"):
            [plain], no_emails = self.send_mail(mail_server_id=self.other_server.id, **values)
            [tracked], emails = self.send_mail(**values)
        self.assertFalse(no_emails)
        self.assertEqual(len(emails), 1)
        self.assertIsNone(plain.smtpapi)
        self.assertNotIn(b"clicktracking", plain.data)
        # Only these are ours: the header, and the mark in the (quoted-printable or base64) part. SendGrid's own server
        # writes the Return-Path.
        self.assertEqual(
            [(n, v) for n, v in tracked.message.items() if n not in ("X-SMTPAPI", "Content-Type")],
            [(n, v) for n, v in plain.message.items() if n not in ("Return-Path", "Content-Type")],
        )
        self.assertIn("Return-Path", plain.message)
        self.assertEqual(tracked.part("html").replace(MARK, ""), plain.part("html"))
        self.assertEqual(tracked.part("plain"), plain.part("plain"))

        # The same server sends a plain message once it is no longer SendGrid's.
        self.server.sendgrid_account_id = False
        with freeze_time("2026-11-24 06:00:00"):
            [untracked], _emails = self.send_mail(**values)
        self.assertEqual(self._bytes(untracked), self._bytes(plain))

    def test_other_server_leaves_headers_alone(self):
        """Test that through another server even a broken header of the user stays as it is."""
        for header in ('{"category": "a"}', "{broken"):
            [sent], emails = self.send_mail(mail_server_id=self.other_server.id, headers=repr({"X-SMTPAPI": header}))
            self.assertEqual((sent.message["X-SMTPAPI"], len(emails)), (header, 0))

    def test_two_servers_at_once(self):
        """Test that of mails sent together only those through SendGrid are tracked."""
        mails = self.env["mail.mail"].create(
            [
                {
                    "subject": name,
                    "body_html": "<p>Hello</p>",
                    "email_from": "salesperson@example.com",
                    "email_to": f"{name}@example.org",
                    "mail_server_id": server.id,
                }
                for name, server in (
                    ("one", self.server),
                    ("two", self.other_server),
                    ("three", self.server),
                    ("four", self.other_server),
                )
            ]
        )
        with self.sending() as sent:
            mails.send()
        self.assertEqual(len(sent), 4)
        for copy in sent:
            with self.subTest(copy.recipients):
                name = copy.recipients[0].partition("@")[0]
                self.assertEqual(copy.smtpapi is not None, name in ("one", "three"))
        self.assertEqual(
            self.Email.search([("message_id", "in", mails.mapped("message_id"))]).mapped("subject"), ["three", "one"]
        )

    def test_no_server(self):
        """Test that nothing is tracked if no mail server is set up, and Odoo's options say where to send."""
        (self.server | self.other_server).active = False
        [sent], emails = self.send_mail(mail_server_id=False)
        self.assertEqual((sent.smtpapi, len(emails)), (None, 0))

    def test_default_server(self):
        """Test that a mail that names no server is tracked if Odoo chooses SendGrid's."""
        [sent], emails = self.send_mail(mail_server_id=False)
        self.assertCopies([sent], emails)

    def test_message_without_mail(self):
        """Test that a message without a mail.mail (a test of the server, an alert) is not touched."""
        message = self.env["ir.mail_server"]._build_email__(
            "me@example.com", ["ada@example.org"], "x", f'<a href="{SITE}?access_token=1">x</a>', subtype="html"
        )
        with self.sending() as sent:
            self.env["ir.mail_server"].send_email(message, mail_server_id=self.server.id)
        self.assertIsNone(sent[0].smtpapi)
        self.assertNotIn(b"clicktracking", sent[0].data)
        self.assertFalse(self.find_emails(message["Message-Id"]))
