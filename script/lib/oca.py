"""OCA's modules, from PyPI, in folders of their own: one for each lock file."""

import hashlib
import re
import shutil
from pathlib import Path

from . import lock, paths, venv

PACKAGE = re.compile(r"^odoo-addon-(?P<name>[\w-]+)==(?P<version>\S+)", re.MULTILINE)


def addons(lock_file: Path) -> Path:
    """Return the addons path that the packages of a lock file make, whether it is there already or not."""
    return _folder(lock_file) / "odoo" / "addons"


def versions(lock_file: Path) -> dict[str, str]:
    """Return the versions of a lock file by the modules' names."""
    return {found["name"].replace("-", "_"): found["version"] for found in PACKAGE.finditer(lock_file.read_text())}


def ensure(lock_file: Path) -> Path:
    """Download the packages if they are missing, and return their addons path. It appears only once it is complete."""
    folder = _folder(lock_file)
    with lock.exclusive("oca"):
        if not folder.exists():
            unfinished = folder.with_name("oca.new")
            shutil.rmtree(unfinished, ignore_errors=True)
            venv.install(lock_file, "Installing OCA's modules …", target=unfinished)
            unfinished.rename(folder)
    return addons(lock_file)


def _folder(lock_file: Path) -> Path:
    return paths.DEV / f"oca-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]}"
