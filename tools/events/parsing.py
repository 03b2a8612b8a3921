"""This module reads the body of a webhook POST defensively: good events land, others are named, no element raises.

Name, address and time make an event, and nothing else can cost it. A further field is read only of the kinds of event
that have it, because whoever sends may give a custom argument the same name, and it then stands in the same place
(Twilio docs: Event Webhook reference, unique arguments). A field that is there and cannot be used stays empty and is
named in `Event.unread`.
"""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..address_form import comparable
from .errors import BatchError, EventError
from .event import ACCOUNT_EVENT, DELIVERY_EVENTS, ENGAGEMENT_EVENTS, Event
from .lenient_json import AbsurdNumber, get_kind, read_list
from .refusal import told_cause

__all__ = ("BatchError", "EventError", "Rejected", "parse_batch", "read_integer", "read_text", "read_timestamp")

MAX_TEXT = 64 * 1024
MAX_NAME, MAX_ADDRESS = 64, 320
# Ids are indexed, and an entry of an index takes 2,704 bytes. The longest id seen has 73 characters, and a line of a
# mail's header 998 bytes.
MAX_ID = 998
# SendGrid began in 2009: an event that claims to be older, or from another century, is a mistake.
FIRST_TIMESTAMP, LAST_TIMESTAMP = 1_230_768_000, 4_102_444_800
# A Single Send sample of the docs prints milliseconds; real captures are seconds. Smaller units are read alike.
MILLISECONDS_FROM = 100_000_000_000
# SendGrid itself wrote `send_at` as 1487700692.41447, and other libraries pass times on as texts.
DECIMAL = re.compile(r"\+?\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?", re.ASCII)
MAX_DECIMAL = 40
MAX_INTEGER = 2**31 - 1
MAX_ARGUMENT = 128
# No text of a database holds these. Broken UTF-8 has become U+FFFD already, see `lenient_json`.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\ufffd"
# The name of an event, in a body from which we have taken what the name was made of.
FINGERPRINT = "odoo_fingerprint"
# The old docs and SendGrid's staff write "Bounce", "Blocked", "Expired", and "bounced" too.
TYPES = {"bounced": "bounce", "block": "blocked"}


@dataclass(frozen=True, slots=True)
class Rejected:
    """An element of the list that is no event: its zero-based position, and the text of its `EventError`."""

    index: int
    reason: str


def parse_batch(body: bytes, is_rewritten: bool = False) -> tuple[list[Event], list[Rejected]]:
    """Read the body of one POST.

    :param body: the raw bytes; SendGrid sends a JSON list, also for a single event
    :param is_rewritten: we have taken details out of it, and noted the events' names; see `rewriting`
    :return: the events in the order sent, and the elements that are none
    :raise BatchError: the body is no JSON list
    """
    events, rejected = [], []
    for index, element in enumerate(read_list(body)):
        try:
            event = _parse_event(element)
            if event.event in ("bounce", "dropped"):
                event.refusal_cause = told_cause(event)
            if is_rewritten and (name := _read_argument(element.get(FINGERPRINT), FINGERPRINT, MAX_NAME)):
                event.fingerprint = name
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
    name = read_text(element, "event", limit=MAX_NAME)
    if not name:
        raise EventError("missing", key="event")
    values, unread = {}, []
    try:
        recipient = "" if name == ACCOUNT_EVENT else comparable(read_text(element, "email", limit=MAX_ADDRESS))
    except EventError:
        if name in ADDRESSED:
            raise
        recipient = ""
        unread.append("email")
    if not recipient and name in ADDRESSED:
        raise EventError("missing", key="email")
    timestamp = read_timestamp(element)
    for key, attribute, read, limit in FIELDS_OF_KIND.get(name, ALL_FIELDS):
        if (value := element.get(key)) is None:
            continue
        # Most values are plain texts. To ask the reader for each would take a third of reading an event.
        if limit and type(value) is str and len(value) <= limit and value.isascii() and "\x00" not in value:
            values[attribute] = value.strip()
            continue
        try:
            values[attribute] = read(value, key, limit)
        except EventError:
            unread.append(key)
    event = Event(name, timestamp, recipient, **values)
    if unread:
        event.unread = ",".join(unread)
    if not element.keys().isdisjoint(REMARKABLE.get(name, MARKETING)):
        event.is_marketing = any(element.get(key) for key in MARKETING)
        for key in FORMERLY_READ.get(name, ()):
            if key in element:
                _note_former(event, element, key)
    return event


def _note_former(event: Event, element: dict[str, Any], key: str) -> None:
    """Note what version 19.0.1.0.0 read from a field, if that made the fingerprint another one.

    It read these fields of all kinds of event, and kept the case of the type. What it could not use cost the event, so
    that nothing was stored.
    """
    field = _FIELDS[key]
    with suppress(EventError):
        value = read_text(element, key) if key == "type" else field.read(element[key], key, field.limit)
        if value not in (None, "", getattr(event, field.attribute)):
            event.former = {**(event.former or {}), field.attribute: value}


def read_text(element: dict[str, Any], key: str, limit: int = MAX_TEXT) -> str:
    """Return a text of an object, ``""`` if it is absent. Characters that no text can hold become U+FFFD.

    :param limit: how many characters it may have
    :raise EventError: it is no text, or longer than that
    """
    value = element.get(key)
    # Nearly all texts are plain. The tests below take five times as long.
    if type(value) is str and len(value) <= limit and value.isascii() and "\x00" not in value:
        return value.strip()
    return "" if value is None else _read_text(value, key, limit)


def read_integer(element: dict[str, Any], key: str) -> int | None:
    """Return a number of an object, None if it is absent.

    :raise EventError: it is no number that the database can store
    """
    return None if (value := element.get(key)) is None else _read_integer(value, key)


def read_timestamp(element: dict[str, Any]) -> int:
    """Return the ``timestamp`` of an object in Unix seconds. Fractions of a second are cut off.

    :raise EventError: it is missing, no number of seconds, or not of this age
    """
    value = element.get("timestamp")
    if value is None:
        raise EventError("missing", key="timestamp")
    if type(value) is str and len(value) <= MAX_DECIMAL and DECIMAL.fullmatch(text := value.strip()):
        # `float` is exact to a microsecond for seconds of this age, but not for nanoseconds as a whole number.
        value = int(text) if text.isdecimal() else float(text)
    if isinstance(value, float) and abs(value) < 1e22:  # which NaN and infinity are not
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise EventError("not_seconds", key="timestamp")
    while value > MILLISECONDS_FROM:
        value //= 1000
    if not FIRST_TIMESTAMP <= value < LAST_TIMESTAMP:
        raise EventError("not_of_this_age", key="timestamp")
    return value


# These read the value of a field, which is not None. They raise `EventError` if it cannot be used. `limit` is how many
# characters a text may have.


def _read_text(value: Any, key: str, limit: int = MAX_TEXT) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or isinstance(value, AbsurdNumber):
        raise EventError("not_a_text", key=key, kind=get_kind(value))
    if len(value) > limit:
        raise EventError("too_long", key=key, limit=limit)
    return UNSTORABLE.sub(REPLACEMENT, value).strip()


def _read_id(value: Any, key: str, limit: int = MAX_ID) -> str:
    """Return an id as a text, which may have ``limit`` bytes."""
    text = _read_text(value, key, limit)
    if len(text.encode()) > limit:
        raise EventError("too_long", key=key, limit=limit)
    return text


def _read_type(value: Any, key: str, _limit: int) -> str:
    kind = _read_text(value, key).lower()
    return TYPES.get(kind, kind)


def _read_argument(value: Any, _key: str, limit: int) -> str:
    """Return one of our own unique arguments, ``""`` if it is not as we send it: then somebody else sent it."""
    usable = isinstance(value, str) and len(value) <= limit and not UNSTORABLE.search(value)
    return value.strip() if usable else ""


def _read_integer(value: Any, key: str, _limit: int = 0) -> int | None:
    if value == "":
        return None
    # SendGrid sends attempt as a string, asm_group_id as a number.
    if isinstance(value, str) and len(value) < 20 and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
        raise EventError("not_a_number", key=key, limit=MAX_INTEGER)
    return value


def _read_boolean(value: Any, key: str, _limit: int) -> bool:
    if value in ("", "false"):
        return False
    if value == "true":
        return True
    if not isinstance(value, bool):
        raise EventError("not_a_boolean", key=key)
    return value


def _read_url_offset(value: Any, key: str, _limit: int) -> str:
    """Return where the link stands in the message, as ``html:2``; the docs' table wrongly calls it an integer."""
    if isinstance(value, dict):
        kind, index = read_text(value, "type", limit=16), read_integer(value, "index")
        return f"{kind}:{'' if index is None else index}"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER:
        return f":{value}"
    raise EventError("not_an_offset", key=key, kind=get_kind(value))


class _Field(NamedTuple):
    """A field of the wire: the attribute of `Event` that takes it, and how it is read.

    ``limit`` is how many characters a text may have; it is 0 for what is no plain text.
    """

    key: str
    attribute: str
    read: Callable[[Any, str, int], Any] = _read_text
    limit: int = MAX_TEXT


_FIELDS = {
    field.key: field
    for field in (
        _Field("sg_event_id", "sg_event_id", _read_id, MAX_ID),
        _Field("sg_message_id", "sg_message_id", _read_id, MAX_ID),
        _Field("smtp-id", "smtp_id", _read_id, MAX_ID),
        _Field("odoo_db", "odoo_db", _read_argument, MAX_ARGUMENT),
        _Field("odoo_id", "odoo_id", _read_argument, MAX_ARGUMENT),
        _Field("reason", "reason"),
        _Field("response", "response"),
        _Field("status", "smtp_status"),
        _Field("attempt", "attempt", _read_integer, 0),
        _Field("type", "bounce_type", _read_type, 0),
        _Field("bounce_classification", "bounce_classification"),
        _Field("url", "url"),
        _Field("url_offset", "url_offset", _read_url_offset, 0),
        _Field("ip", "ip"),
        _Field("useragent", "user_agent"),
        _Field("sg_machine_open", "sg_machine_open", _read_boolean, 0),
        _Field("asm_group_id", "asm_group_id", _read_integer, 0),
    )
}


def _get_fields(*keys: str) -> tuple[_Field, ...]:
    """Return the fields of a kind of event: those with these names, and those that all kinds have."""
    common = ("sg_event_id", "sg_message_id", "smtp-id", "odoo_db", "odoo_id")
    return tuple(_FIELDS[key] for key in (*common, *keys))


# {SendGrid's name of the event: its fields}, as far as they are kept. Sources: the tables of Twilio's Event Webhook
# reference, the schema of the events in Twilio's OpenAPI description of the Email Logs, and captured POSTs.
FIELDS_OF_KIND = {
    "processed": _get_fields("asm_group_id"),
    "dropped": _get_fields("reason", "status", "asm_group_id"),
    # The docs' table says reason; their sample, the schema and every capture say response.
    "deferred": _get_fields("reason", "response", "attempt", "ip", "asm_group_id"),
    "delivered": _get_fields("response", "ip", "asm_group_id"),
    "bounce": _get_fields("reason", "status", "type", "bounce_classification", "ip", "asm_group_id"),
    "open": _get_fields("ip", "useragent", "sg_machine_open", "url", "asm_group_id"),
    "click": _get_fields("ip", "useragent", "url", "url_offset", "asm_group_id"),
    "spamreport": _get_fields(),
    "unsubscribe": _get_fields("ip", "useragent"),
    "group_unsubscribe": _get_fields("ip", "useragent", "url", "asm_group_id"),
    "group_resubscribe": _get_fields("ip", "useragent", "url", "asm_group_id"),
    ACCOUNT_EVENT: _get_fields("type"),
}
# {SendGrid's name of the event: the fields of the fingerprint that version 19.0.1.0.0 read otherwise}
FORMERLY_READ = {
    kind: tuple(
        key
        for key in ("url", "url_offset", "attempt", "asm_group_id", "type")
        if (_FIELDS[key] in fields) == (key == "type")
    )
    for kind, fields in FIELDS_OF_KIND.items()
}
# Nobody knows which fields a kind of event has that SendGrid invents one day: rather show too much of it. Only "type"
# is left out, because it says something about bounces and accounts, and is the likeliest name of a custom argument.
ALL_FIELDS = tuple(field for field in _FIELDS.values() if field.key != "type")
# One of these is in each event of SendGrid's Marketing Campaigns, new and old (Twilio docs: Event Webhook reference).
MARKETING = frozenset(("mc_stats", "singlesend_id", "marketing_campaign_id"))
# {SendGrid's name of the event: the fields that few events have, and that have to be looked at}
REMARKABLE = {kind: MARKETING.union(keys) for kind, keys in FORMERLY_READ.items()}
# The vendor documents that a dropped event may have no address; account events are about nobody.
ADDRESSED = frozenset(DELIVERY_EVENTS + ENGAGEMENT_EVENTS) - {"dropped"}
