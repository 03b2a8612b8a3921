"""A JSON list read leniently: an element that cannot be read does not cost its neighbours."""

import json
import re

from .errors import BatchError, EventError

# One token of JSON as far as its nesting goes: a string (in which brackets mean nothing), or a bracket or comma.
NESTING = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


class AbsurdNumber(str):
    """A number nobody can mean (thousands of digits, NaN): of no type that a field accepts."""


def read_list(body):
    # Broken UTF-8 becomes lone surrogates, so that only the event that holds them is rejected.
    text = body.decode("utf-8-sig", "surrogateescape")
    try:
        elements = _loads(text)
    except RecursionError:
        return _elements_one_by_one(text)
    except ValueError as error:
        raise BatchError(f"The body is not JSON: {error}") from error
    if not isinstance(elements, list):
        raise BatchError(f"The body is not a list of events but {get_kind(elements)}.")
    return elements


def _loads(text):
    # Not strict: a control character costs the event that holds it, not the whole body.
    return json.loads(text, strict=False, parse_int=_parse_int, parse_constant=AbsurdNumber)


def _parse_int(digits):
    # int() raises from 4,300 digits, and that would cost the whole body.
    return int(digits) if len(digits) <= 20 else AbsurdNumber(digits)


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


def get_kind(value):
    if isinstance(value, AbsurdNumber):
        return "an absurd number"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "a number"
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false"}.get(type(value), "nothing")
