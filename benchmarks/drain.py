"""Measures how many events a second the drain works off, beside how many plain rows a second the ORM creates.

The drain gets 100,000 events in batches of 1,000, over 20,000 documents of as many contacts, with messages and
notifications; all consequences and the shipped automation rules are on. The floor creates 100,000 rows of a model with
20 columns and 4 indexes. They take turns, so that a machine that becomes slower or faster meanwhile does so for both.
Both are timed in CPU seconds of this process and of PostgreSQL. On an otherwise idle machine that is about the time on
the wall, and on a busy one it depends less on the other programs.
"""

import sys
from datetime import datetime, timedelta

from . import _events, _odoo, _report, _world
from ._clock import Clock
from ._null_web import null_web
from ._odoo import Env

EVENTS, BATCH, DOCUMENTS = 100_000, 1_000, 20_000
TURNS = 5


def drain(env: Env) -> None:
    """Process all that waits as the cron does, with a commit after each chunk."""
    while env["sendgrid.drain"]._drain():
        env.cr.commit()
    env.cr.commit()


def create_rows(env: Env, count: int) -> None:
    """Create plain rows by the ORM, 1,000 at a time: the floor."""
    Row = env["sendgrid.bench.floor.row"]
    partners = env["res.partner"].search([], limit=1000).ids
    moment = datetime(2026, 1, 1)
    for first in range(0, count, BATCH):
        Row.create(
            [
                {
                    "partner_id": partners[number % len(partners)],
                    "user_id": env.uid,
                    "name": f"Row {number}",
                    "key": f"{number:040x}",
                    "code": f"code-{number}",
                    "address": f"row{number}@bench.example.com",
                    "link": "https://www.example.com/",
                    "agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
                    "place": "203.0.113.7",
                    "kind": "one",
                    "state": "new",
                    "moment": moment + timedelta(seconds=number),
                    "day": moment.date(),
                    "reason": "550 5.1.1 User unknown",
                    "answer": "250 2.0.0 OK",
                    "attempt": number % 7,
                    "group": number % 11,
                    "weight": 1.5,
                    "is_first": number % 2 == 0,
                    "is_last": False,
                }
                for number in range(first, min(first + BATCH, count))
            ]
        )
        env.cr.commit()
        env.invalidate_all()


def measure(scale: float) -> list[_report.Row]:
    """Return the row of the table."""
    events, documents = int(EVENTS * scale), int(DOCUMENTS * scale)
    with _odoo.fresh_database(_odoo.FLOOR) as name, null_web() as url, _odoo.environment(name) as env:
        account = env["sendgrid.account"].create({"name": "Benchmark"})
        relay = _world.prepare(env, account, documents)
        _world.switch_on_rules(env, url)
        env.cr.commit()
        bodies = list(_events.bodies(relay.mixed(events, documents), BATCH))
        floor, ours = Clock(env.cr), Clock(env.cr)
        for turn in range(TURNS):
            for body in bodies[turn::TURNS]:
                env["sendgrid.event.batch"]._receive(account, body)
            env.cr.commit()
            with floor:
                create_rows(env, events // TURNS)
            with ours:
                drain(env)
        stored = env["sendgrid.event"].search_count([("match", "=", "odoo_id")])
        assert stored == events, f"{stored} of {events} events were matched"
    absolute = f"{ours.cpu:.1f} s CPU ({ours.python:.1f} Python), {ours.wall:.1f} s; floor {floor.cpu:.1f} s CPU"
    return [_report.at_least("drain", events / ours.cpu, events / floor.cpu, 0.4, "rows/s", absolute)]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
