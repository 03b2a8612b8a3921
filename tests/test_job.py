from datetime import timedelta
from unittest.mock import Mock, patch

import psycopg2
from psycopg2.errors import DiskFull, QueryCanceled, SerializationFailure

from odoo.exceptions import UserError
from odoo.tests import tagged
from odoo.tools import SQL, mute_logger

from odoo.addons.base.models.ir_cron import IrCron

from ..models import sendgrid_job_mixin
from ..models.sendgrid_account import SendgridAccount
from ..models.sendgrid_backfill import SendgridBackfill
from ..models.sendgrid_email import SendgridEmail
from ..models.sendgrid_job_mixin import MAX_TRIES
from ..models.sendgrid_retention import SendgridRetention
from ..models.sendgrid_suppression_sync import SendgridSuppressionSync
from ..tools.api.client import ApiError
from .common import SendgridCase

LOGGER = "odoo.addons.sendgrid_tracking.models.sendgrid_job_mixin"
# Errors after which the same work may succeed without anybody's doing.
PASSING = (
    SerializationFailure("concurrent update"),
    DiskFull("no space left on device"),
    psycopg2.OperationalError("server closed the connection unexpectedly"),
    psycopg2.InterfaceError("connection already closed"),
    ApiError("server", 500),
)


@tagged("post_install", "-at_install")
class TestJob(SendgridCase):
    """The idiom of long work, through the scheduled actions that use it."""

    def setUp(self):
        super().setUp()
        self.enterContext(patch.object(sendgrid_job_mixin, "PAUSE", 0))

    def _backfill(self):
        backfill = self.env["sendgrid.backfill"].create({"account_id": self.account.id})
        backfill.state = "running"
        return backfill

    def test_passing(self):
        """Test that nothing that may pass makes a job fail: it is tried again, at the end of its tries later."""
        for error in PASSING:
            with self.subTest(error), mute_logger(LOGGER):
                backfill = self._backfill()
                with patch.object(SendgridBackfill, "_step", side_effect=error) as step:
                    self.run_cron("ir_cron_backfill")
                self.assertEqual(backfill.state, "running")
                is_conflict = isinstance(error, SerializationFailure)
                self.assertEqual(step.call_count, MAX_TRIES if is_conflict else 1)
                backfill.unlink()

    def test_conflicts_that_end(self):
        """Test that a job goes on behind conflicts, whose number counts anew after each piece of work."""
        backfill = self._backfill()
        conflicts = [SerializationFailure("x")] * (MAX_TRIES - 1)
        works = iter([*conflicts, False, *conflicts, False, True])

        def step(job, client):
            if isinstance(work := next(works), Exception):
                raise work
            if work:
                job.state = "done"

        with patch.object(SendgridBackfill, "_step", step):
            self.run_cron("ir_cron_backfill")
        self.assertEqual(backfill.state, "done")
        self.assertIsNone(next(works, None))

    def test_conflict_in_the_commit(self):
        """Test that a conflict that only the commit meets is tried as often as any other, not for ever."""
        backfill = self._backfill()
        commit, commits = IrCron._commit_progress, []

        def conflict(cron, *args, **kwargs):
            # The first commits are those of the job's pieces, the last one is that of its end.
            commits.append(args)
            if len(commits) <= MAX_TRIES:
                raise SerializationFailure("x")
            return commit(cron, *args, **kwargs)

        with (
            patch.object(SendgridBackfill, "_step") as step,
            patch.object(IrCron, "_commit_progress", conflict),
            mute_logger(LOGGER),
        ):
            self.run_cron("ir_cron_backfill")
        self.assertEqual((step.call_count, len(commits)), (MAX_TRIES, MAX_TRIES + 1))
        self.assertEqual(backfill.state, "running")

    def test_living_connection(self):
        """Test that an error of PostgreSQL's that is no conflict fails the job with its reason, and stops no other."""
        first, second = self._backfill(), self._backfill()

        def step(job, client):
            if job == first:
                raise QueryCanceled("canceling statement due to statement timeout")
            job.state = "done"

        with patch.object(SendgridBackfill, "_step", step), mute_logger(LOGGER):
            self.run_cron("ir_cron_backfill")
        self.assertEqual((first.state, second.state), ("failed", "done"))
        self.assertIn("statement timeout", first.error)

    def test_nothing_is_left(self):
        """Test that each scheduled action says that it is done: core runs one that leaves something again at once."""
        self.env["sendgrid.account"].create({"name": "Another"})
        self.contact.email = "ada@example.org"
        email = self.create_email(ago=timedelta(days=4))
        self.receive(self.relay(email).event("deferred", timestamp=self.after(email, 60)))
        self._backfill().state = "draft"
        for name in (
            "ir_cron_drain",
            "ir_cron_expire",
            "ir_cron_forget_previous_keys",
            "ir_cron_check_health",
            "ir_cron_forget",
            "ir_cron_forget_foreign",
            "ir_cron_sync_start",
            "ir_cron_clear",
            "ir_cron_backfill",
        ):
            with self.subTest(name):
                client = Mock(
                    get=Mock(side_effect=ApiError("scope", 403)), call=Mock(side_effect=ApiError("scope", 403))
                )
                with patch.object(type(self.account), "_get_client", return_value=client):
                    self.run_cron(name)
                cron = self.env.ref(f"sendgrid_tracking.{name}")
                runs = self.env["ir.cron.progress"].search([("cron_id", "=", cron.id)])
                self.assertEqual(len(runs), 1, "run once")
                self.assertFalse(runs.remaining)
        self.assertEqual(email.status, "blocked")

    def test_failing(self):
        """Test that a job that fails says why, and stops no other job."""
        for error, words in (
            (UserError("no key"), "no key"),
            (ApiError("scope", 403), "permission"),
            (ZeroDivisionError("division by zero"), "division by zero"),
            (KeyError(), "KeyError"),
        ):
            with self.subTest(words), mute_logger(LOGGER):
                first, second = self._backfill(), self._backfill()

                def step(job, client, first=first, error=error):
                    if job == first:
                        raise error
                    job.state = "done"

                with patch.object(SendgridBackfill, "_step", step):
                    self.run_cron("ir_cron_backfill")
                self.assertEqual((first.state, second.state), ("failed", "done"))
                self.assertIn(words, first.error)
                (first | second).unlink()

    def test_end_that_cannot_be_noted(self):
        """Test that a job whose failure cannot be noted either goes on at the next run."""
        backfill = self._backfill()
        with (
            patch.object(SendgridBackfill, "_step", side_effect=ZeroDivisionError),
            patch.object(SendgridBackfill, "_fail", side_effect=SerializationFailure("x")),
            mute_logger(LOGGER),
        ):
            self.run_cron("ir_cron_backfill")
        self.assertEqual(backfill.state, "running")

    def test_no_scheduled_action_raises(self):
        """Test that no error leaves a scheduled action: core forgets the wake-ups of one that raises."""
        self.env["sendgrid.account"].create(
            {"name": "Changing", "previous_verification_key_end": "2026-01-01 00:00:00"}
        )
        self.env["sendgrid.suppression"].create(
            {
                "account_id": self.account.id,
                "list": "bounces",
                "email": "ada@example.org",
                "created": "2026-01-01 00:00:00",
                "state": "clearing",
            }
        )
        self._backfill()
        self.env["sendgrid.suppression.sync"]._start(self.account)
        for name, target, method in (
            ("ir_cron_expire", SendgridEmail, "_expire"),
            ("ir_cron_sync_start", SendgridSuppressionSync, "_start"),
            ("ir_cron_sync", SendgridSuppressionSync, "_read_pages"),
            ("ir_cron_forget_previous_keys", SendgridAccount, "_forget_previous_key"),
            ("ir_cron_check_health", SendgridAccount, "_check_health"),
            ("ir_cron_clear", SendgridAccount, "_get_client"),
            ("ir_cron_forget", SendgridRetention, "_forget_batches"),
            ("ir_cron_forget_foreign", SendgridRetention, "_forget_foreign"),
            ("ir_cron_backfill", SendgridBackfill, "_step"),
        ):
            for error in (*PASSING, ZeroDivisionError("broken")):
                with (
                    self.subTest(name=name, error=error),
                    patch.object(self.env.registry[target._name], method, side_effect=error) as mocked,
                    mute_logger(LOGGER, "odoo.addons.sendgrid_tracking.models.sendgrid_account_connection"),
                ):
                    # Core's button for a scheduled action raises what the action raises.
                    self.run_cron(name)
                    self.assertTrue(mocked.called)

    def test_what_the_database_refuses(self):
        """Test each scheduled action with a table that the database lets it not write: it logs that, and returns."""
        self.env["ir.config_parameter"].set_param("sendgrid_tracking.api_host", "http://127.0.0.1:9")  # nobody is there
        self.env["sendgrid.account"].create(
            {"name": "Changing", "previous_verification_key_end": "2026-01-01 00:00:00"}
        )
        email = self.create_email(ago=timedelta(days=4))
        self.receive(self.relay(email).event("deferred", timestamp=self.after(email, 60)))
        self.env["sendgrid.retention"].create({"account_id": self.account.id})
        self.env.company.sendgrid_detail_months = 12
        self.age("sendgrid.event", "13 months")
        self._backfill()
        self.store([self.relay(email).event("delivered")])
        for name, table in (
            ("ir_cron_drain", "sendgrid_event_batch"),
            ("ir_cron_expire", "sendgrid_event"),
            ("ir_cron_sync_start", "sendgrid_suppression_sync"),
            ("ir_cron_forget_previous_keys", "sendgrid_account"),
            ("ir_cron_check_health", "sendgrid_account_check"),
            ("ir_cron_forget", "sendgrid_retention"),
            ("ir_cron_backfill", "sendgrid_backfill"),
        ):
            with self.subTest(name), self.assertLogs("odoo.addons.sendgrid_tracking", "ERROR") as logs:
                self.env.flush_all()
                with mute_logger("odoo.sql_db"), self.env.cr.savepoint() as savepoint:
                    self.env.cr.execute(
                        SQL("ALTER TABLE %s ADD CONSTRAINT refused CHECK (FALSE) NOT VALID", SQL.identifier(table))
                    )
                    self.run_cron(name)
                    savepoint.rollback()
            self.assertTrue(any("refused" in line for line in logs.output), logs.output)
            self.assertTrue(self.env.ref(f"sendgrid_tracking.{name}").active)
