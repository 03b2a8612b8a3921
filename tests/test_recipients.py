from email import message_from_string, policy

from odoo.tests import tagged

from .test_api_sending import BothWaysCase, refused

NAMES = (
    "Doe, Jane; PhD",
    'Jane "the first" Doe',
    "Figures, Inc.",
    "Zoë 🧀 & Søn",
    "Example Name :)",
    "Doe (Jane) [sales]",
    "jane@elsewhere.example",
    "O'Neil \\ Sons",
    "<b>Jane</b>",
    "Jane: boss, of <all>; them",
    "محمد, علي",
)


@tagged("post_install", "-at_install")
class TestRecipients(BothWaysCase):
    """Odd recipients: both ways of sending give the same answer, and none costs another his mail."""

    def send_both_ways(self, **values):
        """Send a mail by each way.

        :return: generator of (mail, addresses that got it, messages as SendGrid has them), one way after the other
        """
        for server in (self.smtp_server, self.server):
            self.sandbox("DELETE", "/sandbox/messages")
            mail, _emails = self.send(mail_server_id=server.id, **values)
            messages = self.messages()
            got = sorted(recipient["address"] for message in messages for recipient in message["recipients"])
            yield mail, got, messages

    def test_names(self):
        """Test that whatever stands in a name, the mail goes to the address, and the name arrives."""
        for number, name in enumerate(NAMES):
            with self.subTest(name):
                contact = self.env["res.partner"].create({"name": name, "email": f"jane{number}@example.org"})
                shown = []
                for mail, got, [message] in self.send_both_ways(recipient_ids=contact.ids):
                    self.assertEqual((mail.state, got), ("sent", [f"jane{number}@example.org"]))
                    raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
                    shown += [self.read_names(raw)]
                self.assertEqual(shown, [[name]] * 2)

    def read_names(self, raw):
        return [address.display_name for address in message_from_string(raw, policy=policy.default)["To"].addresses]

    def test_dropped_under_a_piece_of_the_name(self):
        """Test that a drop that takes a piece of a name for the address finds a copy's only document."""
        dropped = {
            "event": "dropped",
            "reason": "Invalid",
            "sg_event_id": "x",
            "email": "doe",
            "timestamp": 1_795_500_000,
        }
        for address, match in (("jane@example.org", "odoo_id"), ("jane@example.org, bob@example.org", "untracked")):
            with self.subTest(match):
                _mail, emails = self.send(email_to=address)
                names = {"odoo_id": emails[0].odoo_id, "odoo_db": emails._get_odoo_db(), "sg_event_id": match}
                batch = self.receive({**dropped, **names, "timestamp": self.after(emails[0], len(emails))})
                self.assertEqual(self.event_of(batch).match, match)
                is_alone = len(emails) == 1
                self.assertEqual(emails.mapped("status"), ["dropped"] if is_alone else ["sent", "sent"])

    @refused
    def test_impossible_addresses(self):
        """Test that the others get a mail where one address is none, and that it fails if that is the only one."""
        for address, words in (
            ("pépé@example.org", "letters before the @ that are not ASCII"),
            ("bad@example..com", "is not an e-mail address"),
            ("x" * 65 + "@example.org", "is not an e-mail address"),
            (f"a@{'b' * 64}.example", "is not an e-mail address"),
        ):
            with self.subTest(address):
                for mail, got, [message] in self.send_both_ways(email_to=f"good@example.org, {address}"):
                    self.assertEqual((mail.state, got), ("sent", ["good@example.org"]))
                    self.assertIn(got[0], self.find_emails(mail.message_id).mapped("recipient"))
                    raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
                    self.assertNotIn("=?utf-8?q?p=C3", raw, "what cannot be written is not shown")
                for mail, got, messages in self.send_both_ways(email_to=address):
                    self.assertEqual((mail.state, mail.failure_type, got), ("exception", "mail_email_invalid", []))
                    self.assertIn(words, mail.failure_reason)
                    self.assertIn(address, mail.failure_reason)
                    self.assertFalse(messages)

    @refused
    def test_impossible_contact(self):
        """Test that the copies for other contacts leave, whatever their order, and the notification says why."""
        contacts = self.env["res.partner"].create(
            [{"name": name, "email": f"{name}@example.org"} for name in ("ada", "pépé", "bob")]
        )
        for server in (self.smtp_server, self.server):
            self.sandbox("DELETE", "/sandbox/messages")
            (self.server | self.smtp_server).active = True
            (self.server | self.smtp_server - server).active = False
            server.active = True
            with self.leaving():
                message = self.contact.message_post(
                    body="Hello", partner_ids=contacts.ids, subtype_xmlid="mail.mt_comment", force_send=True
                )
                self.env["mail.mail"].search([("mail_message_id", "=", message.id), ("state", "=", "outgoing")]).send()
            got = {recipient["address"] for one in self.messages() for recipient in one["recipients"]}
            self.assertEqual(got, {"ada@example.org", "bob@example.org"})
            told = {n.res_partner_id: n for n in message.notification_ids}
            self.assertEqual(told[contacts[1]].notification_status, "exception")
            self.assertEqual(told[contacts[1]].failure_type, "mail_email_invalid")
            self.assertIn("not ASCII", told[contacts[1]].failure_reason)
            self.assertEqual({told[one].notification_status for one in contacts - contacts[1]}, {"sent"})

    @refused
    def test_refused_by_the_api(self):
        """Test that what only SendGrid finds wrong costs only itself: the call is made again without it."""
        mail, _emails = self.send(email_to="good@example.org, .dot@example.org, two..dots@example.org")
        self.assertEqual(mail.state, "sent")
        got = [recipient["address"] for message in self.messages() for recipient in message["recipients"]]
        self.assertEqual(got, ["good@example.org"])
        self.assertEqual([call["status"] for call in self.calls()], [400, 400, 202], "the sandbox names one at a time")

        mail, emails = self.send(email_to=".dot@example.org")
        self.assertEqual(mail.state, "exception")
        self.assertIn(".dot@example.org", mail.failure_reason)
        self.assertIn("Does not contain a valid address", mail.failure_reason)
        self.assertFalse(emails.filtered("sent_date"))

    @refused
    def test_another_reason(self):
        """Test that a refusal that is not about a recipient is not tried again."""
        self.fault(status=400, message="Bad subject")
        mail, _emails = self.send(email_to="good@example.org, two@example.org")
        self.assertEqual((mail.state, len(self.calls())), ("exception", 1))

    def test_session(self):
        """Test that a session returns the refused as `smtplib` does, and raises if all are."""
        with self.leaving():
            session = self.env["ir.mail_server"]._connect__(mail_server_id=self.server.id)
            message = self.env["ir.mail_server"]._build_email__(
                "sally@example.com", ["good@example.org", ".dot@example.org"], "Subject", "Text"
            )
            result = session.send_message(message, "sally@example.com", ["good@example.org", ".dot@example.org"])
            named = session.send_message(
                msg=message,
                from_addr="sally@example.com",
                to_addrs="good@example.org",
                mail_options=(),
                rcpt_options=(),
            )
            of_headers = session.send_message(message)
        self.assertEqual(result, {".dot@example.org": (553, b"Does not contain a valid address.")})
        self.assertEqual((named, of_headers), ({}, result))

    @refused
    def test_sender(self):
        """Test that a sender with letters before the @ that are not ASCII is refused with the same words both ways."""
        reasons = []
        for mail, got, _messages in self.send_both_ways(email_from="zoë@example.com", email_to="good@example.org"):
            self.assertEqual((mail.state, got), ("exception", []))
            self.assertIn("zoë@example.com has letters before the @", mail.failure_reason)
            reasons.append(mail.failure_reason)
        self.assertEqual(len(set(reasons)), 1)
