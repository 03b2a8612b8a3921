from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import new_test_user, tagged
from odoo.tools import mute_logger

from .common import SendgridCase

GROUPS = {
    "author": "base.group_user",
    "employee": "base.group_user",
    "own leads": "base.group_user,sales_team.group_sale_salesman",
    "all leads": "base.group_user,sales_team.group_sale_salesman_all_leads",
    "other company": "base.group_user,sales_team.group_sale_salesman_all_leads",
    "both companies": "base.group_user,sales_team.group_sale_salesman_all_leads",
    "admin": "base.group_system",
    "portal": "base.group_portal",
    "portal author": "base.group_portal",
    "public": "base.group_public",
}
EMPLOYEES = set(GROUPS) - {"portal", "portal author", "public"}


@tagged("post_install", "-at_install")
class TestAccess(SendgridCase):
    """The author sees a document, and whoever may read the record in whose chatter it stands; if it stands in none,
    administrators."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        company = cls.env["res.company"].create({"name": "Another"})
        cls.users = {
            name: new_test_user(cls.env, f"sendgrid_test_{name.replace(' ', '_')}", groups=groups)
            for name, groups in GROUPS.items()
        }
        cls.users["other company"].write({"company_ids": [Command.set(company.ids)], "company_id": company.id})
        cls.users["both companies"].write({"company_ids": [Command.link(company.id)]})

        leads = cls.env["crm.lead"].create(
            [
                {"name": "Own", "type": "opportunity", "user_id": cls.users["own leads"].id},
                {"name": "Colleague's", "type": "opportunity", "user_id": cls.users["all leads"].id},
                {"name": "Nobody's", "user_id": False},
                {"name": "Archived", "user_id": cls.users["own leads"].id, "active": False},
                {"name": "Other company's", "user_id": False, "company_id": company.id, "team_id": False},
                {"name": "To be deleted"},
            ]
        )
        partners = cls.env["res.partner"].create(
            [
                {"name": "Everybody's"},
                {"name": "Other company's", "company_id": company.id},
                {"name": "Archived", "active": False},
                {"name": "To be deleted"},
            ]
        )
        cls.gone = [leads[-1], partners[-1]]
        secret = cls.env["ir.config_parameter"].create({"key": "sendgrid.test", "value": "x"})
        about = [
            *(("crm.lead", lead.id) for lead in leads),
            *(("res.partner", partner.id) for partner in partners),
            ("ir.config_parameter", secret.id),
            ("ir.config_parameter", secret.id + 1000),
            ("res.users", cls.users["employee"].id),
            ("not.installed", 1),
            (False, False),
            ("crm.lead", False),
            # A model without a table of its own.
            ("mail.thread", 1),
        ]
        places = [
            *((model, res_id, True) for model, res_id in about),
            *((model, res_id, False) for model, res_id in about if model and res_id),
        ]
        authors = [cls.users["author"].partner_id, cls.users["portal author"].partner_id, cls.env["res.partner"]]
        number = iter(range(1000))
        content = cls.env["sendgrid.content"].create({"text": "<p>Content</p>"})
        cls.emails = cls.Email.create(
            [
                {
                    "odoo_id": f"access-{next(number)}",
                    "account_id": cls.account.id,
                    "recipient": "ada@example.org",
                    "sent_date": "2026-11-24 06:00:00",
                    "author_id": author.id,
                    "subject": "Subject",
                    "content_id": content.id,
                    "content_state": "kept",
                    "model": model,
                    "res_id": res_id,
                    "is_in_chatter": is_in_chatter,
                }
                for model, res_id, is_in_chatter in places
                for author in authors
            ]
        )
        cls.events = cls.Event.create(
            [
                {
                    "email_id": email.id,
                    "account_id": cls.account.id,
                    "match": "odoo_id",
                    "event": "open",
                    "timestamp": "2026-11-24 06:01:00",
                    "fingerprint": f"access-{email.id}",
                }
                for email in cls.emails
            ]
        )
        cls.unmatched = cls.Event.create(
            {
                "account_id": cls.account.id,
                "match": "unknown",
                "event": "open",
                "timestamp": "2026-11-24 06:01:00",
                "fingerprint": "access",
            }
        )
        for record in cls.gone:
            record.unlink()
        cls.env.flush_all()
        cls.env.invalidate_all()

    def _expect(self, name):
        """Which documents a user may see: the rule, applied to one document after the other."""
        user = self.users[name]
        env = self.env(user=user)

        def is_visible(email):
            if name not in EMPLOYEES:
                return False
            if email.author_id == user.partner_id:
                return True
            if not email.is_in_chatter:
                return name == "admin"
            if email.model and email.res_id and email.model in env and env[email.model]._auto:
                record = env[email.model].browse(email.res_id)
                if record.sudo().exists():
                    return record.has_access("read")
            return name == "admin"

        return self.emails.filtered(is_visible)

    def _as(self, records, name):
        return records.with_user(self.users[name]).with_context(active_test=True)

    def assertSees(self, name, records, expected):
        """Assert that every way to get at records shows a user exactly the expected ones."""
        mine = self._as(records, name)
        for record in mine:
            with self.subTest(user=name, record=record.sudo().display_name, id=record.id):
                self.assertEqual(record.has_access("read"), record.sudo() in expected)
        self.env.invalidate_all()
        for record in mine:
            if record.sudo() in expected:
                record.read(["id", "create_date"])
            else:
                with self.assertRaises(AccessError):
                    record.read(["create_date"])
                with self.assertRaises(AccessError):
                    getattr(record, "create_date")  # noqa: B009
            self.env.invalidate_all()
        domain = [("id", "in", records.ids)]
        if name not in EMPLOYEES:
            for look in (mine.search, mine.search_count, mine.search_read):
                with self.assertRaises(AccessError):
                    look(domain)
            return
        found = mine.search(domain)
        self.assertEqual(set(found.ids), set(expected.ids))
        self.assertEqual(mine.search_count(domain), len(expected))
        self.assertEqual({row["id"] for row in mine.search_read(domain, ["id"])}, set(expected.ids))
        [(count,)] = mine._read_group(domain, [], ["__count"])
        self.assertEqual(count, len(expected))
        self.assertEqual(set(found._filtered_access("read").ids), set(expected.ids))
        self.assertEqual(
            {row["id"] for row in mine.web_search_read(domain, {"display_name": {}})["records"]}, set(expected.ids)
        )

    def test_documents(self):
        """Test for each user and document that all ways to it agree with the rule."""
        sizes = {}
        for name in GROUPS:
            expected = self._expect(name)
            sizes[name] = len(expected)
            self.assertSees(name, self.emails, expected)
        # The rule above is no tautology: there is something to see and something not.
        for name in EMPLOYEES:
            self.assertTrue(0 < sizes[name] < len(self.emails), name)
        self.assertEqual({name for name in GROUPS if not sizes[name]}, set(GROUPS) - EMPLOYEES)
        self.assertLess(sizes["employee"], sizes["own leads"])
        self.assertLess(sizes["own leads"], sizes["all leads"])
        self.assertLess(sizes["all leads"], sizes["both companies"])

    def test_events(self):
        """Test that events are seen by whoever sees their document, unmatched ones by administrators."""
        for name in GROUPS:
            self.assertSees(name, self.events, self._expect(name).event_ids)
        for name in GROUPS:
            self.assertEqual(self._as(self.unmatched, name).has_access("read"), name == "admin")

    def test_named_cases(self):
        """Test the rule by example, so that it does not hang on the way it is written above."""

        def sees(name, model, record_name, is_in_chatter=True):
            record = self.env[model].with_context(active_test=False).search([("name", "=", record_name)])
            emails = self.emails.filtered(
                lambda e: (
                    e.model == model and e.res_id in record.ids and not e.author_id and e.is_in_chatter == is_in_chatter
                )
            )
            self.assertEqual(len(emails), 1)
            return self._as(emails, name).has_access("read")

        for model, record, seen_by in (
            ("crm.lead", "Own", {"own leads", "all leads", "both companies"}),
            ("crm.lead", "Colleague's", {"all leads", "both companies"}),
            ("crm.lead", "Nobody's", {"own leads", "all leads", "both companies"}),
            ("crm.lead", "Archived", {"own leads", "all leads", "both companies"}),
            ("crm.lead", "Other company's", {"other company", "both companies"}),
            ("res.partner", "Everybody's", EMPLOYEES),
            ("res.partner", "Other company's", {"other company", "both companies"}),
            ("res.partner", "Archived", EMPLOYEES),
        ):
            with self.subTest(model=model, record=record):
                seen = {name for name in GROUPS if sees(name, model, record)}
                self.assertEqual(
                    seen - {"other company", "both companies"}, seen_by - {"other company", "both companies"}
                )
                self.assertIn("both companies", seen)
                self.assertEqual({name for name in GROUPS if sees(name, model, record, False)}, {"admin"})

    def test_company_switch(self):
        """Test that who works for two companies sees the documents of those that are switched on, as the records."""
        user = self.users["both companies"]
        for companies in (user.company_ids, user.company_id, user.company_ids - user.company_id):
            env = self.env(user=user, context={"allowed_company_ids": companies.ids})
            records = env["res.partner"].search([("name", "in", ("Everybody's", "Other company's"))])
            emails = env["sendgrid.email"].search([("model", "=", "res.partner"), ("author_id", "=", False)])
            self.assertEqual(
                set(records.ids),
                set(emails.mapped("res_id"))
                & set(self.env["res.partner"].search([("name", "in", ("Everybody's", "Other company's"))]).ids),
            )

    def test_content(self):
        """Test that who sees a document sees its content, and nobody else."""
        lead = self.env["crm.lead"].search([("name", "=", "Own")])
        note = lead.message_post(body="Hello", subtype_xmlid="mail.mt_comment", message_type="comment")
        email = self.create_email(model="crm.lead", res_id=lead.id, mail_message_id=note.id, author_id=False)
        [values] = self._as(email, "own leads").read(["content"])
        self.assertEqual(values["content"], note.body)
        for name in ("employee", "portal"):
            self.env.invalidate_all()
            with self.assertRaises(AccessError):
                self._as(email, name).read(["content"])
        email.is_in_chatter = False
        for name in set(GROUPS) - {"admin"}:
            self.env.invalidate_all()
            with self.assertRaises(AccessError):
                self._as(email, name).read(["content"])

    def test_administrative_fields(self):
        """Test that the fields for administrators are not read by others, on documents and events they may see."""
        emails = self._expect("author")
        for records, names in ((emails, ("account_id", "mail_id")), (emails.event_ids, ("account_id", "batch_id"))):
            for name in names:
                with self.assertRaises(AccessError):
                    self._as(records, "author").read([name])
                self._as(self._expect("admin") if records is emails else self._expect("admin").event_ids, "admin").read(
                    [name]
                )

    def test_history_is_read_only(self):
        """Test that nobody, administrators included, creates, changes or deletes a document or an event."""
        for name in GROUPS:
            for record in (self.emails[0], self.events[0]):
                mine = self._as(record, name)
                with self.subTest(user=name, model=record._name):
                    for operation in ("create", "write", "unlink"):
                        self.assertFalse(mine.has_access(operation), operation)
                    with self.assertRaises(AccessError):
                        mine.write({"recipient": "eve@example.org"})
                    with self.assertRaises(AccessError):
                        mine.create({"recipient": "eve@example.org"})
                    with self.assertRaises(AccessError):
                        mine.unlink()

    def test_batches(self):
        """Test that batches are the administrators', to read and to process again."""
        batch = self.store([{"email": "ada@example.org"}])
        for name in GROUPS:
            mine = self._as(batch, name)
            with self.subTest(name):
                self.assertEqual(mine.has_access("read"), name == "admin")
                for operation in ("create", "write", "unlink"):
                    self.assertFalse(mine.has_access(operation))
                if name == "admin":
                    mine.action_process_again()
                    self.assertEqual(mine.state, "pending")
                else:
                    for way in (mine.action_process_again, lambda mine=mine: mine.read(["body"])):
                        with self.assertRaises(AccessError):
                            way()

    def test_administrators_actions(self):
        """Test that only administrators match again, attach or run again what has failed."""
        for name in EMPLOYEES - {"admin"}:
            with self.subTest(name):
                event = self._as(self.unmatched, name)
                email = self._as(self._expect(name)[:1], name)
                for way in (
                    event.action_match_again,
                    email.action_run_again,
                    lambda event=event, email=email: event._attach_by_hand(email),
                    lambda event=event: self.env["sendgrid.event.attach"].with_user(event.env.user).create({}),
                ):
                    with self.assertRaises(AccessError), mute_logger("odoo.addons.base.models.ir_model"):
                        way()
        self.assertFalse(self.unmatched.email_id)

    def test_unsaved(self):
        """Test that an unsaved document, as a form makes it, is nobody's secret and no error."""
        self.assertTrue(self._as(self.Email, "employee").new({"recipient": "x@example.org"}).has_access("read"))
        self.assertTrue(self._as(self.Email, "employee").has_access("read"))
