from datetime import datetime, timedelta
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from ..models.sendgrid_consequence import SendgridConsequence
from .simulator import Relayed, Signer, account_event, async_bounce, to_wire

SENT = datetime(2026, 11, 24, 6, 0, 0)
SENT_SECONDS = 1795500000
# Code of rules that fails for one contact. It stands as in XML data, where core takes away the white space around it.
FAILING = {
    "lines": """
if 'bad' in records.partner_id.mapped('name'):
    raise UserError('not this one')
records.partner_id.write({'ref': 'seen'})
        """,
    "indented": """
            for one in records:
                if one.partner_id.name == 'bad':
                    raise UserError('not this one')
                one.partner_id.write({'ref': 'seen'})
        """,
}


class ConsequenceCase(HttpCase):
    """Documents as sending leaves them, and events that come by signed POST."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.signer = Signer()
        cls.account = cls.env["sendgrid.account"].create(
            {"name": "Consequences", "verification_key": cls.signer.public_key}
        )
        cls.salesperson = new_test_user(cls.env, "sendgrid_sales", groups="sales_team.group_sale_salesman")
        cls.administrator = new_test_user(cls.env, "sendgrid_admin", groups="base.group_system")
        cls.number = 0

    def _contact(self, **vals):
        type(self).number += 1
        address = f"contact{self.number}@example.org"
        return self.env["res.partner"].create(
            {"name": f"Contact {self.number}", "email": address, "user_id": self.salesperson.id, **vals}
        )

    def _sent(self, partner, with_message=True, **vals):
        """Return a document as sending leaves it, with message and notification, and its message at SendGrid."""
        message = self.env["mail.message"]
        if with_message:
            message = partner.with_user(self.salesperson).message_post(
                body="Hello",
                subject="Offer",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=partner.ids,
            )
            message.sudo().notification_ids.write({"notification_status": "sent"})
        type(self).number += 1
        email = self.env["sendgrid.email"].create(
            {
                "odoo_id": f"copy{self.number}",
                "account_id": self.account.id,
                "recipient": partner.email_normalized,
                "partner_id": partner.id,
                "author_id": self.salesperson.partner_id.id,
                "mail_message_id": message.id,
                "message_id": f"<{self.number}@example.com>",
                "subject": "Offer",
                "model": "res.partner",
                "res_id": partner.id,
                "sent_date": SENT,
                **vals,
            }
        )
        unique_args = {"odoo_db": email._get_odoo_db(), "odoo_id": email.odoo_id}
        return email, Relayed([email.recipient], unique_args, email.message_id)

    def _post(self, *events):
        """Post the events as SendGrid does, and drain them."""
        body = to_wire(events)
        answer = self.url_open(
            f"/sendgrid/webhook/{self.account.webhook_token}", data=body, headers=self.signer.sign(body)
        )
        self.assertEqual(answer.status_code, 204)
        self.env["sendgrid.drain"]._drain()
        batch = self.env["sendgrid.event.batch"].search([], limit=1)
        self.assertEqual(batch.state, "done", batch.error)
        return batch

    def _odoo_db(self):
        return self.env["sendgrid.email"]._get_odoo_db()

    def _is_blacklisted(self, address):
        return bool(self.env["mail.blacklist"].search_count([("email", "=", address)]))


@tagged("post_install", "-at_install")
class TestConsequences(ConsequenceCase):
    """The consequences of new facts about an e-mail: from the signed POST to the pages that people see."""

    def test_table(self):
        """Test each kind of event against all possible consequences: notification, counter, flag, blacklist."""
        table = [
            # event, its fields: status, notification, failure, bounces counted, flagged, blacklisted
            ("delivered", {}, "delivered", "sent", False, 0, False, False),
            ("open", {}, "opened", "sent", False, 0, False, False),
            ("deferred", {}, "deferred", "sent", False, 0, False, False),
            ("bounce", {}, "bounced", "bounce", "mail_bounce", 1, True, False),
            ("blocked", {}, "blocked", "exception", "unknown", 0, False, False),
            # Nobody knows the bounce behind it, which may have been the sender's fault.
            ("dropped", {"reason": "Bounced Address"}, "dropped", "exception", "unknown", 0, False, False),
            ("dropped", {"reason": "Invalid"}, "dropped", "bounce", "mail_bounce", 0, True, False),
            ("dropped", {"reason": "Unsubscribed Address"}, "dropped", "exception", "mail_optout", 0, False, True),
            ("dropped", {"reason": "Spam Reporting Address"}, "dropped", "exception", "mail_bl", 0, False, True),
            ("dropped", {"reason": "Invalid SMTPAPI header"}, "dropped", "exception", "unknown", 0, False, False),
            ("dropped", {"reason": "Spam Content"}, "dropped", "exception", "unknown", 0, False, False),
            ("spamreport", {}, "spam", "sent", False, 0, False, True),
            ("unsubscribe", {}, "unsubscribed", "sent", False, 0, False, True),
            ("group_unsubscribe", {}, "unsubscribed", "sent", False, 0, False, False),
        ]
        for kind, fields, status, notification, failure, bounces, flagged, blacklisted in table:
            with self.subTest(kind=kind, **fields):
                partner = self._contact()
                email, relayed = self._sent(partner)
                self._post(relayed.event(kind, timestamp=SENT_SECONDS + 600, **fields))
                self.assertEqual(email.status, status)
                self.assertRecordValues(
                    email.mail_message_id.notification_ids,
                    [{"notification_status": notification, "failure_type": failure}],
                )
                self.assertEqual(partner.message_bounce, bounces)
                self.assertEqual(partner.email_bounced, flagged)
                self.assertEqual(self._is_blacklisted(partner.email_normalized), blacklisted)
                self.assertFalse(email.failed_consequences)

    def test_once(self):
        """Test that a consequence happens once, though the event comes again and more events of its kind come."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        bounce = relayed.event("bounce", timestamp=SENT_SECONDS + 5)
        self._post(bounce)
        self._post(bounce, {**bounce, "sg_event_id": "another"})
        self._post(relayed.event("dropped", timestamp=SENT_SECONDS + 9))
        self.assertEqual((partner.message_bounce, partner.email_bounced), (1, True))
        self.assertEqual(email.status, "bounced")

    def test_bounce_is_told(self):
        """Test that the reason reaches the contact, the notification and the sender's failures."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        with patch.object(type(self.env["mail.message"]), "_notify_message_notification_update", autospec=True) as tell:
            self._post(relayed.event("bounce", reason="550 5.1.1 <b@x>: User unknown", timestamp=SENT_SECONDS + 5))
        self.assertIn(email.mail_message_id, tell.call_args.args[0])
        self.assertEqual(email.mail_message_id.notification_ids.failure_reason, "550 5.1.1 <b@x>: User unknown")
        self.assertEqual(partner.email_bounce_reason, "550 5.1.1 <b@x>: User unknown")
        self.assertEqual(partner.email_bounce_date, SENT + timedelta(seconds=5))
        self.assertIn("User unknown", partner.sendgrid_warning)

    def test_bounce_about_a_lead(self):
        """Test that a bounce counts on its contact and its message's lead, even if the lead is archived or gone."""
        for vals in ({}, {"email_from": "other@example.org"}, {"active": False}):
            with self.subTest(vals):
                partner = self._contact()
                lead = self.env["crm.lead"].create({"name": "Lead", "email_from": partner.email, **vals})
                email, relayed = self._sent(partner)
                email.mail_message_id.write({"model": "crm.lead", "res_id": lead.id})
                self._post(relayed.event("bounce"))
                self.assertEqual((partner.message_bounce, lead.message_bounce), (1, 1))
                self.assertEqual(email.mail_message_id.notification_ids.notification_status, "bounce")
        partner = self._contact()
        email, relayed = self._sent(partner)
        email.mail_message_id.res_id = self.env["res.partner"].search([], order="id desc", limit=1).id + 1000
        self._post(relayed.event("bounce"))
        self.assertEqual((partner.message_bounce, email.failed_consequences), (1, False))

    def test_bounces_of_contacts_and_leads(self):
        """Test that of several bounces at once each counts on all that has its address: contacts, and leads if any."""
        partners = self._contact() | self._contact() | self._contact()
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": partners[1].email})
        archived = self.env["crm.lead"].create({"name": "Old", "email_from": partners[2].email, "active": False})
        self._post(*(self._sent(partner)[1].event("bounce") for partner in partners))
        self.assertEqual(partners.mapped("message_bounce"), [1, 1, 1])
        self.assertEqual((lead.message_bounce, archived.message_bounce), (1, 0))

    def test_late_bounce(self):
        """Test a bounce that comes back with only an address: it finds its e-mail and has all consequences."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        self._post(relayed.event("delivered", timestamp=SENT_SECONDS + 3))
        self._post(async_bounce(partner.email_normalized, SENT_SECONDS + 600))
        self.assertEqual((email.status, email.event_ids[0].match), ("bounced", "address"))
        self.assertEqual((partner.message_bounce, partner.email_bounced), (1, True))

    def test_cc_bounces_alone(self):
        """Test that a bounce of the Cc leaves the document, contact and notification of the To alone."""
        to, cc = self._contact(), self._contact()
        email, relayed = self._sent(to, is_alone=False)
        cc_email, _relayed = self._sent(cc, with_message=False, is_alone=False)
        self.env.cr.execute("UPDATE sendgrid_email SET odoo_id = %s WHERE id = %s", [email.odoo_id, cc_email.id])
        self.env.invalidate_all()
        relayed.recipients.append(cc.email_normalized)
        self._post(relayed.event("delivered"), relayed.event("bounce", recipient=cc.email_normalized))
        self.assertEqual((email.status, cc_email.status), ("delivered", "bounced"))
        self.assertEqual((to.email_bounced, cc.email_bounced), (False, True))
        self.assertEqual(email.mail_message_id.notification_ids.notification_status, "sent")

    def test_flag_clears(self):
        """Test that another address or the button clears the flag, and nothing else does."""
        partner = self._contact()
        _email, relayed = self._sent(partner)
        self._post(relayed.event("bounce"))
        partner.write({"name": "Other name", "email": partner.email})
        self.assertTrue(partner.email_bounced)
        partner.email = "mended@example.org"
        self.assertFalse(partner.email_bounced or partner.email_bounce_reason or partner.email_bounce_date)

        partner = self._contact()
        _email, relayed = self._sent(partner)
        self._post(relayed.event("bounce"))
        partner.with_user(self.salesperson).action_email_is_valid()
        self.assertRecordValues(partner, [{"email_bounced": False, "message_bounce": 0}])
        # Odoo's word does not take the address off SendGrid's list.
        self.assertIn("SendGrid holds back", partner.sendgrid_warning)

    def test_group(self):
        """Test that leaving a group follows the account's setting, and that returning undoes only that."""
        self.account.group_unsubscribe_action = "blacklist"
        partner = self._contact()
        email, relayed = self._sent(partner)
        other, other_relayed = self._sent(partner)
        self._post(relayed.event("group_unsubscribe", timestamp=SENT_SECONDS + 10))
        self.assertTrue(self._is_blacklisted(partner.email_normalized))
        # He returns by the link in another e-mail.
        self._post(other_relayed.event("group_resubscribe", timestamp=SENT_SECONDS + 20))
        self.assertFalse(self._is_blacklisted(partner.email_normalized))
        # The same two events arrive in reverse order.
        self._post(relayed.event("group_resubscribe", timestamp=SENT_SECONDS + 40))
        self._post(other_relayed.event("group_unsubscribe", timestamp=SENT_SECONDS + 30))
        self.assertFalse(self._is_blacklisted(partner.email_normalized))

        partner = self._contact()
        email, relayed = self._sent(partner)
        self.env["mail.blacklist"]._add(partner.email_normalized)
        self._post(relayed.event("group_unsubscribe", timestamp=SENT_SECONDS + 10))
        self._post(relayed.event("group_resubscribe", timestamp=SENT_SECONDS + 20))
        self.assertTrue(self._is_blacklisted(partner.email_normalized), "that entry was somebody else's")
        self.assertEqual(email.status, "sent")

    def test_switched_off(self):
        """Test that events of an account without consequences are recorded, and have none, now or later."""
        self.account.act_on_events = False
        partner = self._contact()
        email, relayed = self._sent(partner)
        self._post(relayed.event("bounce"))
        self.account.act_on_events = True
        self._post(relayed.event("open"))
        self.assertEqual((email.status, partner.email_bounced, partner.message_bounce), ("bounced", False, 0))

    def test_failure_is_marked(self):
        """Test that a consequence that raises loses nothing, is marked, and can be run again by an administrator."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        with (
            patch.object(SendgridConsequence, "_settle_notifications", side_effect=ValueError("no notification today")),
            mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_consequence"),
        ):
            self._post(relayed.event("bounce"), relayed.event("open"))
        self.assertEqual((email.status, len(email.event_ids)), ("bounced", 2))
        self.assertEqual(email.failed_consequences, ["notification"])
        self.assertIn("no notification today", email.consequence_error)
        notification = email.mail_message_id.notification_ids
        self.assertEqual(notification.notification_status, "sent", "nothing of it is left half done")
        self.assertEqual((partner.message_bounce, partner.email_bounced), (1, True), "the others go on")
        with self.assertRaises(AccessError):
            email.with_user(self.salesperson).action_run_again()
        email.with_user(self.administrator).action_run_again()
        self.assertRecordValues(email, [{"failed_consequences": False, "consequence_error": False}])
        self.assertEqual(notification.notification_status, "bounce")
        self.assertEqual(partner.message_bounce, 1, "what succeeded is not done again")

    def test_account_status(self):
        """Test that the administrators get an activity when SendGrid suspends the account, until it is active again."""
        self._post(account_event(SENT_SECONDS + 10))
        self.assertEqual(self.account.compliance_status, "compliance_suspend")
        self.assertIn(self.administrator, self.account.activity_ids.user_id)
        self.assertNotIn(self.salesperson, self.account.activity_ids.user_id)
        self._post(account_event(SENT_SECONDS + 5, type="reactivate"))
        self.assertEqual(self.account.compliance_status, "compliance_suspend", "an older word came later")
        self._post(account_event(SENT_SECONDS + 20, type="reactivate"))
        self.assertEqual(self.account.compliance_status, "reactivate")
        self.assertFalse(self.account.activity_ids)

    def test_expired(self):
        """Test that an e-mail deferred for 72 hours is given up, once, and that a later delivery corrects it."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        fresh, fresh_relayed = self._sent(partner)
        now = int(datetime.now().timestamp())
        self._post(relayed.event("deferred", timestamp=now - 73 * 3600), relayed.event("deferred", timestamp=now - 60))
        self._post(fresh_relayed.event("deferred", timestamp=now - 71 * 3600))
        Cron = type(self.env["ir.cron"])
        with patch.object(Cron, "_commit_progress", return_value=1.0):
            self.env["sendgrid.email"]._cron_expire()
            self.env["sendgrid.email"]._cron_expire()
        self.assertEqual((email.status, fresh.status), ("blocked", "deferred"))
        self.assertRecordValues(
            email.event_ids.filtered(lambda event: event.match == "own"),
            [{"event": "bounce", "bounce_type": "expired"}],
        )
        notification = email.mail_message_id.notification_ids
        self.assertEqual(notification.notification_status, "exception")
        self.assertFalse(partner.email_bounced)
        self._post(relayed.event("delivered", timestamp=now))
        self.assertEqual((email.status, notification.notification_status), ("delivered", "sent"))

    def test_expiry_of_what_a_machine_opened(self):
        """Test that a deferred e-mail with a prefetch is left alone, and does not stop the expiry of others."""
        email, relayed = self._sent(self._contact())
        now = int(datetime.now().timestamp())
        self._post(
            relayed.event("deferred", timestamp=now - 80 * 3600),
            relayed.event("machine_open", timestamp=now - 79 * 3600),
        )
        with patch.object(type(self.env["ir.cron"]), "_commit_progress", return_value=1.0):
            for _run in range(2):
                self.env["sendgrid.email"]._cron_expire()
        self.assertEqual((email.status, len(email.event_ids)), ("deferred", 2))

    def test_group_again(self):
        """Test that leaving a group, returning and leaving again is followed each time."""
        self.account.group_unsubscribe_action = "blacklist"
        partner = self._contact()
        _email, relayed = self._sent(partner)
        for seconds, kind, blacklisted in (
            (10, "group_unsubscribe", True),
            (20, "group_resubscribe", False),
            (30, "group_unsubscribe", True),
        ):
            self._post(relayed.event(kind, timestamp=SENT_SECONDS + seconds))
            self.assertEqual(self._is_blacklisted(partner.email_normalized), blacklisted)

    def test_warning_keeps_the_secret(self):
        """Test that a user who may not see an e-mail reads of the refusal, and not the e-mail's subject."""
        partner = self._contact()
        secret = self.env["res.partner"].create({"name": "Secret", "company_id": False})
        email, relayed = self._sent(partner, with_message=False, model=False, res_id=False, subject="SECRET")
        other = new_test_user(self.env, "sendgrid_other", groups="base.group_user")
        self._post(relayed.event("spamreport", timestamp=SENT_SECONDS + 9))
        self.assertFalse(email.with_user(other).has_access("read"))
        self.assertIn("reported spam", partner.with_user(other).sendgrid_warning)
        self.assertNotIn("SECRET", partner.with_user(other).sendgrid_warning)
        self.assertIn("SECRET", partner.with_user(self.salesperson).sendgrid_warning)
        self.assertFalse(secret.sendgrid_warning)

    def test_warning_of_drops(self):
        """Test that a refusal known only from SendGrid's drop is on the contact too."""
        partner = self._contact()
        _email, relayed = self._sent(partner)
        self._post(relayed.event("dropped", reason="Unsubscribed Address", timestamp=SENT_SECONDS + 9))
        self.assertIn("unsubscribed", partner.sendgrid_warning)

    def test_two_accounts_suspended(self):
        """Test that two accounts suspended in the same second are both reported."""
        self._post(account_event(SENT_SECONDS), account_event(SENT_SECONDS))
        self.assertEqual(self.env["sendgrid.event"].search_count([("match", "=", "account")]), 2)

    def test_account_in_use(self):
        """Test that an account through which mail is sent cannot be archived: its events would be refused."""
        self.env["ir.mail_server"].create(
            {"name": "Server", "smtp_host": "smtp.sendgrid.net", "sendgrid_account_id": self.account.id}
        )
        with self.assertRaises(UserError):
            self.account.active = False

    def test_warning_in_composer(self):
        """Test that the full composer warns before writing to a bounced address, and not before writing to others."""
        partner, other = self._contact(), self._contact()
        _email, relayed = self._sent(partner)
        self._post(relayed.event("unsubscribe", timestamp=SENT_SECONDS + 9))
        Composer = self.env["mail.compose.message"].with_user(self.salesperson)
        for recipient, warned in ((partner, True), (other, False)):
            composer = Composer.with_context(
                default_model="res.partner", default_res_ids=recipient.ids, default_composition_mode="comment"
            ).create({"partner_ids": recipient.ids})
            self.assertEqual(bool(composer.sendgrid_warning), warned)
        self.assertIn("unsubscribed", partner.with_user(self.salesperson).sendgrid_warning)

    def test_send_again(self):
        """Test that Send Again opens the composer with the content and the contact as it is now."""
        partner = self._contact()
        email, relayed = self._sent(partner)
        self._post(relayed.event("bounce"))
        action = email.with_user(self.salesperson).action_send_again()
        self.assertEqual(action["res_model"], "mail.compose.message")
        composer = (
            self.env["mail.compose.message"].with_user(self.salesperson).with_context(**action["context"]).create({})
        )
        self.assertEqual((composer.partner_ids, composer.subject), (partner, "Offer"))
        self.assertIn("Hello", composer.body)

    def test_merge(self):
        """Test that documents and events follow merged contacts, and that a flag stays with its address."""
        partner, other = self._contact(), self._contact()
        email, relayed = self._sent(partner)
        self._post(relayed.event("bounce"))
        wizard = self.env["base.partner.merge.automatic.wizard"].create({})
        wizard._merge((partner | other).ids, other)
        self.assertEqual((email.partner_id, email.res_id), (other, other.id))
        self.assertEqual(other.sendgrid_email_count, 1)
        self.assertFalse(other.email_bounced, "the address that bounced is gone")


@tagged("post_install", "-at_install")
class TestAutomationRules(ConsequenceCase):
    """The rules that come with the addon, switched on; and rules that fail."""

    def _switch_on(self, name):
        rule = self.env.ref(f"sendgrid_tracking.base_automation_{name}")
        self.assertFalse(rule.active, "shipped switched off")
        rule.active = True
        return rule

    def test_rules(self):
        """Test the rules on bounce, unsubscription and click: they act on these contacts, and on no others."""
        for name in ("bounce", "unsubscribe", "click"):
            self._switch_on(name)
        quiet = self._contact()
        _email, quiet_relayed = self._sent(quiet)
        self._post(quiet_relayed.event("delivered"), quiet_relayed.event("machine_open"))
        self.assertFalse(quiet.activity_ids or quiet.category_id)

        bounced = self._contact()
        _email, relayed = self._sent(bounced)
        self._post(relayed.event("bounce"))
        second, second_relayed = self._sent(bounced)
        self._post(second_relayed.event("bounce"))
        self.assertEqual(second.status, "bounced")
        self.assertEqual(len(bounced.activity_ids), 1, "once until the flag is cleared")
        self.assertEqual(bounced.activity_ids.user_id, self.salesperson)

        left = self._contact()
        _email, relayed = self._sent(left)
        self._post(relayed.event("unsubscribe"))
        self.assertEqual(left.category_id, self.env.ref("sendgrid_tracking.res_partner_category_unsubscribed"))

        interested = self._contact()
        _email, relayed = self._sent(interested)
        scanner = {"useragent": "Barracuda Sentinel (EE)"}
        self._post(relayed.event("delivered", timestamp=SENT_SECONDS), relayed.event("click", **scanner))
        self.assertFalse(interested.activity_ids, "a machine is not interested")
        self._post(relayed.event("click", timestamp=SENT_SECONDS + 4000))
        self._post(relayed.event("click", timestamp=SENT_SECONDS + 9000))
        self.assertEqual(len(interested.activity_ids), 1)

    def test_webhook(self):
        """Test that a spam report calls the webhook that the rule names, after the commit."""
        rule = self._switch_on("spam")
        rule.action_server_ids.webhook_url = "https://example.com/spam-report"
        _email, relayed = self._sent(self._contact())
        with patch("requests.post") as call:
            self._post(relayed.event("open"), relayed.event("spamreport"))
            self.env.cr.flush()
            self.env.cr.postcommit.run()
        self.assertEqual([args[0] for args, _kwargs in call.call_args_list], ["https://example.com/spam-report"])
        self.assertIn("spamreport", call.call_args.kwargs["data"])

    @mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_failing_rule(self):
        """Test that a rule that raises on one e-mail stops neither the drain nor the rule for the others.

        The code stands as in XML data: with white space before it, and indented.
        """
        rule = self._switch_on("unsubscribe")
        for name, code in FAILING.items():
            for runs_once in (False, True):
                with self.subTest(name, runs_once=runs_once):
                    rule.action_server_ids.write({"code": code, "sendgrid_runs_once": runs_once})
                    partners = [self._contact(), self._contact(name="bad"), self._contact()]
                    emails, relayed = zip(*map(self._sent, partners), strict=True)
                    batch = self._post(*(message.event("unsubscribe") for message in relayed))
                    self.assertEqual([email.status for email in emails], ["unsubscribed"] * 3)
                    self.assertEqual([partner.ref for partner in partners], ["seen", False, "seen"])
                    [line] = batch.failed_rules.splitlines()
                    self.assertIn(f"sendgrid.email {emails[1].id}: not this one", line)
                    self.assertTrue(
                        all(self._is_blacklisted(partner.email_normalized) for partner in partners),
                        "what else follows is not stopped",
                    )

    @mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_rule_for_many(self):
        """Test that code declared for many runs once for all records of a drain, and one by one if that fails."""
        rule = self._switch_on("unsubscribe")
        rule.action_server_ids.code = """
if 'bad' in records.partner_id.mapped('name'):
    raise UserError('not this one')
records.partner_id.write({'comment': str(len(records))})
        """
        good = [self._contact(), self._contact()]
        self._post(*(self._sent(partner)[1].event("unsubscribe") for partner in good))
        self.assertEqual([partner.comment for partner in good], ["<span>2</span>", "<span>2</span>"])

        good, bad = self._contact(), self._contact(name="bad")
        batch = self._post(*(self._sent(partner)[1].event("unsubscribe") for partner in (good, bad)))
        self.assertEqual(good.comment, "<span>1</span>")
        self.assertFalse(bad.comment)
        self.assertIn("not this one", batch.failed_rules)

    def test_rule_for_one(self):
        """Test that code runs for each record unless it is declared for many, however it is written."""
        rule = self._switch_on("unsubscribe")
        for code in (
            "records[0].partner_id.write({'ref': 'seen'})",
            "env['res.partner'].browse(records.partner_id.ids[0]).write({'ref': 'seen'})",
            "records.partner_id[:1].write({'ref': 'seen'})",
            "r = records; r[0].partner_id.write({'ref': 'seen'})",
            "record.partner_id.write({'ref': 'seen'})",
            "\n            records.partner_id.write({'ref': 'seen'})\n        ",
        ):
            with self.subTest(code):
                rule.action_server_ids.write({"code": code, "sendgrid_runs_once": False})
                partners = [self._contact(), self._contact()]
                batch = self._post(*(self._sent(partner)[1].event("unsubscribe") for partner in partners))
                self.assertFalse(batch.failed_rules)
                self.assertEqual([partner.ref for partner in partners], ["seen", "seen"])

    def test_rule_for_many_indented(self):
        """Test that code declared for many runs once for all, also with white space before it."""
        rule = self._switch_on("unsubscribe")
        code = "\n            records.partner_id.write({'ref': len(records)})\n        "
        rule.action_server_ids.write({"code": code, "sendgrid_runs_once": True})
        partners = [self._contact(), self._contact()]
        self._post(*(self._sent(partner)[1].event("unsubscribe") for partner in partners))
        self.assertEqual([partner.ref for partner in partners], ["2", "2"])

    def test_rule_writes_what_it_watches(self):
        """Test that a rule on any change, for many, that changes its own records runs once, as everywhere in Odoo."""
        rule = self._switch_on("bounce")
        rule.write({"trigger_field_ids": False, "filter_pre_domain": False})
        rule.action_server_ids.code = "for partner in records: partner.write({'ref': (partner.ref or '') + 'x'})"
        partners = [self._contact(), self._contact()]
        batch = self._post(*(self._sent(partner)[1].event("bounce") for partner in partners))
        self.assertFalse(batch.failed_rules)
        self.assertEqual([partner.ref for partner in partners], ["x", "x"])

    def _rule(self, model, watched, code):
        """Create a rule that runs this code when this field of a record changes."""
        model = self.env["ir.model"]._get(model)
        rule = self.env["base.automation"].create(
            {
                "name": f"On {watched}",
                "model_id": model.id,
                "trigger": "on_create_or_write",
                "trigger_field_ids": model.field_id.filtered(lambda field: field.name == watched).ids,
            }
        )
        action = {"name": code, "model_id": model.id, "base_automation_id": rule.id, "usage": "base_automation"}
        self.env["ir.actions.server"].create({**action, "state": "code", "code": code})

    def test_bounces_of_one_record(self):
        """Test that of two bounces about a lead the second counts, though a rule has archived the lead at the first."""
        partner = self._contact()
        lead = self.env["crm.lead"].create({"name": "Lead", "email_from": partner.email})
        self._rule("crm.lead", "message_bounce", "record.write({'active': False})")
        copies = []
        for _number in range(2):
            email, relayed = self._sent(partner)
            email.mail_message_id.write({"model": "crm.lead", "res_id": lead.id})
            copies.append(relayed)
        self._post(*(copy.event("bounce") for copy in copies))
        self.assertEqual((lead.active, lead.message_bounce, partner.message_bounce), (False, 2, 2))

    def test_rules_on_what_a_bounce_brings_about(self):
        """Test that rules on each change that a bounce causes run once, also on changes by another rule."""
        partners = [self._contact(), self._contact()]
        relayed = [self._sent(partner)[1] for partner in partners]
        for watched, code in (
            ("message_bounce", "record.write({'ref': (record.ref or '') + 'counted '})"),
            ("ref", "record.write({'function': (record.function or '') + record.ref})"),
            ("email_bounced", "record.write({'street': (record.street or '') + record.email_bounce_reason})"),
            ("email_bounce_date", "record.write({'city': (record.city or '') + 'dated'})"),
            ("email_bounce_reason", "record.write({'street2': (record.street2 or '') + 'explained'})"),
        ):
            self._rule("res.partner", watched, code)
        self._rule(
            "mail.notification",
            "notification_status",
            "if record.notification_status == 'bounce': record.res_partner_id.write({'zip': 'told'})",
        )
        batch = self._post(*(copy.event("bounce", reason="unknown user") for copy in relayed))
        self.assertFalse(batch.failed_rules)
        expected = {
            "ref": "counted ",
            "function": "counted ",
            "street": "unknown user",
            "city": "dated",
            "street2": "explained",
            "zip": "told",
        }
        self.assertRecordValues(partners[0] | partners[1], [expected, expected])

    @mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_failing_rule_on_early_event(self):
        """Test that a rule that raises on an event that waited for its e-mail does not stop the drain."""
        rule = self._switch_on("unsubscribe")
        for name, code in FAILING.items():
            for runs_once in (False, True):
                with self.subTest(name, runs_once=runs_once):
                    rule.action_server_ids.write({"code": code, "sendgrid_runs_once": runs_once})
                    partner, odoo_id = self._contact(name="bad"), f"early {name} {runs_once}"
                    relayed = Relayed([partner.email_normalized], {"odoo_db": self._odoo_db(), "odoo_id": odoo_id})
                    early = self._post(relayed.event("unsubscribe"))
                    email, _relayed = self._sent(partner, odoo_id=odoo_id)
                    _other, other_relayed = self._sent(self._contact())
                    batch = self._post(other_relayed.event("delivered"))
                    self.assertEqual((email.status, batch.state), ("unsubscribed", "done"))
                    self.assertIn("not this one", early.failed_rules)
                    self.assertFalse(batch.failed_rules)
                    self.assertFalse(partner.ref)

    @mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_failing_filter(self):
        """Test that a rule whose filter raises is noted, and the batch is processed."""
        rule = self._switch_on("unsubscribe")
        email, relayed = self._sent(self._contact())
        rule.filter_domain = "[('status', '=', no_such_name)]"
        batch = self._post(relayed.event("unsubscribe"))
        self.assertEqual(email.status, "unsubscribed")
        self.assertIn("no_such_name", batch.failed_rules)

    @mute_logger("odoo.addons.base.models.ir_actions", "odoo.addons.sendgrid_tracking.models.sendgrid_event_batch")
    def test_failing_rule_calls_once(self):
        """Test that webhooks of a rule that failed on one record are called once for the others."""
        rule = self._switch_on("spam")
        rule.action_server_ids.webhook_url = "https://example.com/spam-report"
        action = self.env["ir.actions.server"].create(
            {
                "name": "Fails on one",
                "model_id": rule.model_id.id,
                "base_automation_id": rule.id,
                "usage": "base_automation",
                "state": "code",
            }
        )
        for name, code in FAILING.items():
            for runs_once in (False, True):
                with self.subTest(name, runs_once=runs_once):
                    action.write({"code": code, "sendgrid_runs_once": runs_once})
                    partners = [self._contact(), self._contact(name="bad"), self._contact()]
                    events = [self._sent(partner)[1].event("spamreport") for partner in partners]
                    with patch("requests.post") as call:
                        self._post(*events)
                        self.env.cr.flush()
                        self.env.cr.postcommit.run()
                    self.assertEqual(call.call_count, 2)
                    self.assertEqual([partner.ref for partner in partners], ["seen", False, "seen"])
