"""The property tests' settings, with which they run alike on every machine and leave nothing behind.

`hypothesis` and the packages of the local SendGrid are for development, and an Odoo need not have them. Tests get them
from here, so that a run of ``--test-tags`` without them skips the tests that need them, and runs all others.
"""

import unittest
from importlib.util import find_spec

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:

    class _Nothing:
        """Stands for whatever a file takes from `hypothesis` while it is imported."""

        def __getattr__(self, name):
            return self

        def __call__(self, *args, **kwargs):
            return self

        def __or__(self, other):
            return self

    st, HealthCheck = _Nothing(), ()

    def given(*args, **kwargs):
        return unittest.skip("hypothesis is not installed")

    def settings(**kwargs):
        return lambda test: test


SANDBOX_PACKAGES = ("aiohttp", "aiosmtpd", "jsonschema")

__all__ = ("few", "given", "in_database", "need_sandbox", "quick", "st")

_COMMON = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
quick = settings(max_examples=150, **_COMMON)
# For tests in which one example takes long.
few = settings(max_examples=40, **_COMMON)
# For tests in which each example runs in the database, in a savepoint of its own.
in_database = settings(max_examples=40, **_COMMON)


def need_sandbox():
    """Skip the test, or its class, if the packages of the local SendGrid are missing."""
    if missing := [name for name in SANDBOX_PACKAGES if not find_spec(name)]:
        raise unittest.SkipTest(f"not installed: {', '.join(missing)}")
