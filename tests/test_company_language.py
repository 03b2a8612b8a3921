from datetime import timedelta

from odoo import Command, fields
from odoo.tests import Form, new_test_user, tagged
from odoo.tools import mute_logger

from .test_people import PeopleCase


@tagged("post_install", "-at_install")
class TestCompanyLanguage(PeopleCase):
    """What Odoo writes and what stays is in the company's language, though the user who triggers it reads French."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.lang"]._activate_lang("fr_FR")
        cls.env.company.partner_id.lang = "en_US"
        groups = "base.group_system,base.group_partner_manager,sales_team.group_sale_manager"
        cls.french = new_test_user(cls.env, "sendgrid_test_french", groups=groups, email="french@example.com")
        cls.french.lang = "fr_FR"

    def as_french(self, records):
        return records.with_user(self.french).with_context(lang="fr_FR")

    def last_line(self, record):
        return str(record.message_ids.sorted("id")[-1].body)

    def test_account(self):
        """Test what the account's chatter tells of keys, of who is measured, and of where it is connected from."""
        account = self.as_french(self.account)
        account.api_key = "SG.another"
        self.assertIn("The API key was replaced by another.", self.last_line(self.account))
        account._note_choice(self.env.company)
        self.assertIn("From now on, for", self.last_line(self.account))
        self.account.write({"connected_database": "elsewhere", "connected_url": "https://elsewhere.example.com"})
        account._claim()
        self.assertIn("This is the production database now", self.last_line(self.account))
        account._leave_original()
        self.assertIn("It gets a webhook of its own", self.last_line(self.account))

    def test_health(self):
        """Test the words that a check keeps, if a user presses the button."""
        self.account.write({"connected_uuid": "another", "connected_database": False, "connected_url": False})
        self.as_french(self.account).action_check_health()
        check = self.account.check_ids.filtered(lambda check: check.subject == "place")
        self.assertEqual(check.detail, "“unknown”, unknown")

    def test_batch(self):
        batch = self.store(b"no JSON")
        self.drain()
        self.as_french(batch).action_set_aside()
        self.assertIn("Set aside:", self.last_line(self.account))
        self.as_french(batch).action_take_back()
        self.assertIn("No longer set aside:", self.last_line(self.account))

    def test_confirmed_address(self):
        self.tell((2, "bounce", {"status": "5.1.1", "type": "bounce"}))
        self.as_french(self.contact).action_email_is_valid()
        self.assertIn("Valid again: ada@example.org", self.last_line(self.contact))

    def test_word(self):
        """Test what a user notes by hand, and what a merge notes."""
        Address = self.as_french(self.env["sendgrid.address"])
        Address.set_email_tracking(["ada@example.org"], "declined", "hand")
        self.assertIn("E-mail tracking of ada@example.org: Declined, noted by", self.last_line(self.contact))
        twin = self.env["res.partner"].create({"name": "Ada", "email": "twin@example.org"})
        wizard = self.as_french(self.env["base.partner.merge.automatic.wizard"]).create(
            {
                "partner_ids": [Command.set((self.contact | twin).ids)],
                "dst_partner_id": twin.id,
                "state": "selection",
            }
        )
        wizard.action_merge()
        address = self.env["sendgrid.address"].search([("email", "=", "twin@example.org")])
        self.assertEqual(address.email_tracking_form, "merged contacts")
        leads = self.env["crm.lead"].create(
            [{"name": email, "email_from": email} for email in ("twin@example.org", "lead@example.org")]
        )
        self.as_french(leads.sorted("id", reverse=True)).merge_opportunity()
        forms = self.env["sendgrid.consent"].search([]).mapped("form")
        self.assertIn("merged leads", forms)

    def test_rights(self):
        """Test what chatters and core's privacy log tell of an export, and of what was forgotten."""
        email = self.tell((2, "delivered"), (4000, "open"))
        self.as_french(self.env["sendgrid.export"])._open_for(self.as_french(self.contact))
        self.assertIn("All that is known of ada@example.org", self.last_line(self.contact))
        Forget = self.as_french(self.env["sendgrid.forget"])
        dialog = Form(Forget.with_context(active_model="sendgrid.email", active_ids=email.ids)).save()
        self.assertIn("Les ouvertures", dialog.action_forget() and dialog.result, "he reads it at once")
        self.assertIn("The tracking of ada@example.org was forgotten.", self.last_line(self.contact))
        told = self.env["privacy.log"].search([], order="id desc", limit=2).mapped("execution_details")
        self.assertIn("The tracking of the address was forgotten.", told[0])
        self.assertIn("All that is known of the address", told[1])

    def test_taken_back_unsubscription(self):
        email = self.tell(*self.scan())
        self.as_french(email).action_take_back_unsubscription()
        self.assertIn("took back the unsubscription", self.last_line(self.contact))

    def test_consequence_that_is_run_again(self):
        """Test what the blacklist says, if a user has a consequence run that had failed."""
        email = self.tell((2, "delivered"), (4000, "unsubscribe"))
        self.env["sendgrid.address"].search([]).unlink()
        entry = self.Blacklist.search([("email", "=", "ada@example.org")])
        entry.unlink()
        email.write({"failed_consequences": ["address"]})
        self.as_french(email).action_run_again()
        entry = self.Blacklist.search([("email", "=", "ada@example.org")])
        self.assertIn("the recipient unsubscribed through the e-mail", str(entry.message_ids.mapped("body")))

    def test_refused_address(self):
        """Test why an e-mail did not leave, as the document and the notification tell it."""
        message = self.as_french(self.contact)
        self.contact.email = "münchen@example.org"
        with self.sending():
            message.message_post(
                body="Hello", partner_ids=self.contact.ids, message_type="comment", subtype_xmlid="mail.mt_comment"
            )
            self.env["mail.mail"].with_context(lang="fr_FR").process_email_queue()
        email = self.Email.search([("partner_id", "=", self.contact.id)])
        self.assertIn("has letters before the @ that are not ASCII", email.status_reason)

    def test_address_that_is_none(self):
        """Test why nothing was sent to a contact without an address, if a user sends who reads French."""
        self.contact.email = False
        with self.sending():
            self.as_french(self.env["mail.mail"]).sudo().create(
                {"recipient_ids": [Command.link(self.contact.id)], "subject": "Hello", "body_html": "<p>Hello</p>"}
            ).send()
        email = self.Email.search([("partner_id", "=", self.contact.id)])
        self.assertEqual(email.status_reason, "The contact has no e-mail address.")
        self.assertIn("Nobody told Odoo", self.as_french(self.Email)._explain_unconfirmed())

    def test_time_that_stays(self):
        """Test that the zone of whoever rotates a key is not that of whoever reads when it ends, maybe years later."""
        account = self.as_french(self.account).with_context(tz="Pacific/Auckland")
        end = "2030-03-02 09:00:00"
        account.write(
            {"previous_verification_key": self.account.verification_key, "previous_verification_key_end": end}
        )
        self.assertIn("is accepted until Mar 2, 2030, 9:00 AM (UTC).", self.last_line(self.account))
        email = self.tell((2, "delivered"), (4000, "unsubscribe"))
        date = email.event_ids.filtered(lambda event: event.event == "unsubscribe").timestamp
        entry = self.Blacklist.search([("email", "=", "ada@example.org")])
        told = f"{date:%b} {date.day}, {date.year}, {date:%I:%M %p}".replace(" 0", " ")
        self.assertIn(f"SendGrid, {told} (UTC): the recipient", str(entry.message_ids.mapped("body")))


@tagged("post_install", "-at_install")
class TestLanguageOfNobody(PeopleCase):
    """What scheduled actions and rules write for many readers is in the company's language: they have none."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for lang in ("fr_FR", "ar_001"):
            cls.env["res.lang"]._activate_lang(lang)
        cls.env.company.partner_id.lang = "fr_FR"

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_rule_that_failed(self):
        """Test what is noted of a rule that failed: rules run without a language."""
        email = self.tell((2, "delivered"))
        rule = self.env.ref("sendgrid_tracking.base_automation_bounce").with_context(lang=None)
        rule.with_context(lang="fr_FR").name = "Un rebond"
        self.env["sendgrid.event.batch"].with_context(lang=None)._note_failed_rule(rule, email, "not this one")
        [line] = email.event_ids.batch_id.failed_rules.splitlines()
        self.assertRegex(line, r"^Règle «\s?Un rebond\s?» sur sendgrid.email \d+\s?: not this one$")

    def test_activity_of_nobody(self):
        """Test the activities that nobody is responsible for: of a rule, and of a reminder whose user has left."""
        email = self.tell((2, "delivered"))
        email.author_id = self.contact.user_id = False
        email.with_context(lang=None)._schedule_follow_up("mail.mail_activity_data_call", "Find another e-mail address")
        activity = self.contact.activity_ids
        self.assertFalse(activity.user_id)
        self.assertEqual(activity.summary, "Trouver une autre adresse e-mail")
        activity.unlink()
        user = new_test_user(self.env, "sendgrid_test_gone", groups="base.group_user")
        user.active = False
        date = fields.Datetime.now() - timedelta(days=1)
        self.env["sendgrid.reminder"].create({"email_id": email.id, "user_id": user.id, "date": date})
        self.env["sendgrid.reminder"].with_context(lang=None)._remind()
        activity = self.contact.activity_ids
        self.assertFalse(activity.user_id)
        self.assertEqual(activity.summary, "Un e-mail est encore sans réponse.")

    def test_list_of_words(self):
        """Test that the parts of a note stand beside each other as in the company's language."""
        self.env.company.partner_id.lang = "ar_001"
        self.env["sendgrid.address"].set_email_tracking(["ada@example.org"], "declined", "hand")
        body = str(self.contact.message_ids.sorted("id")[-1].body)
        self.assertNotIn(",", body)
        self.assertIn(" ودوّنه ", body)
