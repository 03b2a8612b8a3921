"""`kill -9` at random moments, while events are stored and drained: no acknowledged event is lost or double."""

import contextlib
import os
import re
import signal
import time
from collections import Counter

import psycopg2
import pytest
from harness import wait_for
from sender import Sender, keep_running

from script.lib import process

ALIVE = re.compile(r"Worker (Worker\w+) \((\d+)\) alive")
RECOVERY = 120  # seconds


class Killer:
    """Kills a part of the system; each way is a method."""

    def __init__(self, stack, cluster, database, chance):
        self.stack = stack
        self.cluster = cluster
        self.database = database
        self.chance = chance

    def job_worker(self):
        """Kill the process that drains."""
        self._kill_worker("WorkerCron")

    def http_worker(self):
        """Kill one of the processes that take POSTs."""
        self._kill_worker("WorkerHTTP")

    def server(self):
        """Kill all of Odoo, and start it again."""
        self.stack.odoo.kill()
        self.stack.odoo.start()

    def postgres(self):
        """Kill all of PostgreSQL, and start it again."""
        self.cluster.kill()
        time.sleep(self.chance.uniform(0, 1))  # it is down for a moment
        self.cluster.start()

    def backend(self):
        """Kill one of PostgreSQL's processes: the server then ends the others, and recovers by itself."""
        _server, *others = self.cluster.processes()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.chance.choice(others), signal.SIGKILL)

    def connections(self):
        """End all connections to the database, as an administrator or a firewall does."""
        with contextlib.suppress(psycopg2.OperationalError):
            self.database.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid != pg_backend_pid()",
                self.database.name,
            )

    def _kill_worker(self, kind):
        with open(self.stack.odoo.log, errors="replace") as log:
            started = {int(pid): name for name, pid in ALIVE.findall(log.read())}
        alive = [pid for pid in process.children(self.stack.odoo.process.pid) if started.get(pid) == kind]
        with contextlib.suppress(ProcessLookupError, IndexError):  # it may just be being replaced
            os.kill(self.chance.choice(alive), signal.SIGKILL)


WAYS = ("job_worker", "http_worker", "server", "postgres", "backend", "connections")


def test_kill(request, stack, cluster, database, webhook, crowd, chance, report):
    """Kill something at a random moment, again and again, while SendGrid posts; then check the result."""
    rounds = request.config.getoption("rounds")
    killer = Killer(stack, cluster, database, chance)
    # Use each way as often as the others, in a random order.
    ways = [WAYS[number % len(WAYS)] for number in range(rounds)]
    chance.shuffle(ways)
    hit_draining = 0

    def pending():
        return database.value("SELECT count(*) FROM sendgrid_event_batch WHERE state = 'pending'")

    with Sender(webhook, lambda: crowd.events(chance, chance.randint(1, 200)), chance) as sender:
        for way in ways:
            wait_for(pending, "something to drain")
            time.sleep(chance.uniform(0, 1))  # a random moment
            hit_draining += bool(pending())
            getattr(killer, way)()
            taken = sender.taken

            def is_back(taken=taken):
                keep_running(stack.odoo)
                return sender.taken > taken + 4

            wait_for(is_back, f"posts are taken again after {way}", RECOVERY)
    crowd.wait_until_drained(RECOVERY)
    crowd.check(sender.events)
    answers = Counter(sender.answers)
    report(
        f"kill: {rounds} rounds, {hit_draining} while draining; {len(sender.events)} events; answers {dict(answers)}"
    )
    assert hit_draining > rounds / 2, "the kills hit the drain"
    assert set(answers) - {204}, "the kills hit the posts"


@pytest.fixture(autouse=True)
def _postgres_is_there_afterwards(cluster):
    yield
    cluster.start()
