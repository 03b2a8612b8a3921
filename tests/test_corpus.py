"""What Odoo itself builds arrives the same by SMTP and by the Web API, part by part.

The mails are built as users do it, by the applications' own methods. Each leaves once by each way.
"""

import base64
import re
import urllib.request
from datetime import timedelta
from email import message_from_bytes, policy
from unittest.mock import patch

from markupsafe import Markup

from odoo import Command, fields
from odoo.tests import HttpCase, tagged
from odoo.tools.misc import hmac

from odoo.addons.mail.models.mail_mail import MailMail

from .test_api_sending import PNG, BothWaysCase
from .test_recipients import NAMES

# Where the ways differ, and why. Everything else is compared.
EXCEPTIONS = {
    "other recipients in To and Cc": "The Web API sends to everybody whom it shows. Odoo shows the others of a chatter "
    "message, who have copies of their own: they are left out, so that nobody gets the mail twice.",
    "Cc without To": "The Web API demands a To, so the Cc are shown there.",
    "Date": "The mail is sent twice, at two times.",
    "odoo_id": "It is the name of a copy, and there are two.",
    "empty subject": "The Web API refuses an empty subject, so it is a blank.",
    "empty headers": "They say nothing, and are left out of a call.",
    "an odd Reply-To": "The Web API refuses a mail with a reply address that is none, so that address is left out.",
    "an address twice": "The Web API refuses it, so it is shown once.",
    "blanks of a long subject": "Python, which writes the mail for SMTP, may lose one between two encoded words.",
    "From at the beginning of a line": "Python writes >From for SMTP.",
    "transfer encoding": "SendGrid encodes the parts of a mail of the Web API as it likes.",
}
FILES = (
    ("Información.csv", b"a;b\n1;2\n"),
    ("test… .pdf", b"%PDF-1.4 \x00\xff"),
    ("Report 0:00:00.xlsx", b"PK\x03\x04"),
    ("Økonomi.xlsx", b"PK\x03\x04\x00"),
    ("quote\"d'.txt", b"text"),
    ("path/to\\file.txt", b"text"),
    ("../up.txt", b"text"),
    ("very long " + "n" * 200 + ".txt", b"text"),
    ("sehr lang " + "ü" * 110 + ".txt", b"text"),
    ("価格表 🧀.pdf", b"%PDF-1.4"),
    ("ملف.docx", b"PK"),
    ("semi;colon, comma=x.txt", b"text"),
    ("percent%20*'utf-8''.txt", b"text"),
    ("blanks  in it .txt", b"text"),
    ("no extension", b"\x00\x01"),
    ("of two\nlines.txt", b"text"),
    ("of three\r\n\r\nX-Evil: lines.txt\n", b"text"),
    ("tab\tand bell\x07.xlsx", b"PK\x03\x04"),
    ("\x0b\x7f.txt", b"text"),
    ("archive.tar.gz", b"\x1f\x8b"),
    ("page.html", b"<p>file</p>"),
    ("plain.txt", "Zoë\r\nline\n\n".encode("latin-1")),
    ("data.json", b"{}"),
    ("forwarded.eml", b"From: a@example.com\nSubject: Inside\nTo: b@example.com\n\nHello\n"),
)
EML = (
    b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\nFrom: =?utf-8?q?Zo=C3=AB?= <a@example.com>\r\n"
    b"Subject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="B"\r\n\r\n--B\r\nContent-Type: text/plain; charset=iso-8859-1\r\n'
    b"Content-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe\r\n--B\r\nContent-Type: application/pdf\r\n"
    b'Content-Disposition: attachment; filename="in.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERg==\r\n'
    b"--B--\r\n"
)
ICS = b"BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"


class CorpusCase(BothWaysCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.user.email = "admin@example.com"
        cls.env.company.write({"email": "company@example.com", "name": "Käse & Söhne, Inc."})
        for code in ("fr_FR", "ar_001", "ja_JP"):
            cls.env["res.lang"]._activate_lang(code)
        cls.people = cls.env["res.partner"].create(
            [
                {"name": "Doe, Jane; PhD", "email": "jane@example.org"},
                {"name": "Zoë 🧀", "email": "Zoe@Example.net", "lang": "fr_FR"},
                {"name": "محمد علي", "email": "ali@example.com", "lang": "ar_001"},
                {"name": "Reader", "email": "user@bücher.example", "lang": "ja_JP"},
            ]
        )
        cls.lead = cls.env["crm.lead"].create(
            {"name": "Größe & Preis", "partner_id": cls.contact.id, "user_id": cls.salesperson.id}
        )

    # ------------------------------------------------------------
    # BUILD
    # ------------------------------------------------------------

    def collect(self, build):
        """Return the mails that ``build`` leaves in the queue. Odoo sends nothing in a test, and so keeps them."""
        values, create = [], MailMail.create

        def note(mails, vals_list):
            made = create(mails, vals_list)
            values.extend(made.copy_data())
            noted.append(made)
            return made

        noted = []
        with patch.object(MailMail, "create", note):
            build()
        mails = self.env["mail.mail"]
        for made in noted:
            if made.exists():
                mails |= made.exists()
        # Core sends the link to set a password in a savepoint that it takes back.
        if len(mails) < len(values):
            mails = self.env["mail.mail"].create(values)
        return mails

    def post(self, record=None, body="<p>Hello</p>", partners=None, **values):
        return (
            (record or self.lead)
            .with_user(self.salesperson)
            .message_post(
                body=Markup(body),
                partner_ids=(self.contact if partners is None else partners).ids,
                **{"message_type": "comment", "subtype_xmlid": "mail.mt_comment", **values},
            )
        )

    def compose(self, **values):
        composer = (
            self.env["mail.compose.message"]
            .with_user(self.salesperson)
            .create(
                {
                    "composition_mode": "comment",
                    "model": "crm.lead",
                    "res_ids": str(self.lead.ids),
                    "partner_ids": self.contact.ids,
                    "subject": "Composed",
                    "body": "<p>Hello</p>",
                    **values,
                }
            )
        )
        composer.action_send_mail()

    def attach(self, *files, **values):
        return (
            self.env["ir.attachment"]
            .with_user(self.salesperson)
            .create([{"name": name, "raw": raw, **values} for name, raw in files])
            .ids
        )

    def mail(self, **values):
        self.create_mail(**{"mail_server_id": False, **values})

    # ------------------------------------------------------------
    # COMPARE
    # ------------------------------------------------------------

    def compare_mails(self, mails):
        """Send mails by each way, and compare what arrives.

        :return: how many messages there were
        """
        mails.write({"auto_delete": False, "state": "outgoing"})
        arrived = []
        for server in (self.smtp_server, self.server):
            self.sandbox("DELETE", "/sandbox/messages")
            mails.write({"state": "outgoing", "mail_server_id": server.id})
            with self.leaving():
                mails.send()
            self.assertEqual(
                set(mails.mapped("state")), {"sent"}, [mail.failure_reason for mail in mails if mail.failure_reason]
            )
            arrived.append(self.by_copy())
        by_smtp, by_api = arrived
        self.assertEqual(by_smtp.keys(), by_api.keys(), "the same recipients get it")
        for key, one in by_smtp.items():
            self.compare_copies(one, by_api[key])
        return len(by_smtp)

    def by_copy(self):
        """Return what each recipient got, by Message-ID, address and number."""
        found = {}
        for message in self.messages():
            for recipient in message["recipients"]:
                path = f"/sandbox/messages/{message['id']}/{recipient['index']}/raw"
                with urllib.request.urlopen(self.sandbox_url + path) as answer:
                    parsed = message_from_bytes(answer.read(), policy=policy.default)
                address = recipient["address"].lower()
                number = sum(key[:2] == (message["message_id"], address) for key in found)
                found[message["message_id"], address, number] = (message, parsed)
        return found

    def compare_copies(self, one, other):
        (smtp_message, smtp), (api_message, api) = one, other
        envelope = {recipient["address"].lower() for recipient in api_message["recipients"]}
        to, cc = (self.get_shown(smtp, name) for name in ("To", "Cc"))
        own_to = [entry for entry in to if entry[1].lower() in envelope]
        twice = {address.lower() for _name, address in own_to}
        own_cc = [entry for entry in cc if entry[1].lower() in envelope - twice]
        if not own_to:
            own_to, own_cc = own_cc, []
        self.assertEqual(self.get_shown(api, "To") if own_to else [], own_to)
        self.assertEqual(self.get_shown(api, "Cc"), own_cc)
        for name in ("From", "Reply-To"):
            self.assertEqual(self.get_shown(api, name), self.get_shown(smtp, name), name)
        self.assertEqual(self.get_headers(api), self.get_headers(smtp))
        self.assertEqual(*("".join(str(message["Subject"] or "").split()) for message in (api, smtp)), "the subject")
        self.assertEqual(self.get_tree(api), self.get_tree(smtp))
        for name in ("links", "attachments"):
            self.assertEqual(api_message[name], smtp_message[name], name)
        self.assertEqual(set(api_message["smtpapi"]["unique_args"]), set(smtp_message["smtpapi"]["unique_args"]))
        self.assertEqual(api_message["smtpapi"]["category"], smtp_message["smtpapi"]["category"])

    def get_shown(self, parsed, name):
        shown = {}
        for one in parsed[name].addresses if parsed[name] else ():
            shown.setdefault(one.addr_spec.lower(), (one.display_name, one.addr_spec))
        return list(shown.values())

    def get_headers(self, parsed):
        without = {
            "to", "cc", "from", "reply-to", "subject", "date", "x-smtpapi", "content-type",
            "content-transfer-encoding",
        }  # fmt: skip
        self.assertNotIn("Return-Path", parsed, "the server that delivers a mail writes it")
        return {
            name.lower(): " ".join(str(value).split())
            for name, value in parsed.items()
            if value and name.lower() not in without
        }

    def get_tree(self, part):
        """Return a part with all parts in it: types with their parameters, names, ids and contents."""
        parameters = {name.lower(): value for name, value in part["Content-Type"].params.items()}
        for name in ("boundary", "name"):
            parameters.pop(name, None)
        about = (part.get_content_type(), parameters, part.get_content_disposition(), part.get_filename())
        about += (str(part["Content-ID"] or ""),)
        if part.get_content_maintype() == "multipart":
            return about, [self.get_tree(inner) for inner in part.iter_parts()]
        if part.get_content_maintype() == "text" and not part.get_filename():
            return about, self.plain(part.get_content())
        if part.get_content_maintype() != "message":
            return about, part.get_payload(decode=True)
        content = part.get_payload(0).as_bytes().replace(b"\r\n", b"\n")
        if part["Content-Transfer-Encoding"] == "base64":
            content = base64.b64decode(content).replace(b"\r\n", b"\n")
        return about, content

    def plain(self, text):
        """Return a text without the ids by which SendGrid tells the copies apart in its links and the pixel."""
        text = re.sub(r"(?<=upn=)[\w\-.]+", "…", text).replace("\r\n", "\n")
        return re.sub(r"^>(?=From )", "", text, flags=re.MULTILINE)


@tagged("post_install", "-at_install")
class TestCorpus(CorpusCase):
    def test_chatter(self):
        """Test messages with several external recipients, followers and further recipients in To."""
        self.lead.message_subscribe(self.people.ids)
        count = 0
        for build in (
            lambda: self.post(partners=self.people),
            lambda: self.post(partners=self.people[:2], subject="Größe: 価格表 🧀 " * 12),
            lambda: self.post(record=self.contact, partners=self.contact | self.people),
            lambda: self.post(outgoing_email_to='"Guest, X" <guest@example.org>, other@example.org'),
            lambda: self.post(body="", attachments=[("offer.txt", b"1 EUR")]),
            lambda: self.post(body=f'<img src="data:image/png;base64,{base64.b64encode(PNG).decode()}"/>'),
            lambda: self.post(email_layout_xmlid="mail.mail_notification_light", email_add_signature=False),
            lambda: self.post(body="<div dir='rtl'>مرحبا <b>علي</b> 12-34</div>", partners=self.people[2]),
            lambda: self.post(body="<p>日本語 &amp; &lt;tag&gt; &nbsp;é\u200b</p>", partners=self.people[3]),
            lambda: self.compose(partner_ids=self.people.ids, attachment_ids=self.attach(("a.pdf", b"%PDF"))),
            lambda: self.compose(composition_comment_option="forward", attachment_ids=self.attach(("f.eml", EML))),
            lambda: self.lead.message_notify(
                body="Notified",
                subject="Notify",
                partner_ids=self.people.ids,
                email_layout_xmlid="mail.mail_notification_layout",
            ),
        ):
            count += self.compare_mails(self.collect(build))
        self.assertGreaterEqual(count, 30)

    def test_applications(self):
        """Test templates, invitations to a meeting and changes of it, a digest, and links to set a password."""
        event = self.env["calendar.event"].with_context(tracking_disable=False)
        start = fields.Datetime.now() + timedelta(days=2)
        meeting = []

        def invite():
            meeting.append(
                event.create(
                    {
                        "name": "Käse, Wein & Brot",
                        "start": start,
                        "stop": start + timedelta(hours=1),
                        "partner_ids": [Command.set((self.contact | self.people).ids)],
                    }
                )
            )

        template = self.env["mail.template"].create(
            {
                "name": "T",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "subject": "{{ object.name }} – Übersicht",
                "body_html": '<p>Dear <t t-out="object.partner_id.name"/>, '
                '<a href="https://shop.example.com/a?b=1&amp;c=2">look</a></p>',
                "email_to": '"Doe, Jane; PhD" <jane@example.org>, x@example.com',
                "email_cc": "cc@example.net",
                "partner_to": "{{ object.partner_id.id }}",
                "reply_to": '"Sales, Team" <sales@example.com>',
                "attachment_ids": [Command.create({"name": "Preisliste – 2026.pdf", "raw": b"%PDF-1.4"})],
            }
        )
        user = self.env["res.users"].create(
            {"name": "New, User", "login": "new@example.org", "email": "new@example.org"}
        )
        digest = self.env["digest.digest"].create(
            {"name": "Täglich", "user_ids": [Command.set(user.ids)], "kpi_res_users_connected": True}
        )
        count = 0
        for name, build in {
            "invitation": invite,
            "moved": lambda: meeting[0].write(
                {"start": start + timedelta(hours=3), "stop": start + timedelta(hours=4)}
            ),
            "mail to attendees": lambda: meeting[0].attendee_ids._send_invitation_emails(),
            "template": lambda: template.send_mail(self.lead.id, email_values={"auto_delete": False}),
            "template in a layout": lambda: template.send_mail(
                self.lead.id, email_layout_xmlid="mail.mail_notification_layout"
            ),
            "digest": digest.action_send_manual,
            "password": lambda: user.with_context(no_reset_password=False).action_reset_password(),
            "invitation of a user": lambda: user.with_context(create_user=1).action_reset_password(),
        }.items():
            with self.subTest(name):
                mails = self.collect(build)
                self.assertTrue(mails)
                count += self.compare_mails(mails)
        self.assertGreaterEqual(count, 20)

    def test_names(self):
        """Test odd names of senders, recipients and reply addresses."""
        for number, name in enumerate(NAMES):
            with self.subTest(name):
                person = self.env["res.partner"].create({"name": name, "email": f"odd{number}@example.org"})
                quoted = name.replace("\\", "\\\\").replace('"', '\\"')
                sender = f'"{quoted}" <sally@example.com>'
                mails = self.collect(
                    lambda p=person, s=sender: self.mail(recipient_ids=p.ids, email_from=s, reply_to=s, subject=p.name)
                )
                self.compare_mails(mails)

    def test_files(self):
        """Test attachments: their names, types and contents, alone and together."""
        for name, raw in FILES:
            with self.subTest(name):
                mails = self.collect(lambda n=name, r=raw: self.mail(attachment_ids=self.attach((n, r)), subject=n))
                self.compare_mails(mails)
                for message in self.messages():
                    [attachment] = message["attachments"]
                    self.assertEqual(attachment["filename"], re.sub(r"[\x00-\x1f\x7f]+", " ", name).strip())
        for mimetype, raw in (
            ("text/calendar", ICS),
            ("text/calendar; method=REQUEST; charset=utf-8", ICS),
            ('text/x-y; title="a; b"', b"x"),
            ("message/rfc822", EML),
            ("message/rfc822", FILES[-1][1]),
            ("message/rfc822", b""),
            ("image/png", PNG),
            ("application/octet-stream", bytes(range(256))),
            ("text/plain", b""),
            ("text/plain; charset=utf-8; format=flowed; delsp=yes", b"a \nb\n"),
            ("text/plain; charset=iso-8859-1", "Zoë".encode("latin-1")),
            ("text/html", "<p>Zoë</p>".encode("utf-16")),
            ("text/html; charset=utf-16", "<p>Zoë</p>".encode("utf-16")),
            ("weird", b"x"),
        ):
            with self.subTest(mimetype):
                ids = self.attach(("file.eml" if "rfc822" in mimetype else "file.bin", raw))
                self.env["ir.attachment"].browse(ids).mimetype = mimetype
                self.compare_mails(self.collect(lambda ids=ids: self.mail(attachment_ids=ids)))
        ids = self.attach(*FILES)
        self.compare_mails(self.collect(lambda: self.mail(attachment_ids=ids)))

    def test_messages(self):
        """Test subjects, bodies, headers and recipients that are out of the ordinary."""
        long = "Größenänderung für „Käse & Überraschungen“ — 価格表 🧀 "
        for name, values in {
            "long subject": {"subject": long * 8},
            "long word": {"subject": "x" * 400},
            "empty subject": {"subject": ""},
            "subject of two lines": {"subject": "Größe\r\nX-Evil: 1\n\nand more"},
            "empty body": {"body_html": ""},
            "blank body": {"body_html": "<p><br></p>"},
            "long lines": {"body_html": f"<p>{'word ' * 3000}</p><p>{'x' * 5000}</p>"},
            "dots": {"body_html": "<pre>.\n..\n.x\nFrom y\n\n\n</pre>"},
            "other letters": {"body_html": "<p>Ω ß 日本語 🧀👩‍👩‍👧 \u200f\u202eمرحبا\u00a0</p>"},
            "carriage returns": {"body_html": "<pre>a\r\nb\rc\n</pre>"},
            "template marks": {"body_html": "<p>{{name}} %name% <% x %> [unsubscribe] -name- {{{x}}}</p>"},
            "cid": {"body_html": '<img src="cid:nothing@example.com">'},
            "several to": {"email_to": '"A, B" <a@example.org>, c@example.org, "D" <d@example.net>'},
            "to and cc": {"email_to": "a@example.org", "email_cc": '"C; C" <c@example.org>, d@example.org'},
            "cc only": {"email_to": "", "email_cc": "c@example.org"},
            "twice": {"email_to": "a@example.org, A@example.org, a@example.org"},
            "to in cc": {"email_to": "a@example.org", "email_cc": "a@example.org, c@example.org"},
            "unicode domain": {"email_to": '"Ä" <user@bücher.example>', "email_cc": "x@例え.テスト"},
            "reply to": {"reply_to": '"Sally & Co., Ltd." <sally+reply@example.com>'},
            "two replies": {"reply_to": "a@example.com, B <b@example.com>"},
            "reply in unicode": {"reply_to": '"Ü" <reply@bücher.example>'},
            "sender in unicode": {"email_from": '"Ü" <sally@bücher.example>'},
            "lines in names": {
                "reply_to": '"Sally\r\nX-Evil: 1" <sally+reply@example.com>',
                "email_to": '"Ä\nX-Evil: 1" <a@example.org>, "B\r\nBcc: c" <b@example.org>',
                "email_cc": '"C\nX" <c@example.org>',
            },
            "sender without a name": {"email_from": "sally@example.com"},
            "references": {"references": " ".join(f"<{number}-{'r' * 60}@example.com>" for number in range(30))},
            "headers": {
                "headers": repr(
                    {
                        "X-Custom": "Zoë says hello",
                        "X-Long": "word " * 60,
                        "X-Long-Word": "y" * 500,
                        "List-Unsubscribe": f"<https://example.com/unsubscribe/{'x' * 120}>",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                        "Precedence": "bulk",
                        "Auto-Submitted": "auto-generated",
                        "X-Priority": "1",
                        "Importance": "high",
                        "X-Empty": "",
                        "Organization": "Käse, Inc.",
                        "In-Reply-To": "<0@example.com>",
                        "Return-Path": "bounce+1@example.com",
                        "Sender": '"Ö" <sender@bücher.example>',
                        "Disposition-Notification-To": '"Ä" <sally@example.com>',
                    }
                )
            },
            "settings in lines": {"headers": repr({"X-SMTPAPI": '{"category":\r\n "sale"}'})},
            "settings": {"headers": repr({"X-SMTPAPI": '{"category": ["sale", "käse"], "asm_group_id": 3}'})},
        }.items():
            with self.subTest(name):
                self.compare_mails(self.collect(lambda v={"subject": name, **values}: self.mail(**v)))


@tagged("-standard", "sendgrid_ways", "post_install", "-at_install")
class TestCorpusOfApplications(CorpusCase):
    """The same for other applications. `end_to_end/test_ways.py` installs these and runs this class."""

    __test__ = False  # pytest's database does not have these applications

    def test_sale(self):
        """Test a quotation with its report, an order confirmation, and an invoice."""
        order = self.env["sale.order"].create(
            {
                "partner_id": self.people[0].id,
                "user_id": self.salesperson.id,
                "order_line": [Command.create({"name": "Cheese", "price_unit": 10})],
            }
        )
        count = 0
        for name in ("sale.email_template_edi_sale", "sale.mail_template_sale_confirmation"):
            template = self.env.ref(name)
            count += self.compare_mails(self.collect(lambda t=template: t.send_mail(order.id)))
        count += self.compare_mails(self.collect(lambda: self.post(record=order, partners=self.people)))
        self.assertGreaterEqual(count, 3)

    def test_mailing(self):
        mailing = self.env["mailing.mailing"].create(
            {
                "name": "Newsletter",
                "subject": "Käse im Mai 🧀",
                "mailing_model_id": self.env["ir.model"]._get_id("res.partner"),
                "mailing_domain": [("id", "in", self.people.ids)],
                "body_html": '<div><a href="https://shop.example.com/a?b=1">look</a> '
                '<a href="/unsubscribe_from_list">off</a></div>',
                "body_arch": "<div>x</div>",
                "email_from": "sally@example.com",
                "attachment_ids": [Command.create({"name": "Prospekt – Mai.pdf", "raw": b"%PDF"})],
            }
        )
        self.assertEqual(self.compare_mails(self.collect(lambda: mailing.action_send_mail())), len(self.people))

    def test_portal(self):
        wizard = self.env["portal.wizard"].create({"partner_ids": [Command.set(self.people[:1].ids)]})
        self.assertEqual(self.compare_mails(self.collect(wizard.user_ids.action_grant_access)), 1)


@tagged("-standard", "sendgrid_ways", "post_install", "-at_install")
class TestCorpusOfWebsite(CorpusCase, HttpCase):
    """The same for a website's contact form, which everybody may send."""

    __test__ = False  # as above

    def test_contact_form(self):
        recipient = "Info@Example.org"
        known = self.env["mail.mail"].search([])
        form = {
            "name": "Doe, Zoë",
            "email_from": "zoe@example.net",
            "subject": "Größe & Preis",
            "description": "How much is <b>it</b>?\nZoë",
            "email_to": recipient,
            "website_form_signature": hmac(self.env(su=True), "website_form_signature", recipient),
        }
        with self.leaving():
            answer = self.url_open("/website/form/mail.mail", data=form)
        mail = self.env["mail.mail"].search([]) - known
        self.assertEqual((answer.json(), mail.state, mail.reply_to), ({"id": mail.id}, "sent", "zoe@example.net"))
        [message] = self.messages()
        email = self.find_emails(mail.message_id)
        self.assertEmail(email, recipient="info@example.org", status="sent", email_from="company@example.com")
        self.assertEqual(message["smtpapi"]["unique_args"]["odoo_id"], email.odoo_id)
        self.assertIn("How much is", email.content)
        self.receive(*message["recipients"][0]["events"])
        self.assertEmail(email, status="delivered")
        self.assertEqual(self.compare_mails(mail), 1)
