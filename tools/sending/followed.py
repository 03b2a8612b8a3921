"""This module tells which links of an e-mail's HTML were followed."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

from lxml import html
from lxml.etree import LxmlError

from .disarm import NOT_XML

WEB = re.compile(r"\s*https?://", re.IGNORECASE)
# Core's short link tells the recipient behind its code; no other page has his part.
SHORT_LINK = re.compile(r"(/r/[\w\-]+)/m/\d+/?$", re.IGNORECASE)
# SendGrid tells where a link stands, as `tools.events.parsing` writes it. The header's links are none of the text's.
IN_HTML, IN_HEADER = re.compile(r"html:(?P<index>\d+)"), "header:"


class Clicks(NamedTuple):
    """Clicks on one address at one place: its ``url``, its place as an event has it, and how many there were.

    ``count`` includes the ``unknown`` ones, of which it cannot be told whether a person did it.
    """

    url: str
    offset: str
    count: int
    unknown: int


class Followed(NamedTuple):
    """A link that was followed: its address as the HTML has it, and which one it is of those with this address.

    ``place`` is 0 for the first of them.
    """

    href: str
    place: int
    count: int
    unknown: int


def find_followed(body: str, clicks: Iterable[Clicks]) -> list[Followed]:
    """Return the links of an HTML text that were followed, in their order.

    The address decides which link it was, and the place only which of those with the same address: SendGrid counts the
    links that it tracks, and nobody knows of each link whether it does. If the place tells nothing, it is the first.
    Clicks on what is not in the text are left out, such as on links that were cut out of it. A link of which an event
    keeps only the page (its query is removed after some time) is found by its page.

    :param body: an HTML text as it is shown
    :param clicks: what was reported
    """
    links = _read_links(body)
    wholes, pages = defaultdict(list), defaultdict(list)
    for number, href in enumerate(links):
        wholes[_simplify(href)].append(number)
        pages[_get_page(href)].append(number)
    counts, unknowns = Counter(), Counter()
    for click in clicks:
        if click.offset.startswith(IN_HEADER):
            continue
        found = wholes.get(_simplify(click.url)) or pages.get(_simplify(click.url))
        if not found:
            continue
        told = IN_HTML.fullmatch(click.offset)
        number = int(told["index"]) if told and int(told["index"]) in found else found[0]
        counts[number] += click.count
        unknowns[number] += click.unknown
    seen, followed = Counter(), []
    for number, href in enumerate(links):
        if counts[number]:
            followed.append(Followed(href, seen[href], counts[number], unknowns[number]))
        seen[href] += 1
    return followed


def _read_links(body: str) -> list[str]:
    """Return the addresses of the links to the web, in their order."""
    try:
        parser = html.HTMLParser(encoding="utf-8", remove_pis=True)
        root = html.fragment_fromstring(NOT_XML.sub("", body).encode(), create_parent="div", parser=parser)
    except (LxmlError, ValueError, AssertionError):
        return []
    return [href for link in root.iter("a") if WEB.match(href := link.get("href") or "")]


def _simplify(url: str) -> str:
    """Return a form in which the same address is equal, however its letters are quoted."""
    return SHORT_LINK.sub(r"\1", unquote(url.strip())).rstrip("/")


def _get_page(url: str) -> str:
    return _simplify(re.split(r"[?#]", url.strip(), maxsplit=1)[0])
