from markupsafe import Markup

from odoo import Command
from odoo.exceptions import AccessError, MissingError, UserError
from odoo.tests import Form, new_test_user, tagged

from ..models.sendgrid_account_lists import LISTS
from .common import SendgridCase
from .simulator import Relayed


@tagged("post_install", "-at_install")
class TestAddresses(SendgridCase):
    """The address of a list is enough to open it again."""

    def _open(self, path, active_id=None, user=None):
        """Open an address as the web client does: it knows the action's path and the id before it."""
        action = self.env["ir.actions.server"].search([("path", "=", path)])
        self.assertEqual(len(action), 1, path)
        context = {"active_id": active_id, "active_ids": [active_id]} if active_id else {}
        return action.with_user(user or self.env.user).with_context(**context).run()

    def test_address_tells_all(self):
        """Test that each list of a record's documents has a path whose action gives the same list."""
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "ada@example.org"})
        self.create_email(partner_id=self.contact.id)
        for record in (self.contact, lead):
            shown = record.action_view_sendgrid_emails()
            with self.subTest(path=shown["path"]):
                again = self._open(shown["path"], record.id)
                for key in ("domain", "res_model", "path", "display_name"):
                    self.assertEqual(again[key], shown[key])

    def test_without_a_record(self):
        """Test that nothing is shown in the name of a record that is gone, and that a title can be had without one."""
        gone = self.env["res.partner"].create({"name": "Gone"})
        gone.unlink()
        with self.assertRaises(MissingError):
            self._open("sendgrid-contact-documents", gone.id)
        self.assertEqual(self._open("sendgrid-contact-documents")["path"], "sendgrid-documents")

    def test_administrators_lists(self):
        """Test that the lists of administrators are theirs in this way too."""
        for path in ("sendgrid-missed-events", *LISTS):
            with self.subTest(path), self.assertRaises(AccessError):
                self._open(path, 1, user=self.salesperson)

    def test_lists_of_an_account(self):
        """Test that each list behind a figure or finding of an account has an address that leads to that account's."""
        other = self.env["sendgrid.account"].create({"name": "Other"})
        for path, (page, _filter) in LISTS.items():
            with self.subTest(path=path):
                shown = self._open(path, self.account.id)
                self.assertEqual(shown["path"], path)
                self.assertEqual(shown["context"]["active_id"], self.account.id)
                self.assertIn(("account_id", "=", self.account.id), map(tuple, shown["domain"]))
                self.env[shown["res_model"]].search(shown["domain"])
                self.assertNotEqual(self._open(path, other.id)["domain"], shown["domain"])
                self.assertEqual(self._open(path)["id"], self.env.ref(f"sendgrid_tracking.{page}").id)
        form = self.env["sendgrid.account"].get_view(view_type="form")["arch"]
        for path in (*LISTS,)[:5]:
            action = self.env["ir.actions.server"].search([("path", "=", path)])
            self.assertIn(f'name="{action.id}" type="action"', form)
        check = self.env["sendgrid.account.check"].create(
            {
                "account_id": self.account.id,
                "subject": "batches",
                "state": "problem",
                "finding": "failed",
                "date": self.account.create_date,
                "since": self.account.create_date,
            }
        )
        self.assertEqual(check.action_open(), self._open("sendgrid-account-failed", self.account.id))


@tagged("post_install", "-at_install")
class TestMessages(SendgridCase):
    """What open pages hear of new documents."""

    def setUp(self):
        super().setUp()
        self.told = []
        self.patch(
            type(self.env["sendgrid.email"]),
            "_send_to_pages",
            lambda emails, ids, owners, is_new: self.told.append((ids, owners, is_new)),
        )

    def test_new_documents(self):
        """Test that one message tells of all mails of a transaction, with whatever shows them, after its end."""
        firm = self.env["res.partner"].create({"name": "Firm", "is_company": True})
        self.contact.parent_id = firm
        lead = self.env["crm.lead"].create({"name": "Lead"})
        _sent, first = self.send_mail(model="crm.lead", res_id=lead.id)
        _sent, second = self.send_mail()
        self.assertFalse(self.told)
        with self.enter_registry_test_mode():
            self.env.cr.postcommit.run()
        self.assertEqual(
            self.told,
            [
                (
                    sorted((first | second).ids),
                    {
                        "res.partner": sorted([self.contact.id, firm.id]),
                        "crm.lead": lead.ids,
                        "mail.message": sorted((first | second).mail_message_id.ids),
                    },
                    True,
                )
            ],
        )

    def test_a_run_tells_once(self):
        """Test that a run that commits each of its mails, such as that of the queue, tells of all when it ends."""
        mails = self.env["mail.mail"].create(
            [
                {
                    "subject": subject,
                    "body_html": "<p>Hello</p>",
                    "email_from": "salesperson@example.com",
                    "mail_server_id": self.server.id,
                    "recipient_ids": self.contact.ids,
                }
                for subject in ("One", "Two", "Three")
            ]
        )
        message_ids = mails.mapped("message_id")
        told_at_commits = []

        def commit():
            self.env.cr.postcommit.run()
            told_at_commits.append(len(self.told))

        self.patch(self.env.cr, "commit", commit)
        with self.enter_registry_test_mode(), self.sending():
            mails.send(auto_commit=True)
            commit()
        self.assertEqual(told_at_commits, [0, 0, 0, 1])
        emails = self.Email.search([("message_id", "in", message_ids)], order="id")
        about = {"res.partner": self.contact.ids, "mail.message": sorted(emails.mail_message_id.ids)}
        self.assertEqual(self.told, [(emails.ids, about, True)])

    def test_a_retry_is_no_news(self):
        """Test that nothing is told if no document was created."""
        self.Email._notify_created([], [])
        self.env.cr.postcommit.run()
        self.assertFalse(self.told)


@tagged("post_install", "-at_install")
class TestAgain(SendgridCase):
    """An e-mail that is sent again, and the new one."""

    def setUp(self):
        super().setUp()
        self.former = self.create_email(
            partner_id=self.contact.id,
            model="res.partner",
            res_id=self.contact.id,
            subject="Once",
            content="<p>Hello</p>",
        )
        self.receive(self.relay(self.former).event("bounce", reason="550 5.1.1 no such user", type="bounce"))

    def _send_again(self, email, user=None, **values):
        action = email.with_user(user or self.salesperson).action_send_again()
        context = action["context"]
        form = Form(self.env["mail.compose.message"].with_user(user or self.salesperson).with_context(**context))
        composer = form.save()
        composer.write(values)
        with self.sending() as sent:
            answer = composer.action_send_mail()
        return sent, answer

    def test_both_know_each_other(self):
        self.assertFalse(self.former.again_date)
        sent, answer = self._send_again(self.former)
        self.assertEqual(len(sent), 1)
        self.assertEqual((answer["tag"], answer["params"]["type"]), ("display_notification", "success"))
        self.assertIn(self.contact.display_name, answer["params"]["message"])
        new = self.Email.search([("again_of_id", "=", self.former.id)])
        self.assertEqual(new.recipient, "ada@example.org")
        self.env.invalidate_all()
        self.assertTrue(self.former.again_date)
        self.assertEqual(self.former.with_user(self.salesperson).action_view_again()["res_id"], new.id)
        # The new one was not sent again.
        self.assertFalse(new.again_date)

    def test_nobody_to_send_to(self):
        """Test that nothing is said to be on its way to nobody: a lead without a contact, a contact without address."""
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": "nobody@example.org"})
        mute = self.env["res.partner"].create({"name": "Mute"})
        for record, partner in ((lead, self.env["res.partner"]), (mute, mute)):
            email = self.create_email(
                "nobody@example.org",
                model=record._name,
                res_id=record.id,
                partner_id=partner.id,
                content="<p>Hello</p>",
            )
            before = record.message_ids
            with self.subTest(record=record), self.assertRaisesRegex(UserError, "to whom"):
                self._send_again(email, self.env.user)
            self.assertEqual(record.message_ids, before)
            sent, answer = self._send_again(email, self.env.user, partner_ids=[Command.set((self.contact | mute).ids)])
            self.assertEqual(len(sent), 1)
            self.assertIn(self.contact.display_name, answer["params"]["message"])
            self.assertNotIn("Mute", answer["params"]["message"])

    def test_note_is_not_sent(self):
        """Test that a note that somebody writes in the composer instead does not count."""
        self._send_again(self.former, subtype_id=self.env.ref("mail.mt_note").id, partner_ids=[Command.clear()])
        self.env.invalidate_all()
        self.assertFalse(self.former.again_date)

    def test_only_who_sees_it(self):
        """Test that nobody can mark an e-mail that he does not see."""
        hidden = self.create_email("x@example.org", author_id=False)
        self.contact.with_user(self.salesperson).with_context(sendgrid_again_of=hidden.id).message_post(
            body="x", message_type="comment", subtype_xmlid="mail.mt_comment"
        )
        self.assertFalse(self.env["mail.mail"].search([("sendgrid_again_of_id", "=", hidden.id)]))


@tagged("post_install", "-at_install")
class TestShown(SendgridCase):
    """What a document and the lists say."""

    def test_other_recipients(self):
        """Test that a document names the other recipients of its message, and a Bcc only to who may know it."""
        about = {"model": "res.partner", "res_id": self.contact.id, "message_id": "<one@example.com>"}
        to = self.create_email("to@example.org", recipient_role="to", **about)
        self.create_email("cc@example.org", recipient_role="cc", **about)
        hidden = self.create_email("bcc@example.org", recipient_role="bcc", **about)
        self.create_email("other@example.org", **{**about, "message_id": "<two@example.com>"})
        colleague = new_test_user(self.env, "sendgrid_colleague", groups="base.group_user,base.group_partner_manager")
        admin = new_test_user(self.env, "sendgrid_admin", groups="base.group_user,base.group_system")
        self.assertEqual(to.with_user(colleague).also_sent_to, "cc@example.org (Cc)")
        self.assertFalse(hidden.with_user(colleague).has_access("read"))
        for user in (self.salesperson, admin):
            self.assertEqual(to.with_user(user).also_sent_to, "bcc@example.org (Bcc), cc@example.org (Cc)")

    def test_preview(self):
        """Test the beginning of e-mails: plain text, without links, code and layout; nothing if there is nothing."""
        for body, words in (
            ("<p>Dear <b>Ada</b>,</p><p>the offer</p>", "Dear Ada, the offer"),
            ("<style>p { color: red }</style><title>T</title><p>Hello<br/>you</p><!-- no -->", "Hello you"),
            ("<p>See https://www.example.com/my/orders/7?access_token=secret now</p>", "See … now"),
            ("<p><br/></p>", False),
            ("", False),
        ):
            with self.subTest(body=body):
                self.assertEqual(self.create_email(content=body).preview or False, words)
        self.assertLessEqual(len(self.create_email(content=f"<p>{'word ' * 500}</p>").preview), 160)

    def test_preview_of_a_page_in_one_pass(self):
        """Test that a page of previews costs no more queries than one."""

        def count(emails):
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            emails.mapped("preview")
            return self.env.cr.sql_log_count - before

        message = self.contact.message_post(body=Markup("<p>Hello</p><p>you</p>"))
        emails = self.Email.browse(
            self.create_email(f"{number}@example.org", mail_message_id=message.id).id for number in range(80)
        )
        self.assertEqual(set(emails.mapped("preview")), {"Hello you"})
        count(emails[0])
        self.assertEqual(count(emails), count(emails[0]))

    def test_preview_of_what_cannot_be_read(self):
        """Test that a list opens whatever the e-mails in it hold."""
        for body, words in (
            ("<!-- only a comment -->", False),
            ("<?xml version='1.0' encoding='utf-8'?><p>Grüße</p>", "Grüße"),
            ("<?xml version='1.0' encoding='utf-8'?>", False),
            ("<![CDATA[x]]>", False),
        ):
            with self.subTest(body=body):
                self.assertEqual(self.create_email(content=body).preview or False, words)

    def test_no_preview_of_what_gives_access(self):
        """Test that an e-mail with a password's link shows no words in a list, also while its message exists."""
        message = self.contact.message_post(body=Markup("<p>Your code is 123456</p>"))
        email = self.create_email(mail_message_id=message.id, content_state="credentials")
        self.assertFalse(email.preview)

    def test_preview_costs_no_query_for_each(self):
        """Test that a page of e-mails with messages of their own, or with contents only, takes a few queries."""
        with_messages = self.Email.union(
            *(
                self.create_email(
                    mail_message_id=self.contact.message_post(body=Markup("<p>Hello %s</p>") % number).id,
                    content="<p>Layout</p>",
                )
                for number in range(80)
            )
        )
        with_contents = self.Email.union(*(self.create_email(content=f"<p>Hello {number}</p>") for number in range(80)))
        for emails, queries in ((with_messages, 2), (with_contents, 2)):
            self.env.flush_all()
            self.env.invalidate_all()
            with self.assertQueryCount(queries):
                previews = emails.mapped("preview")
            self.assertEqual(previews, [f"Hello {number}" for number in range(80)])

    def test_technical_columns(self):
        """Test that nothing technical is offered as a measure, to group by, to filter by or to export."""
        shown = self.Email.with_user(self.salesperson).fields_get()
        technical = {
            "sendgrid.email": (
                *("mailing_res_id", "res_id", "odoo_id", "is_alone", "message_id", "sg_message_id"),
                *("content_has_secrets", "content_state", "reminder_days"),
            ),
            "sendgrid.event": ("fingerprint", "odoo_id", "sg_event_id", "sg_message_id", "smtp_id", "url_offset"),
            "sendgrid.interaction": ("mailing_res_id",),
        }
        for model, names in technical.items():
            described = self.env[model].with_user(self.salesperson).fields_get()
            for name in names:
                with self.subTest(model=model, field=name):
                    about = described[name]
                    self.assertFalse(about.get("groupable"))
                    self.assertFalse(about.get("searchable"))
                    self.assertFalse(about.get("exportable", False))
                    self.assertFalse(about.get("aggregator"))
        self.assertTrue(shown["status"]["groupable"])
        self.assertTrue(shown["open_count"]["aggregator"])

    def test_untracked_links(self):
        """Test that the step Clicked says where links are not tracked on purpose, and only there."""
        for body, is_noted in (
            ("<a href='https://www.example.com/my/orders/7?access_token=0123456789abcdef0123456789'>Order</a>", True),
            ("<a href='https://www.example.com/offer'>Offer</a>", False),
        ):
            email = self.create_email(content=body)
            self.receive(self.relay(email).event("delivered"))
            [step] = [step for step in email.journey if step["status"] == "clicked"]
            self.assertEqual(bool(step["note"]), is_noted)

    def test_long_mail(self):
        """Test that an e-mail that Gmail cuts says that an open may not be noticed."""
        email = self.create_email(content=f"<p>{'x' * 110_000}</p>")
        self.receive(self.relay(email).event("delivered"))
        self.assertIn("Gmail", email.engagement_summary)

    def test_blacklist_names_the_right_mail(self):
        """Test that the blacklist's entry does not name an e-mail that did not arrive as the one with the wish."""
        about = {"partner_id": self.contact.id, "model": "res.partner", "res_id": self.contact.id}
        dropped = self.create_email(subject="Dropped", **about)
        self.receive(self.relay(dropped).event("dropped", reason="Unsubscribed Address"))
        entry = self.env["mail.blacklist"].search([("email", "=", "ada@example.org")])
        told = str(entry.message_ids.mapped("body"))
        self.assertIn("the address has unsubscribed.<br>The e-mail that did not arrive: “Dropped”", told)

    def test_unsubscribed_in_the_right_mail(self):
        """Test that the warning never names an e-mail that did not arrive as the one with the wish."""
        arrived, dropped = (
            self.create_email(subject=subject, partner_id=self.contact.id, model="res.partner", res_id=self.contact.id)
            for subject in ("It arrived", "It was dropped")
        )
        self.receive(self.relay(arrived).event("delivered"), self.relay(arrived).event("unsubscribe"))
        self.receive(
            self.relay(dropped).event("dropped", reason="Unsubscribed Address"),
            self.relay(dropped).event("unsubscribe", timestamp=self.after(dropped, 3600)),
        )
        warning = self.contact.with_user(self.salesperson).sendgrid_warning
        self.assertIn("unsubscribed", warning)
        self.assertNotIn("It was dropped", warning)

    def test_attach_narrows(self):
        """Test that the dialog offers the e-mails to the event's recipient, each with its address and date."""
        mine, _other = self.create_email("lost@example.org"), self.create_email("other@example.org")
        self.receive(Relayed(["lost@example.org"]).event("open"))
        event = self.Event.search([("recipient", "=", "lost@example.org"), ("email_id", "=", False)])
        if not event:
            event = self.Event.create(
                {
                    "account_id": self.account.id,
                    "match": "foreign",
                    "event": "open",
                    "recipient": "lost@example.org",
                    "timestamp": mine.sent_date,
                    "fingerprint": "lost",
                }
            )
        dialog = self.env["sendgrid.event.attach"].create({"email_id": mine.id, "event_ids": [Command.set(event.ids)]})
        self.assertEqual(dialog.offered_ids, mine)
        name = mine.with_context(sendgrid_full_name=True).display_name
        self.assertIn("lost@example.org", name)
        self.assertIn(mine.subject, name)
