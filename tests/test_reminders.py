import time
from datetime import datetime, timedelta, timezone

from odoo import Command, fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from .common import SendgridCase
from .test_switch import SwitchMixin

MAIL_SERVER, MAIL = "odoo.addons.base.models.ir_mail_server", "odoo.addons.mail.models.mail_mail"
BOUNCE = {"status": "5.1.1", "type": "bounce", "reason": "550 5.1.1 unknown"}


class ReminderMixin(SwitchMixin):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.salesperson.tz = "Pacific/Auckland"

    def write_to(self, partners, days=3, **values):
        """Have the salesperson write to contacts in the lead's chatter; return the documents."""
        with self.sending():
            message = self.lead.with_user(self.salesperson).message_post(
                body="Hello",
                subject="An offer",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=partners.ids,
                sendgrid_reminder_days=days,
                **values,
            )
        return self.find_emails(message.message_id)

    def activities(self, record=None, **values):
        record = self.lead if record is None else record
        domain = [("res_model", "=", record._name), ("res_id", "=", record.id)]
        return self.env["mail.activity"].search(domain)

    def reminders(self, emails):
        return self.env["sendgrid.reminder"].search([("email_id", "in", emails.ids)])

    def wait(self, emails, days=4):
        """Let days pass for e-mails: they were sent so long ago, and so were their reminders made."""
        self.env.flush_all()
        self.env.cr.execute(
            """UPDATE sendgrid_email SET sent_date = sent_date - %(days)s * INTERVAL '1 day',
                                         date = date - %(days)s * INTERVAL '1 day' WHERE id = ANY(%(ids)s);
               UPDATE sendgrid_reminder SET date = date - %(days)s * INTERVAL '1 day' WHERE email_id = ANY(%(ids)s)""",
            {"days": days, "ids": emails.ids},
        )
        self.env.invalidate_all()

    def remind(self):
        self.run_cron("ir_cron_remind")

    def answer(self, email, sender=None, **headers):
        """Let an answer to an e-mail come in through core's gateway, and drain it."""
        headers = {"In-Reply-To": email.message_id, **headers}
        self.env["mail.thread"].message_process(
            "crm.lead",
            "\n".join(
                [
                    f"From: {sender or email.recipient}",
                    "To: sales@example.com",
                    "Subject: Re: An offer",
                    f"Message-ID: <answer-{email.id}-{time.monotonic_ns()}@example.org>",
                    f"Date: {fields.Datetime.now():%a, %d %b %Y %H:%M:%S} +0000",
                    *(f"{name}: {value}" for name, value in headers.items()),
                    "Content-Type: text/plain",
                    "",
                    "Yes, please",
                ]
            ),
        )
        self.drain()

    def age_answers(self, email, days=9):
        """Let the answers to an e-mail have come in some days earlier."""
        self.env.flush_all()
        self.env.cr.execute(
            """UPDATE sendgrid_email SET reply_date = reply_date - %(by)s WHERE id = %(id)s;
               UPDATE sendgrid_event SET timestamp = timestamp - %(by)s WHERE email_id = %(id)s""",
            {"id": email.id, "by": timedelta(days=days)},
        )
        self.env.invalidate_all()

    def bounce(self, email):
        self.receive(self.relay(email).event("bounce", timestamp=self.after(email, 2), **BOUNCE))


@tagged("post_install", "-at_install")
class TestReminders(ReminderMixin, SendgridCase):
    """*Remind me if there is no answer*: from the composers to the activity, and what ends it."""

    # ------------------------------------------------------------
    # KEPT
    # ------------------------------------------------------------

    def test_composer(self):
        """Test that the full composer keeps it on the message, and that a reminder exists once the mail has left."""
        for mode in ("comment", "mass_mail"):
            with self.subTest(mode=mode):
                form = self.open_composer(default_composition_mode=mode, default_subject="An offer")
                form.body = "<p>Hello</p>"
                form.sendgrid_reminder_days = 5
                with self.sending():
                    form.save().action_send_mail()
                    self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
                email = self.Email.search([], limit=1, order="id desc")
                self.assertEqual(email.mail_message_id.sudo().sendgrid_reminder_days, 5)
                reminder = self.reminders(email)
                self.assertEqual((reminder.user_id, reminder.state), (self.salesperson, "waiting"))
                self.assertEqual(reminder.date, email.sent_date + timedelta(days=5))

    def test_list(self):
        """Test that whoever writes to a list of records gets no to-do for each of their contacts."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        leads = self.env["crm.lead"].create(
            [{"name": one.name, "partner_id": one.id, "user_id": self.salesperson.id} for one in self.contact | bob]
        )
        form = self.open_composer(
            default_composition_mode="mass_mail",
            default_subject="An offer",
            default_res_ids=leads.ids,
            default_partner_ids=[],
            default_sendgrid_reminder_days=5,
        )
        form.body = "<p>Hello</p>"
        with self.assertRaises(AssertionError, msg="nobody is asked"):
            form.sendgrid_reminder_days = 3
        composer = form.save()
        self.assertEqual(composer.sendgrid_reminder_days, 5)
        with self.sending():
            composer.action_send_mail()
            self.env["mail.mail"].search([("state", "=", "outgoing")]).send()
        emails = self.Email.search([("model", "=", "crm.lead"), ("res_id", "in", leads.ids)])
        self.assertEqual(len(emails), 2)
        self.assertFalse(self.reminders(emails))

    def test_note(self):
        """Test that a note waits for no answer, whatever was chosen before it became one."""
        form = self.open_composer(default_sendgrid_reminder_days=3, default_subtype_xmlid="mail.mt_note")
        form.body = "<p>Hello</p>"
        with self.sending():
            form.save().action_send_mail()
        self.assertFalse(self.last_message().sudo().sendgrid_reminder_days)

    def test_scheduled(self):
        """Test that a message that waits keeps it, and that it can be changed there."""
        form = self.open_composer(default_sendgrid_reminder_days=3, default_subject="An offer")
        form.body = "<p>Hello</p>"
        composer = form.save()
        composer.scheduled_date = fields.Datetime.now() + timedelta(days=1)
        composer.action_schedule_message()
        scheduled = self.env["mail.scheduled.message"].search([("res_id", "=", self.lead.id)])
        with Form(scheduled.with_user(self.salesperson), "mail.mail_scheduled_message_view_form") as form:
            self.assertEqual(form.sendgrid_reminder_days, 3)
            form.sendgrid_reminder_days = 7
        with self.sending():
            scheduled.with_user(self.salesperson).post_message()
        self.assertEqual(self.last_message().sudo().sendgrid_reminder_days, 7)
        self.assertEqual(len(self.reminders(self.Email.search([], limit=1, order="id desc"))), 1)

    def test_impossible_days(self):
        for days in (-1, 366, 10**9):
            with self.subTest(days=days), self.assertRaises(ValidationError):
                self.write_to(self.contact, days=days)

    def test_impossible_days_of_a_scheduled_message(self):
        """Test that they are refused when they are chosen: when the message is due, core would throw it away unsent."""
        scheduled = self.env["mail.scheduled.message"].create(
            {
                "author_id": self.salesperson.partner_id.id,
                "model": "crm.lead",
                "res_id": self.lead.id,
                "body": "Hello",
                "scheduled_date": fields.Datetime.now() + timedelta(days=1),
            }
        )
        for days in (-1, 366):
            with self.subTest(days=days), self.assertRaises(ValidationError):
                scheduled.sendgrid_reminder_days = days
        scheduled.sendgrid_reminder_days = 365

    def test_not_sent(self):
        """Test that there is a reminder when the mail leaves, not before."""
        mail = self.create_mail(sendgrid_reminder_days=3, model="crm.lead", res_id=self.lead.id)
        with self.sending(refuse=lambda sent: OSError("no")), mute_logger(MAIL_SERVER, MAIL):
            mail.send()
        email = self.find_emails(mail.message_id)
        self.assertEqual((email.status, len(self.reminders(email))), ("failed", 0))
        with self.sending():
            mail.action_retry()
            mail.send()
        self.assertEqual((email.status, len(self.reminders(email))), ("sent", 1))

    def test_another_author(self):
        """Test that whoever writes is reminded, also if a template names somebody else, or the company, as author."""
        colleague = new_test_user(self.env, "reminder_author", groups="sales_team.group_sale_salesman")
        for author in (colleague.partner_id, self.env.company.partner_id):
            with self.subTest(author=author.name):
                email = self.write_to(self.contact, author_id=author.id, email_from="author@example.com")
                self.assertEqual(self.reminders(email).user_id, self.salesperson)

    def test_not_an_employee(self):
        """Test that nobody is reminded of what no employee wrote."""
        _sent, email = self.send_mail(author_id=self.contact.id, sendgrid_reminder_days=3)
        self.assertEqual((len(email), len(self.reminders(email))), (1, 0))

    # ------------------------------------------------------------
    # NO ANSWER
    # ------------------------------------------------------------

    def test_no_answer(self):
        """Test the activity: on the record, for the sender, with a sentence and a link, due on his day."""
        email = self.write_to(self.contact)
        self.remind()
        self.assertFalse(self.activities(), "it is not time yet")
        self.wait(email)
        due = self.reminders(email).date
        self.remind()
        activity = self.activities()
        self.assertEqual(activity.user_id, self.salesperson)
        self.assertEqual(activity.summary, "“An offer” was not answered yet.")
        self.assertIn("has not answered the e-mail “An offer”", activity.note)
        self.assertIn(f'href="/odoo/sendgrid-documents/{email.id}"', activity.note)
        local = fields.Datetime.context_timestamp(self.lead.with_context(tz="Pacific/Auckland"), due)
        self.assertEqual(activity.date_deadline, local.date())
        self.assertEqual(activity.activity_type_id, self.env.ref("mail.mail_activity_data_todo"))
        self.remind()
        self.assertEqual(self.activities(), activity, "once")

    def test_due_on_the_senders_day(self):
        """Test a moment that is another day for the sender than in UTC."""
        email = self.write_to(self.contact)
        self.wait(email)
        self.reminders(email).date = fields.Datetime.now().replace(hour=23, minute=0) - timedelta(days=1)
        self.remind()
        self.assertEqual(self.activities().date_deadline, fields.Date.today())

    def test_several(self):
        """Test that the recipients of one message are named by one activity, and one answer ends it."""
        others = self.env["res.partner"].create(
            [{"name": f"Person {n}", "email": f"person{n}@example.org"} for n in range(3)]
        )
        emails = self.write_to(self.contact | others)
        self.assertEqual(len(emails), 4)
        self.wait(emails)
        self.remind()
        activity = self.activities()
        self.assertEqual(len(activity), 1)
        for email in emails:
            self.assertIn(f"/odoo/sendgrid-documents/{email.id}", activity.note)
        self.answer(emails[2])
        self.assertFalse(activity.exists())
        self.assertEqual(set(self.reminders(emails).mapped("state")), {"over"})

    def test_hostile_text(self):
        self.contact.name = '<img src=x onerror="alert(1)">'
        email = self.write_to(self.contact)
        email.subject = "</p><script>alert(1)</script>"
        self.wait(email)
        self.remind()
        self.assertIn("&lt;script&gt;", self.activities().note)
        self.assertNotIn("<img", self.activities().note)

    # ------------------------------------------------------------
    # ENDS
    # ------------------------------------------------------------

    def test_answer(self):
        """Test that an answer ends it, before and after the activity."""
        for is_late in (False, True):
            with self.subTest(is_late=is_late):
                self.lead = self.lead.copy({"user_id": self.salesperson.id})
                email = self.write_to(self.contact)
                self.wait(email, 4 if is_late else 1)
                self.remind()
                self.assertEqual(len(self.activities()), is_late)
                self.answer(email)
                self.assertTrue(email.reply_date)
                self.assertFalse(self.activities())
                self.wait(email)
                self.remind()
                self.assertFalse(self.activities())
                self.assertEqual(self.reminders(email).state, "over")

    def test_automatic_answer(self):
        """Test that an out-of-office note ends nothing."""
        email = self.write_to(self.contact)
        self.answer(email, **{"Auto-Submitted": "auto-replied"})
        self.wait(email)
        self.remind()
        self.assertEqual(len(self.activities()), 1)

    def test_answer_in_the_portal(self):
        """Test that what the contact writes in the portal, which belongs to a later e-mail, ends it too."""
        user = new_test_user(self.env, "reminder_portal", groups="base.group_portal", email="portal@example.org")
        email = self.write_to(user.partner_id)
        self.wait(email)
        later = self.write_to(user.partner_id, days=0)
        self.remind()
        self.assertEqual(len(self.activities()), 1)
        self.lead.with_user(user).sudo().message_post(
            body="Yes", message_type="comment", subtype_xmlid="mail.mt_comment", author_id=user.partner_id.id
        )
        self.drain()
        self.assertTrue(later.reply_date)
        self.assertFalse(self.activities())

    def test_answer_of_somebody_else(self):
        """Test that an answer of another contact about the record ends nothing."""
        other = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        email = self.write_to(self.contact)
        self.answer(self.write_to(other, days=0))
        self.wait(email)
        self.remind()
        self.assertEqual(len(self.activities()), 1)

    def test_answer_of_before(self):
        """Test that an answer to an earlier e-mail, from before this one was written, ends nothing."""
        earlier = self.write_to(self.contact, days=0)
        self.answer(earlier)
        self.age_answers(earlier)
        email = self.write_to(self.contact)
        self.wait(email)
        self.remind()
        self.assertEqual(len(self.activities()), 1)

    def test_second_answer(self):
        """Test that a further answer to an earlier e-mail ends it, though that one was answered before as well."""
        for is_late in (False, True):
            with self.subTest(is_late=is_late):
                self.lead = self.lead.copy({"user_id": self.salesperson.id})
                earlier = self.write_to(self.contact, days=0)
                self.answer(earlier)
                self.age_answers(earlier)
                email = self.write_to(self.contact)
                self.wait(email, 4 if is_late else 1)
                self.remind()
                self.assertEqual(len(self.activities()), is_late)
                self.answer(earlier)
                self.assertEqual(self.reminders(email).state, "over")
                self.assertFalse(self.activities())

    def test_second_answer_of_a_machine(self):
        """Test that an absence notice to an earlier e-mail, which was answered before, ends nothing."""
        earlier = self.write_to(self.contact, days=0)
        self.answer(earlier)
        self.age_answers(earlier)
        email = self.write_to(self.contact)
        self.answer(earlier, **{"Auto-Submitted": "auto-replied"})
        self.assertEqual(self.reminders(email).state, "waiting")

    def test_done_by_hand(self):
        """Test that an activity that the sender has done stays done, whatever happens afterwards."""
        email = self.write_to(self.contact)
        self.wait(email)
        self.remind()
        activity = self.activities()
        activity.with_user(self.salesperson).action_feedback(feedback="Called")
        self.bounce(email)
        self.answer(email)
        self.remind()
        self.assertTrue(activity.exists())
        self.assertFalse(activity.active)
        self.assertFalse(self.activities())

    def test_deleted_by_hand(self):
        email = self.write_to(self.contact)
        self.wait(email)
        self.remind()
        self.activities().unlink()
        self.remind()
        self.bounce(email)
        self.assertFalse(self.activities())

    def test_record_is_closed(self):
        """Test that nothing is left to do if the opportunity was won, lost or archived meanwhile."""
        for close in ("action_set_won", "action_set_lost", "action_archive"):
            with self.subTest(close=close):
                self.lead = self.env["crm.lead"].create(
                    {"name": close, "type": "opportunity", "user_id": self.salesperson.id}
                )
                email = self.write_to(self.contact)
                self.wait(email)
                getattr(self.lead, close)()
                self.remind()
                self.assertFalse(self.activities())
                self.assertEqual(self.reminders(email).state, "over")

    def test_record_was_won_before(self):
        """Test that what is written about a won opportunity waits for an answer too."""
        self.lead.action_set_won()
        self.lead.date_closed = fields.Datetime.now() - timedelta(days=30)
        email = self.write_to(self.contact)
        self.wait(email)
        self.remind()
        self.assertEqual(len(self.activities()), 1)

    # ------------------------------------------------------------
    # DID NOT ARRIVE
    # ------------------------------------------------------------

    def test_bounce(self):
        """Test that a bounce tells at once, also instead of the activity that is there already."""
        for is_late in (False, True):
            with self.subTest(is_late=is_late):
                self.lead = self.lead.copy({"user_id": self.salesperson.id})
                email = self.write_to(self.contact)
                if is_late:
                    self.wait(email)
                    self.remind()
                self.bounce(email)
                activity = self.activities()
                self.assertEqual((activity.user_id, activity.summary), (self.salesperson, "“An offer” did not arrive."))
                self.assertIn("did not arrive", activity.note)
                self.assertIn(f"/odoo/sendgrid-documents/{email.id}", activity.note)
                self.remind()
                self.answer(email)
                self.assertFalse(self.activities(), "whoever answers has it")

    def test_delivered_after_all(self):
        """Test that who was told too early waits again: what was given up after 72 hours was delivered later."""
        email = self.write_to(self.contact, days=9)
        self.wait(email)
        self.receive(self.relay(email).event("deferred", timestamp=self.after(email, 2)))
        self.Email._expire()
        self.assertEqual(self.activities().summary, "“An offer” did not arrive.")
        self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 80 * 3600)))
        self.assertEqual(email.status, "delivered")
        self.assertFalse(self.activities())
        self.assertEqual(self.reminders(email).state, "waiting")

    def test_answer_from_elsewhere(self):
        """Test that an answer from another address of the contact ends it too, though it disproves no bounce."""
        email = self.write_to(self.contact)
        self.bounce(email)
        self.assertEqual(self.activities().summary, "“An offer” did not arrive.")
        self.contact.email = "ada@home.example"
        self.answer(email, "ada@home.example")
        self.assertEqual((email.status, bool(email.reply_date)), ("bounced", True))
        self.assertFalse(self.activities())
        self.assertEqual(self.reminders(email).state, "over")

    def test_bounce_of_one(self):
        """Test that the others of a message are waited for all the same."""
        other = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        emails = self.write_to(self.contact | other)
        self.bounce(emails[0])
        self.assertEqual(len(self.activities()), 1)
        self.wait(emails)
        self.remind()
        self.assertEqual(len(self.activities()), 2)

    def test_any_split(self):
        """Test that it makes no difference in how many POSTs a message's bounces come."""
        others = self.env["res.partner"].create([{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(3)])
        emails = self.write_to(others)
        events = [self.relay(email).event("bounce", timestamp=self.after(email, 2), **BOUNCE) for email in emails] + [
            self.relay(emails[0]).event("delivered", timestamp=self.after(emails[0], 1))
        ]

        def look():
            return sorted(self.activities().mapped("note")), self.reminders(emails).mapped("state")

        notes, _states = self.compare_ways(
            look,
            lambda: self.receive(*events),
            lambda: [self.receive(event) for event in events],
            lambda: [self.receive(event) for event in reversed(events)],
            lambda: [self.receive(*events), self.receive(*events)],
        )
        self.assertEqual(len(notes), 3)

    def test_account_without_consequences(self):
        """Test that what a user asked for does not depend on whether the account's events act."""
        self.account.act_on_events = False
        email = self.write_to(self.contact)
        self.bounce(email)
        self.assertEqual(len(self.activities()), 1)

    # ------------------------------------------------------------
    # FALLBACKS
    # ------------------------------------------------------------

    def test_record_is_gone(self):
        """Test that the contact gets the activity, which tells its readers nothing of the e-mail."""
        email = self.write_to(self.contact)
        self.lead.unlink()
        self.wait(email)
        self.remind()
        activity = self.activities(self.contact)
        self.assertEqual((activity.user_id, activity.summary), (self.salesperson, "An e-mail was not answered yet."))
        self.assertNotIn("offer", activity.note)
        self.assertIn(f"/odoo/sendgrid-documents/{email.id}", activity.note)

    def test_everything_is_gone(self):
        """Test that the sender has it alone if there is neither record nor contact."""
        email = self.write_to(self.contact)
        self.lead.unlink()
        self.contact.unlink()
        self.wait(email)
        self.remind()
        activity = self.env["mail.activity"].search([("user_id", "=", self.salesperson.id), ("res_model", "=", False)])
        self.assertEqual(activity.summary, "An e-mail was not answered yet.")

    def test_sender_is_gone(self):
        """Test that an archived sender's reminder goes to whoever is responsible, and one without access as well."""
        responsible = new_test_user(
            self.env, "reminder_responsible", groups="base.group_user,sales_team.group_sale_salesman_all_leads"
        )
        for leave in (
            lambda: self.salesperson.write({"active": False}),
            lambda: self.salesperson.write({"group_ids": [Command.set(self.env.ref("base.group_user").ids)]}),
        ):
            email = self.write_to(self.contact)
            self.lead.user_id = responsible
            with self.subTest(), self.env.cr.savepoint():
                leave()
                self.wait(email)
                self.remind()
                self.assertEqual(self.activities().user_id, responsible)
                self.activities().unlink()
                self.salesperson.active = True

    def test_one_fails_alone(self):
        """Test that an activity that cannot be made does not keep others from theirs."""
        bad = self.env["crm.lead"].create({"name": "Bad", "user_id": self.salesperson.id})
        good = self.lead
        emails = self.write_to(self.contact)
        self.lead = bad
        emails |= self.write_to(self.contact)
        self.lead = good
        # The database refuses it, as a module's constraint may do.
        self.env.cr.execute(
            "ALTER TABLE mail_activity ADD CONSTRAINT no_bad CHECK (res_model <> 'crm.lead' OR res_id <> %s)", [bad.id]
        )
        self.wait(emails)
        with (
            mute_logger("odoo.sql_db"),
            self.assertLogs("odoo.addons.sendgrid_tracking.models.sendgrid_reminder", "ERROR"),
        ):
            self.remind()
        self.assertEqual(len(self.activities(good)), 1)
        self.assertEqual(sorted(self.reminders(emails).mapped("state")), ["over", "unanswered"])

    # ------------------------------------------------------------
    # FOLLOW UP
    # ------------------------------------------------------------

    def _follow_up(self, email, days=None, user=None):
        action = email.with_user(user or self.salesperson).action_follow_up()
        dialog = Form(
            self.env[action["res_model"]].with_user(user or self.salesperson).with_context(**action["context"])
        )
        self.assertEqual(dialog.days, 3)
        if days is not None:
            dialog.days = days
        return dialog.save().action_remind()

    def test_follow_up(self):
        """Test the document's button: from now on, for whoever presses it, and it can be changed and taken back."""
        email = self.write_to(self.contact, days=0)
        mine = email.with_user(self.salesperson)
        self.assertFalse(mine.reminder_date)
        before = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
        self._follow_up(email)
        self.assertGreaterEqual(mine.reminder_date, before + timedelta(days=3))
        self._follow_up(email, 10)
        self.assertGreaterEqual(mine.reminder_date, before + timedelta(days=10))
        self.assertEqual(len(self.reminders(email)), 1)
        self.assertFalse(email.reminder_date, "it is another user's")
        mine.action_no_reminder()
        self.assertFalse(mine.reminder_date)
        self._follow_up(email, 1)
        self.wait(email)
        self.remind()
        self.assertEqual(self.activities().user_id, self.salesperson)
        self._follow_up(email, 1)
        self.assertFalse(self.activities(), "it comes later")

    def test_follow_up_of_a_colleague(self):
        """Test that two users have a reminder each."""
        colleague = new_test_user(
            self.env, "reminder_colleague", groups="base.group_user,sales_team.group_sale_salesman_all_leads"
        )
        email = self.write_to(self.contact)
        self._follow_up(email, user=colleague)
        self.wait(email)
        self.remind()
        self.assertEqual(self.activities().user_id, self.salesperson | colleague)
        self.answer(email)
        self.assertFalse(self.activities())

    def test_follow_up_in_vain(self):
        """Test what is refused: odd numbers, what was answered, what did not arrive, what one may not see."""
        email = self.write_to(self.contact, days=0)
        for days in (0, -3, 366):
            with self.subTest(days=days), self.assertRaises(UserError):
                self._follow_up(email, days)
        stranger = new_test_user(self.env, "reminder_stranger", groups="base.group_user")
        with self.assertRaises(AccessError):
            self._follow_up(email, user=stranger)
        with self.assertRaises(AccessError):
            self.env["sendgrid.follow.up"].with_user(stranger).create({"email_id": email.id})
        with self.assertRaises(AccessError):
            self.env["mail.compose.message"].with_user(stranger).create({"sendgrid_resent_id": email.id})
        self.answer(email)
        self.assertFalse(email.can_follow_up)
        with self.assertRaises(UserError):
            self._follow_up(email)
        other = self.write_to(self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"}), days=0)
        self.bounce(other)
        self.assertFalse(other.can_follow_up)
        with self.assertRaises(UserError):
            self._follow_up(other)

    def test_follow_up_of_the_unwilling(self):
        """Test that nobody is asked again who complained or unsubscribed, and that the action says why."""
        for number, kind in enumerate(("spamreport", "unsubscribe", "group_unsubscribe")):
            with self.subTest(kind):
                partner = self.env["res.partner"].create({"name": kind, "email": f"unwilling{number}@example.org"})
                email = self.write_to(partner)
                message = self.relay(email)
                self.receive(message.event("delivered", timestamp=self.after(email, 2)))
                mine = email.with_user(self.salesperson)
                self.assertTrue(mine.can_follow_up and mine.can_send_again)
                self.receive(message.event(kind, timestamp=self.after(email, 900), asm_group_id=7))
                self.assertFalse(mine.can_follow_up or mine.can_send_again)
                for action in (lambda one=email: self._follow_up(one), mine.action_send_again):
                    with self.assertRaisesRegex(UserError, "spam or unsubscribed"):
                        action()
                self.wait(email)
                self.remind()
                self.assertFalse(self.activities(), "nor is its author reminded")
                self.assertEqual(self.reminders(email).state, "over")

    def test_follow_up_after_a_colleague(self):
        """Test that a colleague's unsubscription is nobody's wish, and hides no failure."""
        email = self.write_to(self.contact, days=0)
        email.account_id.company_id = self.env.company
        self.env.company.sendgrid_networks = "192.0.2.0/24"
        message = self.relay(email)
        self.receive(
            message.event("delivered", timestamp=self.after(email, 2)),
            message.event("unsubscribe", timestamp=self.after(email, 900), ip="192.0.2.7"),
        )
        self.assertEqual((email.status, email.is_unsubscribed_by_machine), ("unsubscribed", True))
        self.assertTrue(email.can_follow_up)
        self.receive(message.event("bounce", timestamp=self.after(email, 1000), **BOUNCE))
        self.assertEqual(email.status, "unsubscribed")
        self.assertFalse(email.can_follow_up)

    # ------------------------------------------------------------
    # COST
    # ------------------------------------------------------------

    def test_queries_of_sending(self):
        """Test that a message to many costs one query more if its author wants to be reminded, and none if not."""
        partners = self.env["res.partner"].create([{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(6)])
        counts = {}
        for days in (0, 0, 3):
            mails = self.env["mail.mail"].create(
                {
                    "subject": "x",
                    "body_html": "<p>x</p>",
                    "email_from": '"Sally" <salesperson@example.com>',
                    "author_id": self.salesperson.partner_id.id,
                    "mail_server_id": self.server.id,
                    "recipient_ids": partners.ids,
                    "sendgrid_reminder_days": days,
                }
            )
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            with self.sending():
                mails.send()
            self.env.flush_all()
            counts[days] = self.env.cr.sql_log_count - before
        self.assertLessEqual(counts[3] - counts[0], 2, counts)

    def test_queries(self):
        """Test that many reminders are settled together."""
        leads = self.env["crm.lead"].create([{"name": f"L{n}", "user_id": self.salesperson.id} for n in range(60)])
        emails = [
            self.create_email(f"q{n}@example.org", model="crm.lead", res_id=lead.id) for n, lead in enumerate(leads)
        ]
        for email in emails:
            self.env["sendgrid.reminder"]._remind_of(email, self.salesperson, fields.Datetime.now())
        counts = []
        Reminder = self.env["sendgrid.reminder"]
        for part in (emails[:20], emails[20:]):
            self.env["sendgrid.reminder"].search([]).date = "2100-01-01 00:00:00"
            self.reminders(self.Email.union(*part)).date = "2020-01-01 00:00:00"
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.assertEqual(Reminder._remind(), len(part))
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertLess(counts[1] - counts[0], 6 * 20, counts)
