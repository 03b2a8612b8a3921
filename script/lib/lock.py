"""Locks between runs of our commands in one checkout. The system releases the locks of a process that dies."""

import contextlib
import fcntl

from . import paths, say


class Taken(Exception):
    """Another run holds the lock."""


@contextlib.contextmanager
def exclusive(name, wait=True):
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

    def __init__(self, name):
        self._file = _open(name)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def give_back(self):
        """Give the share back, and tell whether it was the last one."""
        with self._file:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


def _open(name):
    return open(paths.DEV / f"{name}.lock", "a")
