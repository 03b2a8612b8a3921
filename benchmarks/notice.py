"""Measures how long the public page about measuring takes to refuse links that are none, such as guessed ones.

The floor is the server's own answer that it is alive (`/web/health`), which reads nothing either. Both take turns in
short rounds, with two workers and four clients.
"""

import os
import secrets
import sys
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor

from tools.sending import notice_token
from tools.sending.notice import ADDRESS

from . import _client, _report, _stack

COUNT, ROUNDS = 10_000, 10
CLIENTS = 4
PROMISED = 50  # milliseconds
HOLDER = notice_token.Holder(notice_token.LOOK, 1, int(time.time()), "somebody@bench.example.com")


def make_token(number: int) -> str:
    """Return a token that is none: of a stranger's secret, cut, made by chance, of another form, or far too long."""
    strangers = notice_token.seal(HOLDER, "another database's secret")
    return (
        strangers,
        strangers[: number % len(strangers)] + "~",
        urlsafe_b64encode(os.urandom(90)).decode(),
        f"%C3%A9%F0%9F%A7%80{secrets.token_hex(8)}",
        "A" * 4000,
    )[number % 5]


def get_all(url: str, paths: list[str], status: int) -> list[float]:
    """Get all paths, by several clients at once; return the seconds of each. Every answer has to have this status."""
    requests = [_client.make_request(url + path, b"", {}, method="GET") for path in paths]
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(lambda request: _client.send(url, request), requests))
    if wrong := {answer for answer, _seconds in answers} - {status}:
        raise RuntimeError(f"wrong answers: {wrong}")
    return [seconds for _answer, seconds in answers]


def measure(scale: float) -> list[_report.Row]:
    """Return the row of the table."""
    ours, floor = [], []
    count = max(int(COUNT * scale) // ROUNDS, 20)
    with _stack.running(_stack.NO_CRON) as stack:
        for number in range(ROUNDS + 1):
            tokens = [make_token(number * count + one) for one in range(count)]
            floor.append(get_all(stack.odoo.url, ["/web/health"] * count, 200))
            ours.append(get_all(stack.odoo.url, [f"{ADDRESS}/{token}" for token in tokens], 404))
    # The first round fills the caches.
    p95s = [_client.percentile(sum(rounds[1:], []), 95) * 1000 for rounds in (ours, floor)]
    promised = f"promised: {PROMISED} ms, {'held' if p95s[0] < PROMISED else 'not held'}"
    return [_report.at_most("notice, links that are none: p95", *p95s, 2, "ms", promised)]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
