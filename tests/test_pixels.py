"""Pixels of mails that were sent before: they are not stored with an answer, and do not leave again."""

import re
import time
from email.message import EmailMessage
from unittest.mock import patch

from markupsafe import Markup

from odoo import Command
from odoo.tests import BaseCase, tagged
from odoo.tools import html2plaintext, mute_logger

from ..models import mail_message, mail_thread
from ..tools.sending.links import MARK, Site
from ..tools.sending.pixels import (
    find_short_links,
    remove_listed_pixels,
    remove_pixels,
    remove_recipient,
    replace_short_links,
)
from .common import SendgridCase
from .test_migrations import load

PIXEL = "https://u123.ct.sendgrid.net/wf/open?upn=u001.AAA-2B"
CLICK = "https://u123.ct.sendgrid.net/ls/click?upn=u001.BBB"
IMG = f'<img src="{PIXEL}" alt="" width="1" height="1" border="0" style="height:1px !important;width:1px">'
QUOTED = f'<p>Yes, please.</p><blockquote><p>Your offer: <a href="{CLICK}">see it</a></p>{IMG}</blockquote>'
# Source, and what is left of it.
CLEANED = {
    "SendGrid's host": (f"<p>a{IMG}b</p>", "<p>ab</p>"),
    "the old host": ("a<img src='http://sendgrid.net/wf/open?u=1'/>b", "ab"),
    "a branded host": ('a<img src="https://url12.example.com/wf/open?upn=A" width=1>b', "ab"),
    "no quotes": ("a<IMG SRC=https://url12.example.com/wf/open?upn=A>b", "ab"),
    "Gmail's proxy": (f'a<img src="https://ci3.googleusercontent.com/meips/xyz=s0-d-e1-ft#{PIXEL}">b', "ab"),
    "a proxy that quotes": (
        "a<img src='https://p.example.com/?u=https%3A%2F%2Fx.example.com%2Fwf%2Fopen%3Fupn%3DA'>b",
        "ab",
    ),
    "character references": ('a<img src="https://x.example.com/wf&#x2F;open?upn=A">b', "ab"),
    "coded letters": ('a<img src="https://x.example.com/&#x77;f/&#111;pen?upn=A">b', "ab"),
    "coded signs": ('a<img src="https://x.example.com/wf&sol;open?upn=A">b', "ab"),
    "quoted letters": ('a<img src="https://x.example.com/%77f/op%65n?upn=A">b', "ab"),
    "lines": ('a<img src="https://x.example.com/w\r\nf/\top\nen?upn=A">b', "ab"),
    "lines that core quotes": ('a<img src="https://x.example.com/w%0Af/open?upn=A">b', "ab"),
    "coded lines": ('a<img src="https://x.example.com/w&NewLine;f/&Tab;open?upn=A">b', "ab"),
    "backslashes": ('a<img src="https:\\\\x.example.com\\wf\\open?upn=A">b', "ab"),
    "SendGrid's other form": (
        'a<img src="https://u298828.ct.sendgrid.net/ss/o/PJguMbS879ys4Oj5UHAMSw/3uk/-cnBFnk1S9-Sx6V5m9/ho.gif">b',
        "ab",
    ),
    "a link that is loaded": (f'a<link rel="stylesheet" href="{PIXEL}">b', "ab"),
    "an SVG's image": (f'<svg><image href="{PIXEL}" width="1"/></svg>', "<svg></svg>"),
    "an import": (f"<style>@import '{PIXEL}'; p {{}}</style>a", "<style>@import none; p {}</style>a"),
    "core's, in coded letters": ('a<img src="https://x.example.com/mail/track/7/0f-1/bl&#97;nk.gif"/>b', "ab"),
    "several sources": (f'a<img src="/web/image/1" srcset="{PIXEL} 1x">b', "ab"),
    "a background": (f'<td background="{PIXEL}" class="x">a</td>', '<td background="" class="x">a</td>'),
    "a style": (
        f"<p style=\"color: red; background: url('{PIXEL}')\">a</p>",
        '<p style="color: red; background: none">a</p>',
    ),
    "a style sheet": (f"<style>p {{ background: url({PIXEL}) }}</style>a", "<style>p { background: none }</style>a"),
    "for Outlook": (
        f'<!--[if mso]><v:rect><v:fill type="frame" src="{PIXEL}"/></v:rect><![endif]-->a',
        "<!--[if mso]><v:rect></v:rect><![endif]-->a",
    ),
    "a mailing of core's": ('a<img src="https://odoo.example.com/mail/track/7/0f0e-1_b/blank.gif"/>b', "ab"),
    "two": (f"{IMG}<p>a</p>{IMG}", "<p>a</p>"),
}
UNTOUCHED = (
    "",
    "Hello",
    "<p>/wf/open</p>",
    '<img src="https://example.com/wf/opener.png"><img src="/web/image/12"><img src="/web/static/blank.gif">',
    f'<a href="{PIXEL}">x</a>',
    f'<v:roundrect href="{PIXEL}">x</v:roundrect>',
    '<p title="&#39;wf/open&#39; 100%65">a &#8211; b</p><img src="/ss/o/photo.gif">',
    f'<img alt="<img src=\'{PIXEL}\'>" src="/a.png">',
    f"<!-- {IMG} -->",
    "<P  >blank.gif &nbsp;<br/></p>",
)


@tagged("post_install", "-at_install")
class TestPixels(BaseCase):
    def test_own(self):
        """Test that the pixel of one mail can stay, and no other."""
        own, other = (f'<img src="https://odoo.example.com/mail/track/{n}/ab-c/blank.gif"/>' for n in (12, 1))
        style = '<p style="background:url(https://x.example.com/mail/track/12/a/blank.gif)">x</p>'
        sendgrid = '<img src="https://u1.ct.sendgrid.net/wf/open?upn=x"/>'
        self.assertEqual(remove_pixels(own + other + style + sendgrid, 12), own + style)
        plain = "Image [1] Image [2]\n\n[1] https://a.example.com/mail/track/12/a/blank.gif\n"
        self.assertEqual(remove_listed_pixels(plain, 12), plain)

    def test_cleaned(self):
        """Test that a pixel goes, wherever HTML has one, and all else stays, byte for byte."""
        for name, (source, expected) in CLEANED.items():
            with self.subTest(name):
                self.assertEqual(remove_pixels(source), expected)
                self.assertEqual(remove_pixels(Markup(source)), expected)
                self.assertEqual(remove_pixels(expected), expected)

    def test_untouched(self):
        """Test that a text without a pixel comes back as the same object."""
        for source in UNTOUCHED:
            with self.subTest(source):
                self.assertIs(remove_pixels(source), source)

    def test_plain_text(self):
        """Test that Odoo's plain text of a mail lists no pixel, and other images and links as before."""
        image = '<p>a <a href="https://example.com/x">link</a> <img src="https://example.com/logo.png"></p>'
        core = '<img src="https://odoo.example.com/mail/track/7/0f0e-1_b/blank.gif">'
        plain = html2plaintext(image)
        self.assertEqual(remove_listed_pixels(plain), plain)
        for pixel in (IMG, core, IMG + core):
            source = html2plaintext(image + pixel)
            self.assertNotEqual(source, plain)
            clean = remove_listed_pixels(source)
            self.assertEqual(clean.split(), plain.split())
            self.assertIs(remove_listed_pixels(clean), clean)

    def test_recipient(self):
        """Test that our short links lose their recipient, also in a plain text, and that others keep theirs."""
        site = Site(frozenset({"odoo.example.com"}))
        for source, expected in (
            ('<a href="https://odoo.example.com/r/Ab1/m/12">', '<a href="https://odoo.example.com/r/Ab1">'),
            ("see http://odoo.example.com:8069/r/Ab1/m/12 [1]", "see http://odoo.example.com:8069/r/Ab1 [1]"),
            ("<a href='/r/Ab1/m/12'>", "<a href='/r/Ab1'>"),
            ("https://other.example.com/r/Ab1/m/12", None),
            ("https://odoo.example.com/r/Ab1/m/12/more", None),
            ("https://odoo.example.com/r/Ab1", None),
        ):
            with self.subTest(source):
                self.assertEqual(remove_recipient(source, site), expected or source)

    def test_targets(self):
        """Test that only our short links are replaced, and that a target is written as an HTML text needs it."""
        site = Site(frozenset({"odoo.example.com"}))
        targets = {"Ab1": "https://shop.example.com/a?b=1&c=2", "gone": None}
        html, plain = "https://shop.example.com/a?b=1&amp;c=2", "https://shop.example.com/a?b=1&c=2"
        for source, as_html, as_plain in (
            ('<a href="https://odoo.example.com/r/Ab1/m/12">', f'<a href="{html}">', f'<a href="{plain}">'),
            ("<a href='https://ODOO.example.com/r/Ab1'>", f"<a href='{html}'>", f"<a href='{plain}'>"),
            ("[1] http://odoo.example.com:8069/r/Ab1/m/12\n", f"[1] {html}\n", f"[1] {plain}\n"),
            ("https://odoo.example.com/r/gone/m/12", None, None),
            ("https://odoo.example.com/r/other", None, None),
            ("https://odoo.example.com/r/Ab1/more", None, None),
            ("https://odoo.example.com/r/Ab1?a=b", None, None),
            ("https://odoo.example.com/shop/r/Ab1", None, None),
            ("https://other.example.com/r/Ab1/m/12", None, None),
            ("https://other.example.com/?to=https://odoo.example.com/r/Ab1", None, None),
        ):
            with self.subTest(source):
                self.assertEqual(replace_short_links(source, targets, site), as_html or source)
                self.assertEqual(replace_short_links(source, targets, site, is_html=False), as_plain or source)
                expected = {"Ab1"} if as_html else set()
                self.assertEqual(find_short_links(source, site) - {"gone", "other"}, expected)
        self.assertEqual(
            replace_short_links("https://odoo.example.com/r/Ab1", targets), "https://odoo.example.com/r/Ab1"
        )

    def test_long_text(self):
        """Test that a text made to be slow to read is read."""
        for piece in (
            "<img ",
            "<img src='/wf/open'",
            IMG,
            "wf/open",
            "url(",
            "<p style='url(",
            "/r/a/m/",
            "/m/1",
            "https://a/r/",
            "wf%",
        ):
            with self.subTest(piece):
                source = IMG + piece * (200_000 // len(piece))
                start = time.process_time()
                remove_recipient(remove_pixels(source))
                replace_short_links(source, {})
                self.assertLess(time.process_time() - start, 15)


@tagged("post_install", "-at_install")
class TestPixelsOfMails(SendgridCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lead = cls.env["crm.lead"].create({"name": "Lead", "partner_id": cls.contact.id})

    def answer(self, body=QUOTED, **headers):
        """Let Ada's answer come in by the mail gateway; return its message."""
        mail = EmailMessage()
        for name, value in {
            "From": "ada@example.org",
            "To": "sales@example.com",
            "Subject": "Re: Your offer",
            "Message-Id": f"<answer-{self.env['mail.message'].search_count([])}@example.org>",
            **headers,
        }.items():
            mail[name] = value
        mail.set_content("Yes, please.")
        mail.add_alternative(body, subtype="html")
        known = self.env["mail.message"].search([])
        self.env["mail.thread"].message_process("crm.lead", mail.as_bytes(), thread_id=self.lead.id)
        return self.env["mail.message"].search([("message_type", "=", "email")]) - known

    def test_incoming(self):
        """Test that an answer loses the pixel that it quotes, and keeps its words and links."""
        message = self.answer()
        self.assertEqual((message.model, message.res_id), ("crm.lead", self.lead.id))
        self.assertNotIn("wf/open", message.body)
        self.assertIn(CLICK, message.body)
        self.assertIn("Your offer", message.body)

    def test_incoming_makes_a_record(self):
        """Test that a record that a mail makes has no pixel in its own text either."""
        self.lead = self.lead.browse()
        message = self.answer()
        lead = self.env["crm.lead"].browse(message.res_id)
        self.assertNotIn("wf/open", f"{lead.description}{message.body}")

    def test_incoming_whatever_happens(self):
        """Test that a mail comes in although it cannot be searched for pixels."""
        with (
            patch.object(mail_thread, "remove_pixels", side_effect=RecursionError),
            mute_logger(mail_thread.__name__),
        ):
            message = self.answer()
        self.assertIn("Yes, please.", message.body)

    def test_pasted(self):
        """Test that what a colleague pastes into the chatter, or writes into a message, has no pixel."""
        message = self.lead.message_post(body=f"Look: {QUOTED}", body_is_html=True)
        self.assertIn(CLICK, message.body)
        self.assertNotIn("wf/open", message.body)
        self.assertIn("<p>Yes, please.</p>", message.body)
        for body in (QUOTED, Markup(QUOTED)):
            message.body = body
            self.assertNotIn("wf/open", message.body)
            self.assertIn("<p>Yes, please.</p>", message.body)

    def test_migration(self):
        """Test that the upgrade takes the pixel out of answers that came in before, and of no older message."""
        with (
            patch.object(mail_thread, "remove_pixels", lambda body: body),
            patch.object(mail_message, "remove_pixels", lambda body: body),
        ):
            old, answer, other = self.answer(), self.answer(), self.answer("<p>Other</p>")
        self.create_email()
        old.date = "2001-01-01"
        self.env.flush_all()
        load("post-pixels.py").migrate(self.env.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        self.assertNotIn("wf/open", answer.body)
        self.assertIn(CLICK, answer.body)
        self.assertIn("wf/open", old.body)
        self.assertIn("Other", other.body)

    def test_forward(self):
        """Test that a forwarded answer leaves without the pixel, and that its links are not tracked a second time."""
        with (
            patch.object(mail_thread, "remove_pixels", lambda body: body),
            patch.object(mail_message, "remove_pixels", lambda body: body),
        ):
            quoted = self.answer().body
        self.assertIn("wf/open", quoted)
        ben = self.env["res.partner"].create({"name": "Ben", "email": "ben@example.net"})
        composer = self.env["mail.compose.message"].create(
            {
                "model": "crm.lead",
                "res_ids": str(self.lead.ids),
                "body": Markup("<p>FYI</p>") + quoted + Markup(IMG),
                "composition_mode": "comment",
                "composition_comment_option": "forward",
                "partner_ids": [Command.set(ben.ids)],
            }
        )
        with self.sending() as sent:
            composer._action_send_mail()
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        [copy] = [copy for copy in sent if copy.recipients == ["ben@example.net"]]
        body = copy.part("html")
        self.assertNotIn("wf/open", body)
        self.assertIn(f'<a{MARK} href="{CLICK}"', body)
        self.assertEqual(copy.smtpapi["filters"]["clicktrack"]["settings"], {"enable_text": 0})

    def test_mail(self):
        """Test that a mail with a pixel in its own body leaves without, and only through a SendGrid account."""
        sent, _emails = self.send_mail(body_html=f"<p>Hello</p>{IMG}")
        self.assertNotIn("wf/open", sent[0].part("html"))
        self.assertIn("Hello", sent[0].part("html"))
        self.server.sendgrid_account_id = False
        sent, _emails = self.send_mail(body_html=f"<p>Hello</p>{IMG}")
        self.assertIn(PIXEL, sent[0].part("html"))

    def test_routes(self):
        """Test that links to the routes of installed modules are marked by Odoo's own word, and cut where shown."""
        host = self.env["ir.config_parameter"].get_param("web.base.url")
        site = self.env["ir.http"]._get_sendgrid_site()
        self.assertTrue(site.routes.match("/chat/12/short"))
        self.assertTrue(site.routes.match("/fr_BE/meet/short"))
        self.assertFalse(site.routes.match("/odoo/action-12"))
        sent, [email] = self.send_mail(
            body_html=f'<p><a href="{host}/meet/short">a</a> <a href="{host}/web/login">b</a></p>'
        )
        self.assertEqual(re.findall(rf'<a{MARK} href="([^"]*)"', sent[0].part("html")), [f"{host}/meet/short"])
        self.assertIn("<a>a</a>", re.sub(r' (?:target|rel)="[^"]*"', "", email.content))
        event = self.receive(self.relay(email).event("click", url=f"{host}/meet/short")).event_ids
        self.assertEqual(event.link, f"{host}/…")

    def test_site_follows(self):
        """Test that another base address is ours as soon as it is set."""
        self.env["ir.config_parameter"].set_param("web.base.url", "https://new.example.com")
        self.assertIn("new.example.com", self.env["ir.http"]._get_sendgrid_site().hosts)


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestMailingLeaves(SendgridCase):
    """A mailing, in a database that has mass mailing. `end_to_end/test_visibility.py` runs it."""

    __test__ = False  # pytest's database does not have it

    def test_measured_once(self):
        """Test that core's pixel and the recipient's part of its short links do not leave through SendGrid."""
        body = (
            '<div><p>Our <a href="https://shop.example.com/autumn">cheese</a></p><p><a href="/view">View</a></p></div>'
        )
        mailing = self.create_mailing(self.contact, body, mail_server_id=self.server.id)
        for is_tracked, acts in ((True, True), (False, True), (True, False)):
            self.server.sendgrid_account_id = self.account if is_tracked else False
            # Where events have no consequences, core alone counts.
            self.account.act_on_events = acts
            is_marked = not (is_tracked and acts)
            sent_mailing = mailing.copy({"mailing_domain": [("id", "in", self.contact.ids)]})
            with self.sending() as sent:
                sent_mailing.action_send_mail()
                self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
            [copy] = sent
            texts = copy.part("html") + copy.part("plain")
            self.assertEqual("/mail/track/" in texts, is_marked)
            self.assertEqual(bool(re.search(r"/r/\w+/m/\d+", texts)), is_marked)
            self.assertTrue(re.search(r'href="[^"]*/r/\w+', copy.part("html")))
            if is_tracked:
                self.assertTrue(re.search(rf'<a{MARK} [^>]*href="[^"]*/mailing/\d+/view', copy.part("html")))

    def test_unmeasured(self):
        """Test that neither a pixel nor a short link leaves to whoever is not measured, and the targets leave instead.

        All links of a run cost one query, also links that differ for each recipient.
        """
        self.env.company.sendgrid_unasked = "everybody"
        target = "https://shop.example.com/autumn?kind=a&n=2"
        pasted = self.env["link.tracker"].create({"url": "https://shop.example.com/pasted", "title": "Pasted"})
        body = (
            f'<div><p><a href="{target.replace("&", "&amp;")}">cheese</a> <a href="{pasted.short_url}">more</a> '
            '<a t-attf-href="https://shop.example.com/of/{{object.id}}">own</a></p>'
            '<p><a href="/view">View</a></p></div>'
        )
        people = self.env["res.partner"].create([{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(12)])
        self.env["sendgrid.address"].create(
            [{"email": email, "email_tracking": "declined"} for email in people[1:].mapped("email")]
        )
        queries, execute = [], type(self.env.cr).execute

        def note(cr, query, *args, **kwargs):
            queries.append(str(getattr(query, "code", query)))
            return execute(cr, query, *args, **kwargs)

        for acts in (True, False):
            self.account.act_on_events = acts
            mailing = self.create_mailing(people, body, mail_server_id=self.server.id)
            mailing.action_send_mail()
            mails = self.env["mail.mail"].search([("mailing_id", "=", mailing.id), ("state", "=", "outgoing")])
            self.assertEqual(len(mails), len(people))
            queries.clear()
            with self.sending() as sent, patch.object(type(self.env.cr), "execute", note):
                mails.send()
            self.assertEqual(len([query for query in queries if "FROM link_tracker_code" in query]), 1)
            for copy in sent:
                html, plain = copy.part("html"), copy.part("plain")
                is_measured = copy.recipients == ["p0@example.org"]
                self.assertEqual("filters" in copy.smtpapi and "opentrack" in copy.smtpapi["filters"], not is_measured)
                self.assertEqual("/r/" in html + plain, is_measured)
                self.assertEqual("/mail/track/" in html + plain, is_measured and not acts)
                if not is_measured:
                    [partner] = people.filtered(lambda one, to=copy.recipients[0]: one.email == to)
                    own = f"https://shop.example.com/of/{partner.id}"
                    self.assertIn(f'href="{target.replace("&", "&amp;")}"', html)
                    self.assertIn(f'href="{own}"', html)
                    self.assertIn('href="https://shop.example.com/pasted"', html)
                    self.assertIn(target, plain)
                    self.assertIn(own, plain)
                    self.assertRegex(html, rf'<a{MARK} [^>]*href="[^"]*/mailing/\d+/view')
            emails = self.env["sendgrid.email"].search([("mailing_res_id", "=", mailing.id)])
            self.assertEqual(
                {email.recipient: email.unmeasured_reason for email in emails},
                {person.email: person != people[0] and "wish" for person in people},
            )
