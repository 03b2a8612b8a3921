from functools import partial
from unittest.mock import patch

from lxml import etree

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged

from ..models.sendgrid_mailing import read_code
from .properties import given, in_database, st
from .test_answers import ABSENT, AnswerCase
from .test_colleagues import AT, ColleaguesCase
from .test_people import HOUR, MAC

READER = {"ip": "203.0.113.7", "useragent": MAC}
FATES = {
    "read": [("delivered", 2), ("open", HOUR, READER)],
    "unread": [("delivered", 2)],
    "clicked": [("delivered", 2), ("open", HOUR, READER), ("click", HOUR + 9, READER), ("click", HOUR + 90, READER)],
    "unknown": [("delivered", 2), ("click", 24, READER)],
    "prefetched": [("delivered", 2), ("machine_open", 3)],
    "scanned": [("delivered", 2), ("click", 3, {**READER, "useragent": "Barracuda"})],
    "colleague": [("delivered", 2), ("open", HOUR, AT), ("click", HOUR + 9, AT)],
    "blocked": [("bounce", 4, {"type": "blocked", "status": "4.7.1", "reason": "451 4.7.1 busy"})],
    "quota": [("dropped", 4, {"reason": "Recipient List over Package Quota"})],
    "bounced": [("bounce", 4)],
    "held": [("dropped", 4, {"reason": "Bounced Address"})],
    "unsubscribed": [("delivered", 2), ("open", HOUR, READER), ("unsubscribe", HOUR + 30, READER)],
    "left": [("dropped", 4, {"reason": "Unsubscribed Address"})],
}


@tagged("post_install", "-at_install")
class TestShortLinks(ColleaguesCase):
    def test_read_code(self):
        """Test which links are core's short ones. Whatever is none raises nothing."""
        for url, code in (
            ("https://odoo.example.com/r/Ab1/m/12", "Ab1"),
            ("https://odoo.example.com/r/Ab1?utm_source=x", "Ab1"),
            ("https://odoo.example.com/r/Ab1/", "Ab1"),
            ("https://odoo.example.com/r/Ab1/m/x", None),
            ("https://odoo.example.com/shop/r/Ab1", None),
            ("https://[broken", None),
            ("javascript:alert(1)", None),
            ("", None),
            (None, None),
        ):
            with self.subTest(url=url):
                self.assertEqual(read_code(url), code)

    def test_short_links_without_mailings(self):
        """Test that a click on a short link stays core's where there are short links, but no mass mailing."""

        def contains(env, name):
            return name != "mailing.trace" and name in env.registry

        with patch.object(type(self.env), "__contains__", contains):
            self.assertNotIn(("link.tracker.click", "add_click"), self.env["sendgrid.mailing"]._get_patches())

    def test_without_mailings(self):
        """Test that a document without a mailing names its contact, and that its links are shown as they are."""
        email = self.create_email(partner_id=self.contact.id)
        self.receive_of(email, (HOUR, "click", {"url": "https://odoo.example.com/r/Ab1"}))
        self.assertEqual(email.event_ids.link, "https://odoo.example.com/r/Ab1")
        self.assertEqual((email.contact_name, email.mailing_source_id.id), ("Ada", False))
        self.assertEqual(self.create_email("nobody@example.org").contact_name, "")

    def test_leads_without_contact(self):
        """Test that a recipient who is no contact has his lead's name, and nobody else who got an e-mail about it."""
        person, company = self.env["crm.lead"].create(
            [
                {"name": "A", "contact_name": "Grace", "partner_name": "Navy", "email_from": "Grace <g@example.org>"},
                {"name": "B", "partner_name": "Navy", "email_from": "info@example.org"},
            ]
        )
        for lead, address, name in (
            (person, "g@example.org", "Grace"),
            (company, "info@example.org", "Navy"),
            (person, "cc@example.org", ""),
        ):
            with self.subTest(address):
                email = self.create_email(address, model="crm.lead", res_id=lead.id)
                self.assertEqual(email.contact_name, name)
        lost = self.create_email("g@example.org", model="crm.lead", res_id=person.id)
        person.unlink()
        self.env.invalidate_all()
        self.assertEqual(lost.contact_name, "")


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestMailings(ColleaguesCase, AnswerCase):
    """A mass mailing and its documents. `end_to_end/test_visibility.py` installs the application and runs this."""

    __test__ = False  # pytest's database does not have it

    def send_mailing(self, names=tuple(FATES)):
        """Send a mailing to a list whose entries have no contact; return it and {name: document}."""
        mailing_list = self.env["mailing.list"].create(
            {
                "name": "Cheese",
                "contact_ids": [
                    Command.create({"name": name.title(), "email": f"{name}@example.org"}) for name in names
                ],
            }
        )
        link = "<a href='https://shop.example.com/cheese'>Cheese</a>"
        mailing = self.env["mailing.mailing"].create(
            {
                "subject": "Autumn cheese",
                "mailing_type": "mail",
                "mailing_model_id": self.env["ir.model"]._get_id("mailing.list"),
                "contact_list_ids": [Command.set(mailing_list.ids)],
                "body_arch": link,
                "body_html": link,
                "reply_to_mode": "new",
                "reply_to": "cheese@example.com",
                "mail_server_id": self.server.id,
            }
        )
        self.send_waiting(mailing)
        return mailing, {email.recipient.partition("@")[0]: email for email in self.get_documents(mailing)}

    def send_waiting(self, mailing):
        with self.sending() as sent:
            mailing.action_send_mail()
            self.env["mail.mail"].sudo().search([("mailing_id", "=", mailing.id), ("state", "=", "outgoing")]).send()
        mailing.state = "done"
        self.env.flush_all()
        self.env.invalidate_all()
        return sent

    def get_documents(self, mailing):
        return self.Email.search([("mailing_res_id", "=", mailing.id)], order="id")

    def get_link(self, mailing):
        return self.env["link.tracker"].search([("mass_mailing_id", "=", mailing.id)])

    def test_rates(self):
        """Test that the rates of a mailing refer to those who are measured, and count no other as one who did not."""
        mailing, documents = self.send_mailing(("read", "unread", "clicked", "prefetched", "bounced", "colleague"))
        self.tell_fates(mailing, documents)
        # Five arrived, and two of them opened and one clicked.
        self.assertEqual((mailing.opened_ratio, mailing.clicks_ratio), (40, 20))
        for name in ("unread", "prefetched", "colleague"):
            documents[name].measured = "none"
        self.env.invalidate_all()
        self.assertEqual((mailing.opened_ratio, mailing.clicks_ratio), (100, 50))
        self.assertEqual((mailing.delivered, mailing.opened, mailing.received_ratio), (5, 2, 83.33))
        for email in documents.values():
            email.measured = "none"
        self.env.invalidate_all()
        self.assertEqual(mailing.opened_ratio, 100, "of whom an open is known, is known")

    def tell_fates(self, mailing, documents):
        link = self.get_link(mailing)
        self.log_in(documents["colleague"], HOUR)
        for name, email in documents.items():
            url = {"url": link.short_url}
            self.receive_of(
                email,
                *(
                    (seconds, kind, {**(fields[0] if fields else {}), **(url if kind == "click" else {})})
                    for kind, seconds, *fields in FATES[name]
                ),
            )
        self.env.invalidate_all()

    def test_figures(self):
        """Test that core's figures of a mailing are those of its documents, also after late events."""
        mailing, documents = self.send_mailing()
        self.assertEqual(set(documents), set(FATES))
        self.tell_fates(mailing, documents)
        emails = self.get_documents(mailing)

        def assert_agreed():
            traces = self.env["mailing.trace"].search([("mass_mailing_id", "=", mailing.id)])
            failed = emails.filtered(lambda e: e.status in ("blocked", "dropped", "bounced"))
            bounced = failed.filtered(lambda e: {"bounced", "dropped_bounced"} & set(e.facts))
            opened = emails.filtered(lambda e: e.open_count or e.click_count)
            clicked = emails.filtered("click_count")
            self.assertEqual(
                (mailing.expected, mailing.opened, mailing.clicked, mailing.bounced, mailing.failed, mailing.delivered),
                (
                    len(emails),
                    len(opened),
                    len(clicked),
                    len(bounced),
                    len(failed - bounced),
                    len(emails - failed),
                ),
            )
            self.assertEqual(mailing.clicks_ratio, round(100 * len(clicked) / len(emails - failed), 2))
            self.assertEqual(self.get_link(mailing).count, sum(emails.mapped("click_count")))
            self.assertEqual(
                set(traces.filtered("links_click_ids").mapped("email")), set(clicked.mapped("recipient")), "who clicked"
            )
            self.assertFalse(any(emails.mapped("failed_consequences")))

        assert_agreed()
        self.assertEqual([mailing.opened, mailing.clicked, self.get_link(mailing).count], [4, 2, 3])
        url = {"url": self.get_link(mailing).short_url}
        # The reader clicks once more; who seemed to be one is a scanner that follows further links.
        self.receive_of(documents["read"], (2 * HOUR, "click", {**READER, **url}))
        self.receive_of(documents["clicked"], (2 * HOUR, "click", {**READER, **url}))
        self.receive_of(
            documents["unknown"],
            *((24, "click", {**READER, "url": f"https://{name}.example.com"}) for name in "abc"),
        )
        self.env.invalidate_all()
        self.assertEqual(documents["unknown"].click_count, 0)
        assert_agreed()
        self.assertEqual([mailing.opened, mailing.clicked, self.get_link(mailing).count], [3, 2, 4])

    def test_measured_once(self):
        """Test that core does not count a click once more that SendGrid measures, and counts those that it does not."""
        mailing, documents = self.send_mailing(["read", "unread"])
        link = self.get_link(mailing)
        Click = self.env["link.tracker.click"]
        self.assertTrue(Click.add_click(link.code, ip="203.0.113.7", country_code="BE"))
        self.assertEqual(link.count, 1)
        link.link_click_ids.unlink()
        self.account.click_tracking = True
        self.assertFalse(Click.add_click(link.code, ip="203.0.113.7", country_code="BE"))
        self.receive_of(
            documents["read"], (HOUR, "open", READER), (HOUR + 9, "click", {**READER, "url": link.short_url})
        )
        self.assertFalse(Click.add_click(link.code, ip="203.0.113.7", country_code="BE"))
        self.assertEqual(link.count, 1)
        # Where events have no consequences, none of them comes to the mailing.
        self.account.act_on_events = False
        self.assertTrue(Click.add_click(link.code, ip="203.0.113.7", country_code="BE"))
        # Links of other applications count as ever.
        self.account.act_on_events = True
        other = self.env["link.tracker"].create({"url": "https://www.example.com/other", "title": "Other"})
        self.assertTrue(Click.add_click(other.code, ip="203.0.113.7", country_code="BE"))

    def test_not_measured_any_more(self):
        """Test that core's figures forget who declined, and that core notes nothing more of him. Others are counted."""
        mailing, documents = self.send_mailing(["read", "clicked", "unread"])
        self.tell_fates(mailing, {**documents, "colleague": documents["unread"]})
        link = self.get_link(mailing)
        Trace, Click = self.env["mailing.trace"], self.env["link.tracker.click"]
        traces = {
            trace.email.partition("@")[0]: trace for trace in Trace.search([("mass_mailing_id", "=", mailing.id)])
        }
        # This one went out by another server, which core itself measures.
        elsewhere = traces["clicked"].copy({"message_id": "<elsewhere@example.com>", "mail_mail_id_int": 4711})
        elsewhere.set_opened()
        self.assertEqual((mailing.clicked, link.count), (2, 2))
        address = self.env["sendgrid.address"]._hold(["clicked@example.org"])
        address.email_tracking = "declined"
        Reduction = self.env["sendgrid.reduction"]
        Reduction._begin("wish", addresses=address.mapped("email"))
        self.drain()
        self.assertTrue(list(Reduction._reduce_all()))
        self.env.invalidate_all()

        def assert_forgotten():
            self.assertEqual((mailing.clicked, link.count), (0, 0))
            for trace in (traces["clicked"], elsewhere):
                self.assertRecordValues(
                    trace, [{"trace_status": "sent", "open_datetime": False, "links_click_datetime": False}]
                )
            self.assertEqual(traces["read"].trace_status, "open")

        assert_forgotten()
        # Core's pixel and core's links of mails that are out already.
        Trace.set_opened(domain=[("id", "in", [traces["clicked"].id, elsewhere.id])])
        for trace in (traces["clicked"], elsewhere):
            Click.add_click(link.code, ip="203.0.113.7", country_code="BE", mailing_trace_id=trace.id)
        self.receive_of(documents["clicked"], (3 * HOUR, "click", {**READER, "url": link.short_url}))
        self.env.invalidate_all()
        assert_forgotten()
        # A reply is his own word.
        traces["clicked"].set_replied()
        self.assertEqual(traces["clicked"].trace_status, "reply")
        # Core goes on with the others.
        Click.add_click(link.code, ip="203.0.113.7", country_code="BE", mailing_trace_id=traces["unread"].id)
        self.assertEqual((traces["unread"].trace_status, link.count), ("open", 1))

    def test_refused_and_answered(self):
        """Test that the trace of who answered tells no refusal, whether that came before the answer or after it."""
        _mailing, documents = self.send_mailing(["first", "second"])
        refusal = (4, "bounce", {"type": "blocked", "status": "4.7.1", "reason": "451 4.7.1 busy"})
        for name, email in documents.items():
            steps = [
                lambda email=email: self.receive_of(email, refusal),
                lambda email=email: self.answer(email, email.recipient),
            ]
            for step in steps if name == "first" else reversed(steps):
                step()
            self.assertEqual(email.status, "replied")
            trace = self.env["mailing.trace"].search([("message_id", "=", email.message_id)])
            self.assertRecordValues(trace, [{"trace_status": "reply", "failure_type": False, "failure_reason": False}])

    def test_refused_and_answered_in_any_order(self):
        """Test that a trace tells the same of a refusal and an answer, whoever answered and whichever came first."""
        refusals = {
            "bounced": {"reason": "550 5.1.1 no such user"},
            "blocked": {"type": "blocked", "status": "4.7.1", "reason": "451 4.7.1 busy"},
        }
        senders = {"own": None, "else": "Somebody <else@example.net>", "machine": None}
        lives = [f"{refusal}-{sender}-{order}" for refusal in refusals for sender in senders for order in "ab"]
        _mailing, documents = self.send_mailing(lives)
        told = {}
        for name, email in documents.items():
            refusal, sender, order = name.split("-")
            headers = ABSENT if sender == "machine" else None
            steps = [
                lambda e=email, r=refusals[refusal]: self.receive_of(e, (4, "bounce", r)),
                lambda e=email, s=senders[sender], h=headers: self.answer(e, s or e.recipient, headers=h),
            ]
            for step in steps if order == "a" else reversed(steps):
                step()
            trace = self.env["mailing.trace"].search([("message_id", "=", email.message_id)])
            told[name] = trace.trace_status, trace.failure_type, trace.failure_reason
            self.assertEqual(trace.trace_status, "reply", name)
            self.assertEqual(bool(trace.failure_type), sender != "own", "the answer is no proof of the address")
        for name in lives[::2]:
            with self.subTest(name[:-2]):
                self.assertEqual(told[name], told[name[:-1] + "b"])

    def test_clicked_and_answered(self):
        """Test that a mailing counts who clicked and answered as one who clicked, whichever was reported first."""
        mailing, documents = self.send_mailing(["first", "second"])
        url = {"url": self.get_link(mailing).short_url}
        for name, email in documents.items():
            steps = [
                lambda e=email: self.receive_of(e, (2, "delivered"), (HOUR, "open", READER)),
                lambda e=email: self.receive_of(e, (HOUR + 9, "click", {**READER, **url})),
                lambda e=email: self.answer(e, e.recipient),
            ]
            for step in steps if name == "first" else reversed(steps):
                step()
        self.env.invalidate_all()
        self.assertEqual((mailing.opened, mailing.clicked, mailing.replied), (2, 2, 2))

    @in_database
    @given(st.data())
    def test_traces_in_any_order(self, data):
        """Test that a trace and its clicks end the same in whatever order and repetition events and answers come."""
        lives = {
            "delivered": (2, "delivered"),
            "deferred": (1, "deferred"),
            "bounced": (4, "bounce", {"reason": "550 5.1.1 no such user"}),
            "blocked": (5, "bounce", {"type": "blocked", "status": "4.7.1", "reason": "451 4.7.1 busy"}),
            "held": (6, "dropped", {"reason": "Bounced Address"}),
            "read": (HOUR, "open", READER),
            "scanned": (3, "click", {**READER, "useragent": "Barracuda"}),
            "clicked": (HOUR + 9, "click", READER),
            "unsubscribed": (HOUR + 30, "unsubscribe", READER),
        }
        answers = {"own": None, "else": "Somebody <else@example.net>", "machine": None}
        steps = data.draw(st.lists(st.sampled_from([*lives, *answers]), min_size=2, max_size=6, unique=True))
        ways = [
            [*order, *data.draw(st.lists(st.sampled_from(order), max_size=2))]
            for order in (steps, data.draw(st.permutations(steps)))
        ]
        mailing, documents = self.send_mailing(["reader"])
        [email], link = documents.values(), self.get_link(mailing)

        relayed = self.relay(email)
        told = {
            step: self.write_mail(email, sender or email.recipient, headers=ABSENT if step == "machine" else None)
            for step, sender in answers.items()
        }
        for step, (seconds, kind, *other) in lives.items():
            url = {"url": link.short_url} if kind == "click" else {}
            told[step] = relayed.event(kind, timestamp=self.after(email, seconds), **(other[0] if other else {}), **url)

        def come(way):
            for step in way:
                (self.come_in if step in answers else self.receive)(told[step])

        def look():
            self.env.invalidate_all()
            trace = self.env["mailing.trace"].search([("message_id", "=", email.message_id)])
            dates = trace.sent_datetime, trace.open_datetime, trace.links_click_datetime, trace.reply_datetime
            state = trace.trace_status, trace.failure_type, trace.failure_reason
            return {str(steps): (*state, *map(bool, dates), len(trace.links_click_ids))}

        self.compare_ways(look, *(partial(come, way) for way in ways))

    def test_several_addresses(self):
        """Test that a trace tells of the address that it names, if the entry of the list has several: they share it."""
        refusal = (4, "bounce", {"reason": "550 5.1.1 no such user"})
        reading = [(2, "delivered"), (HOUR, "open", READER)]
        for number, order in enumerate((1, -1) * 2):
            named, other = f"named{number}", f"other{number}"
            mailing, documents = self.send_mailing([f"{named}@example.org, {other}"])
            self.assertEqual(len(set(documents.values())), 2)
            events = {named: reading, other: [refusal]} if number < 2 else {named: [refusal], other: reading}
            for name in (named, other)[::order]:
                url = {"url": self.get_link(mailing).short_url}
                clicks = [] if events[name] == [refusal] else [(HOUR + 9, "click", {**READER, **url})]
                self.receive_of(documents[name], *events[name], *clicks)
            trace = self.env["mailing.trace"].search([("mass_mailing_id", "=", mailing.id)])
            self.assertRecordValues(
                trace,
                [
                    {
                        "email": f"{named}@example.org",
                        "trace_status": "open" if number < 2 else "bounce",
                        "failure_type": False if number < 2 else "mail_bounce",
                    }
                ],
            )
            self.assertEqual(self.get_link(mailing).count, int(number < 2))

    def test_refused_and_opened(self):
        """Test that a refusal stays, which core hid behind an open by its own pixel, when the open is forgotten."""
        mailing, documents = self.send_mailing(["bounced", "blocked", "unread"])
        self.tell_fates(mailing, {**documents, "colleague": documents["unread"]})
        traces = self.env["mailing.trace"].search([("mass_mailing_id", "=", mailing.id)], order="email")
        before = traces.mapped("trace_status")
        self.assertEqual(before, ["error", "bounce", "sent"])
        traces.set_opened()
        self.assertEqual(set(traces.mapped("trace_status")), {"open"})
        self.env["sendgrid.address"].set_email_tracking(traces.mapped("email"), "declined", "form")
        self.assertEqual(traces.mapped("trace_status"), before)

    def test_shown_link(self):
        """Test that a page names where a link leads, and never the recipient's own link, with one query for all."""
        mailing, documents = self.send_mailing(["read", "unread"])
        link = self.get_link(mailing)
        email = documents["read"]
        trace = self.env["mailing.trace"].search(
            [("email", "=", email.recipient), ("mass_mailing_id", "=", mailing.id)]
        )
        for number, (url, shown) in enumerate(
            (
                (f"{link.short_url}/m/{trace.id}", "https://shop.example.com/cheese"),
                (link.short_url, "https://shop.example.com/cheese"),
                (f"{link.short_url_host}gone/m/{trace.id}", f"{link.short_url_host}gone"),
                ("https://elsewhere.example.com/x/m/3", "https://elsewhere.example.com/x/m/3"),
            )
        ):
            self.receive_of(email, (HOUR + number, "click", {**READER, "url": url}))
            event = email.event_ids.filtered(lambda e, url=url: e.url == url)
            self.assertEqual(event.link, shown)
        counts = []
        for size in (1, 30):
            self.receive_of(
                email, *((2 * HOUR + n, "click", {**READER, "url": f"{link.short_url}/m/{n}"}) for n in range(size))
            )
            self.env.invalidate_all()
            events = email.event_ids
            before = self.env.cr.sql_log_count
            self.assertFalse([shown for shown in events.mapped("link") if "/r/" in shown and "gone" not in shown])
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(*counts)

    def test_retry(self):
        """Test that *Retry* sends again what may arrive now, says how much, and why the rest stays."""
        mailing, documents = self.send_mailing()
        self.tell_fates(mailing, documents)
        told = mailing.action_retry_failed()
        message = told["params"]["message"]
        self.assertIn("are sent again: 2.", message)
        self.assertIn("1: the address does not work", message)
        self.assertIn("1: SendGrid holds back", message)
        self.assertIn("1: the recipient has unsubscribed", message)
        self.assertEqual(mailing.state, "in_queue")
        sent = self.send_waiting(mailing)
        self.assertEqual(sorted(one.recipients[0] for one in sent), ["blocked@example.org", "quota@example.org"])
        again = self.get_documents(mailing).filtered(lambda e: e not in list(documents.values()))
        self.assertEqual(sorted(again.mapped("recipient")), ["blocked@example.org", "quota@example.org"])
        self.assertEqual(again.mapped("status"), ["sent", "sent"])
        self.assertEqual((mailing.failed, mailing.bounced), (2, 1))
        for email in again:
            self.receive_of(email, (2, "delivered"))
        self.assertEqual(mailing.expected, len(documents))
        # Somebody knows that the address works again, and SendGrid has been asked.
        self.env["sendgrid.suppression"].search([("email", "=", "bounced@example.org")]).state = "cleared"
        self.env["sendgrid.address"].search([("email", "=", "bounced@example.org")])._confirm()
        self.assertIn("are sent again: 1.", mailing.action_retry_failed()["params"]["message"])
        self.assertEqual([one.recipients[0] for one in self.send_waiting(mailing)], ["bounced@example.org"])
        # Nothing else would arrive.
        # A document without a Message-ID has no traces.
        nameless = self.create_email(mailing_res_id=mailing.id, message_id=False, status="bounced")
        trace = self.env["mailing.trace"].create({"mass_mailing_id": mailing.id, "model": "x", "res_id": 1})
        self.assertFalse(trace.message_id)
        self.assertEqual(self.env["sendgrid.mailing"]._get_traces(nameless), {nameless: trace.browse()})
        nameless.unlink()
        trace.unlink()
        told = mailing.action_retry_failed()["params"]
        self.assertEqual((told["type"], told["message"][:34]), ("warning", "No e-mail that left is sent again."))
        mailing.state = "done"
        user = new_test_user(self.env, "sendgrid_test_nobody", groups="base.group_user")
        with self.assertRaises(AccessError):
            mailing.with_user(user).action_retry_failed()

    def test_retry_of_who_left(self):
        """Test that *Retry* does not say that it sends to who has left the list, is gone, or on the blacklist.

        The mailing still tells that who is gone was not reached.
        """
        mailing, documents = self.send_mailing(("blocked", "left", "listed", "gone"))
        for email in documents.values():
            self.receive_of(email, *((at, kind, *told) for kind, at, *told in FATES["blocked"]))
        contacts = mailing.contact_list_ids.contact_ids.grouped("email")
        contacts["left@example.org"].subscription_ids.opt_out = True
        contacts["gone@example.org"].unlink()
        self.env["mail.blacklist"]._add("listed@example.org")
        message = mailing.action_retry_failed()["params"]["message"]
        self.assertIn("are sent again: 1.", message)
        self.assertIn("2: the recipient has unsubscribed", message)
        self.assertEqual([one.recipients[0] for one in self.send_waiting(mailing)], ["blocked@example.org"])
        self.assertEqual((mailing.expected, mailing.failed, mailing.canceled), (4, 3, 0))

    def test_retry_after_a_correction(self):
        """Test that *Retry* sends to an address that was corrected, unless that one does not work either."""
        mailing, documents = self.send_mailing(("bounced", "invalid"))
        for email in documents.values():
            self.receive_of(email, *((at, kind, *told) for kind, at, *told in FATES["bounced"]))
        contacts = mailing.contact_list_ids.contact_ids.grouped("email")
        self.assertIn("2: the address does not work", mailing.action_retry_failed()["params"]["message"])
        contacts["bounced@example.org"].email = "Corrected@example.org"
        contacts["invalid@example.org"].email = "bounced@example.org"
        message = mailing.action_retry_failed()["params"]["message"]
        self.assertIn("are sent again: 1.", message)
        self.assertIn("1: the address does not work", message)
        self.assertEqual([one.recipients[0] for one in self.send_waiting(mailing)], ["corrected@example.org"])

    def test_documents_of_a_mailing(self):
        """Test the way from a mailing to its documents, which name it and the recipients that have no contact."""
        mailing, documents = self.send_mailing(["read", "unread"])
        user = new_test_user(
            self.env, "sendgrid_test_marketer", groups="base.group_user,mass_mailing.group_mass_mailing_user"
        )
        arch = etree.fromstring(self.env["mailing.mailing"].with_user(user).get_view(view_type="form")["arch"])
        action = self.env.ref("sendgrid_tracking.sendgrid_email_action_of_mailing")
        [button] = arch.xpath(f"//div[@name='button_box']/button[@name='{action.id}']")
        self.assertEqual(button.get("string"), "Documents")
        self.assertFalse(button.xpath("preceding-sibling::button"), "it is not hidden behind More")
        emails = self.Email.browse(email.id for email in documents.values())
        self.assertEqual(self.Email.search([("mailing_res_id", "=", mailing.id)]), emails.sorted(lambda e: (-e.id,)))
        self.assertEqual(sorted(emails.mapped("contact_name")), ["Read", "Unread"])
        self.assertFalse(emails.partner_id)
        self.assertEqual(emails.mailing_source_id, mailing.source_id)
        groups = self.Email.formatted_read_group([("id", "in", emails.ids)], ["mailing_source_id"], ["__count"])
        self.assertEqual(
            [(group["mailing_source_id"][0], group["__count"]) for group in groups], [(mailing.source_id.id, 2)]
        )

    def test_switch(self):
        """Test that mails and test mails of a mailing keep its switch, which its form shows and its duplicates take."""
        mailing, _documents = self.send_mailing(("read",))
        self.assertTrue(mailing.sendgrid_is_tracked)
        with Form(mailing.copy()) as form:
            form.sendgrid_is_tracked = False
        for copied in (form.record.copy(), form.record.copy({"ab_testing_enabled": True})):
            self.assertFalse(copied.sendgrid_is_tracked)
        for one, is_off in ((mailing.copy(), False), (form.record, True)):
            with self.subTest(is_off=is_off):
                made = []
                create = type(self.env["mail.mail"]).create

                def watch(model, vals_list, create=create, note=made.extend):
                    mails = create(model, vals_list)
                    note(mails.mapped("mail_message_id.sendgrid_is_unmeasured"))
                    return mails

                test = self.env["mailing.mailing.test"].create({"mass_mailing_id": one.id, "email_to": "x@example.org"})
                with patch.object(type(self.env["mail.mail"]), "create", watch):
                    with self.sending():
                        test.send_mail_test()
                    self.send_waiting(one)
                self.assertEqual(made, [is_off] * 2, "the test mail and that of the mailing")
