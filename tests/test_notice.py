"""The link in each mail to the page that tells how it is measured: whose it is, where it stands, and what it is not."""

import re
from email import message_from_string, policy
from email.message import EmailMessage
from unittest.mock import patch
from urllib.parse import quote_plus

from markupsafe import Markup

from odoo.tests import BaseCase, new_test_user, tagged
from odoo.tools.translate import code_translations

from ..tools.sending import notice, notice_token
from ..tools.sending.links import Site, is_secret, protect
from ..tools.sending.notice_token import CONFIRM, LOOK, Holder
from .common import SendgridCase
from .test_api_sending import BothWaysCase

OWN = "https://odoo.example.com"
SITE = Site(frozenset({"odoo.example.com"}), re.compile(r"/sendgrid/measuring/(.+?)/?$"))
LINK = f"{OWN}/sendgrid/measuring/TOKEN"
TOKEN = re.compile(r"/sendgrid/measuring/([\w\-]+)")
PLACEHOLDER = '<p>Hello</p><p><a href="/sendgrid/measuring">How this e-mail is measured</a></p>'


@tagged("post_install", "-at_install")
class TestPlaceholder(BaseCase):
    def test_filled(self):
        """Test what is a placeholder, wherever it stands."""
        for source in (
            '<a href="/sendgrid/measuring">x</a>',
            "<a href='/sendgrid/measuring'>x</a>",
            "<a href=/sendgrid/measuring>x</a>",
            f'<a href="{OWN}/sendgrid/measuring">x</a>',
            '<a href="https://ODOO.example.com:8069/sendgrid/measuring">x</a>',
            '<a href="/sendgrid/measuring/">x</a>',
            '<a href="/sendgrid/measuring?lang=fr">x</a>',
            f'<a href="{OWN}/sendgrid/measuring/dG9rZW4tb2Ytc29tZWJvZHk">x</a>',
            "/sendgrid/measuring",
            f"x [1]\n\n[1] {OWN}/sendgrid/measuring\n[2] /other",
            f"({OWN}/sendgrid/measuring).",
            f"<{OWN}/sendgrid/measuring>",
        ):
            with self.subTest(source):
                filled = notice.fill(source, LINK, SITE)
                self.assertEqual(filled.count(LINK), 1)
                self.assertNotIn("sendgrid/measuring", filled.replace(LINK, ""))
                self.assertNotIn("dG9rZW4", filled)

    def test_left_alone(self):
        """Test what is no placeholder: it comes back as it was, to the byte."""
        for source in (
            '<a href="https://www.example.org/sendgrid/measuring">another Odoo</a>',
            '<a href="/sendgrid/measuring-tape">another page</a>',
            '<a href="/shop/sendgrid/measuring">another page</a>',
            '<a href="/sendgrid/measuring/confirm/dG9rZW4tb2Ytc29tZWJvZHk">a question</a>',
            '<a href="https://www.example.org/?to=/sendgrid/measuring">quoted</a>',
            "<p>nothing</p>",
            "",
        ):
            with self.subTest(source):
                self.assertEqual(notice.fill(source, LINK, SITE), source)

    def test_withdrawn(self):
        """Test that a quoted link loses its token, wherever it stands and whatever a mail program made of it."""
        token = "dG9rZW4-b2Y_c29tZWJvZHkgZWxzZSB3aG8gZ290IGl0"
        for source, expected in (
            (f'<a href="{OWN}/sendgrid/measuring/{token}">x</a>', f'<a href="{OWN}/sendgrid/measuring">x</a>'),
            (f'<a href="/sendgrid/measuring/confirm/{token}/">x</a>', '<a href="/sendgrid/measuring/">x</a>'),
            (f"> x <{OWN}:8069/sendgrid/measuring/{token}>", f"> x <{OWN}:8069/sendgrid/measuring>"),
            (f"[1] {OWN}/sendgrid/measuring/{token}\n", f"[1] {OWN}/sendgrid/measuring\n"),
            (f"https://odoo.example.com&#x2F;sendgrid&#47;measuring&#47;{token}", None),
            (f"https://x.example/?url=https%3A%2F%2Fodoo.example.com%2Fsendgrid%2Fmeasuring%2F{token}&data=1", None),
            (f"?u=https%253A%252F%252Fodoo.example.com%252Fsendgrid%252Fmeasuring%252Fconfirm%252F{token}", None),
            (
                "/v2/url?u=https-3A__odoo.example.com_sendgrid_measuring_dG9rZW4-2Db2Y-5Fc29tZWJvZHkgZWxzZSB3aG8gZ290&d=1",
                None,
            ),
            (f"https://x.example/v3/__{OWN}/sendgrid/measuring/{token}__;!!A!b$", None),
        ):
            with self.subTest(source):
                short = notice.withdraw(source, lambda host, *_rest: host not in ("", "odoo.example.com"))
                self.assertNotIn("dG9rZW4", short)
                self.assertEqual(short, expected or short)
                self.assertEqual(notice.withdraw(source, lambda *_all: True), source)

    def test_several(self):
        """Test that each of several placeholders is filled."""
        self.assertEqual(notice.fill(PLACEHOLDER * 3, LINK, SITE).count(LINK), 3)

    def test_page_is_not_tracked(self):
        """Test that no link to the page is tracked, with a token or without, and that none is one to unsubscribe."""
        for address in ("/sendgrid/measuring", f"{OWN}/sendgrid/measuring", LINK):
            self.assertIn('clicktracking="off"', protect(f'<a href="{address}">x</a>', SITE)[0])
        self.assertTrue(is_secret(LINK, SITE))
        self.assertFalse(is_secret(f"{OWN}/sendgrid/measuring", SITE))


@tagged("post_install", "-at_install")
class TestToken(BaseCase):
    HOLDERS = (
        Holder(LOOK, 1, 1795500000, "ada@example.org"),
        Holder(CONFIRM, 7, 0, "Ünï@xn--bcher-kva.example"),
        Holder(LOOK, 2, 1795500000, odoo_id="0123456789abcdef" * 2),
        Holder(LOOK, 1, 1795500000, "a" * 64 + "@" + "b" * 200 + ".example"),
        Holder(LOOK, 1, 1795500000, "\ud800@example.org"),
    )

    def test_read_again(self):
        """Test that a token tells what was sealed, fits into an address, and shows nothing of it."""
        for holder in self.HOLDERS:
            with self.subTest(holder):
                token = notice_token.seal(holder, "secret")
                self.assertEqual(notice_token.read(token, "secret"), holder)
                self.assertRegex(token, r"^[\w\-]+$")
                self.assertNotEqual(notice_token.seal(holder, "secret"), token, "made by chance")

    def test_no_token(self):
        """Test that whatever was changed, cut, sealed elsewhere or never a token is none."""
        token = notice_token.seal(self.HOLDERS[0], "secret")
        self.assertIsNone(notice_token.read(token, "another secret"))
        for position in range(0, len(token) - 1):
            letter = "A" if token[position] != "A" else "B"
            self.assertIsNone(notice_token.read(token[:position] + letter + token[position + 1 :], "secret"))
            self.assertIsNone(notice_token.read(token[:position], "secret"))
        for text in ("", "x", token + "A", token + "=", " " + token, token + "\n", "é" * 60, "A" * 10**6, "%00" * 30):
            with self.subTest(text[:80]):
                self.assertIsNone(notice_token.read(text, "secret"))


class NoticeCase(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.config_parameter"].set_param("web.base.url", OWN)
        cls.notice = cls.env["sendgrid.notice"]
        cls.company = cls.env.company
        cls.colleague = new_test_user(cls.env, "sendgrid_test_colleague", email="colleague@example.com").partner_id

    def holder_in(self, text):
        """Return the holder of the one link in a text; None if the link leads to the general page."""
        self.assertEqual(len(re.findall(f"{OWN}/sendgrid/measuring", text)), 1, text)
        found = TOKEN.search(text)
        return self.notice._read(found[1]) if found else None


@tagged("post_install", "-at_install")
class TestSending(NoticeCase):
    def assertHolder(self, sent, **expected):
        for part in ("html", "plain"):
            holder = self.holder_in(sent.part(part))
            self.assertTrue(holder)
            self.assertEqual({name: getattr(holder, name) for name in expected}, expected)

    # ------------------------------------------------------------
    # PLACEHOLDER
    # ------------------------------------------------------------

    def test_each_recipient(self):
        """Test that each recipient has his own link, in both parts of the mail, and that no page shows it."""
        grace = self.env["res.partner"].create({"name": "Grace", "email": '"Grace" <Grace@BÜCHER.example>'})
        sent, emails = self.send_mail(body_html=PLACEHOLDER, recipient_ids=(self.contact | grace).ids)
        addresses = {"ada@example.org", "grace@xn--bcher-kva.example"}
        self.assertEqual({self.holder_in(one.part("html")).address for one in sent}, addresses)
        for one in sent:
            self.assertHolder(one, kind=LOOK, company_id=self.company.id, odoo_id="")
            self.assertNotIn("sendgrid/measuring", str(one.message["List-Unsubscribe"]))
        self.assertEqual(len(emails.content_id), 1, "copies that differ in the link only share a content")
        self.assertFalse(any(emails.mapped("content_changes")))
        for email in emails:
            self.assertIn("How this e-mail is measured", email.content)
            self.assertNotIn("sendgrid/measuring", email.content)

    def test_several_recipients(self):
        """Test that a copy to several has a link that names the copy and none of them."""
        [sent], emails = self.send_mail(body_html=PLACEHOLDER, email_to="ada@example.org, bob@example.org")
        self.assertHolder(sent, address="", odoo_id=emails[0].odoo_id)

    def test_skipped(self):
        """Test that who gets no mail does not count: the only recipient who is left has a link of his own."""
        mail = self.create_mail(body_html=PLACEHOLDER, email_to="ada@example.org, bob@example.org")
        with self.sending() as sent:
            mail.with_context(send_smtp_skip_to=["bob@example.org"]).send()
        [one] = sent
        self.assertEqual(one.recipients, ["ada@example.org"])
        self.assertHolder(one, address="ada@example.org", odoo_id="")

    def test_several_with_a_colleague(self):
        """Test that a colleague who stands beside a recipient does not get the recipient's own link."""
        [sent], email = self.send_mail(
            body_html=PLACEHOLDER, email_to="ada@example.org", email_cc="colleague@example.com"
        )
        self.assertHolder(sent, address="", odoo_id=email.odoo_id)
        self.assertFalse(email.is_alone)

    def test_colleague(self):
        """Test that a colleague's link leads to the general page."""
        [sent], _emails = self.send_mail(body_html=PLACEHOLDER, recipient_ids=self.colleague.ids)
        self.assertIsNone(self.holder_in(sent.part("html")))
        self.assertIsNone(self.holder_in(sent.part("plain")))

    def test_another_mail_server(self):
        """Test that in a mail that does not leave through SendGrid the link leads to the general page."""
        quoted = f'<a href="{self.notice._get_link(self.notice._seal(LOOK, 1, "ada@example.org"))}">quoted</a>'
        for body in (PLACEHOLDER, quoted):
            [sent], emails = self.send_mail(body_html=body, mail_server_id=self.other_server.id)
            self.assertFalse(emails)
            self.assertIsNone(self.holder_in(sent.part("html")))

    def test_quoted(self):
        """Test that a mail that quotes another one does not carry the link of that one's recipient along."""
        other = self.notice._get_link(self.notice._seal(LOOK, 1, "somebody@example.org"))
        [sent], _email = self.send_mail(body_html=f'<p>Hello</p><blockquote><a href="{other}">x</a></blockquote>')
        self.assertHolder(sent, address="ada@example.org")

    def quote(self):
        """Return links to Ada's pages, as a quoted mail has them, and one to the page of another Odoo."""
        links = [
            self.notice._get_link(self.notice._seal(LOOK, 1, "ada@example.org")),
            self.notice._get_address(notice.CONFIRMATION, self.notice._seal(CONFIRM, 1, "ada@example.org")),
        ]
        # Our address may have been another one when the mail was sent.
        links.append(links[0].replace(OWN, "https://old.example.com"))
        links.append("https://x.example/?url=" + quote_plus(links[0]))
        self.other = "https://other.example.org/sendgrid/measuring/" + "dG9rZW4" * 8
        return links, " ".join(f'<a href="{link}">x</a>' for link in [*links, self.other])

    def assertWithdrawn(self, text):
        """Assert that nobody can decide for Ada by what a text quotes."""
        self.assertIn(self.other, text)
        for token in re.findall(r"[\w\-]{37,}", text):
            self.assertFalse(self.notice._read(token))
        self.assertGreaterEqual(text.count(f"{OWN}/sendgrid/measuring"), 2)

    def test_incoming(self):
        """Test that nobody who reads an answer in Odoo can decide for whoever wrote it."""
        lead = self.env["crm.lead"].create({"name": "L"})
        links, html = self.quote()
        for number, thread_id in enumerate((lead.id, False)):
            for subtype, text in (
                ("html", f"<p>Yes</p>{html}"),
                ("plain", "Yes\n> " + "\n> ".join([*links, self.other])),
            ):
                with self.subTest(subtype=subtype, thread_id=thread_id):
                    mail = EmailMessage()
                    mail["From"], mail["To"] = "ada@example.org", "sales@example.com"
                    mail["Message-Id"] = f"<{subtype}-{number}@example.org>"
                    mail.set_content(text, subtype=subtype)
                    record_id = self.env["mail.thread"].message_process(
                        "crm.lead", mail.as_bytes(), thread_id=thread_id
                    )
                    record = self.env["crm.lead"].browse(record_id)
                    message = record.message_ids.filtered(lambda one: one.message_type == "email").sorted("id")[-1]
                    self.assertWithdrawn(f"{record.description}{message.body}")

    def test_pasted(self):
        """Test that a quoted link has no token in what a colleague posts, and not in what leaves again."""
        _links, html = self.quote()
        message = self.contact.message_post(body=Markup("<p>Look</p>%s") % Markup(html))
        self.assertWithdrawn(message.body)
        message.body = Markup(html)
        self.assertWithdrawn(message.body)
        for has_account in (True, False):
            self.server.sendgrid_account_id = self.account if has_account else False
            [sent], _emails = self.send_mail(body_html=html, email_to="eve@example.org")
            body = sent.part("html")
            holders = {holder for token in re.findall(r"[\w\-]{37,}", body) if (holder := self.notice._read(token))}
            self.assertEqual({holder.address for holder in holders}, {"eve@example.org"} if has_account else set())
            self.assertNotIn(CONFIRM, {holder.kind for holder in holders})
            self.assertIn(self.other, body)

    def test_chatter_and_signature(self):
        """Test a message of the chatter, whose signature has the placeholder."""
        self.salesperson.signature = PLACEHOLDER
        with self.sending() as sent:
            self.contact.with_user(self.salesperson).with_context(tracking_disable=False).message_post(
                body="Hello",
                partner_ids=self.contact.ids,
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                email_add_signature=True,
                force_send=True,
            )
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        [sent] = sent
        self.assertHolder(sent, address="ada@example.org", company_id=self.company.id)

    def test_template(self):
        """Test a template, whose record belongs to another company."""
        company = self.env["res.company"].create({"name": "Another", "email": "another@example.com"})
        lead = self.env["crm.lead"].create({"name": "L", "company_id": company.id, "partner_id": self.contact.id})
        template = self.env["mail.template"].create(
            {
                "name": "T",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "subject": "T",
                "body_html": PLACEHOLDER,
                "partner_to": "{{ object.partner_id.id }}",
                "mail_server_id": self.server.id,
            }
        )
        with self.sending() as sent:
            template.send_mail(lead.id, force_send=True)
        self.assertHolder(sent[0], address="ada@example.org", company_id=company.id)

    # ------------------------------------------------------------
    # FOOTER
    # ------------------------------------------------------------

    def test_footer(self):
        """Test that the mails of a company that says so end with the link, but for those that have it or stay here."""
        [sent], _email = self.send_mail()
        self.assertNotIn("sendgrid/measuring", sent.data.decode())
        self.company.sendgrid_has_notice = True
        [sent], email = self.send_mail()
        self.assertHolder(sent, address="ada@example.org")
        self.assertIn("How this e-mail is measured", sent.part("html"))
        self.assertIn("How this e-mail is measured", email.content)
        self.assertNotIn("sendgrid/measuring", email.content)
        [sent], _email = self.send_mail(body_html=f"<html><body>{PLACEHOLDER}</body></html>")
        self.assertHolder(sent, address="ada@example.org")
        [sent], _email = self.send_mail(recipient_ids=self.colleague.ids)
        self.assertNotIn("sendgrid/measuring", sent.data.decode())
        [sent], _email = self.send_mail(mail_server_id=self.other_server.id)
        self.assertNotIn("sendgrid/measuring", sent.data.decode())

    def test_footer_in_the_recipients_language(self):
        """Test that the footer is in the language of the recipient's contact, else in the company's."""
        for code in ("fr_FR", "de_DE"):
            self.env["res.lang"]._activate_lang(code)
        self.company.sendgrid_has_notice = True
        self.contact.lang = "fr_FR"
        self.company.partner_id.lang = "de_DE"
        words = {"fr_FR": "Mesure de cet e-mail", "de_DE": "Wie diese E-Mail gemessen wird"}
        translations = {
            ("sendgrid_tracking", code): {"How this e-mail is measured": text} for code, text in words.items()
        }
        with patch.dict(code_translations.python_translations, translations):
            [french], _email = self.send_mail()
            [german], _email = self.send_mail(email_to="guest@example.net")
        for part in ("html", "plain"):
            self.assertIn(words["fr_FR"], french.part(part))
            self.assertIn(words["de_DE"], german.part(part))

    def test_footer_without_a_language(self):
        """Test that mails leave with a footer if the company's archived contact has a language that is switched off."""
        self.env["res.lang"]._activate_lang("de_DE")
        self.company.sendgrid_has_notice = True
        self.company.partner_id.write({"lang": "de_DE", "active": False})
        self.env["res.lang"].search([("code", "=", "de_DE")]).active = False
        [sent], _email = self.send_mail(email_to="guest@example.net")
        self.assertIn("How this e-mail is measured", sent.part("html"))

    def test_number_of_queries(self):
        """Test that the footers of many mails cost three queries, whatever their number, or one if there are none."""
        notice_class, counts = type(self.notice), []

        def counting(method):
            def call(*args):
                before = self.env.cr.sql_log_count
                try:
                    return method(*args)
                finally:
                    counts.append(self.env.cr.sql_log_count - before)

            return call

        for has_notice, expected in ((False, 1), (True, 3)):
            counts.clear()
            self.company.sendgrid_has_notice = has_notice
            partners = self.env["res.partner"].create(
                [{"name": f"G{i}", "email": f"guest{i}-{has_notice}@example.net"} for i in range(10)]
            )
            mails = self.env["mail.mail"].union(*(self.create_mail(recipient_ids=one.ids) for one in partners))
            self.env.flush_all()
            with (
                patch.object(notice_class, "_learn", counting(notice_class._learn)),
                patch.object(notice_class, "_put_into", counting(notice_class._put_into)),
                self.sending() as sent,
            ):
                mails.send()
            self.assertEqual(len(sent), 10)
            self.assertEqual(sum("sendgrid/measuring" in one.data.decode() for one in sent), 10 * has_notice)
            self.assertLessEqual(sum(counts), expected, counts)


@tagged("post_install", "-at_install")
class TestBothWaysWithNotice(NoticeCase, BothWaysCase):
    def test_arrives_untracked(self):
        """Test by both ways what arrives: a recipient's own link as it is, in both parts, while others are tracked."""
        plain = "https://shop.example.com/cheese"
        for server in (self.server, self.smtp_server):
            for recipients in ("ada@example.org", "ada@example.org, bob@example.org"):
                with self.subTest(server.name, recipients=recipients):
                    self.sandbox("POST", "/sandbox/reset")
                    _mail, emails = self.send(
                        body_html=f'{PLACEHOLDER}<p><a href="{plain}">cheese</a></p>',
                        email_to=recipients,
                        mail_server_id=server.id,
                    )
                    [message] = self.messages()
                    raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/ada@example.org/raw")
                    arrived = message_from_string(raw, policy=policy.default)
                    for subtype in ("html", "plain"):
                        text = arrived.get_body((subtype,)).get_content()
                        holder = self.holder_in(text)
                        self.assertEqual(holder.address, "" if "," in recipients else "ada@example.org")
                        self.assertEqual(holder.odoo_id, emails[0].odoo_id if "," in recipients else "")
                    html = arrived.get_body(("html",)).get_content()
                    self.assertNotIn(plain, html, "it is tracked")
                    self.assertIn("/wf/open", html)
                    self.assertEqual([link["url"] for link in message["links"]], [plain])
