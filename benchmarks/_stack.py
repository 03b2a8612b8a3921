"""A real Odoo server with two processes for HTTP, on a fresh database."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
from psycopg2 import sql

from script.lib import stack as stacks

from . import _odoo, _world
from ._events import Relay

NO_CRON, ONE_CRON = "--max-cron-threads=0", "--max-cron-threads=1"
# The server has one process for scheduled actions, and the drain needs it. On a fresh database all of Odoo's own are
# due at once, and the digest alone works for minutes on so many messages.
ONLY_OURS = """
    UPDATE ir_cron SET active = FALSE
     WHERE id NOT IN (SELECT res_id FROM ir_model_data WHERE model = 'ir.cron' AND module = 'sendgrid_tracking')
"""


@contextlib.contextmanager
def running(*options: str, prepare: Callable[[str], None] | None = None) -> Iterator[stacks.Stack]:
    """Run a stack whose account has the local SendGrid's key.

    :param options: options of Odoo's, such as `NO_CRON`
    :param prepare: a function of the database's name, called before the server starts
    """

    def make_ready(database: str) -> None:
        query(database, ONLY_OURS)
        if prepare:
            prepare(database)

    options = [_odoo.ADDONS_PATH, "--log-level=warn", *options]
    with (
        _odoo.fresh_database(_odoo.FLOOR) as name,
        stacks.on(name, workers=2, options=options, prepare=make_ready) as stack,
    ):
        yield stack


@contextlib.contextmanager
def draining(documents: int) -> Iterator[tuple[stacks.Stack, Relay]]:
    """Run a stack that drains, with this many documents of its account.

    Give it and SendGrid's side of the documents.
    """
    made = {}

    def prepare(name: str) -> None:
        with _odoo.environment(name) as env:
            account = env.ref("sendgrid_tracking.sendgrid_account_demo")
            made["relay"] = _world.prepare(env, account, documents)
            env.cr.commit()

    with running(ONE_CRON, prepare=prepare) as stack:
        yield stack, made["relay"]


def query(name: str, statement: str | sql.Composable, *values: Any) -> list[tuple]:
    """Run one statement in a transaction of its own; return its rows."""
    with contextlib.closing(psycopg2.connect(dbname=name)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
