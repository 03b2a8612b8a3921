"""A database with OCA's mail tracking."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from script.lib import oca, paths

from . import _odoo

LOCK_FILE = Path(__file__).with_name("peer-requirements.txt")
ADDONS_PATH = f"--addons-path={paths.ADDONS},{oca.addons(LOCK_FILE)}"
TRACKING, MAILGUN = "mail_tracking", "mail_tracking_mailgun"


def ensure() -> None:
    """Download the packages if they are missing."""
    oca.ensure(LOCK_FILE)


@contextlib.contextmanager
def fresh_database(module: str) -> Iterator[str]:
    """Give the name of a fresh database with one of OCA's modules and without our addon; drop it at the end."""
    ensure()
    with _odoo.fresh_database(module, with_addon=False, addons_path=ADDONS_PATH) as name:
        yield name
