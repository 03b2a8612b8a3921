"""The demo database: made on first use, updated when the addon's sources or its surroundings changed, else left alone."""

import hashlib

from . import database, lock, paths, stack

NAME = "sendgrid_demo"


def ensure(url, smtp_port):
    """Have it, up to date."""
    addon = database.addon_hash()
    settings = [url, str(smtp_port), stack.public_key(), stack.SETTINGS_SCRIPT.read_text()]
    settings = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:12]
    mark = f"{addon} {settings}"
    if not database.exists(NAME):
        new = NAME + "_new"
        database.drop(new)
        database.odoo_run(new, "-i", paths.ADDON, "--with-demo", title="Installing Odoo with the addon and demo data …")
        stack.configure(new, url, smtp_port)
        database.rename(new, NAME)
    elif database.mark(NAME) != mark:
        if not (database.mark(NAME) or "").startswith(addon):
            database.odoo_run(NAME, "-u", paths.ADDON, title="Updating the addon …")
        stack.configure(NAME, url, smtp_port)
    database.set_mark(NAME, mark)


def in_use():
    """The lock that `script/server` holds while it serves the database."""
    return lock.exclusive("server", wait=False)
