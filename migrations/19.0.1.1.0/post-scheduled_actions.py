"""Let the scheduled actions call renamed methods by their new names. Core does not update them itself (`noupdate`)."""

from odoo import SUPERUSER_ID, api

# {external id: (model on which the code runs, code)}
SCHEDULED_ACTIONS = {
    "ir_cron_drain": ("sendgrid.drain", "model._cron_drain()"),
    "ir_cron_sync": ("sendgrid.suppression.sync", "model._cron_compare()"),
    "ir_cron_backfill": ("sendgrid.backfill", "model._cron_ask()"),
}


def migrate(cr, version):
    """Replace model and code. Interval, priority and switch stay as the administrator has set them.

    This writes the server action and not its `ir.cron`, because core refuses to write an `ir.cron` that another server
    is running.
    """
    env = api.Environment(cr, SUPERUSER_ID, {})
    for name, (model, code) in SCHEDULED_ACTIONS.items():
        job = env.ref(f"sendgrid_tracking.{name}", raise_if_not_found=False)
        if job:
            job.ir_actions_server_id.with_context(tracking_disable=True).write(
                {"model_id": env["ir.model"]._get_id(model), "code": code}
            )
