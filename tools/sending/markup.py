"""The start tags of an HTML text, as a browser reads them, in linear time whatever the text is."""

import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

# A tag begins, or something begins within which nothing is a tag. Passed over are tags without attributes, unless what
# stands in their element is text.
BEGINNING = re.compile(
    r"<(?!/?(?!(?:iframe|noembed|noframes|script|style|textarea|title|xmp)>)[a-z][\w:\-]*>)"
    r"(?:(?P<comment>!--(?!\[if\b))|[!?]|/?(?P<name>[a-z][^\s/>]*))",
    re.IGNORECASE | re.ASCII,
)
# Most tags are written properly, and these are read in one go.
PROPER_REST = re.compile(
    r"""[^<>"'=]*(?:=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'=<>][^\s"'<>]*(?=[\s>]))[^<>"'=]*)*>""", re.ASCII
)
# On the way to the end of any tag matter the end itself and the value of an attribute, in which ">" means nothing
# while it is quoted, and quotes mean nothing while it is not.
TAG_END_OR_VALUE = re.compile(r""">|=\s*(?:(?P<quote>["'])|[^\s"'>][^\s>]*)""", re.ASCII)
BROKEN_TAG = re.compile(r"[^<>]*>?")
COMMENT_END = re.compile(r"(?<=<!--)-?>|--!?>")
# What stands in these elements is text (HTML Standard, "Parsing HTML documents").
TEXT_ELEMENTS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE | re.ASCII)
    for name in ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
}
ATTRIBUTE = re.compile(
    r"""(?P<name>[^\s/>=]+)\s*(?:=\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^\s>]+))?)?""", re.ASCII
)


class Tag(NamedTuple):
    """A start tag: where it stands in the text, and its name in lower case."""

    start: int
    end: int
    name: str


class Attribute(NamedTuple):
    """An attribute: its value as it is meant, and where the value stands in the tag, without its quotes."""

    value: str
    start: int
    end: int


def start_tags(source: str) -> Iterator[Tag]:
    """Yield the start tags of an HTML text that have attributes, or whose content is no markup.

    They may stand in a comment for Outlook alone (``<!--[if …]>``).
    Where a comment, a text element or a quote never ends, nobody knows what programs make of the rest: all that looks
    like a tag there is one.
    """
    position, is_broken, endless = 0, False, set()
    while found := BEGINNING.search(source, position):
        name = (found["name"] or "").lower()
        if found["comment"]:
            position = _end_of(COMMENT_END, "comment", source, found.end(), endless)
            continue
        end = None if is_broken else _find_tag_end(source, found.end(), is_tag=bool(name))
        if end is None:
            is_broken = is_broken or bool(name)
            end = BROKEN_TAG.match(source, found.end()).end()
        if name and source[found.start() + 1] != "/":
            yield Tag(found.start(), end, name)
            if closing := TEXT_ELEMENTS.get(name):
                end = _end_of(closing, name, source, end, endless)
        position = end


def attributes(tag: str) -> dict[str, Attribute]:
    """Return the attributes of a start tag by their names in lower case. Of two with one name, the first counts."""
    found = {}
    begin = BEGINNING.match(tag)
    for match in ATTRIBUTE.finditer(tag, begin.end() if begin else 0):
        name = match["name"].lower()
        if name not in found:
            kind = match.lastgroup
            value = match[kind] if kind != "name" else ""
            start, end = match.span(kind) if kind != "name" else (match.end(), match.end())
            found[name] = Attribute(unescape(value), start, end)
    return found


def _find_tag_end(source: str, position: int, is_tag: bool) -> int | None:
    if proper := PROPER_REST.match(source, position):
        return proper.end()
    if not is_tag:
        # A declaration or an odd comment: quotes mean nothing in it.
        return (source.find(">", position) + 1) or None
    while found := TAG_END_OR_VALUE.search(source, position):
        if found.group() == ">":
            return found.end()
        position = found.end()
        if quote := found["quote"]:
            position = source.find(quote, position) + 1
            if not position:
                return None
    return None


def _end_of(pattern: re.Pattern[str], kind: str, source: str, position: int, endless: set[str]) -> int:
    """Return where a comment or a text element ends; ``position`` if it never does."""
    if kind not in endless:
        if found := pattern.search(source, position):
            return found.end()
        endless.add(kind)
    return position
