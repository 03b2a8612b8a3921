"""The demo database: made on first use, updated when the addon or its surroundings change."""

import hashlib
from contextlib import AbstractContextManager

from . import database, lock, paths, ports, stack

NAME = "sendgrid_demo"


def ensure() -> None:
    """Make or update the demo database if needed. The caller holds the lock `in_use`."""
    numbers = [ports.number(port) for port in (ports.ODOO, ports.SMTP, ports.INBOX)]
    surroundings = "\n".join([*map(str, numbers), stack.public_key(), stack.SETTINGS.read_text()])
    addon, settings = database.addon_hash(), hashlib.sha256(surroundings.encode()).hexdigest()[:12]
    mark = f"{addon} {settings}"
    if not database.exists(NAME):
        new = f"{NAME}_new"
        database.drop(new)
        database.run_odoo(new, "Installing Odoo with demo data …", "-i", paths.ADDON, "--with-demo", log="demo.log")
        database.rename(new, NAME)
    elif not str(database.mark(NAME)).startswith(addon):
        database.run_odoo(NAME, "Updating the addon …", "-u", paths.ADDON, log="demo.log")
    if database.mark(NAME) != mark:
        # Only now, because the account notes the name of the database that it is connected from.
        stack.configure(NAME, *numbers)
        database.set_mark(NAME, mark)


def in_use() -> AbstractContextManager[None]:
    """Return the lock that a run holds while it serves or changes the database."""
    return lock.exclusive("demo", wait=False)
