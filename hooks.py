import logging

from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from .models import takeover
from .models.sendgrid_drain import LOCK_ACTIONS

_logger = logging.getLogger(__name__)

# A scheduled action that runs is waited for during a minute: ten times, because each try begins a transaction that sees
# what has been written meanwhile.
MAX_TRIES = 10
SECONDS_A_TRY = 6


def post_load():
    """Change what no model can extend, when a server loads the addon."""
    takeover.install()


def uninstall_hook(env):
    """Leave a database that sends as before, and nothing at SendGrid that posts to an address that is gone.

    Nothing that SendGrid or a scheduled action does prevents the uninstallation. What could not be done is in the log.
    """
    hold_scheduled_actions(env.cr)
    env["sendgrid.account"]._prepare_uninstall()


def hold_scheduled_actions(cr):
    """Wait until none of the addon's scheduled actions runs, and let none begin before core has deleted them.

    Core looks for running ones before it begins only. One that ran since then, because SendGrid reported something,
    would keep core from deleting it: it would stay behind, with its model, and fail for ever.
    """
    for _try in range(MAX_TRIES):
        # This transaction cannot lock what others have written since it began, so a new one has to begin.
        cr.commit()  # pylint: disable=invalid-commit
        try:
            cr.execute(SQL("SET LOCAL lock_timeout = %s", SECONDS_A_TRY * 1000))
            cr.execute(LOCK_ACTIONS, log_exceptions=False)
            cr.execute(SQL("SET LOCAL lock_timeout = DEFAULT"))
            return
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            cr.rollback()
    _logger.warning("SendGrid: a scheduled action still runs, the uninstallation may leave it behind")
