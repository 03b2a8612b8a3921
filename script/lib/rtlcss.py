"""rtlcss, by which Odoo turns its style sheets around for languages that are read from right to left."""

import shutil

from . import lock, machine, paths, process, say

VERSION = "4.3.0"
FOLDER = paths.DEV / f"rtlcss-{VERSION}"
PROGRAMS = FOLDER / "node_modules" / ".bin"


def ensure() -> None:
    """Install rtlcss into `.dev` if it is missing, by npm; install npm if this user may.

    :raise say.Problem: if it cannot be installed
    """
    with lock.exclusive("rtlcss"):
        if not (PROGRAMS / "rtlcss").exists():
            _install()


def _install() -> None:
    machine.ensure(["npm"], "npm", "The tests of Arabic pages need npm.")
    unfinished = FOLDER.with_name("rtlcss.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["npm", "install", "--prefix", str(unfinished), "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        process.run([*command, f"rtlcss@{VERSION}"], "rtlcss.log", "Installing rtlcss …")
    except process.Failed as failure:
        raise say.Problem(f"rtlcss could not be installed: {failure.lines[-1]} (see {failure.log})") from None
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished.rename(FOLDER)
