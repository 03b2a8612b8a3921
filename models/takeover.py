"""A server that dies leaves the drain to the other servers within seconds."""

import logging
import random
import threading

from odoo.sql_db import db_connect
from odoo.tools import SQL

from odoo.addons.base.models.ir_cron import ODOO_NOTIFY_FUNCTION, IrCron

_logger = logging.getLogger(__name__)

LOOK_AGAIN_AFTER = 5.0  # seconds
UP_TO_MORE = 1.0  # seconds, so that not all processes look at the same moment

_timers = {}  # {database: the timer after which this process has all of them look again}
_lock = threading.Lock()
_acquire_one_job = IrCron._acquire_one_job


def install():
    """Have scheduled actions look again soon if another process runs the drain.

    All processes for scheduled actions, of all servers, are woken when events come in, and find that one of them drains
    already. If that one is killed later, nobody wakes the others, and core looks by itself only once a minute.

    Core locks scheduled actions by its own class, before it loads a database's registry. So no model can extend this.
    """
    IrCron._acquire_one_job = staticmethod(acquire_one_job)


def acquire_one_job(cr, job_id, *args, **kwargs):
    """Lock a scheduled action as core does; the parameters and the result are core's."""
    job = _acquire_one_job(cr, job_id, *args, **kwargs)
    if job is None and not kwargs.get("include_not_ready"):
        try:
            if _is_drain(cr, job_id):
                _look_again(cr.dbname)
        except Exception:
            # The other scheduled actions, also those of databases without the addon, must not stop for this.
            _logger.exception("SendGrid events: nobody will look soon whether the drain has died")
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
    """Start the timer of a database, or start it anew: who has just looked need not look before.

    So of all processes only the one whose timer ends first wakes the others, who then start theirs anew.
    """
    timer = threading.Timer(LOOK_AGAIN_AFTER + random.uniform(0, UP_TO_MORE), _wake, [dbname])
    timer.daemon = True
    with _lock:
        if dbname in _timers:
            _timers[dbname].cancel()
        _timers[dbname] = timer
        timer.start()


def _wake(dbname):
    """Wake the processes for scheduled actions, as an event that comes in does."""
    with _lock:
        _timers.pop(dbname, None)
    try:
        with db_connect("postgres").cursor() as cr:
            cr.execute(SQL("SELECT %s('cron_trigger', %s)", SQL.identifier(ODOO_NOTIFY_FUNCTION), dbname))
    except Exception:
        # Without PostgreSQL nobody drains. Once it is back, core looks within a minute.
        _logger.warning("SendGrid events: nobody could be woken to take over the drain", exc_info=True)
