"""Programs that the machine itself has to have: those on PATH, else Debian's, which only root can install."""

import os
import shutil
from collections.abc import Iterable

from . import process, say


def find(names: Iterable[str]) -> str | None:
    """Return the path of the first of these programs that is on PATH, or None."""
    return next(filter(None, map(shutil.which, names)), None)


def ensure(names: Iterable[str], package: str, purpose: str) -> None:
    """Make sure that there is a program; install it if this user may.

    :param names: the names that it may have
    :param package: Debian's package of it
    :param purpose: says who needs it, as a sentence for whoever has to install it
    :raise say.Problem: if there is none
    """
    if find(names):
        return
    update, install = "apt-get update", f"apt-get install -y {package}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise say.Problem(f"{purpose} Please run as root: {update} && {install}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        # The update fails if apt cannot read any one of the machine's sources; the others may suffice.
        command = ["sh", "-c", f"{update}; {install}"]
        process.run(command, f"{package}.log", f"Installing {package} …", env=environment)
    except process.Failed as failure:
        raise say.Problem(f"{package} could not be installed: {failure.lines[-1]} (see {failure.log})") from None
    if not find(names):
        raise say.Problem(f"{package} is installed, but PATH does not lead to any of: {', '.join(names)}.")
