"""The entry of every command: it finds a supported Python, makes the environment and runs the command inside it."""

import importlib
import os
import sys

from . import python


def run(command: str) -> None:
    """Run `lib/<command>.py` with this process's arguments."""
    python.require()
    from . import paths, ports, process, say, setup  # not above: an old Python cannot read them

    os.environ["PYTHONPYCACHEPREFIX"] = str(paths.PYCACHE)
    # Odoo starts twice as fast with compiled files, which go under the prefix and not beside the sources
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.umask(0o022)  # PostgreSQL may run as another user, who has to read the installed files
    process.end_on_signals()
    with say.problems_in_one_line():
        if not paths.inside_venv():
            setup.prepare(before=ports.require_free if command == "server" else None)
            os.execv(paths.VENV_PYTHON, [str(paths.VENV_PYTHON), *sys.argv])
        sys.exit(importlib.import_module(f"{__package__}.{command}").main(sys.argv[1:]))
