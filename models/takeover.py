"""A server that dies leaves the drain to the other servers within seconds."""

import logging
import threading

from odoo.sql_db import db_connect
from odoo.tools import SQL

from odoo.addons.base.models.ir_cron import ODOO_NOTIFY_FUNCTION, IrCron

_logger = logging.getLogger(__name__)

LOOK_AGAIN_AFTER = 5.0  # seconds

_waiting = set()  # databases for which a timer runs
_lock = threading.Lock()
_acquire_one_job = IrCron._acquire_one_job


def acquire_one_job(cr, job_id, *, include_not_ready=False):
    """Lock a scheduled action as core does. If another process runs the drain, look again soon.

    All processes for scheduled actions, of all servers, are woken when events come in, and find that one of them drains
    already. If that one is killed later, nobody wakes the others, and core looks by itself only once a minute.
    """
    job = _acquire_one_job(cr, job_id, include_not_ready=include_not_ready)
    if job is None and not include_not_ready and _is_drain(cr, job_id):
        _look_again(cr.dbname)
    return job


def _is_drain(cr, cron_id):
    cr.execute(
        SQL(
            """SELECT FROM ir_model_data
                WHERE module = 'sendgrid_tracking' AND name = 'ir_cron_drain' AND model = 'ir.cron' AND res_id = %s""",
            cron_id,
        )
    )
    return bool(cr.rowcount)


def _look_again(dbname):
    with _lock:
        if dbname in _waiting:
            return
        _waiting.add(dbname)
    timer = threading.Timer(LOOK_AGAIN_AFTER, _wake, [dbname])
    timer.daemon = True
    timer.start()


def _wake(dbname):
    """Wake the processes for scheduled actions, as an event that comes in does."""
    with _lock:
        _waiting.discard(dbname)
    try:
        with db_connect("postgres").cursor() as cr:
            cr.execute(SQL("SELECT %s('cron_trigger', %s)", SQL.identifier(ODOO_NOTIFY_FUNCTION), dbname))
    except Exception:
        # Without PostgreSQL nobody drains. Once it is back, core looks within a minute.
        _logger.warning("SendGrid events: nobody could be woken to take over the drain", exc_info=True)


# A model cannot extend this: core calls it by its own class, before it loads the database's registry.
IrCron._acquire_one_job = staticmethod(acquire_one_job)
