"""Measures how many signed POSTs a second the webhook takes, beside a bare controller on the same server.

The POSTs have 1 and 1,700 events, with two workers and four clients; then the same while a drain works. The bare
controller (`addons/sendgrid_bench_floor`) reads the body, verifies it and inserts one row. Both take turns in short
rounds, and the medians of the rounds are compared.
"""

import statistics
import sys
import time

from script.lib.stack import Stack

from . import _client, _events, _odoo, _report, _stack, _world

ROUNDS = 9
SIZES = {1: 400, 1_700: 60}  # events in a POST: POSTs in a round
BACKLOG, BACKLOG_DOCUMENTS = 300, 20_000  # batches of 1,700 events that the drain works off meanwhile
OF_BACKLOG = "SELECT count(*) FROM sendgrid_event_batch WHERE id <= %s AND state = 'pending'"


class Rounds:
    """POSTs per second and the 99th percentile of the latency, round by round."""

    def __init__(self, url: str):
        self.url = url
        self.rates, self.p99s = [], []

    def run(self, body: bytes, count: int) -> None:
        """Post the body this many times."""
        requests = [_client.signed_request(self.url, body)] * count
        seconds, latencies = _client.post_all(self.url, requests)
        self.rates.append(count / seconds)
        self.p99s.append(_client.percentile(latencies, 99))


def compare(stack: Stack, relay: _events.Relay, size: int, count: int, what: str) -> list[_report.Row]:
    """Return the two rows for POSTs of one size."""
    [body] = _events.bodies(relay.mixed(size, size), size)
    floor, ours = Rounds(f"{stack.odoo.url}/sendgrid_bench/floor"), Rounds(stack.webhook_url())
    for number in range(ROUNDS + 1):
        for rounds in (floor, ours) if number % 2 else (ours, floor):
            rounds.run(body, count)
    for rounds in (floor, ours):  # drop the first round, which fills the caches
        del rounds.rates[0], rounds.p99s[0]
    rates = statistics.median(ours.rates), statistics.median(floor.rates)
    p99s = statistics.median(ours.p99s) * 1000, statistics.median(floor.p99s) * 1000
    return [
        _report.at_least(f"accept, {what}", *rates, 0.8, "posts/s"),
        _report.at_most(f"accept, {what}: p99", *p99s, 1.5, "ms"),
    ]


def add_backlog(name: str, count: int) -> int:
    """Store batches for the drain, with events of documents.

    :return: the id of the last batch
    """
    with _odoo.environment(name) as env:
        account = env.ref("sendgrid_tracking.sendgrid_account_demo")
        relay = _world.prepare(env, account, BACKLOG_DOCUMENTS)
        for body in _events.bodies(relay.mixed(1_700 * count, BACKLOG_DOCUMENTS), 1_700):
            env["sendgrid.event.batch"]._receive(account, body)
        env.cr.commit()
        return env["sendgrid.event.batch"].search([], order="id desc", limit=1).id


def give_key(name: str) -> None:
    """Give the account's key to the bare controller."""
    _stack.query(
        name,
        """INSERT INTO ir_config_parameter (key, value)
           SELECT 'sendgrid_bench_floor.key', verification_key FROM sendgrid_account WHERE verification_key IS NOT NULL
            LIMIT 1""",
    )


def measure(scale: float) -> list[_report.Row]:
    """Return the rows of the table."""
    rows = []
    relay = _events.Relay("bench", int(time.time()) - 86_400)
    with _stack.running(_stack.NO_CRON, prepare=give_key) as stack:
        for size, count in SIZES.items():
            rows += compare(stack, relay, size, max(int(count * scale), 8), f"{size:,} events")
    last = {}

    def prepare(name: str) -> None:
        give_key(name)
        last["id"] = add_backlog(name, max(int(BACKLOG * scale), 60))

    with _stack.running(_stack.ONE_CRON, prepare=prepare) as stack:
        for size, count in SIZES.items():
            rows += compare(stack, relay, size, max(int(count * scale), 8), f"{size:,} events beside a drain")
            # The drain takes the oldest batches first: our own POSTs wait behind the backlog.
            [[left]] = _stack.query(stack.odoo.database, OF_BACKLOG, last["id"])
            print(f"{left} batches of the backlog are left", flush=True)
            if not left:
                raise RuntimeError("The drain was done before the measurement was: a longer backlog is needed.")
    return rows


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
