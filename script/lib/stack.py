"""An Odoo server and a local SendGrid that talk to each other, each in a process of its own.

`script/server` runs one on the demo database. A test makes one on a database of its own:

    with stack.for_tests() as running:
        running.odoo.url, running.odoo.database, running.sandbox.url, running.sandbox.smtp_port
        running.odoo.kill(), .stop(), .start(), .restart(), .errors(), .log
"""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg2

from . import database, lock, odoo, paths, process

API_KEY = "SG.sandbox"
ACCOUNT = ("sendgrid_tracking", "sendgrid_account_demo")  # the XML id of the account for the local SendGrid
SETTINGS = paths.ROOT / "script" / "demo.py"


class Sandbox(process.Server):
    """The local SendGrid: an SMTP relay, the API, and the inbox page."""

    def __init__(self, smtp_port: int, http_port: int, log: Path, webhook_url: str, options: Iterable[str] = ()):
        self.smtp_port = smtp_port
        self.url = f"http://127.0.0.1:{http_port}"
        command = [paths.VENV_PYTHON, "-m", "sandbox", "--smtp-port", smtp_port, "--http-port", http_port]
        command += ["--private-key", paths.SANDBOX_KEY, "--api-key", API_KEY, "--webhook-url", webhook_url, *options]
        super().__init__("The local SendGrid", command, log, f"{self.url}/health", cwd=paths.ROOT)


class Odoo(process.Server):
    """An Odoo server on one database.

    :param workers: 0 for one process with threads, which serves the websocket too
    :param options: further options of Odoo's, such as `--max-cron-threads=0`
    :param config: a configuration of Odoo's that decides everything but the ports
    """

    def __init__(
        self,
        name: str,
        port: int,
        log: Path,
        workers: int = 0,
        options: Iterable[str] = (),
        config: Path | None = None,
    ):
        self.database = name
        self.port = port
        self.gevent_port = process.free_port()
        self.url = f"http://127.0.0.1:{port}"
        settings = [f"--database={name}", f"--db-filter=^{name}$", "--no-database-list", f"--workers={workers}"]
        command = odoo.command(
            "server",
            *([f"--config={config}"] if config else settings),
            f"--http-port={port}",
            f"--gevent-port={self.gevent_port}",
            *options,
        )
        super().__init__("Odoo", command, log, f"{self.url}/web/health", paths.DATA, odoo.environment())

    def errors(self) -> list[str]:
        """Return the lines that the server logged as errors."""
        with open(self.log, errors="replace") as log:
            return [line for line in log if re.search(rf" (ERROR|CRITICAL) ({self.database}|\?) ", line)]


class Stack:
    """Odoo on a database that `configure` has prepared, and the local SendGrid.

    :param sandbox_options: further options of the local SendGrid's, such as `--connected`
    """

    def __init__(
        self, name: str, ports: Iterable[int], logs: Path, sandbox_options: Iterable[str] = (), **odoo_options: Any
    ):
        odoo_port, smtp_port, inbox_port = ports
        self.odoo = Odoo(name, odoo_port, logs / "odoo.log", **odoo_options)
        self.sandbox = Sandbox(smtp_port, inbox_port, logs / "sandbox.log", self.webhook_url(), sandbox_options)

    def webhook_url(self) -> str:
        """Return the address at which the account of `configure` receives its events."""
        return f"{self.odoo.url}/sendgrid/webhook/{_webhook_token(self.odoo.database)}"

    def __enter__(self) -> "Stack":
        try:
            for server in (self.sandbox, self.odoo):
                server.launch()
            for server in (self.sandbox, self.odoo):
                server.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for server in (self.odoo, self.sandbox):
            server.stop()


@contextlib.contextmanager
def for_tests(workers: int = 0, options: Iterable[str] = ()) -> Iterator[Stack]:
    """Run a stack on a fresh copy of the test database; only its logs remain afterwards."""
    with database.for_tests() as name, on(name, workers, options) as stack:
        yield stack


@contextlib.contextmanager
def on(
    name: str, workers: int = 0, options: Iterable[str] = (), prepare: Callable[[str], None] | None = None
) -> Iterator[Stack]:
    """Run a stack on free ports and on a database that the caller made.

    :param prepare: a function of the database's name, called after `configure` and before the servers start
    """
    logs = paths.LOG / name
    logs.mkdir(exist_ok=True)
    _forget_old_logs()
    ports = [process.free_port() for _ in range(3)]
    configure(name, *ports)
    if prepare:
        prepare(name)
    with Stack(name, ports, logs, workers=workers, options=options) as stack:
        yield stack
        stack.odoo.kill()  # kill it: nobody needs what an orderly end would save


def _forget_old_logs(keep: int = 10) -> None:
    folders = sorted(paths.LOG.glob(f"{database.PREFIX}_test_*"), key=lambda folder: folder.stat().st_mtime)
    for folder in folders[:-keep]:
        shutil.rmtree(folder, ignore_errors=True)


def configure(name: str, odoo_port: int, smtp_port: int, inbox_port: int) -> None:
    """Make the account and the mail server of the local SendGrid in a database, and fix Odoo's own address.

    Accounts that are connected later use the local SendGrid too: two parameters replace SendGrid's hosts.
    """
    database.run_script(
        name,
        SETTINGS.read_text(),
        ODOO_URL=f"http://127.0.0.1:{odoo_port}",
        SANDBOX_URL=f"http://127.0.0.1:{inbox_port}",
        SANDBOX_SMTP_PORT=str(smtp_port),
        SANDBOX_API_KEY=API_KEY,
        SANDBOX_PUBLIC_KEY=public_key(),
        SANDBOX_ACCOUNT=".".join(ACCOUNT),
    )


def public_key() -> str:
    """Return the key that verifies the local SendGrid's signatures. Make the pair of keys if there is none."""
    program = "import sys; from sandbox import keys; print(keys.public_text(keys.load_or_create(sys.argv[1])))"
    command = [paths.VENV_PYTHON, "-c", program, paths.SANDBOX_KEY]
    with lock.exclusive("sandbox-key"):
        done = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def _webhook_token(name: str) -> str:
    query = """
        SELECT account.webhook_token
          FROM sendgrid_account AS account
          JOIN ir_model_data AS data ON data.model = 'sendgrid.account' AND data.res_id = account.id
         WHERE (data.module, data.name) = %s
    """
    with contextlib.closing(psycopg2.connect(dbname=name)) as connection, connection.cursor() as cursor:
        cursor.execute(query, [ACCOUNT])
        return cursor.fetchone()[0]
