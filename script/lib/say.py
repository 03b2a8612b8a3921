"""The commands' output: one line per step, one line per problem, no traceback unless the fault is ours."""

import contextlib
import shutil
import sys
from collections.abc import Iterator


class Problem(Exception):
    """A problem that the user can understand and solve."""


def step(text: str) -> None:
    """Print the step that begins now."""
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


def progress(text: str) -> None:
    """Show on a terminal how far a long step is, in a line that the next one overwrites."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


def warn(text: str) -> None:
    """Print a warning, and go on."""
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def problems_in_one_line() -> Iterator[None]:
    """Turn a `Problem` into one line and an exit code, and Ctrl-C into a silent end."""
    try:
        yield
    except Problem as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
