import contextlib
import json
import threading
import time
from contextlib import contextmanager

import psycopg2

from odoo import SUPERUSER_ID, api
from odoo.modules.registry import Registry
from odoo.sql_db import connection_info_for
from odoo.tests import BaseCase
from odoo.tests.common import get_db_name
from odoo.tools import SQL, mute_logger

from .common import SendgridMixin
from .simulator import Signer

PATIENCE = 20  # seconds
# Tables whose new rows are deleted after a test, whoever has made them.
NEVER_MISSED = ("bus_bus", "ir_cron_progress", "ir_cron_trigger", "sendgrid_retention")


class Rival(threading.Thread):
    """Somebody else's transaction: it writes a row, and commits as soon as another transaction waits for the row.

    PostgreSQL then refuses the write of the one that waited, because it began on the state of before.
    """

    def __init__(self, registry, statement, times, look=lambda cr: None):
        """:param statement: `odoo.tools.SQL` that writes the row
        :param times: how many transactions write it, one after the other; None for as many as needed until `stop`
        :param look: called with a cursor of its own when somebody waits; what it returns is kept in ``seen``
        """
        super().__init__()
        self.registry = registry
        self.statement = statement
        self.times = times
        self.look = look
        self.seen = []
        self._is_writing = threading.Event()
        self._is_stopped = threading.Event()

    def run(self):
        try:
            while not self._is_stopped.is_set() and (self.times is None or len(self.seen) < self.times):
                with self.registry.cursor() as cr:
                    cr.execute(self.statement)
                    self._is_writing.set()
                    if not self._is_waited_for(cr):
                        return
                    with self.registry.cursor() as other:
                        self.seen.append(self.look(other))
                    self._is_writing.clear()
        finally:
            self._is_writing.set()

    def _is_waited_for(self, cr):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and not self._is_stopped.is_set():
            cr.execute(
                """SELECT pg_stat_clear_snapshot(),
                          EXISTS (SELECT FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid)))"""
            )
            if cr.fetchone()[1]:
                return True
            time.sleep(0.005)
        return False

    def wait(self):
        """Wait until the row is written and not yet committed, or until no more is to come."""
        assert self._is_writing.wait(PATIENCE)

    def before(self, method):
        """Return a function that does the same as ``method``, but not before the rival writes again."""

        def wait_and_call(*args, **kwargs):
            self.wait()
            return method(*args, **kwargs)

        return wait_and_call

    def stop(self):
        """End it. It never waits longer than `PATIENCE`."""
        self._is_stopped.set()
        self.join()


class CommittedCase(SendgridMixin, BaseCase):
    """Tests whose transactions are real: they are committed, other connections see them, and they can conflict.

    What a test has made is deleted after it. A table that has more rows or fewer then fails the test.
    """

    @classmethod
    def setUpClass(cls):
        # Leave out the class of `SendgridMixin`, which prepares its records in one transaction of all tests.
        super(SendgridMixin, cls).setUpClass()
        cls.registry = Registry(get_db_name())

    def setUp(self):
        super().setUp()
        cursor = self.enterContext(self.registry.cursor())
        self.env = api.Environment(cursor, SUPERUSER_ID, {"tracking_disable": True})
        self.addCleanup(self._check_rows, self._count_rows())
        self._last_ids = {table: self._get_last_id(table) for table in NEVER_MISSED}
        self.signer = Signer()
        self.account = self.env["sendgrid.account"].create(
            {"name": "Committed", "verification_key": self.signer.public_key, "api_key": "SG.secret"}
        )
        self.salesperson = self.env.user
        self.contacts = self.env["res.partner"]
        for name in ("Email", "Event", "Batch", "Drain", "Match"):
            model = {"Email": "email", "Event": "event", "Batch": "event.batch", "Drain": "drain", "Match": "match"}
            setattr(self, name, self.env[f"sendgrid.{model[name]}"])
        self.addCleanup(self._delete)
        self.commit()

    def create_contact(self, address, **values):
        contact = self.env["res.partner"].create({"name": address, "email": address, **values})
        self.contacts |= contact
        return contact

    def commit(self):
        """Commit what the test has written so far, and see from now on what others have committed."""
        self.env.flush_all()
        self.env["ir.cron"]._commit_progress()  # outside of a scheduled action it only commits
        self.env.invalidate_all()

    def run_cron(self, name):
        """Run a scheduled action to its end, as the button *Run Manually* does."""
        self.commit()
        self.env.ref(f"sendgrid_tracking.{name}").method_direct_trigger()
        self.commit()

    @contextmanager
    def listening(self):
        """Listen as Odoo's server of live updates does, until the end of the ``with`` statement.

        :return: a list that is filled at the end with what was told: (channel, kind, payload), and a channel is the
            model and the id of the record to whose pages it goes
        """
        _database, parameters = connection_info_for("postgres")
        told, last_id = [], self._get_last_id("bus_bus")
        with contextlib.closing(psycopg2.connect(**parameters)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("LISTEN imbus")
            yield told
            connection.poll()
            called = {tuple(channel) for notify in connection.notifies for channel in json.loads(notify.payload)}
        self.commit()
        # The server reads the rows of the channels by which it was called, and of no others.
        rows = self.env.execute_query(SQL("SELECT channel, message FROM bus_bus WHERE id > %s ORDER BY id", last_id))
        for channel, message in ((tuple(json.loads(channel)), json.loads(message)) for channel, message in rows):
            if channel in called:
                told.append((channel[1:], message["type"], message["payload"]))

    @contextmanager
    def rival(self, record, column, value, times=1, look=lambda cr: None):
        """Have somebody else write a value to a record, see `Rival`."""
        statement = SQL(
            "UPDATE %s SET %s = %s WHERE id = %s",
            SQL.identifier(record._table),
            SQL.identifier(column),
            value,
            record.id,
        )
        self.commit()
        rival = Rival(self.registry, statement, times, look)
        rival.start()
        try:
            rival.wait()
            with mute_logger("odoo.sql_db"):
                yield rival
        finally:
            rival.stop()
            self.commit()

    # ------------------------------------------------------------
    # LEAVE NOTHING BEHIND
    # ------------------------------------------------------------

    def _delete(self):
        self.env.cr.rollback()
        self.env.invalidate_all()
        addresses = [*self.contacts.mapped("email_normalized"), *self._own("sendgrid.email").mapped("recipient")]
        for model in ("sendgrid.event", "sendgrid.email", "sendgrid.event.batch"):
            self._own(model).unlink()
        self.account.unlink()
        blacklist = self.env["mail.blacklist"].with_context(active_test=False)
        blacklist.search([("email", "in", addresses)]).unlink()
        # Deleting the entries above counts as a decision about the addresses.
        self.env["sendgrid.address"].search([("email", "in", addresses)]).unlink()
        self.contacts.activity_ids.unlink()
        self.contacts.unlink()
        self.env.flush_all()
        # What would still be told about the deleted records.
        self.env.cr.precommit.clear()
        self.env.cr.postcommit.clear()
        for table, last_id in self._last_ids.items():
            self.env.cr.execute(SQL("DELETE FROM %s WHERE id > %s", SQL.identifier(table), last_id))
        self.env["ir.cron"]._commit_progress()  # outside of a scheduled action it only commits

    def _own(self, model):
        return self.env[model].search([("account_id", "=", self.account.id)])

    def _get_last_id(self, table):
        return self.env.execute_query(SQL("SELECT COALESCE(max(id), 0) FROM %s", SQL.identifier(table)))[0][0]

    def _count_rows(self):
        tables = self.env.execute_query(
            SQL(
                """SELECT tablename FROM pg_tables
                    WHERE schemaname = current_schema AND tablename NOT LIKE 'orm_signaling_%%'"""
            )
        )
        counts = SQL(" UNION ALL ").join(
            SQL("SELECT %s, count(*) FROM %s", table, SQL.identifier(table)) for (table,) in tables
        )
        return dict(self.env.execute_query(counts))

    def _check_rows(self, before):
        after = self._count_rows()
        different = {table: (before.get(table), after.get(table)) for table in before.keys() | after.keys()}
        self.assertFalse({table: counts for table, counts in different.items() if len(set(counts)) > 1})
