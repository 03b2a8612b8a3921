"""Tests that a document shows what its recipient saw, and that each content is stored once, without secrets."""

import re
from datetime import timedelta
from unittest.mock import Mock, patch

import psycopg2
from markupsafe import Markup

from odoo import Command, fields
from odoo.tests import BaseCase, tagged
from odoo.tools import mute_logger

from ..tools.sending import difference
from ..tools.sending.contents import Content, Contents
from ..tools.sending.disarm import disarm
from .common import SendgridCase, Undo
from .properties import given, quick, st
from .test_migrations import load

SITE = "https://odoo.example.com"
TOKEN = "0d9f8a7b6c5d4e3f2a1b"
LETTER = (
    "<div><p>Dear {name},</p><p>our shop has moved. <b>Come and see</b> what is new there, and bring this letter.</p>"
    "<p>We are open from nine to five on all days but Sundays; the street is behind the station, to the left.</p>"
    f"<a href='{SITE}/shop'>Shop</a> <a href='{SITE}/unsubscribe?token={TOKEN}{{name}}'>Leave</a></div>"
)
MESSY = st.text(alphabet=st.sampled_from("ab <>\"'=&;/é€\u0000\ud800 \n"), max_size=60)
BODIES = st.lists(
    st.tuples(
        st.sampled_from([LETTER, "<p>{name}</p>", "{name}", LETTER * 30]),
        st.one_of(MESSY, st.sampled_from(["Ada", "Bob", "Ada Lovelace", "<b>Cleo</b> <i>x</i>"])),
    ),
    max_size=8,
)


class TestDifference(BaseCase):
    """Texts that are stored as the difference from another one."""

    @quick
    @given(MESSY, MESSY, st.sampled_from(["", "x " * 40_000, "<p>y</p>" * 20_000]))
    def test_exact(self, one, other, long):
        """Test that any text comes back exactly, from whatever it differs, also behind 32 KB."""
        for base, text in ((one + long + other, other + long + one), (one, long + other), (long, one + long)):
            self.assertEqual(difference.patch(base, difference.difference(base, text)), text)
            self.assertEqual(difference.unpack(difference.pack(text)), text)

    def test_small(self):
        """Test that a few words are a few bytes, also at both ends of a text that deflate cannot look back over."""
        base = "<p>Dear Ada,</p>" + '<td style="color:red">Desk</td>' * 5_000 + "<p>Code 1234</p>"
        text = base.replace("Ada", "Bob").replace("1234", "9876")
        self.assertLess(len(difference.difference(base, text)), 60)

    def test_common(self):
        """Test that what two texts have in common has no word that only one of them has, and no part of a word."""
        self.assertEqual(difference.common("<p>Dear Ada, hello</p>", "<p>Dear Adam, hello</p>"), "<p>Dear  hello</p>")


class TestContents(BaseCase):
    """The memory of a run."""

    @quick
    @given(BODIES, st.booleans(), st.sampled_from([None, 7]))
    def test_exact(self, bodies, is_one_message, mailing_id):
        """Test that whatever bodies leave in a run, each reads back as it was but for its secret links."""
        contents = Contents()
        for number, (form, name) in enumerate(bodies):
            body = form.replace("{name}", name)
            kept = contents.keep(body, 1 if is_one_message else number + 1, mailing_id)
            if not body:
                self.assertEqual((kept.state, kept.content), ("empty", None))
                continue
            text = difference.unpack(kept.content.packed)
            if kept.changes is not None:
                text = difference.patch(text, kept.changes)
            self.assertEqual((text, kept.has_secrets), disarm(body))
            self.assertNotIn(TOKEN, text)

    def test_nobody_is_left_behind(self):
        """Test that of mails of several messages no content that others need has the words of one of them."""
        contents = Contents()
        kept = [contents.keep(LETTER.replace("{name}", f"Name{n}"), n) for n in range(1, 50)]
        self.assertEqual(len({one.content for one in kept}), 2, "the first, and what the others have in common")
        self.assertIsNone(kept[0].changes)
        self.assertNotIn("Name", difference.unpack(kept[-1].content.packed))
        self.assertTrue(kept[-1].content.is_common)
        self.assertLess(max(len(one.changes) for one in kept[1:]), 40)

    def test_markup(self):
        """Test that a body that other modules give as markup is read as text, and comes back as it was."""
        contents = Contents()
        for number, name in enumerate(("Ada", "Bob", "Cleo")):
            body = LETTER.partition("<a ")[0].replace("{name}", name)
            kept = contents.keep(Markup(body), number)
            text = difference.unpack(kept.content.packed)
            self.assertNotIn("&lt;", text)
            if kept.changes is not None:
                text = difference.patch(text, kept.changes)
            self.assertEqual(text, body)

    def test_mailings_are_not_mixed(self):
        """Test that a mailing has contents of its own, and goes on with those that are stored."""
        contents, asked = Contents(), []
        first = [contents.keep(LETTER.replace("{name}", f"Name{n}"), n, 7) for n in range(1, 4)]

        def find(mailing_id):
            asked.append(mailing_id)
            return [(11, first[1].content.packed, True), (10, first[0].content.packed, False)]

        other = Contents()
        kept = [other.keep(LETTER.replace("{name}", f"Name{n}"), n, 7, find=find) for n in range(4, 7)]
        self.assertEqual(({one.content.id for one in kept}, asked), ({11}, [7]))
        self.assertIsNone(other.keep(LETTER.replace("{name}", "X"), 9, 8).content.id)


class ContentCase(SendgridCase):
    """Ways to send, and to look at what is stored."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["ir.config_parameter"].set_param("web.base.url", SITE)
        cls.Content = cls.env["sendgrid.content"]
        cls.lead = cls.env["crm.lead"].create(
            {"name": "Lead", "partner_id": cls.contact.id, "user_id": cls.salesperson.id}
        )
        cls.salesperson.signature = "<p>Sally, your desk</p>"

    def post(self, record, partners, **values):
        """Post a message in a record's chatter, and return (message, documents, messages that left)."""
        values = {
            "body": "Hello there",
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_comment",
            "partner_ids": partners.ids,
            **values,
        }
        with self.sending() as sent:
            message = record.with_user(self.salesperson).message_post(**values)
        emails = self.find_emails(message.message_id)
        self.env.invalidate_all()
        return message, emails, sent

    def stored(self, emails):
        """Return the texts of the contents that documents share, as they are stored."""
        return [difference.unpack(bytes(content.packed)) for content in emails.sudo().content_id]


@tagged("post_install", "-at_install")
class TestContent(ContentCase):
    """What documents show and store, by the doors by which Odoo sends."""

    def test_chatter(self):
        """Test that the document has layout and signature, and stays as it was when the message is edited or gone."""
        message, email, [sent] = self.post(self.lead, self.contact)
        self.assertIn("Sally, your desk", sent.part("html"))
        content = email.content
        for piece in ("Hello there", "Sally, your desk"):
            self.assertIn(piece, content)
        self.assertFalse(email.content_note)
        self.lead.with_user(self.salesperson)._message_update_content(message, body="Something else")
        self.env.invalidate_all()
        self.assertNotIn("Hello", message.body)
        self.assertEqual(email.content, content)
        message.unlink()
        self.env.invalidate_all()
        self.assertEqual(email.content, content)

    def test_shared(self):
        """Test that copies that differ only in secret links are one content, and nothing is written beside it."""
        partners = self.env["res.partner"].create(
            [{"name": f"Guest {n}", "email": f"guest{n}@example.org"} for n in range(5)]
        )

        def personalize(mail, body, partner=False, doc_to_followers=None):
            return body.replace(
                "Hello there", f"Hello <a href='{SITE}/mail/unfollow?token={TOKEN}{partner.id}'>Bye</a>"
            )

        with patch.object(type(self.env["mail.mail"]), "_personalize_outgoing_body", personalize):
            _message, emails, sent = self.post(self.lead, partners)
        self.assertEqual((len(emails), len(sent)), (5, 5))
        self.assertGreater(len({copy.part("html") for copy in sent}), 1, "each has his own link to unfollow")
        self.assertEqual(len(emails.content_id), 1)
        self.assertFalse(any(emails.mapped("content_changes")))
        [stored] = self.stored(emails)
        for token in re.findall(r"token=([\w\-]{8,})", "".join(copy.part("html") for copy in sent)):
            self.assertNotIn(token, stored)
        self.assertTrue(all(emails.mapped("has_secret_links")))

    def test_button(self):
        """Test that a button with the recipient's key is shown without it, and that the key is stored nowhere."""
        body = f"<p>Your order</p><a href='{SITE}/my/orders/7?access_token={TOKEN}' style='color:red'>View it</a>"
        _sent, email = self.send_mail(body_html=body, auto_delete=True)
        self.assertIn("View it", email.content)
        self.assertTrue(email.has_secret_links)
        self.assertNotIn(TOKEN, email.content + "".join(self.stored(email)))

    def test_styles(self):
        """Test that a button has its colours: with white words on a background that was lost, nobody sees it."""
        body = "<table><tr><td style='background: #875A7B'><b style='color: #FFFFFF'>Sign</b></td></tr></table>"
        _sent, email = self.send_mail(body_html=body)
        self.assertIn("background: #875A7B", email.content)
        self.assertIn("color: #FFFFFF", email.content)

    def test_image(self):
        """Test that Odoo's own image is shown to whoever may read it, without the recipient's token."""
        image = self.env["ir.attachment"].create({"name": "x.png", "raw": b"x"})
        source = f"/web/image/{image.id}"
        body = f'<p>Hello <img src="{source}?access_token={TOKEN}"/></p>'
        [sent], email = self.send_mail(body_html=body)
        self.assertIn(TOKEN, sent.part("html"))
        self.assertIn(f'src="{SITE}{source}"', email.content)
        self.assertNotIn(TOKEN, "".join(self.stored(email)))

    def test_template(self):
        """Test that mails to many records have one content in common, and each document its own values."""
        leads = self.env["crm.lead"].create(
            [{"name": f"Lead{n}", "email_from": f"lead{n}@example.org"} for n in range(20)]
        )
        template = self.env["mail.template"].create(
            {
                "name": "Moved",
                "model_id": self.env["ir.model"]._get_id("crm.lead"),
                "subject": "Moved, {{ object.name }}",
                "body_html": LETTER.replace("{name}", "<t t-out='object.name'/>"),
                "email_to": "{{ object.email_from }}",
                "mail_server_id": self.server.id,
                "auto_delete": True,
            }
        )
        composer = self.env["mail.compose.message"].create(
            {
                "composition_mode": "mass_mail",
                "model": "crm.lead",
                "res_ids": str(leads.ids),
                "template_id": template.id,
                "force_send": True,
            }
        )
        with self.sending():
            composer._action_send_mail()
        emails = self.Email.search([("res_id", "in", leads.ids), ("model", "=", "crm.lead")])
        self.assertEqual(len(emails), 20)
        for email in emails:
            lead = leads.browse(email.res_id)
            self.assertIn(f"Dear {lead.name},", email.content)
            self.assertEqual(len(re.findall(r"Lead\d+", email.content)), 1)
        self.assertLessEqual(len(emails.content_id), 2)
        # Nothing of a recipient is left when his document is.
        emails.filtered(lambda email: email.res_id == leads[0].id).unlink()
        self.assertNotRegex("".join(self.stored(emails.exists())), r"Lead\d")

    def test_same_in_a_run(self):
        """Test that mails with one body share its content, across messages too, and write nothing of their own."""
        mails = self.env["mail.mail"].create(
            [
                {"subject": "x", "body_html": "<p>Hello</p>", "email_to": f"x{n}@example.org", "auto_delete": True}
                for n in range(5)
            ]
        )
        with self.sending():
            mails.send()
        emails = self.Email.search([("subject", "=", "x")])
        self.assertEqual((len(emails), len(emails.content_id)), (5, 1))

    def test_plain(self):
        """Test that a mail without HTML keeps its text, as text."""
        build = type(self.env["ir.mail_server"])._build_email__

        def build_plain(server, *args, **kwargs):
            return build(server, *args, **{**kwargs, "body": "Hello <you>\n& all", "subtype": "plain"})

        with patch.object(type(self.env["ir.mail_server"]), "_build_email__", build_plain):
            _sent, email = self.send_mail()
        self.assertIn("Hello &lt;you&gt;", email.content)

    def test_nothing(self):
        """Test that an empty content says why it is empty."""
        for values, state, words in (
            ({"body_html": "<p><br></p>"}, "empty", "without any text"),
            ({"body_html": f"<a href='{SITE}/web/reset_password?token={TOKEN}'>x</a>"}, "credentials", "access"),
            ({"model": "res.users", "res_id": self.salesperson.id}, "credentials", "access"),
        ):
            with self.subTest(state, **values):
                _sent, email = self.send_mail(auto_delete=True, **values)
                self.assertEmail(email, content_state=state, content_id=False)
                self.assertFalse(email.content)
                self.assertIn(words, email.content_note)

    def test_before(self):
        """Test that a document without content shows its message as it is now, and says so."""
        message = self.contact.message_post(body="As it is now")
        email = self.create_email(mail_message_id=message.id)
        self.assertIn("As it is now", email.content)
        self.assertIn("as it is now", email.content_note)
        message.unlink()
        self.env.invalidate_all()
        self.assertFalse(email.content)
        self.assertIn("gone", email.content_note)

    def test_send_again(self):
        """Test that what is sent again has the message's words, not the layout and signature around them."""
        message, email, _sent = self.post(self.lead, self.contact)
        body = email.with_user(self.salesperson).action_send_again()["context"]["default_body"]
        self.assertEqual(body, message.body)

    # ------------------------------------------------------------
    # WHAT GOES WRONG
    # ------------------------------------------------------------

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_content")
    def test_keeping_fails(self):
        """Test that a mail whose content cannot be read has a document all the same."""
        with patch("odoo.addons.sendgrid_tracking.tools.sending.contents.disarm", side_effect=ValueError):
            sent, email = self.send_mail()
        self.assertEqual((len(sent), email.content_state), (1, False))

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent")
    def test_content_is_gone(self):
        """Test that a document whose shared content was deleted meanwhile gets a content of its own."""
        mails = self.env["mail.mail"].create(
            [{"subject": "x", "body_html": "<p>Hello</p>", "email_to": f"x{n}@example.org"} for n in range(2)]
        )

        def forget(sent):
            self.Email.search([("subject", "=", "x")]).unlink()

        with self.sending(forget):
            mails.send()
        email = self.Email.search([("subject", "=", "x")])
        self.assertEmail(email, recipient="x1@example.org", content_state="kept")
        self.assertIn("Hello", email.content)

    def test_store_the_same(self):
        """Test that contents with equal bytes are stored once, and that each of them knows its id."""
        contents = [Content(difference.pack(text)) for text in ("one", "two", "one")]
        self.Content._store(contents)
        self.assertTrue(all(content.id for content in contents))
        self.assertEqual(contents[0].id, contents[2].id)
        self.assertEqual(self.Content.browse(content.id for content in contents[:2]).mapped("text"), ["one", "two"])

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_email_sent")
    def test_storing_fails(self):
        """Test that a mail whose content cannot be stored has a document with all but that."""
        broken = {"_store": Mock(side_effect=psycopg2.DataError)}
        with patch.multiple(self.env.registry["sendgrid.content"], **broken):
            sent, email = self.send_mail()
        self.assertEqual(len(sent), 1)
        self.assertEmail(email, recipient="ada@example.org", status="sent", content_state=False)

    def test_rolled_back(self):
        """Test that documents that are written again after a rollback have their contents, once."""
        with self.enter_registry_test_mode():
            with self.assertRaises(Undo), self.env.cr.savepoint():
                for name in ("Ada", "Bob"):
                    self.send_mail(email_to=f"{name}@example.org", body_html=LETTER.replace("{name}", name))
                raise Undo
            self.env.invalidate_all()
            self.assertFalse(self.Email.search([("recipient", "=", "ada@example.org")]))
            self.env.cr.postrollback.run()
        emails = self.Email.search([("recipient", "in", ["ada@example.org", "bob@example.org"])])
        self.assertEqual(len(emails), 2)
        for email in emails:
            self.assertIn("Dear Ada" if "ada" in email.recipient else "Dear Bob", email.content)

    def test_sent_twice(self):
        """Test that a copy that is recorded again leaves no content behind."""
        _sent, email = self.send_mail(auto_delete=False)
        email.mail_id.state = "outgoing"
        before = email.content_id
        with self.sending():
            email.mail_id.send()
        self.assertEqual(self.find_emails(email.message_id), email)
        self.Content._gc_unused()
        self.assertEqual(self.Content.search([]), before)
        self.assertIn("Hello", email.content)

    # ------------------------------------------------------------
    # FORGOTTEN
    # ------------------------------------------------------------

    def test_retention(self):
        """Test that a content goes with the last document that shares it."""
        _sent, first = self.send_mail(
            body_html="<p>Old</p>",
            recipient_ids=[
                Command.link(self.contact.id),
                Command.link(self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"}).id),
            ],
        )
        self.assertEqual((len(first), len(first.content_id)), (2, 1))
        _sent, young = self.send_mail(body_html="<p>Young</p>")
        first[0].sent_date = fields.Datetime.now() - timedelta(days=400)
        self.account.company_id = self.env.company
        self.env.company.sendgrid_document_months = 12
        contents = first.content_id | young.content_id
        for number in range(2):
            self.env.flush_all()
            with patch.object(type(self.env["ir.cron"]), "_commit_progress", return_value=1.0):
                self.env["sendgrid.retention"]._cron_forget()
            self.env.invalidate_all()
            self.assertEqual(len(first.exists()), 1 - number)
            self.assertEqual(len(contents.exists()), 2 - number)
            self.assertIn("Young", young.content)
            if not number:
                self.assertIn("Old", first[1].content)
                first[1].sent_date = first[1].sent_date - timedelta(days=400)
                self.env["sendgrid.retention"].search([]).documents_date = False

    # ------------------------------------------------------------
    # MIGRATED
    # ------------------------------------------------------------

    def test_migration(self):
        """Test that bodies of before become contents: each once, without secrets; a second time changes nothing."""
        script = load("post-contents.py")
        # Only our own site tells that the second link's last part is a key.
        own = f"{SITE}/chat/7/kitchen"
        secret = f"<p>Hello</p><a href='{SITE}/my/orders/7?access_token={TOKEN}'>x</a><a href='{own}'>y</a>"
        bodies = {
            "one": "<p>Hello</p>" * 9,
            "two": "<p>Hello</p>" * 9,
            "secret": secret,
            "none": None,
            "password": f"<a href='{SITE}/web/signup?token={TOKEN}'>x</a>",
            "user": None,
        }
        emails = {}
        for name in bodies:
            values = {"model": "res.users", "res_id": self.salesperson.id} if name == "user" else {}
            message_id = "<copy@example.com>" if name in ("one", "two") else f"<{name}@example.com>"
            emails[name] = self.create_email(f"{name}@example.org", message_id=message_id, **values)
        self.env.flush_all()
        self.env.cr.execute("ALTER TABLE sendgrid_email ADD COLUMN body text")
        for name, body in bodies.items():
            self.env.cr.execute("UPDATE sendgrid_email SET body = %s WHERE id = %s", [body, emails[name].id])
        for chunk in (2, 500):
            with patch.object(script, "CHUNK", chunk):
                script.migrate(self.env.cr, "19.0.1.0.0")
            self.env.invalidate_all()
            self.assertEqual(emails["one"].content_id, emails["two"].content_id)
            self.assertEqual(self.Content.search_count([]), 2)
            for name, state, found in (
                ("one", "kept", True),
                ("secret", "kept", True),
                ("none", False, False),
                ("password", "credentials", False),
                ("user", "credentials", False),
            ):
                with self.subTest(name):
                    self.assertEmail(emails[name], content_state=state)
                    self.assertEqual("Hello" in (emails[name].content or ""), found)
            self.assertTrue(emails["secret"].has_secret_links)
            stored = "".join(self.stored(self.Email.browse(email.id for email in emails.values())))
            self.assertNotIn(TOKEN, stored)
            self.assertNotIn("kitchen", stored)


@tagged("post_install", "-at_install", "sendgrid_applications")
class TestMailingContent(ContentCase):
    """The same where mass mailing is installed."""

    def test_mailing(self):
        """Test that a mailing's documents have what went out, each with its own values, and store it once."""
        if "mailing.mailing" not in self.env:
            self.assertNotIn("mass_mailing", self.env["ir.module.module"]._installed())
            return
        contacts = self.env["res.partner"].create(
            [{"name": f"Reader{n}", "email": f"reader{n}@example.org"} for n in range(120)]
        )
        body = LETTER.replace("{name}", "<t t-out='object.name'/>").replace(
            "<div>", "<div>" + "<p>News &amp; more</p>" * 99
        )
        mailing = self.create_mailing(contacts, body)
        with self.sending() as sent:
            mailing.action_send_mail()
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        emails = self.Email.search([("mailing_res_id", "=", mailing.id)])
        self.assertEqual((len(emails), len(sent)), (120, 120))
        for email in emails:
            self.assertEqual(re.findall(r"Reader\d+", email.content), [email.partner_id.name])
            self.assertNotIn(TOKEN, email.content)
            self.assertIn("News &amp; more", email.content)
        self.assertLessEqual(len(emails.content_id), 2, "in however many runs it leaves")
        mailing.body_html = "<p>Another</p>"
        self.env.invalidate_all()
        self.assertNotIn("Another", emails[0].content)
