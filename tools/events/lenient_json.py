"""This module reads a JSON list leniently: an element that cannot be read does not cost its neighbours."""

import json
import re
from typing import Any

from .errors import BatchError, EventError

# One token of JSON as far as its nesting goes: a string (in which brackets mean nothing), or a bracket or comma. A
# string that never ends is one too, or each quote in it would be tried as the beginning of one.
NESTING = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{},]', re.DOTALL)


class AbsurdNumber(str):
    """A number nobody can mean (thousands of digits, NaN): of no type that a field accepts."""


def read_list(body: bytes) -> list[Any]:
    """Return the elements of a JSON list; an `EventError` stands in the place of one that is nested too deeply.

    :raise BatchError: the body is no JSON list
    """
    # Broken UTF-8 becomes U+FFFD: a bounce must not be lost because its words are in another charset.
    text = body.decode("utf-8-sig", "replace")
    try:
        elements = _loads(text)
    except RecursionError:
        return _read_one_by_one(text)
    except json.JSONDecodeError as error:
        raise BatchError("not_json", position=error.pos + 1) from error
    if not isinstance(elements, list):
        raise BatchError("not_a_list", kind=get_kind(elements))
    return elements


def _loads(text: str) -> Any:
    # Not strict: a control character costs the event that holds it, not the whole body.
    return json.loads(text, strict=False, parse_int=_parse_int, parse_constant=AbsurdNumber)


def _parse_int(digits: str) -> int | AbsurdNumber:
    # int() raises from 4,300 digits, and that would cost the whole body.
    return int(digits) if len(digits) <= 20 else AbsurdNumber(digits)


def _read_one_by_one(text: str) -> list[Any]:
    """Read the elements of a list of which one is nested too deeply to be read, so that its neighbours are not lost."""
    opening = text.find("[")
    if text[: max(opening, 0)].strip() or opening < 0:
        raise BatchError("too_deep")
    elements, depth, start = [], 0, opening + 1
    for token in NESTING.finditer(text):
        mark = token.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        if (mark == "," and depth == 1) or (mark == "]" and depth == 0):
            element_start, start = start, token.end()
            try:
                elements.append(_loads(text[element_start : token.start()]))
            except RecursionError:
                elements.append(EventError("too_deep"))
            except json.JSONDecodeError as error:
                raise BatchError("not_json", position=element_start + error.pos + 1) from error
            if depth == 0:
                break
    if depth or text[start:].strip():
        raise BatchError("cut")
    return elements


def get_kind(value: Any) -> str:
    """Name what JSON has instead of what was expected.

    :return: ``absurd_number``, ``number``, ``object``, ``list``, ``text``, ``boolean`` or ``null``
    """
    if isinstance(value, AbsurdNumber):
        return "absurd_number"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return {dict: "object", list: "list", str: "text", bool: "boolean"}.get(type(value), "null")
