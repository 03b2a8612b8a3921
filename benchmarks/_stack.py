"""A real Odoo server with two processes for HTTP, on a fresh database."""

import contextlib

import psycopg2

from script.lib import paths, process
from script.lib import stack as stacks

from . import _odoo

NO_CRON, ONE_CRON = "--max-cron-threads=0", "--max-cron-threads=1"
# The one process for scheduled actions is the drain's: on a fresh database Odoo's own are all due at once, and its
# digest alone works for minutes on so many messages.
ONLY_OURS = """
    UPDATE ir_cron SET active = FALSE
     WHERE id NOT IN (SELECT res_id FROM ir_model_data WHERE model = 'ir.cron' AND module = 'sendgrid_tracking')
"""


@contextlib.contextmanager
def running(*options, modules=(_odoo.FLOOR,), prepare=None):
    """A running stack whose account's key is the local SendGrid's.

    :param options: Odoo's, such as `NO_CRON`
    :param prepare: called with the database's name before the server starts
    """
    with _odoo.fresh_database(*modules) as name:
        logs = paths.LOG / name
        logs.mkdir(exist_ok=True)
        ports = [process.free_port() for _ in range(3)]
        stacks.configure(name, *ports)
        query(name, ONLY_OURS)
        if prepare:
            prepare(name)
        options = [_odoo.ADDONS_PATH, "--log-level=warn", *options]
        with stacks.Stack(name, ports, logs, workers=2, options=options) as stack:
            yield stack
            stack.odoo.kill()


def query(name, statement, *values):
    """Run one statement in a transaction of its own; return its rows."""
    with contextlib.closing(psycopg2.connect(dbname=name)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []
