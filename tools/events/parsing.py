"""The body of a webhook POST, read defensively: what is good lands, what is not is named, nothing raises."""

import json
import re
import sys
from dataclasses import dataclass

from .event import ACCOUNT_EVENT, DELIVERY_EVENTS, ENGAGEMENT_EVENTS, Event

MAX_TEXT = 64 * 1024
# Ids are indexed; the longest seen has 73 characters, and a line of a mail's header 998.
MAX_ID = 998
# SendGrid began in 2009; what claims to be older, or from another century, is a mistake.
FIRST_TIMESTAMP, LAST_TIMESTAMP = 1_230_768_000, 4_102_444_800
# A Single Send sample of the docs prints milliseconds; real captures are seconds.
MILLISECONDS_FROM = 100_000_000_000
MAX_INTEGER = 2**31 - 1
MAX_ARGUMENT = 128
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# One token of JSON as far as its nesting goes: a string (in which brackets mean nothing), or a bracket or comma.
NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


class BatchError(ValueError):
    """The body as a whole is not what SendGrid sends; the message says why, for people."""


class EventError(ValueError):
    """One element is not an event; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An element of the list that is no event: its zero-based position, and the reason in words."""

    index: int
    reason: str


class _AbsurdNumber(str):
    """A number nobody can mean (thousands of digits, NaN): of no type that a field accepts."""


def parse_batch(body: bytes) -> tuple[list[Event], list[Rejected]]:
    """Read the body of one POST.

    :param body: the raw bytes; SendGrid sends a JSON list, also for a single event
    :return: the events in the order sent, and the elements that are none
    :raise BatchError: the body is no JSON list
    """
    events, rejected = [], []
    for index, element in enumerate(_elements(body)):
        try:
            events.append(_parse_event(element))
        except EventError as error:
            # One text for all that have it: millions of elements fit into a body.
            rejected.append(Rejected(index, sys.intern(str(error))))
    return events, rejected


def _elements(body):
    # Broken UTF-8 becomes lone surrogates, so that only the event that holds them is rejected.
    text = body.decode("utf-8-sig", "surrogateescape")
    try:
        elements = _loads(text)
    except RecursionError:
        return _elements_one_by_one(text)
    except ValueError as error:
        raise BatchError(f"The body is not JSON: {error}") from error
    if not isinstance(elements, list):
        raise BatchError(f"The body is not a list of events but {_type_name(elements)}.")
    return elements


def _loads(text):
    # Not strict: a control character costs the event that holds it, not the whole body.
    return json.loads(text, strict=False, parse_int=_parse_int, parse_constant=_AbsurdNumber)


def _parse_int(digits):
    # int() raises from 4,300 digits, and that would cost the whole body.
    return int(digits) if len(digits) <= 20 else _AbsurdNumber(digits)


def _elements_one_by_one(text):
    """Read the elements of a list of which one is nested too deeply to be read, so that its neighbours are not lost."""
    text = text.strip()
    if not text.startswith("["):
        raise BatchError("The body is nested too deeply.")
    elements, depth, start = [], 0, 1
    for token in NESTING.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        if (mark == "," and depth == 1) or (mark == "]" and depth == 0):
            element = text[start : token.start()]
            start = token.end()
            try:
                elements.append(_loads(element))
            except RecursionError:
                elements.append(EventError("It is nested too deeply."))
            except ValueError as error:
                raise BatchError(f"The body is not JSON: {error}") from error
            if depth == 0:
                break
    if depth or text[start:].strip():
        raise BatchError("The body is not JSON: it ends too early, or goes on after its end.")
    return elements


def _parse_event(element):
    if isinstance(element, EventError):
        raise element
    if not isinstance(element, dict):
        raise EventError(f"It is not an object but {_type_name(element)}.")
    name = read_text(element, "event", limit=64)
    if not name:
        raise EventError("It has no event name.")
    recipient = read_text(element, "email", limit=320).lower()
    # The vendor documents that a dropped event may have no address; account events are about nobody.
    if not recipient and name != "dropped" and name in DELIVERY_EVENTS + ENGAGEMENT_EVENTS:
        raise EventError("It has no email.")
    return Event(
        event=name,
        timestamp=read_timestamp(element),
        recipient="" if name == ACCOUNT_EVENT else recipient,
        sg_event_id=read_text(element, "sg_event_id", limit=MAX_ID),
        sg_message_id=read_text(element, "sg_message_id", limit=MAX_ID),
        smtp_id=read_text(element, "smtp-id", limit=MAX_ID),
        odoo_db=_argument(element, "odoo_db"),
        odoo_id=_argument(element, "odoo_id"),
        reason=read_text(element, "reason"),
        response=read_text(element, "response"),
        smtp_status=read_text(element, "status"),
        attempt=read_integer(element, "attempt"),
        bounce_type=read_text(element, "type") if name in ("bounce", ACCOUNT_EVENT) else "",
        bounce_classification=read_text(element, "bounce_classification"),
        url=read_text(element, "url"),
        url_offset=_url_offset(element),
        ip=read_text(element, "ip"),
        user_agent=read_text(element, "useragent"),
        sg_machine_open=_boolean(element, "sg_machine_open"),
        asm_group_id=read_integer(element, "asm_group_id"),
    )


def read_text(element, key, limit=MAX_TEXT):
    """Return a text of an object, ``""`` if it is absent; raise `EventError` if it is none, or longer than that."""
    value = element.get(key)
    if value is None:
        return ""
    # Nearly all texts are plain: a dozen of an event, so that the tests below would take a third of reading it.
    if type(value) is str and len(value) <= limit and value.isascii() and "\x00" not in value:
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or isinstance(value, _AbsurdNumber):
        raise EventError(f"Its {key} is {_type_name(value)}, not a text.")
    if len(value) > limit:
        raise EventError(f"Its {key} is longer than {limit:,} characters.")
    if UNSTORABLE.search(value):
        raise EventError(f"Its {key} holds characters that no text can hold.")
    return value.strip()


def _argument(element, key):
    """Read one of our own unique arguments: what is not as we sent it was not sent by us."""
    value = element.get(key)
    usable = isinstance(value, str) and len(value) <= MAX_ARGUMENT and not UNSTORABLE.search(value)
    return value if usable else ""


def read_integer(element, key):
    """Return a number of an object, None if it is absent; raise `EventError` if it is none that can be stored."""
    value = element.get(key)
    if value is None or value == "":
        return None
    # SendGrid sends attempt as a string, asm_group_id as a number.
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        raise EventError(f"Its {key} is not a number from 0 to {MAX_INTEGER:,}.")
    return value


def read_timestamp(element):
    """Return the ``timestamp`` of an object in Unix seconds; raise `EventError` if it is none of this age."""
    value = element.get("timestamp")
    if isinstance(value, str) and len(value) < 20 and value.strip().isascii() and value.strip().isdigit():
        value = int(value)
    if isinstance(value, float) and value == value and abs(value) < 1e18:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise EventError("Its timestamp is missing." if value is None else "Its timestamp is not a number of seconds.")
    if value > MILLISECONDS_FROM:
        value //= 1000
    if not FIRST_TIMESTAMP <= value < LAST_TIMESTAMP:
        raise EventError("Its timestamp is not of this age.")
    return value


def _boolean(element, key):
    value = element.get(key)
    if value in (None, "", "false"):
        return False
    if value == "true":
        return True
    if not isinstance(value, bool):
        raise EventError(f"Its {key} is neither true nor false.")
    return value


def _url_offset(element):
    """Say where the link stands in the message, as ``html:2``; the docs' table wrongly calls it an integer."""
    value = element.get("url_offset")
    if value is None:
        return ""
    if isinstance(value, dict):
        kind, index = read_text(value, "type", limit=16), read_integer(value, "index")
        return f"{kind}:{'' if index is None else index}"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return f":{value}"
    raise EventError(f"Its url_offset is {_type_name(value)}, not an object.")


def _type_name(value):
    if isinstance(value, _AbsurdNumber):
        return "an absurd number"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "nothing")
