import json
from datetime import timedelta
from unittest.mock import patch

from odoo.tests import HttpCase, new_test_user, tagged

from odoo.addons.mail.tools.discuss import Store

from .common import SendgridMixin
from .simulator import KINDS

COUNTED = "odoo.addons.sendgrid_tracking.models.sendgrid_email_chatter.COUNTED"
HELD_BACK = {"reason": "550 5.1.1 no such user", "type": "bounce"}


@tagged("post_install", "-at_install")
class TestChatterState(SendgridMixin, HttpCase):
    """The state of each recipient in the chatter, and who gets it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.salesperson.login = cls.salesperson.password = "test_salesperson"
        cls.grace = cls.env["res.partner"].create({"name": "Grace", "email": "grace@example.org"})
        cls.lead = cls.env["crm.lead"].create({"name": "Lead", "user_id": cls.salesperson.id})

    def _post(self, record=None, recipients=None, user=None):
        """Post a message in a record's chatter, which leaves by mail; return it with its documents."""
        with self.sending():
            message = (
                (record or self.lead)
                .with_user(user or self.salesperson)
                .message_post(
                    body="Hello",
                    message_type="comment",
                    subtype_xmlid="mail.mt_comment",
                    partner_ids=(recipients or self.contact | self.grace).ids,
                )
            )
        return message, self.find_emails(message.message_id)

    def _create_page(self, number, recipients=5):
        """Create messages with notifications and delivered documents, as many posted ones would leave them."""
        people = self.env["res.partner"].create(
            [{"name": f"Person {n}", "email": f"{n}@example.org"} for n in range(recipients)]
        )
        messages = self.env["mail.message"].create(
            [
                {
                    "model": "crm.lead",
                    "res_id": self.lead.id,
                    "message_type": "comment",
                    "subtype_id": self.env.ref("mail.mt_comment").id,
                    "author_id": self.salesperson.partner_id.id,
                    "notification_ids": [
                        (0, 0, {"res_partner_id": one.id, "notification_type": "email", "notification_status": "sent"})
                        for one in people
                    ],
                }
                for _number in range(number)
            ]
        )
        for message in messages:
            for one in people:
                self.create_email(
                    recipient=one.email,
                    partner_id=one.id,
                    mail_message_id=message.id,
                    model="crm.lead",
                    res_id=self.lead.id,
                    status="clicked",
                )
        return messages

    def _get_data(self, messages, user):
        self.env.invalidate_all()
        return Store().add(messages.with_user(user)).get_result()

    def _get_states(self, message, user=None):
        """Return {name of the recipient: state} as a user's browser gets them."""
        data = self._get_data(message, user or self.salesperson)
        notifications = {one["id"]: one.get("sendgridState") for one in data["mail.notification"]}
        return {one.res_partner_id.name: notifications[one.id] for one in message.sudo().notification_ids}

    def _get_statuses(self, message, user=None):
        return {name: state and state["status"] for name, state in self._get_states(message, user).items()}

    def test_each_recipient(self):
        """Test that each recipient has the state of his document, with the id of that, and not of his neighbour's."""
        message, (ada, grace) = self._post()
        self.assertEqual(self._get_statuses(message), {"Ada": "sent", "Grace": "sent"})
        self.receive(self.relay(ada).event("delivered", timestamp=self.after(ada, 5)))
        self.receive(self.relay(grace).event("bounce", timestamp=self.after(grace, 5), **HELD_BACK))
        states = self._get_states(message)
        self.assertEqual([states["Ada"][key] for key in ("id", "status", "note")], [ada.id, "delivered", False])
        self.assertEqual([states["Grace"][key] for key in ("id", "status")], [grace.id, "bounced"])
        self.assertEqual(states["Grace"]["note"], "the address does not work")
        self.assertEqual((states["Ada"]["needs_somebody"], states["Grace"]["needs_somebody"]), (False, True))

    def test_every_kind_of_event(self):
        """Test that each kind of event leaves a label and, if it has made the status, its time."""
        for kind in sorted(KINDS):
            with self.subTest(kind=kind):
                message, email = self._post(recipients=self.contact)
                self.receive(self.relay(email).event(kind, timestamp=self.after(email, 7200)))
                state = self._get_states(message)["Ada"]
                self.assertEqual(state["status"], email.status)
                self.assertTrue(state["label"])
                self.assertEqual(state["label"] == "Under way", email.status == "processed")
                # The machine's open says only that it arrived.
                self.assertTrue(state["date"] or email.status == "delivered", kind)

    def test_time(self):
        """Test that the time is that of what the label says: of a click by a person, not of a scanner's."""
        message, email = self._post(recipients=self.contact)
        relayed = self.relay(email)
        self.receive(
            relayed.event("deferred", timestamp=self.after(email, 60)),
            relayed.event("deferred", timestamp=self.after(email, 120)),
        )
        self.assertEqual(
            self._get_states(message)["Ada"]["date"], str(email.sent_date + timedelta(seconds=120)), "the last one"
        )
        self.receive(
            relayed.event("delivered", timestamp=self.after(email, 300)),
            relayed.event("click", timestamp=self.after(email, 7200)),
            relayed.event("click", timestamp=self.after(email, 9000), url="https://example.com/other"),
        )
        self.assertEqual(email.status, "clicked")
        self.assertEqual(self._get_states(message)["Ada"]["date"], str(email.sent_date + timedelta(seconds=7200)))

    def test_time_of_a_wish_of_a_machine(self):
        """Test that an unsubscription has its time whoever did it, since it holds whoever did it."""
        message, email = self._post(recipients=self.contact)
        self.receive(self.relay(email).event("unsubscribe", timestamp=self.after(email, 60)))
        email.event_ids.write({"verdict": "machine", "is_machine": True})
        self.assertEqual(email.status, "unsubscribed")
        self.assertEqual(self._get_states(message)["Ada"]["date"], str(email.sent_date + timedelta(seconds=60)))

    def test_not_measured(self):
        """Test that a delivered e-mail that is not measured says so, since nobody will ever see an open of it."""
        message, email = self._post(recipients=self.contact)
        email.write({"measured": "none", "unmeasured_reason": "mail"})
        self.receive(self.relay(email).event("delivered", timestamp=self.after(email, 5)))
        self.assertEqual(self._get_states(message)["Ada"]["note"], "opens and clicks are not measured")

    def test_cannot_be_told(self):
        """Test that an open by nobody knows whom is told as such."""
        message, email = self._post(recipients=self.contact)
        email.write({"status": "opened", "open_count": 1, "unknown_open_count": 1, "first_open_date": email.sent_date})
        self.assertEqual(self._get_states(message)["Ada"]["label"], "Opened, by whom cannot be told")

    def test_without_document(self):
        """Test that a recipient without a document has core's state alone."""
        self.server.sendgrid_account_id = False
        message, emails = self._post()
        self.assertFalse(emails)
        self.assertNotIn("sendgrid", json.dumps(self._get_data(message, self.salesperson)))

    def test_who_may_not_see(self):
        """Test that whoever may not see a document has core's state, by any of the ways to a store."""
        other = new_test_user(self.env, "test_other", groups="base.group_user,sales_team.group_sale_salesman")
        message, emails = self._post()
        self.receive(self.relay(emails[0]).event("delivered", timestamp=self.after(emails[0], 5)))
        # He is told of the message as a follower is, and may read it, but not the lead.
        message.sudo().partner_ids += other.partner_id
        self.assertTrue(message.with_user(other).has_access("read"))
        self.assertFalse(self.lead.with_user(other).has_access("read"))
        self.assertEqual(self._get_statuses(message, other), {"Ada": None, "Grace": None})
        # Core sends updates to the author from whoever caused them, here an administrator and here somebody else.
        for target, expected in ((self.salesperson, True), (other, False)):
            store = Store(bus_channel=target)
            message.with_user(target)._message_notifications_to_store(store)
            self.assertEqual("sendgridState" in json.dumps(store.get_result()), expected, target.login)
        for nobody in (self.env.ref("base.group_user"), self.env["discuss.channel"].create({"name": "General"})):
            store = Store(bus_channel=nobody)
            store.add(message.sudo())
            self.assertNotIn("sendgridState", json.dumps(store.get_result(), default=str))

    def test_sent_again(self):
        """Test that of two documents for one address the later one counts, and of two addresses the failure."""
        message, ada = self._post(recipients=self.contact)
        ada.status = "bounced"
        values = {"partner_id": self.contact.id, "mail_message_id": message.id, "model": "crm.lead"}
        self.create_email(ada.recipient, res_id=self.lead.id, status="delivered", **values)
        self.assertEqual(self._get_statuses(message), {"Ada": "delivered"})
        self.create_email("second@example.org", res_id=self.lead.id, status="blocked", **values)
        self.assertEqual(self._get_statuses(message), {"Ada": "blocked"})

    def test_queries(self):
        """Test that the number of queries is the same for two messages and for twenty, with all their states."""
        counts = []
        for number in (2, 20):
            messages = self._create_page(number)
            self.env.flush_all()
            self._get_data(messages, self.salesperson)
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            data = Store().add(messages.with_user(self.salesperson)).get_result()
            counts.append(self.env.cr.sql_log_count - before)
            states = [one["sendgridState"]["status"] for one in data["mail.notification"]]
            self.assertEqual(states, ["clicked"] * number * 5)
        self.assertEqual(counts[0], counts[1])

    def test_nothing_asked_of_what_is_no_mail(self):
        """Test that a message that went to inboxes of Odoo only costs no query: core sends one to each of them."""
        messages = self._create_page(2, recipients=1)
        messages[0].notification_ids.notification_type = "inbox"
        with patch.object(type(self.env["sendgrid.email"]), "_get_chatter_rows", return_value=[]) as read:
            self._get_data(messages[0], self.salesperson)
            self.assertFalse(read.called)
            self._get_data(messages, self.salesperson)
        self.assertEqual(read.call_args.args[0], messages[1])

    def test_merged_leads(self):
        """Test that documents follow their messages to the lead that remains, without a question for each message."""
        messages = self._create_page(3, recipients=1)
        emails = self.env["sendgrid.email"].search([("mail_message_id", "in", messages.ids)])
        kept = self.env["crm.lead"].create({"name": "Kept", "user_id": self.salesperson.id, "probability": 99})
        with patch.object(type(messages), "_move_sendgrid_emails") as move:
            self.assertEqual((self.lead | kept).merge_opportunity(), kept)
        self.assertFalse(move.called)
        self.assertEqual((messages.mapped("res_id"), emails.mapped("res_id")), ([kept.id] * 3, [kept.id] * 3))
        self.assertEqual(self._get_statuses(messages[0]), {"Person 0": "clicked"})

    def test_asked_again(self):
        """Test the request of a chatter after documents changed: what the user may read, and no more."""
        message, emails = self._post()
        self.receive(self.relay(emails[0]).event("delivered", timestamp=self.after(emails[0], 5)))
        new_test_user(self.env, "test_stranger", password="test_stranger", groups="base.group_user")
        for login, expected in ((self.salesperson.login, 2), ("test_stranger", 0)):
            self.authenticate(login, login)
            data = self.make_jsonrpc_request(
                "/mail/data", {"fetch_params": [["sendgrid_states", {"message_ids": [message.id, 2**31 - 1]}]]}
            )
            found = [one["sendgridState"] for one in data.get("mail.notification", [])]
            self.assertEqual(len(found), expected, login)
            self.assertEqual("mail.message" in data, bool(expected))

    def test_asked_again_in_vain(self):
        """Test that a chatter learns that a document is gone, and that odd requests get nothing."""
        message, emails = self._post()
        emails.unlink()
        self.authenticate(self.salesperson.login, self.salesperson.login)
        asked = [["sendgrid_states", {"message_ids": [message.id]}]]
        data = self.make_jsonrpc_request("/mail/data", {"fetch_params": asked})
        self.assertEqual([one["sendgridState"] for one in data["mail.notification"]], [False, False])
        for odd in ({}, None, {"message_ids": "all"}, {"message_ids": ["1", None, 2.5, 2**40, -1]}):
            with self.subTest(odd):
                data = self.make_jsonrpc_request("/mail/data", {"fetch_params": [["sendgrid_states", odd]]})
                self.assertNotIn("mail.message", data)

    def test_pages_hear_of_messages(self):
        """Test that the message to open pages has the ids of messages and records, and nothing but ids."""
        message, emails = self._post()
        with patch.object(type(self.env["bus.bus"]), "_sendone") as send:
            self.receive(self.relay(emails[0]).event("delivered", timestamp=self.after(emails[0], 5)))
        [payload] = [call.args[2] for call in send.call_args_list if call.args[1] == "sendgrid.email/changed"]
        about = {"res.partner": self.contact.ids, "crm.lead": self.lead.ids, "mail.message": message.ids}
        self.assertEqual(payload, {"ids": emails[0].ids, "about": about, "is_new": False})

    def test_queries_of_inboxes(self):
        """Test that posting a message asks for no states, however many users read it in their inbox."""
        people = [
            new_test_user(self.env, f"inbox{n}", groups="base.group_user", notification_type="inbox") for n in range(6)
        ]
        Email = type(self.Email)
        for number in (1, 6):
            partners = self.contact.union(*(user.partner_id for user in people[:number]))
            with patch.object(Email, "_get_chatter_rows", autospec=True, side_effect=Email._get_chatter_rows) as rows:
                self._post(recipients=partners)
            for call in rows.call_args_list:
                self.assertNotIn(call.args[0].env.user, people, "a new message has no documents")

    # ------------------------------------------------------------
    # TOP BAR
    # ------------------------------------------------------------

    def _get_summary(self, record, user=None):
        record = record.with_user(user or self.salesperson)
        data = Store().add(record, request_list=["sendgridEmails"], as_thread=True).get_result()
        [thread] = data["mail.thread"]
        return thread["sendgridEmails"]

    def test_summary(self):
        """Test the number of documents about a record, that what needs somebody gives the colour, and that it ends."""
        self.assertEqual(self._get_summary(self.lead)["count"], 0)
        _message, (ada, grace) = self._post()
        ada.status = "clicked"
        summary = self._get_summary(self.lead)
        self.assertEqual((summary["count"], summary["status"], summary["needs_somebody"]), (2, "clicked", False))
        grace.status = "bounced"
        summary = self._get_summary(self.lead)
        self.assertEqual((summary["status"], summary["needs_somebody"]), ("bounced", True))
        self.assertEqual(summary["text"], "Bounced: 1, Clicked: 1")
        for lang, words in (("fr_FR", "Bounced\u00a0: 1, Clicked\u00a0: 1"), ("ar_001", "Bounced: 1 وClicked: 1")):
            self.env["res.lang"]._activate_lang(lang)
            self.salesperson.lang = lang
            self.assertEqual(self._get_summary(self.lead)["text"], words)
        self.create_email(grace.recipient, model="crm.lead", res_id=self.lead.id, again_of_id=grace.id)
        summary = self._get_summary(self.lead)
        self.assertEqual((summary["count"], summary["status"], summary["needs_somebody"]), (3, "clicked", False))

    def test_summary_of_any_record(self):
        """Test that it is about the record, whatever its model, and not about the contact."""
        channel = self.env["crm.team"].create({"name": "Team"})
        self.create_email(model="crm.team", res_id=channel.id, partner_id=self.contact.id)
        self.assertEqual(self._get_summary(channel, self.env.ref("base.user_admin"))["count"], 1)
        self.assertEqual(self._get_summary(self.contact)["count"], 0)

    def test_summary_of_what_he_may_see(self):
        """Test that documents that a user may not see are not counted."""
        other = new_test_user(self.env, "test_other", groups="base.group_user,sales_team.group_sale_salesman_all_leads")
        self._post()
        self.Email.search([("res_id", "=", self.lead.id), ("model", "=", "crm.lead")], limit=1).is_in_chatter = False
        self.assertEqual(self._get_summary(self.lead, other)["count"], 1)
        self.assertEqual(self._get_summary(self.lead)["count"], 2, "the author sees both")

    def test_summary_of_many(self):
        """Test that a record with more documents than are counted says so."""
        for _number in range(2):
            self.create_email(model="crm.lead", res_id=self.lead.id)
        with patch(COUNTED, 2):
            summary = self._get_summary(self.lead)
            self.assertEqual((summary["count"], summary["has_more"]), (2, False))
        with patch(COUNTED, 1):
            summary = self._get_summary(self.lead)
            self.assertEqual((summary["count"], summary["has_more"]), (1, True))

    def test_summary_of_the_newest(self):
        """Test that of more documents than are counted the newest count, whatever became of the older ones."""
        for status in ("bounced", "bounced", "delivered", "clicked"):
            self.create_email(model="crm.lead", res_id=self.lead.id, status=status)
        with patch(COUNTED, 1):
            summary = self._get_summary(self.lead)
        self.assertEqual(
            (summary["status"], summary["needs_somebody"], summary["text"]),
            ("clicked", False, "Clicked: 1, Delivered: 1"),
        )
