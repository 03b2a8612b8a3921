"""OCA's mail tracking, from PyPI, in a folder of its own."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from script.lib import lock, paths, venv

from . import _odoo

LOCK_FILE = Path(__file__).with_name("peer-requirements.txt")
FOLDER = paths.DEV / f"oca-{hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:12]}"
ADDONS = FOLDER / "odoo" / "addons"
ADDONS_PATH = f"--addons-path={paths.ADDONS},{ADDONS}"
TRACKING, MAILGUN = "mail_tracking", "mail_tracking_mailgun"


def ensure() -> None:
    """Download the packages if they are missing. The folder appears only once it is complete."""
    with lock.exclusive("oca"):
        if not FOLDER.exists():
            unfinished = FOLDER.with_name("oca.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            venv.install(LOCK_FILE, "Installing OCA's mail tracking …", target=unfinished)
            unfinished.rename(FOLDER)


@contextlib.contextmanager
def fresh_database(module: str) -> Iterator[str]:
    """Give the name of a fresh database with one of OCA's modules and without our addon; drop it at the end."""
    ensure()
    with _odoo.fresh_database(module, with_addon=False, addons_path=ADDONS_PATH) as name:
        yield name
