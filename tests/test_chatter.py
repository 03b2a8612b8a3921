import json
import re

from odoo.tests import HttpCase, new_test_user, tagged

from odoo.addons.mail.tools.discuss import Store

from .common import SendgridMixin
from .simulator import KINDS

# These differ from one message to the next, tracked or not: numbers, times, tokens, Message-IDs.
VOLATILE = re.compile(
    r"\d\d/\d\d/\d{4} [\d:]+ [AP]M|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?"
    r"|[0-9a-f]{32,}(?:o0x[0-9a-f]+)?|(?<=unique=)\w+|(?<=/)\d+|<[^<> ]+odoo[^<> ]*>"
)
HARMLESS = ("processed", "delivered", "open", "machine_open", "click", "deferred", "group_resubscribe")


@tagged("post_install", "-at_install")
class TestChatter(SendgridMixin, HttpCase):
    """Chatter and portal show of a tracked message the same as of any other, but for the state of each recipient."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.salesperson.login = cls.salesperson.password = "test_salesperson"
        cls.portal_user = new_test_user(cls.env, "test_reader", groups="base.group_portal", email="reader@example.org")
        cls.records = cls.env["crm.lead"].create(
            [{"name": "Lead", "user_id": cls.salesperson.id, "email_from": "x@example.org"} for _number in range(2)]
        )

    def _post(self, record, is_tracked):
        """Post a message that leaves by mail, to a customer, a colleague and a portal user."""
        self.server.sendgrid_account_id = self.account if is_tracked else False
        with self.sending() as sent:
            message = record.with_user(self.salesperson).message_post(
                body="Hello",
                subject="Offer",
                message_type="comment",
                subtype_xmlid="mail.mt_comment",
                partner_ids=(self.contact | self.portal_user.partner_id).ids,
                attachments=[("offer.txt", b"1 EUR")],
            )
        self.assertEqual(len(sent), 2)
        emails = self.find_emails(message.message_id)
        self.assertEqual(len(emails), 2 if is_tracked else 0)
        return message, emails

    def _plain(self, data, message, model="mail.message"):
        """Return the data of a message, with placeholders for its own numbers and those of its record and parts."""
        own = {
            "mail.message": message.ids,
            "mail.thread": [message.res_id],
            message.model: [message.res_id],
            "mail.notification": message.notification_ids.sorted().ids,
            "ir.attachment": message.attachment_ids.sorted().ids,
        }
        parts = {
            "res_id": message.model,
            "notification_ids": "mail.notification",
            "attachment_ids": "ir.attachment",
            "messages": "mail.message",
            "mail_message_id": "mail.message",
        }

        def plain(value, key, model):
            if isinstance(value, dict):
                if set(value) == {"id", "model"}:
                    model = value["model"]
                return {
                    k: plain(v, k, model if k in ("id", "model") else parts.get(k) or (k if k in own else model))
                    for k, v in value.items()
                }
            if isinstance(value, list | tuple):
                return [plain(v, key, model) for v in value]
            if isinstance(value, int) and not isinstance(value, bool):
                ids = own.get(model if key == "id" else parts.get(key), [])
                return f"own-{ids.index(value)}" if value in ids else value
            if isinstance(value, str):
                return VOLATILE.sub("…", value)
            return value

        return json.dumps(plain(json.loads(json.dumps(data, default=str)), "", model), sort_keys=True, indent=1)

    def _get_views(self, message):
        """Return the data that each reader of the message gets."""
        self.env.invalidate_all()
        views = {}
        self.states = {}
        for user in (self.salesperson, self.env.ref("base.user_admin")):
            mine = message.with_user(user)
            views[user.login] = Store().add(mine).get_result()
            # That is what tests/test_chatter_state.py is about.
            notifications = views[user.login]["mail.notification"]
            self.states[user.login] = [one.pop("sendgridState") for one in notifications if "sendgridState" in one]
            thread = self.env[message.model].with_user(user).browse(message.res_id)
            views[f"{user.login}, thread"] = (
                Store()
                .add(
                    thread,
                    ["message_needaction_counter", "message_has_error", "message_has_error_counter"],
                    as_thread=True,
                )
                .get_result()
            )
        as_portal = message.with_user(self.portal_user).sudo()
        views["portal"] = as_portal.portal_message_format(options={"token": "x"})
        return {name: self._plain(view, message) for name, view in views.items()}

    def test_tracked_as_untracked(self):
        """Test that a tracked message is shown as an untracked one, to employees and in the portal."""
        untracked, _no_emails = self._post(self.records[0], is_tracked=False)
        tracked, emails = self._post(self.records[1], is_tracked=True)
        self.maxDiff = None
        shown = self._get_views(untracked)
        self.assertEqual(self._get_views(tracked), shown)
        for view in shown.values():
            self.assertRegex(view, "Hello|has_error")
        self.assertIn("notification", shown[self.salesperson.login])
        self.assertEqual(
            {login: len(states) for login, states in self.states.items()}, {"test_salesperson": 2, "admin": 2}
        )

    def test_events_show_nothing(self):
        """Test that a recipient's interactions leave the chatter as it was; core itself shows only failures."""
        message, emails = self._post(self.records[0], is_tracked=True)
        before = self._get_views(message)
        for email in emails:
            relayed = self.relay(email)
            self.receive(
                *(relayed.event(kind, timestamp=self.after(email, 100 * n)) for n, kind in enumerate(HARMLESS))
            )
        self.assertEqual(set(emails.mapped("status")), {"clicked"})
        self.assertEqual(self._get_views(message), before)
        self.assertEqual(self.records[0].message_ids.filtered(lambda m: m.create_date > message.create_date).ids, [])
        self.receive(self.relay(emails[0]).event("bounce", timestamp=self.after(emails[0], 5000)))
        self.assertNotEqual(self._get_views(message)[self.salesperson.login], before[self.salesperson.login])

    def test_every_kind_is_covered(self):
        """Test that the groups above have each kind of event: it shows nothing, or it is a failure or refusal."""
        self.assertEqual(
            set(KINDS) - set(HARMLESS),
            {"dropped", "bounce", "blocked", "spamreport", "unsubscribe", "group_unsubscribe"},
        )

    def test_pages(self):
        """Test the same through the routes that the pages call: of tracking they tell each recipient's state only."""
        untracked, _no_emails = self._post(self.records[0], is_tracked=False)
        tracked, emails = self._post(self.records[1], is_tracked=True)
        for email in emails:
            self.receive(self.relay(email).event("open", timestamp=self.after(email, 3600)))
        self.authenticate(self.salesperson.login, self.salesperson.login)
        answers = []
        for message in (untracked, tracked):
            answer = self.make_jsonrpc_request(
                "/mail/thread/messages", {"thread_model": message.model, "thread_id": message.res_id}
            )
            self.assertIn("Hello", json.dumps(answer))
            # Compare only the newest message of a record, not the note of its creation.
            answers.append(self._plain(self._only(answer, message), message))
            self.assertNotIn("sendgrid", json.dumps(self._only(answer, message)).lower())
            about = [one for one in answer["data"]["mail.notification"] if "sendgridState" in one]
            self.assertTrue(all(one["mail_message_id"] == tracked.id for one in about))
        self.assertEqual(*answers)

    def _only(self, answer, message):
        data = answer["data"]["mail.message"]
        return [values for values in data if values["id"] == message.id]

    def test_no_message_is_kept_alive(self):
        """Test that a message that core deletes is not kept by its document."""
        _sent, email = self.send_mail(auto_delete=True)
        message = self.env["mail.message"].search([("message_id", "=", email.message_id)])
        self.assertFalse(message)
        self.assertFalse(email.mail_message_id)
        self.assertIn("Hello", email.content)

    def test_moved_at_once(self):
        """Test that the documents of a thread that moves follow it, in as many queries for twenty as for two."""
        target = self.env["res.partner"].create({"name": "Target"})
        counts = []
        for number in (2, 20):
            source = self.env["res.partner"].create({"name": "Source"})
            emails = self.Email.browse()
            for _number in range(number):
                message = source.message_post(body="Hello", message_type="comment", subtype_xmlid="mail.mt_comment")
                emails += self.create_email(model="res.partner", res_id=source.id, mail_message_id=message.id)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            emails.mail_message_id.write({"res_id": target.id})
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
            self.assertEqual(set(emails.mapped("res_id")), {target.id})
            self.assertTrue(all(emails.mapped("is_in_chatter")))
        self.assertEqual(counts[0], counts[1])
