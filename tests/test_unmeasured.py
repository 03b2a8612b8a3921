"""What pages, lists and reports say of e-mails whose opens and clicks are not kept."""

from lxml import etree

from odoo.fields import Domain
from odoo.tests import Form, tagged
from odoo.tools.safe_eval import safe_eval

from .common import SendgridCase

# {reason: the words that have to be said}
WORDS = {
    "wish": "Not measured at the recipient's wish",
    "company": "Not measured by the company's setting: the recipient was not asked",
    "mail": "Not measured at the sender's choice",
    "account": "Not measured: the account does not track",
    "access": "Not measured because the e-mail gives access to Odoo",
    "others": "Not measured because another recipient of the same e-mail is not measured",
    "forgotten": "Not measured: the tracking was forgotten",
}
CLAIMS = ("Not opened", "not opened", "Opened", "Clicked", "clicked yet")


@tagged("post_install", "-at_install")
class TestUnmeasured(SendgridCase):
    def _deliver(self, recipient="ada@example.org", *further, **values):
        """Create a document about the contact whose e-mail was delivered, and receive further events."""
        email = self.create_email(recipient, model="res.partner", res_id=self.contact.id, **values)
        relayed = self.relay(email)
        self.receive(relayed.event("processed"), relayed.event("delivered"), *(relayed.event(name) for name in further))
        return email

    def _deliver_all(self):
        """Return {reason, or "full" or "former" for those that are measured: its document}."""
        reasons = {reason: {"measured": "none", "unmeasured_reason": reason} for reason in WORDS}
        kinds = {**reasons, "full": {"measured": "full"}, "former": {}}
        return {name: self._deliver(f"{name}@example.org", **values) for name, values in kinds.items()}

    def _find(self, *names):
        """Return the documents that these filters of the search view find together."""
        arch = self.env.ref("sendgrid_tracking.sendgrid_email_view_search").arch
        filters = {node.get("name"): node.get("domain") for node in etree.fromstring(arch).iter("filter")}
        return self.Email.search(Domain.AND(Domain(safe_eval(filters[name])) for name in names))

    # ------------------------------------------------------------
    # A DOCUMENT
    # ------------------------------------------------------------

    def test_reasons(self):
        """Test that each reason is told, and that there is a word for each."""
        self.assertEqual(set(WORDS), set(dict(self.Email._fields["unmeasured_reason"].selection)))
        for name, email in self._deliver_all().items():
            with self.subTest(name):
                statuses = [step["status"] for step in email.journey]
                if name in WORDS:
                    self.assertIn(WORDS[name], email.unmeasured_note)
                    self.assertIn(WORDS[name], email.engagement_summary)
                    self.assertFalse([claim for claim in CLAIMS if claim in email.engagement_summary])
                    self.assertEqual(statuses, ["sent", "processed", "delivered", "replied"])
                else:
                    self.assertFalse(email.unmeasured_note)
                    self.assertEqual(email.engagement_summary, "Not opened yet, as far as can be seen.")
                    self.assertEqual(statuses, ["sent", "processed", "delivered", "opened", "clicked", "replied"])

    def test_reason_is_missing(self):
        email = self._deliver(measured="none")
        self.assertEqual(email.unmeasured_note, "Not measured.")
        self.assertIn("Not measured. Whether", email.engagement_summary)

    def test_every_status(self):
        """Test that no status has an empty step for what is not measured, and that a wish or a complaint is shown."""
        for last, status, statuses in (
            ((), "delivered", ["sent", "processed", "delivered", "replied"]),
            (("deferred",), "delivered", ["sent", "processed", "delivered", "replied"]),
            (("unsubscribe",), "unsubscribed", ["sent", "processed", "delivered", "unsubscribed"]),
            (("spamreport",), "spam", ["sent", "processed", "delivered", "spam"]),
        ):
            with self.subTest(status=status, last=last):
                email = self._deliver("x@example.org", *last, measured="none", unmeasured_reason="wish")
                self.assertEqual(email.status, status)
                self.assertEqual([step["status"] for step in email.journey], statuses)
                self.assertIn(WORDS["wish"], email.engagement_summary)

    def test_on_its_way(self):
        """Test that what is not delivered yet waits for nothing else, and that what never arrives says no more."""
        values = {"measured": "none", "unmeasured_reason": "company"}
        email = self.create_email(**values)
        self.assertEqual([step["status"] for step in email.journey], ["sent", "processed", "delivered", "replied"])
        self.assertIn(WORDS["company"], email.engagement_summary)
        self.receive(self.relay(email).event("deferred"))
        self.assertEqual(
            [step["status"] for step in email.journey], ["sent", "deferred", "processed", "delivered", "replied"]
        )
        self.receive(self.relay(email).event("bounce", reason="550 5.1.1 no such user", type="bounce"))
        self.assertEqual([step["status"] for step in email.journey], ["sent", "bounced"])
        self.assertFalse(email.engagement_summary)
        failed = self.create_email("y@example.org", status="failed", sent_date=False, **values)
        self.assertEqual([step["status"] for step in failed.journey], ["failed"])
        self.assertFalse(failed.engagement_summary)

    def test_account_does_not_track(self):
        """Test that an account which tracks no opens says so, instead of that the e-mail was not opened."""
        email = self._deliver()
        self.account.write({"tracking_settings_date": "2026-01-01 00:00:00", "click_tracking": True})
        self.env.invalidate_all()
        self.assertIn("does not track opens", email.engagement_summary)
        self.assertNotIn("Not opened", email.engagement_summary)
        self.account.open_tracking = True
        self.env.invalidate_all()
        self.assertIn("Not opened yet", email.engagement_summary)

    def test_who_may_not_write(self):
        """Test that a salesperson sees all of it."""
        email = self._deliver(measured="none", unmeasured_reason="others").with_user(self.salesperson)
        form = Form(email, view="sendgrid_tracking.sendgrid_email_view_form")
        self.assertIn(WORDS["others"], form.engagement_summary)
        self.assertEqual(form.measured, "none")

    # ------------------------------------------------------------
    # LISTS AND REPORTS
    # ------------------------------------------------------------

    def test_filters(self):
        """Test that nothing is concluded from missing opens of what is not measured."""
        emails = self._deliver_all()
        opened = self._deliver("opened@example.org", measured="full")
        self.receive(self.relay(opened).event("open", timestamp=self.after(opened, 200)))
        ours = self.Email.browse([email.id for email in emails.values()]) | opened
        unmeasured = self.Email.browse([emails[reason].id for reason in WORDS])
        self.assertEqual(self._find("not_opened") & ours, emails["full"] | emails["former"])
        self.assertEqual(self._find("not_measured") & ours, unmeasured)
        for name in ("opened", "clicked", "opened_by_person", "clicked_by_person"):
            self.assertFalse(self._find(name) & unmeasured)

    def test_sums(self):
        """Test that reports tell how many could not be measured, in groups, in their order and in what is exported."""
        emails = self._deliver_all()
        domain = Domain("id", "in", [email.id for email in emails.values()])
        as_sally = self.Email.with_user(self.salesperson)
        [total] = as_sally.formatted_read_group(domain, [], ["unmeasured_count:sum", "__count", "open_count:sum"])
        self.assertEqual((total["unmeasured_count:sum"], total["__count"]), (len(WORDS), len(emails)))
        groups = as_sally.formatted_read_group(
            domain, ["measured"], ["unmeasured_count:sum"], order="unmeasured_count:sum desc"
        )
        self.assertEqual(
            [(group["measured"], group["unmeasured_count:sum"]) for group in groups][0], ("none", len(WORDS))
        )
        self.assertEqual(sum(group["unmeasured_count:sum"] for group in groups), len(WORDS))
        self.assertEqual(as_sally.fields_get(["unmeasured_count"])["unmeasured_count"]["aggregator"], "sum")
        for name, email in emails.items():
            self.assertEqual(email.unmeasured_count, int(name in WORDS))

    def test_group_by_reason(self):
        emails = self._deliver_all()
        domain = Domain("id", "in", [email.id for email in emails.values()])
        groups = dict(self.Email._read_group(domain, ["unmeasured_reason"], ["__count"]))
        self.assertEqual(groups, {**dict.fromkeys(WORDS, 1), False: 2})
