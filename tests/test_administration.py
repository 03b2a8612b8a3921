from ast import literal_eval
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import UserError
from odoo.tests import Form, new_test_user, tagged

from ..models import sendgrid_job_mixin
from .common import SendgridCase
from .simulator import Relayed, Signer
from .test_suppression import AgreementCase


@tagged("post_install", "-at_install")
class TestSetAside(SendgridCase):
    """A batch about which nothing can be done is set aside, and its account is well again."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.administrator = new_test_user(cls.env, "aside_admin", groups="base.group_user,base.group_system")

    def _as_administrator(self, batch):
        return batch.with_user(self.administrator)

    def _batch_check(self):
        return self.account.check_ids.filtered(lambda check: check.subject == "batches")

    def _fail(self):
        batch = self.store(b"no JSON")
        self.drain()
        self.account._check_health()
        self.assertEqual((batch.state, self._batch_check().state), ("failed", "problem"))
        return batch

    def test_set_aside(self):
        """Test that the batch says by whom and when, the account is well at once, and its chatter tells it for good."""
        batch = self._fail()
        self.assertTrue(self.account.activity_ids)
        self._as_administrator(batch).action_set_aside()
        self.assertEqual((batch.state, batch.set_aside_uid), ("set_aside", self.administrator))
        self.assertLess(fields.Datetime.now() - batch.set_aside_date, timedelta(minutes=1))
        self.assertTrue(batch.error, "why it failed is still told")
        self.assertEqual(self._batch_check().state, "ok")
        self.assertFalse(self.account.activity_ids)
        self.assertEqual(self.account.failed_batch_count, 0)
        note = self.account.message_ids[0]
        self.assertEqual(note.author_id, self.administrator.partner_id)
        self.assertIn("Set aside", note.body)
        self.assertIn(batch.display_name, note.body)

    def test_take_back(self):
        batch = self._fail()
        self._as_administrator(batch).action_set_aside()
        self._as_administrator(batch).action_take_back()
        self.assertRecordValues(batch, [{"state": "failed", "set_aside_uid": False, "set_aside_date": False}])
        self.assertEqual(self._batch_check().state, "problem")
        self.assertIn("No longer set aside", self.account.message_ids[0].body)

    def test_process_again(self):
        """Test that what was set aside can be processed again, and then has its place among the others."""
        batch = self._fail()
        self._as_administrator(batch).action_set_aside()
        self._as_administrator(batch).action_process_again()
        self.assertRecordValues(batch, [{"state": "pending", "set_aside_uid": False, "set_aside_date": False}])
        self.drain()
        self.assertEqual(batch.state, "failed")

    def test_many(self):
        """Test that of many batches only the failed ones are set aside, and one line of the chatter tells of all."""
        failed = self._fail() + self.store(b"[") + self.store(b"{}")
        done = self.store([Relayed(["x@example.org"]).event("open")])
        self.drain()
        waiting = self.store([Relayed(["x@example.org"]).event("click")])
        before = self.account.message_ids
        self._as_administrator(failed + done + waiting).action_set_aside()
        self.assertEqual(set(failed.mapped("state")), {"set_aside"})
        self.assertEqual((done.state, waiting.state), ("done", "pending"))
        self.assertEqual(len(self.account.message_ids - before), 1)
        self._as_administrator(done).action_take_back()
        self.assertEqual(done.state, "done")

    def test_kept(self):
        """Test that it is kept as long as a failed one, so that somebody can still change his mind."""
        batch = self._fail()
        self._as_administrator(batch).action_set_aside()
        for days, remains in ((29, True), (2, False)):
            self.age("sendgrid.event.batch", timedelta(days=days))
            self.run_cron("ir_cron_forget")
            self.assertEqual(bool(batch.exists()), remains)


@tagged("post_install", "-at_install")
class TestChanges(SendgridCase):
    """Every change of an account's keys and switches stands in its chatter, with the one who made it."""

    def _change(self, **values):
        user = new_test_user(self.env, f"changes_{next(iter(values))}", groups="base.group_user,base.group_system")
        self.cr.flush()  # core tells no changes of a record that the same transaction made
        before = self.account.message_ids
        self.account.with_user(user).with_context(tracking_disable=False).write(values)
        self.cr.flush()
        self.env.invalidate_all()
        notes = self.account.message_ids - before
        self.assertEqual(notes.author_id, user.partner_id)
        return notes

    def test_secrets(self):
        """Test that of a secret only its change is told, never a value, be it new or old."""
        for name, words, old, new in (
            ("api_key", "The API key was replaced by another.", "SG.old", "SG.new"),
            (
                "verification_key",
                "The verification key was replaced by another.",
                Signer().public_key,
                Signer().public_key,
            ),
            (
                "previous_verification_key",
                "A previous verification key is accepted as well.",
                Signer().public_key,
                Signer().public_key,
            ),
            ("webhook_token", "The webhook got another secret address.", "old-token", "new-token"),
        ):
            with self.subTest(name):
                self.account[name] = old
                [note] = self._change(**{name: new})
                self.assertIn(words, note.body)
                everything = f"{note.body} {note.tracking_value_ids.mapped('new_value_char')}"
                self.assertNotIn(new, everything)
                self.assertNotIn(old, everything)

    def test_removed(self):
        self.account.api_key = "SG.x"
        self.account.api_key = False
        self.assertIn("The API key was removed.", self.account.message_ids[0].body)

    def test_no_change(self):
        """Test that entering the same again tells nothing."""
        self.account.api_key = "SG.same"
        before = self.account.message_ids
        self.account.write({"api_key": "SG.same"})
        self.assertEqual(self.account.message_ids, before)

    def test_switches(self):
        """Test that each switch says what it was and what it is."""
        for values in (
            {"act_on_events": False},
            {"keep_foreign_events": True},
            {"group_unsubscribe_action": "blacklist"},
            {"open_tracking": True},
            {"click_tracking": True},
            {"region": "eu"},
            {"signature_max_age": 5},
            {"company_id": self.env.company.id},
            {"name": "Another name"},
        ):
            with self.subTest(values):
                [note] = self._change(**values)
                self.assertEqual(note.tracking_value_ids.field_id.mapped("name"), list(values))


@tagged("post_install", "-at_install")
class TestFigures(AgreementCase):
    """What an administrator reads on the pages of an account adds up, and says what goes on."""

    def test_sendgrids_own_test(self):
        """Test that SendGrid's test is no unmatched event: nothing is amber after a perfect connect."""
        test = Relayed(["example@test.com"])
        batch = self.receive(*(test.event(name) for name in ("processed", "delivered", "open")))
        self.assertBatch(batch, state="done", event_count=3, unmatched_count=0)
        self.assertEqual(set(batch.event_ids.mapped("match")), {"test"})
        self.assertEqual((self.account.event_count, self.account.unmatched_count), (3, 0))
        unmatched = self.env.ref("sendgrid_tracking.sendgrid_event_action_unmatched")
        self.assertFalse(self.Event.search([*literal_eval(unmatched.domain), ("batch_id", "=", batch.id)]))

    def test_sum(self):
        """Test that the parts of what was new are as many as what was new."""
        self.env["res.partner"].create({"name": "Bounced", "email": "bounced@example.com"})
        self.Blacklist._add(["known@example.com"])
        self.enlist("bounces", "bounced@example.com", "stranger@example.com")
        self.enlist("blocks", "blocked@example.com")
        self.enlist("unsubscribes", "known@example.com")
        self.enlist("groups", "group@example.com", group_id=1042)
        sync = self.sync()
        self.assertEqual(sync.new_count, 5)
        parts = ("acted_count", "known_count", "kept_count", "idle_count", "failed_count")
        self.assertEqual(sum(sync[name] for name in parts), 5, {name: sync[name] for name in parts})
        self.assertGreaterEqual(sync.acted_count, 1)
        self.assertGreaterEqual(sync.idle_count, 1)

    def test_waits(self):
        """Test that a comparison that waits for SendGrid says until when, while it waits."""
        self.enlist("bounces", "ada@example.org")
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/suppression/bounces", "status": 429, "reset": 8})
        seen = []

        def look(seconds):
            self.assertGreater(seconds, 0)
            sync = self.Sync.search([("state", "=", "running")])
            seen.append((sync.waits_until - fields.Datetime.now()).total_seconds())

        with patch.object(sendgrid_job_mixin.time, "sleep", look):
            sync = self.sync()
        self.assertTrue(seen and all(0 < left <= 9 for left in seen), seen)
        self.assertEqual((sync.state, sync.waits_until), ("done", False))

    def test_is_put_off(self):
        """Test that one that SendGrid puts off for long says until when."""
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/suppression/bounces", "status": 429, "reset": 3600})
        sync = self.sync()
        self.assertIn("too many calls", sync.error)
        left = (sync.waits_until - fields.Datetime.now()).total_seconds()
        self.assertTrue(3500 < left <= 3610, left)

    def test_backfill_waits(self):
        """Test that a search for missed events says so as well."""
        self.sandbox("POST", "/sandbox/faults", {"path": "/v3/logs", "status": 429, "reset": 3600})
        backfill = self.env["sendgrid.backfill"].create({"account_id": self.account.id})
        backfill.action_start()
        self.run_cron("ir_cron_backfill")
        self.assertEqual(backfill.state, "running")
        self.assertTrue(backfill.waits_until)


@tagged("post_install", "-at_install")
class TestClearDialog(AgreementCase):
    def test_nothing_ticked(self):
        """Test that the dialog does not pretend to ask SendGrid if nothing is ticked, and asks nothing."""
        self.enlist("spam_reports", "ada@example.org")
        self.sync()
        action = self.env["sendgrid.suppression.clear"]._get_action("ada@example.org")
        wizard = Form(self.env[action["res_model"]].with_context(**action["context"])).save()
        self.assertEqual(wizard.line_ids.mapped("is_chosen"), [False])
        self.sandbox("DELETE", "/sandbox/calls")
        with self.assertRaisesRegex(UserError, "Nothing is ticked"):
            wizard.action_clear()
        self.run_cron("ir_cron_clear")
        self.assertFalse(self.sandbox("GET", "/sandbox/calls"))
        self.assertEqual(self.entry("spam_reports", "ada@example.org").state, "listed")
