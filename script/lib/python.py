"""Finds a supported Python. This file has no new syntax, so that an old Python can read it and say what is wrong."""

import os
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 13)


def require():
    """Go on under a Python that Odoo 19 supports, if need be another one on PATH; otherwise leave with one line."""
    if sys.implementation.name == "cpython" and OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        name = "python3.%d" % minor
        if _runs(name):
            os.execvp(name, [name, "-B"] + sys.argv)
    sys.exit(
        "Odoo 19 needs CPython %d.%d to %d.%d; this is %s %d.%d, and PATH has no other."
        % (OLDEST + NEWEST + (sys.implementation.name,) + sys.version_info[:2])
    )


def _runs(name):
    """Tell whether a Python starts.

    Only trying tells: version managers put commands on PATH for Pythons that are off.
    """
    check = "import sys, venv; sys.exit(sys.implementation.name != 'cpython')"
    try:
        with open(os.devnull, "w") as nowhere:
            return not subprocess.call([name, "-c", check], stdout=nowhere, stderr=nowhere)
    except OSError:
        return False
