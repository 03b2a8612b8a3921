"""Chromium for the browser tests: the one on PATH, else Debian's, which only root can install."""

import os
import shutil
import subprocess

from . import say

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
INSTALL = "apt-get update && apt-get install -y --no-install-recommends chromium"


def path():
    """The browser's path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def ensure():
    """Have a browser, installing it if we may."""
    if path():
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise say.Problem(f"The browser tests need Chromium. As root: {INSTALL}")
    say.step("Installing Chromium …")
    done = subprocess.run(
        INSTALL,
        shell=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        check=False,
        stdout=subprocess.DEVNULL,
    )
    if done.returncode or not path():
        raise say.Problem(f"Chromium could not be installed (the reason is above). The command was: {INSTALL}")
