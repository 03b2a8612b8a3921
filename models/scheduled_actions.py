"""Holding the addon's scheduled actions while a module is installed, upgraded or uninstalled."""

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

# A scheduled action that runs is waited for during a minute: ten times, because each try begins a transaction that sees
# what has been written meanwhile.
MAX_TRIES = 10
SECONDS_A_TRY = 6


def hold(cr):
    """Wait until none of the addon's scheduled actions runs, and let none begin before the transaction ends.

    :param cr: the cursor. What it has written so far is committed: a transaction cannot lock what others have written
        since it began.
    :return: the ids of the actions, None if one still runs
    """
    for _try in range(MAX_TRIES):
        cr.commit()  # pylint: disable=invalid-commit
        try:
            cr.execute(SQL("SET LOCAL lock_timeout = %s", SECONDS_A_TRY * 1000))
            cr.execute(
                SQL(
                    """SELECT id FROM ir_cron
                        WHERE id IN (SELECT res_id FROM ir_model_data
                                      WHERE module = 'sendgrid_tracking' AND model = 'ir.cron')
                     ORDER BY id
                          FOR UPDATE"""
                ),
                log_exceptions=False,
            )
            ids = [id_ for (id_,) in cr.fetchall()]
            cr.execute(SQL("SET LOCAL lock_timeout = DEFAULT"))
            return ids
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            cr.rollback()
    return None
