import base64
import re
import socket
from contextlib import contextmanager
from email import message_from_string, policy
from email.message import EmailMessage
from unittest.mock import patch

from markupsafe import Markup

from odoo.exceptions import UserError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_mail_server import IrMail_Server, MailDeliveryException

from ..tools.api import client
from .common import SendgridCase
from .sandbox_case import API_KEY, SandboxCase

SEND = "/v3/mail/send"
SECRET = "https://odoo.example.com/my/orders/7?access_token=5f0c9a1e-2b7d-4f6e-9d0c-8a1b2c3d4e5f"
PLAIN = "https://shop.example.com/cheese?kind=blue&n=2"
LINKS = f'<p>See <a href="{PLAIN.replace("&", "&amp;")}">the cheese</a> and <a href="{SECRET}">your order</a></p>'
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
refused = mute_logger("odoo.addons.mail.models.mail_mail")


class ApiSendingCase(SandboxCase, SendgridCase):
    """Mails that really leave, to the local SendGrid."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account.api_key = API_KEY
        cls.server.smtp_authentication = "sendgrid_api"

    @contextmanager
    def leaving(self):
        """Let mails leave without pauses between two tries. Give the list of the pauses that were asked for."""
        pauses = []
        account_class = self.env.registry["sendgrid.account"]

        def get_client(account, patience=15):
            return client.Client(account.sudo().api_key, self.get_host(), patience, sleep=pauses.append)

        with (
            patch.object(IrMail_Server, "_disable_send", lambda server: False),
            patch.object(account_class, "_get_client", get_client),
        ):
            yield pauses

    def get_host(self):
        return self.env["ir.config_parameter"].get_param("sendgrid_tracking.api_host")

    def send(self, **values):
        """Send a mail; return it and its documents, by recipient."""
        mail = self.create_mail(**values)
        with self.leaving():
            mail.send()
        return mail, self.find_emails(mail.message_id)

    def messages(self):
        """Return the messages that SendGrid has taken, oldest first."""
        return self.sandbox("GET", "/sandbox/messages")[::-1]

    def calls(self, path=SEND):
        return [call for call in self.sandbox("GET", "/sandbox/calls") if call["path"] == path]

    def fault(self, path=SEND, **values):
        self.sandbox("POST", "/sandbox/faults", {"path": path, **values})

    def assertFailed(self, mails, words):
        for mail in mails:
            self.assertEqual(mail.state, "exception")
            self.assertIn(words, mail.failure_reason)
            self.assertNotIn(API_KEY, mail.failure_reason)
            emails = self.find_emails(mail.message_id)
            self.assertEqual(set(emails.mapped("status")), {"failed"})
            self.assertFalse(any(emails.mapped("sent_date")))
            for email in emails:
                self.assertIn(words, email.status_reason)

    def assertWaiting(self, mails):
        """Assert that mails go again by themselves, and have no documents yet."""
        self.assertEqual(set(mails.mapped("state")), {"outgoing"})
        self.assertFalse(any(mails.mapped("failure_type")))
        self.assertIn("cannot be reached", mails[0].failure_reason, "the others were not tried")
        self.assertFalse(self.Email.search([("message_id", "in", mails.mapped("message_id"))]))


@tagged("post_install", "-at_install")
class TestApiSending(ApiSendingCase):
    # ------------------------------------------------------------
    # SENT
    # ------------------------------------------------------------

    def test_document(self):
        """Test that a mail has its document, with SendGrid's id, and that its events find it."""
        mail, email = self.send(model="res.partner", res_id=self.contact.id)
        [message] = self.messages()
        self.assertEqual((mail.state, mail.failure_reason), ("sent", False))
        self.assertEmail(
            email,
            recipient="ada@example.org",
            partner_id=self.contact,
            sg_message_id=message["id"],
            message_id=message["message_id"],
            status="sent",
        )
        self.assertEqual(
            message["smtpapi"]["unique_args"], {"odoo_db": self.Email._get_odoo_db(), "odoo_id": email.odoo_id}
        )
        self.assertNotIn("x-smtpapi", [name.lower() for name, _value in message["headers"]])
        self.receive(*message["recipients"][0]["events"])
        self.assertEmail(email, status="delivered")
        self.assertEvents(email, [("processed", "odoo_id"), ("delivered", "odoo_id")])

    def test_matched_by_the_id_of_the_answer(self):
        """Test that an event without our arguments and without a Message-ID finds its e-mail."""
        _mail, email = self.send()
        [message] = self.messages()
        event = {"sg_message_id": message["recipients"][0]["sg_message_id"], "email": "ada@example.org"}
        batch = self.receive({"event": "open", "timestamp": self.after(email, 3600), "sg_event_id": "x", **event})
        self.assertEqual(self.event_of(batch).match, "sg_message_id")
        self.assertEqual(batch.event_ids.email_id, email)

    def test_recipients(self):
        """Test that To, Cc and each contact get the same as by SMTP, and that the same documents are made."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        mail, emails = self.send(
            email_to='Eve <eve@example.org>, "Ä, X" <x@example.net>',
            email_cc="cc@example.org",
            recipient_ids=bob.ids,
        )
        self.assertEqual(mail.state, "sent")
        self.assertEqual(
            [[recipient["address"] for recipient in message["recipients"]] for message in self.messages()],
            [["eve@example.org", "x@example.net", "cc@example.org"], ["bob@example.org"]],
        )
        self.assertEqual(
            {email.recipient for email in emails},
            {"eve@example.org", "x@example.net", "cc@example.org", "bob@example.org"},
        )
        self.assertEqual(set(emails.mapped("sg_message_id")), {message["id"] for message in self.messages()})

    def test_by_the_sender(self):
        """Test that a mail that names no server gets the one of its sender, as always."""
        self.server.from_filter = "example.com"
        _mail, email = self.send(mail_server_id=False)
        self.assertEqual(email.account_id, self.account)
        with self.leaving():
            message = self.env["ir.mail_server"]._build_email__(
                "salesperson@example.com", ["ada@example.org"], "No mail.mail", "Text"
            )
            self.env["ir.mail_server"].send_email(message)
        self.assertEqual([message["subject"] for message in self.messages()], ["Your quotation", "No mail.mail"])

    def test_secret_links(self):
        """Test that secret links are not tracked, and others are if the account tracks clicks."""
        for enabled in (True, False):
            self.sandbox("POST", "/sandbox/reset")
            host, key = self.get_host(), self.account.api_key
            client.Client(key, host).call("patch", ("tracking_settings", "click"), body={"enabled": enabled})
            self.send(body_html=LINKS)
            self.send(body_html=LINKS.replace(SECRET, PLAIN))
            secret, plain = self.messages()
            self.assertEqual([link["url"] for link in secret["links"]], [PLAIN] * enabled)
            self.assertEqual([link["url"] for link in plain["links"]], [PLAIN, PLAIN] * enabled)

    def test_secret_links_where_the_key_may_not_read(self):
        """Test that a mail with a secret link has no tracked link if the API key may not read the settings."""
        self.sandbox("PUT", "/sandbox/keys/SG.sender", ["mail.send"])
        self.account.api_key = "SG.sender"
        mail, _email = self.send(body_html=LINKS)
        self.assertEqual(mail.state, "sent")
        self.assertEqual(self.messages()[0]["links"], [])

    # ------------------------------------------------------------
    # FAILED
    # ------------------------------------------------------------

    @refused
    def test_bad_key(self):
        """Test that every mail fails with the reason, after one call, if SendGrid does not know the API key."""
        self.account.api_key = "SG.unknown"
        mails = self.create_mail() | self.create_mail(email_to="eve@example.org")
        with self.leaving():
            mails.send()
        self.assertFailed(mails, "SendGrid does not know this API key")
        self.assertEqual(len(self.calls()), 1)

    @refused
    def test_no_key(self):
        """Test that every mail fails with the reason if there is no API key."""
        self.account.api_key = False
        mails = self.create_mail() | self.create_mail()
        with patch.object(IrMail_Server, "_disable_send", lambda server: False):
            mails.send()
        self.assertFailed(mails, "has no API key")

    @refused
    def test_a_refusal_is_of_one_mail(self):
        """Test that a mail that SendGrid refuses fails with SendGrid's words, and the next mail leaves."""
        self.fault(status=403, message="The from address does not match a verified Sender Identity.")
        self.fault(status=500)
        mails = self.create_mail() | self.create_mail() | self.create_mail()
        with self.leaving():
            mails.send()
        self.assertFailed(mails[0], "does not match a verified Sender Identity")
        self.assertFailed(mails[1], "SendGrid has a problem of its own")
        self.assertEqual(mails[2].state, "sent")
        self.assertEqual(len(self.calls()), 3, "what may have been taken is not sent again")

    @refused
    def test_one_too_large(self):
        """Test that a mail that is too large fails before it is sent, and its neighbours leave in their order."""
        self.server.max_email_size = 100
        attachment = self.env["ir.attachment"].create({"name": "film.bin", "raw": bytes(23 * 1024 * 1024)})
        mails = self.env["mail.mail"]
        for number in range(5):
            mails |= self.create_mail(subject=f"Number {number}")
        mails[2].attachment_ids = attachment
        mails[3].headers = repr({"X-SMTPAPI": '{"category": ["%s"]}' % ("x" * 256)})
        with self.leaving():
            mails.send()
        self.assertFailed(mails[2], "too large")
        self.assertFailed(mails[3], "more than 255 characters")
        self.assertEqual([message["subject"] for message in self.messages()], ["Number 0", "Number 1", "Number 4"])
        self.assertEqual(len(self.calls()), 3)

    def test_a_limit_is_waited_for(self):
        self.fault(status=429, reset=5)
        mail = self.create_mail()
        with self.leaving() as pauses:
            mail.send()
        self.assertEqual((mail.state, len(pauses), len(self.messages())), ("sent", 1, 1))

    @refused
    def test_a_limit_that_lasts(self):
        """Test that mails stay in the queue if the rate limit lasts, with the reason, and go later, once."""
        self.fault(status=429, reset=900)
        mails = self.create_mail() | self.create_mail()
        with self.leaving() as pauses:
            mails.send()
        self.assertEqual((mails.mapped("state"), pauses, len(self.calls())), (["outgoing"] * 2, [], 1))
        self.assertIn("SendGrid got too many calls", mails[0].failure_reason)
        self.assertFalse(self.Email.search([("mail_id", "in", mails.ids)]))
        with self.leaving():
            self.env["mail.mail"].process_email_queue(mails.ids)
        self.assertEqual((mails.mapped("state"), len(self.messages())), (["sent"] * 2, 2))
        self.assertEqual(self.Email.search([("mail_id", "in", mails.ids)]).mapped("sent_count"), [1, 1])

    @refused
    def test_no_answer(self):
        """Test that a mail without an answer is not sent twice; if a person sends it again, it is the same."""
        self.fault(action="cut", after=True)
        mails = self.create_mail() | self.create_mail()
        with self.leaving():
            mails.send()
        self.assertFailed(mails[0], "It may have taken the message")
        self.assertEqual(mails[1].state, "sent")
        [taken, _other] = self.messages()
        email = self.find_emails(mails[0].message_id)
        self.assertEqual(email.odoo_id, taken["smtpapi"]["unique_args"]["odoo_id"])
        self.receive(*taken["recipients"][0]["events"])
        self.assertEmail(email, status="delivered", status_reason=False, sent_count=1)
        self.assertEqual(email.sent_date, email.date, "the events tell that it did leave")
        mails[0].state = "outgoing"
        with self.leaving():
            mails[0].send()
        self.env.invalidate_all()
        self.assertEqual(self.find_emails(mails[0].message_id), email)
        self.assertEmail(email, status="delivered", sent_count=2)

    @refused
    def test_no_answer_again_and_again(self):
        """Test that a batch does not wait for each of its mails; mails that were not tried do not count as sent."""
        self.fault(action="cut", times=9)
        mails = self.env["mail.mail"].union(*(self.create_mail() for _number in range(5)))
        with self.leaving():
            mails.send()
        self.assertFailed(mails[:3], "It may have taken the message")
        self.assertWaiting(mails[3:])
        self.assertEqual(len(self.calls()), 3)

    @refused
    def test_nobody_there(self):
        """Test that mails stay in the queue if SendGrid cannot be reached, and go later, once."""
        mails = self.create_mail() | self.create_mail() | self.create_mail()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # the socket does not listen
            address = f"http://127.0.0.1:{taken.getsockname()[1]}"
            self.env["ir.config_parameter"].set_param("sendgrid_tracking.api_host", address)
            with self.leaving() as pauses:
                mails.send()
        self.assertWaiting(mails)
        self.assertEqual(len(pauses), client.TRIES - 1)
        self.env["ir.config_parameter"].set_param("sendgrid_tracking.api_host", self.sandbox_url)
        with self.leaving():
            self.env["mail.mail"].process_email_queue(mails.ids)
        self.assertEqual(mails.mapped("state"), ["sent"] * 3)
        self.assertEqual(len(self.messages()), 3)
        self.assertEqual(self.Email.search([("mail_id", "in", mails.ids)]).mapped("sent_count"), [1] * 3)

    @refused
    def test_raised(self):
        """Test that a caller who wants exceptions gets the reason as Odoo's exception."""
        self.fault(status=400, message="Bad Request")
        with self.leaving(), self.assertRaises(MailDeliveryException) as caught:
            self.create_mail().send(raise_exception=True)
        self.assertIn("SendGrid refused this. It said: “\u2068Bad Request\u2069”", caught.exception.args[1])

    @refused
    def test_found(self):
        """Test that a search and a rule find SendGrid's words within the sentence that is stored."""
        self.fault(status=400, message="Bad Request")
        mail = self.create_mail()
        with self.leaving():
            mail.send()
        email = self.Email.search([("mail_id", "=", mail.id)])
        self.assertIn("“\u2068Bad Request\u2069”", email.status_reason)
        domain = [("status_reason", "ilike", "bad request")]
        self.assertIn(email, self.Email.search(domain))
        self.assertEqual(email.filtered_domain(domain), email)

    def test_words(self):
        """Test the words for a person where SendGrid's status alone would mislead."""
        from_error = {"message": "The from address does not match a verified Sender Identity.", "field": "from"}
        for error, words in (
            (client.ApiError("scope", 403, [from_error]), "SendGrid does not know this sender"),
            (client.ApiError("scope", 403), "The API key may not do this"),
            (client.ApiError("key", 401, [{"message": "Maximum credits exceeded", "field": None}]), "are used up"),
            (client.ApiError("size", 413), "This is too large"),
        ):
            self.assertIn(words, self.server._explain_sendgrid_api_failure(error))
        self.assertIsNone(self.server._explain_sendgrid_api_failure(OSError("SMTP")))

    # ------------------------------------------------------------
    # THE MAIL SERVER
    # ------------------------------------------------------------

    def test_core_need_not_look_again(self):
        """Test that a mail for which no server is named costs one search for a server, as without the addon."""
        self.env["ir.mail_server"].search([]).active = False
        looked, find = [], IrMail_Server._find_mail_server

        def find_and_count(servers, *args):
            looked.append(args)
            return find(servers, *args)

        with (
            patch.object(IrMail_Server, "_disable_send", lambda server: False),
            patch.object(IrMail_Server, "_find_mail_server", find_and_count),
            patch("smtplib.SMTP"),
        ):
            self.env["ir.mail_server"]._connect__(smtp_from="sales@example.com")
        self.assertEqual(len(looked), 1)

    def test_connection(self):
        """Test the button of the mail server's form."""
        with self.leaving():
            self.assertEqual(self.server.test_smtp_connection()["params"]["type"], "success")
            self.server.action_retrieve_max_email_size()
            self.assertEqual(self.server.max_email_size, 29)
            self.sandbox("PUT", "/sandbox/keys/SG.reader", ["suppression.read"])
            for key, words in (("SG.reader", "permission Mail Send"), ("SG.unknown", "does not know this API key")):
                self.account.api_key = key
                with self.assertRaisesRegex(UserError, words):
                    self.server.test_smtp_connection()
        self.account.api_key = False
        with self.assertRaisesRegex(UserError, "no API key"):
            self.server.test_smtp_connection()
        self.assertEqual(self.messages(), [], "nothing was sent")

    def test_form(self):
        """Test that the form asks for the account and for nothing of SMTP."""
        form = Form(self.env["ir.mail_server"])
        form.name = "Web API"
        form.smtp_authentication = "sendgrid_api"
        self.assertEqual(form.sendgrid_account_id, self.account)
        self.assertIn("HTTPS", form.smtp_authentication_info)
        server = form.save()
        self.assertFalse(server.smtp_host)
        self.assertTrue((server | self.other_server).mapped("smtp_authentication_info"))
        with self.assertRaises(ValidationError):
            server.sendgrid_account_id = False
        # Back at SMTP, the account is no longer required.
        server.write({"smtp_authentication": "login", "sendgrid_account_id": False})


class BothWaysCase(ApiSendingCase):
    """Beside the server that sends by the Web API there is one that sends by SMTP."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        host, port = cls.sandbox_smtp.split(":")
        cls.smtp_server = cls.env["ir.mail_server"].create(
            {
                "name": "SMTP",
                "smtp_host": host,
                "smtp_port": port,
                "smtp_user": "apikey",
                "smtp_pass": API_KEY,
                "smtp_encryption": "none",
                "sendgrid_account_id": cls.account.id,
            }
        )

    def read_copy(self, message, recipient, email):
        """Return a recipient's copy without the parts that differ in each message: headers, and parts as a tree."""
        raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/{recipient}/raw")
        parsed = message_from_string(raw, policy=policy.default)
        own = {email.message_id: "<own>", message["id"]: "own"}

        def plain(text):
            for word, name in own.items():
                text = text.replace(word, name)
            return text

        def tree(part):
            parameters = {name.lower(): value for name, value in part["Content-Type"].params.items()}
            for name in ("boundary", "name"):
                parameters.pop(name, None)
            about = (part.get_content_type(), parameters, part.get_content_disposition(), part.get_filename())
            about += (part["Content-ID"],)
            if part.is_multipart() and part.get_content_maintype() == "multipart":
                return about, [tree(inner) for inner in part.iter_parts()]
            if part.get_content_maintype() == "text" and not part.get_filename():
                return about, plain(part.get_content()).replace("\r\n", "\n")
            if not part.is_multipart():
                return about, part.get_content()
            content = part.get_payload(0).as_bytes().replace(b"\r\n", b"\n")
            # RFC 2046 allows no encoding of a message in a message, but SendGrid encodes every attachment.
            is_encoded = part["Content-Transfer-Encoding"] == "base64"
            return about, base64.b64decode(content).replace(b"\r\n", b"\n") if is_encoded else content

        headers = {
            name.lower(): plain(re.sub(r"\s+", " ", str(value)))
            for name, value in parsed.items()
            if value and name.lower() not in ("content-type", "content-transfer-encoding", "x-smtpapi", "date")
        }
        for name in headers.keys() & {"from", "to", "cc", "reply-to"}:
            # A name may be quoted or not.
            headers[name] = [(one.display_name, one.addr_spec) for one in parsed[name].addresses]
        self.assertTrue(parsed["Date"])
        return headers, tree(parsed)


@tagged("post_install", "-at_install")
class TestBothWays(BothWaysCase):
    """One mail by SMTP and by the Web API arrives the same, and is tracked the same."""

    def send_everything(self, server):
        """Send a mail with everything in it.

        :return: its documents, and the message as SendGrid has it
        """
        known = {message["id"] for message in self.messages()}
        build_email = IrMail_Server._build_email__

        def build_with_image(self, *args, **kwargs):
            # Some addons put the images of a body into the mail like this.
            message = build_email(self, *args, **kwargs)
            html = message.get_body(("html",))
            html.add_related(PNG, "image", "png", cid="<logo@example.com>", filename="logö.png", disposition="inline")
            return message

        files = [
            ("Angebot „Käse“.pdf", b"%PDF-1.4\n\x00\xff"),
            ("notes.txt", "é\r\nline\n".encode()),
            ("e.eml", b"a: b\n\nc"),
        ]
        with patch.object(IrMail_Server, "_build_email__", build_with_image):
            _mail, emails = self.send(
                subject="Größe & Preis: 価格表 🧀 " * 5,
                body_html=f'<div><h1>Käse 🧀</h1><img src="cid:logo@example.com"/>{LINKS}<pre>a\n  b\n</pre></div>',
                email_to='"Ädä, the \\"first\\"" <ada@example.org>, Bob <BOB@example.org>',
                email_cc="Çem <cc@example.org>",
                reply_to='"Sally & Co." <sally+reply@example.com>',
                email_from='"Sally Ö." <salesperson@example.com>',
                references="<a@example.com> <b@example.com>",
                headers=repr(
                    {
                        "X-Custom": "Zoë says hello",
                        "List-Unsubscribe": f"<https://example.com/unsubscribe/{'x' * 120}>",
                        "X-SMTPAPI": '{"category": ["sale", "käse"]}',
                    }
                ),
                attachment_ids=[(0, 0, {"name": name, "raw": raw}) for name, raw in files],
                mail_server_id=server.id,
            )
        [message] = [message for message in self.messages() if message["id"] not in known]
        return emails, message

    def test_equal(self):
        """Test a mail with everything in it, header by header and part by part, and the result of its events."""
        by_smtp, smtp_message = self.send_everything(self.smtp_server)
        by_api, api_message = self.send_everything(self.server)
        self.assertEqual(len(self.calls()), 1)
        self.assertEqual(len(by_api), 3)
        for name in ("from", "subject", "smtpapi", "links", "attachments"):
            one, other = smtp_message[name], api_message[name]
            if name == "smtpapi":
                self.assertNotEqual(one["unique_args"].pop("odoo_id"), other["unique_args"].pop("odoo_id"))
            self.assertEqual(one, other, name)
        self.assertEqual([link["url"] for link in api_message["links"]], [PLAIN], "not the secret one")
        self.assertEqual(len(api_message["attachments"]), 4)
        for recipient in by_api.mapped("recipient"):
            smtp_copy = self.read_copy(smtp_message, recipient, by_smtp[0])
            api_copy = self.read_copy(api_message, recipient, by_api[0])
            self.assertEqual(smtp_copy[0], api_copy[0])
            self.assertEqual(smtp_copy[1], api_copy[1])

        fields = ("recipient", "status", "is_alone", "subject", "partner_id", "author_id", "model", "res_id", "content")
        fields += ("open_count", "click_count", "machine_open_count", "machine_click_count")
        for emails, message in ((by_smtp, smtp_message), (by_api, api_message)):
            self.live(emails, message)
        self.assertEqual(*([[email[name] for name in fields] for email in emails] for emails in (by_smtp, by_api)))
        self.assertEqual(*([email.event_ids.mapped("event") for email in emails] for emails in (by_smtp, by_api)))
        self.assertEqual(by_api.mapped("status"), ["clicked", "bounced", "opened"])

    # ------------------------------------------------------------
    # MAILS THAT ODOO BUILDS
    # ------------------------------------------------------------

    def build_mails(self, send):
        """Let Odoo write the mails that a function sends, and return them before they leave."""
        last = self.env["mail.mail"].search([], order="id desc", limit=1).id or 0
        self.env["ir.config_parameter"].sudo().set_param("mail.mail_force_send_limit", 0)
        send()
        mails = self.env["mail.mail"].search([("id", ">", last)], order="id")
        self.assertTrue(mails)
        mails.auto_delete = False
        return mails

    def send_by(self, server, mails):
        """Send mails through a server.

        :return: for each copy that left: its message as SendGrid has it, headers and parts as each recipient got them
        """
        known = {message["id"] for message in self.messages()}
        mails.write({"mail_server_id": server.id, "state": "outgoing"})
        with self.leaving():
            mails.send()
        self.assertEqual(set(mails.mapped("state")), {"sent"}, mails.mapped("failure_reason"))
        return [
            (
                message,
                [(to["address"], *self.read_copy(message, to["address"], mails[0])) for to in message["recipients"]],
            )
            for message in self.messages()
            if message["id"] not in known
        ]

    def assertBothWays(self, send, shown=()):
        """Assert that the mails that a function sends arrive the same by SMTP and by the Web API.

        :param shown: the addresses that Odoo shows in the To of each copy, though the copy goes to one of them only.
            The Web API sends to whom it shows (see `tools.sending.v3_mail.build`), so that there each recipient sees
            himself. This is the only difference.
        :return: the headers and the parts of each recipient's copy by the Web API: {address: (headers, tree)}
        """
        mails = self.build_mails(send)
        by_smtp, by_api = self.send_by(self.smtp_server, mails), self.send_by(self.server, mails)
        self.assertEqual(len(by_smtp), len(by_api))
        copies = {}
        for (smtp_message, smtp_copies), (api_message, api_copies) in zip(by_smtp, by_api, strict=True):
            for name in ("subject", "smtpapi", "links", "attachments"):
                self.assertEqual(smtp_message[name], api_message[name], name)
            self.assertEqual(len(smtp_copies), len(api_copies))
            for (smtp_to, smtp_headers, smtp_tree), (api_to, api_headers, api_tree) in zip(
                smtp_copies, api_copies, strict=True
            ):
                self.assertEqual(smtp_to, api_to)
                if shown:
                    self.assertEqual({address for _name, address in smtp_headers["to"]}, {smtp_to, *shown})
                    smtp_headers["to"] = [one for one in smtp_headers["to"] if one[1] == smtp_to]
                self.assertEqual(smtp_headers, api_headers)
                self.assertEqual(smtp_tree, api_tree)
                copies.setdefault(api_to, []).append((api_headers, api_tree))
        return copies

    def create_contacts(self, *names):
        return self.env["res.partner"].create([{"name": name, "email": f"{name}@example.org"} for name in names])

    def create_attachments(self, *files):
        return self.env["ir.attachment"].create(
            [{"name": name, "raw": raw, "mimetype": mimetype} for name, raw, mimetype in files]
        )

    def test_chatter(self):
        """Test a chatter message to several external recipients, a colleague and a follower, with a bounce address."""
        domain = self.env["mail.alias.domain"].search([], limit=1)
        domain = domain or self.env["mail.alias.domain"].create({"name": "example.com"})
        self.env.company.alias_domain_id = domain
        lead = self.env["crm.lead"].create({"name": "Lead", "user_id": self.salesperson.id})
        lead.message_subscribe(self.create_contacts("follower").ids)
        contacts = self.create_contacts("ben", "cleo") | self.contact
        files = self.create_attachments(
            ("Angebot „Käse“.pdf", b"%PDF-1.4\n\x00\xff", "application/pdf"),
            ("invite.ics", b"BEGIN:VCALENDAR", "text/calendar; method=REQUEST; charset=utf-8"),
            ("notes.txt", "é\r\nline\n".encode(), "text/plain"),
        )

        def send():
            lead.message_post(
                body=Markup(LINKS),
                subject="Größe 🧀",
                partner_ids=(contacts | self.salesperson.partner_id).ids,
                subtype_xmlid="mail.mt_comment",
                attachment_ids=files.ids,
                author_id=self.env.ref("base.partner_admin").id,
                email_from='"Sally Ö." <sally@example.com>',
            )

        shown = {"ada@example.org", "ben@example.org", "cleo@example.org", "follower@example.org"}
        copies = self.assertBothWays(send, shown)
        self.assertLessEqual(shown, copies.keys())
        self.assertIn("salesperson@example.com", copies)
        self.assertTrue(domain.bounce_email)
        for call in self.calls():
            self.assertFalse({name for name in call["body"]["headers"] if name.lower() == "return-path"})
        for [(_headers, tree)] in copies.values():
            self.assertIn("'method': 'request'", str(tree), "core writes it in small letters")

    def test_template(self):
        """Test a mail from a template, with Cc, a reply address of its own and a layout."""
        template = self.env["mail.template"].create(
            {
                "name": "Template",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "use_default_to": False,
                "subject": "Dear {{ object.name }}",
                "body_html": f'<p>Dear <t t-out="object.name"/></p>{LINKS}',
                "email_to": '"Ädä, X" <{{ object.email }}>, bob@example.org',
                "email_cc": "Çem <cc@example.org>",
                "email_from": '"Sally" <sally@example.com>',
                "reply_to": '"Sally & Co." <sally+reply@example.com>',
            }
        )

        def send():
            template.send_mail(self.contact.id, email_layout_xmlid="mail.mail_notification_light")

        copies = self.assertBothWays(send)
        self.assertEqual(copies.keys(), {"ada@example.org", "bob@example.org", "cc@example.org"})

    def test_invitation(self):
        """Test the invitation to a meeting, which has a file for calendars."""
        guests = self.contact | self.create_contacts("ben")

        def send():
            self.env["calendar.event"].with_user(self.salesperson).with_context(tracking_disable=False).create(
                {
                    "name": "Meeting",
                    "start": "2100-01-01 10:00:00",
                    "stop": "2100-01-01 11:00:00",
                    "partner_ids": [(6, 0, (guests | self.salesperson.partner_id).ids)],
                }
            )

        copies = self.assertBothWays(send)
        self.assertLessEqual(set(guests.mapped("email")), copies.keys())
        for address in guests.mapped("email"):
            [(_headers, tree)] = copies[address]
            self.assertIn("text/calendar", str(tree))

    def test_meeting(self):
        """Test the documents of an invitation, of a change and of a cancellation, after which the meeting is gone."""
        guests = self.contact | self.create_contacts("ben")
        meetings = []

        def invite():
            events = self.env["calendar.event"].with_user(self.salesperson).with_context(tracking_disable=False)
            meetings.append(
                events.create(
                    {
                        "name": "Käse; Wein",
                        "start": "2100-01-01 10:00:00",
                        "stop": "2100-01-01 11:00:00",
                        "partner_ids": [(6, 0, (guests | self.salesperson.partner_id).ids)],
                    }
                )
            )

        def change():
            meetings[-1].start = "2100-01-01 09:00:00"

        def cancel():
            wizard = self.env["calendar.popover.delete.wizard"].with_user(self.salesperson)
            wizard.create({"calendar_event_id": meetings[-1].id}).action_send_mail_and_delete()

        for server, other in ((self.smtp_server, self.server), (self.server, self.smtp_server)):
            server.active, other.active = True, False
            for name, step in {
                "Invitation to Käse; Wein": invite,
                "Käse; Wein: Date updated": change,
                "Cancelled": cancel,
            }.items():
                with self.subTest(name, server=server.name):
                    self.sandbox("POST", "/sandbox/reset")
                    last = self.Email.search([], order="id desc", limit=1).id or 0
                    with self.leaving():
                        step()
                        self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
                    self.env.invalidate_all()
                    emails = self.Email.search([("id", ">", last)], order="recipient")
                    self.assertEqual(emails.mapped("recipient"), guests.sorted("email").mapped("email"))
                    self.assertEqual(emails.partner_id, guests)
                    self.assertEqual(
                        {(email.status, email.measured, email.model) for email in emails},
                        {("sent", "full", "calendar.event")},
                    )
                    self.assertTrue(all("Wein" in email.content for email in emails))
                    names = {
                        m["recipients"][0]["address"]: m["smtpapi"]["unique_args"].get("odoo_id")
                        for m in self.messages()
                    }
                    self.assertLessEqual({email.recipient: email.odoo_id for email in emails}.items(), names.items())
                    if step != cancel:
                        self.assertIn(name, emails[0].subject)
                        files = [file["filename"] for message in self.messages() for file in message["attachments"]]
                        self.assertEqual(set(files), {"invitation.ics"})
            self.assertFalse(meetings[-1].exists())

    def test_quoted(self):
        """Test that a forward of what SendGrid has tracked carries neither its pixel along nor a link tracked twice."""
        lead = self.env["crm.lead"].create({"name": "Lead", "partner_id": self.contact.id})
        ben = self.create_contacts("ben")
        for setting in ("open", "click"):
            api = client.Client(self.account.api_key, self.get_host())
            api.call("patch", ("tracking_settings", setting), body={"enabled": True})
        for number, server in enumerate((self.smtp_server, self.server)):
            self.sandbox("DELETE", "/sandbox/messages")
            self.send(body_html=LINKS, mail_server_id=server.id)
            seen = self.read_html(self.messages()[0])
            [link], [pixel] = (re.findall(rf'"(http[^"]*/{path}[^"]*)"', seen) for path in ("ls/click", "wf/open"))
            answer = EmailMessage()
            answer["From"], answer["To"], answer["Subject"] = "ada@example.org", "sales@example.com", "Re: Offer"
            answer["Message-Id"] = f"<answer-{number}@example.org>"
            answer.set_content("Yes.")
            answer.add_alternative(f"<p>Yes.</p><blockquote>{seen}</blockquote>", subtype="html")
            self.env["mail.thread"].message_process("crm.lead", answer.as_bytes(), thread_id=lead.id)
            composer = self.env["mail.compose.message"].create(
                {
                    "model": "crm.lead",
                    "res_ids": str(lead.ids),
                    "body": Markup("<p>FYI <a href='%s'>new</a></p>%s%s")
                    % (PLAIN, lead.message_ids[0].body, Markup(seen)),
                    "composition_mode": "comment",
                    "composition_comment_option": "forward",
                    "partner_ids": ben.ids,
                    "mail_server_id": server.id,
                    "email_from": "sally@example.com",
                }
            )
            self.sandbox("DELETE", "/sandbox/messages")
            with self.leaving():
                composer._action_send_mail()
                self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
            [message] = [one for one in self.messages() if one["recipients"][0]["address"] == ben.email]
            html = self.read_html(message)
            self.assertIn(PLAIN, [tracked["url"] for tracked in message["links"]])
            self.assertFalse([tracked for tracked in message["links"] if "/ls/click" in tracked["url"]])
            self.assertEqual(html.count(link), 2, "the quoted ones lead where they led")
            self.assertNotIn(pixel, html)
            self.assertEqual(html.count("/wf/open"), 1, "its own")

    def read_html(self, message):
        """Return the HTML that the first recipient of a message got."""
        raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
        return message_from_string(raw, policy=policy.default).get_body(("html",)).get_content()

    def test_many_at_once(self):
        """Test mails to many, each by itself, as the composer writes them for a list of contacts."""
        contacts = self.create_contacts("ben", "cleo", "dora")

        def send():
            composer = self.env["mail.compose.message"].create(
                {
                    "composition_mode": "mass_mail",
                    "model": "res.partner",
                    "res_ids": str(contacts.ids),
                    "subject": "News",
                    "body": f"<p>Dear {{{{ object.name }}}}</p>{LINKS}",
                    "email_from": '"Sally" <sally@example.com>',
                    "reply_to": "news@example.com",
                    "reply_to_force_new": True,
                }
            )
            composer._action_send_mail()

        copies = self.assertBothWays(send)
        self.assertEqual(copies.keys(), set(contacts.mapped("email")))

    def test_forwarded(self):
        """Test a message that is forwarded, with the original as a file and its images."""
        original = EmailMessage()
        original["Subject"], original["From"], original["To"] = "Ünside", "eve@example.net", "sally@example.com"
        original.set_content("Text")
        original.add_attachment(PNG, "image", "png", filename="é.png")
        files = self.create_attachments(
            ("original.eml", original.as_bytes(policy=policy.SMTP), "message/rfc822"),
            ("logö.png", PNG, "image/png"),
        )

        def send():
            self.env["mail.mail"].create(
                {
                    "subject": "Fwd: Ünside",
                    "body_html": f'<p>See below</p><blockquote type="cite">{LINKS}</blockquote>',
                    "email_from": '"Sally" <sally@example.com>',
                    "email_to": "Ben <ben@example.org>",
                    "references": "<a@example.com> <b@example.com>",
                    "attachment_ids": [(6, 0, files.ids)],
                }
            )

        copies = self.assertBothWays(send)
        [(headers, tree)] = copies["ben@example.org"]
        self.assertEqual(headers["references"], "<a@example.com> <b@example.com>")
        self.assertIn("original.eml", str(tree))

    def test_two_mails_to_one_address(self):
        """Test that contacts who share an address have a document each, with its own events, by the Web API as well."""
        self.env["ir.config_parameter"].sudo().set_param("mail.batch_size", 1)
        twins = self.env["res.partner"].create([{"name": name, "email": "info@example.org"} for name in "AB"])

        def send():
            self.contact.message_post(
                body="Hello",
                partner_ids=twins.ids,
                subtype_xmlid="mail.mt_comment",
                author_id=self.salesperson.partner_id.id,
                email_from="sally@example.com",
            )

        mails = self.build_mails(send)
        self.assertEqual([mail.recipient_ids for mail in mails], list(twins))
        for server in (self.server, self.smtp_server):
            [(first, _copies), (second, _copies)] = self.send_by(server, mails)
            emails = self.find_emails(mails[0].message_id)
            self.assertEqual(len(emails), 2)
            for twin, message in zip(twins, (first, second), strict=True):
                [email] = emails.filtered(lambda email, twin=twin: email.partner_id == twin)
                self.assertEqual(message["smtpapi"]["unique_args"]["odoo_id"], email.odoo_id)
        self.receive(*first["recipients"][0]["events"])
        statuses = {email.partner_id: email.status for email in emails}
        self.assertEqual([statuses[twin] for twin in twins], ["delivered", "sent"])

    def live(self, emails, message):
        """Make the recipients act, and bring the events to Odoo."""
        later = {"timestamp": self.after(emails[0], 7200), "useragent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
        for recipient, event in (
            ("ada@example.org", {"event": "open"}),
            ("ada@example.org", {"event": "click", "link": 0}),
            ("bob@example.org", {"event": "bounce"}),
            ("cc@example.org", {"event": "open"}),
        ):
            self.sandbox("POST", f"/sandbox/messages/{message['id']}/{recipient}/events", {**later, **event})
        message = self.sandbox("GET", f"/sandbox/messages/{message['id']}")
        self.receive(*(event for recipient in message["recipients"] for event in recipient["events"]))
