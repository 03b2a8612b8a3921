import base64
import json

from odoo.exceptions import AccessError
from odoo.tests import mute_logger, new_test_user, tagged
from odoo.tools import SQL

from .simulator import Relayed, async_bounce
from .test_answers import AnswerCase

OURS = ("sendgrid.email", "sendgrid.event", "sendgrid.address", "sendgrid.suppression")


@tagged("post_install", "-at_install")
class TestPrivacyLookup(AnswerCase):
    """Core's Privacy Lookup finds what is known of an address, and deletes it."""

    def lookup(self, email, name="Nobody of this name"):
        wizard = self.env["privacy.lookup.wizard"].create({"email": email, "name": name})
        wizard.action_lookup()
        return wizard

    def found(self, wizard):
        """Return {model of ours: ids of the lines}."""
        lines = wizard.line_ids.filtered(lambda line: line.res_model in OURS)
        return {
            model: set(lines.filtered(lambda line, model=model: line.res_model == model).mapped("res_id"))
            for model in lines.mapped("res_model")
        }

    def prepare_guest(self, address="guest@example.net"):
        """Have a document with events to an address, an event without one, and an entry of SendGrid's lists."""
        email = self.create_email(address)
        message = self.relay(email)
        self.receive(
            message.event("delivered", timestamp=self.after(email, 60)),
            message.event("spamreport", timestamp=self.after(email, 60)),
            *(message.event("open", timestamp=self.after(email, 600 + number)) for number in range(50)),
        )
        stray = self.event_of(self.receive(Relayed([address]).event("spamreport")))
        # The report has put the address on SendGrid's list.
        suppression = self.env["sendgrid.suppression"].search([("email", "=", email.recipient)])
        return email, stray, suppression

    def test_without_contact(self):
        """Test that what is known of a guest is found: a line for a document, whose events go with it."""
        email, stray, suppression = self.prepare_guest()
        self.create_email("guest@example.net.example")
        self.create_email("a.guest@example.net")
        address = self.env["sendgrid.address"].search([("email", "=", "guest@example.net")])
        self.assertTrue(address)
        for typed in ("guest@example.net", " Guest@Example.NET ", '"A Guest" <guest@example.net>'):
            with self.subTest(typed):
                self.assertEqual(
                    self.found(self.lookup(typed)),
                    {
                        "sendgrid.email": set(email.ids),
                        "sendgrid.event": set(stray.ids),
                        "sendgrid.address": set(address.ids),
                        "sendgrid.suppression": set(suppression.ids),
                    },
                )

    def test_spellings(self):
        """Test that an address is found however its domain is spelled, and so is its contact."""
        contact = self.contact.create({"name": "Bee", "email": "bee@bücher.example"})
        email, _stray, _suppression = self.prepare_guest("bee@xn--bcher-kva.example")
        for typed in ("bee@bücher.example", "bee@xn--bcher-kva.example"):
            wizard = self.lookup(typed)
            with self.subTest(typed):
                self.assertEqual(self.found(wizard)["sendgrid.email"], set(email.ids))
                self.assertEqual(len(self.found(wizard)), len(OURS))
                partners = wizard.line_ids.filtered(lambda line: line.res_model == "res.partner")
                self.assertEqual(partners.mapped("res_id"), contact.ids, "once")

    def test_by_contact(self):
        """Test that documents of a contact are found by his name too, whatever address they went to, each once."""
        contact = self.contact.create({"name": "Cecilia Known", "email": "cecilia@example.org"})
        emails = self.create_email("cecilia@example.org", partner_id=contact.id)
        emails |= self.create_email("former@example.org", partner_id=contact.id)
        emails |= self.create_email("somebody@example.org", author_id=contact.id)
        self.receive(self.relay(emails[0]).event("open", timestamp=self.after(emails[0], 600)))
        wizard = self.lookup("cecilia@example.org", "Cecilia Known")
        self.assertEqual(self.found(wizard), {"sendgrid.email": set(emails.ids)})
        lines = wizard.line_ids.filtered(lambda line: line.res_model == "sendgrid.email")
        self.assertEqual(len(lines), 3)

    def test_delete(self):
        """Test that the lines can be deleted together: nothing of the address is left, and others keep theirs."""
        email, stray, suppression = self.prepare_guest()
        other = self.create_email("other@example.net")
        self.receive(self.relay(other).event("open", timestamp=self.after(other, 600)))
        events = email.event_ids | stray
        wizard = self.lookup("guest@example.net")
        wizard.line_ids.action_unlink_all()
        self.env.flush_all()
        self.env.invalidate_all()
        self.assertFalse(email.exists())
        self.assertFalse(stray.exists() or suppression.exists() or events.exists())
        for model in ("sendgrid.email", "sendgrid.event"):
            self.assertFalse(self.env[model].search([("recipient", "=", "guest@example.net")]))
        self.assertFalse(self.env["sendgrid.address"].search([("email", "=", "guest@example.net")]))
        self.assertEqual(len(other.event_ids), 1)
        self.assertIn("#", wizard.log_id.execution_details)
        self.assertEqual(self.found(self.lookup("guest@example.net")), {})

    def test_bodies(self):
        """Test that the bodies of batches do not keep what was deleted, and that others' events stay there."""
        email, _stray, _suppression = self.prepare_guest()
        other = self.create_email("other@example.net")
        self.receive(
            self.relay(other).event("open", timestamp=self.after(other, 600)),
            self.relay(email).event("open", timestamp=self.after(email, 900)),
        )
        self.lookup("guest@example.net").line_ids.action_unlink_all()
        self.run_cron("ir_cron_reduce")
        requests = self.env["sendgrid.reduction"].search([])
        self.assertEqual([(one.reason, one.state, one.addresses) for one in requests], [("deleted", "done", False)])
        kept = [
            (element["email"], element["event"])
            for batch in self.Batch.search([("account_id", "=", self.account.id)])
            for element in json.loads(base64.b64decode(batch.body))
            if element["event"] in ("open", "click")
        ]
        self.assertEqual(kept, [("other@example.net", "open")])

    def test_answers(self):
        """Test that whoever answers somebody else's e-mail is found, whatever his answer counts for, and deleted."""
        bob = self.env["res.partner"].create({"name": "Bob", "email": "bob@example.org"})
        emails = self.say(self.contact, bob) + self.say()
        stranger, own = "Stranger <stranger@example.net>", "ada@example.org"
        self.answer(emails[0], stranger)
        self.answer(emails[2], stranger)
        self.answer(emails[0], own)
        self.assertEqual(emails.mapped("status"), ["replied", "sent", "replied"])
        answers = emails.event_ids.filtered(lambda event: event.recipient == "stranger@example.net")
        self.assertEqual(sorted(answers.mapped("answer")), ["alone", "other", "other"])
        wizard = self.lookup("stranger@example.net")
        self.assertEqual(self.found(wizard)["sendgrid.event"], set(answers.ids))
        self.assertNotIn("sendgrid.event", self.found(self.lookup(own)), "it goes with its document")
        export = self.env["sendgrid.export"]._begin(["stranger@example.net"])
        self.assertEqual(self.env["sendgrid.event"].search(export._get_event_domain()), answers.sorted(lambda e: e.id))
        wizard.line_ids.action_unlink_all()
        self.env.invalidate_all()
        self.assertFalse(answers.exists())
        self.assertEqual(emails.mapped("status"), ["replied", "sent", "sent"])
        self.assertRecordValues(emails[2], [{"reply_date": False}])

    def test_all_at_once_with_a_bounce_without_document(self):
        """Test that a bounce without any ids, about an address that nobody wrote to, is found."""
        self.receive(async_bounce("never@example.net", self.after(self.create_email(), 60)))
        ids = self.found(self.lookup("never@example.net"))["sendgrid.event"]
        self.assertEqual(len(ids), 1)

    def test_several_addresses_in_one_message(self):
        """Test that of a copy to several recipients only the own document is found."""
        emails = self.create_email("one@example.net", odoo_id="a" * 32)
        emails |= self.create_email("two@example.net", odoo_id="a" * 32)
        self.assertEqual(self.found(self.lookup("two@example.net")), {"sendgrid.email": {emails[1].id}})

    @mute_logger("odoo.addons.base.models.ir_model")
    def test_rights(self):
        """Test that only administrators look up, of whatever company, and that what they may not open they delete."""
        company = self.env["res.company"].create({"name": "Elsewhere"})
        lead = self.env["crm.lead"].create({"name": "Theirs", "company_id": company.id, "team_id": False})
        email = self.create_email("guest@example.net", model="crm.lead", res_id=lead.id)
        admin = new_test_user(self.env, "sendgrid_lookup_admin", groups="base.group_system")
        wizard = self.env["privacy.lookup.wizard"].with_user(admin).create({"email": "guest@example.net", "name": "G"})
        wizard.action_lookup()
        [line] = wizard.line_ids.filtered(lambda line: line.res_model == "sendgrid.email")
        self.assertFalse(line.resource_ref, "it is not shown to him")
        wizard.line_ids.action_unlink_all()
        self.assertFalse(email.exists())
        with self.assertRaises(AccessError):
            self.env["privacy.lookup.wizard"].with_user(self.salesperson).create({"email": "a@b.example", "name": "A"})

    def test_indexes(self):
        """Test that neither documents nor events are read as a whole."""
        self.prepare_guest()
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """INSERT INTO sendgrid_email (odoo_id, account_id, recipient, date, status, author_id, partner_id)
                   SELECT 'n' || n, %(account)s, 'n' || n || '@example.net', now(), 'sent', NULL, NULL
                     FROM generate_series(1, 20000) n;
                   INSERT INTO sendgrid_event (account_id, match, event, timestamp, fingerprint, recipient)
                   SELECT %(account)s, 'unknown', 'open', now(), 'n' || n, 'n' || n || '@example.net'
                     FROM generate_series(1, 20000) n;
                   ANALYZE sendgrid_email; ANALYZE sendgrid_event""",
                account=self.account.id,
            )
        )
        query = self.env["privacy.lookup.wizard"].create({"email": "guest@example.net", "name": "G"})._get_query()
        self.env.flush_all()
        plan = "\n".join(line for (line,) in self.env.execute_query(SQL("EXPLAIN %s", query)))
        for table in ("sendgrid_email", "sendgrid_event"):
            self.assertNotIn(f"Seq Scan on {table}", plan)
        self.assertIn("sendgrid_email_recipient_idx", plan)
        self.assertIn("sendgrid_event_unmatched_recipient_idx", plan)
