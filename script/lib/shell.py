"""`script/shell`"""

import subprocess

from . import demo_database, lock, odoo, ports, postgres


def main(arguments):
    """Odoo's shell on the demo database."""
    with postgres.running():
        try:
            with demo_database.in_use():
                demo_database.ensure(f"http://127.0.0.1:{ports.odoo()}", ports.smtp())
        except lock.Taken:
            pass  # script/server has seen to it
        command = odoo.command("shell", "-d", demo_database.NAME, "--no-http", "--log-level=warn", *arguments)
        return subprocess.run(command, env=odoo.environment(), check=False).returncode
