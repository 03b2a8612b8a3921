"""An Odoo server and a local SendGrid that talk to each other, each a process of its own.

The demo is one such stack; a test makes one on a database of its own (`with stack.for_tests() as running:`).
"""

import contextlib
import os
import subprocess
from pathlib import Path

import psycopg2

from . import chromium, database, odoo, paths, process

API_KEY = "SG.sandbox"
SETTINGS_SCRIPT = paths.ROOT / "script" / "demo.py"


class Sandbox(process.Server):
    """The local SendGrid: an SMTP relay, an API and an inbox page."""

    def __init__(self, smtp_port, http_port, log, webhook_url=None, key=paths.SANDBOX_KEY):
        self.smtp_port = smtp_port
        self.url = f"http://127.0.0.1:{http_port}"
        command = [paths.VENV_PYTHON, "-m", "sandbox"]
        command += ["--smtp-port", smtp_port, "--http-port", http_port, "--private-key", key, "--api-key", API_KEY]
        if webhook_url:
            command += ["--webhook-url", webhook_url]
        super().__init__("The local SendGrid", command, log, f"{self.url}/health")


class Odoo(process.Server):
    """An Odoo server on one database.

    :param workers: 0 is one process with threads, which serves the websocket too
    """

    def __init__(self, name, port, log, workers=0, options=()):
        self.database = name
        self.url = f"http://127.0.0.1:{port}"
        command = odoo.command(
            "server", "-d", name, f"--db-filter=^{name}$", "--no-database-list", f"--http-port={port}",
            f"--gevent-port={process.free_port()}", f"--workers={workers}", *options,
        )  # fmt: skip
        super().__init__("Odoo", command, log, f"{self.url}/web/health", odoo.environment())

    def errors(self):
        """What it logged as an error, a line each."""
        lines = Path(self.log).read_text(errors="replace").splitlines()
        return [line for line in lines if f" ERROR {self.database} " in line or f" CRITICAL {self.database} " in line]


class Stack:
    """Odoo and the local SendGrid, wired to each other by `configure`."""

    def __init__(self, name, http_port, smtp_port, inbox_port, logs, **odoo_options):
        self.odoo = Odoo(name, http_port, logs / "odoo.log", **odoo_options)
        self.smtp_port = smtp_port
        self.inbox_port = inbox_port
        self.logs = logs
        self.sandbox = None

    def start(self):
        """Start both; Odoo's database has to be configured."""
        self.sandbox = Sandbox(self.smtp_port, self.inbox_port, self.logs / "sandbox.log", self.webhook_url())
        self.sandbox.start()
        self.odoo.start()
        return self

    def stop(self):
        """Stop both."""
        self.odoo.stop()
        if self.sandbox:
            self.sandbox.stop()

    def configure(self):
        """Make the account and the mail server that lead to the local SendGrid, and Odoo's address."""
        configure(self.odoo.database, self.odoo.url, self.smtp_port)

    def webhook_url(self):
        """Where the account of `configure` receives its events."""
        return f"{self.odoo.url}/sendgrid/webhook/{_webhook_token(self.odoo.database)}"

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()


@contextlib.contextmanager
def for_tests(workers=0, options=()):
    """A running stack on free ports with a fresh copy of the test database. All of it is gone afterwards but the logs."""
    with database.for_tests() as name:
        logs = paths.LOG / name
        logs.mkdir(exist_ok=True)
        ports = [process.free_port() for _ in range(3)]
        stack = Stack(name, *ports, logs, workers=workers, options=options)
        stack.configure()
        with stack:
            yield stack


def configure(name, url, smtp_port):
    """See `Stack.configure`."""
    run_script(
        name,
        SETTINGS_SCRIPT.read_text(),
        ODOO_URL=url,
        SANDBOX_SMTP_PORT=str(smtp_port),
        SANDBOX_API_KEY=API_KEY,
        SANDBOX_PUBLIC_KEY=public_key(),
    )


def run_script(name, script, **variables):
    """Run a script in Odoo's shell on a database and return what it prints."""
    return database.odoo_shell(name, script, variables)


def public_key():
    """The key that the local SendGrid's signatures are verified with, as SendGrid shows it. Makes the pair if there is none."""
    program = "import sys; from sandbox import keys; print(keys.public_text(keys.load_or_create(sys.argv[1])))"
    done = subprocess.run(
        [paths.VENV_PYTHON, "-c", program, paths.SANDBOX_KEY],
        cwd=paths.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def browser():
    """The path of the Chromium that the tests use."""
    return chromium.path()


def _webhook_token(name):
    query = """
        SELECT webhook_token FROM sendgrid_account JOIN ir_model_data ON res_id = sendgrid_account.id
        WHERE module = 'sendgrid_tracking' AND name = 'sendgrid_account_demo' AND ir_model_data.model = 'sendgrid.account'
    """
    query = query.replace(" name =", " ir_model_data.name =")
    with contextlib.closing(psycopg2.connect(dbname=name)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]
