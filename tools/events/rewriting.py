"""This module rewrites the body of a POST of which a part may not be kept. What may be kept stays as it came."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..address_form import comparable, spellings
from .errors import BatchError
from .event import Event
from .lenient_json import join_list, read_list, split_list
from .parsing import FINGERPRINT, parse_batch

# What can become of an element. To bare it is to take out what tells about a person's device, and the secret part of a
# link.
KEEP, BARE, LEAVE_OUT = "keep", "bare", "leave_out"
PERSONAL = ("ip", "useragent")
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# Neither NUL nor half a letter beyond U+FFFF is part of an address, and PostgreSQL takes neither.
LETTER = r"[^\s\x00-\x1f\ud800-\udfff\"'<>()\[\]{},;:\\@]"
ADDRESS = re.compile(rf"{LETTER}{{1,64}}@{LETTER}{{1,255}}")
# Stands in the place of an address in a text of which nothing but the address can be read.
NOBODY = "nobody@unnamed.invalid"


class Element(NamedTuple):
    """An element of a body: the text as it came, what JSON says, and the event, None if it was rejected."""

    text: str
    value: Any
    event: Event | None


def read_elements(body: bytes, is_rewritten: bool = False) -> list[Element]:
    """Return the elements of a body in their order.

    :param body: the raw bytes
    :param is_rewritten: as for `parsing.parse_batch`
    :raise BatchError: the body is no JSON list
    """
    values, texts = read_list(body), split_list(body)
    events, rejected = parse_batch(body, is_rewritten)
    if len(texts) != len(values):
        raise BatchError("cut")
    told, without = iter(events), {one.index for one in rejected}
    return [
        Element(text, value, None if index in without else next(told))
        for index, (text, value) in enumerate(zip(texts, values, strict=True))
    ]


def rewrite(elements: Iterable[Element], decide: Callable[[Element], str]) -> tuple[bytes, int] | None:
    """Return a body without what may not be kept, and how many elements were left out; None if all of it is kept.

    :param elements: those of the body
    :param decide: tells of an element what becomes of it: `KEEP`, `BARE` or `LEAVE_OUT`
    """
    texts, left_out, changed = [], 0, False
    for element in elements:
        decision = decide(element)
        if decision == LEAVE_OUT:
            left_out += 1
            continue
        text = _bare(element) if decision == BARE else element.text
        changed = changed or text != element.text
        texts.append(text)
    return (join_list(texts), left_out) if changed or left_out else None


def _bare(element: Element) -> str:
    """Return the text of an element without details. The event's name is noted, because it was made of them."""
    value = element.value
    if not isinstance(value, dict):
        return element.text
    bared = {key: part for key, part in value.items() if key not in PERSONAL}
    if isinstance(url := bared.get("url"), str):
        bared["url"] = cut_url(url)
    if bared == value:
        return element.text
    if element.event:
        bared[FINGERPRINT] = element.event.fingerprint
    return json.dumps(bared, separators=(",", ":"))


def cut_url(url: str) -> str:
    """Return a link without its secret part, which stands behind ``?`` or ``#``."""
    return url.partition("?")[0].partition("#")[0]


def find_addresses(body: bytes) -> set[str]:
    """Return all that may be an address in a text of JSON that may be broken, in its comparable form."""
    text = ESCAPE.sub(lambda found: chr(int(found[1], 16)), body.decode("utf-8", "replace"))
    return {comparable(found) for found in ADDRESS.findall(text)}


def names_one(addresses: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds addresses in a text of JSON that may be broken, however its letters are written.

    :param addresses: comparable addresses, at least one
    """
    texts = {spelling for address in addresses for spelling in spellings(address)}
    found = "|".join("".join(map(_letter, text)) for text in sorted(texts))
    # What stands before is not looked at: a letter there may be the end of an escape.
    return re.compile(rf"(?:{found})(?![\w-])", re.IGNORECASE)


def _letter(letter: str) -> str:
    escapes = "|".join(f"u{ord(case):04x}" for case in _cases(letter) if len(case) == 1)
    return rf"(?:{re.escape(letter)}|\\(?:{escapes}))"


def _cases(letter: str) -> Iterator[str]:
    yield from {letter, letter.upper(), letter.lower()}


def hide_names(body: bytes, pattern: re.Pattern[str]) -> bytes | None:
    """Return a text that cannot be read without the addresses that it names; None if it names none.

    :param body: the raw bytes
    :param pattern: as `names_one` returns it
    """
    text, count = pattern.subn(NOBODY, body.decode("utf-8", "surrogateescape"))
    return text.encode("utf-8", "surrogateescape") if count else None
