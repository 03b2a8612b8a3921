"""nginx, for the tests behind a reverse proxy.

Debian's package is unpacked and not installed, because installing it would start a server on port 80.
"""

import os
import shutil
from pathlib import Path

from . import lock, machine, paths, process, say

FOLDER = paths.DEV / "nginx"
PROGRAM = FOLDER / "usr" / "sbin" / "nginx"
# An ordinary user's PATH does not lead to Debian's folder for servers.
NAMES = ("nginx", "/usr/sbin/nginx", str(PROGRAM))


def path() -> str | None:
    """Return the program's path, or None."""
    return machine.find(NAMES)


def ensure() -> None:
    """Make sure that there is an nginx; fetch Debian's if this machine can.

    :raise say.Problem: if there is none
    """
    with lock.exclusive("nginx"):
        if not path():
            _install()


def _install() -> None:
    if not shutil.which("apt-get"):
        raise say.Problem("The tests behind a reverse proxy need nginx. Please install it.")
    try:
        _fetch(FOLDER.with_name("nginx.new"))
    except process.Failed as failure:
        raise say.Problem(
            f"nginx could not be fetched: {failure.lines[-1]} (see {failure.log}). "
            "Please run as root: apt-get update && apt-get install -y nginx"
        ) from None


def _fetch(unfinished: Path) -> None:
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    # The update fails if apt cannot read any one of the machine's sources; the others may suffice.
    update = "apt-get update; " if os.geteuid() == 0 else ""
    command = f"{update}apt-get download nginx && dpkg-deb -x nginx_*.deb . && usr/sbin/nginx -v"
    process.run(["sh", "-c", command], "nginx.log", "Fetching nginx …", cwd=unfinished)
    shutil.rmtree(FOLDER, ignore_errors=True)
    unfinished.rename(FOLDER)
