"""An HTML text as others than its recipient may see it: without the links with which one acts in his name."""

import re
from collections.abc import Iterator
from functools import lru_cache
from html import escape, unescape
from urllib.parse import unquote

from lxml import html
from lxml.etree import LxmlError
from lxml.html import HtmlElement

from .links import NOWHERE, Site, find_keys, is_secret

# Browsers ignore tabs and newlines within an address (WHATWG URL Standard), and nobody sees the others in a text.
IGNORED = re.compile(r"[\t\n\r\u00ad\u200b-\u200d\u2060\ufeff]")
# XML does not have these: lxml refuses them, and browsers show nothing of them.
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
HOST = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*:)?//(?:[^/?#\s]*@)?(?P<host>[^/?#@\s]+)", re.IGNORECASE)
WORD = re.compile(r"[^\s<>\"']+")
# A word of a text is meant as an address if it begins so: with a scheme, a host or a path.
ADDRESS = re.compile(
    r"[a-z][a-z0-9+.\-]*:|.*//|\W*(?:www\.|/)|\W*[\w\-]+(?:\.[\w\-]+)+(?::\d+)?[/?#]|[^?]*\?.*=", re.IGNORECASE
)
# The value of these attributes is an address, whatever it looks like.
ADDRESS_ATTRIBUTES = set(
    "action background cite classid codebase data formaction href icon longdesc manifest ping poster src usemap".split()
)
OWN_IMAGE = re.compile(r"(?:https?://[^/?#@\s]+)?/web/(?:image|content)/[\w./\-]+(?=\?)", re.IGNORECASE)
# A text goes on over these elements, as a reader sees it.
INLINE = set(
    "a abbr b bdi bdo big cite code em font i ins del kbd label mark nobr q s samp small span strike strong sub sup "
    "tt u var wbr".split()
)
# People do not see the text of these elements.
SOURCES = {"iframe", "noembed", "noframes", "noscript", "script", "style", "template", "textarea", "title", "xmp"}
CUT = "…"
# Something shorter may be a word of the text as well.
MIN_KEY = 6


def cut(url: str, site: Site = NOWHERE) -> str:
    """Return a link as others than its recipient may see it: a secret one ends in "…" behind its page.

    Where the path is the key, or a password stands before the site, only the site is left.

    :param site: what is our own, see `links.Site`
    """
    if not _is_secret_address(url, site):
        return url
    page = re.split(r"[?#;&]", url, maxsplit=1)[0]
    host = HOST.match(page)
    if _is_secret_address(page, site):
        return f"{host['scheme'] or ''}//{host['host']}/{CUT}" if host else CUT
    if host:
        page = f"{host['scheme'] or ''}//{host['host']}{page[host.end() :]}"
    return f"{page}?{CUT}"


def disarm(body: str, site: Site = NOWHERE) -> tuple[str, bool]:
    """Take the secret links out of an HTML text that is shown to others than its recipient. Their words stay.

    No attribute, comment or text of what comes back holds an address that `is_secret`.

    :param site: what is our own, see `links.Site`
    :return: the text, as it was if there is no secret link in it; and whether there was one
    """
    if not body:
        return body, False
    clean = NOT_XML.sub("", body)
    try:
        # The text goes in as bytes, because lxml refuses a str that names an encoding.
        parser = html.HTMLParser(encoding="utf-8", remove_pis=True)
        root = html.fragment_fromstring(clean.encode(), create_parent="div", parser=parser)
    except (LxmlError, ValueError, AssertionError):
        # A browser would show no more than text of this.
        text = _cut_text(clean, site)
        return (escape(text), True) if text != clean else (body, False)
    found = _disarm_elements(root, site)
    found = _disarm_texts(root, site) or found
    if not found and not _spells_secret(clean, site):
        return body, False
    shown = escape(root.text or "", quote=False) + "".join(html.tostring(child, encoding="unicode") for child in root)
    # Where a tag is broken, an address can be anything: a name, an attribute, several of them.
    text = IGNORED.sub("", unescape(clean))
    for key in {key for word in WORD.findall(text) for key in find_keys(word, site) if len(key) >= MIN_KEY}:
        shown = shown.replace(key, CUT)
    return shown, True


@lru_cache(maxsize=8192)
def _is_secret_address(url: str, site: Site) -> bool:
    url = IGNORED.sub("", url)
    return is_secret(url, site) or ("\\" in url and is_secret(url.replace("\\", "/"), site))


@lru_cache(maxsize=8192)
def _cut_word(word: str, site: Site) -> str:
    return cut(word, site) if ADDRESS.match(unquote(word)) else word


def _cut_text(text: str, site: Site) -> str:
    """Return a text without the secret part of each address that it spells."""
    return WORD.sub(lambda word: _cut_word(word[0], site), text)


def _spells_secret(source: str, site: Site) -> bool:
    text = IGNORED.sub("", unescape(source))
    return _cut_text(text, site) != text


def _disarm_elements(root: HtmlElement, site: Site) -> bool:
    """Take the secret addresses out of attributes, comments and source text."""
    found = False
    for element in list(root.iter()):
        if not isinstance(element.tag, str):
            # A comment, such as those that only one mail program reads.
            if _spells_secret(element.text or "", site):
                element.text, found = "", True
            continue
        if element.tag in SOURCES and _spells_secret(element.text or "", site):
            element.text, found = "", True
        for name, value in list(element.attrib.items()):
            is_address = name.lower().rpartition(":")[2].rpartition("}")[2] in ADDRESS_ATTRIBUTES
            if not (_spells_secret(value, site) or (is_address and _is_secret_address(value, site))):
                continue
            own_image = OWN_IMAGE.match(value) if element.tag == "img" and name == "src" else None
            if own_image and not _is_secret_address(own_image[0], site):
                # Odoo shows it without the token to whoever may read the attachment.
                element.set(name, own_image[0])
            else:
                del element.attrib[name]
            found = True
    return found


def _disarm_texts(root: HtmlElement, site: Site) -> bool:
    """Cut the secret addresses that are spelt as text, also where elements such as <wbr> stand within."""
    found = False
    for run in _text_runs(root):
        text = "".join(getattr(element, place) for element, place in run)
        # From the end, so that positions before stay as they are.
        for word in reversed(list(WORD.finditer(text))):
            if (shown := _cut_word(word[0], site)) == word[0]:
                continue
            found, begin = True, 0
            for element, place in run:
                piece = getattr(element, place) or ""
                start, end = (min(max(position - begin, 0), len(piece)) for position in word.span())
                begin += len(piece)
                if start < end:
                    setattr(element, place, piece[:start] + shown + piece[end:])
                    shown = ""
    return found


def _text_runs(root: HtmlElement) -> Iterator[list[tuple[HtmlElement, str]]]:
    """Yield the pieces of text that a reader sees as one: lists of (element, ``text`` or ``tail``)."""
    run = []
    stack = [(root, False)]
    while stack:
        element, is_left = stack.pop()
        if is_left:
            if element.tag not in INLINE and isinstance(element.tag, str) and run:
                yield run
                run = []
            if element.tail and element is not root:
                run.append((element, "tail"))
            continue
        stack.append((element, True))
        if not isinstance(element.tag, str):
            continue
        if element.tag not in INLINE and run:
            yield run
            run = []
        if element.text and element.tag not in SOURCES:
            run.append((element, "text"))
        stack.extend((child, False) for child in reversed(element))
    if run:
        yield run
