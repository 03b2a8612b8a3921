"""The Email Logs and the Email Activity, and their query language."""

import json
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.history import iso
from sandbox.query import QueryError, parse

ARGS = {"copy_id": "c1", "type": "mine", "event": "never"}
HEADER = {"unique_args": ARGS, "category": ["shop"], "asm_group_id": 1042}
HTML = '<a href="http://a.example/x">x</a>'


def logs(program, query=None, **body):
    answer = program.v3("POST", "/logs", body | ({"query": query} if query else {}))
    assert answer.status == 200, answer.text
    return answer.json["messages"]


def log(program, sg_message_id):
    answer = program.v3("GET", f"/logs/{quote(sg_message_id, safe='')}")
    assert answer.status == 200, answer.text
    return answer.json


def test_everything_that_happened_is_in_the_log(program):
    """The log has all events as on the wire, with the args kept apart."""
    message = program.send(["ada@example.org"], html=HTML, smtpapi=HEADER)
    for event in ("deferred", "click", "machine-open", "open", "blocked", "bounce", "spamreport", "unsubscribe",
                  "group_unsubscribe", "group_resubscribe", "dropped", "late-bounce"):  # fmt: skip
        program.fire(message, 0, event)
    [copy] = program.message(message)["recipients"]
    [row] = logs(program)
    assert row["sg_message_id"] == copy["sg_message_id"]
    detail = log(program, row["sg_message_id"])
    assert (detail["category"], detail["custom_args"], detail["asm_group_id"]) == (["shop"], ARGS, 1042)
    wires = [event for event in copy["events"] if event["sg_message_id"]]
    assert len(detail["events"]) == len(wires)
    for event in detail["events"]:
        assert event.pop("custom_args") == ARGS
        assert bool(event.pop("date", "")) == (event["event"] == "unsubscribe")
        assert any(event.items() <= wire.items() for wire in wires)
        assert not event.keys() & {"copy_id"}
        assert ("type" in event) == (event["event"] == "bounce")


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("ada@example.org", "delivered"),
        ("bounce@example.org", "bounced"),
        ("blocked@example.org", "blocked"),
        ("dropped@example.org", "dropped"),
        ("deferred@example.org", "deferred"),
        ("machine-open@example.org", "delivered"),
    ],
)
def test_status(program, address, status):
    program.send([address], html="<p>x</p>")
    assert [(row["to_email"], row["status"]) for row in logs(program)] == [(address, status)]
    assert len(logs(program, f"status IN ('{status}')")) == 1
    assert logs(program, "status IN ('processed')") == []


def test_log_queries(program):
    started = int(time.time())
    sent = [program.send([f"p{number}@example.org"], subject=f"It's {number}") for number in range(12)]
    assert [row["to_email"] for row in logs(program)] == [f"p{number}@example.org" for number in range(11, 1, -1)]
    assert len(logs(program, limit=1000)) == 12
    [row] = logs(program, 'to_email="p3@example.org" AND subject = "It\'s 3"')
    assert row["from_email"] == "shop@example.com"
    sg_message_id = sent[5]["recipients"][0]["sg_message_id"]
    assert [row["to_email"] for row in logs(program, f"sg_message_id='{sg_message_id}'")] == ["p5@example.org"]
    since, until = iso(started), iso(started + 3600)
    between = f'sg_message_id_created_at >= TIMESTAMP "{since}" AND sg_message_id_created_at < TIMESTAMP "{until}"'
    assert len(logs(program, between, limit=1000)) == 12
    assert logs(program, f'sg_message_id_created_at >= TIMESTAMP "{until}"') == []
    for limit in (0, 1001):
        assert program.v3("POST", "/logs", {"limit": limit}).status == 400
    assert program.v3("GET", "/logs/nothing").status == 404


@pytest.mark.parametrize(
    "query",
    [
        "to_email",
        "to_email=",
        "to_email = ada@example.org",
        "to_email LIKE 'a%'",
        "to_email = 'a' OR to_email = 'b'",
        "(to_email = 'a')",
        "to_email = 'a' AND",
        "status = 'delivered'",
        "status IN ()",
        "status IN ('a'",
        "colour = 'red'",
        "sg_message_id LIKE 'x%'",
        "sg_message_id_created_at BETWEEN TIMESTAMP '2026-01-01' AND TIMESTAMP '2026-01-02'",
        "sg_message_id_created_at > '2026-01-01T00:00:00Z'",
        "sg_message_id_created_at > TIMESTAMP 'yesterday'",
        "'",
        ";",
    ],
)
def test_what_is_no_query_of_the_logs(program, query):
    answer = program.v3("POST", "/logs", {"query": query})
    assert answer.status == 400
    assert answer.json["errors"][0]["message"]


def test_activity(program):
    message = program.send(["ada@example.org", "bounce@example.org"], html=HTML, smtpapi=HEADER)
    for event in ("deferred", "open", "click", "spamreport", "group_unsubscribe"):
        program.fire(message, "ada@example.org", event)
    now = int(time.time())
    query = {
        "query": f'to_email="ada@example.org" AND last_event_time BETWEEN TIMESTAMP "{iso(now - 60)}" '
        f'AND TIMESTAMP "{iso(now + 60)}"'
    }
    [row] = program.v3("GET", f"/messages?{urlencode(query)}").json["messages"]
    assert (row["status"], row["opens_count"], row["clicks_count"]) == ("delivered", 1, 1)
    detail = program.v3("GET", f"/messages/{row['msg_id']}").json
    assert json.loads(detail["unique_args"]) == ARGS
    assert [event["event_name"] for event in detail["events"]] == [
        "processed", "delivered", "deferred", "opened", "clicked", "spam_report", "group_unsubscribe",
    ]  # fmt: skip
    prefix = {"query": f"msg_id LIKE '{message['id']}%'", "limit": 1000}
    rows = program.v3("GET", f"/messages?{urlencode(prefix)}").json["messages"]
    assert {one["to_email"]: one["status"] for one in rows} == {
        "ada@example.org": "delivered",
        "bounce@example.org": "not_delivered",
    }
    assert program.v3("GET", "/messages").status == 400
    assert program.v3("GET", "/messages?query=colour%3D%22red%22").status == 400


TEXT = frozenset(("=", "IN", "LIKE"))


@given(st.text(alphabet="ab%'\" \n", max_size=6), st.text(alphabet="ab%'\" \n", max_size=6))
def test_text_is_compared_as_it_is(value, other):
    """A text in a query may hold anything, as long as one kind of quote does not occur in it."""
    quote_mark = next((mark for mark in "\"'" if mark not in value), None)
    if quote_mark is None:
        return
    row, quoted = {"name": other}, f"{quote_mark}{value}{quote_mark}"
    assert parse(f"name = {quoted}", {"name": TEXT})(row) == (value == other)
    assert parse(f"name IN ({quoted}, 'never')", {"name": TEXT})(row) == (value == other)
    if "%" not in value:
        assert parse(f"name LIKE {quoted}", {"name": TEXT})(row) == (value == other)
        ending = f"name LIKE {quote_mark}{value}%{quote_mark}"
        assert parse(ending, {"name": TEXT})(row) == other.startswith(value)


@given(st.text(alphabet="name= INLIKE()',\"<>TIMESTAMPDB0:-", max_size=30))
def test_nonsense_is_refused_in_words(query):
    try:
        parse(query, {"name": TEXT, "time": frozenset(("<", "BETWEEN"))})
    except QueryError as error:
        assert str(error)
