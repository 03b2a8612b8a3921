"""The command `script/shell`."""

import contextlib

from . import demo_database, lock, odoo, postgres, process


def main(arguments: list[str]) -> int:
    """Run Odoo's shell on the demo database."""
    with postgres.running():
        # if taken, script/server has updated the database already
        with contextlib.suppress(lock.Taken), demo_database.in_use():
            demo_database.ensure()
        command = odoo.command("shell", f"--database={demo_database.NAME}", "--no-http", "--log-level=warn", *arguments)
        return process.foreground(command, env=odoo.environment())
