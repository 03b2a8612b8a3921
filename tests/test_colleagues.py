import itertools
import json
from datetime import datetime, timedelta, timezone

from odoo.exceptions import ValidationError
from odoo.tests import BaseCase, Form, HttpCase, new_test_user, tagged

from ..tools.networks import NetworkError, holds, parse, read_site
from .common import SendgridMixin
from .properties import given, quick, st
from .simulator import BROWSER
from .test_people import HOUR, MAC, PeopleCase

OFFICE = "198.51.100.20"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
AT = {"ip": OFFICE, "useragent": BROWSER}


@tagged("post_install", "-at_install")
class TestNetworks(BaseCase):
    """The reading of addresses and networks, in plain Python."""

    def test_parse(self):
        for text, expected in (
            ("", []),
            ("203.0.113.0/24", ["203.0.113.0/24"]),
            ("203.0.113.7/24", ["203.0.113.0/24"]),
            ("203.0.113.7", ["203.0.113.7/32"]),
            (
                " 203.0.113.7,\n198.51.100.0/25;\t2001:db8:1::/48\r\n",
                ["203.0.113.7/32", "198.51.100.0/25", "2001:db8:1::/48"],
            ),
            ("2001:db8::1", ["2001:db8::1/128"]),
            ("::ffff:203.0.113.0/120", ["203.0.113.0/24"]),
            ("10.0.0.0/8", ["10.0.0.0/8"]),
        ):
            with self.subTest(text=text):
                self.assertEqual([str(network) for network in parse(text)], expected)

    def test_no_network(self):
        for text, code, word in (
            ("203.0.113.0/24 office", "no_network", "office"),
            ("203.0.113.0/33", "no_network", "203.0.113.0/33"),
            ("203.0.113", "no_network", "203.0.113"),
            ("203.0.113.0/", "no_network", "203.0.113.0/"),
            ("0.0.0.0/0", "too_large", "0.0.0.0/0"),
            ("::/0", "too_large", "::/0"),
            ("9" * 5000, "no_network", "9" * 5000),
        ):
            with self.subTest(text=text[:20]), self.assertRaises(NetworkError) as caught:
                parse(text)
            self.assertEqual(caught.exception.reason, (code, {"word": word}))

    def test_site(self):
        """Test that a site of IPv6 has many addresses, and one of IPv4 a single one, however it is written."""
        self.assertEqual(read_site("2001:db8:0:1::5"), read_site("2001:0db8::1:aaaa:bbbb:cccc:dddd"))
        self.assertNotEqual(read_site("2001:db8:0:1::5"), read_site("2001:db8:0:2::5"))
        self.assertEqual(read_site("203.0.113.7"), read_site("::ffff:203.0.113.7"))
        self.assertNotEqual(read_site("203.0.113.7"), read_site("203.0.113.8"))

    @quick
    @given(st.one_of(st.text(), st.ip_addresses().map(str)), st.one_of(st.text(), st.ip_addresses(v=6).map(str)))
    def test_any_text(self, ip, other):
        """Test that no text raises anything else, and that the address itself is in its network."""
        read_site(ip)
        read_site(other)
        try:
            networks = parse(other)
        except NetworkError:
            networks = []
        self.assertIn(holds(networks, ip), (True, False))
        if read_site(ip):
            self.assertTrue(holds(parse(ip.partition("%")[0]), ip.partition("%")[0]))


class ColleaguesCase(PeopleCase):
    """A salesperson who is logged in at the office."""

    def log_in(self, email, seconds, user=None, ip=OFFICE, platform="linux", browser="chrome", until=None):
        """Note in core's device log that somebody was logged in some seconds after an e-mail was sent."""
        first, last = (
            datetime.fromtimestamp(self.after(email, moment), timezone.utc).replace(tzinfo=None)
            for moment in (seconds, seconds if until is None else until)
        )
        return self.env["res.device.log"].create(
            {
                "session_identifier": "s" * 42,
                "platform": platform,
                "browser": browser,
                "ip_address": ip,
                "user_id": (user or self.salesperson).id,
                "first_activity": first,
                "last_activity": last,
            }
        )

    def receive_of(self, email, *told):
        """Receive events of a document; ``told`` as for `tell`."""
        relayed = self.relay(email)
        return self.receive(
            *(
                relayed.event(kind, timestamp=self.after(email, seconds), **(fields[0] if fields else {}))
                for seconds, kind, *fields in told
            )
        )


@tagged("post_install", "-at_install")
class TestColleagues(ColleaguesCase):
    """What colleagues open and click counts as nobody's."""

    def test_counts_as_nobodys(self):
        """Test that a colleague's look changes nothing but the timeline and the summary."""
        self.make_rule("open", [("event", "=", "open")], trigger="on_create", watched=(), model="sendgrid.event")
        self.make_rule("status", [("status", "in", ("opened", "clicked"))])
        email = self.create_email(partner_id=self.contact.id)
        self.log_in(email, 2 * HOUR)
        self.receive_of(email, (2, "processed"), (3, "delivered"))
        journey, facts = email.journey, email.facts
        self.receive_of(
            email,
            (HOUR, "open", AT),
            (HOUR + 9, "click", AT),
            (HOUR + 20, "click", {**AT, "url": "https://b.example.com"}),
        )
        self.assertEmail(
            email,
            status="delivered",
            open_count=0,
            click_count=0,
            unknown_open_count=0,
            unknown_click_count=0,
            machine_open_count=0,
            machine_click_count=0,
            first_open_date=False,
            last_open_date=False,
            person_open_date=False,
            person_click_date=False,
        )
        self.assertEqual((email.journey, email.facts), (journey, facts))
        self.assertEqual(self.verdicts(email, "open", "click"), [("colleague", "")] * 3)
        self.assertEqual(
            email.event_ids.sorted("timestamp").mapped("name"),
            ["Processed", "Delivered", "Opened by a colleague", *["Clicked by a colleague"] * 2],
        )
        self.assertEqual(email.event_ids.filtered("is_colleague").mapped("icon"), ["fa-users"] * 3)
        self.assertFalse(any(email.event_ids.mapped("is_machine")))
        self.assertEqual(
            email.engagement_summary,
            "Not opened yet, as far as can be seen. Opened once by a colleague, which does not count. "
            "Clicked 2× by colleagues, which does not count.",
        )
        self.assertEqual((self.runs("open"), self.runs("status")), (0, 0))
        self.assertFalse(self.env["sendgrid.address"].search([("email", "=", email.recipient)]).last_open_date)
        # The recipient himself reads it later.
        self.receive_of(email, (3 * HOUR, "open"))
        self.assertEmail(email, status="opened", open_count=1, person_open_date=self.after(email, 3 * HOUR))
        self.assertEqual(self.runs("open"), 1)

    def test_says_nothing_about_the_recipient(self):
        """Test that the verdicts on other events are as if a colleague had not looked."""
        told = [(2, "delivered"), (24, "click", self.click()), (40, "click", self.click("b"))]
        alone = self.tell(*told)
        email = self.create_email(ago=timedelta(minutes=4), partner_id=self.contact.id)
        self.log_in(email, 60)
        self.receive_of(
            email,
            *told,
            (24, "click", {**self.click(), **AT}),
            (25, "open", AT),
            (24, "click", {**self.click("c"), **AT}),
        )
        ours = email.event_ids.filtered("is_colleague")
        self.assertEqual(len(ours), 3)
        others = (email.event_ids - ours).filtered("verdict")
        self.assertEqual(
            [(e.verdict, e.machine_reason) for e in others.sorted("timestamp")],
            [(e.verdict, e.machine_reason) for e in alone.event_ids.filtered("verdict").sorted("timestamp")],
        )

    def test_proves_no_arrival(self):
        """Test that a mail that is put off for three days is given up, though a colleague looked at his copy."""
        email = self.create_email(ago=timedelta(days=4), partner_id=self.contact.id)
        self.log_in(email, HOUR)
        self.receive_of(email, (2, "deferred"), (HOUR, "open", AT))
        self.run_cron("ir_cron_expire")
        self.assertEqual(email.status, "blocked")
        self.receive_of(email, (HOUR + 1, "open", AT))
        self.assertEqual(email.status, "blocked")

    def test_who_is_a_colleague(self):
        """Test that user, address, program and time have to fit."""
        portal = new_test_user(self.env, "sendgrid_test_portal", groups="base.group_portal")
        site = {"ip": "2001:db8:0:1:aaaa::5"}
        for case, logged_in, fields, expected in (
            ("at once", {"seconds": HOUR}, {}, True),
            ("two hours before", {"seconds": HOUR - 7200}, {}, True),
            ("two hours after", {"seconds": HOUR + 7200}, {}, True),
            ("longer before", {"seconds": HOUR - 7201}, {}, False),
            ("longer after", {"seconds": HOUR + 7201}, {}, False),
            ("core has deleted what was between", {"seconds": HOUR, "until": 90 * HOUR}, {}, True),
            ("between, and maybe away", {"seconds": -9 * HOUR, "until": 90 * HOUR}, {}, False),
            ("portal user", {"seconds": HOUR, "user": portal}, {}, False),
            ("another address", {"seconds": HOUR}, {"ip": "198.51.100.21"}, False),
            ("another program", {"seconds": HOUR}, {"useragent": FIREFOX}, False),
            ("another system", {"seconds": HOUR}, {"useragent": MAC}, False),
            ("no program", {"seconds": HOUR}, {"useragent": None}, False),
            ("a script", {"seconds": HOUR, "platform": None, "browser": None}, {"useragent": "Outlook/16.0"}, False),
            ("no address", {"seconds": HOUR}, {"ip": None}, False),
            ("IPv6, the same site", {"seconds": HOUR, "ip": "2001:db8:0:1::77"}, site, True),
            ("IPv6, another site", {"seconds": HOUR, "ip": "2001:db8:0:2::77"}, site, False),
            ("IPv4 within IPv6", {"seconds": HOUR, "ip": f"::ffff:{OFFICE}"}, {}, True),
            ("an address that is none", {"seconds": HOUR, "ip": "unknown"}, {"ip": "unknown"}, False),
        ):
            with self.subTest(case):
                email = self.create_email(partner_id=self.contact.id)
                log = self.log_in(email, **logged_in)
                self.receive_of(email, (2, "delivered"), (HOUR, "open", {**AT, **fields}))
                self.assertEqual(email.event_ids.filtered(lambda e: e.event == "open").is_colleague, expected)
                self.assertEqual(email.status, "delivered" if expected else "opened")
                log.unlink()

    def test_own_networks(self):
        """Test that who comes from the company's networks is a colleague, whatever his program."""
        other = self.env["res.company"].create({"name": "Other"})
        account = self.env["sendgrid.account"].create(
            {"name": "Own", "company_id": other.id, "verification_key": self.signer.public_key}
        )
        self.env.company.sendgrid_networks = "198.51.100.0/24\n2001:db8:9::/48"
        for ip, agent, owner, expected in (
            (OFFICE, BROWSER, self.account, True),
            (OFFICE, None, self.account, True),
            ("2001:db8:9:5::1", "Anything", self.account, True),
            ("203.0.113.20", BROWSER, self.account, False),
            (OFFICE, BROWSER, account, False),
        ):
            with self.subTest(ip=ip, agent=agent, account=owner.name):
                email = self.create_email(partner_id=self.contact.id, account_id=owner.id)
                relayed = self.relay(email)
                opened = relayed.event("open", timestamp=self.after(email, HOUR), ip=ip, useragent=agent)
                self.receive(opened, account=owner)
                self.assertEqual(email.event_ids.is_colleague, expected)

    def test_networks_are_checked(self):
        """Test that the settings name what is no network, and keep what is one."""
        with Form(self.env["res.config.settings"]) as form:
            form.sendgrid_networks = "203.0.113.7/24"
        form.record.execute()
        self.assertEqual(self.env.company.sendgrid_networks, "203.0.113.7/24")
        for text, words in (("the office", "“the” is no network"), ("0.0.0.0/0", "too large")):
            with self.subTest(text), self.assertRaisesRegex(ValidationError, words):
                self.env.company.sendgrid_networks = text

    def test_decided_once(self):
        """Test that the decision stays when events come in again, in batches that are processed again, or later."""
        email = self.create_email(partner_id=self.contact.id)
        log = self.log_in(email, HOUR)
        relayed = self.relay(email)
        ours = relayed.event("open", timestamp=self.after(email, HOUR), **AT)
        theirs = relayed.event("open", timestamp=self.after(email, 2 * HOUR), ip="198.51.100.99", useragent=MAC)
        batch = self.receive(ours, theirs)
        log.unlink()
        self.env.company.sendgrid_networks = "198.51.100.99"

        def look():
            return [(e.is_colleague, e.verdict) for e in email.event_ids.sorted("timestamp")]

        expected = [(True, "colleague"), (False, "human")]
        self.assertEqual(look(), expected)
        self.receive(theirs, ours)
        self.assertEqual(look(), expected)
        batch.action_process_again()
        self.drain()
        self.assertEqual(look(), expected)
        email._refresh_state()
        self.assertEqual(look(), expected)
        # SendGrid's history tells no addresses, or tells them.
        history = [{**ours, "ip": "", "useragent": ""}, {**theirs, "ip": ""}, ours]
        self.Batch._receive(self.account, json.dumps(history).encode(), source="history")
        self.drain()
        self.assertEqual(look(), expected)
        # The details are forgotten.
        email.event_ids.write({"ip": False, "user_agent": False, "is_final": True})
        email._refresh_state()
        self.receive(ours, theirs)
        self.assertEqual(look(), expected)
        self.assertEmail(email, open_count=1, machine_open_count=0)

    def test_asked_for_first(self):
        """Test that the webhook's report has the decision on what SendGrid's history had told."""
        for asked, expected in (({}, True), ({"ip": "", "useragent": ""}, False)):
            with self.subTest(asked=asked):
                email = self.create_email(partner_id=self.contact.id)
                log = self.log_in(email, HOUR)
                opened = self.relay(email).event("open", timestamp=self.after(email, HOUR), **AT)
                self.Batch._receive(self.account, json.dumps([{**opened, **asked}]).encode(), source="history")
                self.drain()
                self.assertEqual(email.event_ids.is_colleague, expected)
                if expected:
                    log.unlink()
                self.receive(opened)
                self.assertEqual((email.event_ids.is_colleague, email.event_ids.source), (True, False))
                self.assertEqual(email.status, "sent")

    def test_order_of_reports(self):
        """Test that the order does not matter in which the webhook and SendGrid's history tell of one look."""
        reports = {
            "nothing": {"ip": "", "useragent": ""},
            "address": {"ip": OFFICE, "useragent": ""},
            "program": {"ip": "", "useragent": BROWSER},
            "all": AT,
        }
        for webhook, history in itertools.product(reports, repeat=2):
            # Nobody can put an address and a program together that different reports tell.
            expected = "all" in (webhook, history)
            for order in itertools.permutations(("webhook", "history")):
                with self.subTest(webhook=webhook, history=history, order=order):
                    email = self.create_email(partner_id=self.contact.id)
                    log = self.log_in(email, HOUR)
                    opened = self.relay(email).event("open", timestamp=self.after(email, HOUR))
                    for source in order:
                        told = {**opened, **reports[webhook if source == "webhook" else history]}
                        if source == "webhook":
                            self.receive(told)
                        else:
                            self.Batch._receive(self.account, json.dumps([told]).encode(), source="history")
                            self.drain()
                    self.assertEqual(len(email.event_ids), 1)
                    self.assertEqual((email.event_ids.is_colleague, email.event_ids.source), (expected, False))
                    self.assertEqual(email.status, "sent" if expected else "opened")
                    log.unlink()

    def test_first_decision(self):
        """Test that the first report that tells enough decides, whichever it is and whatever is known later."""
        for known_first, order in itertools.product((True, False), (("webhook", "history"), ("history", "webhook"))):
            with self.subTest(known_first=known_first, order=order):
                email = self.create_email(partner_id=self.contact.id)
                clicked = self.relay(email).event("click", timestamp=self.after(email, HOUR), **AT)
                # The webhook tells which link it was, so that the history's report has another fingerprint.
                told = {"webhook": {**clicked, "url_offset": {"index": 3, "type": "html"}}, "history": dict(clicked)}
                told["history"].pop("url_offset", None)
                log = self.log_in(email, HOUR) if known_first else None
                for source in (*order, *order):
                    self.Batch._receive(self.account, json.dumps([told[source]]).encode(), source=source)
                    self.drain()
                    if log:
                        log.unlink()
                        log = None
                    elif not known_first:
                        self.env["res.device.log"].search([]).unlink()
                        self.log_in(email, HOUR)
                self.assertEqual(len(email.event_ids), 1)
                self.assertEqual(email.event_ids.is_colleague, known_first)
                self.env["res.device.log"].search([]).unlink()

    def test_before_its_document(self):
        """Test that an event that came before its document keeps its decision."""
        email = self.create_email(partner_id=self.contact.id)
        self.log_in(email, HOUR)
        values = {name: email[name] for name in ("odoo_id", "message_id", "sent_date")}
        opened = self.relay(email).event("open", timestamp=self.after(email, HOUR), **AT)
        email.unlink()
        batch = self.receive(opened)
        self.assertEqual((self.event_of(batch).match, self.event_of(batch).is_colleague), ("early", True))
        self.env["res.device.log"].search([]).unlink()
        email = self.create_email(partner_id=self.contact.id, **values)
        self.drain()
        self.assertEqual((email.event_ids.verdict, email.status), ("colleague", "sent"))

    def test_unsubscription(self):
        """Test that a colleague's unsubscription is respected and marked, passed over by rules, and taken back."""
        self.make_rule("status", [("status", "=", "unsubscribed")])
        self.make_rule(
            "event", [("event", "=", "unsubscribe")], trigger="on_create", watched=(), model="sendgrid.event"
        )
        email = self.create_email(partner_id=self.contact.id)
        self.log_in(email, HOUR)
        self.receive_of(email, (2, "delivered"), (HOUR, "unsubscribe", AT))
        self.assertEmail(email, status="unsubscribed", is_unsubscribed_by_machine=True)
        self.assertTrue(self.is_blacklisted(email.recipient))
        event = email.event_ids.filtered(lambda e: e.event == "unsubscribe")
        self.assertEqual((event.name, event.verdict), ("Unsubscribed by a colleague", "colleague"))
        self.assertIn("Unsubscribed by a colleague", [step["label"] for step in email.journey])
        self.assertEqual((self.runs("status"), self.runs("event")), (0, 0))
        email.action_take_back_unsubscription()
        self.assertFalse(self.is_blacklisted(email.recipient))
        self.receive_of(
            email, (3 * HOUR, "open", {"useragent": MAC}), (3 * HOUR + 30, "unsubscribe", {"useragent": MAC})
        )
        self.assertEmail(email, status="unsubscribed", is_unsubscribed_by_machine=False)
        self.assertTrue(self.is_blacklisted(email.recipient))
        self.assertEqual((self.runs("status"), self.runs("event")), (1, 1))

    def test_hostile(self):
        """Test that whatever stands for address and program costs no event."""
        self.env.company.sendgrid_networks = "198.51.100.0/24 2001:db8::/32"
        email = self.create_email(partner_id=self.contact.id)
        self.log_in(email, HOUR, ip="'); DROP TABLE res_users; --", browser="\N{PILE OF POO}")
        relayed = self.relay(email)
        values = [
            "",
            " ",
            "0",
            "::",
            "fe80::1%eth0",
            "1.2.3.4/24",
            "%s",
            "'",
            "1" * 3000,
            None,
            5,
            [],
            {},
            "\ud800x",
            "::ffff:x",
        ]
        events = [
            relayed.event(kind, timestamp=self.after(email, HOUR + number), ip=value, useragent=value)
            for kind in ("open", "click", "unsubscribe")
            for number, value in enumerate(values)
        ]
        events.append(relayed.event("open", timestamp=self.after(email, HOUR), ip=OFFICE, useragent=" " * 200_000))
        body = json.dumps(events).encode()
        batch = self.store(body)
        self.drain()
        self.assertBatch(batch, state="done", rejected_count=0, event_count=len(events))
        self.assertEqual(len(email.event_ids.filtered("is_colleague")), 1)

    def test_queries(self):
        """Test that deciding takes two queries for however many events."""
        self.env.company.sendgrid_networks = "192.0.2.0/24"
        email = self.create_email(partner_id=self.contact.id)
        self.log_in(email, HOUR)
        counts = []
        for size in (1, 1, 40):
            events = [
                self.relay(email).event("open", timestamp=self.after(email, HOUR + len(counts) * 100 + number), **AT)
                for number in range(size)
            ]
            batch = self.store(events)
            parsed, _rejected = batch._parse()
            self.assertTrue(batch.account_id.exists().company_id in (self.env["res.company"], self.env.company))
            before = self.env.cr.sql_log_count
            self.Event._note_colleagues([(batch, event) for event in parsed])
            counts.append(self.env.cr.sql_log_count - before)
            self.assertTrue(all(event.is_colleague for event in parsed))
        self.assertEqual(counts[1:], [2, 2])


@tagged("post_install", "-at_install")
class TestLoggedIn(SendgridMixin, HttpCase):
    """From core's own login to the verdict, over HTTP."""

    def test_logged_in(self):
        """Test that who is logged in here is known by the device that core has noted."""
        email = self.create_email(partner_id=self.contact.id)
        opened = self.relay(email).event("open", timestamp=self.after(email, 300), ip="127.0.0.1", useragent=FIREFOX)
        other = self.relay(email).event("open", timestamp=self.after(email, 400), ip="127.0.0.1", useragent=MAC)
        self.salesperson.password = "sendgrid_test_salesperson"
        self.authenticate(self.salesperson.login, self.salesperson.login, session_extra={"_trace_disable": False})
        self.assertEqual(self.url_open("/odoo", headers={"User-Agent": FIREFOX}).status_code, 200)
        self.assertEqual(self.post([opened, other]).status_code // 100, 2)
        self.drain()
        self.assertEqual(
            [(e.is_colleague, e.device) for e in email.event_ids.sorted("timestamp")],
            [(True, "Firefox on Linux"), (False, "Chrome on Mac OS X")],
        )
        self.assertEmail(email, status="opened", open_count=1)
