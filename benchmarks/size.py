"""Measures the disk space of 200,000 events, indexes included, beside OCA's `mail_tracking_event` with equal content.

Our events come by the drain, as always. Theirs are written in SQL, in the columns that their webhook fills.
"""

import sys

import psycopg2.extras
from psycopg2 import sql

from . import _events, _oca, _odoo, _report, _stack, _world
from .drain import drain

EVENTS, DOCUMENTS, LIMIT = 200_000, 40_000, 1
SIZE = "SELECT pg_total_relation_size(%s), pg_indexes_size(%s)"
# The columns that their controller fills from an event; the kinds are called as there.
KINDS = {
    "processed": "sent",
    "delivered": "delivered",
    "open": "open",
    "click": "click",
    "deferred": "deferral",
    "bounce": "hard_bounce",
    "spamreport": "spam",
    "dropped": "reject",
}
INSERT = """
    INSERT INTO mail_tracking_event (recipient, recipient_address, timestamp, time, date, tracking_email_id, event_type,
                                     url, ip, user_agent, mobile, os_family, ua_family, ua_type, error_type,
                                     error_description, error_details, mailgun_id, create_uid, write_uid, create_date,
                                     write_date)
    VALUES %s
"""
ROW = (
    "(%s, %s, %s, to_timestamp(%s) AT TIME ZONE 'UTC', to_timestamp(%s)::date, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, "
    "%s, %s, %s, 1, 1, now(), now())"
)


def measure_ours(count: int, documents: int) -> tuple[tuple[float, float], list[dict]]:
    """Return (bytes, bytes of indexes) per event, and SendGrid's events."""
    with _odoo.fresh_database() as name:
        with _odoo.environment(name) as env:
            account = env["sendgrid.account"].create({"name": "Benchmark"})
            relay = _world.prepare(env, account, documents)
            events = list(relay.mixed(count, documents))
            for body in _events.bodies(events, 1_000):
                env["sendgrid.event.batch"]._receive(account, body)
            env.cr.commit()
            drain(env)
        return per_event(name, "sendgrid_event", count), events


def measure_theirs(events: list[dict], documents: int) -> tuple[float, float]:
    """Return (bytes, bytes of indexes) per event."""
    with _oca.fresh_database(_oca.MAILGUN) as name:
        _stack.query(
            name,
            "INSERT INTO mail_tracking_email (name) SELECT 'Your quotation ' || n FROM generate_series(1, %s) n",
            documents,
        )
        [[first]] = _stack.query(name, "SELECT min(id) FROM mail_tracking_email")
        with psycopg2.connect(dbname=name) as connection, connection.cursor() as cursor:
            psycopg2.extras.execute_values(
                cursor,
                INSERT,
                [to_their_row(event, first, number) for number, event in enumerate(events)],
                template=ROW,
                page_size=1_000,
            )
        connection.close()
        return per_event(name, "mail_tracking_event", len(events))


def to_their_row(event: dict, first: int, number: int) -> tuple:
    """Return the values of `ROW`, as their `_process_data` and `_mailgun_metadata` choose them.

    Their events need different ids, and the mix repeats some: each event gets its ``number``, in an id of the same
    length.
    """
    moment, agent = event["timestamp"], event.get("useragent")
    refusal = event.get("reason") if event["event"] in ("bounce", "dropped") else event.get("response")
    is_refusal = event["event"] in ("bounce", "dropped", "deferred")
    return (
        event["email"], event["email"], moment, moment, moment,
        first + int(event["email"].partition("@")[0].removeprefix("contact")) - 1,
        KINDS.get(event["event"], "unsub"), event.get("url"), event.get("ip"), agent, False,
        "Linux" if agent else None, "Chrome" if agent else None, "browser" if agent else None,
        "550" if is_refusal else None, refusal if is_refusal else None, None,
        f"{event['sg_event_id'][:-6]}{number:06x}",
    )  # fmt: skip


def per_event(name: str, table: str, count: int) -> tuple[float, float]:
    """Return the bytes on disk per row, and how many of them are indexes."""
    _stack.query(name, sql.SQL("VACUUM ANALYZE {}").format(sql.Identifier(table)))
    [[total, indexes]] = _stack.query(name, SIZE, table, table)
    return total / count, float(indexes) / count


def measure(scale: float) -> list[_report.Row]:
    """Return the row of the table."""
    count, documents = int(EVENTS * scale), int(DOCUMENTS * scale)
    (ours, our_indexes), events = measure_ours(count, documents)
    theirs, their_indexes = measure_theirs(events, documents)
    absolute = f"of it indexes: {our_indexes:.0f} B, OCA's {their_indexes:.0f} B"
    return [_report.at_most("size of an event on disk", ours, theirs, LIMIT, "B", absolute)]


if __name__ == "__main__":
    sys.exit(_report.run(measure, __doc__))
