"""Makes our runs stricter than pytest: a test fails if it is skipped, or if it leaves an error in the log."""

import logging
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test: a test that did not run proves nothing, whatever the reason."""
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a file that skips itself."""
    return _failed_if_skipped((yield))


def _failed_if_skipped(report: Report) -> Report:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        report.longrepr = f"{report.nodeid} was skipped ({reason}): here that counts as failed."
    return report


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        # A page that still loads when its test ends complains that the server went away.
        if not record.getMessage().startswith("Error received after termination"):
            self.records.append(record)


@pytest.fixture(autouse=True)
def _no_logged_error() -> Iterator[None]:
    """Fail a test that leaves an error in the log. `assertLogs` or `mute_logger` take the errors that it expects."""
    errors = _Errors()
    logging.getLogger().addHandler(errors)
    yield
    logging.getLogger().removeHandler(errors)
    if errors.records:
        lines = [f"{record.name}: {record.getMessage()}" for record in errors.records]
        pytest.fail("Logged as an error:\n" + "\n".join(lines), pytrace=False)
