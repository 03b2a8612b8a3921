import itertools
import re
import socket
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from email import message_from_string
from unittest import TestCase
from unittest.mock import patch

import psycopg2

from odoo.fields import Datetime
from odoo.tests import BaseCase, tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import IrMail_Server, MailDeliveryException
from odoo.addons.mail.models.mail_mail import MailMail

from ..models import bulk
from ..tools.api import client
from ..tools.sending.outbox import get_domain
from .common import SendgridCase
from .properties import need_sandbox
from .sandbox_case import API_KEY
from .test_api_sending import ApiSendingCase, refused

SENDER = "salesperson@example.com"
GONE = "5.1.1 The email account that you tried to reach does not exist"


class Relay:
    """What an SMTP server is asked for and answers; see `aiosmtpd`. It refuses whom ``refused`` names.

    It hangs up at the command ``hangs_up_at``.
    """

    def __init__(self):
        self.refused = {}
        self.hangs_up_at = None
        self.data_answer = "250 OK"
        self.envelopes = []

    async def handle_RCPT(self, server, _session, envelope, address, _options):  # noqa: N802
        if self.hangs_up_at == "RCPT":
            server.transport.close()
        if answer := self.refused.get(address.lower()):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, _session, envelope):  # noqa: N802
        if self.hangs_up_at == "DATA":
            server.transport.close()
        if self.data_answer.startswith("250"):
            self.envelopes.append((list(envelope.rcpt_tos), envelope.content.decode()))
        return self.data_answer


class SmtpCase(SendgridCase):
    """Mails that leave to a real SMTP server, which answers what a test tells it to."""

    @classmethod
    def setUpClass(cls):
        need_sandbox()
        super().setUpClass()
        from aiosmtpd.controller import Controller  # noqa: PLC0415, it may be missing

        cls.smtp = Relay()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        controller = Controller(cls.smtp, hostname="127.0.0.1", port=port)
        controller.start()
        cls.addClassCleanup(controller.stop)
        cls.server.write({"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_encryption": "none"})
        cls.bob = cls.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})

    def setUp(self):
        super().setUp()
        self.smtp.refused, self.smtp.data_answer, self.smtp.envelopes = {}, "250 OK", []
        self.smtp.hangs_up_at = None

    @contextmanager
    def leaving(self):
        with patch.object(IrMail_Server, "_disable_send", lambda server: False):
            yield

    def send(self, **values):
        """Send a mail, and return it and its documents."""
        mail = self.create_mail(**values)
        message_id = mail.message_id
        with self.leaving():
            mail.send()
        self.env.invalidate_all()
        return mail, self.find_emails(message_id)

    def post(self, record, **values):
        """Post a message by mail; return it and its documents."""
        with self.leaving():
            message = record.with_user(self.salesperson).message_post(
                body="Hello",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                mail_server_id=self.server.id,
                **values,
            )
        self.env.invalidate_all()
        return message, self.Email.search([("mail_message_id", "=", message.id)], order="recipient, id")

    def get_outcomes(self, emails):
        return {email.recipient: (email.status, email.status_reason, bool(email.sent_date)) for email in emails}

    @contextmanager
    def no_connection(self):
        """Let nobody listen where the mail server is."""
        port = self.server.smtp_port
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # it does not listen
            self.server.smtp_port = taken.getsockname()[1]
            try:
                yield
            finally:
                self.server.smtp_port = port


@tagged("post_install", "-at_install")
class TestAccepted(SmtpCase):
    """A document says what the server said of its recipient."""

    # ------------------------------------------------------------
    # REFUSED
    # ------------------------------------------------------------

    def test_one_of_several_refused(self):
        """Test that of several recipients the one that the server refused has a document with the server's words."""
        self.smtp.refused = {"gone@example.org": f"550 {GONE}", "full@example.org": "452 4.2.2 Mailbox full"}
        mail, emails = self.send(email_to="good@example.org, gone@example.org", email_cc="full@example.org")
        self.assertEqual(
            self.get_outcomes(emails),
            {
                "good@example.org": ("sent", False, True),
                "gone@example.org": ("failed", f"550 {GONE}", False),
                "full@example.org": ("failed", "452 4.2.2 Mailbox full", False),
            },
        )
        self.assertEqual(mail.state, "sent")
        self.assertEqual([to for to, _data in self.smtp.envelopes], [["good@example.org"]])
        [name] = set(emails.mapped("odoo_id"))
        self.assertIn(name, self.smtp.envelopes[0][1])
        failed = emails.filtered(lambda email: email.status == "failed")
        self.assertEqual(set(failed.mapped("status_explanation")), {failed[0].status_explanation})
        self.assertIn("was not sent", failed[0].status_explanation)
        self.assertEqual([step["status"] for step in failed[0].journey], ["failed"])

    def test_notification_of_the_refused(self):
        """Test that the chatter shows who was refused, and that who was reached stays sent."""
        both = self.env["res.partner"].create({"name": "Two", "email": "one@example.org, two@example.org"})
        self.smtp.refused = {"two@example.org": f"550 {GONE}"}
        message, emails = self.post(both, partner_ids=both.ids)
        self.assertEqual(
            {email.recipient: (email.status, email.partner_id) for email in emails},
            {"one@example.org": ("sent", both), "two@example.org": ("failed", both)},
        )
        self.assertEqual(message.notification_ids.notification_status, "sent", "the contact has it")

        self.smtp.refused = {"ada@example.org": f"550 {GONE}"}
        with mute_logger("odoo.addons.mail.models.mail_mail"):
            message, email = self.post(both, partner_ids=self.contact.ids)
        self.assertEqual(self.get_outcomes(email), {"ada@example.org": ("failed", f"550 {GONE}", False)})
        self.assertEqual(message.notification_ids.notification_status, "exception")

    @refused
    def test_refused_copy(self):
        """Test that a refused contact costs only himself, as by the Web API."""
        cleo = self.env["res.partner"].create({"name": "Cleo", "email": "cleo@example.net"})
        everybody = self.contact | self.bob | cleo
        for number, contact in enumerate(everybody):
            self.smtp.refused = {contact.email: f"550 {GONE}"}
            message_id = f"<{number}@example.com>"
            mail, emails = self.send(recipient_ids=everybody.ids, message_id=message_id, auto_delete=False)
            self.assertEqual(mail.state, "sent")
            self.assertEqual(
                {email.partner_id: (email.status, email.status_reason) for email in emails},
                {one: ("failed", f"550 {GONE}") if one == contact else ("sent", False) for one in everybody},
            )

    @refused
    def test_all_refused(self):
        """Test that a mail that reached nobody stays if the server may take it later, and that its caller learns."""
        self.smtp.refused = {"ada@example.org": "452 4.2.2 Mailbox full"}
        mail, email = self.send(auto_delete=True)
        self.assertEqual((mail.exists().state, mail.failure_type), ("exception", "unknown"))
        self.assertIn("Mailbox full", mail.failure_reason)
        self.assertNotIn("Web API", mail.failure_reason)
        self.assertEqual(email.status_reason, "452 4.2.2 Mailbox full")
        with self.leaving(), self.assertRaises(MailDeliveryException):
            self.create_mail().send(raise_exception=True)

    @refused
    def test_reason_of_another(self):
        """Test that the document of a copy that was not tried does not name who was."""
        self.smtp.refused = dict.fromkeys(["ada@example.org", "bob@example.org"], "421 4.7.0 Too many connections")
        _mail, emails = self.send(recipient_ids=(self.contact | self.bob).ids)
        reasons = emails.mapped("status_reason")
        self.assertEqual(
            sorted(reasons),
            ["421 4.7.0 Too many connections", "It was not tried, because another copy of the message failed."],
        )

    @refused
    @mute_logger("mail.log")
    def test_hung_up(self):
        """Test that a mail goes later if the server hung up before it had it, and else has a document that says so."""
        self.smtp.hangs_up_at = "RCPT"
        mail, emails = self.send(recipient_ids=(self.contact | self.bob).ids, auto_delete=False)
        self.assertEqual(mail.state, "outgoing")
        self.assertIn("hung up before", mail.failure_reason)
        self.assertFalse(emails)
        self.smtp.hangs_up_at = "DATA"
        message_id = mail.message_id
        with self.leaving(), self.enter_registry_test_mode():
            self.env["mail.mail"].process_email_queue(mail.ids)
        self.env.invalidate_all()
        emails = self.find_emails(message_id)
        self.assertEqual(emails.partner_id, self.contact | self.bob)
        self.assertEqual(set(emails.mapped("status")), {"failed"})
        [lost] = [reason for reason in emails.mapped("status_reason") if "may have taken" in reason]
        self.assertEqual(set(emails.mapped("status_reason")), {lost, self.env["ir.mail_server"]._explain_not_tried()})

    @refused
    def test_changed_before_it_left(self):
        """Test that the document of a mail that left at its second try tells of that one."""
        self.smtp.data_answer = "554 5.7.1 The from address does not match a verified Sender Identity"
        mail, email = self.send(auto_delete=False)
        self.assertIn("Hello", email.content)
        mail.write({"subject": "Mended", "body_html": "<p>Goodbye</p>", "email_from": "other@example.com"})
        mail.action_retry()
        self.smtp.data_answer = "250 OK"
        with self.leaving():
            mail.send()
        self.env.invalidate_all()
        self.assertEmail(email, status="sent", subject="Mended", email_from="other@example.com", recipient_role="to")
        self.assertIn("Goodbye", email.content)
        self.assertNotIn("Hello", email.content)

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent")
    def test_without_details(self):
        """Test that a document that could not be prepared whole has what was known before."""
        email_class = self.env.registry["sendgrid.email"]
        with patch.object(email_class, "_without_colleagues", side_effect=ValueError):
            mail, email = self.send(auto_delete=False, model="res.partner", res_id=self.contact.id)
        self.assertEmail(
            email, mail_id=mail, partner_id=self.contact, subject="Your quotation", res_id=self.contact.id, sent_count=1
        )

    @refused
    def test_refused_data(self):
        """Test that a message that the server refused as a whole has documents that say why, in its words."""
        self.smtp.data_answer = "554 5.7.1 The from address does not match a verified Sender Identity"
        mail, emails = self.send(recipient_ids=(self.contact | self.bob).ids)
        self.assertEqual(mail.state, "exception")
        self.assertEqual(emails.partner_id, self.contact | self.bob)
        self.assertEqual(set(emails.mapped("status")), {"failed"})
        self.assertEqual(emails[0].status_reason, self.smtp.data_answer)
        self.assertEqual(set(emails.mapped("sent_date")), {False})
        self.assertEqual(emails.mapped("sent_count"), [0, 0])

    # ------------------------------------------------------------
    # ANOTHER MODULE
    # ------------------------------------------------------------

    @refused
    def test_hidden_error(self):
        """Test that a module that hides the server's error makes no document "Sent", wherever the module stands."""
        self.smtp.refused = {"ada@example.org": f"550 {GONE}"}
        for owner in (IrMail_Server, self.env.registry["ir.mail_server"]):
            send_email = owner.send_email

            def hide(server, message, *args, send_email=send_email, **kwargs):
                try:
                    return send_email(server, message, *args, **kwargs)
                except MailDeliveryException:
                    return None

            with self.subTest(owner=owner), patch.object(owner, "send_email", hide):
                mail, email = self.send(auto_delete=True, model="res.partner", res_id=self.contact.id)
                self.assertEqual(self.get_outcomes(email), {"ada@example.org": ("failed", f"550 {GONE}", False)})
                self.assertEqual(email.partner_id, self.contact)
                self.assertFalse(mail.exists().filtered(lambda one: one.state == "sent"))

    def test_nothing_said(self):
        """Test that a copy is not sent if sending does not end with its Message-ID, and that the words are honest."""
        send_email = IrMail_Server.send_email
        answers = {
            "nothing, and did not send": lambda *args, **kwargs: None,
            "nothing, and sent": lambda *args, **kwargs: send_email(*args, **kwargs) and None,
            "something else": lambda *args, **kwargs: send_email(*args, **kwargs) and "<other@example.com>",
        }
        for name, answer in answers.items():
            with self.subTest(name), patch.object(IrMail_Server, "send_email", answer):
                message, email = self.post(self.contact, partner_ids=self.contact.ids, mail_auto_delete=False)
                self.assertEmail(email, status="failed", sent_date=False, partner_id=self.contact)
                self.assertIn("Nobody told Odoo", email.status_reason)
                notification = message.notification_ids
                self.assertEqual(notification.notification_status, "exception")
                self.assertIn("Nobody told Odoo", notification.failure_reason)

    def test_it_did_leave(self):
        """Test that a document that failed becomes what SendGrid says of it, in any order of the events."""
        send_email = IrMail_Server.send_email
        for order in itertools.permutations(["processed", "delivered", "open"]):
            with patch.object(IrMail_Server, "send_email", lambda *a, **k: send_email(*a, **k) and None):
                _mail, email = self.send()
            self.assertEqual(email.status, "failed")
            relayed = self.relay(email)
            for number, kind in enumerate(order):
                before = email.status
                self.receive(relayed.event(kind, timestamp=int(email.date.timestamp()) + 100 * (1 + number)))
                self.assertNotEqual((before, email.status), ("delivered", "failed"))
                self.assertEqual(email.sent_date, email.date)
            self.assertEmail(email, status="opened", status_reason=False, sent_count=1)
            email._refresh_state()
            self.assertEqual(email.status, "opened")

    # ------------------------------------------------------------
    # NOT HANDED OVER
    # ------------------------------------------------------------

    @refused
    def test_no_connection(self):
        """Test that mails for which there was no connection are in the Documents, and that a retry is the same."""
        mails = self.create_mail(auto_delete=True) | self.create_mail(
            email_to="Lead <lead@example.org>", email_cc="cc@example.org", auto_delete=False
        )
        with self.leaving(), self.no_connection():
            mails.send()
        emails = self.find_emails(mails[0].message_id) | self.find_emails(mails[1].message_id)
        self.assertEqual(set(mails.mapped("state")), {"exception"})
        self.assertEqual(
            {email.recipient: (email.recipient_role, email.partner_id, email.mail_id) for email in emails},
            {
                "ada@example.org": ("to", self.contact, mails[0]),
                "lead@example.org": ("to", self.env["res.partner"], mails[1]),
                "cc@example.org": ("cc", self.env["res.partner"], mails[1]),
            },
        )
        for email in emails:
            self.assertEmail(
                email, status="failed", sent_date=False, sent_count=0, email_from="salesperson@example.com"
            )
            self.assertIn("refused", email.status_reason)
            self.assertTrue(email.date)
        before = emails.mapped("odoo_id")
        mails.action_retry()
        with self.leaving():
            mails.send()
        self.env.invalidate_all()
        self.assertEqual(emails.mapped("odoo_id"), before)
        self.assertEqual(set(emails.mapped("status")), {"sent"})
        self.assertEqual(emails.mapped("sent_count"), [1, 1, 1])
        self.assertEqual(emails.mapped("sent_date"), emails.mapped("date"))
        for name in before:
            self.assertTrue([data for _to, data in self.smtp.envelopes if name in data])

    def fail_for(self, name, broken):
        """Return the patch of a method of `sendgrid.email` that fails for the mail with this subject."""
        email_class = self.env.registry["sendgrid.email"]
        method = getattr(email_class, name)

        def fail(documents, *args, **kwargs):
            mail = next((one for one in args if getattr(one, "_name", "") == "mail.mail"), None)
            if mail and mail.subject == broken or any(row.get("subject") == broken for row in args[0] if mail is None):
                raise ValueError(broken)
            return method(documents, *args, **kwargs)

        return patch.object(email_class, name, fail)

    @refused
    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent")
    @mute_logger("odoo.addons.sendgrid_tracking.models.mail_mail")
    def test_fault_of_one(self):
        """Test that a mail whose document cannot be prepared leaves, and costs the others of its run nothing."""
        for name in ("_prepare_about", "_get_company_id", "_opens_account", "_prepare_rows"):
            for connects in (True, False):
                with self.subTest(name, connects=connects):
                    self.smtp.envelopes = []
                    mails = self.env["mail.mail"].union(
                        *(self.create_mail(subject=f"Number {n}", auto_delete=False) for n in range(3))
                    )
                    connection = nullcontext() if connects else self.no_connection()
                    with self.fail_for(name, "Number 1"), connection, self.leaving():
                        mails.send()
                    self.env.invalidate_all()
                    self.assertEqual(mails.mapped("state"), ["sent" if connects else "exception"] * 3)
                    self.assertEqual(len(self.smtp.envelopes), 3 * connects)
                    emails = [self.find_emails(mail.message_id) for mail in mails]
                    self.assertEqual([len(email) for email in emails], [1, connects, 1])
                    for email in filter(None, emails):
                        self.assertEmail(
                            email,
                            status="sent" if connects else "failed",
                            partner_id=self.contact,
                            company_id=self.env.company,
                        )
                    if connects and name != "_prepare_rows":
                        self.assertEmail(emails[1], content_state="credentials", measured="none", subject="Number 1")

    @refused
    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent")
    def test_document_of_one_cannot_be_written(self):
        """Test that a document that the database refuses costs the others of a run nothing, and is bare itself."""
        prepare = self.env.registry["sendgrid.email"]._prepare_about

        def prepare_about(documents, mail, outbox):
            about = prepare(documents, mail, outbox)
            return {**about, "author_id": 2**30} if mail.subject == "Number 1" else about

        for connects in (True, False):
            with self.subTest(connects=connects):
                mails = self.env["mail.mail"].union(
                    *(self.create_mail(subject=f"Number {n}", auto_delete=False) for n in range(3))
                )
                with (
                    patch.object(self.env.registry["sendgrid.email"], "_prepare_about", prepare_about),
                    nullcontext() if connects else self.no_connection(),
                    self.leaving(),
                ):
                    mails.send()
                emails = [self.find_emails(mail.message_id) for mail in mails]
                self.assertEqual([email.status for email in emails], ["sent" if connects else "failed"] * 3)
                authors = self.salesperson.partner_id, self.env["res.partner"], self.salesperson.partner_id
                self.assertEqual(tuple(email.author_id for email in emails), authors)

    @refused
    def test_one_query_for_a_run(self):
        """Test that the documents of mails that are committed together are inserted together, and are the same."""
        told = []
        for commits_each in (False, True):
            mails = self.env["mail.mail"].union(*(self.create_mail(subject=f"Number {n}") for n in range(4)))
            mails += self.create_mail(sendgrid_is_named_by_message=True, mail_message_id=mails[0].mail_message_id.id)
            message_ids = mails.mapped("message_id")
            with (
                patch.object(bulk, "insert", wraps=bulk.insert) as insert,
                patch.object(self.env.cr, "commit"),
                self.leaving(),
            ):
                mails.send(auto_commit=commits_each)
            inserted = [call for call in insert.call_args_list if call.args[0]._name == "sendgrid.email"]
            self.assertEqual(len(inserted) == 1, not commits_each)
            told.append([self.find_emails(message_id).mapped("subject") for message_id in message_ids])
        self.assertEqual(told[0], told[1])

    @refused
    def test_database_fails_behind_others(self):
        """Test that what left before the database fails has its documents after the rollback."""
        mails = self.create_mail(subject="Number 0", auto_delete=False) | self.create_mail(auto_delete=False)
        record = self.env.registry["mail.mail"]._record_copies

        def fail(mail, *args):
            if mail.subject != "Number 0":
                raise psycopg2.OperationalError
            return record(mail, *args)

        with (
            patch.object(self.env.registry["mail.mail"], "_record_copies", fail),
            self.enter_registry_test_mode(),
            self.leaving(),
            TestCase.assertRaises(self, psycopg2.OperationalError),  # Odoo's would take the document back
        ):
            mails.send()
        self.env.invalidate_all()
        self.assertFalse(self.find_emails(mails[0].message_id))
        with self.enter_registry_test_mode():
            self.env.cr.postrollback.run()
        self.env.invalidate_all()
        for mail in mails:
            self.assertEmail(self.find_emails(mail.message_id), status="sent", recipient="ada@example.org")

    @refused
    @mute_logger("odoo.addons.sendgrid_tracking.models.mail_mail")
    def test_left_whatever_happens(self):
        """Test that a mail that has left is sent although its documents fail, since nobody shall send it again."""
        with (
            patch.object(self.env.registry["mail.mail"], "_record_copies", side_effect=ValueError),
            self.enter_registry_test_mode(),
        ):
            mail, _emails = self.send(auto_delete=False)
        self.assertEqual((mail.state, len(self.smtp.envelopes)), ("sent", 1))
        self.env.invalidate_all()
        self.assertEmail(self.find_emails(mail.message_id), status="sent", recipient="ada@example.org")

    @refused
    def test_left_and_database_fails(self):
        """Test that a mail that has left has its document although the database fails where it is recorded."""
        mail = self.create_mail(auto_delete=False)
        with (
            patch.object(self.env.registry["mail.mail"], "_record_copies", side_effect=psycopg2.OperationalError),
            self.enter_registry_test_mode(),
            self.leaving(),
            TestCase.assertRaises(self, psycopg2.OperationalError),  # Odoo's would take the document back
        ):
            mail.send()
        self.env.invalidate_all()
        self.assertEmail(self.find_emails(mail.message_id), status="sent", recipient="ada@example.org")

    @refused
    @mute_logger("odoo.addons.sendgrid_tracking.models.mail_mail")
    def test_record_that_cannot_be_searched(self):
        """Test that a mail leaves although its record's model cannot be searched for whose it is."""
        lead = self.env["crm.lead"].create({"name": "Lead"})
        with patch.object(self.env.registry["crm.lead"], "search_fetch", side_effect=ValueError):
            mail, email = self.send(model="crm.lead", res_id=lead.id, auto_delete=False)
        self.assertEqual(mail.state, "sent")
        self.assertEmail(email, status="sent", res_id=lead.id)

    @refused
    def test_no_connection_raises(self):
        """Test that a mail whose sender wants an exception has its document even though all else is undone."""
        mail = self.create_mail()
        message_id = mail.message_id
        with self.leaving(), self.no_connection(), self.assertRaises(MailDeliveryException):
            mail.send(raise_exception=True)
        self.assertFalse(self.find_emails(message_id), "the test has undone it")
        with self.enter_registry_test_mode():
            self.env.cr.postrollback.run()
        self.env.invalidate_all()
        self.assertEmail(self.find_emails(message_id), status="failed", recipient="ada@example.org", sent_date=False)

    @refused
    def test_no_connection_for_one_name(self):
        """Test that mails whose copies have one name share a document, and cost the others nothing."""
        first = self.create_mail(sendgrid_is_named_by_message=True)
        second = self.create_mail(sendgrid_is_named_by_message=True, mail_message_id=first.mail_message_id.id)
        third = self.create_mail()
        with self.leaving(), self.no_connection():
            (first | second | third).send()
        self.assertEqual(len(self.find_emails(first.message_id)), 1)
        self.assertEqual(self.find_emails(third.message_id).status, "failed")

    @refused
    def test_no_connection_for_those_put_off(self):
        """Test that mails that Odoo puts off, because a user's own server may send only some, are not called failed."""
        mails = self.create_mail() | self.create_mail()
        self.server.write({"owner_user_id": self.salesperson.id, "from_filter": "salesperson@example.com"})
        self.env["ir.config_parameter"].set_param("mail.server.personal.limit.minutes", "1")
        with self.leaving(), self.no_connection(), self.assertRaises(MailDeliveryException):
            mails.send(raise_exception=True)
        with self.enter_registry_test_mode():
            self.env.cr.postrollback.run()
        self.env.invalidate_all()
        self.assertEqual([len(self.find_emails(mail.message_id)) for mail in mails], [1, 0])

    @refused
    def test_other_server(self):
        """Test that a mail that another server did not take has no document."""
        with self.leaving(), self.no_connection():
            self.server.sendgrid_account_id = False
            mail = self.create_mail()
            mail.send()
        self.assertEqual(mail.state, "exception")
        self.assertFalse(self.find_emails(mail.message_id))

    @refused
    def test_given_up(self):
        """Test that a mail that Odoo has given up, because somebody does not want it, has no document."""
        mail = self.create_mail(state="cancel", failure_type="mail_bl")
        with self.leaving():
            mail.send()
            with self.no_connection():
                mail.send()
        self.assertFalse(self.find_emails(mail.message_id))

    @refused
    def test_colleagues(self):
        """Test that a colleague whom a mail did not reach has no document, with and without an address."""
        colleague = self.salesperson.copy({"login": "x", "email": "x@example.com"}).partner_id
        for address in ("x@example.com", "nonsense", False):
            colleague.email = address
            with self.leaving(), self.no_connection():
                mail = self.create_mail(recipient_ids=(colleague | self.contact).ids)
                mail.send()
            self.assertEqual(self.find_emails(mail.message_id).partner_id, self.contact)

    @refused
    def test_corrected_address(self):
        """Test that a document goes with its contact if the address is corrected before the mail is sent again."""
        broken = self.env["res.partner"].create({"name": "Broken", "email": "nonsense"})
        mail, email = self.send(recipient_ids=broken.ids, auto_delete=False)
        self.assertEqual(self.get_outcomes(email), {"nonsense": ("failed", "“nonsense” is no e-mail address.", False)})
        broken.email = "Right@example.org"
        mail.action_retry()
        with self.leaving():
            mail.send()
        self.env.invalidate_all()
        self.assertEqual(self.find_emails(mail.message_id), email)
        self.assertEmail(email, status="sent", recipient="right@example.org", recipient_domain="example.org")
        self.assertIn(email.odoo_id, self.smtp.envelopes[0][1])

    @refused
    def test_send_again(self):
        """Test that *Send Again* retries the very mail if nothing of it has left, and else opens the composer."""
        with self.leaving(), self.no_connection():
            mail = self.create_mail(model="res.partner", res_id=self.contact.id)
            mail.send()
        email = self.find_emails(mail.message_id)
        with self.leaving():
            email.with_user(self.salesperson).action_send_again()
        self.env.invalidate_all()
        self.assertEmail(email, status="sent", sent_count=1)

        self.smtp.refused = {"bob@example.org": f"550 {GONE}"}
        _mail, emails = self.send(
            recipient_ids=(self.contact | self.bob).ids, model="res.partner", res_id=self.bob.id, auto_delete=False
        )
        failed = emails.filtered(lambda one: one.status == "failed")
        self.assertEqual(failed.partner_id, self.bob)
        action = failed.with_user(self.salesperson).action_send_again()
        self.assertEqual(action["res_model"], "mail.compose.message", "Ada would get it a second time")
        self.assertEqual(action["context"]["default_partner_ids"], self.bob.ids)

    @refused
    def test_send_again_after_colleague(self):
        """Test that *Send Again* does not retry a mail that a colleague has got, who has no document."""
        colleague = self.salesperson.copy({"login": "x", "email": "x@example.com"}).partner_id
        mail = self.create_mail(
            recipient_ids=(colleague | self.bob).ids,
            model="res.partner",
            res_id=self.bob.id,
            is_notification=True,
        )
        self.env["mail.notification"].create(
            [
                {
                    "mail_message_id": mail.mail_message_id.id,
                    "mail_mail_id": mail.id,
                    "notification_type": "email",
                    "res_partner_id": partner.id,
                    "notification_status": status,
                }
                for partner, status in ((colleague, "sent"), (self.bob, "ready"))
            ]
        )
        with self.leaving(), self.no_connection():
            mail.send()
        email = self.find_emails(mail.message_id)
        self.assertEqual(email.partner_id, self.bob)
        action = email.with_user(self.salesperson).action_send_again()
        self.assertEqual(action["res_model"], "mail.compose.message", "the colleague would get it a second time")

    # ------------------------------------------------------------
    # KEPT WITH THE DOCUMENT
    # ------------------------------------------------------------

    def test_what_is_kept(self):
        """Test that a document keeps what cannot be had later: company, template, team, sender, domain, role."""
        company = self.env["res.company"].create({"name": "Other"})
        team = self.env["crm.team"].create({"name": "Team", "company_id": company.id})
        lead = self.env["crm.lead"].create(
            {"name": "Lead", "email_from": "Lead@Example.ORG", "team_id": team.id, "company_id": company.id}
        )
        template = self.env["mail.template"].create(
            {
                "name": "Offer",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "subject": "Offer",
                "body_html": "<p>Hello</p>",
                "email_to": "{{ object.email_from }}",
                "email_from": "Sales <Sales@Example.com>",
                "mail_server_id": self.server.id,
            }
        )

        def schedule():
            composer = self.env["mail.compose.message"].create(
                {
                    "composition_mode": "comment",
                    "model": "crm.lead",
                    "res_ids": lead.ids,
                    "template_id": template.id,
                    "scheduled_date": Datetime.now() + timedelta(days=1),
                }
            )
            return composer._action_schedule_message()

        ways = {
            "send_mail": lambda: template.send_mail(lead.id, force_send=True),
            "queued": lambda: self.env["mail.mail"].browse(template.send_mail(lead.id)).send(),
            "message_mail_with_source": lambda: lead.message_mail_with_source(template, force_send=True),
            "message_post_with_source": lambda: lead.message_post_with_source(
                template, subtype_xmlid="mail.mt_comment"
            ),
            "scheduled": lambda: schedule()._post_message(),
        }
        for name, way in ways.items():
            with self.subTest(name), self.leaving():
                last = self.Email.search([], order="id desc", limit=1).id or 0
                way()
                email = self.Email.search([("id", ">", last)])
                self.assertEmail(
                    email,
                    company_id=company,
                    template_id=template,
                    team_id=team,
                    email_from="sales@example.com",
                    recipient_domain="example.org",
                    recipient_role="to",
                )
        _mail, email = self.send()
        self.assertEmail(email, company_id=self.env.company, template_id=False, team_id=False)
        self.account.company_id = company
        _mail, email = self.send()
        self.assertEmail(email, company_id=company)
        template.unlink()
        self.assertEqual(len(self.Email.search([("team_id", "=", team.id)])), len(ways))

    def test_queries(self):
        """Test that what is kept costs no query for each mail."""
        leads = self.env["crm.lead"].create(
            [{"name": f"Lead {n}", "email_from": f"l{n}@example.org"} for n in range(30)]
        )

        def count(some):
            mails = self.env["mail.mail"].create(
                [
                    {
                        "body_html": "<p>Hello</p>",
                        "email_from": "salesperson@example.com",
                        "recipient_ids": self.contact.ids,
                        "mail_server_id": self.server.id,
                        "model": "crm.lead",
                        "res_id": lead.id,
                        "auto_delete": True,
                    }
                    for lead in some
                ]
            )
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            with self.leaving():
                mails.send()
            self.env.flush_all()
            return self.env.cr.sql_log_count - before

        count(leads[:1])
        few, many = count(leads[:5]), count(leads[5:30])
        with_addon = (many - few) / 20
        self.server.sendgrid_account_id = False
        few, many = count(leads[:5]), count(leads[5:30])
        # A savepoint takes two, the documents one.
        self.assertLessEqual(with_addon - (many - few) / 20, 3)


@tagged("post_install", "-at_install")
class TestDomain(BaseCase):
    def test_domain(self):
        """Test the domain of an address, in one form."""
        for address, domain in {
            "ada@Example.ORG": "example.org",
            '"a@b"@example.org': "example.org",
            "ada@müller.example": "xn--mller-kva.example",
            "ada@xn--mller-kva.example": "xn--mller-kva.example",
            "ada@straße.example": "xn--strae-oqa.example",
            "ada@MÜLLER.example ": "xn--mller-kva.example",
            "nonsense": None,
            "ada@": None,
            "": None,
            None: None,
            f"ada@{'ä' * 70}.example": f"{'ä' * 70}.example",
        }.items():
            with self.subTest(address):
                self.assertEqual(get_domain(address), domain)


def with_cc_and_bcc(owner_of_mail, owner_of_server):
    """Make Odoo send as modules do that let people write one mail with Cc and Bcc: a message for each address of the
    envelope, all with the same To and Cc, and the secret in a header of their own.

    The recipients are told by the context: ``cc`` and ``bcc`` are contacts among the mail's recipients. ``envelopes``
    is an empty list, and ``backwards`` tells the order in which it is filled: that of OCA's module is by chance.

    :param owner_of_mail: the class of `mail.mail` to change: that of core for a module that stands below this one, that
        of the registry for one that stands above
    :param owner_of_server: the class of `ir.mail_server`
    :return: the two patches
    """
    prepare_list = owner_of_mail._prepare_outgoing_list
    prepare_message = owner_of_server._prepare_email_message__

    def _prepare_outgoing_list(mail, *args, **kwargs):
        emails = prepare_list(mail, *args, **kwargs)
        cc, bcc = mail.env.context["cc"], mail.env.context["bcc"]
        shown = [partner.email_formatted for partner in mail.recipient_ids - cc - bcc]
        envelopes = set()
        for email in emails:
            to = email["partner_id"] or cc[:1]
            # Core's headers are one dict for all messages: so the secret stands in each of them.
            if to in bcc:
                email["headers"]["X-Odoo-Bcc"] = to.email_formatted
            envelopes.add(to.email_normalized)
            email.update(email_to=shown, email_cc=[partner.email_formatted for partner in cc])
        # Core writes a message more for the mail's Cc. The order of the envelopes is another than that of the messages.
        if len(emails) > len(envelopes):
            emails.pop()
        mail.env.context["envelopes"].extend(sorted(envelopes, reverse=mail.env.context["backwards"]))
        return emails

    def _prepare_email_message__(server, message, session):
        if secret := message["X-Odoo-Bcc"]:
            message["Bcc"] = secret
        sender, recipients, message = prepare_message(server, message, session)
        if envelopes := server.env.context["envelopes"]:
            recipients = [envelopes.pop(0)]
        return sender, recipients, message

    return (
        patch.object(owner_of_mail, "_prepare_outgoing_list", _prepare_outgoing_list),
        patch.object(owner_of_server, "_prepare_email_message__", _prepare_email_message__),
    )


def one_by_one(asks_for_names):
    """Make Odoo send as modules below ours do that hand each recipient a copy of his own, within one call.

    :param asks_for_names: the parameters are given by the names that `smtplib.SMTP.send_message` has for them
    """

    def send_email(server, message, *args, smtp_session=None, **kwargs):
        sender, recipients, message = server._prepare_email_message__(message, smtp_session)
        for recipient in recipients:
            if asks_for_names:
                smtp_session.send_message(msg=message, from_addr=sender, to_addrs=[recipient], mail_options=())
            else:
                smtp_session.send_message(message, sender, recipient)
        return message["Message-Id"]

    return patch.object(IrMail_Server, "send_email", send_email)


class OneByOneMixin:
    """Mails to three, of which another module makes three copies within one call."""

    def send_one_by_one(self, asks_for_names):
        with one_by_one(asks_for_names):
            return self.send(email_to="ada@example.org, ben@example.org, cleo@example.org")


class CcBccMixin:
    """One mail to Ada, with Ben as Cc and Cleo as Bcc."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ben, cls.cleo, cls.dora, cls.twin = cls.env["res.partner"].create(
            [
                {"name": "Ben", "email": "ben@example.org"},
                {"name": "Cleo", "email": "cleo@example.net"},
                {"name": "Dora", "email": "dora@example.net"},
                {"name": "Ada's Twin", "email": "Ada@example.org"},
            ]
        )

    def send_with_cc_and_bcc(self, is_above, bcc, backwards=True):
        """Send such a mail.

        :param is_above: the module that makes it stands above this one
        :param bcc: contacts
        :return: the documents, and what each recipient got: list of (address, odoo_id, source)
        """
        registry = self.env.registry
        owners = (registry["mail.mail"], registry["ir.mail_server"]) if is_above else (MailMail, IrMail_Server)
        self.forget_copies()
        mail = self.create_mail(
            recipient_ids=(self.contact | self.ben | bcc).ids,
            email_cc=self.ben.email_formatted,
            model="res.partner",
            res_id=self.contact.id,
            auto_delete=False,
        )
        first, second = with_cc_and_bcc(*owners)
        with first, second, self.leaving():
            mail.with_context(cc=self.ben, bcc=bcc, envelopes=[], backwards=backwards).send()
        self.env.invalidate_all()
        return self.find_emails(mail.message_id), self.get_copies()

    def assertNoBcc(self, copies):
        """Assert that no copy tells who is Bcc, but that of a Bcc himself where the way cannot do otherwise."""
        for address, _odoo_id, source in copies:
            for secret in (self.cleo, self.dora, self.twin):
                if self.SHOWS_ITSELF and secret.email == address:
                    source = source.replace(address, "")  # noqa: PLW2901
                self.assertNotIn(secret.name, source)
                if secret != self.twin:
                    self.assertNotIn(secret.email, source.lower())
            self.assertFalse([name for name in message_from_string(source).keys() if "bcc" in name.lower()])

    def test_cc_and_bcc(self):
        """Test that each recipient of such a mail has the right document, and nobody learns of the Bcc."""
        for is_above, backwards in itertools.product((True, False), repeat=2):
            with self.subTest(is_above=is_above, backwards=backwards):
                emails, copies = self.send_with_cc_and_bcc(is_above, self.cleo, backwards)
                self.assertEqual(
                    {email.recipient: (email.partner_id, email.recipient_role, email.status) for email in emails},
                    {
                        "ada@example.org": (self.contact, "to", "sent"),
                        "ben@example.org": (self.ben, "cc", "sent"),
                        "cleo@example.net": (self.cleo, "bcc", "sent"),
                    },
                )
                self.assertEqual(
                    {email.recipient: email.odoo_id for email in emails}, {a: name for a, name, _s in copies}
                )
                self.assertEqual(len({name for _address, name, _source in copies}), 3)
                for email in emails:
                    self.assertEmail(email, subject="Your quotation", model="res.partner", res_id=self.contact.id)
                    self.assertIn("Hello", email.content)
                self.assertNoBcc(copies)

    @refused
    def test_several_bcc(self):
        """Test that documents tell the truth of several Bcc, of whom such a module may leave one out.

        One of them has the address of a To.
        """
        for bcc, is_above, backwards in itertools.product(
            (self.cleo | self.dora, self.twin, self.cleo | self.twin), (True, False), (True, False)
        ):
            with self.subTest(bcc.mapped("name"), is_above=is_above, backwards=backwards):
                emails, copies = self.send_with_cc_and_bcc(is_above, bcc, backwards)
                self.assertNoBcc(copies)
                left = emails.filtered("sent_date")
                self.assertEqual(sorted(left.mapped("odoo_id")), sorted(name for _address, name, _source in copies))
                self.assertEqual({address for address, _name, _source in copies}, set(left.mapped("recipient")))
                self.assertEqual(set((emails - left).mapped("status")), {"failed"} if emails - left else set())
                everybody = self.contact | self.ben | bcc
                self.assertEqual(set(emails.mapped("recipient")), set(everybody.mapped("email_normalized")))
                for email in emails:
                    self.assertEqual(email.partner_id.email_normalized, email.recipient)

    def test_bcc_in_unicode(self):
        """Test that such a mail reaches a Bcc whose domain is not ASCII, although the module leaves it as it is."""
        zoe = self.env["res.partner"].create({"name": "Zoe", "email": "zoe@bücher.example"})
        for is_above in (True, False):
            with self.subTest(is_above=is_above):
                emails, copies = self.send_with_cc_and_bcc(is_above, zoe)
                addresses = ["ada@example.org", "ben@example.org", "zoe@xn--bcher-kva.example"]
                self.assertEqual([(e.recipient, e.status) for e in emails], [(one, "sent") for one in addresses])
                self.assertEqual(sorted(address for address, _name, _source in copies), addresses)


@tagged("post_install", "-at_install")
class TestCcBccBySmtp(CcBccMixin, OneByOneMixin, SmtpCase):
    def test_one_by_one(self):
        """Test that each of several copies within one call is sent, and has its own document."""
        for asks_for_names in (True, False):
            with self.subTest(asks_for_names=asks_for_names):
                self.smtp.envelopes = []
                _mail, emails = self.send_one_by_one(asks_for_names)
                self.assertEqual(emails.mapped("status"), ["sent"] * 3)
                self.assertEqual(len(self.smtp.envelopes), 3)
                for [recipient], data in self.smtp.envelopes:
                    [email] = emails.filtered(lambda one, to=recipient: one.recipient == to)
                    self.assertIn(email.odoo_id, data)

    @refused
    def test_one_by_one_refused(self):
        """Test that those who were sent to before the server refused one are sent to, and nobody is both."""
        self.smtp.refused = {"cleo@example.org": f"550 {GONE}"}
        for asks_for_names in (True, False):
            with self.subTest(asks_for_names=asks_for_names):
                mail, emails = self.send_one_by_one(asks_for_names)
                self.assertEqual(mail.state, "exception")
                self.assertEqual(
                    [(email.recipient, email.status) for email in emails],
                    [("ada@example.org", "sent"), ("ben@example.org", "sent"), ("cleo@example.org", "failed")],
                )

    @refused
    def test_one_is_refused(self):
        """Test that who got such a mail has no document that says he did not, although another one was refused."""
        for gone, is_above in itertools.product(
            ("ada@example.org", "ben@example.org", "cleo@example.net"), (True, False)
        ):
            with self.subTest(gone, is_above=is_above):
                self.smtp.refused = {gone: f"550 {GONE}"}
                emails, _copies = self.send_with_cc_and_bcc(is_above, self.cleo)
                self.assertEqual(
                    [(email.recipient, email.status) for email in emails],
                    [
                        (one, "failed" if one == gone else "sent")
                        for one in ("ada@example.org", "ben@example.org", "cleo@example.net")
                    ],
                )

    SHOWS_ITSELF = False

    def forget_copies(self):
        self.smtp.envelopes = []

    def get_copies(self):
        names = re.compile(r'"odoo_id":\s*"(\w+)"')
        return [(to.lower(), names.search(data)[1], data) for [to], data in self.smtp.envelopes]

    def test_shown(self):
        """Test that Ada and Ben see each other, and that each copy shows the same."""
        _emails, copies = self.send_with_cc_and_bcc(True, self.cleo)
        for _address, _name, source in copies:
            self.assertIn('To: "Ada" <ada@example.org>', source)
            self.assertIn('Cc: "Ben" <ben@example.org>', source)

    def test_headers_that_tell(self):
        """Test that no header leaves that tells a Bcc, however it is named."""
        names = ("X-Odoo-Bcc", "x-bcc", "BCC", "Resent-Bcc", "X-Original-BCC-To")
        _mail, emails = self.send(headers=repr(dict.fromkeys(names, "secret@example.org")))
        [(to, data)] = self.smtp.envelopes
        self.assertNotIn("secret", data)
        self.assertEqual((to, emails.mapped("recipient")), (["ada@example.org"], ["ada@example.org"]))


@tagged("post_install", "-at_install")
class TestCcBccByApi(CcBccMixin, OneByOneMixin, ApiSendingCase):
    def test_one_by_one(self):
        """Test that each of several copies within one call is sent, and has SendGrid's id."""
        for asks_for_names in (True, False):
            with self.subTest(asks_for_names=asks_for_names):
                self.sandbox("POST", "/sandbox/reset")
                _mail, emails = self.send_one_by_one(asks_for_names)
                self.assertEqual(emails.mapped("status"), ["sent"] * 3)
                ids = {message["id"] for message in self.messages()}
                self.assertEqual((set(emails.mapped("sg_message_id")), len(ids)), (ids, 3))

    SHOWS_ITSELF = True  # the Web API needs a To

    def forget_copies(self):
        self.sandbox("POST", "/sandbox/reset")

    def get_copies(self):
        return [
            (to["address"].lower(), message["smtpapi"]["unique_args"]["odoo_id"], self.read_source(message, to))
            for message in self.messages()
            for to in message["recipients"]
        ]

    def read_source(self, message, recipient):
        return self.sandbox("GET", f"/sandbox/messages/{message['id']}/{recipient['index']}/raw")

    def test_headers_that_tell(self):
        """Test that no header leaves that tells a Bcc, however it is named."""
        names = ("X-Odoo-Bcc", "x-bcc", "BCC", "Resent-Bcc", "X-Original-BCC-To")
        _mail, emails = self.send(headers=repr(dict.fromkeys(names, "secret@example.org")))
        [call] = self.calls()
        self.assertNotIn("secret", str(call["body"]))
        self.assertEqual(emails.mapped("recipient"), ["ada@example.org"])


@tagged("post_install", "-at_install")
class TestUnreachable(ApiSendingCase):
    """Mails of the Web API that surely have not left go later, once; those that may have left do not."""

    @contextmanager
    def nobody_there(self):
        parameters = self.env["ir.config_parameter"]
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # it does not listen
            parameters.set_param("sendgrid_tracking.api_host", f"http://127.0.0.1:{taken.getsockname()[1]}")
            try:
                yield
            finally:
                parameters.set_param("sendgrid_tracking.api_host", self.sandbox_url)

    def cut_off(self, session):
        """Take the network away from a session while it is in use."""
        session._session._client = client.Client(API_KEY, "http://127.0.0.1:1", sleep=lambda seconds: None)

    @refused
    def test_in_a_batch(self):
        """Test that a batch whose network goes after the second mail leaves the others in the queue."""
        mails = self.env["mail.mail"].union(*(self.create_mail(subject=f"Number {n}") for n in range(5)))
        send_email = IrMail_Server.send_email
        sent = []

        def send_some(server, message, *args, **kwargs):
            sent.append(message["Subject"])
            if len(sent) <= 2:
                return send_email(server, message, *args, **kwargs)
            self.cut_off(kwargs["smtp_session"])
            return send_email(server, message, *args, **kwargs)

        with self.leaving(), patch.object(IrMail_Server, "send_email", send_some):
            self.env["mail.mail"].process_email_queue(mails.ids)
        self.assertEqual(mails.mapped("state"), ["sent", "sent", "outgoing", "outgoing", "outgoing"])
        with self.leaving():
            self.env["mail.mail"].process_email_queue(mails.ids)
        self.assertEqual(mails.mapped("state"), ["sent"] * 5)
        self.assertEqual(len(self.messages()), 5)
        self.assertEqual(self.Email.search([("mail_id", "in", mails.ids)]).mapped("sent_count"), [1] * 5)

    @refused
    def test_a_part_has_left(self):
        """Test that a mail of which a copy has left does not go again by itself, since somebody would have it twice."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        mail = self.create_mail(recipient_ids=(self.contact | bob).ids)
        send_email = IrMail_Server.send_email
        sent = []

        def send_one(server, message, *args, **kwargs):
            sent.append(message)
            if len(sent) > 1:
                self.cut_off(kwargs["smtp_session"])
            return send_email(server, message, *args, **kwargs)

        with self.leaving(), patch.object(IrMail_Server, "send_email", send_one):
            mail.send()
        emails = self.find_emails(mail.message_id)
        self.assertEqual(mail.state, "exception")
        self.assertEqual(emails.mapped("status"), ["sent", "failed"])
        self.assertIn("cannot be reached", emails[1].status_reason)

    @refused
    def test_raises(self):
        """Test that a caller who wants exceptions gets Odoo's, and that the mail then fails."""
        with self.leaving(), self.nobody_there(), self.assertRaises(MailDeliveryException) as caught:
            self.create_mail().send(raise_exception=True)
        self.assertIn("cannot be reached", caught.exception.args[1])

    @refused
    def test_waits_a_day(self):
        """Test that a mail waits for a day, and says why; then it fails, with a document, and the others still wait."""
        old, young = self.create_mail(), self.create_mail()
        later = self.create_mail(scheduled_date=Datetime.now() - timedelta(hours=1))
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE mail_mail SET create_date = create_date - interval '25 hours' WHERE id = ANY(%s)",
            [[old.id, later.id]],
        )
        self.env.invalidate_all()
        for mail in (old, young, later):
            with self.leaving(), self.nobody_there():
                mail.send()
            self.env.invalidate_all()
            self.assertIn("cannot be reached", mail.failure_reason)
        self.assertEqual([mail.state for mail in (old, young, later)], ["exception", "outgoing", "outgoing"])
        email = self.find_emails(old.message_id)
        self.assertEmail(email, status="failed", sent_date=False)
        self.assertIn("cannot be reached", email.status_reason)
        self.assertFalse(self.find_emails(young.message_id))

    @refused
    def test_notification_waits(self):
        """Test that the chatter shows a mail that goes later as such."""
        with self.leaving(), self.nobody_there():
            message = self.contact.message_post(
                body="Hello",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=self.contact.ids,
                mail_server_id=self.server.id,
                mail_auto_delete=False,
            )
        self.assertEqual(message.notification_ids.notification_status, "ready")
        self.assertEqual(message.mail_ids.state, "outgoing")
        self.assertFalse(self.find_emails(message.message_id))
        with self.leaving():
            message.mail_ids.send()
        self.assertEqual(message.notification_ids.notification_status, "sent")
        self.assertEmail(self.find_emails(message.message_id), status="sent", sent_count=1)
