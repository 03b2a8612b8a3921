"""How the commands talk: a line per step, a line per problem, no traceback for what is not our fault."""

import contextlib
import shutil
import sys


class Problem(Exception):
    """Something that the person at the keyboard can understand and act on."""


def step(text):
    """Tell what happens now."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def progress(text):
    """On a terminal: show how far a long step is, in a line that the next one takes the place of."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


def warn(text):
    """Tell what is not as it should be, and go on."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def problems_in_one_line():
    """Leave with one line and an exit code for a `Problem`, and silently on Ctrl-C."""
    try:
        yield
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
