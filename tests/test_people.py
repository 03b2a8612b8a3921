from ast import literal_eval
from itertools import permutations

from lxml import etree

from odoo import Command
from odoo.exceptions import AccessError, UserError
from odoo.tests import new_test_user, tagged

from .sandbox_case import API_KEY
from .simulator import BROWSER
from .test_suppression import AgreementCase

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/97.0 Safari/537.36"
MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0 Safari/537.36"
)
HOUR = 3600


class PeopleCase(AgreementCase):
    """Events of one e-mail, some seconds after it was sent. They arrive in several orders, which end the same."""

    def tell(self, *told, together=False):
        """Send an e-mail and receive events about it.

        :param told: pairs of seconds and kind, or triples with fields
        :param together: receive all in one POST, and not each in its own
        :return: the document
        """
        email = self.create_email(partner_id=self.contact.id)
        message = self.relay(email)
        events = [
            message.event(kind, timestamp=self.after(email, seconds), **(fields[0] if fields else {}))
            for seconds, kind, *fields in told
        ]
        if together:
            self.receive(*events)
        else:
            for event in events:
                self.receive(event)
        return email

    def click(self, link="a", ip="203.0.113.7", agent=BROWSER, index=0):
        url_offset = {"index": index, "type": "html"}
        return {"url": f"https://www.example.com/{link}", "ip": ip, "useragent": agent, "url_offset": url_offset}

    def verdicts(self, email, *names):
        events = email.event_ids.filtered(lambda event: event.event in names)
        return [(e.verdict, e.machine_reason or "") for e in events.sorted(lambda e: (e.timestamp, e.id))]

    def scan(self, last="unsubscribe", ip="198.51.100.9"):
        """Return the events of a scanner that opens a mail, and follows all links and the one to unsubscribe."""
        agent = {"ip": ip, "useragent": CHROME}
        return (
            (2, "delivered"),
            (4, "open", agent),
            *((4, "click", self.click(link, ip, CHROME, index)) for index, link in enumerate("abc")),
            (5, last, agent),
        )

    def make_rule(self, name, domain, trigger="on_create_or_write", watched=("status",), model="sendgrid.email"):
        """Return a rule that notes on the company how often and for which status it ran."""
        model = self.env["ir.model"]._get(model)
        fields = self.env["ir.model.fields"].search([("model_id", "=", model.id), ("name", "in", watched)])
        return self.env["base.automation"].create(
            {
                "name": name,
                "model_id": model.id,
                "trigger": trigger,
                "trigger_field_ids": [Command.set(fields.ids)],
                "filter_domain": repr(domain),
                "action_server_ids": [
                    Command.create(
                        {
                            "name": name,
                            "usage": "base_automation",
                            "state": "code",
                            "model_id": model.id,
                            "code": f"env['ir.config_parameter'].sudo().set_param('rule.{name}', "
                            f"(env['ir.config_parameter'].sudo().get_param('rule.{name}') or '') + 'x')",
                        }
                    )
                ],
            }
        )

    def runs(self, name):
        return len(self.env["ir.config_parameter"].sudo().get_param(f"rule.{name}") or "")


@tagged("post_install", "-at_install")
class TestUnknown(PeopleCase):
    """What nobody can tell is not a person, and is shown as such."""

    def test_single_check(self):
        """Test that one link that is checked soon after the delivery counts as a click, but not as a person's."""
        self.env.ref("sendgrid_tracking.base_automation_click").active = True
        for agent in (CHROME, "", None):
            with self.subTest(agent=agent):
                email = self.tell((2, "delivered"), (24, "click", self.click(agent=agent)))
                self.assertEqual(
                    (email.status, email.click_count, email.unknown_click_count, email.person_click_date),
                    ("clicked", 1, 1, False),
                )
                self.assertEqual(email.engagement_summary, "Clicked once, by whom cannot be told.")
                self.assertEqual(email.event_ids[0].name, "Clicked, by whom cannot be told")
                self.assertIn("Clicked, by whom cannot be told", [step["label"] for step in email.journey])
                self.assertFalse(self.contact.activity_ids)
                self.assertNotIn(email, self.find("clicked_by_person"))
                self.assertNotIn(email, self.find("opened_by_person"))
                self.assertIn(email, self.find("clicked"))

    def find(self, name):
        """Return what a filter of the search view finds."""
        arch = etree.fromstring(self.env.ref("sendgrid_tracking.sendgrid_email_view_search").arch)
        [found] = arch.xpath(f"//filter[@name='{name}']")
        return self.Email.search(literal_eval(found.get("domain")))

    def test_person_after_the_check(self):
        """Test that the person who comes later is one, and that the ready-made rule acts on the first click."""
        self.env.ref("sendgrid_tracking.base_automation_click").active = True
        email = self.tell(
            (2, "delivered"),
            (24, "click", self.click(ip="198.51.100.9", agent=CHROME)),
            (300, "open", {"ip": "203.0.113.7", "useragent": MAC}),
            (320, "click", self.click(agent=MAC)),
            (400, "click", self.click("b", agent=MAC)),
        )
        self.assertEmail(
            email,
            click_count=3,
            unknown_click_count=1,
            open_count=1,
            unknown_open_count=0,
            person_open_date=self.after(email, 300),
            person_click_date=self.after(email, 320),
        )
        self.assertEqual(len(self.contact.activity_ids), 1)
        self.assertIn(email, self.find("clicked_by_person"))

    def test_another_network(self):
        """Test that what follows a person's click from elsewhere is no second person, in whatever order it arrives."""
        others = {
            "network and system": self.click(ip="203.0.113.91", agent=CHROME),
            "network": self.click(ip="198.51.100.9", agent=MAC),
            "system": self.click(ip="2001:db8::6", agent=CHROME),
            "network of the same kind": self.click(ip="2001:db8:9::1", agent=MAC),
        }
        for name, other in others.items():
            mine = "192.0.2.5" if name == "network" else "2001:db8::5"
            told = [
                (0, "delivered"),
                (118, "open", {"ip": mine, "useragent": MAC}),
                (120, "click", self.click(ip=mine, agent=MAC)),
                (132, "click", other),
            ]
            for order in permutations(told):
                with self.subTest(name, order=[seconds for seconds, *_rest in order]):
                    email = self.tell(*order, together=order[0] != told[0])
                    self.assertEqual(self.verdicts(email, "click"), [("human", ""), ("unknown", "another_network")])
                    self.assertEmail(email, click_count=2, unknown_click_count=1)

    def test_one_person_on_the_move(self):
        """Test that another address of the same program in one network, or of the other family, is the same person."""
        for ips in (
            ("203.0.113.7", "203.0.113.90"),
            ("203.0.113.7", "2001:db8::7"),
            ("2001:db8::1", "2001:db8:0:9::1"),
        ):
            with self.subTest(ips):
                email = self.tell(
                    (2, "delivered"),
                    (600, "open", {"ip": ips[0], "useragent": MAC}),
                    (610, "click", self.click(ip=ips[0], agent=MAC)),
                    (640, "click", self.click("b", ip=ips[1], agent=MAC)),
                )
                self.assertEqual(self.verdicts(email, "click"), [("human", "")] * 2)

    def test_same_second(self):
        """Test that of two clicks in one second the one from where the mail was read is the person's."""
        told = [
            (2, "delivered"),
            (600, "open", {"ip": "203.0.113.7", "useragent": MAC}),
            (610, "click", self.click(ip="198.51.100.9", agent=CHROME, index=1)),
            (610, "click", self.click(ip="203.0.113.7", agent=MAC)),
        ]
        for order in (told, told[::-1]):
            email = self.tell(*order)
            by_ip = {event.ip: event.verdict for event in email.event_ids if event.event == "click"}
            self.assertEqual(by_ip, {"203.0.113.7": "human", "198.51.100.9": "unknown"})


@tagged("post_install", "-at_install")
class TestRefused(PeopleCase):
    """What opened a mail that was refused in the end was no person, unless it had been delivered before."""

    def test_before_the_refusal(self):
        opened = (3, "open", {"ip": "203.0.113.7", "useragent": MAC})
        for kind in ("bounce", "blocked", "dropped"):
            for order in permutations([opened, (900, "click", self.click()), (901, kind)]):
                with self.subTest(kind, order=[seconds for seconds, *_rest in order]):
                    email = self.tell(*order)
                    self.assertEmail(
                        email,
                        open_count=0,
                        click_count=0,
                        unknown_open_count=0,
                        machine_open_count=1,
                        machine_click_count=1,
                        first_open_date=False,
                        person_open_date=False,
                    )
                    self.assertEqual(self.verdicts(email, "open", "click"), [("machine", "refused")] * 2)
                    self.assertNotIn("opened", [step["status"] for step in email.journey])
                    words = email.event_ids.mapped("machine_explanation")
                    self.assertFalse([text for text in words if text and "delivery" in text])

    def test_after_the_delivery(self):
        """Test that a reader stays one, whatever bounces days later."""
        email = self.tell(
            (2, "delivered"),
            (600, "open", {"ip": "203.0.113.7", "useragent": MAC}),
            (620, "click", self.click(agent=MAC)),
            (3 * 86400, "bounce"),
        )
        self.assertEmail(email, status="bounced", open_count=1, click_count=1, person_click_date=self.after(email, 620))
        self.assertEqual(email.engagement_summary, "Opened once. Clicked once.")
        self.assertEqual(
            [step["status"] for step in email.journey], ["sent", "delivered", "opened", "clicked", "bounced"]
        )

    def test_report_of_the_delivery_lost(self):
        """Test that a reader stays one though nobody reported the delivery, and something bounced long after or before.

        What came while the mail was known to be on the way stays a scanner's.
        """
        day = 86400
        scanned = (4, "open", {"ip": "198.51.100.9", "useragent": CHROME})
        read = (day, "open", {"ip": "203.0.113.7", "useragent": MAC})
        clicked = (day + 20, "click", self.click(agent=MAC))
        left = (day + 40, "unsubscribe", {"ip": "203.0.113.7", "useragent": MAC})
        soon = (600, "open", {"ip": "203.0.113.7", "useragent": MAC})
        for name, told, machines in (
            ("bounced later", [(0, "processed"), read, clicked, left, (3 * day, "bounce")], 0),
            ("put off, bounced later", [(0, "processed"), (5, "deferred"), scanned, read, (3 * day, "bounce")], 1),
            ("read while it is put off", [(0, "processed"), soon, (900, "deferred"), (3 * day, "bounce")], 1),
            ("blocked before", [(0, "processed"), scanned, (5, "blocked"), soon], 1),
            ("blocked and bounced", [(5, "blocked"), read, clicked, left, (3 * day, "bounce")], 0),
            ("dropped before", [(5, "dropped"), read, clicked], 0),
        ):
            for order in (told, told[::-1]):
                with self.subTest(name, order=[seconds for seconds, *_rest in order]):
                    email = self.tell(*order)
                    verdicts = self.verdicts(email, "open", "click", "unsubscribe")
                    people = len(
                        [kind for _seconds, kind, *_fields in told if kind in ("open", "click", "unsubscribe")]
                    )
                    expected = [("machine", "refused")] * machines + [("human", "")] * (people - machines)
                    self.assertEqual(verdicts, expected)
                    self.assertEqual(email.machine_open_count, machines)
                    self.assertFalse(email.is_unsubscribed_by_machine)

    def test_delivery_unknown(self):
        """Test that without any word on the delivery, opens and clicks count."""
        email = self.tell((600, "open"), (620, "click", self.click()))
        self.assertEmail(email, status="clicked", open_count=1, click_count=1, unknown_open_count=0)

    def test_long_before_sending(self):
        """Test that no delay after sending is shown for what came long before it."""
        email = self.tell((-7200, "open"), (5, "dropped"))
        self.assertFalse(email.event_ids.filtered(lambda event: event.event == "open").delay)


@tagged("post_install", "-at_install")
class TestUnsubscribedByMachine(PeopleCase):
    """An unsubscription that came with a scanner's clicks: respected, marked, passed over by rules, and taken back."""

    def test_marked(self):
        """Test that the wish is respected, whatever the order, and that document and event say where it came from."""
        scan = self.scan()
        for order in (scan, scan[::-1], (*scan[-1:], *scan[:-1])):
            self.Blacklist.search([("email", "=", "ada@example.org")]).unlink()
            # That was a decision, which this test is not about.
            self.env["sendgrid.address"].search([]).unlink()
            email = self.tell(*order)
            self.assertEqual(self.verdicts(email, "unsubscribe"), [("machine", "with_clicks")])
            self.assertTrue(email.is_unsubscribed_by_machine)
            self.assertEqual(email.status, "unsubscribed")
            self.assertTrue(self.is_blacklisted("ada@example.org"))
            event = email.event_ids.filtered(lambda one: one.event == "unsubscribe")
            self.assertEqual(event.name, "Unsubscribed, it seems by a scanner")
            self.assertIn("nobody's wish", event.machine_explanation)
            self.assertIn("Unsubscribed, it seems by a scanner", [step["label"] for step in email.journey])

    def test_person(self):
        """Test that a person's unsubscription is none of it, also beside a scanner's."""
        email = self.tell((2, "delivered"), (HOUR, "open"), (HOUR + 30, "unsubscribe"))
        self.assertEqual(self.verdicts(email, "unsubscribe"), [("human", "")])
        self.assertFalse(email.is_unsubscribed_by_machine)
        email = self.tell(
            *self.scan(), (HOUR, "open", {"useragent": MAC}), (HOUR + 20, "unsubscribe", {"useragent": MAC})
        )
        self.assertEqual(self.verdicts(email, "unsubscribe"), [("machine", "with_clicks"), ("human", "")])
        self.assertFalse(email.is_unsubscribed_by_machine)

    def test_cannot_be_told(self):
        """Test that a lonely and early unsubscription stays open, and is no machine's."""
        email = self.tell((2, "delivered"), (20, "unsubscribe"))
        self.assertEqual(self.verdicts(email, "unsubscribe"), [("unknown", "wish_without_open")])
        self.assertFalse(email.is_unsubscribed_by_machine)

    def test_rules(self):
        """Test that rules on unsubscriptions pass over a machine's, and run once a person unsubscribes."""
        self.env.ref("sendgrid_tracking.base_automation_unsubscribe").active = True
        tag = self.env.ref("sendgrid_tracking.res_partner_category_unsubscribed")
        self.make_rule("status", [("status", "=", "unsubscribed")])
        self.make_rule("any", [("status", "=", "unsubscribed")], watched=())
        self.make_rule("flag", [("is_unsubscribed_by_machine", "=", True)], watched=("is_unsubscribed_by_machine",))
        self.make_rule("clicked", [("status", "=", "clicked")])
        event = [("event", "=", "unsubscribe")]
        self.make_rule("event", event, trigger="on_create", watched=(), model="sendgrid.event")
        email = self.create_email(partner_id=self.contact.id)
        message = self.relay(email)

        def receive(*told):
            self.receive(
                *(
                    message.event(kind, timestamp=self.after(email, seconds), **(fields[0] if fields else {}))
                    for seconds, kind, *fields in told
                )
            )

        receive(*self.scan())
        self.assertEqual((email.status, email.is_unsubscribed_by_machine), ("unsubscribed", True))
        self.assertEqual([self.runs(name) for name in ("status", "any", "event", "flag", "clicked")], [0, 0, 0, 1, 0])
        self.assertNotIn(tag, self.contact.category_id)
        # A person reads and clicks: other rules do their work.
        receive((HOUR, "open", {"useragent": MAC}), (HOUR + 20, "click", self.click(agent=MAC)))
        self.assertEqual(email.status, "unsubscribed")
        self.assertEqual([self.runs(name) for name in ("status", "any", "event", "clicked")], [0, 0, 0, 1])
        receive((HOUR + 60, "unsubscribe", {"useragent": MAC}))
        self.assertEqual((email.status, email.is_unsubscribed_by_machine), ("unsubscribed", False))
        self.assertEqual([self.runs(name) for name in ("status", "any", "event", "clicked")], [1, 1, 1, 1])
        self.assertIn(tag, self.contact.category_id)

    # ------------------------------------------------------------
    # TAKE BACK
    # ------------------------------------------------------------

    def test_take_back(self):
        """Test that an administrator takes it back at both sides, with a line in both logs."""
        administrator = new_test_user(self.env, "sendgrid_test_administrator", groups="base.group_system")
        for kind, name, group in (("unsubscribe", "unsubscribes", 0), ("group_unsubscribe", "groups", 1042)):
            with self.subTest(kind):
                self.account.group_unsubscribe_action = "blacklist"
                self.enlist(name, "ada@example.org", **({"group_id": group} if group else {}))
                self.enlist("spam_reports", "other@example.org")
                email = self.tell(*self.scan(kind))
                # An administrator is no superuser: the page asks with his own rights.
                seen = email.with_user(administrator)
                self.assertTrue(seen.can_take_back_unsubscription)
                seen.action_take_back_unsubscription()
                self.assertFalse(self.is_blacklisted("ada@example.org"))
                entry = self.Blacklist.with_context(active_test=False).search([("email", "=", "ada@example.org")])
                self.assertIn("took back", str(entry.message_ids.mapped("body")))
                self.assertIn("took back", str(self.contact.message_ids.mapped("body")))
                self.assertFalse(email.can_take_back_unsubscription)
                self.run_cron("ir_cron_clear")
                suppression = self.entry(name, "ada@example.org")
                self.assertEqual((suppression.state, suppression.group_id), ("cleared", group))
                # The same events again bring nothing back.
                email._refresh_state()
                self.assertFalse(self.is_blacklisted("ada@example.org"))
                self.assertEqual(self.contact.env["mail.blacklist"].search_count([("email", "like", "other")]), 0)
                entry.unlink()
                self.env["sendgrid.address"].search([]).unlink()

    def test_fewer_rights(self):
        """Test that who may not change the blacklist has no button, and cannot call it either."""
        email = self.tell(*self.scan())
        email.write({"author_id": self.salesperson.partner_id.id})
        seen = email.with_user(self.salesperson)
        self.assertTrue(seen.is_unsubscribed_by_machine)
        self.assertFalse(seen.can_take_back_unsubscription)
        with self.assertRaises(AccessError):
            seen.action_take_back_unsubscription()
        self.assertTrue(self.is_blacklisted("ada@example.org"))

    def test_another_wish(self):
        """Test that it is not taken back if the recipient asked for it through another e-mail as well."""
        email = self.tell(*self.scan())
        self.tell((2, "delivered"), (HOUR, "open"), (HOUR + 30, "unsubscribe"))
        with self.assertRaises(UserError):
            email.action_take_back_unsubscription()
        self.assertTrue(self.is_blacklisted("ada@example.org"))
        person = self.tell((2, "delivered"), (HOUR, "open"), (HOUR + 30, "unsubscribe"))
        with self.assertRaises(UserError):
            person.action_take_back_unsubscription()

    def test_put_on_the_blacklist_by_somebody(self):
        """Test that what somebody put on the blacklist stays there, whether before or after the scanner came."""
        for is_before in (True, False):
            with self.subTest(is_before=is_before):
                if is_before:
                    self.Blacklist._add("ada@example.org")
                email = self.tell(*self.scan())
                if not is_before:
                    self.Blacklist._remove("ada@example.org")
                    self.Blacklist._add("ada@example.org")
                action = email.action_take_back_unsubscription()
                self.assertTrue(self.is_blacklisted("ada@example.org"))
                self.assertIn("stays on the blacklist", action["params"]["message"])
                self.assertEqual(self.entry("unsubscribes", "ada@example.org").state, "clearing")
                self.account.api_key = False
                self.assertFalse(email.can_take_back_unsubscription)
                self.account.api_key = API_KEY
                self.Blacklist.with_context(active_test=False).search([("email", "=", "ada@example.org")]).unlink()
                self.Suppression.search([]).unlink()
                self.env["sendgrid.address"].search([]).unlink()

    def test_wish_known_from_lists(self):
        """Test that it is not taken back if SendGrid's lists tell of a complaint or of another unsubscription."""
        self.account.group_unsubscribe_action = "blacklist"
        day = 24 * HOUR
        for name, ago, kind, group in (
            ("spam_reports", HOUR, "unsubscribe", 0),
            ("spam_reports", 90 * day, "unsubscribe", 0),
            ("unsubscribes", HOUR, "unsubscribe", 0),
            ("unsubscribes", HOUR, "group_unsubscribe", 0),
            ("groups", HOUR, "unsubscribe", 7),
            ("groups", HOUR, "group_unsubscribe", 7),
            ("groups", HOUR, "group_unsubscribe", 1042),
        ):
            with self.subTest(name, ago=ago, kind=kind, group=group):
                self.sandbox("POST", "/sandbox/reset")
                self.Blacklist.with_context(active_test=False).search([("email", "=", "ada@example.org")]).unlink()
                self.Suppression.search([]).unlink()
                self.Email.search([]).unlink()
                self.env["sendgrid.address"].search([]).unlink()
                email = self.tell(*((seconds - day, *told) for seconds, *told in self.scan(kind)))
                self.assertTrue(email.is_unsubscribed_by_machine)
                self.enlist(name, "ada@example.org", ago=ago, **({"group_id": group} if group else {}))
                self.sync(is_whole=True)
                with self.assertRaisesRegex(UserError, "stays on the blacklist"):
                    email.action_take_back_unsubscription()
                self.assertTrue(self.is_blacklisted("ada@example.org"))

    def test_group_without_number(self):
        """Test that of a group whose number SendGrid did not tell, it is not asked: it could not tell which one."""
        self.account.group_unsubscribe_action = "blacklist"
        email = self.tell(*self.scan()[:-1], (5, "group_unsubscribe", {**self.scan()[-1][2], "asm_group_id": None}))
        self.assertTrue(email.can_take_back_unsubscription)
        action = email.action_take_back_unsubscription()
        self.assertIn("SendGrid is not asked", action["params"]["message"])
        self.assertFalse(self.is_blacklisted("ada@example.org"))
        self.assertFalse(self.Suppression.search([]))
        self.assertFalse(email.can_take_back_unsubscription)

    def test_told_to_all_contacts(self):
        """Test that every contact with the address is told, also where it is the second one."""
        second = self.env["res.partner"].create({"name": "Two", "email": "two@example.org, ada@example.org"})
        email = self.tell(*self.scan())
        email.action_take_back_unsubscription()
        for partner in self.contact | second:
            self.assertIn("took back", str(partner.message_ids.mapped("body")))

    def test_listed_meanwhile(self):
        """Test that a comparison that stores the same entry just then does no harm: that entry is cleared."""
        email = self.tell(*self.scan("group_unsubscribe"))
        get_lists = type(email)._get_lists_to_clear

        def compare_then(records):
            lists = get_lists(records)
            self.enlist("groups", "ada@example.org", group_id=1042)
            self.sync(is_whole=True)
            return lists

        self.patch(type(email), "_get_lists_to_clear", compare_then)
        email.action_take_back_unsubscription()
        self.assertEqual(self.entry("groups", "ada@example.org").state, "clearing")

    def test_without_api_key(self):
        """Test that without an API key it is taken back in Odoo, and the user is told what is left to do."""
        email = self.tell(*self.scan())
        self.account.api_key = False
        action = email.action_take_back_unsubscription()
        self.assertIn("no API key", action["params"]["message"])
        self.assertFalse(self.is_blacklisted("ada@example.org"))
        self.assertFalse(email.can_take_back_unsubscription)
