from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

MAX_TRIES = 10


def uninstall_hook(env):
    """Leave a database that sends as before, and nothing at SendGrid that posts to an address that is gone.

    It never raises, so that nothing prevents the uninstallation. What it could not do is in the log.
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
            cr.execute(
                SQL(
                    """SELECT FROM ir_cron
                        WHERE id IN (SELECT res_id FROM ir_model_data
                                      WHERE module = 'sendgrid_tracking' AND model = 'ir.cron')
                     ORDER BY id
                          FOR UPDATE"""
                ),
                log_exceptions=False,
            )
            return
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY:
            cr.rollback()
