"""The fault suite: it causes the failures of the real world on a real Odoo with its own PostgreSQL.

Run it with `script/test faults`. The default numbers are those that the project promises; options change them.
"""

import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "end_to_end")]

from crowd import Crowd  # noqa: E402
from harness import Database, OdooClient, SandboxClient, Webhook  # noqa: E402

from script.lib import postgres  # noqa: E402
from script.lib import stack as stacks  # noqa: E402

REPORT = pytest.StashKey[list]()


def pytest_addoption(parser):
    """Add the options of the suite."""
    group = parser.getgroup("faults")
    group.addoption("--seed", type=int, help="of what happens by chance; default: another one each time, printed")
    group.addoption("--rounds", type=int, default=30, help="how often something is killed (30)")
    group.addoption("--bodies", type=int, default=200_000, help="bodies for the parser (200000)")
    group.addoption("--posts", type=int, default=5_000, help="of them by HTTP (5000)")
    group.addoption("--flood", type=int, default=20_000, help="events of the flood (20000; the long form: 1000000)")
    group.addoption("--capacity", action="store_true", help="measure the figures of docs/deploy.md")


def pytest_configure(config):
    """Choose the seed."""
    config.stash[REPORT] = []
    if config.getoption("seed") is None:
        config.option.seed = random.SystemRandom().randrange(10**6)


def pytest_collection_modifyitems(config, items):
    """Measure what the machine can take only if somebody asks for it: it takes minutes and asserts nothing."""
    if not config.getoption("capacity"):
        config.hook.pytest_deselected(items=[item for item in items if item.name.startswith("test_capacity")])
        items[:] = [item for item in items if not item.name.startswith("test_capacity")]


def pytest_terminal_summary(terminalreporter, config):
    """Print the measurements for people to read, and the seed with which the same run can be repeated."""
    terminalreporter.write_line(f"faults: --seed={config.getoption('seed')}")
    for line in config.stash[REPORT]:
        terminalreporter.write_line(line)


@pytest.fixture
def report(request):
    """A function that has a line printed at the end."""
    return request.config.stash[REPORT].append


@pytest.fixture
def chance(request):
    """The random numbers of a test, the same for the same seed."""
    return random.Random(f"{request.config.getoption('seed')} {request.node.name}")


@pytest.fixture(scope="session")
def cluster():
    """The suite's own PostgreSQL, which runs already."""
    return postgres.to_be_killed()


@pytest.fixture(scope="module")
def stack(cluster):
    """Odoo with two processes for HTTP and one for jobs, and the local SendGrid, on a database of their own."""
    cluster.start()
    with stacks.for_tests(workers=2, options=["--max-cron-threads=1"]) as running:
        with cluster.administrator() as cursor:
            # PostgreSQL does not log the next numbers of a copied database's sequences, so that a crash would repeat
            # them. A checkpoint makes it log them.
            cursor.execute("CHECKPOINT")
        yield running


@pytest.fixture(scope="module")
def odoo(stack):
    """The administrator's client."""
    return OdooClient(stack.odoo)


@pytest.fixture(scope="module")
def sandbox(stack):
    """The local SendGrid's API."""
    return SandboxClient(stack.sandbox)


@pytest.fixture(scope="module")
def webhook(stack):
    """The account's webhook."""
    return Webhook(stack.webhook_url())


@pytest.fixture(scope="module")
def database(stack):
    """The database, as another connection sees it: only committed rows."""
    return Database(stack.odoo.database)


@pytest.fixture
def crowd(stack, database):
    """Two hundred documents, each to a contact of its own, without events."""
    return Crowd(database, 200)
