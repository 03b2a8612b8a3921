"""Chromium for the browser tests."""

from . import machine

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def path() -> str | None:
    """Return the browser's path, or None."""
    return machine.find(NAMES)


def ensure() -> None:
    """Make sure that there is a browser; install it if this user may.

    :raise say.Problem: if there is none
    """
    machine.ensure(NAMES, "chromium", "The browser tests need Chromium.")
