import select
from contextlib import contextmanager
from unittest.mock import patch

from odoo.sql_db import db_connect
from odoo.tests import tagged
from odoo.tools import mute_logger

from odoo.addons.base.models.ir_cron import IrCron

from ..models import takeover
from .committed import CommittedCase


@tagged("post_install", "-at_install")
class TestTakeover(CommittedCase):
    """A process that finds the drain at work elsewhere looks again, because nobody tells it when that one dies."""

    def setUp(self):
        super().setUp()
        # As when a server loads the addon: a test runner may have imported it before.
        self.startPatcher(patch.object(IrCron, "_acquire_one_job", staticmethod(takeover.acquire_one_job)))
        self.startPatcher(patch.object(takeover, "LOOK_AGAIN_AFTER", 0.05))
        self.startPatcher(patch.object(takeover, "UP_TO_MORE", 0))
        self.drain = self.env.ref("sendgrid_tracking.ir_cron_drain")

    @contextmanager
    def _running(self, cron):
        """Have another process run a scheduled action."""
        with self.registry.cursor() as cr:
            self.assertTrue(IrCron._acquire_one_job(cr, cron.id, include_not_ready=True))
            yield

    def _look(self, cron):
        """Look for a scheduled action as a process for them does; return what it locked."""
        with self.registry.cursor() as cr:
            return IrCron._acquire_one_job(cr, cron.id)

    def _hear(self, seconds):
        """Return a function that returns the databases whose scheduled actions somebody has asked for meanwhile."""
        hearing = self.enterContext(db_connect("postgres").cursor())
        hearing.execute("LISTEN cron_trigger")
        hearing.commit()

        def hear():
            select.select([hearing._cnx], [], [], seconds)
            hearing._cnx.poll()
            return [notification.payload for notification in hearing._cnx.notifies]

        return hear

    def test_looks_again(self):
        """Test that all processes are woken once more while one of them drains."""
        hear = self._hear(10)
        with self._running(self.drain):
            self.assertNotIn(self.env.cr.dbname, self._hear(0.2)(), "nobody has looked yet")
            self.assertIsNone(self._look(self.drain))
            self.assertIn(self.env.cr.dbname, hear())

    def test_one_timer(self):
        """Test that of several processes one wakes the others: who looks again before that starts his timer anew."""
        self.addCleanup(takeover._timers.clear)
        with patch.object(takeover.threading, "Timer") as timer, self._running(self.drain):
            self._look(self.drain)
            timer.return_value.cancel.assert_not_called()
            self._look(self.drain)
        self.assertEqual(timer.call_count, 2)
        timer.return_value.cancel.assert_called_once()

    def test_broken(self):
        """Test that scheduled actions go on if nobody can be asked to look again."""
        with (
            patch.object(takeover.threading, "Timer", side_effect=RuntimeError("can't start new thread")),
            self._running(self.drain),
            mute_logger(takeover.__name__),
        ):
            self.assertIsNone(self._look(self.drain))

    def test_others(self):
        """Test that it concerns the drain only, and only while it runs."""
        other = self.env.ref("sendgrid_tracking.ir_cron_expire")
        with patch.object(takeover.threading, "Timer") as timer:
            with self._running(other):
                self.assertIsNone(self._look(other))
            with self._running(self.drain), self.registry.cursor() as cr:
                self.assertIsNone(IrCron._acquire_one_job(cr, self.drain.id, include_not_ready=True))
        timer.assert_not_called()
