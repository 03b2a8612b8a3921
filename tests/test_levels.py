"""The table of all levels, ways of sending and kinds of mail: what arrives, and what is kept of what follows."""

import base64
import json
import re
from contextlib import suppress
from datetime import timedelta

from odoo.tests import tagged

from ..tools.events.event import DELIVERY_EVENTS, INTERACTIONS
from .common import Undo
from .simulator import BROWSER, Relayed
from .test_measuring import BODY, LINK, WaysCase

READER = "203.0.113.7"
HREF = f'href="{LINK.replace("&", "&amp;")}"'
# {how the level is set: the level and reason of Ada's document, the reason of Eve's, who gets the same copy}
LEVELS = {
    "full": ("full", "full"),
    "agreed": ("full", "full"),
    "mail": ("mail", "mail"),
    "account": ("account", "account"),
    "company": ("company", "company"),
    "country": ("company", "others"),
    "wish": ("wish", "others"),
}
# All that may happen to a mail that arrived, and the seconds after it was sent.
HISTORY = {"processed": 1, "delivered": 2, "open": 3600, "click": 3700, "unsubscribe": 3800, "spamreport": 3900}


class LevelsCase(WaysCase):
    """Sends a mail of each level by each way, tells all that may follow, and compares what is kept."""

    def get_ways(self):
        return {"SMTP": self.smtp_server, "Web API": self.server}

    def try_all(self, check):
        """Call a function for each level and way. Each starts from the same database."""
        for level in LEVELS:
            for way, server in self.get_ways().items():
                with self.subTest(level=level, way=way), suppress(Undo), self.env.cr.savepoint():
                    self.set_level(level)
                    check(level, server)
                    raise Undo
                self.env.invalidate_all()

    def tell_history(self, emails, **fields):
        """Let two hours pass, and receive all that may happen to each copy; return the batch."""
        self.age("sendgrid.email", timedelta(hours=2), column="sent_date")
        events = [
            event
            for message in self.messages()
            for recipient in message["recipients"]
            for event in self.make_history(message, recipient["address"].lower(), emails, **fields)
        ]
        self.assertEqual(len(events), len(HISTORY) * len(emails))
        return self.receive(*events)

    def make_history(self, message, address, emails, **fields):
        [email] = emails.filtered(lambda one: one.recipient == address and one.message_id == message["message_id"])
        relayed = Relayed([address], message["smtpapi"]["unique_args"], message["message_id"])
        for kind, seconds in HISTORY.items():
            own = fields if kind == "click" else {}
            yield relayed.event(kind, timestamp=self.after(email, seconds), **own)

    def assertKept(self, emails, batch, is_measured):
        """Assert that all is kept that the level allows, nothing else, and what is untouched in any case."""
        expected = [name for name in HISTORY if is_measured or name not in INTERACTIONS]
        for email in emails:
            self.assertEvents(email, [(name, "odoo_id") for name in expected])
            self.assertEmail(
                email,
                status="spam",
                processed_date=self.after(email, HISTORY["processed"]),
                delivered_date=self.after(email, HISTORY["delivered"]),
                open_count=int(is_measured),
                click_count=int(is_measured),
                machine_open_count=0,
                machine_click_count=0,
                unknown_open_count=0,
                unknown_click_count=0,
                is_unsubscribed_by_machine=False,
            )
            for name in ("first_open_date", "last_open_date", "person_open_date", "person_click_date"):
                self.assertEqual(bool(email[name]), is_measured, name)
            self.assertEqual(
                set(email.facts),
                {"delivered", "spam", "unsubscribed"} | ({"opened", "clicked"} if is_measured else set()),
            )
            for event in email.event_ids.filtered(lambda event: event.event not in DELIVERY_EVENTS):
                tells = is_measured and event.event != "spamreport"
                self.assertEqual((event.ip, event.user_agent), (READER, BROWSER) if tells else (False, False))
            known = self.env["sendgrid.address"].search([("email", "=", email.recipient)])
            self.assertTrue(known.wish_date, "that he wants no more mails counts whatever the level")
            self.assertTrue(self.env["mail.blacklist"].search([("email", "=", email.recipient)]))
        left_out = 0 if is_measured else len(INTERACTIONS) * len(emails)
        self.assertBatch(
            batch,
            state="done",
            event_count=len(HISTORY) * len(emails),
            reduced_count=left_out,
            duplicate_count=0,
            unmatched_count=0,
            rejected_count=0,
        )
        body = base64.b64decode(batch.body).decode()
        self.assertEqual(
            sorted(element["event"] for element in json.loads(body)), sorted(expected * len(emails)), "the body"
        )
        for secret in (READER, BROWSER):
            self.assertEqual(secret in body, is_measured)
        self.assertEqual("/é" in body or "/r/" in body, is_measured, "the link")


@tagged("post_install", "-at_install")
class TestLevels(LevelsCase):
    def test_kinds(self):
        """Test each kind of mail at each level by each way: what arrives, and what is kept of what follows."""
        for kind in self.get_kinds():

            def check(level, server, kind=kind):
                own, others = LEVELS[level]
                is_measured = own == "full"
                emails, arrived = self.send_by(server, self.get_kinds(is_tracked=level != "mail")[kind])
                expected = {"ada": own, **({"eve": others} if kind == "several recipients" else {})}
                self.assertLevels(emails, **expected)
                self.assertEqual(arrived.keys(), {f"{name}@example.org" for name in expected})
                for parsed in arrived.values():
                    self.assertArrived(parsed, is_measured)
                self.assertKept(emails, self.tell_history(emails), is_measured)

            with self.subTest(kind=kind):
                self.try_all(check)

    def test_password(self):
        """Test that no level lets a mail about a password be measured, and that its link leaves as it was written."""

        def check(level, server):
            user = self.portal.with_context(no_reset_password=False)
            emails, arrived = self.send_by(server, user.action_reset_password)
            self.assertLevels(emails, portal="access")
            html, plain = self.get_texts(arrived["portal@example.org"])
            self.assertNotIn("/wf/open", html)
            self.assertNotIn("/ls/click", html + plain)
            self.assertRegex(html, r'href="[^"]*/web/reset_password\?[^"]*token=')
            self.assertKept(emails, self.tell_history(emails), is_measured=False)

        self.try_all(check)


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestMailingLevels(LevelsCase):
    """The row of mailings, in a database that has mass mailing. `end_to_end/test_visibility.py` runs it."""

    __test__ = False  # pytest's database does not have it

    def test_mailing(self):
        """Test a mailing at each level by each way: what arrives, and what is kept, in core's own figures too."""
        for acts in (True, False):

            def check(level, server, acts=acts):
                # Where events have no consequences, core itself measures: by its pixel, and by its links.
                self.account.act_on_events = acts
                own, _others = LEVELS[level]
                is_measured = own == "full"
                mailing = self.create_mailing(self.contact, f"<div>{BODY}</div>", sendgrid_is_tracked=level != "mail")
                emails, arrived = self.send_by(server, mailing.action_send_mail)
                self.assertLevels(emails, ada=own)
                html, plain = self.get_texts(arrived["ada@example.org"])
                self.assertEqual("/wf/open" in html, is_measured)
                self.assertEqual("/ls/click" in html, is_measured)
                self.assertEqual("/mail/track/" in html, is_measured and not acts)
                self.assertEqual(bool(re.search(r"/r/\w+", html + plain)), is_measured)
                self.assertEqual(HREF in html, not is_measured)
                self.assertEqual(LINK in plain, not is_measured)
                if not acts:
                    return
                link = self.env["link.tracker"].search([("mass_mailing_id", "=", mailing.id)])
                batch = self.tell_history(emails, url=link.short_url)
                self.assertKept(emails, batch, is_measured)
                trace = self.env["mailing.trace"].search([("mass_mailing_id", "=", mailing.id)])
                self.assertEqual(trace.email, "ada@example.org")
                self.assertEqual(trace.trace_status, "open" if is_measured else "sent")
                self.assertEqual(bool(trace.open_datetime), is_measured)
                self.assertEqual(bool(trace.links_click_datetime), is_measured)
                self.assertEqual((len(trace.links_click_ids), link.count), (int(is_measured),) * 2)

            with self.subTest(acts=acts):
                self.try_all(check)
