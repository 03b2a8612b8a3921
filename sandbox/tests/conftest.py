"""Fixtures of the sandbox's tests. sandbox_harness starts the processes behind them."""

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parents[2], Path(__file__).parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from sandbox_harness import Program, Receiver  # noqa: E402


@pytest.fixture(scope="session")
def running_program():
    program = Program("--flush-seconds", "0.05")
    yield program
    program.stop()


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def program(running_program, receiver):
    """The sandbox, emptied, posting to `receiver`."""
    running_program.http("POST", "/sandbox/reset")
    running_program.http("PUT", "/sandbox/webhook", {"url": receiver.url})
    yield running_program
    running_program.http("POST", "/sandbox/reset")


@pytest.fixture
def start():
    """A function that starts programs with other options; the fixture stops them."""
    programs = []

    def run(*arguments):
        programs.append(Program(*arguments))
        return programs[-1]

    yield run
    for program in programs:
        if program.process.poll() is None:
            program.stop()
