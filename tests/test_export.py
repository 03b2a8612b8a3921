import os
import re
import tracemalloc
from datetime import timedelta
from unittest.mock import patch

from lxml import etree

from odoo.exceptions import AccessError
from odoo.tests import HttpCase, mute_logger, new_test_user, tagged

from ..models import sendgrid_export
from .common import SendgridMixin
from .simulator import Relayed

NS = {"h": "http://www.w3.org/1999/xhtml"}


@tagged("post_install", "-at_install")
class TestExport(SendgridMixin, HttpCase):
    """One file of all that is known of an address."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = new_test_user(
            cls.env, "sendgrid_export_admin", groups="base.group_system,base.group_partner_manager"
        )
        cls.Export = cls.env["sendgrid.export"]

    def export(self, record):
        """Ask for the file as an administrator; return the record."""
        action = self.Export.with_user(self.admin)._open_for(record.with_user(self.admin))
        return self.Export.with_user(self.admin).browse(action["res_id"])

    def parse(self, export):
        """Return the file as a program parses it."""
        self.assertEqual((export.state, export.progress), ("done", 100))
        response = self.download(export, self.admin)
        self.assertRegex(response.headers["Content-Disposition"], r"^attachment; .*Tracking.*\.html")
        return etree.fromstring(response.content)

    def download(self, export, user):
        """Return the response that a user's browser gets."""
        self.authenticate(user.login, user.login)
        return self.url_open(export.sudo().action_download()["url"])

    def values(self, page, model):
        """Return a list of {field: text} for the records of a model in the file."""
        return [
            {cell.get("data-field"): "".join(cell.itertext()) for cell in record.iterfind("./h:table/h:tr/h:td", NS)}
            for record in page.iterfind(f".//*[@data-model='{model}']")
        ]

    def prepare_guest(self, address="guest@example.net"):
        email = self.create_email(address, content="<p>Dear guest &amp; friend</p>", subject="<b>Offer\x0b</b>")
        message = self.relay(email)
        self.receive(
            message.event("delivered", timestamp=self.after(email, 60)),
            message.event("open", timestamp=self.after(email, 600)),
            message.event(
                "click", timestamp=self.after(email, 700), url="https://x.example/a?token=verysecretvalue12345"
            ),
            message.event("spamreport", timestamp=self.after(email, 800)),
        )
        self.receive(Relayed([address]).event("unsubscribe", ip="203.0.113.99"))
        return email

    def test_everything(self):
        """Test that the file has the address, lists, e-mails, contents and all events, and can be parsed."""
        email = self.prepare_guest()
        self.create_email("other@example.net", subject="Somebody else's")
        address = self.env["sendgrid.address"].search([("email", "=", "guest@example.net")])
        page = self.parse(self.export(address))
        self.assertEqual(self.values(page, "sendgrid.address")[0]["email"], "guest@example.net")
        self.assertIn("wish_date", self.values(page, "sendgrid.address")[0])
        self.assertEqual([one["list"] for one in self.values(page, "sendgrid.suppression")], ["Spam Reports"])
        [document] = self.values(page, "sendgrid.email")
        self.assertEqual((document["recipient"], document["status"]), ("guest@example.net", "Reported as Spam"))
        self.assertIn("<b>Offer", document["subject"])
        events = self.values(page, "sendgrid.event")
        self.assertEqual(
            sorted(event["event"] for event in events),
            ["click", "delivered", "open", "spamreport", "unsubscribe"],
        )
        [click] = [event for event in events if event.get("event") == "click"]
        self.assertEqual(click["ip"], "203.0.113.7")
        text = etree.tostring(page, encoding="unicode")
        self.assertNotIn("verysecretvalue12345", text)
        [frame] = page.iterfind(".//h:iframe", NS)
        self.assertIn("Dear guest &amp; friend", frame.get("srcdoc"))
        self.assertEqual(frame.get("sandbox"), "")
        self.assertNotIn("Somebody else's", text)
        self.assertFalse(re.findall(r"<(?:script|img|link)\b", text))
        self.assertTrue(email.exists())

    def test_hostile_texts(self):
        """Test that whatever names, mails, servers, devices and forms say is text in the file, which can be parsed."""
        texts = ("<script>alert(1)</script>", '"><img src=x onerror=1>', "]]>", "<!--", "\x0b\u202e", "=1+1")
        self.env.company.name = self.admin.name = "".join(texts)
        address = self.env["sendgrid.address"].set_email_tracking(
            ["guest@example.net"], "agreed", "form", "".join(texts)
        )
        for number, text in enumerate(texts):
            email = self.create_email(address.email, subject=text, content=f"<p>{number}</p>")
            message = self.relay(email)
            self.receive(
                message.event("click", timestamp=self.after(email, 60), url=f"javascript:{text}", useragent=text),
                message.event("bounce", timestamp=self.after(email, 70), reason=text),
            )
        page = self.parse(self.export(address))
        names = {element.tag.rpartition("}")[2] for element in page.iter()}
        self.assertFalse(names & {"script", "img", "a", "link", "object"})
        self.assertEqual(
            [one["subject"] for one in self.values(page, "sendgrid.email")],
            [text.replace("\x0b", "\ufffd") for text in texts],
        )
        self.assertIn(texts[0], "".join(page.find(".//h:p", NS).itertext()))

    def test_logged(self):
        """Test that it is noted with the address, in the chatter of contacts and leads, and in the privacy log."""
        self.create_email()
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "ADA@example.org"})
        export = self.export(self.contact)
        address = self.env["sendgrid.address"].search([("email", "=", "ada@example.org")])
        self.assertEqual(address.exported_uid, self.admin)
        self.assertTrue(address.exported_date)
        for record in (self.contact, lead):
            message = record.message_ids[0]
            self.assertIn("ada@example.org was written into a file. E-mails: 1.", message.body)
            self.assertEqual(message.author_id, self.admin.partner_id)
        log = self.env["privacy.log"].search([], order="id desc", limit=1)
        self.assertEqual((log.anonymized_email, log.user_id), ("a**@e******.org", self.admin))
        self.assertNotIn("ada@", log.execution_details)
        self.assertEqual(export.email_count, 1)

    def test_direction(self):
        """Test that the file of somebody who reads from right to left is written so."""
        self.env["res.lang"]._activate_lang("ar_001")
        email = self.create_email("guest@example.net")
        for lang, direction in (("en_US", "ltr"), ("ar_001", "rtl")):
            self.admin.lang = lang
            export = self.export(self.env["sendgrid.address"]._hold([email.recipient]))
            page = etree.fromstring(self.download(export, self.admin).content)
            self.assertEqual((page.get("lang"), page.get("dir")), (lang.replace("_", "-"), direction))

    def test_contact(self):
        """Test that a contact's file has its documents to former addresses too, and those of both its addresses."""
        self.contact.email = "ada@example.org, ada@example.net"
        for address in ("ada@example.net", "former@example.org"):
            self.create_email(address, partner_id=self.contact.id, subject=f"To {address}")
        self.create_email("ada@example.org", subject="Without contact")
        page = self.parse(self.export(self.contact))
        self.assertEqual(
            {one["recipient"] for one in self.values(page, "sendgrid.email")},
            {"ada@example.org", "ada@example.net", "former@example.org"},
        )

    def test_piece_by_piece(self):
        """Test that a large file is written by the scheduled action, goes on where it stopped, and has all, once."""
        emails = [self.create_email(subject=f"Mail {number}") for number in range(25)]
        whole = self.parse(self.export(self.contact))
        with patch.object(sendgrid_export, "CHUNK_EMAILS", 2), patch.object(sendgrid_export, "PIECES_AT_ONCE", 4):
            export = self.export(self.contact)
            self.assertEqual((export.state, export.written_count, export.progress), ("running", 6, 24))
            Export = type(self.Export)
            write_emails = Export._write_emails
            left = [1, 1]

            def write(export):
                if not left:
                    raise ValueError("killed")
                left.pop()
                return write_emails(export)

            with (
                patch.object(Export, "_write_emails", write),
                mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin"),
            ):
                self.run_cron("ir_cron_export")
            self.assertEqual((export.state, export.error, export.written_count), ("failed", "killed", 10))
            export.action_start()
            self.run_cron("ir_cron_export")
        page = self.parse(export)
        subjects = [one["subject"] for one in self.values(page, "sendgrid.email")]
        self.assertEqual(subjects, [email.subject for email in emails])
        self.assertEqual(len(self.values(whole, "sendgrid.email")), 25)

    def test_memory(self):
        """Test that neither writing the end nor handing out a file needs more memory than some of its parts."""
        size, count = 1_000_000, 40
        with patch.object(sendgrid_export, "PIECES_AT_ONCE", 1):
            export = self.export(self.contact).sudo()
        for _number in range(count):
            export._add(os.urandom(size // 2).hex())
        export.stage = "events"
        self.env.flush_all()
        with self.enter_registry_test_mode():
            tracemalloc.start()
            try:
                export._write_piece()
                handed_out = sum(map(len, export._stream()))
                _now, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        self.assertEqual(export.state, "done")
        self.assertGreater(handed_out, size * count)
        self.assertLess(peak, size * count / 4)

    def test_too_large(self):
        """Test that contents that have no room are left out, and that the file says so; everything else is there."""
        for _number in range(3):
            self.create_email(content="<p>" + "x" * 100 + "</p>")
        with patch.object(sendgrid_export, "MOST_CONTENTS", 250):
            page = self.parse(self.export(self.contact))
        self.assertEqual(len(page.findall(".//h:iframe", NS)), 2)
        self.assertEqual(len(self.values(page, "sendgrid.email")), 3)
        self.assertIn("would become too large", "".join(page.itertext()))

    def test_rights(self):
        """Test that only administrators ask for it, and only who asked has the file."""
        self.create_email()
        export = self.export(self.contact)
        colleague = new_test_user(self.env, "sendgrid_export_colleague", groups="base.group_system")
        for user in (self.salesperson, colleague):
            with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_rule"):
                export.with_user(user).read(["state"])
            with mute_logger("odoo.http"):
                self.assertIn(self.download(export, user).status_code, (403, 404))
        with self.assertRaises(AccessError):
            self.Export.with_user(self.salesperson)._open_for(self.contact.with_user(self.salesperson))
        self.assertEqual(self.download(export, self.admin).status_code, 200)

    def test_other_company(self):
        """Test that e-mails of a company that is not the administrator's are not in his file."""
        company = self.env["res.company"].create({"name": "Elsewhere"})
        self.create_email(subject="Ours", company_id=self.env.company.id)
        self.create_email(subject="Theirs", company_id=company.id)
        page = self.parse(self.export(self.contact))
        self.assertEqual([one["subject"] for one in self.values(page, "sendgrid.email")], ["Ours"])

    def test_deleted(self):
        """Test that the file is deleted some days later, and that its being written stays noted."""
        self.create_email()
        export = self.export(self.contact)
        self.Export._gc_exports()
        self.assertTrue(export.exists())
        self.age("sendgrid.export", timedelta(days=8))
        self.Export._gc_exports()
        self.assertFalse(export.exists())
        self.assertFalse(self.env["sendgrid.export.part"].search_count([]))
        self.assertTrue(self.env["sendgrid.address"].search([("email", "=", "ada@example.org")]).exported_date)
