"""Odoo's source: `ODOO_PATH` if it is set, else Debian's package, else a shallow clone of the official 19.0 branch."""

import os
import shutil
import subprocess
from pathlib import Path

from . import debian, paths, say

BRANCH, REPOSITORY = "19.0", "https://github.com/odoo/odoo.git"


def missing():
    """Whether Odoo still has to be fetched."""
    return not os.environ.get("ODOO_PATH") and not paths.ODOO.exists()


def ensure():
    """Fetch Odoo if it is missing. The folder appears complete or not at all."""
    if os.environ.get("ODOO_PATH"):
        source()  # complains if it is not Odoo 19
    if not missing():
        return
    unfinished = paths.DEV / "odoo.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        debian.unpack(unfinished)
    except debian.Unavailable as problem:
        shutil.rmtree(unfinished, ignore_errors=True)
        _clone(unfinished, problem)
    unfinished.rename(paths.ODOO)


def source():
    """The folder that holds the `odoo` package."""
    if os.environ.get("ODOO_PATH"):
        given = Path(os.environ["ODOO_PATH"]).expanduser().resolve()
        candidates = [given, given.parent, given / "usr/lib/python3/dist-packages"]
    else:
        candidates = [paths.ODOO, paths.ODOO / "usr/lib/python3/dist-packages"]
    for folder in candidates:
        release = folder / "odoo" / "release.py"
        if release.is_file():
            if "version_info = (19, 0," not in release.read_text():
                raise say.Problem(f"{folder} is another version of Odoo than 19.0.")
            return folder
    raise say.Problem(f"ODOO_PATH: there is no Odoo in {os.environ['ODOO_PATH']}.")


def command(*arguments):
    """The command line of an Odoo process."""
    return [str(paths.VENV_PYTHON), "-m", "odoo", *map(str, arguments)]


def environment():
    """The environment of an Odoo process."""
    return {**os.environ, "PYTHONPATH": str(source()), "ODOO_RC": str(paths.CONFIG), "PYTHONUNBUFFERED": "1"}


def write_config():
    """Write Odoo's configuration; what differs from run to run is given on the command line."""
    unfinished = paths.CONFIG.with_suffix(".new")
    unfinished.write_text(
        f"[options]\naddons_path = {paths.ADDONS}\ndata_dir = {paths.DATA}\nhttp_interface = 127.0.0.1\nworkers = 0\n"
    )
    unfinished.replace(paths.CONFIG)


def _clone(target, problem):
    if not shutil.which("git"):
        raise say.Problem(f"Cannot get Odoo: Debian's package: {problem}; git: not installed. See ODOO_PATH.")
    say.step(f"Debian's package cannot be had ({problem}); cloning Odoo's branch {BRANCH} instead …")
    done = subprocess.run(
        ["git", "clone", "--depth=1", "--single-branch", f"--branch={BRANCH}", "--progress", REPOSITORY, target],
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        check=False,
    )
    if done.returncode:
        shutil.rmtree(target, ignore_errors=True)
        raise say.Problem(
            "Cannot get Odoo 19, neither from Debian nor from its git repository: is there a network? "
            "ODOO_PATH can name an Odoo 19 that is already here."
        )
