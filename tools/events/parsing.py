"""This module reads the body of a webhook POST defensively: good events land, others are named, no element raises."""

import re
import sys
from dataclasses import dataclass
from typing import Any

from .errors import BatchError, EventError
from .event import ACCOUNT_EVENT, DELIVERY_EVENTS, ENGAGEMENT_EVENTS, Event
from .lenient_json import AbsurdNumber, get_kind, read_list
from .refusal import told_cause

__all__ = ("BatchError", "EventError", "Rejected", "parse_batch", "read_integer", "read_text", "read_timestamp")

MAX_TEXT = 64 * 1024
# Ids are indexed; the longest seen has 73 characters, and a line of a mail's header 998.
MAX_ID = 998
# SendGrid began in 2009: an event that claims to be older, or from another century, is a mistake.
FIRST_TIMESTAMP, LAST_TIMESTAMP = 1_230_768_000, 4_102_444_800
# A Single Send sample of the docs prints milliseconds; real captures are seconds.
MILLISECONDS_FROM = 100_000_000_000
MAX_INTEGER = 2**31 - 1
MAX_ARGUMENT = 128
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An element of the list that is no event: its zero-based position, and the text of its `EventError`."""

    index: int
    reason: str


def parse_batch(body: bytes) -> tuple[list[Event], list[Rejected]]:
    """Read the body of one POST.

    :param body: the raw bytes; SendGrid sends a JSON list, also for a single event
    :return: the events in the order sent, and the elements that are none
    :raise BatchError: the body is no JSON list
    """
    events, rejected = [], []
    for index, element in enumerate(read_list(body)):
        try:
            event = _parse_event(element)
            if event.event in ("bounce", "dropped"):
                event.refusal_cause = told_cause(event)
            events.append(event)
        except EventError as error:
            # Elements with the same reason share one text: millions of elements fit into a body.
            rejected.append(Rejected(index, sys.intern(str(error))))
    return events, rejected


def _parse_event(element: Any) -> Event:
    if isinstance(element, EventError):
        raise element
    if not isinstance(element, dict):
        raise EventError("not_an_object", kind=get_kind(element))
    name = read_text(element, "event", limit=64)
    if not name:
        raise EventError("missing", key="event")
    recipient = read_text(element, "email", limit=320).lower()
    # The vendor documents that a dropped event may have no address; account events are about nobody.
    if not recipient and name != "dropped" and name in DELIVERY_EVENTS + ENGAGEMENT_EVENTS:
        raise EventError("missing", key="email")
    return Event(
        event=name,
        timestamp=read_timestamp(element),
        recipient="" if name == ACCOUNT_EVENT else recipient,
        sg_event_id=read_text(element, "sg_event_id", limit=MAX_ID),
        sg_message_id=read_text(element, "sg_message_id", limit=MAX_ID),
        smtp_id=read_text(element, "smtp-id", limit=MAX_ID),
        odoo_db=_read_argument(element, "odoo_db"),
        odoo_id=_read_argument(element, "odoo_id"),
        reason=read_text(element, "reason"),
        response=read_text(element, "response"),
        smtp_status=read_text(element, "status"),
        attempt=read_integer(element, "attempt"),
        bounce_type=read_text(element, "type") if name in ("bounce", ACCOUNT_EVENT) else "",
        bounce_classification=read_text(element, "bounce_classification"),
        url=read_text(element, "url"),
        url_offset=_read_url_offset(element),
        ip=read_text(element, "ip"),
        user_agent=read_text(element, "useragent"),
        sg_machine_open=_read_boolean(element, "sg_machine_open"),
        asm_group_id=read_integer(element, "asm_group_id"),
    )


def read_text(element: dict[str, Any], key: str, limit: int = MAX_TEXT) -> str:
    """Return a text of an object, ``""`` if it is absent.

    :param limit: how many characters it may have
    :raise EventError: it is no text, longer than that, or cannot be stored
    """
    value = element.get(key)
    if value is None:
        return ""
    # Nearly all texts are plain: a dozen of an event, so that the tests below would take a third of reading it.
    if type(value) is str and len(value) <= limit and value.isascii() and "\x00" not in value:
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or isinstance(value, AbsurdNumber):
        raise EventError("not_a_text", key=key, kind=get_kind(value))
    if len(value) > limit:
        raise EventError("too_long", key=key, limit=limit)
    if UNSTORABLE.search(value):
        raise EventError("unstorable", key=key)
    return value.strip()


def _read_argument(element: dict[str, Any], key: str) -> str:
    """Return one of our own unique arguments, ``""`` if it is not as we send it: then somebody else sent it."""
    value = element.get(key)
    usable = isinstance(value, str) and len(value) <= MAX_ARGUMENT and not UNSTORABLE.search(value)
    return value if usable else ""


def read_integer(element: dict[str, Any], key: str) -> int | None:
    """Return a number of an object, None if it is absent.

    :raise EventError: it is no number that the database can store
    """
    value = element.get(key)
    if value is None or value == "":
        return None
    # SendGrid sends attempt as a string, asm_group_id as a number.
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        raise EventError("not_a_number", key=key, limit=MAX_INTEGER)
    return value


def read_timestamp(element: dict[str, Any]) -> int:
    """Return the ``timestamp`` of an object in Unix seconds.

    :raise EventError: it is missing, no number of seconds, or not of this age
    """
    value = element.get("timestamp")
    if value is None:
        raise EventError("missing", key="timestamp")
    if isinstance(value, str) and len(value) < 20 and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value == value and abs(value) < 1e18:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise EventError("not_seconds", key="timestamp")
    if value > MILLISECONDS_FROM:
        value //= 1000
    if not FIRST_TIMESTAMP <= value < LAST_TIMESTAMP:
        raise EventError("not_of_this_age", key="timestamp")
    return value


def _read_boolean(element: dict[str, Any], key: str) -> bool:
    value = element.get(key)
    if value in (None, "", "false"):
        return False
    if value == "true":
        return True
    if not isinstance(value, bool):
        raise EventError("not_a_boolean", key=key)
    return value


def _read_url_offset(element: dict[str, Any]) -> str:
    """Return where the link stands in the message, as ``html:2``; the docs' table wrongly calls it an integer."""
    value = element.get("url_offset")
    if value is None:
        return ""
    if isinstance(value, dict):
        kind, index = read_text(value, "type", limit=16), read_integer(value, "index")
        return f"{kind}:{'' if index is None else index}"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return f":{value}"
    raise EventError("not_an_offset", key="url_offset", kind=get_kind(value))
