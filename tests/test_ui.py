from datetime import datetime, timedelta

from odoo.tests import HttpCase, TransactionCase, new_test_user, tagged

from ..models import sendgrid_email_content
from ..tools.events.refusal import refusal_cause
from .simulator import BROWSER

HOSTILE = '<img src=x onerror="window.sendgridHacked = true"><script>window.sendgridHacked = true</script>'
OUTLOOK = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0.5266; ms-office; MSOffice 16)"
# This is 9 o'clock in New York, the user's time zone.
SENT = datetime(2026, 3, 2, 14, 0, 0)


class ShowMixin:
    """Documents and events as they are stored after the drain."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account = cls.env["sendgrid.account"].create({"name": "SendGrid"})
        cls.customer = cls.env["res.partner"].create({"name": "The customer", "email": "customer@example.com"})
        cls.salesperson = new_test_user(
            cls.env,
            "sendgrid_salesperson",
            groups="base.group_user,base.group_partner_manager,sales_team.group_sale_salesman",
            tz="America/New_York",
        )

    @classmethod
    def _create_email(cls, events=(), **values):
        """Create a document with events. Each is a pair: seconds after sending, and values."""
        number = cls.env["sendgrid.email"].search_count([])
        email = cls.env["sendgrid.email"].create(
            {
                "odoo_id": f"show-{number}",
                "account_id": cls.account.id,
                "author_id": cls.salesperson.partner_id.id,
                "recipient": "customer@example.com",
                "partner_id": cls.customer.id,
                "subject": "Your quotation",
                "sent_date": SENT,
                "model": "res.partner",
                "res_id": cls.customer.id,
                **values,
            }
        )
        cls.env["sendgrid.event"].create(
            [
                {
                    "email_id": email.id,
                    "account_id": cls.account.id,
                    "match": "odoo_id",
                    "recipient": email.recipient,
                    "timestamp": SENT + timedelta(seconds=after),
                    "fingerprint": f"show-{email.id}-{index}",
                    **event,
                }
                for index, (after, event) in enumerate(events)
            ]
        )
        email._refresh_state()
        return email

    @classmethod
    def _create_quotation(cls, **values):
        return cls._create_email(
            [
                (1, {"event": "processed"}),
                (3, {"event": "delivered", "response": "250 2.0.0 OK"}),
                (9, {"event": "open", "user_agent": "Mozilla/5.0", "sg_machine_open": True}),
                (3600, {"event": "open", "user_agent": OUTLOOK, "ip": "198.51.100.7"}),
                (3900, {"event": "click", "url": "https://www.example.com/quotation", "user_agent": OUTLOOK}),
            ],
            **values,
        )


@tagged("post_install", "-at_install")
class TestPages(ShowMixin, HttpCase):
    """The pages in a browser, as a salesperson sees them."""

    def _start(self, record, tour, login="sendgrid_salesperson"):
        self.start_tour(f"/odoo/{record._name}/{record.id}", tour, login=login)

    def test_contact_button(self):
        self._create_quotation()
        self._start(self.customer, "sendgrid_contact_button")

    def test_contact_page(self):
        self._create_quotation()
        self._start(self.customer, "sendgrid_contact_page")

    def test_recipients_warning(self):
        """Test that the chatter warns before writing to an address that bounced."""
        self._create_email([(3, {"event": "bounce", "bounce_type": "bounce", "reason": "550 User unknown"})])
        self.assertTrue(self.customer.email_bounced)
        self._start(self.customer, "sendgrid_recipients_warning")

    def test_contact_without_documents(self):
        self._start(self.customer, "sendgrid_contact_without")

    def test_lead_button(self):
        lead = self.env["crm.lead"].create({"name": "The lead", "user_id": self.salesperson.id})
        bounce = {"event": "bounce", "bounce_type": "bounce", "reason": "550 5.1.1 no such user"}
        self._create_email(
            [(1, {"event": "processed"}), (2, bounce)],
            subject="About the lead",
            partner_id=False,
            recipient="lead@example.com",
            model="crm.lead",
            res_id=lead.id,
        )
        self._start(lead, "sendgrid_lead_button")

    def test_lead_banner(self):
        """Test that a lead's form shows the bounce of its address, follows what is typed, and confirms the address."""
        lead = self.env["crm.lead"].create(
            {"name": "The lead", "user_id": self.salesperson.id, "email_from": "lead@example.com"}
        )
        self.env["sendgrid.address"].create(
            {"email": "lead@example.com", "bounce_date": SENT, "bounce_reason": "550 5.1.1 no such user"}
        )
        self._start(lead, "sendgrid_lead_banner")
        self.env.invalidate_all()
        self.assertFalse(lead.email_bounced)

    def test_contacts_are_valid(self):
        """Test the action of a list of contacts."""
        contacts = self.env["res.partner"].create(
            [{"name": f"Bounced {number}", "email": f"bounced{number}@example.com"} for number in range(2)]
        )
        self.env["sendgrid.address"].create(
            [{"email": email, "bounce_date": SENT} for email in contacts.mapped("email")]
        )._refresh_contacts()
        action = self.env["ir.actions.act_window"].create(
            {
                "name": "Bounced",
                "res_model": "res.partner",
                "view_mode": "list",
                "domain": [("id", "in", contacts.ids)],
            }
        )
        self.start_tour(f"/odoo/action-{action.id}", "sendgrid_contacts_are_valid", login="sendgrid_salesperson")
        self.env.invalidate_all()
        self.assertFalse(contacts.filtered("email_bounced"))

    def test_mail_page_of_administrators(self):
        mail = self.env["mail.mail"].create({"subject": "Your quotation", "auto_delete": False, "state": "sent"})
        self._create_quotation(mail_id=mail.id)
        new_test_user(self.env, "sendgrid_administrator", groups="base.group_user,base.group_system")
        self._start(mail, "sendgrid_mail_page", login="sendgrid_administrator")

    def test_same_second(self):
        """Test that events of one second stand in their natural order, and that an event names what was not read."""
        names = ("click", "bounce", "processed", "something_new", "open", "delivered")
        email = self._create_email(
            [
                (2, {"event": "spamreport"}),
                *((1, {"event": name}) for name in names),
                (1, {"event": "deferred", "unread": "attempt,ip"}),
            ]
        )
        self._start(email, "sendgrid_same_second")

    def test_hostile_text(self):
        fields = ("event", "reason", "response", "smtp_status", "bounce_classification", "url", "ip", "user_agent")
        addresses = (
            "javascript:sendgridHacked=1",
            "data:text/html,<script>",
            "vbscript:x",
            " javascript:sendgridHacked=1",
        )
        email = self._create_email(
            [
                *((1, {"event": "click", "url": url}) for url in addresses),
                (2, {"event": "dropped", "reason": HOSTILE}),
                (3, {field: f"{HOSTILE} {field}" for field in fields}),
            ],
            subject=HOSTILE,
        )
        self._start(email, "sendgrid_hostile")

    def test_content(self):
        body = """
            <p>Dear customer</p>
            <a href="https://www.example.com/quotation">Quotation</a> <a href="javascript:sendgridHacked=1">Go</a>
            <img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="/>
            <img src="/mail/track/1/token/blank.gif"/>
            <img src="https://u1.ct.sendgrid.net/wf/open?upn=x"/>
            <script>parent.sendgridHacked = true</script>
        """
        email = self._create_email(
            content_id=self.env["sendgrid.content"].create({"text": body}).id, content_state="kept"
        )
        # The page must be safe without a sanitizer too.
        self.patch(sendgrid_email_content, "html_sanitize", lambda source, **options: source)
        self._start(email, "sendgrid_content")

    def test_many_events(self):
        email = self._create_email([(3600 + second, {"event": "open"}) for second in range(200)])
        self._start(email, "sendgrid_many_events")


@tagged("post_install", "-at_install")
class TestWords(ShowMixin, TransactionCase):
    """Names, explanations and delays."""

    def _get_event(self, **values):
        return self._create_email([(values.pop("after", 1), values)]).event_ids

    def test_every_event_has_a_name_and_an_explanation(self):
        plain = ("processed", "deferred", "delivered", "dropped", "open", "click", "spamreport", "unsubscribe")
        names = set()
        for event in (*plain, "group_unsubscribe", "group_resubscribe", "bounce", "account_status_change"):
            with self.subTest(event=event):
                shown = self._get_event(event=event)
                self.assertNotEqual(shown.name, event)
                self.assertTrue(shown.explanation)
                self.assertIn(shown.tone, ("success", "danger", "warning", "info", "muted"))
                names.add(shown.name)
        self.assertEqual(len(names), 12)

    def test_unknown_event_is_shown_by_its_own_name(self):
        event = self._get_event(event="levitated")
        self.assertRecordValues(event, [{"name": "levitated", "tone": "muted"}])
        self.assertTrue(event.icon)

    def test_kinds_of_refusal(self):
        for values, name in (
            ({"bounce_type": "bounce"}, "Bounced"),
            ({"bounce_type": "blocked"}, "Blocked"),
            ({"bounce_type": "expired"}, "Not delivered within 72 hours"),
            ({"smtp_status": "4.2.2"}, "Blocked"),
            ({"smtp_status": "5.1.1"}, "Bounced"),
            ({}, "Bounced"),
        ):
            with self.subTest(values=values):
                self.assertEqual(self._get_event(event="bounce", **values).name, name)

    def test_cause_says_why(self):
        """Test that event and document say in words why it was refused, and do not blame the address for all."""
        blame = "the address does not exist"
        listed = "list of bounces"
        for values, words, is_listed in (
            ({"bounce_type": "bounce", "smtp_status": "5.1.1"}, blame, True),
            ({"bounce_type": "bounce", "smtp_status": "4.2.2"}, "mailbox is full", True),
            ({"bounce_type": "blocked", "smtp_status": "4.2.2"}, "mailbox is full", False),
            ({"bounce_type": "blocked", "smtp_status": "5.3.4"}, "too large", False),
            ({"bounce_type": "bounce", "smtp_status": "5.7.509"}, "Your own domain", True),
            ({"bounce_type": "bounce", "smtp_status": "5.7.133"}, "only colleagues may", True),
            ({"bounce_type": "blocked"}, "try again later", False),
            ({"bounce_type": "bounce"}, "did not say why", True),
        ):
            with self.subTest(**values):
                cause = refusal_cause("", values.get("smtp_status", ""), values["bounce_type"])
                reason = f"550 {values.get('smtp_status', '')}"
                event = self._get_event(event="bounce", reason=reason, refusal_cause=cause, **values)
                event.email_id._refresh_state()
                for text in (event.explanation, event.email_id.status_explanation):
                    self.assertIn(words, text)
                    self.assertEqual(blame in text, words == blame)
                self.assertEqual(listed in event.explanation, is_listed)
                event.email_id.refusal_cause = False
                self.assertIn(words, event.email_id.status_explanation)

    def test_held_says_why(self):
        """Test that a drop for an earlier bounce tells its cause, and never blames the address for another one."""
        for cause, words in (
            ("address", "the address did not work"),
            ("mailbox", "the mailbox was full"),
            ("message", "earlier message"),
            ("sender", "your own domain"),
            ("temporary", "could not be delivered"),
            ("unknown", "did not say why"),
            (False, "not known here"),
        ):
            with self.subTest(cause=cause):
                event = self._get_event(event="dropped", reason="Bounced Address", refusal_cause=cause)
                event.email_id._refresh_state()
                self.assertEqual(event.explanation, event.email_id.status_explanation)
                self.assertIn(words, event.explanation)
                self.assertIn("list of bounces", event.explanation)
                self.assertEqual("did not work" in event.explanation, cause == "address")

    def test_drop_says_why(self):
        for reason, words in (
            ("Bounced Address", "bounced before"),
            ("Invalid", "not valid"),
            ("Invalid SMTPAPI header", "administrator"),
            ("Unsubscribed Address", "unsubscribed"),
            ("Something New", "did not even try"),
        ):
            with self.subTest(reason=reason):
                self.assertIn(words, self._get_event(event="dropped", reason=reason).explanation)

    def test_opened_and_then_refused_was_a_scanner(self):
        email = self._create_email([(1, {"event": "open"}), (2, {"event": "bounce", "bounce_type": "bounce"})])
        opened = email.event_ids.filtered(lambda event: event.event == "open")
        self.assertEqual(opened.name, "Opened by a scanner")
        self.assertIn("did not arrive", email.engagement_summary)
        self.assertEqual([step["status"] for step in email.journey], ["sent", "bounced"])

    def test_delay(self):
        for after, words in (
            (-1, "0 s"),
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (3900, "1 h 5 min"),
            (86400, "1 d"),
            (2 * 86400 + 5, "2 d"),
        ):
            with self.subTest(after=after):
                self.assertEqual(self._get_event(event="delivered", after=after).delay, words)

    def test_engagement_in_words(self):
        machine = {"event": "open", "sg_machine_open": True}
        person, unknown = {"event": "open", "user_agent": OUTLOOK}, {"event": "open"}
        click = {"event": "click", "url": "https://a.example.com", "user_agent": BROWSER}
        for events, words in (
            ([], "Not opened yet, as far as can be seen."),
            ([machine], "Opened once, by a machine: whether anybody has read it is not known."),
            ([person], "Opened once."),
            ([person, machine, machine], "Opened 3×, 2× of these by machines."),
            ([unknown], "Opened once, by whom cannot be told."),
            ([unknown, unknown], "Opened 2×, by whom cannot be told."),
            ([unknown, machine], "Opened 2×, once by a machine, by whom else cannot be told."),
            ([person, unknown], "Opened 2×. Of one it cannot be told whether it was a person."),
            ([person, click], "Opened once. Clicked once."),
            ([{**click, "user_agent": ""}], "Clicked once, by whom cannot be told."),
        ):
            with self.subTest(words=words):
                later = [(3600 * (hours + 1), event) for hours, event in enumerate(events)]
                email = self._create_email([(1, {"event": "delivered"}), *later])
                self.assertEqual(email.engagement_summary, words)

    def test_reading_many_events_takes_no_query_for_each(self):
        names = ("name", "icon", "explanation", "delay", "device", "timestamp", "machine_explanation")
        shown = {name: {} for name in names}
        counts = []
        for number in (1, 10, 200):  # the first one fills the caches
            email = self._create_email([(3600 + second, {"event": "open"}) for second in range(number)])
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            email.with_user(self.salesperson).web_read({"event_ids": {"fields": shown}})
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[1], counts[2])

    def test_an_administrator_is_led_to_the_setup(self):
        Email = self.env["sendgrid.email"]
        administrator = new_test_user(self.env, "sendgrid_admin", groups="base.group_user,base.group_system")
        self.assertIn("sendgrid_account_action", Email.with_user(administrator).get_empty_list_help("<p>Empty</p>"))
        self.assertNotIn(
            "sendgrid_account_action", Email.with_user(self.salesperson).get_empty_list_help("<p>Empty</p>")
        )

    def test_contacts_with_a_bounced_address_can_be_found(self):
        view = self.env["res.partner"].get_view(self.env.ref("base.view_res_partner_filter").id, "search")
        self.assertIn('name="email_bounced"', view["arch"])
