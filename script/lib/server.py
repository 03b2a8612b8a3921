"""The command `script/server`."""

import argparse
import re
import threading
import time
from pathlib import Path

from . import database, demo_database, lock, paths, ports, postgres, say, stack

LOG_ENTRY = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ \d+ ([A-Z]+) ")


def main(arguments: list[str]) -> None:
    """Start the demo, print its addresses, and run until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="script/server", description="Start the demo.")
    parser.add_argument("--fresh", action="store_true", help="start over with a new database")
    options = parser.parse_args(arguments)
    try:
        with demo_database.in_use():
            ports.require_free()
            with postgres.running():
                if options.fresh:
                    database.drop(demo_database.NAME)
                demo_database.ensure()
                _serve()
    except lock.Taken:
        raise say.Problem("The demo database is in use: script/server runs already in this checkout.") from None


def _serve() -> None:
    numbers = [ports.number(port) for port in (ports.ODOO, ports.SMTP, ports.INBOX)]
    # The demo's account shall look like one that is connected, so that its Health has nothing to say.
    demo = stack.Stack(demo_database.NAME, numbers, paths.LOG, sandbox_options=["--connected"])
    log = demo.odoo.log
    before = log.stat().st_size if log.exists() else 0
    say.step("Starting Odoo and the local SendGrid …")
    with demo:
        say.step(_addresses(demo))
        threading.Thread(target=_show_problems, args=(log, before), daemon=True).start()
        try:
            while demo.odoo.running() and demo.sandbox.running():
                time.sleep(0.2)
        except KeyboardInterrupt:
            say.step("\nStopping …")
            return
        ended = demo.sandbox if demo.odoo.running() else demo.odoo
        raise say.Problem(f"{ended.name} has ended by itself, see {ended.log}")


def _addresses(demo: stack.Stack) -> str:
    return f"""
  Odoo        {demo.odoo.url}    login admin, password admin
  Inbox       {demo.sandbox.url}    the e-mails that the local SendGrid has received
  SMTP relay  127.0.0.1:{demo.sandbox.smtp_port}           login apikey, password {stack.API_KEY}

Odoo's log is {demo.odoo.log}; its warnings and errors appear here too. Ctrl-C stops everything.
"""


def _show_problems(path: Path, position: int) -> None:
    """Print the warnings and errors that are logged from now on, with the lines (a traceback) that belong to each."""
    shown = False
    with open(path, errors="replace") as log:
        log.seek(position)
        while True:
            line = log.readline()
            if not line:
                time.sleep(0.2)
                continue
            entry = LOG_ENTRY.match(line)
            if entry:
                shown = entry[1] in ("WARNING", "ERROR", "CRITICAL")
            if shown:
                print(line, end="", flush=True)
