import json
from email import message_from_string, policy
from unittest.mock import patch

from odoo.tests import tagged
from odoo.tools import formataddr

from ..tools.sending import addresses
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

    def create_people(self):
        """Return contacts with odd names, of which one is another's address, and one has two lines."""
        names = [*NAMES, "odd0@example.org", '"odd1@example.org" <odd2@example.org>', "Two\nlines"]
        return self.env["res.partner"].create(
            [{"name": name, "email": f"odd{number}@example.org"} for number, name in enumerate(names)]
        )

    def assertEverybody(self, people, mail, messages, roles=None):
        """Assert that everybody has one mail, with his own document that says whose it is.

        :param roles: {contact: where the mail shows him}, of those who are not in To
        """
        got = [(to["address"], message) for message in messages for to in message["recipients"]]
        self.assertEqual(mail.state, "sent")
        self.assertEqual(sorted(address for address, _message in got), sorted(people.mapped("email")))
        emails = self.find_emails(mail.message_id)
        documents = [(email.recipient, email.partner_id, email.recipient_role, email.status) for email in emails]
        expected = [(one.email, one, (roles or {}).get(one, "to"), "sent") for one in people]
        self.assertEqual(sorted(documents), sorted(expected))
        names = {email.recipient: email.odoo_id for email in emails}
        self.assertEqual({a: m["smtpapi"]["unique_args"]["odoo_id"] for a, m in got}, names)

    def test_names_in_one_copy(self):
        """Test odd names of several recipients of one copy, in To and in Cc: each is shown as who he is."""
        people = self.create_people()
        to, cc = people[::2], people[1::2]
        for values in ({"to": to, "cc": cc}, {"to": cc, "cc": to}):
            texts = {
                f"email_{kind}": ", ".join(formataddr((one.name, one.email)) for one in some)
                for kind, some in values.items()
            }
            for mail, _got, messages in self.send_both_ways(**texts):
                self.assertEverybody(people, mail, messages, dict.fromkeys(values["cc"], "cc"))
                self.emails_of(mail).unlink()
                raw = self.sandbox("GET", f"/sandbox/messages/{messages[0]['id']}/0/raw")
                parsed = message_from_string(raw, policy=policy.default)
                for kind, some in values.items():
                    shown = {one.addr_spec: one.display_name for one in parsed[kind].addresses}
                    self.assertEqual(shown, {one.email: " ".join(one.name.split("\n")) for one in some})

    def emails_of(self, mail):
        return self.find_emails(mail.message_id)

    def test_names_in_a_chatter(self):
        """Test odd names of several contacts who get a copy each. By SMTP each copy shows all of them."""
        people = self.create_people()
        names = {one.email: " ".join(one.name.split("\n")) for one in people}
        lead = self.env["crm.lead"].create({"name": "Lead", "partner_id": self.contact.id})
        for server in (self.smtp_server, self.server):
            self.sandbox("DELETE", "/sandbox/messages")
            message = lead.message_post(
                body="Hello",
                partner_ids=people.ids,
                subtype_xmlid="mail.mt_comment",
                author_id=self.salesperson.partner_id.id,
                email_from="sally@example.com",
                mail_server_id=server.id,
                mail_auto_delete=False,
                force_send=False,
            )
            with self.leaving():
                message.mail_ids.send()
            self.env.invalidate_all()
            self.assertEverybody(people, message.mail_ids, self.messages())
            self.assertEqual(set(message.notification_ids.mapped("notification_status")), {"sent"})
            for one in self.messages():
                raw = self.sandbox("GET", f"/sandbox/messages/{one['id']}/0/raw")
                shown = {
                    to.addr_spec: to.display_name
                    for to in message_from_string(raw, policy=policy.default)["To"].addresses
                }
                expected = (
                    names
                    if server == self.smtp_server
                    else {to["address"]: names[to["address"]] for to in one["recipients"]}
                )
                self.assertEqual(shown, expected)

    def test_spellings_of_a_list(self):
        """Test that recipients are found however somebody has written them, each once."""
        ada, ben = (f"{name}@example.org" for name in ("ada", "ben"))
        for email_to, email_cc, names in (
            (f"Team: Ada <{ada}>, {ben};", "", {ada: "Ada", ben: ""}),
            (f'"" <{ada}>; <{ben}>', "", {ada: "", ben: ""}),
            (
                f"=?iso-8859-1?q?Andr=E9=2C_X?= <{ada}>, =?utf-8?b?w4Q7IFg=?= <{ben}>",
                "",
                {ada: "André, X", ben: "Ä; X"},
            ),
            (f"Ada <{ada}>, ADA@Example.org", f'"A, L." <Ada@EXAMPLE.org>, {ben}', {ada: "Ada", ben: ""}),
            (f"{ada}\n{ben}", "", {ada: "", ben: ""}),
            (f"Ada L {ada}, Ben {ben}", "", {ada: "Ada L", ben: "Ben"}),
            ("undisclosed-recipients:;", f"Ada <{ada}>, {ben}", {ada: "Ada", ben: ""}),
        ):
            with self.subTest(email_to):
                for mail, got, [message] in self.send_both_ways(email_to=email_to, email_cc=email_cc):
                    self.assertEqual((mail.state, got), ("sent", [ada, ben]))
                    raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
                    parsed = message_from_string(raw, policy=policy.default)
                    shown = [to for name in ("Cc", "To") if parsed[name] for to in parsed[name].addresses[::-1]]
                    self.assertEqual({to.addr_spec: to.display_name for to in shown}, names)
                    emails = self.find_emails(mail.message_id)
                    self.assertEqual(emails.mapped("recipient"), [ada, ben])
                    self.assertEqual(emails[0].partner_id, self.contact)
                    emails.unlink()

    @refused
    def test_cannot_be_written(self):
        """Test that a recipient whom Odoo cannot write into a message has a document that says so."""
        address = '"a,b"@example.org'
        for mail, got, _messages in self.send_both_ways(email_to=f"good@example.org, {address}"):
            self.assertEqual((mail.state, got), ("sent", ["good@example.org"]))
            emails = self.find_emails(mail.message_id)
            self.assertEqual(
                {email.recipient: (email.status, email.status_reason) for email in emails},
                {
                    "good@example.org": ("sent", False),
                    address: ("failed", f"{address} is not an e-mail address."),
                },
            )

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
            ("two..dots@example.org", "does not deliver to addresses like"),
            (".dot@example.org", "does not deliver to addresses like"),
            ("dot.@example.org", "does not deliver to addresses like"),
            ("back\\slash@example.org", "does not deliver to addresses like"),
            ("a\tb@example.org", "does not deliver to addresses like"),
            ("a@[127.0.0.1]", "does not deliver to addresses like"),
            ("a@[ipv6:::1]", "does not deliver to addresses like"),
            ("a@exam!ple.org", "is not an e-mail address"),
        ):
            with self.subTest(address):
                for mail, got, [message] in self.send_both_ways(email_to=f"good@example.org, {address}"):
                    self.assertEqual((mail.state, got), ("sent", ["good@example.org"]))
                    emails = self.find_emails(mail.message_id)
                    self.assertEqual(
                        {email.recipient: email.status for email in emails},
                        {"good@example.org": "sent", address: "failed"},
                    )
                    self.assertIn(words, emails.filtered("status_reason").status_reason)
                    raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
                    self.assertNotIn("=?utf-8?q?p=C3", raw, "what cannot be written is not shown")
                for mail, got, messages in self.send_both_ways(email_to=address):
                    self.assertEqual((mail.state, mail.failure_type, got), ("exception", "mail_email_invalid", []))
                    self.assertIn(words, mail.failure_reason)
                    self.assertIn(address, mail.failure_reason)
                    self.assertFalse(messages)

    @refused
    def test_named_by_a_header(self):
        """Test that a mail whose own header would have SendGrid send it to others leaves to nobody, and says so."""
        hidden = {"filters": {"bcc": {"settings": {"enable": 1, "email": "archive@example.com"}}}}
        secret = '<a href="https://www.example.com/x?access_token=s">key</a>'  # the header is read for it already
        for name, header, body in (
            ("to", {"to": ["eve@example.org"], "category": "sale"}, "<p>Hello</p>"),
            ("to", {"to": "eve@example.org"}, secret),
            ("bcc", hidden, "<p>Hello</p>"),
            ("bcc", hidden, secret),
        ):
            with self.subTest(header, body=body):
                headers = repr({"x-smtpapi": json.dumps(header)})
                for mail, got, _messages in self.send_both_ways(headers=headers, body_html=body):
                    self.assertEqual((mail.state, got), ("exception", []))
                    email = self.find_emails(mail.message_id)
                    self.assertEmail(email, recipient="ada@example.org", status="failed", sent_date=False)
                    for said in (mail.failure_reason, email.status_reason):
                        self.assertIn(f"X-SMTPAPI names recipients itself, in “{name}”", said)
                        self.assertNotIn("drop", said)

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
    def test_core_finds_no_address(self):
        """Test that the others get a mail where core finds no address in one of them, whose document says so."""
        for address in ("user@🧀.example", "user@-bücher.example"):
            with self.subTest(address):
                for mail, got, _messages in self.send_both_ways(email_to=f"good@example.org, {address}"):
                    self.assertEqual((mail.state, got), ("sent", ["good@example.org"]))
                    emails = self.find_emails(mail.message_id)
                    self.assertEqual(
                        {email.recipient: email.status_reason for email in emails},
                        {"good@example.org": False, address: f"{address} is not an e-mail address."},
                    )

    @refused
    @patch.object(addresses, "find_impossible", lambda _addresses: {})
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
        """Test that a sender who is none, or whom SendGrid does not take, is refused with the same words both ways."""
        for address, words in (
            ("zoë@example.com", "zoë@example.com has letters before the @"),
            ("two..dots@example.com", "does not deliver to addresses like two..dots@example.com"),
            ("Sally <.dot@example.com>", "does not deliver to addresses like .dot@example.com"),
            ("sally@[127.0.0.1]", "does not deliver to addresses like sally@[127.0.0.1]"),
            ("sally@exam!ple.com", "sally@exam!ple.com is not an e-mail address"),
        ):
            with self.subTest(address):
                reasons = []
                for mail, got, _messages in self.send_both_ways(email_from=address, email_to="good@example.org"):
                    self.assertEqual((mail.state, got), ("exception", []))
                    self.assertIn(words, mail.failure_reason)
                    reasons.append(mail.failure_reason)
                self.assertEqual(len(set(reasons)), 1)

    def test_replies(self):
        """Test that a reply address that is none does not cost the mail, nor another one."""
        for address in ("two..dots@example.com", "Visitor <a@[127.0.0.1]>", "a@b@example.com", "no address"):
            for before in ("", "sales@example.com, "):
                with self.subTest(before + address):
                    for mail, got, [message] in self.send_both_ways(reply_to=before + address):
                        self.assertEqual((mail.state, got), ("sent", ["ada@example.org"]))
                        raw = self.sandbox("GET", f"/sandbox/messages/{message['id']}/0/raw")
                        shown = str(message_from_string(raw, policy=policy.default)["Reply-To"] or "")
                        self.assertEqual("sales@example.com" in shown, bool(before))
