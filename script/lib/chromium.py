"""Chromium for the browser tests: the one on PATH, else Debian's, which only root can install."""

import os
import shutil

from . import process, say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
UPDATE, INSTALL = "apt-get update", "apt-get install -y chromium"


def path() -> str | None:
    """Return the browser's path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def ensure() -> None:
    """Make sure that there is a browser; install it if this user may.

    :raise say.Problem: if there is none
    """
    if path():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise say.Problem(f"The browser tests need Chromium. Please run as root: {UPDATE} && {INSTALL}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        # The update fails if apt cannot read any one of the machine's sources; the others may suffice.
        process.run(["sh", "-c", f"{UPDATE}; {INSTALL}"], "chromium.log", "Installing Chromium …", env=environment)
    except process.Failed as failure:
        raise say.Problem(f"Chromium could not be installed: {failure.lines[-1]} (see {failure.log})") from None
    if not path():
        raise say.Problem(f"Chromium is installed, but PATH does not lead to any of: {', '.join(NAMES)}.")
