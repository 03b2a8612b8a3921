import json
from datetime import timedelta

from odoo import Command, fields
from odoo.exceptions import AccessError
from odoo.tests import Form, HttpCase, new_test_user, tagged
from odoo.tools import html_sanitize

from .common import SendgridCase, SendgridMixin


def archive_accounts(env):
    env["ir.mail_server"].with_context(active_test=False).search([]).sendgrid_account_id = False
    env["sendgrid.account"].search([]).active = False


class SwitchMixin:
    """A lead, somebody to write to, and two templates, one of which is not tracked."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.lead = cls.env["crm.lead"].create(
            {"name": "Lead", "user_id": cls.salesperson.id, "email_from": "ada@example.org", "company_id": False}
        )
        values = {
            "model_id": cls.env["ir.model"]._get_id("crm.lead"),
            "subject": "Offer",
            "body_html": "<p>Hello</p>",
            "email_to": "ada@example.org",
            "use_default_to": False,
        }
        cls.tracked, cls.untracked = cls.env["mail.template"].create(
            [{**values, "name": "Tracked"}, {**values, "name": "Not tracked", "sendgrid_is_tracked": False}]
        )

    def open_composer(self, **context):
        """Return the form of the composer, as the salesperson opens it for the lead."""
        context = {
            "default_composition_mode": "comment",
            "default_model": "crm.lead",
            "default_res_ids": self.lead.ids,
            "default_partner_ids": self.contact.ids,
            "clicked_on_full_composer": True,
            **context,
        }
        return Form(self.env["mail.compose.message"].with_user(self.salesperson).with_context(**context))

    def post(self, **values):
        """Post a message to the contact in the lead's chatter, and return it."""
        with self.sending():
            return self.lead.with_user(self.salesperson).message_post(
                body="Hello",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=self.contact.ids,
                **values,
            )

    def last_message(self):
        return self.env["mail.message"].search(
            [("model", "=", "crm.lead"), ("res_id", "=", self.lead.id)], limit=1, order="id desc"
        )


@tagged("post_install", "-at_install")
class TestSwitch(SwitchMixin, SendgridCase):
    """The switch *Track opens and links* stays on the message and its mails, however they are made."""

    def assertSwitchedOff(self, message, is_off=True):
        self.assertEqual(message.sudo().sendgrid_is_unmeasured, is_off)

    def test_post(self):
        """Test that the message and its mail keep it, and that an answer has its own."""
        message = self.post(sendgrid_is_unmeasured=True, mail_auto_delete=False)
        self.assertSwitchedOff(message)
        mails = self.env["mail.mail"].sudo().search([("mail_message_id", "=", message.id)])
        self.assertEqual(mails.mapped("sendgrid_is_unmeasured"), [True])
        self.assertSwitchedOff(self.post(parent_id=message.id), False)
        self.assertSwitchedOff(message.copy(), False)

    def test_notify(self):
        """Test a message that stands in no chatter."""
        with self.sending():
            message = self.lead.message_notify(
                body="Hello", subject="Hello", partner_ids=self.contact.ids, sendgrid_is_unmeasured=True
            )
        self.assertSwitchedOff(message)

    def test_template(self):
        """Test that a mail made from a template is as the template says; whoever sends it can only switch it off."""
        for template, values, is_off in (
            (self.tracked, None, False),
            (self.tracked, {"sendgrid_is_unmeasured": True}, True),
            (self.untracked, None, True),
            (self.untracked, {"sendgrid_is_unmeasured": False}, True),
        ):
            with self.subTest(template=template.name, values=values):
                mail = self.env["mail.mail"].browse(template.send_mail(self.lead.id, email_values=values))
                self.assertSwitchedOff(mail, is_off)
                self.assertSwitchedOff(mail.mail_message_id, is_off)

    def test_with_source(self):
        """Test messages and mails that other apps make of a template or a view."""
        view = self.env["ir.ui.view"].create({"name": "v", "type": "qweb", "arch": "<p>Hello</p>"})
        for source, values, is_off in (
            (self.tracked, {}, False),
            (self.tracked, {"sendgrid_is_unmeasured": True}, True),
            (self.untracked, {}, True),
            (view, {}, False),
            (view, {"sendgrid_is_unmeasured": True}, True),
        ):
            for method, kept in (
                ("message_post_with_source", {}),
                ("message_mail_with_source", {"auto_delete": False}),
            ):
                with self.subTest(source=source.name, method=method, values=values), self.sending():
                    made = getattr(self.lead, method)(source, **kept, **values)
                    self.assertEqual(len(made), 1)
                    self.assertSwitchedOff(made, is_off)

    def test_invitation(self):
        """Test that an invitation is as its template says, though core renders it in a way of its own."""
        template = self.env.ref("calendar.calendar_template_meeting_invitation")
        for is_tracked in (True, False):
            template.sendgrid_is_tracked = is_tracked
            before = self.env["mail.message"].search([], limit=1, order="id desc").id
            with self.sending():
                self.env["calendar.event"].with_context(mail_notify_author=True).create(
                    {
                        "name": "Meeting",
                        "start": "2100-01-01 08:00:00",
                        "stop": "2100-01-01 09:00:00",
                        "partner_ids": [Command.set(self.contact.ids)],
                    }
                )
            invitation = self.env["mail.message"].search([("id", ">", before), ("partner_ids", "in", self.contact.ids)])
            with self.subTest(is_tracked=is_tracked):
                self.assertEqual(len(invitation), 1)
                self.assertSwitchedOff(invitation, not is_tracked)

    def test_rendered(self):
        """Test messages and mails that apps make of a text that they rendered from a template."""
        for template, is_off in ((self.tracked, False), (self.untracked, True)):
            body = template._render_field("body_html", self.lead.ids)[self.lead.id]
            layout = template._render_encapsulate("mail.mail_notification_light", body, context_record=self.lead)
            with self.sending():
                made = [
                    self.lead.message_post(body=body, partner_ids=self.contact.ids),
                    self.lead.message_notify(body=body, partner_ids=self.contact.ids),
                    self.lead.message_post(body=html_sanitize(body), body_is_html=True),  # it stood in a dialog
                    *self.env["mail.mail"].create(
                        [{"body_html": text, "email_to": "ada@example.org"} for text in (body, layout)]
                    ),
                ]
            for one in made:
                with self.subTest(template=template.name, model=one._name):
                    self.assertSwitchedOff(one, is_off)
                    text = one.body_html if one._name == "mail.mail" else one.body
                    self.assertIn("Hello", text)
                    self.assertNotIn("<!--", text)
        # Composers have their own switch, and nothing in their texts.
        with self.open_composer(default_template_id=self.untracked.id) as form:
            self.assertNotIn("<!--", form.body)
            self.assertFalse(form.sendgrid_is_tracked)
            form.sendgrid_is_tracked = True
        with self.sending():
            form.record._action_send_mail()
        self.assertSwitchedOff(self.last_message(), False)

    def test_composer(self):
        """Test that the composer's switch decides, in the chatter and for mails to many."""
        for mode in ("comment", "mass_mail"):
            for is_tracked in (True, False):
                with self.subTest(mode=mode, is_tracked=is_tracked):
                    composer = self.env["mail.compose.message"].create(
                        {
                            "composition_mode": mode,
                            "model": "crm.lead",
                            "res_ids": str(self.lead.ids),
                            "partner_ids": self.contact.ids,
                            "subject": "Offer",
                            "body": "<p>Hello</p>",
                            "sendgrid_is_tracked": is_tracked,
                        }
                    )
                    with self.sending():
                        mails, messages = composer._action_send_mail()
                    self.assertSwitchedOff(messages or mails.mail_message_id, not is_tracked)

    def test_composer_takes_the_templates(self):
        """Test that choosing a template sets the switch, that a person's change stays, and that removing it sets it."""
        form = self.open_composer()
        self.assertTrue(form.sendgrid_is_tracked)
        form.template_id = self.untracked
        self.assertFalse(form.sendgrid_is_tracked)
        form.sendgrid_is_tracked = True
        form.subject = "Another"
        self.assertTrue(form.sendgrid_is_tracked)
        form.sendgrid_is_tracked = False
        form.template_id = self.tracked
        self.assertTrue(form.sendgrid_is_tracked)
        form.sendgrid_is_tracked = False
        composer = form.save()
        with self.sending():
            composer.action_send_mail()
        self.assertSwitchedOff(self.last_message())
        form = self.open_composer(default_template_id=self.untracked.id)
        self.assertFalse(form.sendgrid_is_tracked)

    def test_composer_of_the_chatter(self):
        """Test that the full composer takes the switch over from the chatter's, and keeps it in a new template."""
        form = self.open_composer(default_sendgrid_is_tracked=False)
        self.assertFalse(form.sendgrid_is_tracked)
        composer = form.save()
        composer.template_name = "Mine"
        composer.create_mail_template()
        self.assertFalse(composer.sendgrid_is_tracked)
        self.assertEqual(
            self.env["mail.template"].search([("name", "=", "Mine")]).mapped("sendgrid_is_tracked"), [False]
        )

    def test_send_again(self):
        """Test that the composer of *Send Again* has the e-mail's switch, whatever else kept it from being measured."""
        for word in (False, "declined"):
            self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], word, "hand")
            for is_off in (False, True):
                with self.subTest(word=word, is_off=is_off):
                    message = self.post(sendgrid_is_unmeasured=is_off)
                    email = self.Email.search([("mail_message_id", "=", message.id)])
                    self.assertEqual(email.unmeasured_reason, "wish" if word else "mail" if is_off else False)
                    action = email.with_user(self.salesperson).action_send_again()
                    Composer = self.env["mail.compose.message"].with_user(self.salesperson)
                    self.assertEqual(
                        Composer.with_context(**action["context"]).create({}).sendgrid_is_tracked, not is_off
                    )

    def test_answer_has_its_own(self):
        """Test that *Reply* and *Forward* in the chatter do not take over the switch of what they answer."""
        message = self.post(sendgrid_is_unmeasured=True)
        for option in ("reply_all", "forward"):
            form = self.open_composer(default_parent_id=message.id, default_composition_comment_option=option)
            self.assertTrue(form.sendgrid_is_tracked)

    def schedule(self, **values):
        composer = self.open_composer(**values).save()
        composer.scheduled_date = fields.Datetime.now() + timedelta(days=1)
        return composer._action_schedule_message()

    def test_scheduled(self):
        """Test that a scheduled message keeps it until it is sent, whoever edits something else or the switch."""
        for default, edits, is_off in (
            ({}, {}, False),
            ({"default_sendgrid_is_tracked": False}, {}, True),
            ({"default_sendgrid_is_tracked": False}, {"subject": "Another"}, True),
            ({"default_sendgrid_is_tracked": False}, {"sendgrid_is_tracked": True}, False),
            ({}, {"sendgrid_is_tracked": False}, True),
        ):
            with self.subTest(default=default, edits=edits):
                waiting = self.schedule(**default)
                self.assertEqual(waiting.sendgrid_is_tracked, default == {})
                with Form(waiting.with_user(self.salesperson)) as form:
                    for name, value in edits.items():
                        setattr(form, name, value)
                parameters = json.loads(waiting.notification_parameters)
                self.assertIn("email_layout_xmlid", parameters, "core's own stay")
                waiting.scheduled_date = fields.Datetime.now() + timedelta(minutes=1)
                with self.sending():
                    waiting._post_message()
                self.assertSwitchedOff(self.last_message(), is_off)

    def test_declined_while_it_waits(self):
        """Test that the recipient's word counts that holds when a scheduled message is sent."""
        waiting = self.schedule()
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "page")
        waiting.scheduled_date = fields.Datetime.now() + timedelta(minutes=1)
        with self.sending() as sent:
            waiting._post_message()
        self.assertEqual(sent[0].smtpapi["filters"]["opentrack"]["settings"]["enable"], 0)
        email = self.Email.search([("mail_message_id", "=", self.last_message().id)])
        self.assertEmail(email, measured="none", unmeasured_reason="wish")

    def test_scheduled_without_template(self):
        """Test that a scheduled message keeps nothing of ours in its context where it has no template."""
        self.assertNotIn("sendgrid_template_id", self.schedule().send_context or {})

    def test_scheduled_by_hand(self):
        """Test a scheduled message that another app makes."""
        waiting = self.env["mail.scheduled.message"].create(
            {
                "model": "crm.lead",
                "res_id": self.lead.id,
                "author_id": self.env.user.partner_id.id,
                "body": "Hello",
                "partner_ids": self.contact.ids,
                "scheduled_date": "2100-01-01 00:00:00",
                "sendgrid_is_tracked": False,
            }
        )
        with self.sending():
            waiting.post_message()
        self.assertSwitchedOff(self.last_message())

    def test_shown_where_it_matters(self):
        """Test that the switch is shown only if there is an account."""
        self.assertTrue(self.open_composer().has_sendgrid_account)
        archive_accounts(self.env)
        self.assertFalse(self.open_composer().has_sendgrid_account)
        self.assertFalse(self.open_composer().sendgrid_unmeasured)


@tagged("post_install", "-at_install")
class TestUnmeasured(SwitchMixin, SendgridCase):
    """Composers say who will not be measured, and why."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.sendgrid_unasked = "everybody"
        cls.declined = cls.env["res.partner"].create({"name": "Grace", "email": "grace@example.org"})
        cls.decline("grace@example.org")

    @classmethod
    def decline(cls, email):
        cls.env["sendgrid.address"].create({"email": email, "email_tracking": "declined"})

    def read_line(self, *partners, **values):
        form = self.open_composer(default_partner_ids=[partner.id for partner in partners], **values)
        return form.sendgrid_unmeasured

    def test_words(self):
        """Test the line: who declined, who was not asked, and nothing where all are measured."""
        self.assertFalse(self.read_line(self.contact))
        self.assertEqual(
            self.read_line(self.contact, self.declined), "Opens and links are not measured: Grace (declined)"
        )
        self.env.company.sendgrid_unasked = "nobody"
        self.assertEqual(
            self.read_line(self.contact, self.declined),
            "Opens and links are not measured: Ada (not asked), Grace (declined)",
        )
        self.env["res.lang"]._activate_lang("ar_001")
        both = (self.contact | self.declined).with_context(lang="ar_001")
        self.assertIn("Ada (not asked) وGrace (declined)", both._describe_unmeasured(self.env.company))

    def test_nothing_to_say(self):
        """Test that nothing is said of a note, of a message that is not tracked anyway, or of a colleague."""
        self.env.company.sendgrid_unasked = "nobody"
        self.assertFalse(self.read_line(self.declined, default_subtype_xmlid="mail.mt_note"))
        self.assertFalse(self.read_line(self.declined, default_sendgrid_is_tracked=False))
        self.assertFalse(self.read_line(self.salesperson.partner_id))

    def test_strictest_of_several_addresses(self):
        """Test a contact with two addresses, which share a copy."""
        both = self.env["res.partner"].create({"name": "Both", "email": "one@example.org, two@example.org"})
        self.assertFalse(both.sendgrid_unmeasured_reason)
        self.decline("two@example.org")
        both.invalidate_recordset()
        self.assertEqual(both.sendgrid_unmeasured_reason, "wish")

    def test_one_query_for_all(self):
        """Test that many recipients cost no more queries than one."""
        people = self.env["res.partner"].create([{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(30)])
        self.env.flush_all()
        counts = []
        for partners in (people[:1], people):
            self.env.invalidate_all()
            partners.fetch(["email", "email_normalized", "partner_share", "name"])
            before = self.env.cr.sql_log_count
            partners.mapped("sendgrid_unmeasured_reason")
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(counts[1], counts[0])

    def test_only_what_one_may_see(self):
        """Test that a contact that a user may not read is not named."""
        company = self.env["res.company"].create({"name": "Another"})
        hidden = self.env["res.partner"].create({"name": "H", "email": "h@example.org", "company_id": company.id})
        self.decline("h@example.org")
        line = "Opens and links are not measured: H (declined)"
        self.assertEqual(hidden._describe_unmeasured(self.env.company), line)
        both = (hidden | self.contact).with_user(self.salesperson)
        self.assertEqual(both._describe_unmeasured(self.env.company), "")

    def test_in_the_chatter(self):
        """Test the line of the chatter's composer: a recipient without a contact too, by the record's company."""

        def read(*emails, user=self.salesperson):
            return self.contact.with_user(user).get_sendgrid_unmeasured("crm.lead", self.lead.id, list(emails))

        self.assertEqual(read("new@example.org"), "")
        self.decline("new@example.org")
        self.assertEqual(read("New@Example.org"), "Opens and links are not measured: New@Example.org (declined)")
        other = self.env["res.company"].create({"name": "Other", "sendgrid_unasked": "nobody"})
        self.salesperson.company_ids |= other
        self.lead.company_id = other
        self.assertEqual(read(), "Opens and links are not measured: Ada (not asked)")
        with self.assertRaises(AccessError):
            read("new@example.org", user=new_test_user(self.env, "stranger@example.org", groups="base.group_user"))

    def test_many_at_once(self):
        """Test that the composer for many records says how many of them are not measured."""
        people = self.contact | self.declined
        values = {"default_composition_mode": "mass_mail", "default_model": "res.partner"}
        form = self.open_composer(**values, default_res_ids=people.ids, default_partner_ids=[])
        self.assertEqual(form.sendgrid_unmeasured, "Opens and links are not measured. Recipients: 1 of 2")
        form = self.open_composer(**values, default_res_ids=self.contact.ids, default_partner_ids=[])
        self.assertFalse(form.sendgrid_unmeasured)

    def test_many_of_several_companies(self):
        """Test that the company of each record decides what the composer says of many, as it does when they leave."""
        strict = self.env["res.company"].create({"name": "Strict", "sendgrid_unasked": "nobody"})
        self.salesperson.company_ids |= strict
        leads = self.lead
        for name, company in (("bob", self.env.company), ("carol", strict)):
            values = {"company_id": company.id, "email_from": f"{name}@example.org", "user_id": self.salesperson.id}
            leads |= self.lead.copy(values)
        composer = self.open_composer(
            default_composition_mode="mass_mail", default_res_ids=leads.ids, default_partner_ids=[]
        )
        self.assertEqual(composer.sendgrid_unmeasured, "Opens and links are not measured. Recipients: 1 of 3")
        composer.subject, composer.body = "Offer", "<p>Hello</p>"
        with self.sending():
            composer.save()._action_send_mail()
        emails = self.Email.search([("model", "=", "crm.lead"), ("res_id", "in", leads.ids)])
        self.assertEqual(
            {email.recipient.partition("@")[0]: email.unmeasured_reason for email in emails},
            {"ada": False, "bob": False, "carol": "company"},
        )


@tagged("post_install", "-at_install")
class TestChattersDoor(SwitchMixin, SendgridMixin, HttpCase):
    """The chatter's own way over HTTP."""

    def post_over_http(self, login, record=None, **values):
        record = self.lead if record is None else record
        self.authenticate(login, login)
        post_data = {
            "body": "Hello",
            "message_type": "comment",
            "subtype_xmlid": "mail.mt_comment",
            "partner_ids": self.contact.ids,
            **values,
        }
        answer = self.make_jsonrpc_request(
            "/mail/message/post", {"thread_model": record._name, "thread_id": record.id, "post_data": post_data}
        )
        self.env.invalidate_all()
        return self.env["mail.message"].browse(answer["message_id"])

    def test_round_trip(self):
        """Test that the switch arrives with a message of the chatter, and that a later edit does not change it."""
        self.salesperson.password = self.salesperson.login
        login = self.salesperson.login
        self.assertFalse(self.post_over_http(login).sudo().sendgrid_is_unmeasured)
        message = self.post_over_http(login, sendgrid_is_unmeasured=True)
        self.assertTrue(message.sudo().sendgrid_is_unmeasured)
        self.make_jsonrpc_request(
            "/mail/message/update_content",
            {"message_id": message.id, "update_data": {"body": "Hello you", "sendgrid_is_unmeasured": False}},
        )
        message.invalidate_recordset()
        self.assertIn("Hello you", message.body)
        self.assertTrue(message.sudo().sendgrid_is_unmeasured)

    def test_user_of_several_companies(self):
        """Test that the line tells what happens, also where a user has chosen another of his companies."""
        user = new_test_user(self.env, "switch_companies", groups="base.group_user,base.group_partner_manager")
        own, other = user.company_id, self.env["res.company"].create({"name": "Other"})
        user.company_ids |= other
        self.authenticate(user.login, user.login)
        for strict in (own, other):
            (own | other).sendgrid_unasked = "everybody"
            strict.sendgrid_unasked = "nobody"
            told = self.make_jsonrpc_request(
                "/web/dataset/call_kw/res.partner/get_sendgrid_unmeasured",
                {
                    "model": "res.partner",
                    "method": "get_sendgrid_unmeasured",
                    "args": [self.contact.ids, "res.partner", self.contact.id, []],
                    "kwargs": {"context": {"allowed_company_ids": [other.id, own.id]}},
                },
            )
            with self.sending():
                message = self.post_over_http(user.login, self.contact)
            email = self.Email.search([("mail_message_id", "=", message.id)])
            self.assertEmail(email, company_id=own, unmeasured_reason="company" if strict == own else False)
            self.assertEqual(bool(told), strict == own)

    def test_portal_has_no_switch(self):
        """Test that a customer who writes in the portal cannot switch it."""
        customer = new_test_user(self.env, "switch_portal", groups="base.group_portal", email="c@example.org")
        self.assertNotIn("sendgrid_is_unmeasured", self.lead.with_user(customer)._get_allowed_message_params())

    def test_who_knows_of_accounts(self):
        """Test that the chatter of an employee learns whether there is an account."""
        self.salesperson.password = self.salesperson.login
        self.authenticate(self.salesperson.login, self.salesperson.login)
        for is_used in (True, False):
            if not is_used:
                archive_accounts(self.env)
            session = self.make_jsonrpc_request("/web/session/get_session_info")
            self.assertEqual(session["storeData"]["Store"]["hasSendgridAccount"], is_used)
