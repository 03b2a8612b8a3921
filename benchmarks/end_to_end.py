"""Measures how soon after its POST an event is on its document, at 500 events a second.

The event passes the server, the webhook, the drain and the database. The benchmark makes ten POSTs of 50 events a
second, and the last event of each delivers a document of its own. A POST's clock runs from the moment when it is sent
until another connection to the database sees that document delivered.
"""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg2

from script.lib.stack import Stack

from . import _client, _events, _names, _report, _stack

PER_SECOND, IN_POST, SECONDS, LIMIT = 500, 50, 30, 2.0
CLIENTS = 4
WARMUP = 20  # POSTs made first, so that every process of the server has loaded its code
DOCUMENTS = 20_000
DELIVERED = "SELECT message_id FROM sendgrid_email WHERE message_id = ANY(%s) AND status != 'sent'"


class Watcher(threading.Thread):
    """Looks repeatedly which documents are delivered."""

    def __init__(self, name: str):
        super().__init__(daemon=True)
        self.name_of_database = name
        self.waiting: dict[str, float] = {}  # Message-ID: the time when its POST began
        self.seconds: list[float] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Look until all documents are seen and `done` is set."""
        connection = psycopg2.connect(dbname=self.name_of_database)
        connection.autocommit = True
        cursor = connection.cursor()
        while self.waiting or not self.done.is_set():
            if waiting := list(self.waiting):
                cursor.execute(DELIVERED, [waiting])
                now = time.perf_counter()
                self.seconds += [now - self.waiting.pop(message_id) for (message_id,) in cursor.fetchall()]
            time.sleep(0.02)
        connection.close()


def _posts(relay: _events.Relay, url: str, count: int) -> Iterator[tuple[str, bytes]]:
    """Return for each POST the Message-ID of its last document, and the request."""
    # No other event is about the documents of the last events.
    free = DOCUMENTS - count
    events = relay.mixed(count * (IN_POST - 1), free)
    for marker in range(free + 1, DOCUMENTS + 1):
        mine = [*itertools.islice(events, IN_POST - 1), relay.event("delivered", marker, 8)]
        [body] = _events.bodies(mine, IN_POST)
        yield _names.message_id(marker), _client.signed_request(url, body)


def _post(stack: Stack, posts: list[tuple[str, bytes]]) -> tuple[list[float], float]:
    """Post at the pace, and wait until all documents are seen.

    :return: the seconds of each POST until its document was seen, and the events a second that were posted
    """
    watcher = Watcher(stack.odoo.database)

    def post(message_id: str, request: bytes) -> None:
        watcher.waiting[message_id] = time.perf_counter()
        status, _latency = _client.send(stack.odoo.url, request)
        if status != 204:
            raise RuntimeError(f"a POST was answered {status}")

    watcher.start()
    with ThreadPoolExecutor(CLIENTS) as pool:
        start, answers = time.perf_counter(), []
        for number, (message_id, request) in enumerate(posts):
            time.sleep(max(0.0, start + number * IN_POST / PER_SECOND - time.perf_counter()))
            answers.append(pool.submit(post, message_id, request))
        for answer in answers:
            answer.result()
    rate = len(posts) * IN_POST / (time.perf_counter() - start)
    watcher.done.set()
    watcher.join(60)
    if watcher.waiting:
        raise RuntimeError(f"{len(watcher.waiting)} POSTs are not on their documents after a minute")
    return watcher.seconds, rate


def measure(scale: float) -> list[_report.Row]:
    """Return the row of the table."""
    seconds = max(SECONDS * scale, 3)
    with _stack.draining(DOCUMENTS) as (stack, relay):
        posts = list(_posts(relay, stack.webhook_url(), WARMUP + int(seconds * PER_SECOND / IN_POST)))
        _post(stack, posts[:WARMUP])
        measured = posts[WARMUP:]
        taken, rate = _post(stack, measured)
    p95, median = (_client.percentile(taken, percent) for percent in (95, 50))
    absolute = f"median {median:.2f} s, {rate:.0f} events/s, {len(measured)} POSTs"
    return [_report.Row("end to end: p95", f"{p95:.2f} s", f"{LIMIT:.0f} s", p95 / LIMIT, "< 1", p95 < LIMIT, absolute)]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
