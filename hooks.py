def uninstall_hook(env):
    """Leave a database that sends as before, and nothing at SendGrid that posts to an address that is gone.

    It never raises, so that nothing prevents the uninstallation. What it could not do is in the log.
    """
    env["sendgrid.account"]._prepare_uninstall()
