"""OCA's mail tracking, from PyPI: what we are measured against."""

import contextlib
import hashlib
import shutil
from pathlib import Path

from script.lib import database, lock, paths, venv

LOCK_FILE = Path(__file__).with_name("oca-requirements.txt")


def addons():
    """The folder of its addons, which are fetched if they are not there."""
    folder = paths.DEV / f"oca-{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:12]}"
    with lock.exclusive("oca"):
        if not folder.exists():
            unfinished = paths.DEV / "oca.new"
            shutil.rmtree(unfinished, ignore_errors=True)
            options = ("--no-deps", "--target", unfinished)
            venv.install(paths.VENV_PYTHON, LOCK_FILE, "oca.log", "Fetching OCA's mail tracking …", *options)
            unfinished.rename(folder)
    return folder / "odoo" / "addons"


@contextlib.contextmanager
def fresh_database(*modules):
    """The name of a fresh database without our addon, with modules of OCA's instead; dropped at the end."""
    path = f"--addons-path={addons()}"
    with database.for_tests(with_addon=False) as name:
        database.run_odoo(
            name, f"Installing {', '.join(modules)} …", path, f"--init={','.join(modules)}", log="oca.log"
        )
        yield name
