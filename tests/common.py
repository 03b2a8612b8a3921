import gc
import json
import smtplib
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email import message_from_bytes, policy
from unittest.mock import patch

from odoo.tests import TransactionCase, new_test_user
from odoo.tools import SQL

from odoo.addons.base.models.ir_mail_server import IrMail_Server

from .simulator import Relayed, Signer, to_wire


class Sent:
    """A message as it left: the envelope and the bytes, and SendGrid's view of it."""

    def __init__(self, sender, recipients, data):
        self.sender = sender
        self.recipients = list(recipients)
        self.data = data
        self.message = message_from_bytes(data, policy=policy.default)

    @property
    def smtpapi(self):
        """The settings in the header as SendGrid reads them (unfolded, the first header); None without a header."""
        values = message_from_bytes(self.data).get_all("X-SMTPAPI", [])
        assert len(values) <= 1, "SendGrid reads the first header only"
        return json.loads("".join(values[0].splitlines())) if values else None

    @property
    def unique_args(self):
        return (self.smtpapi or {}).get("unique_args", {})

    def part(self, subtype):
        """Return the text of the plain or html part."""
        return self.message.get_body(preferencelist=(subtype,)).get_content()

    def relayed(self):
        """The message on SendGrid's side; its events come from there."""
        return Relayed(self.recipients, self.unique_args, self.message["Message-Id"])


class Connection(smtplib.SMTP):
    """smtplib up to the wire: the message is made into bytes as always, and noted instead of sent."""

    def __init__(self, smtp_from, refuse):
        super().__init__(local_hostname="localhost")
        self.from_filter = False
        self.smtp_from = smtp_from
        self.refuse = refuse
        self.sent = []

    def ehlo_or_helo_if_needed(self):
        self.esmtp_features = {}

    def sendmail(self, from_addr, to_addrs, msg, *args, **kwargs):
        sent = Sent(from_addr, to_addrs, msg)
        if error := self.refuse(sent):
            raise error
        self.sent.append(sent)
        return {}

    def quit(self):
        pass


class Undo(Exception):
    """Ends a savepoint whose work shall be undone."""


class SendgridMixin:
    """Provides an account with its mail server, a sender and a recipient, and SendGrid's side of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = cls.env(context={**cls.env.context, "tracking_disable": True, "no_reset_password": True})
        cls.signer = Signer()
        cls.account = cls.env["sendgrid.account"].create(
            {"name": "SendGrid", "verification_key": cls.signer.public_key, "api_key": "SG.secret"}
        )
        # This is the only server, so that a mail that names none uses it.
        cls.env["ir.mail_server"].search([]).write({"active": False})
        cls.server = cls.env["ir.mail_server"].create(
            {"name": "SendGrid", "smtp_host": "smtp.sendgrid.net", "sendgrid_account_id": cls.account.id}
        )
        cls.other_server = cls.env["ir.mail_server"].create(
            {"name": "Other", "smtp_host": "localhost", "from_filter": "elsewhere.example.com"}
        )
        cls.salesperson = new_test_user(
            cls.env,
            "sendgrid_test_salesperson",
            groups="base.group_user,base.group_partner_manager,sales_team.group_sale_salesman",
            email="salesperson@example.com",
            name="Sally Salesperson",
        )
        cls.contact = cls.env["res.partner"].create({"name": "Ada", "email": "ada@example.org"})
        cls.Email = cls.env["sendgrid.email"]
        cls.Event = cls.env["sendgrid.event"]
        cls.Batch = cls.env["sendgrid.event.batch"]
        cls.Drain = cls.env["sendgrid.drain"]
        cls.Match = cls.env["sendgrid.match"]

    # ------------------------------------------------------------
    # SEND
    # ------------------------------------------------------------

    def create_mail(self, **values):
        """Create a mail of the salesperson, to the contact if no other address is given."""
        return self.env["mail.mail"].create(
            {
                "subject": "Your quotation",
                "body_html": "<p>Hello</p>",
                "email_from": '"Sally" <salesperson@example.com>',
                "author_id": self.salesperson.partner_id.id,
                "mail_server_id": self.server.id,
                **({} if values.keys() & {"email_to", "recipient_ids"} else {"recipient_ids": self.contact.ids}),
                **values,
            }
        )

    @contextmanager
    def sending(self, refuse=lambda sent: None):
        """Let mails leave, up to the wire.

        :param refuse: takes a `Sent`, returns the exception with which the server refuses it, or None
        :return: the list of messages that left
        """
        left = []

        def connect(server, *args, **kwargs):
            connection = Connection(kwargs.get("smtp_from"), refuse)
            connection.sent = left
            return connection

        with (
            patch.object(IrMail_Server, "_connect__", connect),
            patch.object(IrMail_Server, "_disable_send", lambda server: False),
        ):
            yield left

    def send_mail(self, refuse=lambda sent: None, **values):
        """Send a mail of the salesperson to the contact.

        :param refuse: as in `sending`
        :return: the messages that left, and their documents in the order of their recipients
        """
        mail = self.create_mail(**values)
        message_id = mail.message_id
        with self.sending(refuse) as sent:
            mail.send()
        return sent, self.find_emails(message_id)

    def create_mailing(self, people, body, **values):
        """Create a mailing to contacts, in a database that has mass mailing."""
        return self.env["mailing.mailing"].create(
            {
                "subject": "Autumn cheese",
                "mailing_type": "mail",
                "mailing_model_id": self.env["ir.model"]._get_id("res.partner"),
                "mailing_domain": [("id", "in", people.ids)],
                "body_arch": body,
                "body_html": body,
                "email_from": "cheese@example.com",
                "reply_to_mode": "new",
                "reply_to": "cheese@example.com",
                **values,
            }
        )

    def find_emails(self, message_id):
        return self.Email.search([("message_id", "=", message_id)]).sorted(lambda email: (email.recipient, email.id))

    def create_email(self, recipient="ada@example.org", ago=timedelta(minutes=5), content=None, **values):
        """Create a document as sending leaves it, without sending.

        :param content: its HTML
        """
        number = self.Email.search_count([])
        if content:
            shared = self.env["sendgrid.content"].create({"text": content})
            values |= {"content_id": shared.id, "content_state": "kept"}
        return self.Email.create(
            {
                "odoo_id": f"{number:032x}",
                "account_id": self.account.id,
                "recipient": recipient,
                "message_id": f"<{number}@example.com>",
                "sent_date": datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0) - ago,
                "subject": "Your quotation",
                "author_id": self.salesperson.partner_id.id,
                "is_in_chatter": bool(values.get("model") and values.get("res_id")),
                **values,
            }
        )

    def relay(self, emails):
        """Return the message on SendGrid's side for these documents of one copy."""
        [odoo_id] = set(emails.mapped("odoo_id"))
        return Relayed(
            emails.mapped("recipient"),
            {"odoo_db": self.Email._get_odoo_db(), "odoo_id": odoo_id},
            emails[0].message_id,
        )

    def after(self, email, seconds):
        """Return the Unix time some seconds after an e-mail was sent."""
        return int(email.sent_date.replace(tzinfo=timezone.utc).timestamp()) + seconds

    # ------------------------------------------------------------
    # RECEIVE
    # ------------------------------------------------------------

    def store(self, events, account=None):
        """Store a POST as the controller does. ``events`` are dicts, or the raw body.

        :return: its batch
        """
        known = self.Batch.search([])
        self.Batch._receive(account or self.account, events if isinstance(events, bytes) else to_wire(events))
        return self.Batch.search([]) - known

    def drain(self):
        """Process the waiting batches as the cron does, but in this transaction."""
        self.env.flush_all()
        while self.Drain._drain() and self.Drain._has_pending():
            pass
        self.env.invalidate_all()

    def receive(self, *events, account=None):
        """Store events as one POST and drain it.

        :return: its batch
        """
        batch = self.store(list(events), account)
        self.drain()
        return batch

    def receive_bit_by_bit(self, told, split):
        """Receive events in several POSTs and drains. What ``split`` leaves comes in one POST at the end.

        :param told: events, in the order in which they are told
        :param split: list of (how many events the next POST has, whether a drain follows)
        """
        rest = list(told)
        for size, drained in split:
            part, rest = rest[:size], rest[size:]
            self.store(part)
            if drained:
                self.drain()
        self.receive(*rest)

    def compare_ways(self, look, *ways):
        """Assert that several ways to receive events leave the same behind. Each starts from the same database.

        :param look: function without arguments that returns what was left behind
        :param ways: functions without arguments
        :return: what they left behind
        """
        found = []
        for way in ways:
            try:
                with self.env.cr.savepoint():
                    way()
                    found.append(look())
                    raise Undo
            except Undo:
                self.env.invalidate_all()
        for other in found[1:]:
            self.assertEqual(found[0], other)
        return found[0]

    def post(self, events, account=None, signer=None, timestamp=None, headers=None):
        """POST events, signed, over HTTP (with `HttpCase`). ``events`` are dicts, or the raw body."""
        body = events if isinstance(events, bytes) else to_wire(events)
        signed = (signer or self.signer).sign(body, timestamp) if headers is None else headers
        token = (account or self.account).webhook_token
        url = f"{self.base_url()}/sendgrid/webhook/{token}"
        return self.opener.post(url, data=body, headers=signed, timeout=20)

    def run_cron(self, name):
        """Run a scheduled action to its end."""
        self.env.flush_all()
        with self.enter_registry_test_mode():
            self.env.ref(f"sendgrid_tracking.{name}").method_direct_trigger()
        self.env.invalidate_all()

    # ------------------------------------------------------------
    # TIME
    # ------------------------------------------------------------

    def age(self, model, by, column="create_date"):
        """Make all rows of a model older. ``by`` is a timedelta, or an interval in PostgreSQL's words."""
        self.env.flush_all()
        table, column = SQL.identifier(self.env[model]._table), SQL.identifier(column)
        self.env.cr.execute(SQL("UPDATE %s SET %s = %s - %s::interval", table, column, column, by))
        self.env.invalidate_all()

    # ------------------------------------------------------------
    # COUNT
    # ------------------------------------------------------------

    def start_afresh(self):
        """Forget what the transaction has read, so that the queries from here do not depend on what ran before.

        An environment that was left keeps its company in a place that `invalidate_all` does not know, until the garbage
        collector comes by. Core's bus asks for it: without this, it reads the user or not, as chance will have it.
        """
        self.env.flush_all()
        self.env.invalidate_all()
        gc.collect()

    # ------------------------------------------------------------
    # ASSERT
    # ------------------------------------------------------------

    def assertEmail(self, email, **expected):
        """Assert the values of a document; dates are Unix seconds."""
        self.assertEqual(len(email), 1, "one document is meant")
        actual = {}
        for name in expected:
            value = email[name]
            if isinstance(value, datetime):
                value = int(value.replace(tzinfo=timezone.utc).timestamp())
            elif email._fields[name].relational:
                value = value.id
            actual[name] = value
        self.assertEqual(actual, {k: getattr(v, "id", v) for k, v in expected.items()})

    def assertEvents(self, email, expected):
        """Assert the events of a document, oldest first: their names, or pairs of name and match."""
        events = email.event_ids.sorted(lambda event: (event.timestamp, event.id))
        pairs = [(event.event, event.match) for event in events]
        self.assertEqual(
            [pair if isinstance(expected[0], tuple) else pair[0] for pair in pairs] if expected else pairs,
            list(expected),
        )

    def assertBatch(self, batch, **expected):
        """Assert the values of a batch after its processing."""
        self.assertEqual({name: batch[name] for name in expected}, expected)

    def event_of(self, batch):
        """Return the only event of a batch."""
        self.assertEqual(len(batch.event_ids), 1)
        return batch.event_ids


class SendgridCase(SendgridMixin, TransactionCase):
    """Tests in the database."""


def now():
    return int(time.time())
