"""`script/shell`"""

import contextlib

from . import demo_database, lock, odoo, postgres, process


def main(arguments):
    """Odoo's shell on the demo database."""
    with postgres.running():
        with contextlib.suppress(lock.Taken), demo_database.in_use():  # taken: script/server has brought it up to date
            demo_database.ensure()
        command = odoo.command("shell", f"--database={demo_database.NAME}", "--no-http", "--log-level=warn", *arguments)
        return process.foreground(command, env=odoo.environment())
