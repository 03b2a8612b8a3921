"""Locks between runs of our commands in one checkout. The system releases the locks of a process that dies."""

import contextlib
import fcntl
from collections.abc import Iterator
from typing import TextIO

from . import paths, say


class Taken(Exception):
    """Another run holds the lock."""


@contextlib.contextmanager
def exclusive(name: str, wait: bool = True) -> Iterator[None]:
    """Hold a lock that only one run can have. If it is taken, wait for it, or raise `Taken` if `wait` is off."""
    with _open(name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise Taken from None
            say.step(f"Waiting for another run ({name}) …")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Lease:
    """A share in something that several runs use at once; the run that ends last clears it away."""

    def __init__(self, name: str):
        self._file = _open(name)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def give_back(self) -> bool:
        """Give the share back, and tell whether it was the last one."""
        with self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


def _open(name: str) -> TextIO:
    return open(paths.DEV / f"{name}.lock", "a")
