from psycopg2 import IntegrityError

from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, mute_logger, new_test_user, tagged
from odoo.tools import file_open

from .common import SendgridCase
from .simulator import Signer, to_wire

SECRETS = ("api_key", "webhook_token", "webhook_url", "verification_key", "previous_verification_key")


@tagged("post_install", "-at_install")
class TestAccount(SendgridCase):
    def test_keys_are_normalized(self):
        """Test that keys are stored as SendGrid shows them, however they were pasted, on create and on write."""
        key = Signer().public_key
        pasted = f"-----BEGIN PUBLIC KEY-----\n{key[:64]}\n{key[64:]}\n-----END PUBLIC KEY-----\n"
        account = self.env["sendgrid.account"].create({"name": "New", "verification_key": pasted})
        self.assertEqual(account.verification_key, key)
        account.write({"verification_key": False, "previous_verification_key": f" {key}\n"})
        self.assertEqual((account.verification_key, account.previous_verification_key), (False, key))

    def test_wrong_key(self):
        """Test that a text that is no key is refused, changes nothing, and the message says where to find the key."""
        for name in ("verification_key", "previous_verification_key"):
            for value in ("SG.an-api-key", "MFkw", "no key at all", "é"):
                with self.subTest(name, value=value), self.assertRaisesRegex(ValidationError, "Event Webhook"):
                    self.account.write({name: value})
        self.assertEqual(self.account.verification_key, self.signer.public_key)
        with self.assertRaises(ValidationError):
            self.env["sendgrid.account"].create({"name": "x", "verification_key": "SG.an-api-key"})

    def test_asks_only_where_there_is_something(self):
        """Test that no composer asks of its recipients without an account, and that it asks as soon as there is one."""
        partner = self.contact.with_user(self.salesperson)
        Account = self.env["sendgrid.account"]
        self.env["ir.mail_server"].search([]).sendgrid_account_id = False
        Account.with_context(active_test=False).search([]).unlink()
        self.assertFalse(Account._is_used())
        self.assertFalse(partner.sendgrid_warning)
        partner.invalidate_recordset(["sendgrid_warning"])
        with self.assertQueryCount(0):
            self.assertFalse(partner.sendgrid_warning)
        account = Account.create({"name": "New"})
        self.env["sendgrid.address"].create({"email": "ada@example.org", "bounce_date": "2026-11-01 08:00:00"})
        self.assertTrue(Account._is_used())
        partner.invalidate_recordset(["sendgrid_warning"])
        self.assertIn("ada@example.org bounced", partner.sendgrid_warning)
        account.active = False
        self.assertFalse(Account._is_used(), "nothing is sent through it")
        account.unlink()
        partner.invalidate_recordset(["sendgrid_warning"])
        self.assertIn("ada@example.org bounced", partner.sendgrid_warning, "what was told stays known")

    def test_queries_of_a_composer(self):
        """Test how many queries a composer's form takes more with an account: for one recipient as for twenty."""
        people = self.contact + self.env["res.partner"].create(
            [{"name": f"P{n}", "email": f"p{n}@example.org"} for n in range(19)]
        )

        def count(recipients):
            composer = self.env["mail.compose.message"].with_user(self.salesperson)
            composer = composer.with_context(
                default_model="res.partner", default_res_ids=self.contact.ids, default_partner_ids=recipients.ids
            )
            Form(composer)  # fills the caches that outlive a page
            self.start_afresh()
            before = self.env.cr.sql_log_count
            Form(composer)
            return self.env.cr.sql_log_count - before

        usual = [count(self.contact), count(people)]
        self.env["sendgrid.address"].create({"email": "ada@example.org", "bounce_date": "2026-11-01 08:00:00"})
        bounced = [count(self.contact), count(people)]
        self.env["sendgrid.address"].search([]).unlink()
        self.env["ir.mail_server"].search([]).sendgrid_account_id = False
        self.env["sendgrid.account"].with_context(active_test=False).search([]).unlink()
        cores = count(self.contact)
        self.assertEqual([number - cores for number in usual], [2, 2], "what is wrong with them, who is not measured")
        self.assertEqual([number - cores for number in bounced], [5, 5], "the bounce, and the user's time zone")

    def test_only_a_name_is_needed(self):
        """Test that an account needs only a name, and gets an address that nobody can guess."""
        accounts = self.env["sendgrid.account"].create([{"name": "A"}, {"name": "B"}])
        tokens = accounts.mapped("webhook_token")
        self.assertEqual(len(set(tokens)), 2)
        for token in tokens:
            self.assertRegex(token, r"^[\w-]{40,}$")
        self.assertFalse(accounts.company_id)

    def test_token_is_unique(self):
        """Test that no two accounts share an address."""
        with mute_logger("odoo.sql_db"), self.assertRaises(IntegrityError), self.env.cr.savepoint():
            self.env["sendgrid.account"].create({"name": "B", "webhook_token": self.account.webhook_token})

    def test_copy(self):
        """Test that a copied account has none of the secrets of the first, and an address of its own."""
        copy = self.account.copy()
        self.assertFalse(copy.api_key)
        self.assertFalse(copy.verification_key)
        self.assertNotEqual(copy.webhook_token, self.account.webhook_token)

    def test_secrets(self):
        """Test that nobody but an administrator reads, finds or exports a secret, or reads an account at all."""
        manager = new_test_user(
            self.env,
            "sendgrid_test_manager",
            groups="base.group_user,base.group_erp_manager,sales_team.group_sale_manager",
        )
        for user in (
            self.salesperson,
            manager,
            new_test_user(self.env, "sendgrid_test_portal", groups="base.group_portal"),
        ):
            account = self.account.with_user(user)
            for name in SECRETS:
                with self.subTest(user=user.login, name=name):
                    with self.assertRaises(AccessError):
                        account.read([name])
                    with self.assertRaises(UserError):
                        account.export_data([name])
                    if name != "webhook_url":
                        with self.assertRaises(AccessError):
                            account.search([(name, "=like", "%")])
                    self.assertNotIn(name, self.env["sendgrid.account"].with_user(user).fields_get())
            for operation in (account.unlink, lambda account=account: account.write({"name": "x"})):
                with self.assertRaises(AccessError):
                    operation()
        administrator = new_test_user(self.env, "sendgrid_test_admin", groups="base.group_system")
        [values] = self.account.with_user(administrator).read(SECRETS)
        self.assertEqual((values["api_key"], values["webhook_token"]), ("SG.secret", self.account.webhook_token))

    def test_secrets_are_not_tracked(self):
        """Test that a change of a secret leaves nothing of it in the account's chatter."""
        account = self.env["sendgrid.account"].with_context(tracking_disable=False).create({"name": "New"})
        account.write({"api_key": "SG.other-secret", "verification_key": Signer().public_key})
        account.action_new_webhook_token()
        self.env.flush_all()
        said = str(account.message_ids.mapped("body")) + str(
            account.message_ids.sudo().tracking_value_ids.mapped(lambda v: (v.new_value_char, v.old_value_char))
        )
        for secret in (account.api_key, account.verification_key, account.webhook_token):
            self.assertNotIn(secret, said)

    def test_host(self):
        """Test that a mail server of SendGrid's is recognized by its host, and others are left alone."""
        for host, suggested in (
            ("smtp.sendgrid.net", True),
            (" SMTP.SendGrid.net ", True),
            ("smtp.eu.sendgrid.net", True),
            ("smtp.example.com", False),
            ("smtp.sendgrid.net.example.com", False),
        ):
            with self.subTest(host):
                form = Form(self.env["ir.mail_server"])
                form.smtp_host = host
                self.assertEqual(bool(form.sendgrid_account_id), suggested)

    def test_host_keeps_the_account(self):
        """Test that an account that a person chose is not replaced."""
        other = self.env["sendgrid.account"].create({"name": "Zzz"})
        form = Form(self.server)
        form.sendgrid_account_id = other
        form.smtp_host = "smtp.eu.sendgrid.net"
        self.assertEqual(form.sendgrid_account_id, other)


@tagged("post_install", "-at_install")
class TestNeutralize(SendgridCase):
    def test_neutralize(self):
        """Test that a neutralized copy of a database sends nothing, calls nobody, accepts no events and has no keys."""
        key = Signer().public_key
        other = self.env["sendgrid.account"].create(
            {
                "name": "Other",
                "api_key": "SG.other",
                "webhook_id": "5f0c9a1e",
                "webhook_created": True,
                "connection_date": "2026-11-24 06:00:00",
                "previous_webhook_id": "8a1b2c3d",
                "previous_webhook_token": "the-token-before",
                "previous_verification_key": key,
                "previous_verification_key_end": "2026-11-25 06:00:00",
            }
        )
        accounts = self.account | other
        tokens = [*accounts.mapped("webhook_token"), "the-token-before"]
        api_server = self.env["ir.mail_server"].create(
            {"name": "API", "smtp_authentication": "sendgrid_api", "sendgrid_account_id": other.id}
        )
        servers = self.server | api_server
        self.server.smtp_pass = "SG.secret"
        dialog = self.env["sendgrid.account.connect"].create({"api_key": "SG.entered"})
        body = to_wire([])
        signed = self.signer.sign(body).values()
        self.assertTrue(self.account._verify_webhook(*list(signed)[:2], body))

        self.env.flush_all()
        for module in ("base", "sendgrid_tracking"):
            with file_open(f"{module}/data/neutralize.sql") as script:
                self.env.cr.execute(script.read())
        self.env.invalidate_all()
        self.env.registry.clear_cache()  # another process serves the copy

        for account in accounts:
            self.assertFalse(account.api_key)
            self.assertFalse(account.verification_key)
            self.assertFalse(account.previous_verification_key)
            self.assertNotIn(account.webhook_token, tokens)
            self.assertFalse(account.webhook_id or account.webhook_created or account.previous_webhook_id)
            self.assertEqual(account.connection_state, "none")
            for call in (
                account._get_client,
                account.action_read_tracking_settings,
                account.action_switch_open_tracking,
            ):
                with self.assertRaisesRegex(UserError, "no API key"):
                    call()
        self.run_cron("ir_cron_forget_previous_keys")
        self.assertFalse(dialog.api_key)
        self.assertFalse(servers.filtered(lambda server: server.active or server.smtp_pass))
        self.assertEqual(len(set(accounts.mapped("webhook_token"))), 2)
        for token in tokens:
            self.assertFalse(self.env["sendgrid.account"]._get_by_webhook_token(token), "is answered 404")
        found = self.env["sendgrid.account"]._get_by_webhook_token(self.account.webhook_token)
        self.assertEqual(found, self.account)
        self.assertFalse(found._verify_webhook(*list(signed)[:2], body), "is answered 403")
        self.assertFalse(self.env["ir.mail_server"].search([("sendgrid_account_id", "!=", False)]))
        self.assertFalse(self.env.ref("sendgrid_tracking.ir_cron_drain").active, "core switches the crons off")
