"""Settings of the property tests: they run alike on every machine, and leave nothing behind."""

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
quick = settings(max_examples=150, **_COMMON)
# For tests in which one example takes long.
few = settings(max_examples=40, **_COMMON)
# For tests in which each example runs in the database, in a savepoint of its own.
in_database = settings(max_examples=40, **_COMMON)
