"""Have the scheduled actions call what they called by its present name: core leaves them alone (`noupdate`)."""

from odoo import SUPERUSER_ID, api

# External id: the model that the code is of, and the code.
SCHEDULED_ACTIONS = {
    "ir_cron_drain": ("sendgrid.drain", "model._cron_drain()"),
    "ir_cron_sync": ("sendgrid.suppression.sync", "model._cron_compare()"),
    "ir_cron_backfill": ("sendgrid.backfill", "model._cron_ask()"),
}


def migrate(cr, version):
    """Rename what is called; interval, priority and switch stay as the administrator has set them.

    The server action is written, not the `ir.cron` above it: core refuses to write one that another server runs now.
    """
    env = api.Environment(cr, SUPERUSER_ID, {})
    for name, (model, code) in SCHEDULED_ACTIONS.items():
        job = env.ref(f"sendgrid_tracking.{name}", raise_if_not_found=False)
        if job:
            job.ir_actions_server_id.with_context(tracking_disable=True).write(
                {"model_id": env["ir.model"]._get_id(model), "code": code}
            )
