import logging

from .models import scheduled_actions, takeover

_logger = logging.getLogger(__name__)


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
    if scheduled_actions.hold(cr) is None:
        _logger.warning("SendGrid: a scheduled action still runs, the uninstallation may leave it behind")
