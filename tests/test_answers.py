import re
import socket
import time
from datetime import timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from unittest.mock import patch

from psycopg2.errors import SerializationFailure

from odoo import fields
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from ..models.sendgrid_answer import SendgridAnswer
from .common import SendgridCase
from .properties import given, in_database, st

ABSENT = {"Auto-Submitted": "auto-replied"}


class AnswerCase(SendgridCase):
    """Messages in a lead's chatter, and mails that come in by Odoo's gateway."""

    number = 0

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lead = cls.env["crm.lead"].create({"name": "Cheese", "type": "opportunity", "partner_id": cls.contact.id})

    def say(self, *contacts, **values):
        """Send a message of the lead's chatter.

        :return: its documents, in the order of the contacts
        """
        message = self.lead.message_post(
            body="Hello",
            message_type="comment",
            subtype_xmlid="mail.mt_comment",
            author_id=self.salesperson.partner_id.id,
        )
        common = {
            "message_id": message.message_id,
            "mail_message_id": message.id,
            "model": "crm.lead",
            "res_id": self.lead.id,
        }
        emails = self.Email
        for contact in contacts or (self.contact,):
            emails += self.create_email(
                contact.email_normalized, ago=timedelta(hours=1), partner_id=contact.id, **{**common, **values}
            )
        return emails

    def write_mail(self, answered, sender="Ada <ada@example.org>", headers=None, subject="Re: Cheese", **ids):
        """Return a mail that answers a document's.

        :param answered: document, or a text of References
        :param ids: ``in_reply_to`` or ``references``, where they differ from the Message-ID of the document
        """
        type(self).number += 1
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, "catchall@example.com", subject
        mail["Message-ID"] = f"<answer-{self.number}@mail.example.org>"
        for name, value in (("In-Reply-To", "in_reply_to"), ("References", "references")):
            if text := ids.get(value, answered.message_id if answered else ""):
                mail[name] = text
        for name, value in (headers or {}).items():
            mail[name] = value
        mail.set_content("Yes, please.")
        return mail

    def come_in(self, mail, drained=True):
        """Have a mail come in by Odoo's gateway."""
        with mute_logger("odoo.addons.mail.models.mail_thread"):
            self.env["mail.thread"].message_process("crm.lead", mail.as_bytes())
        if drained:
            self.drain()

    def answer(self, answered, *args, **kwargs):
        """Have an answer come in.

        :return: the message that core makes of it
        """
        mail = self.write_mail(answered, *args, **kwargs)
        self.come_in(mail)
        return self.env["mail.message"].search([("message_id", "=", mail["Message-ID"])])

    def assertReplied(self, email, event):
        self.assertEqual(email.status, "replied")
        self.assertEqual(email.reply_date, event.timestamp)
        self.assertTrue(email.reply_date)


@tagged("post_install", "-at_install")
class TestAnswers(AnswerCase):
    """An answer makes its document replied: whose it is, what counts, and what may never go wrong."""

    def test_own_address(self):
        """Test that a recipient's answer is an event of his document only, with a link to the answer."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        ada_email, bob_email = self.say(self.contact, bob)
        message = self.answer(ada_email, '"Ada" <ADA@example.org>')
        self.assertEqual(message.res_id, self.lead.id, "core's way is as it was")
        [event] = ada_email.event_ids
        self.assertRecordValues(
            event,
            [
                {
                    "event": "reply",
                    "answer": "own",
                    "match": "own",
                    "recipient": "ada@example.org",
                    "source": "gateway",
                    "answer_message_id": message.id,
                    "answer_url": f"/mail/message/{message.id}",
                    "name": "Replied",
                }
            ],
        )
        self.assertReplied(ada_email, event)
        self.assertFalse(bob_email.event_ids)
        self.assertRecordValues(bob_email, [{"status": "sent", "reply_date": False}])
        self.assertEqual(event.batch_id.state, "done")
        self.assertRecordValues(event.batch_id, [{"event_count": 1, "rejected_count": 0, "unmatched_count": 0}])

    def test_real_mail(self):
        """Test the way from a mail that leaves to its answer, by whatever field names it."""
        for number, fields_of_answer in enumerate(
            (
                {"references": ""},
                {"in_reply_to": ""},
                {"in_reply_to": "<gone@elsewhere.example>"},
                {"in_reply_to": "Your message of Monday"},
            )
        ):
            with self.subTest(fields_of_answer):
                _sent, email = self.send_mail(subject=f"Offer {number}", model="crm.lead", res_id=self.lead.id)
                self.answer(email, **fields_of_answer)
                self.assertEqual(email.status, "replied")

    def test_last_reference(self):
        """Test that of several ancestors the nearest counts, and In-Reply-To before all."""
        first, second, third = self.say(), self.say(), self.say()
        ids = [email.message_id for email in (first, second, third)]
        self.answer(None, references=f"<a@b> {ids[0]} {ids[1]} <c@d>")
        self.assertEqual(second.status, "replied")
        self.answer(None, references=" ".join(ids), in_reply_to=ids[0])
        self.assertEqual(first.status, "replied")
        self.assertFalse(third.event_ids)

    def test_other_address(self):
        """Test whose an answer is that comes from another address than the message went to."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        self.env["res.partner"].create({"name": "Stranger", "email": "stranger@example.net"})
        for contact_emails, recipients, sender, expected in (
            ("new@example.org", (self.contact, bob), "new@example.org", ["contact", None]),
            ("x@example.org, y@example.org", (self.contact, bob), "Y@example.org", ["contact", None]),
            ("ada@example.org", (self.contact,), "stranger@example.net", ["alone"]),
            ("ada@example.org", (self.contact,), "unknown@example.net", ["alone"]),
            ("ada@example.org", (self.contact, bob), "stranger@example.net", ["other", "other"]),
            ("ada@example.org", (self.contact, bob), "undisclosed", ["other", "other"]),
        ):
            with self.subTest(contact_emails=contact_emails, sender=sender, recipients=len(recipients)):
                emails = self.say(*recipients)
                self.contact.email = contact_emails
                self.answer(emails[0], sender)
                self.assertEqual([email.event_ids.answer or None for email in emails], expected)
                for email, answer in zip(emails, expected, strict=True):
                    counts = answer in ("contact", "alone")
                    self.assertEqual((email.status, bool(email.reply_date)), ("replied" if counts else "sent", counts))
        self.assertEqual(emails[0].event_ids.name, "Answered")
        self.contact.email = "ada@example.org"
        emails = self.say(self.contact, bob)
        self.answer(emails[0], '"<b>x</b>" <stranger@example.net>')
        self.assertEqual(emails.event_ids.mapped("name"), ["Answered by stranger@example.net"] * 2)

    def test_internal_user(self):
        """Test that what an employee answers is nothing, in whatever way it is written."""
        email = self.say()
        colleague = new_test_user(self.env, "sendgrid_colleague", email="Cora@Example.com")
        for sender in (colleague.email, "Sally <salesperson@example.com>"):
            self.answer(email, sender)
        self.assertFalse(email.event_ids)
        self.assertEqual(email.status, "sent")
        portal = new_test_user(self.env, "sendgrid_portal", groups="base.group_portal", email="porter@example.org")
        self.answer(email, portal.email)
        self.assertEqual(email.status, "replied")

    def test_automatic(self):
        """Test that what a machine answers is shown, and counts as nothing."""
        for number, (headers, subject) in enumerate(
            (
                (ABSENT, "Re: Cheese"),
                ({"Precedence": "auto_reply"}, "Re: Cheese"),
                ({"X-Autoreply": "yes"}, "Re: Cheese"),
                ({}, "Automatic reply: Cheese"),
            )
        ):
            with self.subTest(number):
                email = self.say()
                self.answer(email, headers=headers, subject=subject)
                self.assertEqual(email.event_ids.answer, "automatic")
                self.assertRecordValues(email, [{"status": "sent", "reply_date": False}])
                self.answer(email)
                self.assertEqual(email.status, "replied")

    def test_refused(self):
        """Test that a mail that core refuses, so that nobody reads it, answers nothing."""
        email = self.say()
        with patch.object(type(self.env["mail.thread"]), "message_route", lambda *_args, **_options: []):
            self.come_in(self.write_mail(email))
        self.assertFalse(email.event_ids)
        self.assertFalse(email.reply_date)

    def test_report(self):
        """Test that a mail server's report is an event of the document that it is about, and no answer."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        emails = self.say(self.contact, bob)
        report = (
            "From: MAILER-DAEMON@mx.example.org\nTo: bounce@example.com\nSubject: Undelivered\n"
            "Message-ID: <report-1@mx.example.org>\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=x\n\n"
            "--x\nContent-Type: text/plain\n\nNo such user.\n"
            "--x\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.org\n\n"
            "Final-Recipient: rfc822; bob@example.org\nAction: failed\nStatus: 5.1.1\n\n"
            "--x\nContent-Type: message/rfc822\n\n"
            f"Message-ID: {emails[0].message_id}\nFrom: salesperson@example.com\nSubject: Cheese\n\nHello\n--x--\n"
        )
        with mute_logger("odoo.addons.mail.models.mail_thread"):
            self.env["mail.thread"].message_process("crm.lead", report)
        self.drain()
        self.assertFalse(emails[0].event_ids)
        self.assertEqual(emails[1].event_ids.answer, "report")
        self.assertRecordValues(emails, [{"status": "sent", "reply_date": False}] * 2)

    def test_bounced(self):
        """Test that only the recipient's own address disproves a bounce, in either order, in the chatter too."""
        for sender, status, shown, bounced_first in (
            ("ada@example.org", "replied", "sent", True),
            ("ada@example.org", "replied", "sent", False),
            ("else@example.net", "bounced", "bounce", True),
            ("else@example.net", "bounced", "bounce", False),
        ):
            with self.subTest(sender, bounced_first=bounced_first):
                email = self.say()
                notification = self.env["mail.notification"].create(
                    {
                        "mail_message_id": email.mail_message_id.id,
                        "res_partner_id": self.contact.id,
                        "notification_type": "email",
                        "notification_status": "sent",
                    }
                )
                bounce = self.relay(email).event("bounce", timestamp=self.after(email, 60))
                steps = [lambda e=email, s=sender: self.answer(e, s), lambda b=bounce: self.receive(b)]
                for step in reversed(steps) if bounced_first else steps:
                    step()
                self.assertEqual(email.status, status)
                self.assertTrue(email.reply_date)
                self.assertEqual(notification.notification_status, shown)
                last = ["bounced", "replied"] if status == "bounced" else ["replied"]
                self.assertEqual([step["status"] for step in email.journey][-len(last) :], last)

    def test_stronger(self):
        """Test that who answered and then unsubscribed or complained has answered all the same."""
        for kind, status in (("unsubscribe", "unsubscribed"), ("spamreport", "spam")):
            email = self.say()
            self.answer(email)
            self.receive(self.relay(email).event(kind, timestamp=self.after(email, 3000)))
            self.assertEqual(email.status, status)
            self.assertTrue(email.reply_date)
            self.assertIn(email, self.Email.search([("reply_date", "!=", False)]))

    def test_when(self):
        """Test that an answer came in when our server received it, whatever clock its sender has."""
        now = fields.Datetime.now()
        minute = timedelta(minutes=1)
        for headers, expected in (
            ({"Received": f"from a by b; {format_datetime(now - 7 * minute)}"}, now - 7 * minute),
            ({"Date": format_datetime(now - 8 * minute)}, now - 8 * minute),
            ({"Date": format_datetime(now + timedelta(days=3))}, now),
            ({"Date": format_datetime(now - timedelta(days=3))}, now),
            ({"Date": "yesterday, I think"}, now),
        ):
            with self.subTest(headers):
                email = self.say()
                self.answer(email, headers=headers)
                self.assertLess(abs(email.reply_date - expected), minute)

    def test_first_answer(self):
        """Test that of several answers the first is the date, and each is an event."""
        email = self.say()
        for minutes in (5, 20, 10):
            date = format_datetime(fields.Datetime.now() - timedelta(minutes=minutes))
            self.answer(email, headers={"Date": date})
        self.assertEqual(len(email.event_ids), 3)
        self.assertEqual(email.reply_date, min(email.event_ids.mapped("timestamp")))

    def test_unmeasured(self):
        """Test that an answer is known without measuring, and stays if the tracking is forgotten."""
        email = self.say(measured="none", unmeasured_reason="wish")
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "form")
        self.account.company_id.sendgrid_keeps_details = False
        self.answer(email)
        self.assertReplied(email, email.event_ids)
        self.assertEqual(email.event_ids.recipient, "ada@example.org")
        self.assertEqual([step["status"] for step in email.journey], ["sent", "processed", "delivered", "replied"])
        email.event_ids.batch_id.action_process_again()
        self.drain()
        self.assertEqual(len(email.event_ids), 1)

    def test_process_again(self):
        """Test that an answer that is processed again stays with its documents, whatever addresses they have now."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        emails = self.say(self.contact, bob)
        self.answer(emails[0], "zoe@example.net")
        bob.email = "zoe@example.net"
        emails.event_ids.batch_id.action_process_again()
        self.drain()
        self.assertEqual(emails.mapped("event_ids.answer"), ["other", "other"])
        self.assertEqual(len(emails.event_ids), 2)
        self.assertEqual(emails.event_ids.batch_id.duplicate_count, 1)

    def test_nothing_of_ours(self):
        """Test that a mail that answers nothing of ours leaves nothing behind."""
        known = self.Batch.search_count([])
        self.say()
        for ids in ({}, {"in_reply_to": "<x@elsewhere.example>"}, {"references": "<" + "x" * 3000 + "@y>"}):
            self.come_in(self.write_mail(None, **ids))
        self.assertEqual(self.Batch.search_count([]), known)

    def test_hostile(self):
        """Test that odd fields cost neither the mail nor the answer."""
        odd = "\udcff\x00'\"<script>"
        for headers in (
            {"In-Reply-To": f"<{odd}> {{}}"},
            {"References": f"<{odd * 400}@x> {{}}"},
            {"In-Reply-To": "{} <" + "a" * 5000 + ">", "Subject": odd},
            {"In-Reply-To": "{}", "From": f"{odd} <{'y' * 500}@example.org>"},
            {"In-Reply-To": "{}", "Message-ID": f"<{odd}>"},
        ):
            with self.subTest(headers):
                email = self.say()
                type(self).number += 1
                fields_ = {
                    "From": "ada@example.org",
                    "To": "catchall@example.com",
                    "Message-ID": f"<odd-{self.number}@x>",
                    **headers,
                }
                lines = [f"{name}: {text.format(email.message_id)}\n" for name, text in fields_.items()]
                raw = "".join([*lines, "\nHello\n"]).replace("\x00", "\\x00").encode("utf-8", "surrogateescape")
                count = self.env["mail.message"].search_count([])
                with mute_logger("odoo.addons.mail.models.mail_thread"):
                    self.env["mail.thread"].message_process("crm.lead", raw)
                self.drain()
                self.assertEqual(self.env["mail.message"].search_count([]), count + 1)
                self.assertEqual(email.status, "replied")

    def test_not_by_webhook(self):
        """Test that nobody answers by the webhook: an event of this name is one that is not known here."""
        email = self.say()
        event = {**self.relay(email).event("open", timestamp=self.after(email, 60)), "event": "reply"}
        batch = self.receive({**event, "answer": "own", "way": "mail", "answers": email.message_id})
        self.assertFalse(batch.event_ids.answer)
        self.assertRecordValues(email, [{"status": "sent", "reply_date": False}])
        self.assertEqual(batch.event_ids.name, "reply")

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_answer", "odoo.sql_db")
    def test_mail_is_never_lost(self):
        """Test that a mail comes in whatever goes wrong with us, in Python or in the database."""

        def fail_in_database(answers, answer):
            answers.env.cr.execute("SELECT no_such_column FROM sendgrid_email")

        def fail(answers, *args):
            raise RuntimeError("broken")

        for name, broken in (("_store", fail_in_database), ("_store", fail), ("_read_mail", fail)):
            with self.subTest(name), patch.object(SendgridAnswer, name, broken):
                email = self.say()
                message = self.answer(email)
                self.assertEqual((message.model, message.res_id), ("crm.lead", self.lead.id))
                self.env.flush_all()
                self.assertFalse(email.event_ids)
        message = self.answer(email)
        self.assertEqual(email.event_ids.answer_message_id, message)

    def test_after_the_commit(self):
        """Test that an answer is noted after the commit if another transaction is in the way."""

        def conflict(*_args):
            raise SerializationFailure("somebody else writes the account")

        email = self.say()
        with patch.object(SendgridAnswer, "_store", conflict):
            message = self.answer(email)
        self.assertEqual(message.res_id, self.lead.id)
        self.assertFalse(email.event_ids)
        self.env.flush_all()
        with self.enter_registry_test_mode():
            self.env.cr.postcommit.run()
        self.drain()
        self.assertEqual(email.event_ids.answer_message_id, message)

    def test_pending_writes(self):
        """Test that the error of what others have put off to write is theirs: it is raised, and not lost with us."""
        email = self.say()
        mail = self.write_mail(email)
        flush = type(self.env).flush_all
        with (
            patch.object(type(self.env), "flush_all", side_effect=ValueError("theirs"), autospec=True) as failing,
            self.assertRaisesRegex(ValueError, "theirs"),
        ):
            self.env["sendgrid.answer"]._hear_mail(mail, self.env["mail.thread"].message_parse(mail))
        self.assertTrue(failing.called)
        flush(self.env)

    def test_portal(self):
        """Test that what a contact writes in the portal answers the latest e-mail to him about the record."""
        user = new_test_user(self.env, "sendgrid_portal", groups="base.group_portal", email="ada@example.org")
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        task = self.contact  # a record that the portal user can write about
        about = {"model": task._name, "res_id": task.id}
        old = self.create_email(partner_id=user.partner_id.id, ago=timedelta(hours=3), **about)
        new = self.create_email(partner_id=user.partner_id.id, ago=timedelta(hours=2), **about)
        others = self.create_email("bob@example.org", partner_id=bob.id, **about)
        others += self.create_email(partner_id=user.partner_id.id, model="crm.lead", res_id=self.lead.id)
        message = (
            task.with_user(user)
            .sudo()
            .message_post(body="Yes", message_type="comment", subtype_xmlid="mail.mt_comment")
        )
        self.drain()
        self.assertReplied(new, new.event_ids)
        self.assertRecordValues(new.event_ids, [{"answer": "portal", "answer_message_id": message.id}])
        self.assertFalse((old + others).event_ids)
        # Who writes in the portal need not have seen the e-mail.
        self.assertEqual({step["status"] for step in new.journey if step["state"] == "done"}, {"sent", "replied"})
        # An employee's words are none, in whosever name.
        task.with_user(self.salesperson).message_post(
            body="He says", message_type="comment", subtype_xmlid="mail.mt_comment", author_id=user.partner_id.id
        )
        self.drain()
        self.assertEqual(len(new.event_ids), 1)

    def test_early(self):
        """Test that an answer to a mail that is just being sent waits for the document, and finds it by itself."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        # It waits to leave; or it was made in the transaction that sends it, and only its name is known here.
        waiting, unseen = self.create_mail(), self.env["mail.message"]._get_message_id({})
        for message_id in (waiting.message_id, unseen):
            with self.subTest(message_id):
                self.come_in(mail := self.write_mail(None, in_reply_to=message_id))
                self.come_in(mail, drained=True)
                event = self.env["sendgrid.event"].search([("smtp_id", "=", message_id)])
                self.assertRecordValues(
                    event, [{"match": "early", "email_id": False, "answer": "mail", "recipient": "ada@example.org"}]
                )
                self.assertEqual(event.name, "Answered")
                self.assertEqual(event.batch_id.unmatched_count, 1)
                self.drain()
                self.assertEqual(event.match, "early")
                waiting.state = "sent"
                ada_email, bob_email = self.say(self.contact, bob, message_id=message_id)
                self.drain()
                [event] = ada_email.event_ids
                self.assertRecordValues(event, [{"match": "own", "answer": "own", "source": "gateway"}])
                self.assertReplied(ada_email, event)
                self.assertEqual(event.batch_id.unmatched_count, 0)
                self.assertFalse(bob_email.event_ids)
                self.assertFalse(self.env["sendgrid.match"]._has_early(60))
                event.batch_id.action_process_again()
                self.drain()
                self.assertEqual(ada_email.event_ids, event)

    def test_between_copies(self):
        """Test that an answer that comes while only some copies of its message have left ends as one that comes last.

        Each mail of a message has some of its recipients, and is committed by itself.
        """
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        first = self.create_mail(model="crm.lead", res_id=self.lead.id, auto_delete=False)
        second = self.create_mail(mail_message_id=first.mail_message_id.id, recipient_ids=bob.ids, auto_delete=False)
        message_id = first.message_id
        for sender, expected in (
            ("zoe@example.net", {"ada@example.org": "other", "bob@example.org": "other"}),
            ("bob@example.org", {"bob@example.org": "own"}),
            ("ada@example.org", {"ada@example.org": "own"}),
        ):
            answer = self.write_mail(None, sender, in_reply_to=message_id)

            def leave(mail):
                with self.sending():
                    mail.send()

            def look():
                emails = self.find_emails(message_id)
                self.assertEqual(len(emails), 2)
                return {email.recipient: email.event_ids.answer for email in emails if email.event_ids}

            steps = [lambda: leave(first), lambda: leave(second)]
            ways = []
            for place in (2, 1, 0):
                order = [*steps[:place], lambda mail=answer: self.come_in(mail), *steps[place:]]
                ways.append(lambda order=order: [(step(), self.drain()) for step in order])
            with self.subTest(sender):
                self.assertEqual(self.compare_ways(look, *ways), expected)

    def test_copy_that_stays(self):
        """Test that an answer does not wait for long for a copy that stays in the queue."""
        first = self.create_mail()
        self.create_mail(mail_message_id=first.mail_message_id.id)
        with self.sending():
            first.send()
        email = self.find_emails(first.message_id)
        self.come_in(self.write_mail(email, "zoe@example.net"))
        self.assertFalse(email.event_ids)
        self.age("sendgrid.event.batch", timedelta(minutes=61), "create_date")
        self.drain()
        self.assertEqual(email.event_ids.answer, "alone")
        self.assertTrue(email.reply_date)

    def test_early_for_several(self):
        """Test that whose an early answer is, is chosen among all documents of the message, of whatever account."""
        other = self.account.copy({"name": "Other"})
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        waiting = self.create_mail()
        older = self.say()
        for sender, headers in (("zoe@example.net", {}), ("ada@example.org", ABSENT)):
            # The nearest ancestor counts, also while it waits.
            ids = {"in_reply_to": waiting.message_id, "references": older.message_id}
            self.come_in(self.write_mail(None, sender, headers=headers, **ids))
        self.assertFalse(older.event_ids)
        waiting.state = "sent"
        emails = self.say(self.contact, bob, message_id=waiting.message_id, account_id=other.id)
        self.drain()
        self.assertEqual(sorted(emails[0].mapped("event_ids.answer")), ["automatic", "other"])
        self.assertEqual(emails[1].event_ids.answer, "other")
        self.assertEqual(emails.event_ids.account_id, other)
        self.assertEqual(emails.event_ids.batch_id.account_id, other)
        self.assertFalse(any(emails.mapped("reply_date")))

    def test_account_of_a_fast_answer(self):
        """Test that an answer is its document's account's, also if that is there before the answer is processed."""
        company = self.env["res.company"].create({"name": "Other"})
        other = self.account.copy({"name": "ZZ, which no guess names first", "company_id": company.id})
        waiting = self.create_mail()
        self.come_in(self.write_mail(None, in_reply_to=waiting.message_id), drained=False)
        waiting.state = "sent"
        email = self.say(message_id=waiting.message_id, account_id=other.id)
        self.drain()
        self.assertEqual(email.event_ids.answer, "own")
        self.assertEqual(email.event_ids.account_id, other)
        self.assertEqual(email.event_ids.batch_id.account_id, other)

    def test_account_of_an_early_answer(self):
        """Test that an answer that waits lies with an account of the message's company, else with one of all."""
        self.account.company_id = self.env.company
        first, second = self.env["res.company"].create([{"name": "First"}, {"name": "Second"}])
        of_first = self.account.copy({"name": "First", "company_id": first.id})
        of_all = self.account.copy({"name": "All", "company_id": False})
        for company, account in ((first, of_first), (second, of_all)):
            waiting = self.create_mail()
            waiting.mail_message_id.record_company_id = company
            self.come_in(self.write_mail(None, in_reply_to=waiting.message_id))
            event = self.env["sendgrid.event"].search([("smtp_id", "=", waiting.message_id)])
            self.assertEqual((event.match, event.batch_id.account_id), ("early", account))

    def test_not_early(self):
        """Test that no answer waits for a document that will never come."""
        sent, gone = self.create_mail(), self.say()
        sent.state = "sent"
        gone_id = gone.message_id
        gone.unlink()
        made = self.env["mail.message"]._get_message_id({})
        for message_id in (
            sent.message_id,
            gone_id,
            made.replace(f"@{socket.gethostname()}>", "@elsewhere.example>"),
            re.sub(r"\.\d+\.", f".{int(time.time()) - 25 * 3600}.", made, count=1),
            "<1.99999999999999999999.1-openerp-private@x>",
        ):
            with self.subTest(message_id):
                known = self.Batch.search_count([])
                self.come_in(self.write_mail(None, in_reply_to=message_id))
                self.assertEqual(self.Batch.search_count([]), known)

    def test_rights(self):
        """Test that who sees the document sees who answered, and the link only if he may read the answer."""
        email = self.say()
        message = self.answer(email)
        elsewhere = self.env["crm.lead"].create({"name": "Private", "user_id": self.env.uid})
        event = email.event_ids.with_user(self.salesperson)
        self.lead.user_id = self.salesperson
        self.assertEqual(event.answer_url, f"/mail/message/{message.id}")
        message.res_id = elsewhere.id
        message.notification_ids.unlink()  # whoever was told of a message may read it
        self.env.invalidate_all()
        self.assertEqual(event.name, "Replied")
        self.assertFalse(event.answer_url)

    def test_rule(self):
        """Test that an automation rule reacts to the answer once, and not to a machine's."""
        model = self.env["ir.model"]._get("sendgrid.email")
        field = self.env["ir.model.fields"]._get("sendgrid.email", "reply_date")
        self.env["base.automation"].create(
            {
                "name": "Answered",
                "model_id": model.id,
                "trigger": "on_create_or_write",
                "trigger_field_ids": field.ids,
                "filter_pre_domain": "[('reply_date', '=', False)]",
                "filter_domain": "[('reply_date', '!=', False)]",
                "action_server_ids": [
                    (
                        0,
                        0,
                        {
                            "name": "Note",
                            "model_id": model.id,
                            "state": "code",
                            "code": "for one in records.partner_id: one.write({'ref': (one.ref or '') + 'x'})",
                        },
                    )
                ],
            }
        )
        email = self.say()
        self.answer(email, headers=ABSENT)
        self.assertFalse(self.contact.ref)
        self.answer(email)
        self.answer(email)
        self.assertEqual(self.contact.ref, "x")

    def test_filters(self):
        """Test the filters Replied and Waiting for an Answer."""
        views = self.Email.get_views([(self.env.ref("sendgrid_tracking.sendgrid_email_view_search").id, "search")])
        self.assertIn("Waiting for an Answer", views["views"]["search"]["arch"])
        replied, waiting, refused = self.say(), self.say(), self.say()
        for email, kind in ((replied, "delivered"), (waiting, "delivered"), (refused, "bounce")):
            self.receive(self.relay(email).event(kind, timestamp=self.after(email, 1)))
        self.answer(replied)
        emails = replied + waiting + refused
        domain = [("id", "in", emails.ids)]
        self.assertEqual(self.Email.search([*domain, ("reply_date", "!=", False)]), replied)
        self.assertEqual(
            self.Email.search(
                [*domain, ("reply_date", "=", False), ("status", "in", ("delivered", "opened", "clicked"))]
            ),
            waiting,
        )

    def test_queries(self):
        """Test that the number of queries does not grow with the answers."""

        def count(number):
            emails = self.Email
            for _ in range(number):
                emails += self.say()
            for email in emails:
                self.come_in(self.write_mail(email), drained=False)
            self.start_afresh()
            before = self.env.cr.sql_log_count
            self.Drain._drain()
            self.env.flush_all()
            queries = self.env.cr.sql_log_count - before
            self.assertEqual(set(emails.mapped("status")), {"replied"})
            return queries

        count(1)  # fills the caches of the process
        # Core takes more mails of one sender for a loop.
        self.assertEqual(count(12), count(2))


@tagged("post_install", "-at_install")
class TestPortalByHttp(AnswerCase, HttpCase):
    """A contact writes in the portal, by its own route."""

    def test_portal(self):
        """Test that a portal user's message answers the latest e-mail, and an employee's by that route does not."""
        user = new_test_user(
            self.env, "sendgrid_portal", "base.group_portal", password="sendgrid_portal", email="ada@example.org"
        )
        employee = new_test_user(
            self.env, "sendgrid_employee", "sales_team.group_sale_salesman_all_leads", password="sendgrid_employee"
        )
        # Some companies let their portal write about leads.
        self.env["ir.model.access"].create(
            {
                "name": "Portal",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "group_id": self.env.ref("base.group_portal").id,
                "perm_read": True,
                "perm_write": True,
            }
        )
        about = {"model": "crm.lead", "res_id": self.lead.id, "partner_id": user.partner_id.id}
        old = self.create_email(ago=timedelta(hours=3), **about)
        new = self.create_email(ago=timedelta(hours=2), **about)

        def post(login, text):
            self.authenticate(login, login)
            return self.make_jsonrpc_request(
                "/mail/message/post",
                {
                    "thread_model": "crm.lead",
                    "thread_id": self.lead.id,
                    "post_data": {"body": text, "message_type": "comment", "subtype_xmlid": "mail.mt_comment"},
                },
            )["message_id"]

        post(employee.login, "Shall we?")
        self.drain()
        self.assertFalse((old + new).event_ids)
        message_id = post(user.login, "<script>Yes, please.</script>")
        self.drain()
        self.assertReplied(new, new.event_ids)
        self.assertRecordValues(new.event_ids, [{"answer": "portal", "recipient": new.recipient}])
        self.assertEqual(new.event_ids.answer_message_id.id, message_id)
        self.assertFalse(old.event_ids)


@tagged("post_install", "-at_install")
class TestOrderOfAnswers(AnswerCase):
    """Order, repetition and split make no difference to answers either."""

    @in_database
    @given(st.data())
    def test_any_order(self, data):
        """Test that answers and events end the same in whatever order, repetition and split they come."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        emails = self.say(self.contact, bob)
        kinds = st.lists(
            st.sampled_from(["delivered", "bounce", "open", "click", "unsubscribe", "deferred"]), max_size=4
        )
        told = []
        for email in emails:
            for kind in data.draw(kinds):
                event = self.relay(email).event(
                    kind, timestamp=self.after(email, data.draw(st.sampled_from([1, 60, 900])))
                )
                told.append(lambda event=event: self.store([event]))
        senders = st.sampled_from(["ada@example.org", "bob@example.org", "zoe@example.net", "salesperson@example.com"])
        for _ in range(data.draw(st.integers(1, 3))):
            minutes = data.draw(st.integers(1, 50))
            headers = {"Date": format_datetime(fields.Datetime.now() - timedelta(minutes=minutes))}
            headers |= ABSENT if data.draw(st.booleans()) else {}
            mail = self.write_mail(emails[0], data.draw(senders), headers=headers)
            told.append(lambda mail=mail: self.come_in(mail, drained=False))
        order = data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=3))))
        drained = data.draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))

        def come(steps, drains):
            for step, is_drained in zip(steps, drains, strict=True):
                step()
                if is_drained:
                    self.drain()
            self.drain()

        def look():
            events = emails.event_ids.sorted(lambda e: (e.email_id.id, e.timestamp, e.event, e.answer or ""))
            return {
                "documents": emails.read(["status", "reply_date", "facts", "delivered_date", "open_count"]),
                "events": [
                    (e.email_id.id, e.event, e.answer, e.recipient, e.timestamp, bool(e.answer_message_id))
                    for e in events
                ],
            }

        self.compare_ways(look, lambda: come(told, [False] * len(told)), lambda: come(order, drained))
