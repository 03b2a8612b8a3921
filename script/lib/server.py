"""`script/server`"""

import argparse
import re
import signal
import threading
import time

from . import database, demo_database, lock, paths, ports, postgres, say, stack

ATTENTION = re.compile(r"^\d{4}-\S+ \S+ \d+ (WARNING|ERROR|CRITICAL) ")
ENTRY = re.compile(r"^\d{4}-\S+ \S+ \d+ [A-Z]+ ")


def main(arguments):
    """Start the demo, say where it is, and stay until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="script/server", description="Start the demo.")
    parser.add_argument("--fresh", action="store_true", help="start over with a new database")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        with demo_database.in_use():
            ports.require_free()
            with postgres.running():
                return _serve(options.fresh)
    except lock.Taken:
        raise say.Problem("script/server is already running in this checkout.") from None


def _serve(fresh):
    if fresh:
        database.drop(demo_database.NAME)
    demo = stack.Stack(demo_database.NAME, ports.odoo(), ports.smtp(), ports.inbox(), paths.LOG)
    demo_database.ensure(demo.odoo.url, ports.smtp())
    say.step("Starting the local SendGrid and Odoo …")
    log = demo.odoo.log
    start = log.stat().st_size if log.exists() else 0
    try:
        with demo:
            print(_addresses(demo), flush=True)
            threading.Thread(target=_show_problems, args=(log, start), daemon=True).start()
            _wait(demo)
    except KeyboardInterrupt:
        say.step("\nStopped.")
        return 0


def _wait(demo):
    while True:
        for server in (demo.odoo, demo.sandbox):
            if not server.running():
                raise say.Problem(f"{server.name} has ended by itself, see {server.log}")
        time.sleep(0.5)


def _addresses(demo):
    return f"""
  Odoo        {demo.odoo.url}   login admin, password admin
  Inbox       {demo.sandbox.url}   what the local SendGrid received; open and click there
  SMTP relay  127.0.0.1:{demo.smtp_port}   login apikey, password {stack.API_KEY}
  Log         {demo.odoo.log}   warnings and errors appear here too

Ctrl-C stops all of it.
"""


def _show_problems(log, position):
    """Print what Odoo logs as a warning or worse, with the traceback that follows it."""
    shown = False
    with open(log, errors="replace") as file:
        file.seek(position)
        while True:
            line = file.readline()
            if not line.endswith("\n"):
                file.seek(file.tell() - len(line.encode()))
                time.sleep(0.3)
                continue
            if ENTRY.match(line):
                shown = bool(ATTENTION.match(line))
            if shown:
                print(line, end="", flush=True)


def _interrupt(*_signal):
    raise KeyboardInterrupt
