"""The way into every command: a supported Python, then the environment, then the command itself inside it."""

import importlib
import os
import sys

from . import python


def run(command):
    """Run `lib/<command>.py` with this process's arguments."""
    python.require()
    from . import paths, ports, process, say, setup  # not before: they are not written for an old Python

    os.environ["PYTHONPYCACHEPREFIX"] = str(paths.PYCACHE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the prefix keeps its promise, and Odoo starts twice as fast
    os.umask(0o022)  # PostgreSQL may run as another user, who has to read what we install
    process.end_on_signals()
    with say.problems_in_one_line():
        if not paths.inside_venv():
            setup.prepare(before=ports.require_free if command == "server" else None)
            os.execv(paths.VENV_PYTHON, [str(paths.VENV_PYTHON), *sys.argv])
        sys.exit(importlib.import_module(f"{__package__}.{command}").main(sys.argv[1:]))
