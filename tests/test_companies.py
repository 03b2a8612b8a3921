"""Two companies, each with an account of its own, and one account for all."""

from unittest.mock import patch

from odoo import Command
from odoo.exceptions import AccessError
from odoo.tests import Form, HttpCase, mute_logger, new_test_user, tagged

from ..tools.api import client
from .common import SendgridMixin
from .simulator import Relayed, Signer, to_wire


@tagged("post_install", "-at_install")
class TestCompanies(SendgridMixin, HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.companies = cls.env["res.company"].create([{"name": "A"}, {"name": "B"}])
        cls.signers = [Signer(), Signer()]
        cls.accounts = cls.env["sendgrid.account"].create(
            [
                {
                    "name": f"Account of {company.name}",
                    "company_id": company.id,
                    "api_key": f"SG.{company.name}",
                    "verification_key": signer.public_key,
                }
                for company, signer in zip(cls.companies, cls.signers, strict=True)
            ]
        )
        cls.servers = cls.env["ir.mail_server"].create(
            [
                {"name": account.name, "smtp_host": "smtp.sendgrid.net", "sendgrid_account_id": account.id}
                for account in cls.accounts
            ]
        )
        cls.administrators = [
            new_test_user(
                cls.env,
                f"sendgrid_admin_{company.name.lower()}",
                groups="base.group_system",
                company_id=company.id,
                company_ids=[Command.set(company.ids)],
            )
            for company in cls.companies
        ]

    def setUp(self):
        super().setUp()
        self.env.flush_all()
        self.env.invalidate_all()

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_accounts(self):
        """Test that an administrator has his company's accounts and those of all, and no other API key or token."""
        for number, administrator in enumerate(self.administrators):
            own, others = self.accounts[number], self.accounts[1 - number]
            Account = self.env["sendgrid.account"].with_user(administrator)
            self.assertEqual(Account.search([("id", "in", (self.accounts | self.account).ids)]), own | self.account)
            self.assertEqual(own.with_user(administrator).api_key, own.api_key)
            for operation in (
                lambda record: record.read(["api_key"]),
                lambda record: record.read(["webhook_url"]),
                lambda record: record.write({"company_id": False}),
                lambda record: record.action_connect(),
                lambda record: record.action_disconnect(),
                lambda record: record.action_rotate_key(),
                lambda record: record.action_forget_previous_key(),
                lambda record: record.action_new_webhook_token(),
                lambda record: record.action_read_tracking_settings(),
                lambda record: record.action_switch_open_tracking(),
            ):
                self.env.invalidate_all()
                with self.assertRaises(AccessError), self.env.cr.savepoint():
                    operation(others.with_user(administrator))
            self.assertIn(own.name, self.env["res.config.settings"].with_user(administrator).new().sendgrid_accounts)
            self.assertNotIn(
                others.name, self.env["res.config.settings"].with_user(administrator).new().sendgrid_accounts
            )
        both = self.administrators[0]
        both.company_ids = self.companies
        found = self.accounts.with_user(both).with_context(allowed_company_ids=self.companies.ids).search([])
        self.assertLessEqual(self.accounts, found)

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_connect(self):
        """Test that nobody connects for a company that is not his, not even through the dialog."""
        Connect = self.env["sendgrid.account.connect"].with_user(self.administrators[0])
        connect = Connect.create({"account_id": self.accounts[1].id, "name": "Mine now", "api_key": "SG.x"})
        with self.assertRaises(AccessError):
            connect._save_account()
        with patch.object(client.Client, "call") as called:
            for name in ("webhook", "signing", "server", "tracking", "test"):
                connect.api_key = False
                connect.step_ids = [Command.clear(), Command.create({"name": name, "state": "running"})]
                connect.run_next()
                self.assertEqual(connect.step_ids.state, "failed")
            called.assert_not_called()
        Disconnect = self.env["sendgrid.account.disconnect"].with_user(self.administrators[0])
        with self.assertRaises(AccessError):
            Disconnect.create({"account_id": self.accounts[1].id}).action_disconnect()
        self.assertEqual(self.accounts[1].verification_key, self.signers[1].public_key)

    def test_pages(self):
        """Test that pages of others' mail servers and e-mails open all the same, with the name of the account."""
        administrator = self.administrators[0]
        with Form(self.servers[1].with_user(administrator)) as form:
            form.name = "Renamed"
        self.assertEqual(self.servers[1].sendgrid_account_id, self.accounts[1])
        email = self.create_email(account_id=self.accounts[1].id, model="res.partner", res_id=self.contact.id)
        [values] = email.with_user(administrator).web_read({"account_id": {"fields": {"display_name": {}}}})
        self.assertEqual(values["account_id"]["display_name"], self.accounts[1].name)

    def test_warning(self):
        """Test that only an account's own administrators hear of its problems."""
        self.env["sendgrid.rejection"].create({"account_id": self.accounts[0].id, "hint": "key", "count": 1})
        with patch.object(client.Client, "call", side_effect=client.ApiError("unreachable")):
            self.accounts[0]._check_health()
        told = self.accounts[0].activity_ids.user_id
        self.assertIn(self.administrators[0], told)
        self.assertNotIn(self.administrators[1], told)

    def test_webhooks(self):
        """Test that each account accepts only its own SendGrid's events, and that they find their e-mails."""
        emails = [self.create_email(account_id=account.id) for account in self.accounts]
        for number, (account, email) in enumerate(zip(self.accounts, emails, strict=True)):
            body = to_wire([self.relay(email).event("delivered", timestamp=self.after(email, 5))])
            with mute_logger("odoo.addons.sendgrid_tracking.models.sendgrid_rejection"):
                refused = self.post(body, account=account, signer=self.signers[1 - number])
            self.assertEqual(refused.status_code, 403)
            self.assertEqual(self.post(body, account=account, signer=self.signers[number]).status_code, 204)
        self.drain()
        for account, email in zip(self.accounts, emails, strict=True):
            self.assertEqual((email.status, email.event_ids.account_id), ("delivered", account))

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_documents(self):
        """Test that an e-mail is visible by its record, whichever account sent it; without a record, in its company."""
        theirs = self.env["res.partner"].create({"name": "Of B", "company_id": self.companies[1].id})
        about_theirs, about_shared, about_nothing, gone, ours = (
            self.create_email(account_id=account.id, author_id=False, **about)
            for account, about in (
                (self.account, {"model": "res.partner", "res_id": theirs.id}),
                (self.accounts[1], {"model": "res.partner", "res_id": self.contact.id}),
                (self.accounts[1], {}),
                (self.accounts[1], {"model": "res.partner", "res_id": theirs.id + 1000}),
                (self.account, {}),
            )
        )
        emails = about_theirs | about_shared | about_nothing | gone | ours
        for administrator, seen in (
            (self.administrators[0], about_shared | ours),
            (self.administrators[1], emails),
        ):
            found = self.Email.with_user(administrator).search([("id", "in", emails.ids)])
            self.assertEqual(set(found.ids), set(seen.ids))
            for email in emails - seen:
                with self.assertRaises(AccessError):
                    email.with_user(administrator).read(["subject"])

    @mute_logger("odoo.addons.base.models.ir_rule")
    def test_events_of_no_email(self):
        """Test that events of no e-mail, and the bytes as received, stay in the account's company."""
        batch = self.receive(Relayed(["x@example.org"]).event("open"), account=self.accounts[1])
        event = self.event_of(batch)
        self.assertFalse(event.email_id)
        for administrator, is_seen in zip(self.administrators, (False, True), strict=True):
            for record in (batch, event):
                with self.subTest(record=record, is_seen=is_seen):
                    found = record.with_user(administrator).search([("id", "=", record.id)])
                    self.assertEqual(bool(found), is_seen)
                    if not is_seen:
                        with self.assertRaises(AccessError):
                            record.with_user(administrator).read(["account_id"])
