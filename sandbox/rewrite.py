"""Adds SendGrid's changes to a message on its way: tracked links, the open pixel, the unsubscribe link.

Twilio docs: click-tracking HTML practices, open tracking, subscription tracking. Only `href="http(s)://…"` in quotes is
tracked, at most 1,000 links a message; `clicktracking=off` in the tag exempts a link and is taken out.
"""

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sandbox import mime
from sandbox.smtpapi import Options

MAX_LINKS = 1000

_COMMENT_OR_ANCHOR = re.compile(r"""<!--.*?-->|<a(?=\s)(?:[^<>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE | re.DOTALL)
_HREF = re.compile(r"""(\shref\s*=\s*)(?:"\s*(https?://[^"]+)"|'\s*(https?://[^']+)')""", re.IGNORECASE)
_OFF = re.compile(r"""\s+clicktracking\s*=\s*(["']?)off\1(?=[\s/>])""", re.IGNORECASE)
_TEXT_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)\]]", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"<%(.*?)%>", re.DOTALL)
_BODY_END = re.compile(r"</body\s*>", re.IGNORECASE)

Replace = Callable[[str], str | None]
"""Takes a link's target and returns the address to put in its place, or None to leave the link alone."""


@dataclass(frozen=True)
class Link:
    """A tracked link. `index` is its zero-based place among the tracked links of its `type` (html or text)."""

    url: str
    index: int
    type: str


@dataclass(frozen=True)
class Addresses:
    """The addresses that one recipient's copy leads to."""

    click: Callable[[int], str]
    """Takes the number of a link in the message and returns its tracked address."""
    open: str
    unsubscribe: str


def html_links(source: str, replace: Replace) -> str:
    """Replace the addresses of the tracked links in an HTML text, and remove clicktracking=off."""

    def tag(match: re.Match) -> str:
        found = match[0]
        if found.startswith("<!--"):
            return found
        bare = _OFF.sub("", found)
        if bare != found:
            return bare
        return _HREF.sub(href, found, count=1)

    def href(match: re.Match) -> str:
        address = replace(html.unescape(match[2] or match[3]).strip())
        return match[0] if address is None else f'{match[1]}"{html.escape(address)}"'

    return _COMMENT_OR_ANCHOR.sub(tag, source)


def text_links(source: str, replace: Replace) -> str:
    """Replace the links in a plain text."""
    return _TEXT_LINK.sub(lambda match: replace(match[0]) or match[0], source)


def find_links(raw: bytes, options: Options) -> list[Link]:
    """Return the links of a message that are tracked. A link's number is its place in this list."""
    found: list[Link] = []

    def collect(kind: str) -> Replace:
        def replace(url: str) -> None:
            if len(found) < MAX_LINKS:
                found.append(Link(url, sum(link.type == kind for link in found), kind))

        return replace

    for kind, content in _texts(raw):
        _track_links(kind, content, options, collect(kind))
    return found


def has_pixel(raw: bytes, options: Options) -> bool:
    """Tell whether a copy carries an open pixel: open tracking is on, and there is HTML to put the pixel in."""
    return options.open and any(kind == "html" for kind, _ in _texts(raw))


def delivered(raw: bytes, options: Options, addresses: Addresses, link_count: int) -> bytes:
    """Return the bytes of the copy that one recipient gets. Parts without a change keep their bytes."""
    numbers = iter(range(link_count))

    def replace(_url: str) -> str | None:
        number = next(numbers, None)
        return None if number is None else addresses.click(number)

    changes = []
    pixel_done = not options.open
    for part in mime.parts(raw):
        if part.is_attachment:
            continue
        kind = "html" if part.content_type == "text/html" else "text"
        source, charset = mime.body_text(raw, part)
        content = _track_links(kind, source, options, replace)
        if options.subscription:
            content = add_unsubscribe(kind, content, options, addresses.unsubscribe)
        if kind == "html" and not pixel_done:
            content = add_pixel(content, options.open_tag, addresses.open)
            pixel_done = True
        if content != source:
            changes.append((part, mime.encoded_body(content, charset, part)))
    return mime.replaced(raw, changes)


def _texts(raw: bytes) -> Iterator[tuple[str, str]]:
    for part in mime.parts(raw):
        if not part.is_attachment:
            yield ("html" if part.content_type == "text/html" else "text"), mime.body_text(raw, part)[0]


def _track_links(kind: str, content: str, options: Options, replace: Replace) -> str:
    if kind == "html":
        # Do this with tracking off too: the attribute clicktracking=off is removed all the same.
        return html_links(content, replace if options.click else lambda url: None)
    if options.click and options.click_text:
        return text_links(content, replace)
    return content


def add_pixel(content: str, tag: str, address: str) -> str:
    """Put an open pixel in place of `tag`, or before </body> if there is no `tag` in the content."""
    pixel = (
        f'<img src="{html.escape(address)}" alt="" width="1" height="1" border="0" '
        'style="height:1px !important;width:1px !important;border-width:0 !important;margin:0 !important;'
        'padding:0 !important"/>'
    )
    if tag and tag in content:
        return content.replace(tag, pixel, 1)
    return _before_body_end(content, pixel)


def add_unsubscribe(kind: str, content: str, options: Options, address: str) -> str:
    """Put the unsubscribe address in place of its tag, or append a line with it. `kind` is html or text."""
    if options.subscription_tag and options.subscription_tag in content:
        return content.replace(options.subscription_tag, html.escape(address) if kind == "html" else address)
    if kind == "html":
        template = options.subscription_html or "<p>To stop these e-mails, <% unsubscribe %>.</p>"
        line = _PLACEHOLDER.sub(lambda match: f'<a href="{html.escape(address)}">{match[1].strip()}</a>', template)
        return _before_body_end(content, line)
    template = options.subscription_text or "To stop these e-mails: <% %>"
    return content.rstrip("\r\n") + "\r\n\r\n" + _PLACEHOLDER.sub(lambda match: address, template) + "\r\n"


def _before_body_end(content: str, addition: str) -> str:
    ends = list(_BODY_END.finditer(content))
    place = ends[-1].start() if ends else len(content)
    return content[:place] + addition + content[place:]
