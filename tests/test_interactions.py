import json
from datetime import timedelta
from email.utils import format_datetime
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import SQL, mute_logger

from .simulator import BROWSER
from .test_answers import ABSENT, AnswerCase
from .test_people import PeopleCase

MAIL_SERVER, MAIL = "odoo.addons.base.models.ir_mail_server", "odoo.addons.mail.models.mail_mail"
MINUTE = 60
TOLD = "sendgrid.interaction/told"


class InteractionCase(PeopleCase):
    """A salesperson who is told of what happens to his e-mails."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.Interaction = cls.env["sendgrid.interaction"]
        cls.contact.name = "Ada <b>Lovelace</b>"
        cls.salesperson.sendgrid_tells_opened = True

    def send(self, **values):
        """Return the document of an e-mail that was delivered an hour ago, and its message."""
        email = self.create_email(**{"partner_id": self.contact.id, "ago": timedelta(hours=1), **values})
        return email, self.relay(email)

    def happen(self, email, message, *told):
        """Receive events about an e-mail in one POST.

        :param told: pairs of minutes after the e-mail was sent and kind, or triples with fields
        :return: what the salesperson is told by the bus
        """
        events = [
            message.event(kind, timestamp=self.after(email, minutes * MINUTE), **(other[0] if other else {}))
            for minutes, kind, *other in told
        ]
        return self.hear(lambda: self.receive(*events))

    def hear(self, action, user=None):
        """Return the bus messages that a user gets while something is done."""
        with patch.object(type(self.env["bus.bus"]), "_sendone") as send:
            action()
        partner = (user or self.salesperson).partner_id
        return [
            content
            for channel, name, content in (call.args for call in send.call_args_list)
            if name == TOLD and channel == partner
        ]

    def allow_push(self, user, name):
        """Have a user allow push notifications on a device."""
        Device = self.env["mail.push.device"]
        Device.get_web_push_vapid_public_key()
        Device.create({"partner_id": user.partner_id.id, "endpoint": f"https://push.test/{name}", "keys": "{}"})

    def feed(self, user=None, kind=None):
        lines = self.Interaction.with_user(user or self.salesperson).get_feed(kind)
        return [(line["kind"], line["email_id"]) for line in lines]

    def notices(self, messages):
        return [message["notice"]["title"] for message in messages if message["notice"]]


@tagged("post_install", "-at_install")
class TestFeed(InteractionCase):
    """What stands in the feed."""

    def test_lines(self):
        """Test that the feed has what people did, the newest first, with contact, subject and time."""
        first, message = self.send(subject="First")
        self.happen(first, message, (1, "delivered"), (10, "open"), (12, "click", self.click()))
        second, message = self.send(subject="<i>Second</i>")
        self.happen(second, message, (11, "bounce"))
        lines = self.Interaction.with_user(self.salesperson).get_feed()
        self.assertEqual(
            [(line["kind"], line["email_id"]) for line in lines],
            [("clicked", first.id), ("failed", second.id), ("opened", first.id)],
        )
        self.assertEqual(lines[1]["subject"], "<i>Second</i>")
        self.assertEqual(lines[1]["contact"], "Ada <b>Lovelace</b>")
        self.assertEqual(
            lines[0]["date"], fields.Datetime.to_string(first.sent_date + timedelta(minutes=12)), "UTC, as all times"
        )
        self.assertEqual(self.feed(kind="failed"), [("failed", second.id)])
        self.assertEqual(self.feed(self.env.ref("base.user_admin")), [])

    def test_not_people(self):
        """Test that machines, and those of whom nobody can tell, are in no feed, nor what is under way."""
        email, message = self.send()
        self.assertEqual(self.happen(email, message, (0, "processed"), (1, "delivered"), (1, "machine_open")), [])
        self.assertEqual(self.feed(), [])
        self.assertEqual(self.happen(email, message, (30, "open", {"useragent": "", "ip": ""})), [])
        self.assertEqual(self.feed(), [])
        self.assertFalse(email.person_open_date)

    def test_authors(self):
        """Test that what no employee wrote is in no feed."""
        portal = new_test_user(self.env, "sendgrid_feed_portal", groups="base.group_portal")
        gone = new_test_user(self.env, "sendgrid_feed_gone", groups="base.group_user")
        gone.active = False
        for author in (portal.partner_id, gone.partner_id, self.contact, self.env["res.partner"]):
            email, message = self.send(author_id=author.id)
            self.happen(email, message, (10, "open"), (12, "click", self.click()))
        self.assertFalse(self.Interaction.search([]))

    def test_order(self):
        """Test that order, repetition and split make no difference to what stands in the feed."""
        email, message = self.send()
        other, other_message = self.send()
        events = [
            message.event("open", timestamp=self.after(email, 10 * MINUTE)),
            message.event("open", timestamp=self.after(email, 20 * MINUTE)),
            message.event("click", timestamp=self.after(email, 21 * MINUTE), **self.click()),
            other_message.event("bounce", timestamp=self.after(other, 5 * MINUTE)),
            # What opened a mail right before it was refused was a scanner.
            other_message.event("open", timestamp=self.after(other, 5 * MINUTE - 2)),
        ]

        def look():
            return sorted(self.Interaction.search([]).mapped(lambda one: (one.email_id.id, one.kind, one.date)))

        def one_by_one(told):
            return lambda: [self.receive(event) for event in told]

        found = self.compare_ways(
            look,
            lambda: self.receive(*events),
            one_by_one(events),
            one_by_one(events[::-1]),
            one_by_one(events + events),
            lambda: (self.receive(*events[2:]), self.receive(*events)),
        )
        self.assertEqual(
            [(email_id, kind) for email_id, kind, _date in found],
            [(email.id, "clicked"), (email.id, "opened"), (other.id, "failed")],
        )

    def test_seen(self):
        """Test that what is seen stays seen, until something newer happens."""
        email, message = self.send()
        [told] = self.happen(email, message, (10, "open"), (12, "click", self.click()))
        self.assertEqual(told["unseen"], 2)
        mine = self.Interaction.with_user(self.salesperson)
        [told] = self.hear(lambda: mine.search([("kind", "=", "opened")]).action_open())
        self.assertEqual(told, {"unseen": 1, "notice": False})
        [told] = self.hear(mine.action_mark_all_seen)
        self.assertEqual(told["unseen"], 0)
        self.assertEqual(self.hear(mine.action_mark_all_seen), [], "nothing has changed")
        self.happen(email, message, (9, "open"))
        self.assertFalse(mine.search([("is_seen", "=", False)]))
        [told] = self.happen(email, message, (40, "open"))
        self.assertEqual((told["unseen"], mine.search([("is_seen", "=", False)]).kind), (1, "opened"))

    def test_others_keep_theirs(self):
        """Test that nobody reads, opens or marks what happened to the e-mails of others."""
        email, message = self.send()
        self.happen(email, message, (10, "open"))
        colleague = new_test_user(self.env, "sendgrid_feed_colleague", groups="base.group_system")
        theirs = self.Interaction.search([]).with_user(colleague)
        self.assertFalse(theirs.search([]))
        for method in (theirs.action_open, theirs.mark_seen, theirs.mark_line_seen):
            with self.assertRaises(AccessError):
                method()
        theirs.action_mark_all_seen()
        self.assertFalse(theirs.sudo().is_seen)
        portal = new_test_user(self.env, "sendgrid_feed_portal", groups="base.group_portal")
        with self.assertRaises(AccessError):
            theirs.with_user(portal).get_feed()

    def test_flood_is_one_line(self):
        """Test that what many do with a mailing is one line with their number, also if something else is in between."""
        first, message = self.send(recipient="reader0@example.org", mailing_res_id=7)
        self.happen(first, message, (1, "open"), (3, "click", self.click()))
        lonely, message = self.send()
        self.happen(lonely, message, (12, "open"))
        for number in range(1, 4):
            email, message = self.send(recipient=f"reader{number}@example.org", mailing_res_id=7)
            self.happen(email, message, (10 + number, "open"))
        other, message = self.send(recipient="reader0@example.org", mailing_res_id=8)
        self.happen(other, message, (2, "open"))
        lines = self.Interaction.with_user(self.salesperson).get_feed()
        self.assertEqual(
            [(line["email_id"], line["kind"], line["count"]) for line in lines],
            [(email.id, "opened", 4), (lonely.id, "opened", 1), (first.id, "clicked", 1), (other.id, "opened", 1)],
        )
        self.assertEqual(len(self.feed(kind="opened")), 3)

    def test_flood_hides_nothing(self):
        """Test that a mailing that hundreds open is one line with their number, and the others are there as well."""
        lonely, message = self.send()
        self.happen(lonely, message, (2, "open"))
        sent = [self.send(recipient=f"reader{number}@example.org", mailing_res_id=7) for number in range(250)]
        self.receive(*[message.event("open", timestamp=self.after(email, 10 * MINUTE)) for email, message in sent])
        lines = self.Interaction.with_user(self.salesperson).get_feed()
        self.assertEqual([(line["count"], line["has_more"]) for line in lines], [(250, False), (1, False)])
        with patch("odoo.addons.sendgrid_tracking.models.sendgrid_interaction.COUNTED_IN_LINE", 200):
            lines = self.Interaction.with_user(self.salesperson).get_feed()
        self.assertEqual([(line["count"], line["has_more"]) for line in lines], [(200, True), (1, False)])

    def test_author_changes(self):
        """Test that an e-mail that gets another author takes no line of its former author along, nor the place of one.

        The newest interactions are with e-mails of a mailing, and with lonely ones, that are another's by now.
        """
        kept, others = [], []
        for number in range(3):
            for mailing_id in (7, 8, False):
                email, message = self.send(recipient=f"r{number}@example.org", mailing_res_id=mailing_id)
                self.happen(email, message, (10 + number, "open"))
                is_kept = mailing_id != 8 and number == 0
                (kept if is_kept else others).append(email)
        for email in others:
            email.author_id = self.contact
        with patch("odoo.addons.sendgrid_tracking.models.sendgrid_interaction.SHOWN", 2):
            self.assertEqual({email_id for _kind, email_id in self.feed()}, {email.id for email in kept})
            lines = self.Interaction.with_user(self.salesperson).get_feed()
            self.assertEqual([line["count"] for line in lines], [1, 1], "the number of a mailing is of the own ones")
        self.assertEqual(self.Interaction._count_unseen([self.salesperson.id]), {self.salesperson.id: 2})
        messages = self.hear(lambda: kept[0].write({"author_id": self.contact.id}))
        self.assertEqual([message["unseen"] for message in messages], [1], "his icon hears of it")

    def test_line_is_seen(self):
        """Test that whoever opens a line has seen all that stands in it, and nothing else."""
        sent = [self.send(recipient=f"reader{number}@example.org", mailing_res_id=7) for number in range(3)]
        for email, message in sent:
            self.happen(email, message, (10, "open"), (12, "click", self.click()))
        mine = self.Interaction.with_user(self.salesperson)
        [clicks, opens] = mine.get_feed()
        newer, message = self.send(recipient="late@example.org", mailing_res_id=7)
        self.happen(newer, message, (20, "open"))
        mine.browse(opens["id"]).mark_line_seen()
        self.assertEqual(len(mine.search([("kind", "=", "opened"), ("is_seen", "=", True)])), 3)
        lines = mine.get_feed()
        self.assertEqual([(line["kind"], line["is_seen"]) for line in lines], [("opened", False), ("clicked", False)])
        mine.browse(lines[0]["id"]).mark_line_seen()
        mine.browse(clicks["id"]).mark_seen()
        self.assertEqual(
            [(line["kind"], line["is_seen"]) for line in mine.get_feed()], [("opened", True), ("clicked", False)]
        )
        alone, message = self.send()
        self.happen(alone, message, (10, "open"))
        mine.search([("email_id", "=", alone.id)]).mark_line_seen()
        self.assertEqual(
            mine.search([("is_seen", "=", False)]).mapped("kind"), ["clicked", "clicked"], "one of three was opened"
        )

    def test_store(self):
        """Test that core's first load of a page has the number, up to the highest that is shown."""
        email, message = self.send()
        self.happen(email, message, (10, "open"), (12, "click", self.click()))
        self.assertEqual(self.Interaction._count_unseen(self.salesperson.ids), {self.salesperson.id: 2})
        self.assertEqual(self.Interaction._count_unseen(self.env.user.ids), {self.env.uid: 0})

    def test_level(self):
        """Test that nothing is left in the feed of somebody's opens and clicks once he declines, nor comes in."""
        email, message = self.send()
        self.happen(email, message, (1, "delivered"), (10, "open"), (12, "click", self.click()), (30, "bounce"))
        self.assertEqual({kind for kind, _email in self.feed()}, {"opened", "clicked", "failed"})

        def decline():
            self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "form")

        [told, *_others] = self.hear(decline)
        self.assertEqual(told, {"unseen": 1, "notice": False})
        self.assertEqual(self.feed(), [("failed", email.id)])
        self.assertEqual(self.happen(email, message, (20, "open"), (22, "click", self.click(link="b"))), [])
        self.assertEqual(self.feed(), [("failed", email.id)])

    def test_forgotten(self):
        """Test that the feed forgets with the tracking, and with the document."""
        email, message = self.send()
        other, other_message = self.send(recipient="bob@example.org", partner_id=False)
        for document, sent in ((email, message), (other, other_message)):
            self.happen(document, sent, (10, "open"), (12, "click", self.click()))
        self.env["sendgrid.reduction"]._begin("forgotten", ["ada@example.org"], email.ids)
        self.assertEqual({email_id for _kind, email_id in self.feed()}, {other.id})
        other.unlink()
        self.assertFalse(self.Interaction.search([]))

    def test_queries(self):
        """Test that the number of queries depends neither on the number of events nor on that of documents."""

        def count(number):
            sent = [
                self.send(recipient=f"r{number}.{one}@example.org", partner_id=False, is_alone=True)
                for one in range(number)
            ]
            self.store(
                [
                    message.event(kind, timestamp=self.after(email, minutes * MINUTE), **self.click())
                    for email, message in sent
                    for minutes, kind in ((10, "open"), (12, "click"), (14, "click"))
                ]
            )
            self.start_afresh()
            before = self.env.cr.sql_log_count
            self.drain()
            return self.env.cr.sql_log_count - before

        count(4)
        self.assertEqual(count(5), count(40))

    def test_feed_queries(self):
        """Test that opening the feed is one query, along the indexes, however many interactions there are."""
        email, message = self.send()
        self.happen(email, message, (10, "open"))
        self.env.cr.execute(
            SQL(
                """INSERT INTO sendgrid_email (odoo_id, account_id, recipient, date, status, author_id, mailing_res_id)
                   SELECT 'n' || n, %(account)s, 'n' || n || '@example.net', now(), 'sent', %(author)s,
                          CASE WHEN n %% 3 = 0 THEN n %% 10 + 1 END
                     FROM generate_series(1, 20000) n;
                   INSERT INTO sendgrid_interaction (user_id, email_id, kind, date, is_seen, mailing_res_id)
                   SELECT CASE WHEN id %% 20 = 0 THEN %(user)s ELSE %(other)s END, id, 'opened',
                          now() - id * interval '1 s', TRUE, mailing_res_id
                     FROM sendgrid_email WHERE odoo_id LIKE 'n%%';
                   ANALYZE sendgrid_email; ANALYZE sendgrid_interaction""",
                account=self.account.id,
                author=self.salesperson.partner_id.id,
                user=self.salesperson.id,
                other=self.env.uid,
            )
        )
        mine = self.Interaction.with_user(self.salesperson)
        mine.get_feed()
        with self.assertQueryCount(1):
            self.assertEqual(len(mine.get_feed()), 30)
        plan = "\n".join(line for (line,) in self.env.execute_query(SQL("EXPLAIN %s", mine._get_feed_query())))
        self.assertNotIn("Seq Scan on sendgrid", plan)
        self.assertIn("sendgrid_interaction_line_idx", plan)
        with self.assertQueryCount(1):
            self.assertEqual(mine._count_unseen(self.salesperson.ids), {self.salesperson.id: 1})


@tagged("post_install", "-at_install")
class TestTold(InteractionCase):
    """What a user is told at once."""

    def test_notices(self):
        """Test what is told, to the author only, and that hostile texts stay texts."""
        email, message = self.send(subject="<b>Offer</b>")
        [told] = self.happen(email, message, (10, "open"))
        self.assertEqual(
            told,
            {
                "unseen": 1,
                "notice": {
                    "title": "Opened by Ada <b>Lovelace</b>",
                    "body": "<b>Offer</b>",
                    "email_id": email.id,
                    "count": 1,
                    "ids": self.Interaction.search([]).ids,
                },
            },
        )
        self.assertEqual(
            self.notices(self.happen(email, message, (12, "click", self.click()))), ["Clicked by Ada <b>Lovelace</b>"]
        )
        bounced, message = self.send(recipient="nobody@example.org", partner_id=False)
        self.assertEqual(
            self.notices(self.happen(bounced, message, (1, "bounce"))), ["Not delivered to nobody@example.org"]
        )

    def test_wishes(self):
        """Test that a user is told of what he wants to be told, and finds the rest in his feed."""
        self.assertEqual(
            self.env["res.users"].default_get(
                [f"sendgrid_tells_{kind}" for kind in ("opened", "clicked", "replied", "failed")]
            ),
            {"sendgrid_tells_clicked": True, "sendgrid_tells_replied": True, "sendgrid_tells_failed": True},
        )
        view = "base.view_users_form_simple_modif"
        with Form(self.salesperson.with_user(self.salesperson), view) as form:
            form.sendgrid_tells_opened = False
            form.sendgrid_tells_clicked = False
        email, message = self.send()
        messages = self.happen(email, message, (10, "open"), (12, "click", self.click()))
        self.assertEqual((self.notices(messages), messages[0]["unseen"]), ([], 2))
        self.salesperson.sendgrid_tells_clicked = True
        messages = self.happen(email, message, (20, "open"), (22, "click", self.click(link="b")))
        self.assertEqual(self.notices(messages), ["Clicked by Ada <b>Lovelace</b>"], "it is no first open any more")

    def test_once_an_hour(self):
        """Test that an e-mail tells of one kind once within an hour, and of the first open only."""
        email, message = self.send(ago=timedelta(hours=5))
        self.assertTrue(self.notices(self.happen(email, message, (10, "open"))))
        self.assertTrue(self.notices(self.happen(email, message, (12, "click", self.click()))))
        messages = self.happen(email, message, (30, "open"), (32, "click", self.click(link="b")))
        self.assertFalse(self.notices(messages))
        self.age("sendgrid.interaction", timedelta(minutes=61), "told_date")
        messages = self.happen(email, message, (100, "open"), (110, "click", self.click(link="c")))
        self.assertEqual(self.notices(messages), ["Clicked by Ada <b>Lovelace</b>"])
        self.assertFalse(self.notices(self.happen(email, message, (110, "click", self.click(link="c")))), "repeated")

    def test_mailing_once_an_hour(self):
        """Test that a mailing tells of one kind once within an hour, however its clicks trickle in."""

        def click(number):
            email, message = self.send(recipient=f"reader{number}@example.org", partner_id=False, mailing_res_id=7)
            return self.notices(self.happen(email, message, (10 + number, "click", self.click())))

        self.assertEqual(click(0), ["Clicked by reader0@example.org"])
        self.assertEqual(click(1) + click(2), [])
        other, message = self.send(recipient="reader0@example.org", partner_id=False, mailing_res_id=8)
        self.assertEqual(
            self.notices(self.happen(other, message, (13, "click", self.click()))), ["Clicked by reader0@example.org"]
        )
        opened, message = self.send(recipient="reader9@example.org", partner_id=False, mailing_res_id=7)
        self.assertEqual(self.notices(self.happen(opened, message, (14, "open"))), ["Opened by reader9@example.org"])
        self.age("sendgrid.interaction", timedelta(minutes=61), "told_date")
        self.assertEqual(click(3), ["Clicked by reader3@example.org"])
        self.assertEqual(
            [line["count"] for line in self.Interaction.with_user(self.salesperson).get_feed("clicked")], [4, 1]
        )

    def test_old(self):
        """Test that nobody is told of e-mails that are older than 30 days."""
        for days, told in ((29, ["Opened by Ada <b>Lovelace</b>"]), (31, [])):
            email, message = self.send(ago=timedelta(days=days))
            messages = self.happen(email, message, ((days - 1) * 24 * 60, "open"))
            self.assertEqual(self.notices(messages), told)
            self.assertIn(("opened", email.id), self.feed())

    def test_muted(self):
        """Test that a muted e-mail tells nothing, and counts as seen, until its author wants to hear of it again."""
        email, message = self.send(model="res.partner", res_id=self.contact.id)
        colleague = new_test_user(self.env, "sendgrid_feed_colleague", groups="base.group_user")
        self.assertFalse(email.with_user(colleague).can_mute)
        with self.assertRaises(AccessError):
            email.with_user(colleague).action_mute()
        email.with_user(self.salesperson).action_mute()
        messages = self.happen(email, message, (10, "open"), (12, "click", self.click()))
        self.assertEqual((self.notices(messages), messages[0]["unseen"]), ([], 0))
        self.assertEqual(len(self.feed()), 2)
        email.with_user(self.salesperson).action_unmute()
        self.assertTrue(self.notices(self.happen(email, message, (30, "click", self.click(link="b")))))

    def test_flood(self):
        """Test that of more than a few only the number is told, in one message."""
        sent = [self.send(recipient=f"reader{number}@example.org", partner_id=False) for number in range(5)]
        events = [message.event("open", timestamp=self.after(email, 10 * MINUTE)) for email, message in sent]
        [told] = self.hear(lambda: self.receive(*events))
        self.assertEqual((told["unseen"], told["notice"]["title"]), (5, "Interactions with your e-mails: 5"))
        self.assertEqual((told["notice"]["count"], told["notice"]["body"]), (5, "Opened by reader4@example.org"))

    def test_queries_of_notices(self):
        """Test that the number of queries does not depend on that of the authors who are told."""

        def count(number):
            sent = []
            for one in range(number):
                user = new_test_user(
                    self.env, f"told{len(self.Email.search([]))}_{number}_{one}", groups="base.group_user"
                )
                contact = self.env["res.partner"].create({"name": f"C{one}", "email": f"c{number}.{one}@example.org"})
                sent.append(self.send(recipient=contact.email, partner_id=contact.id, author_id=user.partner_id.id))
            self.store(
                [
                    message.event("click", timestamp=self.after(email, 12 * MINUTE), **self.click())
                    for email, message in sent
                ]
            )
            self.start_afresh()
            before = self.env.cr.sql_log_count
            self.drain()
            return self.env.cr.sql_log_count - before

        count(2)
        self.assertEqual(count(2), count(10))

    def test_spam(self):
        """Test that a spam report is told as a failure, in words of its own, and stands among the failures."""
        email, message = self.send()
        messages = self.happen(email, message, (1, "delivered"), (10, "spamreport"))
        self.assertEqual(self.notices(messages), ["Reported as spam by Ada <b>Lovelace</b>"])
        self.assertEqual(self.feed(kind="failed"), [("spam", email.id)])
        self.assertFalse(self.notices(self.happen(email, message, (10, "spamreport"))), "repeated")
        self.salesperson.sendgrid_tells_failed = False
        email, message = self.send()
        self.assertFalse(self.notices(self.happen(email, message, (10, "spamreport"))))
        self.assertIn(("spam", email.id), self.feed(kind="failed"))

    def test_never_left(self):
        """Test that what never left is told as a failure, until it leaves after all."""
        mail = self.create_mail(author_id=self.salesperson.partner_id.id)

        def fail():
            with self.sending(refuse=lambda sent: OSError("no")), mute_logger(MAIL_SERVER, MAIL):
                mail.send()

        [told] = self.hear(fail)
        email = self.find_emails(mail.message_id)
        self.assertEqual((email.status, told["unseen"]), ("failed", 1))
        self.assertEqual(told["notice"]["title"], f"Not delivered to {email.contact_name or email.recipient}")
        self.assertEqual(self.feed(kind="failed"), [("failed", email.id)])
        self.assertEqual(self.Interaction.search([]).date, email.date)
        mail.action_retry()
        self.assertFalse(self.notices(self.hear(fail)), "once within an hour")
        mail.action_retry()

        def leave():
            with self.sending():
                mail.send()

        self.assertEqual(self.hear(leave), [{"unseen": 0, "notice": False}])
        self.assertEqual((email.status, self.feed()), ("sent", []))

    def test_left_after_all(self):
        """Test that what Odoo took for not sent is no failure once SendGrid reports about it."""
        mail = self.create_mail(author_id=self.salesperson.partner_id.id)
        with self.sending(refuse=lambda sent: OSError("no")), mute_logger(MAIL_SERVER, MAIL):
            mail.send()
        email = self.find_emails(mail.message_id)
        self.assertEqual(self.feed(), [("failed", email.id)])
        message = self.relay(email)
        self.receive(message.event("delivered"))
        self.assertEqual((email.status, self.feed()), ("delivered", []))

    def test_refused_together(self):
        """Test that of many mails that were refused one by one their author is told the number, in one message."""
        mails = self.env["mail.mail"].union(
            *(self.create_mail(author_id=self.salesperson.partner_id.id) for _number in range(6))
        )

        def fail():
            with self.sending(refuse=lambda sent: OSError("no")), mute_logger(MAIL_SERVER, MAIL):
                mails.send()

        [told] = self.hear(fail)
        self.assertEqual(told["notice"]["title"], "Interactions with your e-mails: 6")

    def test_failure_while_sending(self):
        """Test that a mail that fails has its document if the feed cannot be filled."""
        mail = self.create_mail(author_id=self.salesperson.partner_id.id)
        with (
            patch.object(type(self.Interaction), "_update_from_sending", side_effect=ValueError("x")),
            self.assertLogs("odoo.addons.sendgrid_tracking.models.sendgrid_interaction_update", "ERROR"),
            self.sending(refuse=lambda sent: OSError("no")),
            mute_logger(MAIL_SERVER, MAIL),
        ):
            mail.send()
        self.assertEqual(self.find_emails(mail.message_id).status, "failed")

    def test_no_connection(self):
        """Test that of many mails for which there was no connection their author is told the number, once."""
        self.allow_push(self.salesperson, "one")
        mails = self.env["mail.mail"].union(
            *(self.create_mail(author_id=self.salesperson.partner_id.id) for _number in range(50))
        )

        def fail():
            with (
                patch.object(type(self.env["ir.mail_server"]), "_connect__", side_effect=OSError("no")),
                mute_logger(MAIL_SERVER, MAIL),
            ):
                mails.send()

        [told] = self.hear(fail)
        self.assertEqual(told["notice"]["title"], "Interactions with your e-mails: 50")
        [pushed] = self.env["mail.push"].search([])
        self.assertEqual(json.loads(pushed.payload)["title"], "Interactions with your e-mails: 50")
        self.assertEqual(self.Interaction.search_count([("kind", "=", "failed")]), 50)

    def test_older_documents(self):
        """Test that what was known before there was a feed is not told as news."""
        email, message = self.send()
        self.happen(email, message, (10, "open"))
        self.Interaction.search([]).unlink()
        messages = self.happen(email, message, (12, "click", self.click()))
        self.assertEqual((self.notices(messages), messages[0]["unseen"]), (["Clicked by Ada <b>Lovelace</b>"], 1))

    def test_failure(self):
        """Test that events are kept if telling of them fails."""
        email, message = self.send()
        with (
            patch.object(type(self.Interaction), "_prepare_notice", side_effect=ValueError("x")),
            self.assertLogs("odoo.addons.sendgrid_tracking.models.sendgrid_interaction_notice", "ERROR"),
        ):
            self.happen(email, message, (10, "open"))
        self.assertEqual((email.status, self.feed()), ("opened", [("opened", email.id)]))

    def test_push(self):
        """Test that core's queue has a notification for each device on which the user has allowed it, and no other."""
        for user, name in ((self.salesperson, "one"), (self.salesperson, "two"), (self.env.user, "other")):
            self.allow_push(user, name)
        email, message = self.send()
        self.happen(email, message, (10, "open", {"useragent": BROWSER}))
        pushed = self.env["mail.push"].search([])
        self.assertEqual(
            pushed.mail_push_device_id.mapped("endpoint"), ["https://push.test/one", "https://push.test/two"]
        )
        payload = json.loads(pushed[0].payload)
        self.assertEqual(payload["title"], "Opened by Ada <b>Lovelace</b>")
        self.assertEqual(payload["options"]["body"], "Your quotation")
        self.assertEqual(payload["options"]["data"], {"model": "sendgrid.email", "res_id": email.id})
        self.salesperson.sendgrid_tells_clicked = False
        self.happen(email, message, (12, "click", self.click()))
        self.assertEqual(self.env["mail.push"].search([]), pushed)


@tagged("post_install", "-at_install")
class TestToldOfReplies(InteractionCase, AnswerCase):
    """A reply stands in the feed and is told at once, as what SendGrid reports."""

    def reply(self, email, minutes_ago=0, **kwargs):
        """Have the recipient answer, by a mail that was written some minutes ago; return what the author hears."""
        date = format_datetime(fields.Datetime.now() - timedelta(minutes=minutes_ago))
        return self.hear(lambda: self.answer(email, headers={"Date": date}, **kwargs))

    def test_reply(self):
        """Test that a reply is a line of the feed, a notification and a push, to the author only."""
        Device = self.env["mail.push.device"]
        Device.get_web_push_vapid_public_key()
        for user in (self.salesperson, self.env.user):
            Device.create({"partner_id": user.partner_id.id, "endpoint": f"https://push.test/{user.id}", "keys": "{}"})
        email = self.say(author_id=self.salesperson.partner_id.id, subject="<i>Cheese</i>")
        known = self.env["mail.push"].search([])
        [told] = self.reply(email)
        title = "Reply from Ada <b>Lovelace</b>"
        self.assertEqual(told["unseen"], 1)
        self.assertEqual((told["notice"]["title"], told["notice"]["body"]), (title, "<i>Cheese</i>"))
        self.assertEqual((told["notice"]["email_id"], told["notice"]["count"]), (email.id, 1))
        self.assertEqual(self.feed(), [("replied", email.id)])
        self.assertEqual(self.feed(kind="replied"), [("replied", email.id)])
        self.assertEqual(self.Interaction.search([]).date, email.reply_date)
        pushed = [
            json.loads(one.payload)
            for one in self.env["mail.push"].search([]) - known
            if one.mail_push_device_id.partner_id == self.salesperson.partner_id
            and json.loads(one.payload)["options"].get("tag") == "sendgrid_tracking"
        ]
        self.assertEqual(
            [(one["title"], one["options"]["data"]) for one in pushed],
            [(title, {"model": "sendgrid.email", "res_id": email.id})],
        )

    def test_again(self):
        """Test that a second reply is told as well, once the hour is over, and is the date of the line."""
        email = self.say(author_id=self.salesperson.partner_id.id)
        self.assertTrue(self.notices(self.reply(email, 30)))
        self.assertFalse(self.notices(self.reply(email, 20)))
        self.age("sendgrid.interaction", timedelta(minutes=61), "told_date")
        self.assertTrue(self.notices(self.reply(email)))
        self.assertEqual(self.Interaction.search([]).date, max(email.event_ids.mapped("timestamp")))
        self.assertEqual(email.reply_date, min(email.event_ids.mapped("timestamp")))

    def test_mailing(self):
        """Test that each reply to a mailing is told, because a person wrote it: only of many at once the number is."""

        def reply(*numbers):
            for number in numbers:
                email, _message = self.send(
                    recipient=f"r{number}@example.org", partner_id=False, mailing_res_id=7, message_id=f"<{number}@x>"
                )
                self.come_in(self.write_mail(email, email.recipient), drained=False)
            return self.notices(self.hear(self.drain))

        self.assertEqual(reply(1), ["Reply from r1@example.org"])
        self.assertEqual(reply(2), ["Reply from r2@example.org"])
        self.assertEqual(reply(*range(3, 8)), ["Interactions with your e-mails: 5"])
        self.assertEqual([line["count"] for line in self.Interaction.with_user(self.salesperson).get_feed()], [7])

    def test_no_replies(self):
        """Test that what counts for nobody is not told, and what counts is told of the document that it is about."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        ada_email, bob_email = self.say(self.contact, bob, author_id=self.salesperson.partner_id.id)
        self.assertEqual(self.hear(lambda: self.answer(ada_email, headers=ABSENT)), [])
        self.assertEqual(self.hear(lambda: self.answer(ada_email, "zoe@example.net")), [])
        self.assertEqual(self.hear(lambda: self.answer(ada_email, self.salesperson.email)), [])
        self.assertEqual(self.feed(), [])
        self.assertEqual(self.notices(self.reply(ada_email, sender="Bob <bob@example.org>")), ["Reply from Bob"])
        self.assertEqual(self.feed(), [("replied", bob_email.id)])
        # An absence notice after a reply is no news.
        self.age("sendgrid.interaction", timedelta(minutes=61), "told_date")
        absent = {"sender": "Bob <bob@example.org>", "headers": ABSENT}
        self.assertEqual(self.notices(self.hear(lambda: self.answer(ada_email, **absent))), [])

    def test_disproved_failure(self):
        """Test that a failure that the recipient's answer disproves leaves the feed."""
        email = self.say(author_id=self.salesperson.partner_id.id)
        self.receive(self.relay(email).event("bounce", timestamp=self.after(email, MINUTE)))
        self.assertEqual(self.feed(kind="failed"), [("failed", email.id)])
        self.reply(email)
        self.assertEqual(self.feed(), [("replied", email.id)])

    def test_wish(self):
        """Test that who does not want to be told of replies is not, and finds them in his feed."""
        self.salesperson.sendgrid_tells_replied = False
        email = self.say(author_id=self.salesperson.partner_id.id)
        [told] = self.reply(email)
        self.assertEqual(told, {"unseen": 1, "notice": False})
        self.assertEqual(self.feed(), [("replied", email.id)])

    def test_unmeasured(self):
        """Test that the reply of somebody who is not measured is told: he wrote it to be read."""
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "form")
        email = self.say(author_id=self.salesperson.partner_id.id, measured="none", unmeasured_reason="wish")
        self.assertTrue(self.notices(self.reply(email)))
        self.assertEqual(self.feed(), [("replied", email.id)])
