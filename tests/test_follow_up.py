from datetime import timedelta

from odoo import Command
from odoo.tests import new_test_user, tagged

from .common import SendgridCase

MAIL_PROGRAM = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0 Safari/537.36"
)


@tagged("post_install", "-at_install")
class TestFollowUp(SendgridCase):
    """The ready-made rules: switched by the settings, their activities stand in the right place."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        groups = "base.group_user,sales_team.group_sale_salesman_all_leads"
        cls.author = new_test_user(cls.env, "follow_author", groups=groups)
        cls.responsible = new_test_user(cls.env, "follow_responsible", groups=groups)
        cls.keeper = new_test_user(cls.env, "follow_keeper", groups=groups)
        cls.contact.user_id = cls.keeper
        cls.lead = cls.env["crm.lead"].create(
            {"name": "An engine", "type": "opportunity", "user_id": cls.responsible.id}
        )

    def _switch(self, **switches):
        """Save the settings with these checkboxes, as the page does."""
        self.env["res.config.settings"].create(switches).execute()

    def _values(self):
        return self.env["res.config.settings"].default_get(
            ["sendgrid_rule_bounce", "sendgrid_rule_click", "sendgrid_rule_unsubscribe", "sendgrid_deleted_rules"]
        )

    def _activities(self, record):
        return self.env["mail.activity"].search([("res_model", "=", record._name), ("res_id", "=", record.id)])

    def _about_lead(self, **values):
        return self.create_email(
            **{
                "partner_id": self.contact.id,
                "author_id": self.author.partner_id.id,
                "model": "crm.lead",
                "res_id": self.lead.id,
                **values,
            }
        )

    def _click(self, email, *others):
        """Tell of each document that it was delivered and, later, opened and clicked by a person."""
        person = {"ip": "203.0.113.7", "useragent": MAIL_PROGRAM}
        events = []
        for one in (email, *others):
            message = self.relay(one)
            events += [
                message.event("delivered", timestamp=self.after(one, 2)),
                message.event("open", timestamp=self.after(one, 300), **person),
                message.event("click", timestamp=self.after(one, 320), url="https://shop.example.com/", **person),
            ]
        batch = self.receive(*events)
        self.assertTrue(all(one.person_click_date for one in (email, *others)))
        return batch

    def _bounce(self, email, reason="550 5.1.1 unknown"):
        return self.receive(
            self.relay(email).event(
                "bounce", timestamp=self.after(email, 2), status="5.1.1", type="bounce", reason=reason
            )
        )

    # ------------------------------------------------------------
    # SETTINGS
    # ------------------------------------------------------------

    def test_settings(self):
        """Test that the checkboxes show and switch the shipped rules, each by itself."""
        rules = {name: self.env.ref(f"sendgrid_tracking.base_automation_{name}") for name in ("bounce", "click")}
        rules["unsubscribe"] = self.env.ref("sendgrid_tracking.base_automation_unsubscribe")
        self.assertFalse(any(rule.active for rule in rules.values()))
        self.assertFalse(any(self._values()[f"sendgrid_rule_{name}"] for name in rules))
        for name, rule in rules.items():
            self._switch(**{f"sendgrid_rule_{name}": True})
            self.assertTrue(rule.active)
            self.assertTrue(self._values()[f"sendgrid_rule_{name}"])
        self._switch(sendgrid_rule_bounce=False)
        self.assertEqual([rule.active for rule in rules.values()], [False, True, True])

    def test_settings_without_a_rule(self):
        """Test that a deleted rule hides its checkbox, and that the settings can be saved all the same."""
        self.env.ref("sendgrid_tracking.base_automation_click").unlink()
        self.assertEqual(self._values()["sendgrid_deleted_rules"], "sendgrid_rule_click")
        self._switch(sendgrid_rule_click=True, sendgrid_rule_bounce=True)
        self.assertTrue(self.env.ref("sendgrid_tracking.base_automation_bounce").active)
        self.assertFalse(self._values()["sendgrid_rule_click"])

    # ------------------------------------------------------------
    # ACTIVITIES
    # ------------------------------------------------------------

    def test_click(self):
        """Test that a click makes the author of the mail call, on the opportunity that the mail is about."""
        self._switch(sendgrid_rule_click=True)
        self._click(self._about_lead())
        activity = self._activities(self.lead)
        self.assertEqual((activity.user_id, activity.summary), (self.author, "Clicked a link in an e-mail"))
        self.assertFalse(self._activities(self.contact))

    def test_click_without_contact(self):
        """Test that a click in a mail to an opportunity without a contact counts as well."""
        self._switch(sendgrid_rule_click=True)
        self._click(self._about_lead(partner_id=False))
        self.assertEqual(self._activities(self.lead).user_id, self.author)

    def test_click_by_whom_cannot_be_told(self):
        self._switch(sendgrid_rule_click=True)
        email = self._about_lead()
        message = self.relay(email)
        self.receive(
            message.event("delivered", timestamp=self.after(email, 1)),
            message.event("click", timestamp=self.after(email, 2), useragent="", url="https://example.com/"),
        )
        self.assertFalse(self._activities(self.lead))

    def test_responsible(self):
        """Test who gets the activity, from the author on, and that it is somebody who may see the record."""
        self._switch(sendgrid_rule_click=True)
        customer = self.env["res.partner"].create({"name": "A customer"})
        stranger = new_test_user(self.env, "follow_stranger", groups="base.group_user")
        archived = new_test_user(self.env, "follow_archived", groups="base.group_user")
        archived.active = False
        for author, expected in (
            (self.author.partner_id, self.author),
            (customer, self.responsible),
            (stranger.partner_id, self.responsible),  # he may not see opportunities
            (archived.partner_id, self.responsible),
            (self.env["res.partner"], self.responsible),
        ):
            with self.subTest(author=author.name):
                self._activities(self.lead).unlink()
                self._click(self._about_lead(author_id=author.id))
                self.assertEqual(self._activities(self.lead).user_id, expected)
        self.lead.user_id = False
        self._activities(self.lead).unlink()
        self._click(self._about_lead(author_id=customer.id))
        self.assertEqual(self._activities(self.lead).user_id, self.keeper)

    def test_record_is_gone(self):
        """Test that the contact gets the activity if the record is gone, or cannot have any."""
        self._switch(sendgrid_rule_click=True)
        gone = self.env["crm.lead"].create({"name": "Soon gone"})
        email = self._about_lead(res_id=gone.id)
        gone.unlink()
        server = self.env["ir.mail_server"].search([], limit=1)
        others = [
            self._about_lead(model="ir.mail_server", res_id=server.id),
            self._about_lead(model="of.an.addon.that.is.gone", res_id=1),
            self._about_lead(model=False, res_id=False),
            # A user shows the activities of his contact, and has none himself.
            self._about_lead(model="res.users", res_id=self.keeper.id),
        ]
        batch = self._click(email, *others)
        self.assertFalse(batch.failed_rules)
        self.assertEqual(self._activities(self.contact).user_id, self.author, "one activity, not five")

    def test_bounce(self):
        """Test that a bounce makes an activity on the opportunity, with what the contact says of the bounce."""
        self._switch(sendgrid_rule_bounce=True)
        self._bounce(self._about_lead())
        activity = self._activities(self.lead)
        self.assertEqual((activity.user_id, activity.summary), (self.author, "Find another e-mail address"))
        self.assertIn("5.1.1", activity.note)
        self.assertFalse(self._activities(self.contact))

    def test_unknown_to_readers(self):
        """Test that readers of the opportunity are not told of a copy or an e-mail of which they may not know."""
        self._switch(sendgrid_rule_bounce=True, sendgrid_rule_click=True)
        for number, hidden in enumerate(({"recipient_role": "bcc"}, {"is_in_chatter": False})):
            with self.subTest(hidden):
                contact = self.env["res.partner"].create(
                    {"name": "Hidden", "email": f"hidden{number}@example.org", "user_id": self.keeper.id}
                )
                self._click(self._about_lead(recipient=f"clicks{number}@example.org", partner_id=contact.id, **hidden))
                self._bounce(self._about_lead(recipient=contact.email, partner_id=contact.id, **hidden))
                self.assertFalse(self._activities(self.lead))
                self.assertEqual(len(self._activities(contact)), 2)
                self.assertEqual(self._activities(contact).user_id, self.author)

    def test_hidden_and_shown(self):
        """Test that of two copies about one opportunity the Bcc goes to its contact, whichever comes first."""
        self._switch(sendgrid_rule_click=True)
        contact = self.env["res.partner"].create({"name": "Hidden", "email": "hidden@example.org"})
        shown = self._about_lead(recipient_role="to")
        self._click(
            self._about_lead(recipient="hidden@example.org", partner_id=contact.id, recipient_role="bcc"), shown
        )
        self.assertEqual((len(self._activities(self.lead)), len(self._activities(contact))), (1, 1))

    def test_bounce_names_the_address(self):
        """Test that the server's words are shown as they are, with what stands in angle brackets."""
        self._switch(sendgrid_rule_bounce=True)
        self._bounce(self._about_lead(), reason="550 5.1.1 <ada@example.org>: user unknown <b>here</b>")
        note = self._activities(self.lead).note
        self.assertIn("&lt;ada@example.org&gt;: user unknown &lt;b&gt;here&lt;/b&gt;", note)

    def test_bounce_without_document(self):
        """Test that a contact whose bounce is known from SendGrid's list only gets the activity himself."""
        self._switch(sendgrid_rule_bounce=True)
        self.contact.email_bounced = False
        self.env["sendgrid.email"]._schedule_bounce_follow_up(
            self.contact, "mail.mail_activity_data_todo", "Find another e-mail address"
        )
        self.assertEqual(self._activities(self.contact).user_id, self.keeper)

    def test_queries(self):
        """Test that a chunk's activities are made together: queries grow with people and records only."""
        self._switch(sendgrid_rule_click=True)
        leads = self.env["crm.lead"].create([{"name": f"Lead {n}", "user_id": self.author.id} for n in range(60)])
        emails = [self._about_lead(res_id=lead.id) for lead in leads]
        counts = []
        for part in (emails[:20], emails[20:60]):
            documents = self.env["sendgrid.email"].union(*part)
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            documents._schedule_follow_up("mail.mail_activity_data_call", "Call")
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLess(counts[1] - counts[0], 5 * 20, counts)

    # ------------------------------------------------------------
    # TIME
    # ------------------------------------------------------------

    def _run_due(self):
        """Run core's action for rules about time, in this transaction."""
        self.env.flush_all()
        with self.enter_registry_test_mode():
            self.env.ref("base_automation.ir_cron_data_base_automation_check").method_direct_trigger()
        self.env.invalidate_all()

    def _pass(self, rule, **by):
        """Let time pass since a rule was switched on and since its e-mails were sent and clicked."""
        self.env.flush_all()
        by = timedelta(**by)
        self.env.cr.execute(
            """UPDATE base_automation SET last_run = last_run - %(by)s WHERE id = %(rule)s;
               UPDATE sendgrid_email SET sent_date = sent_date - %(by)s, date = date - %(by)s,
                                         person_click_date = person_click_date - %(by)s""",
            {"by": by, "rule": self.env.ref(f"sendgrid_tracking.base_automation_{rule}").id},
        )
        self.env.invalidate_all()

    def _write(self, **values):
        """Return the document of what somebody wrote in the lead's chatter."""
        about = {"model": "crm.lead", "res_id": values.get("res_id") or self.lead.id}
        message = self.env["mail.message"].create({**about, "message_type": "comment", "body": "Hello"})
        return self._about_lead(**{"mail_message_id": message.id, **values})

    def _deliver(self, *emails):
        for email in emails:
            self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 2)))

    def test_unanswered(self):
        """Test what is followed up after three days: what was delivered and not answered since it is switched on."""
        old = self._write(ago=timedelta(days=10))
        self._deliver(old)
        self._switch(sendgrid_rule_unanswered=True)
        leads = self.env["crm.lead"].create(
            [{"name": f"Lead {n}", "type": "opportunity", "user_id": self.responsible.id} for n in range(5)]
        )
        silent, answered, bounced, mailing, notification = (
            self._write(res_id=lead.id, recipient=f"u{n}@example.org") for n, lead in enumerate(leads)
        )
        self._deliver(silent, answered, mailing, notification)
        self._bounce(bounced)
        answered.reply_date = answered.sent_date + timedelta(minutes=1)
        mailing.mailing_res_id = 7
        notification.mail_message_id = leads[4].message_post(body="Order confirmed", message_type="auto_comment")
        self._pass("unanswered", days=2)
        self._run_due()
        self.assertFalse(self._activities(leads[0]), "it is not time yet")
        self._pass("unanswered", days=1, minutes=10)
        self._run_due()
        self.assertEqual(
            (self._activities(leads[0]).user_id, self._activities(leads[0]).summary),
            (self.author, "Not answered after 3 days"),
        )
        for lead in (*leads[1:], self.lead):
            self.assertFalse(self._activities(lead), lead.name)
        self._pass("unanswered", days=1)
        self._run_due()
        self.assertEqual(len(self._activities(leads[0])), 1, "once")

    def test_unwilling(self):
        """Test that nobody is followed up who complained or unsubscribed, whichever e-mails a rule finds."""
        domain = "[('reply_date', '=', False)]"
        for rule, at in (("unanswered", {"days": 3}), ("silent_click", {"days": 1})):
            with self.subTest(rule):
                self.env.ref(f"sendgrid_tracking.base_automation_{rule}").filter_domain = domain
                self._switch(**{f"sendgrid_rule_{rule}": True})
                leads = self.env["crm.lead"].create([{"name": f"Lead {n}", "type": "opportunity"} for n in range(3)])
                emails = [self._write(res_id=lead.id, recipient=f"{rule}{lead.id}@example.org") for lead in leads]
                self._click(*emails)
                for email, kind in zip(emails, ("spamreport", "unsubscribe"), strict=False):
                    self.receive(self.relay(email).event(kind, timestamp=self.after(email, 900)))
                self._pass(rule, **at, minutes=10)
                self._run_due()
                self.assertEqual([len(self._activities(lead)) for lead in leads], [0, 0, 1])

    def test_unanswered_mails_of_odoo(self):
        """Test that nobody follows up what Odoo sends by itself: from a template, or without a message."""
        self._switch(sendgrid_rule_unanswered=True)
        digest = self.create_mail(model="crm.lead", res_id=self.lead.id)
        self.assertEqual(digest.message_type, "email_outgoing")
        emails = self._write(mail_message_id=digest.mail_message_id.id), self._write(mail_message_id=False)
        self._deliver(*emails)
        self._pass("unanswered", days=3, minutes=10)
        self._run_due()
        self.assertFalse(self._activities(self.lead))

    def test_new_rule(self):
        """Test that an own rule about the time since e-mails begins with what is due after it was made or became so."""
        email = self._write(ago=timedelta(days=10))
        self._deliver(email)
        values = {
            "name": "Own",
            "model_id": self.env.ref("sendgrid_tracking.model_sendgrid_email").id,
            "trigger": "on_time",
            "trg_date_id": self.env.ref("sendgrid_tracking.field_sendgrid_email__sent_date").id,
            "trg_date_range": 3,
            "trg_date_range_type": "day",
            "action_server_ids": [
                Command.create(
                    {
                        "name": "Own",
                        "model_id": self.env.ref("sendgrid_tracking.model_sendgrid_email").id,
                        "state": "code",
                        "usage": "base_automation",
                        "code": "env['crm.lead'].browse(record.res_id).message_post(body='Ran')",
                    }
                )
            ],
        }
        made = self.env["base.automation"].create(values)
        changed = self.env["base.automation"].create({**values, "trigger": "on_create", "trg_date_id": False})
        changed.write({key: values[key] for key in ("trigger", "trg_date_id", "trg_date_range", "trg_date_range_type")})
        self.assertTrue(made.last_run and changed.last_run)
        self._run_due()
        self.assertNotIn("Ran", "".join(self.lead.message_ids.mapped("body")))

    def test_unanswered_by_several(self):
        """Test that the e-mails of one message make one activity, and none if anybody has answered."""
        self._switch(sendgrid_rule_unanswered=True)
        lead = self.env["crm.lead"].create({"name": "Answered", "type": "opportunity", "user_id": self.author.id})
        silent = [self._write(recipient=f"s{n}@example.org", message_id="<silent@x>") for n in range(3)]
        answered = [
            self._write(recipient=f"a{n}@example.org", message_id="<answered@x>", res_id=lead.id) for n in range(3)
        ]
        self._deliver(*silent, *answered)
        answered[1].reply_date = answered[1].sent_date + timedelta(minutes=1)
        self._pass("unanswered", days=3, minutes=10)
        self._run_due()
        self.assertEqual(len(self._activities(self.lead)), 1)
        self.assertFalse(self._activities(lead))

    def test_clicked_and_unanswered(self):
        """Test that who clicked and has not answered a day later is called."""
        self._switch(sendgrid_rule_silent_click=True)
        lead = self.env["crm.lead"].create({"name": "Answered", "type": "opportunity", "user_id": self.author.id})
        email, answered = self._write(), self._write(res_id=lead.id, recipient="b@example.org")
        self._click(email, answered)
        answered.reply_date = answered.sent_date + timedelta(minutes=20)
        self._run_due()
        self.assertFalse(self._activities(self.lead))
        self._pass("silent_click", days=1, minutes=10)
        self._run_due()
        self.assertEqual(self._activities(self.lead).user_id, self.author)
        self.assertEqual(self._activities(self.lead).summary, "Clicked a link in an e-mail, and did not answer")
        self.assertFalse(self._activities(lead))

    def test_unanswered_and_reminded(self):
        """Test that whoever asked to be reminded of an e-mail is not reminded twice."""
        self._switch(sendgrid_rule_unanswered=True)
        email = self._write()
        self._deliver(email)
        self.env["sendgrid.reminder"]._remind_of(email, self.author, email.sent_date + timedelta(days=7))
        self._pass("unanswered", days=3, minutes=10)
        self._run_due()
        self.assertFalse(self._activities(self.lead))

    def test_queries_of_what_is_due(self):
        """Test that what is due is done in one go, though core hands on one e-mail after the other."""
        self._switch(sendgrid_rule_unanswered=True)
        counts = []
        for size in (20, 40):
            leads = self.env["crm.lead"].create([{"name": f"Q{n}", "user_id": self.author.id} for n in range(size)])
            for lead in leads:
                self._write(res_id=lead.id, status="delivered")
            self._pass("unanswered", days=3, minutes=10)
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            self._run_due()
            counts.append(self.env.cr.sql_log_count - before)
            self.assertTrue(all(self._activities(lead) for lead in leads))
        # Core subscribes each assigned user to each record.
        self.assertLess(counts[1] - counts[0], 10 * 20, counts)
