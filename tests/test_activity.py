from ast import literal_eval
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import patch

from lxml import etree

from odoo.fields import Domain
from odoo.tests import tagged

from ..models import mail_thread_blacklist_activity
from .test_answers import AnswerCase

LONG_AGO = timedelta(days=45)


class ActivityCase(AnswerCase):
    """Contacts and leads, and e-mails to them that arrived."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Partner = cls.env["res.partner"]

    def deliver(self, recipient="ada@example.org", ago=timedelta(days=1), **values):
        """Create a document that arrived."""
        email = self.create_email(recipient, ago=ago, **{"measured": "full", **values})
        self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 5)))
        return email

    def happen(self, email, kind, after=3600, **fields):
        """Have something happen to a document some seconds after it was sent."""
        self.receive(self.relay(email).event(kind, timestamp=self.after(email, after), **fields))

    def read_by_person(self, email, kind="open", after=3600):
        """Have a person open or click. It is sure only of whoever does so long after the delivery."""
        self.happen(email, kind, after)
        self.assertEqual(email.event_ids.filtered(lambda event: event.event == kind).mapped("verdict"), ["human"])

    def assertActivity(self, record, word):
        """Assert that a record shows the word, and is found by it and by no other one, in either way of searching."""
        record.invalidate_recordset()
        self.assertEqual(record.email_activity, word)
        Model, own = record.with_context(active_test=False), Domain("id", "=", record.id)
        for few in (mail_thread_blacklist_activity.FEW, 0):
            with patch.object(mail_thread_blacklist_activity, "FEW", few):
                for one in ("active", "silent", False):
                    found = Model.search(own & Domain("email_activity", "=", one))
                    others = Model.search(own & Domain("email_activity", "!=", one))
                    self.assertEqual((bool(found), bool(others)), (one == word, one != word), (few, one))

    @contextmanager
    def counting(self):
        """Count the queries of what is done in the ``with`` statement, into a list."""
        counts = []
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        yield counts
        counts.append(self.env.cr.sql_log_count - before)


@tagged("post_install", "-at_install")
class TestActivity(ActivityCase):
    """*Active Lately* and *Silent*: what each of them tells, and what nobody can tell."""

    def test_nothing(self):
        """Test that who got nothing, or nothing that arrived, is neither active nor silent."""
        self.assertActivity(self.contact, False)
        email = self.create_email()
        self.receive(self.relay(email).event("processed"))
        self.assertActivity(self.contact, False)
        nobody = self.Partner.create({"name": "Without an address"})
        self.assertActivity(nobody, False)

    def test_silent(self):
        """Test that who got a measured e-mail and did nothing is silent, however long ago; a machine is nobody."""
        email = self.deliver(ago=timedelta(days=400))
        self.assertActivity(self.contact, "silent")
        self.happen(self.deliver(), "machine_open")
        self.assertActivity(self.contact, "silent")
        email.unlink()
        self.assertActivity(self.contact, "silent")

    def test_opened(self):
        """Test that who opened within 30 days is active, and before that is silent, whatever opened first."""
        email = self.deliver(ago=LONG_AGO)
        self.read_by_person(email)
        self.assertActivity(self.contact, "silent")
        self.happen(email, "open", int(timedelta(days=44).total_seconds()))
        self.assertActivity(self.contact, "active")

    def test_clicked(self):
        """Test that who clicked within 30 days is active."""
        email = self.deliver()
        self.read_by_person(email)
        self.read_by_person(email, "click", 3700)
        self.assertActivity(self.contact, "active")

    def test_cannot_be_told(self):
        """Test that an open of which it cannot be told whose it is makes nobody active, and proves nobody silent."""
        email = self.deliver()
        self.happen(email, "open", 30)
        self.assertEqual(email.event_ids.filtered(lambda event: event.event == "open").verdict, "unknown")
        self.assertActivity(self.contact, False)

    def test_answered(self):
        """Test that an answer counts without any measuring, and one from long ago does not."""
        [email] = self.say(measured="none", unmeasured_reason="company")
        self.happen(email, "delivered", 5)
        self.assertActivity(self.contact, False)
        self.answer(email)
        self.assertActivity(self.contact, "active")
        self.age("sendgrid.event", LONG_AGO, "timestamp")
        self.assertActivity(self.contact, "active")  # the mail has come in just now
        self.age("sendgrid.address", LONG_AGO, "last_reply_date")
        self.assertActivity(self.contact, False)

    def test_automatic_answer(self):
        """Test that an out-of-office message counts as nothing."""
        [email] = self.say(measured="full")
        self.happen(email, "delivered", 5)
        self.answer(email, headers={"Auto-Submitted": "auto-replied"})
        self.assertActivity(self.contact, "silent")

    def test_not_measured(self):
        """Test that nothing is concluded where opens are not kept, and that the measured e-mails of others count."""
        self.deliver(measured="none", unmeasured_reason="company")
        self.assertActivity(self.contact, False)
        self.deliver()
        self.assertActivity(self.contact, "silent")

    def test_declined(self):
        """Test that who declines is neither active by opens nor silent at once, and still is active by answering."""
        email = self.deliver()
        self.read_by_person(email)
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "form")
        self.assertActivity(self.contact, False)
        self.deliver()
        self.assertActivity(self.contact, False)
        [asked] = self.say()
        self.answer(asked)
        self.assertActivity(self.contact, "active")

    def test_bounced(self):
        """Test that an address that bounced is not silent, though e-mails arrived there before."""
        self.deliver()
        email = self.create_email(ago=timedelta(hours=1))
        self.happen(email, "bounce", 9)
        self.assertActivity(self.contact, False)
        self.assertTrue(self.contact.email_bounced)
        self.contact.action_email_is_valid()
        self.assertActivity(self.contact, "silent")

    def test_leads_and_others(self):
        """Test that a lead without a contact, and one with the same address in another spelling, are found as well."""
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "Élise <ADA@example.org>"})
        other = self.env["crm.lead"].create({"name": "Lead", "email_from": "bob@example.org"})
        self.deliver()
        self.assertActivity(lead, "silent")
        self.assertActivity(other, False)

    def test_several_addresses(self):
        """Test that of several addresses one active makes active, and one that is not silent makes not silent."""
        contact = self.Partner.create({"name": "Two", "email": "one@example.org, Two <two@bücher.example>"})
        one, two = self.env["sendgrid.address"]._split(contact.email)
        self.deliver(one)
        self.assertActivity(contact, "silent")
        email = self.deliver(two)
        self.happen(email, "open", 30)
        self.assertActivity(contact, False)
        self.read_by_person(self.deliver(one))
        self.assertActivity(contact, "active")
        self.env["sendgrid.address"].set_email_tracking([one], "declined", "form")
        self.assertActivity(contact, False)

    def test_rights(self):
        """Test that whoever may not read a contact does not find it, and that visitors find nobody by it."""
        self.deliver()
        Partner = self.Partner.with_user(self.salesperson)
        self.assertIn(self.contact, Partner.search([("email_activity", "=", "silent")]))
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "ada@example.org", "user_id": self.env.uid})
        found = self.env["crm.lead"].with_user(self.salesperson).search([("email_activity", "=", "silent")])
        self.assertNotIn(lead, found)

    def test_queries(self):
        """Test that searching and listing takes as many queries for many as for few."""
        contacts = self.Partner.create([{"name": f"{n}", "email": f"{n}@example.org"} for n in range(60)])
        for contact in contacts[:3]:
            self.deliver(contact.email)
        counts = []
        for some in (contacts[:2], contacts[:2], contacts):  # the first one fills the caches
            with self.counting() as count:
                some.read(["email_activity"])
                self.Partner.search([("id", "in", some.ids), ("email_activity", "=", "silent")])
            counts += count
        self.assertEqual(counts[2], counts[1])

    def test_nothing_is_written(self):
        """Test that an open writes neither to the contact nor to its address."""
        email = self.deliver()
        written = self.contact.write_date
        self.read_by_person(email)
        self.assertActivity(self.contact, "active")
        self.assertEqual(self.contact.write_date, written)
        self.assertFalse(self.env["sendgrid.address"].search([("email", "=", "ada@example.org")]))

    def test_filters(self):
        """Test the filters of contacts and leads, as the search views have them."""
        self.deliver()
        for view in ("base.view_res_partner_filter", "crm.view_crm_case_leads_filter"):
            for name, word in (("email_active", "active"), ("email_silent", "silent")):
                record = self.env.ref(view)
                arch = self.env[record.model].get_view(record.id, "search")["arch"]
                self.assertIn(f'name="{name}"', arch)
                self.assertIn(f"[('email_activity', '=', '{word}')]", arch)


@tagged("post_install", "-at_install")
class TestWaiting(ActivityCase):
    """The filter *Waiting for an Answer* of documents."""

    def test_waiting(self):
        """Test that it has what arrived and was not answered, measured or not, and nothing that failed."""
        arrived = self.deliver()
        unmeasured = self.deliver(measured="none", unmeasured_reason="company")
        opened, absent = self.deliver(), self.say(measured="none")
        self.read_by_person(opened)
        self.happen(absent, "delivered", 5)
        self.answer(absent, headers={"Auto-Submitted": "auto-replied"})
        [answered] = self.say(measured="none")
        self.answer(answered)
        bounced, under_way = self.create_email(), self.create_email()
        self.happen(bounced, "bounce", 9)
        self.happen(under_way, "processed", 9)
        failed = self.create_email(status="failed", sent_date=False)
        unsubscribed = self.deliver()
        self.happen(unsubscribed, "unsubscribe")
        everything = arrived + unmeasured + opened + absent + answered + bounced + under_way + failed + unsubscribed
        for name, expected in (("waiting", arrived + unmeasured + opened + absent), ("replied", answered)):
            [node] = etree.fromstring(self.Email.get_view(view_type="search")["arch"]).xpath(
                f"//filter[@name='{name}']"
            )
            found = self.Email.search(Domain(literal_eval(node.get("domain"))) & Domain("id", "in", everything.ids))
            self.assertEqual(set(found.ids), set(expected.ids), name)
