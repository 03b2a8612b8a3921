"""Tests that nobody reads in a document what Odoo does not show him.

Core's modules send something. Then each test compares who may read the message and its record in Odoo with who may read
the document, its events, its content, its attachments and its counts.
"""

import runpy
from datetime import timedelta
from pathlib import Path

from odoo import Command, fields
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .common import SendgridCase

SALESPERSON = "base.group_user,base.group_partner_manager,sales_team.group_sale_salesman"
USERS = {
    "author": SALESPERSON,
    "own": SALESPERSON,
    "all": "base.group_user,base.group_partner_manager,sales_team.group_sale_salesman_all_leads",
    "without rights": "base.group_user",
    "other company": "base.group_user,base.group_partner_manager,sales_team.group_sale_salesman_all_leads",
    "portal": "base.group_portal",
}
COLLEAGUES = {"own", "all", "without rights", "other company"}
EMPLOYEES = COLLEAGUES | {"author"}
TOKEN = "never-to-be-seen"
ACCEPT = f"https://odoo.example.com/calendar/meeting/accept?token={TOKEN}&id=3"


class VisibilityCase(SendgridCase):
    """Users of each kind, and methods that compare what each of them may read."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other_company = cls.env["res.company"].create({"name": "Another"})
        cls.users = {
            name: new_test_user(
                cls.env, f"visibility_{name.replace(' ', '_')}", groups=groups, email=f"{name.split()[0]}@example.com"
            )
            for name, groups in USERS.items()
        }
        cls.users["other company"].write(
            {"company_ids": [Command.set(cls.other_company.ids)], "company_id": cls.other_company.id}
        )
        cls.author = cls.users["author"]
        cls.guest = cls.env["res.partner"].create({"name": "Guest", "email": "guest@example.org"})

    def _in_core(self, sent):
        """Return the names of the users who may read a message in core, and check that they may read its record.

        It has to be called while the mail leaves, because core may delete the message afterwards.

        :param sent: the mail, as `sending` records it
        """
        message = self.env["mail.message"].sudo().search([("message_id", "=", sent.message["Message-Id"])])
        self.assertEqual(len(message), 1)
        self.env.flush_all()
        allowed = set()
        for name, user in self.users.items():
            mine = message.with_user(user)
            with mute_logger("odoo.addons.base.models.ir_model"):
                if mine.has_access("read") and mine.search([("id", "=", message.id)]):
                    allowed.add(name)
            if name in allowed and message.model in self.env and message.author_id != user.partner_id:
                record = self.env[message.model].with_user(user).browse(message.res_id)
                self.assertTrue(record.has_access("read"))
        return allowed

    def send(self, way):
        """Let one of core's modules send something.

        :param way: function without arguments that sends
        :return: (documents, {document: names of the users who could read its message in core when it left})
        """
        known, in_core = self.Email.search([]), {}

        def look(sent):
            in_core[sent.message["Message-Id"]] = self._in_core(sent)

        with self.sending(look):
            way()
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        emails = self.Email.search([]) - known
        self.env.flush_all()
        self.env.invalidate_all()
        return emails, {email: in_core[email.message_id] for email in emails}

    def assertSeenBy(self, emails, expected):
        """Assert that these users see documents and no others do, in every way in which Odoo shows something of them.

        :param emails: the documents
        :param expected: names of the users, as in `USERS`
        """
        events = self.Event.create(
            [
                {
                    "email_id": email.id,
                    "account_id": self.account.id,
                    "partner_id": email.partner_id.id,
                    "match": "odoo_id",
                    "event": "click",
                    "url": ACCEPT,
                    "timestamp": fields.Datetime.now(),
                    "fingerprint": f"visibility-{email.id}-{self.Event.search_count([])}",
                }
                for email in emails
            ]
        )
        contacts = emails.partner_id
        for name, user in self.users.items():
            is_shown = name in expected
            self.env.flush_all()
            self.env.invalidate_all()
            for records, values in (
                (emails, ["subject", "content", "attachment_ids", "journey", "display_name"]),
                (events, ["event", "link", "email_id"]),
            ):
                mine = records.with_user(user)
                with self.subTest(user=name, model=records._name):
                    self.assertEqual(mine._filtered_access("read"), mine if is_shown else mine.browse())
                    for record in mine:
                        if is_shown:
                            self.assertNotIn(TOKEN, str(record.read(values)))
                            record.attachment_ids.read(["name"]) if "attachment_ids" in values else None
                            continue
                        for value in values:
                            with self.assertRaises(AccessError):
                                record.read([value])
                    if name == "portal":
                        with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_model"):
                            mine.search([])
                        continue
                    domain = [("id", "in", records.ids)]
                    self.assertEqual(mine.search_count(domain), len(records) * is_shown)
                    [(count,)] = mine._read_group(domain, [], ["__count"])
                    self.assertEqual(count, len(records) * is_shown)
            if name == "portal":
                continue
            for contact in contacts.with_user(user):
                if not contact.has_access("read"):
                    continue
                with self.subTest(user=name, contact=contact.sudo().name):
                    shown = emails.with_user(user).search([("partner_id", "=", contact.id)])
                    self.assertEqual(contact.sendgrid_email_count, len(shown))
                    self.assertEqual(contact.sendgrid_email_ids, shown)
                    self.assertLessEqual(emails & shown.sudo(), emails if is_shown else emails.browse())

    def assertLikeCore(self, way, expected, count=1, **values):
        """Assert that these users see the documents of sent mails, and that core lets each of them read the message.

        :param way: function without arguments that sends
        :param expected: names of the users, as in `USERS`
        :param count: number of the documents
        :param values: {field: value} of each document
        :return: the documents
        """
        emails, in_core = self.send(way)
        self.assertEqual(len(emails), count)
        for email in emails:
            self.assertLessEqual(expected, in_core[email], "more than core")
            if values:
                self.assertRecordValues(email, [values])
        self.assertSeenBy(emails, expected)
        return emails

    def post(self, record, author=None, **values):
        """Write to the guest in the chatter of a record, as the author or as another user."""
        values = {"subtype_xmlid": "mail.mt_comment", "message_type": "comment", **values}
        return record.with_user(author or self.author).message_post(
            body="Hello", subject="Subject", partner_ids=self.guest.ids, attachments=[("a.txt", b"A")], **values
        )

    def meeting(self, **values):
        """Create a meeting of the author with the guest."""
        start = fields.Datetime.now() + timedelta(days=3)
        values = {
            "name": "Merger",
            "description": "<p>Secret</p>",
            "start": start,
            "stop": start + timedelta(hours=1),
            "user_id": self.author.id,
            "partner_ids": [Command.set((self.guest | self.author.partner_id).ids)],
            **values,
        }
        return self.env["calendar.event"].with_user(self.author).with_context(**self.quiet).create(values)

    quiet = {"no_mail_to_attendees": True, "tracking_disable": True}


@tagged("post_install", "-at_install")
class TestVisibility(VisibilityCase):
    """Mails that are sent by the modules that the addon depends on."""

    def test_comment(self):
        """Test that everybody who may read the record reads a message in its chatter."""
        leads = {
            owner: self.env["crm.lead"].create({"name": "Lead", "user_id": self.users[owner].id})
            for owner in ("author", "own")
        }
        for record, expected in (
            (self.guest, EMPLOYEES),
            (leads["author"], {"author", "all"}),
            (leads["own"], {"own", "all"}),
        ):
            with self.subTest(record=record):
                author = self.users["own"] if record == leads["own"] else self.author
                self.assertLikeCore(lambda r=record, a=author: self.post(r, a), expected, is_in_chatter=True)

    def test_template(self):
        """Test that everybody who may read the record reads a mail from a template, as core shows its message."""
        template = self.env["mail.template"].create(
            {
                "name": "Template",
                "model_id": self.env["ir.model"]._get_id("res.partner"),
                "subject": "Hello",
                "body_html": "<p>Hello</p>",
                "email_from": "author@example.com",
                "partner_to": "{{ object.id }}",
                "auto_delete": True,
            }
        )
        self.assertLikeCore(
            lambda: template.with_user(self.author).sudo().send_mail(self.guest.id), EMPLOYEES, is_in_chatter=True
        )

    def test_note(self):
        """Test that only the author reads a note among colleagues that also goes to somebody outside."""
        self.assertLikeCore(
            lambda: self.post(self.guest, subtype_xmlid="mail.mt_note"), {"author"}, is_in_chatter=False
        )
        self.assertLikeCore(lambda: self.post(self.guest, is_internal=True), {"author"}, is_in_chatter=False)

    def test_user_notification(self):
        """Test that only the author reads a notification to one person."""
        self.assertLikeCore(
            lambda: self.guest.with_user(self.author).message_notify(
                body="Hello", subject="Subject", partner_ids=self.guest.ids
            ),
            {"author"},
        )

    def test_invitation(self):
        """Test that only the organizer reads the invitation to a meeting, be the meeting private or public."""
        for privacy in ("private", "public", False):
            with self.subTest(privacy=privacy):
                meeting = self.meeting(privacy=privacy)
                [email] = self.assertLikeCore(
                    lambda meeting=meeting: meeting.with_context(
                        no_mail_to_attendees=False
                    ).attendee_ids._send_invitation_emails(),
                    {"author"},
                    model="calendar.event",
                    res_id=meeting.id,
                    is_in_chatter=False,
                )
                self.assertEqual(email.partner_id, self.guest)
                self.assertTrue(email.has_secret_links)
                mine = email.with_user(self.author)
                self.assertIn("Merger", mine.content)
                self.assertNotIn("/calendar/meeting/accept", str(mine.content))

    def test_chatter_of_meeting(self):
        """Test that only participants read the chatter of a private meeting, whenever and however it became private."""
        meeting = self.meeting(privacy="public")
        emails = self.assertLikeCore(lambda: self.post(meeting), EMPLOYEES)
        meeting.privacy = "private"
        self.assertSeenBy(emails, {"author"})
        meeting.partner_ids |= self.users["own"].partner_id
        self.assertSeenBy(emails, {"author", "own"})
        meeting.privacy = False
        self.assertSeenBy(emails, EMPLOYEES)
        self.author.with_user(self.author).res_users_settings_id.sudo().calendar_default_privacy = "private"
        self.assertSeenBy(emails, {"author", "own"})
        emails.author_id = False
        self.assertSeenBy(emails, {"author", "own"})  # the organizer
        self.assertLikeCore(lambda: self.post(self.meeting(privacy="private")), {"author"}, is_in_chatter=True)

    def test_override_of_core(self):
        """Test that a module's own rule about who reads the messages of its records holds for documents as well."""
        leads = self.env["crm.lead"].create([{"name": "Lead", "user_id": self.author.id} for _ in range(2)])
        emails = [self.assertLikeCore(lambda lead=lead: self.post(lead), {"author", "all"}) for lead in leads]

        def get_operation(records, operation):
            return {record: "unlink" if record == leads[0] else "read" for record in records}

        self.patch(self.registry["crm.lead"], "_mail_get_operation_for_mail_message_operation", get_operation)
        self.assertFalse(leads[0].with_user(self.users["all"]).has_access("unlink"))
        self.assertSeenBy(emails[0], {"author"})
        self.assertSeenBy(emails[1], {"author", "all"})

    def test_moved_message(self):
        """Test that a document follows its message to another record, and out of the chatter."""
        lead = self.env["crm.lead"].create({"name": "Lead", "user_id": self.author.id})
        emails = self.assertLikeCore(lambda: self.post(self.guest), EMPLOYEES)
        emails.mail_message_id.write({"model": "crm.lead", "res_id": lead.id})
        self.assertSeenBy(emails, {"author", "all"})
        emails.mail_message_id.is_internal = True
        self.assertSeenBy(emails, {"author"})
        emails.mail_message_id.is_internal = False
        self.assertSeenBy(emails, {"author"})

    def test_digest(self):
        """Test that nobody but its author reads a digest, which is about no record."""
        digest = self.env["digest.digest"].create({"name": "Digest", "kpi_mail_message_total": True})
        user = new_test_user(self.env, "visibility_reader", groups="base.group_portal", email="reader@example.org")
        self.assertLikeCore(lambda: digest._action_send_to_user(user, consume_tips=False), set(), model=False)

    def test_password(self):
        """Test that nobody reads a mail with a link to set a password, and that its content is not kept."""
        user = new_test_user(self.env, "visibility_new", groups="base.group_portal", email="new@example.org")
        for context in ({}, {"create_user": 1}):
            with self.subTest(context):
                known = self.Email.search([])
                with self.sending() as sent:
                    user.with_context(**context).action_reset_password()
                self.assertEqual(len(sent), 1)
                # Core rolls the sending back, so the document is written after the commit.
                with self.enter_registry_test_mode():
                    self.env.cr.postcommit.run()
                [email] = self.Email.search([]) - known
                self.assertFalse(email.is_in_chatter)
                self.assertFalse(email.content)
                email.author_id = False
                self.assertSeenBy(email, set())

    def test_credentials(self):
        """Test that only the author reads a mail with a link to sign up, even if it stands in a chatter."""
        link = "<a href='https://odoo.example.com/web/signup?token=x'>Sign up</a>"
        [email] = self.assertLikeCore(
            lambda: self.guest.with_user(self.author).message_post(
                body=link, body_is_html=True, subtype_xmlid="mail.mt_comment", partner_ids=self.guest.ids
            ),
            {"author"},
        )
        self.assertNotIn("/web/signup", str(email.with_user(self.author).content))

    def test_activity(self):
        """Test that an activity makes no document, because only colleagues are told of it."""
        emails, _in_core = self.send(
            lambda: self.guest.with_user(self.author).activity_schedule(
                "mail.mail_activity_data_todo", user_id=self.users["all"].id, note="Secret"
            )
        )
        self.assertFalse(emails)

    def test_administrators(self):
        """Test that administrators see e-mails that stand in no chatter, if these are of their companies' accounts.

        Other e-mails they see as everybody else does.
        """
        admin = new_test_user(self.env, "visibility_admin", groups="base.group_system")
        foreign = self.create_email(model="res.partner", res_id=self.guest.id, is_in_chatter=False, author_id=False)
        foreign.account_id = self.account.copy({"company_id": self.other_company.id, "name": "Other"})
        own = self.create_email(model="res.partner", res_id=self.guest.id, is_in_chatter=False, author_id=False)
        meeting = self.meeting(privacy="private")
        chatter = self.create_email(model="calendar.event", res_id=meeting.id, author_id=False)
        emails = (foreign | own | chatter).with_user(admin)
        self.assertEqual(emails._filtered_access("read"), own.with_user(admin))
        meeting.sudo().unlink()
        self.assertEqual(emails._filtered_access("read"), (own | chatter).with_user(admin))

    def test_send_again(self):
        """Test that a user who sends an e-mail again does not get the recipient's links."""
        email = self.create_email(
            model="res.partner",
            res_id=self.guest.id,
            partner_id=self.guest.id,
            content=f"<p>Come <a href='{ACCEPT}'>Accept</a> {ACCEPT}</p>",
            status="bounced",
        )
        action = email.with_user(self.users["all"]).action_send_again()
        self.assertIn("Accept</a>", action["context"]["default_body"])
        self.assertNotIn(TOKEN, str(action))

    def test_link_of_event(self):
        """Test that a user reads only the page of a secret link, and that only administrators may read it whole."""
        email = self.create_email(model="res.partner", res_id=self.guest.id)
        event = self.receive(self.relay(email).event("click", url=ACCEPT)).event_ids
        self.assertEqual(event.url, ACCEPT)
        mine = event.with_user(self.users["all"])
        self.assertEqual(mine.link, "https://odoo.example.com/calendar/meeting/accept?…")
        for way in (lambda: mine.read(["url"]), lambda: mine.search([("url", "like", "never")])):
            with self.assertRaises(AccessError), mute_logger("odoo.models"):
                way()
        event.url = "https://shop.example.com/?a=1"
        self.assertEqual(mine.link, event.url)

    def test_blacklist_tells_no_subject(self):
        """Test that the blacklist, which others may read, tells no subject of an e-mail that stands in no chatter."""
        for is_in_chatter in (True, False):
            address = f"leaver{is_in_chatter}@example.org".lower()
            email = self.create_email(
                address, model="res.partner", res_id=self.guest.id, is_in_chatter=is_in_chatter, subject="Merger"
            )
            self.receive(self.relay(email).event("spamreport"))
            entry = self.env["mail.blacklist"].search([("email", "=", address)])
            self.assertEqual("Merger" in "".join(entry.message_ids.mapped("body")), is_in_chatter)

    def test_migration(self):
        """Test that the upgrade decides for existing documents as sending does, where it can still be told."""
        kept = self.send(lambda: self.post(self.guest))[0]
        gone = self.send(lambda: self.post(self.guest))[0]
        gone.mail_message_id.unlink()
        mailing = self.create_email(model="res.partner", res_id=self.guest.id, mailing_res_id=7)
        way_in = self.create_email(model="res.partner", res_id=self.guest.id, mail_message_id=kept.mail_message_id.id)
        way_in.content_state = "credentials"
        in_chatter = kept | mailing
        others = gone | way_in | self.create_email(mail_message_id=kept.mail_message_id.id)
        others |= self.create_email(model="res.users", res_id=self.author.id, mailing_res_id=7)
        others |= self.create_email(model="res.partner", res_id=self.guest.id)
        for way in (
            lambda: self.post(self.guest, subtype_xmlid="mail.mt_note"),
            lambda: self.post(self.guest, is_internal=True),
            self.meeting().with_context(no_mail_to_attendees=False).attendee_ids._send_invitation_emails,
        ):
            others |= self.send(way)[0]
        rule = self.env.ref("sendgrid_tracking.ir_actions_server_click")
        rule.code = """x = "Clicked a link in “%s”" % (email.subject or "")"""
        self.env.flush_all()
        self.env.cr.execute("UPDATE sendgrid_email SET is_in_chatter = NULL")
        path = Path(__file__).parents[1] / "migrations" / "19.0.1.1.0" / "post-visibility.py"
        runpy.run_path(path)["migrate"](self.env.cr, "19.0.1.0.0")
        self.env.invalidate_all()
        emails = in_chatter | others
        self.assertEqual(emails.filtered("is_in_chatter"), in_chatter)
        self.assertEqual(len(others), 8)
        self.assertEqual(rule.code, 'x = "Clicked a link in an e-mail"')


@tagged("-standard", "sendgrid_applications", "post_install", "-at_install")
class TestVisibilityOfApplications(VisibilityCase):
    """Mails that other applications send. `end_to_end/test_visibility.py` installs these and runs this class."""

    __test__ = False  # pytest's database does not have these applications

    def test_quotation(self):
        """Test that everybody who may read the order reads its quotation, without the customer's key to it."""
        product = self.env["product.product"].create({"name": "Desk", "list_price": 12})
        for owner, expected in (("author", {"author", "all"}), ("own", {"own", "all"})):
            user = self.users[owner]
            order = (
                self.env["sale.order"]
                .with_user(user)
                .create({"partner_id": self.guest.id, "order_line": [Command.create({"product_id": product.id})]})
            )

            def send(order=order):
                context = order.action_quotation_send()["context"]
                composer = self.env["mail.compose.message"].with_user(order.user_id).with_context(**context).create({})
                composer.action_send_mail()

            with self.subTest(owner):
                [email] = self.assertLikeCore(send, expected, model="sale.order", is_in_chatter=True)
                self.assertTrue(email.mail_message_id.attachment_ids, "the quotation")

    def test_portal(self):
        """Test that nobody reads the invitation to the portal, and that its content is not kept."""
        wizard = self.env["portal.wizard"].with_context(active_ids=self.guest.ids).sudo().create({})
        emails, _in_core = self.send(wizard.user_ids.action_grant_access)
        self.assertEqual(len(emails), 1)
        self.assertFalse(emails.is_in_chatter)
        self.assertFalse(emails.content)
        emails.author_id = False
        self.assertSeenBy(emails, set())

    def test_mailing(self):
        """Test that everybody who may read the record of its recipient reads a mailing."""
        theirs = self.env["res.partner"].create(
            {"name": "Theirs", "email": "theirs@example.org", "company_id": self.other_company.id}
        )
        for contact, expected in ((self.guest, COLLEAGUES), (theirs, {"other company"})):
            mailing = self.create_mailing(contact, "<p>Cheese <a href='/unsubscribe_from_list'>Unsubscribe</a></p>")
            with self.subTest(contact.name):
                emails, in_core = self.send(mailing.action_send_mail)
                self.assertEqual(len(emails), 1)
                emails.author_id = False
                self.assertLessEqual(expected, in_core[emails])
                self.assertEqual(emails.mailing_res_id, mailing.id)
                self.assertSeenBy(emails, expected | ({"author"} if contact == self.guest else set()))
