"""Every event's fields match the field matrix of Twilio's Event Webhook reference, corrected by real traffic."""

import base64
import json
import re

import pytest

from sandbox import events
from sandbox.message import Message

EVERY = {"email", "event", "timestamp", "sg_event_id", "sg_message_id"}
MAY = {"category", "asm_group_id", "shop", "copy"}  # the last two are our unique args
# For each kind the fields that it always has, and those that it may have; it never has any other.
MATRIX = {
    "processed": (EVERY | {"smtp-id"}, MAY | {"pool", "send_at"}),
    "dropped": (EVERY | {"smtp-id", "reason"}, MAY | {"status", "pool"}),
    "deferred": (EVERY | {"smtp-id", "response", "attempt"}, MAY | {"domain", "from", "ip", "tls", "cert_err"}),
    "delivered": (EVERY | {"smtp-id", "response", "ip"}, MAY | {"tls", "cert_err"}),
    "bounce": (
        EVERY | {"smtp-id", "type", "bounce_classification", "reason"},
        MAY | {"status", "ip", "tls", "cert_err"},
    ),
    "open": (EVERY | {"ip", "useragent"}, MAY | {"url", "sg_machine_open", "sg_content_type"}),
    "click": (EVERY | {"ip", "useragent", "url", "url_offset"}, MAY),
    "spamreport": (EVERY, MAY - {"asm_group_id"}),
    "unsubscribe": (EVERY, (MAY | {"ip", "useragent"}) - {"asm_group_id"}),
    "group_unsubscribe": (EVERY | {"ip", "useragent", "asm_group_id"}, MAY | {"url"}),
    "group_resubscribe": (EVERY | {"ip", "useragent", "asm_group_id"}, MAY | {"url"}),
}
TYPES = {
    "timestamp": int,
    "category": list,
    "attempt": str,
    "tls": int,
    "cert_err": str,
    "url_offset": dict,
    "sg_machine_open": bool,
    "asm_group_id": int,
    "pool": dict,
    "send_at": int,
}
HEADER = {"unique_args": {"shop": "s1", "copy": "c1"}, "category": ["one", "two"], "asm_group_id": 7}


def a_copy(header=None, address="ada@example.org", index=0):
    header = HEADER if header is None else header
    raw = (
        f"Message-ID: <id@example.com>\r\nX-SMTPAPI: {json.dumps(header)}\r\nContent-Type: text/html\r\n\r\n"
        '<a href="http://a.example/first"><a href="http://a.example/second">'
    )
    return Message(raw.encode(), ["x@example.org"] * index + [address], "shop@example.com").copies[index]


@pytest.mark.parametrize("kind", MATRIX)
def test_fields(kind):
    wire = events.build(kind, a_copy(), 1795500000)
    always, may = MATRIX[kind]
    assert always <= set(wire) <= always | may
    assert {"shop", "copy", "category"} <= set(wire)
    for name, value in wire.items():
        assert type(value) is TYPES.get(name, str), name
    assert (wire["event"], wire["email"], wire["timestamp"]) == (kind, "ada@example.org", 1795500000)
    assert wire["category"] == ["one", "two"]
    assert wire.get("smtp-id") == ("<id@example.com>" if "smtp-id" in always else None)


def test_the_matrix_is_complete():
    assert set(MATRIX) | {"account_status_change"} == set(events.NAMES)
    assert len(events.NAMES) == 12


@pytest.mark.parametrize("kind", events.VARIANTS)
def test_variants_have_the_fields_of_their_event(kind):
    wire = events.build(kind, a_copy(), 1795500000)
    name = events.VARIANTS[kind][0]
    always, may = MATRIX[name]
    if kind == "late-bounce":
        always = {"email", "event", "timestamp", "sg_event_id", "sg_message_id", "type", "reason"}
        may = {"status"}
        assert wire["sg_message_id"] == ""
    assert always <= set(wire) <= always | may
    assert wire["event"] == name


def test_variants_say_what_they_are():
    wires = {kind: events.build(kind, a_copy(), 0) for kind in events.VARIANTS}
    assert wires["blocked"]["type"] == "blocked"
    assert wires["machine-open"]["sg_machine_open"] is True
    assert {wires[kind]["reason"] for kind in wires if kind.startswith("dropped-")} == {
        "Unsubscribed Address",
        "Spam Reporting Address",
        "Invalid",
        "Invalid SMTPAPI header",
    }


def test_account_status_change_has_four_fields():
    wire = events.build_account("compliance_suspend", 1795500000)
    assert wire == {
        "event": "account_status_change",
        "sg_event_id": "NDgxMjAwMzMtc3VzcGVuZC0xNzk1NTAwMDAw",
        "timestamp": 1795500000,
        "type": "compliance_suspend",
    }


def test_without_header_no_category_group_or_args():
    wire = events.build("delivered", a_copy({}), 0)
    assert set(wire) == EVERY | {"smtp-id", "response", "ip", "tls"}


def test_an_arg_gives_way_only_to_a_field_of_this_very_event():
    copy = a_copy({"unique_args": {"type": "mine", "email": "mine", "reason": "mine"}})
    delivered = events.build("delivered", copy, 0)
    assert (delivered["type"], delivered["email"], delivered["reason"]) == ("mine", "ada@example.org", "mine")
    bounce = events.build("bounce", copy, 0)
    assert bounce["type"] == "bounce"
    assert bounce["reason"].startswith("550")


def test_shape_of_ids():
    copy = a_copy(index=3)
    queued = copy.message.id
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", queued)
    wire = events.build("delivered", copy, 0)
    pattern = rf"{re.escape(queued)}\.recvd-[0-9a-f]{{10}}-[a-z0-9]{{5}}-1-[0-9A-F]{{8}}-[0-9A-F]+\.3"
    assert re.fullmatch(pattern, wire["sg_message_id"])
    readable = {
        "processed": f"processed-48120033-{queued}-3",
        "dropped": f"drop-48120033-{queued}-3",
        "deferred": f"deferred-0-48120033-{queued}-3",
        "delivered": f"delivered-0-48120033-{queued}-3",
        "bounce": f"bounce-0-48120033-{queued}-3",
    }
    for kind in events.DELIVERY:
        event_id = events.build(kind, copy, 0)["sg_event_id"]
        assert not event_id.endswith("=")
        assert base64.urlsafe_b64decode(event_id + "==").decode() == readable[kind]
    for kind in events.ENGAGEMENT:
        first, second = (events.build(kind, copy, 0)["sg_event_id"] for _ in range(2))
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", first)
        assert first != second


def test_attempts_count():
    copy = a_copy()
    copy.attempts = 4
    assert events.build("deferred", copy, 0)["attempt"] == "4"
    assert base64.urlsafe_b64decode(events.build("bounce", copy, 0)["sg_event_id"] + "==").startswith(b"bounce-4-")


def test_details_override_add_and_take_out():
    wire = events.build("bounce", a_copy(), 0, {"status": None, "reason": "x", "extra": [1], "timestamp": 5})
    assert "status" not in wire
    assert (wire["reason"], wire["extra"], wire["timestamp"]) == ("x", [1], 5)


def test_links_are_told_apart():
    copy = a_copy()
    assert events.link_fields(copy, 1) == {"url": "http://a.example/second", "url_offset": {"index": 1, "type": "html"}}
    assert events.link_fields(copy, 9)["url_offset"] == {"index": 0, "type": "html"}
