"""Images that tell who looks at a mail, left over from a mail that was sent before, and the marks of core's mailings.

They come back with each answer and leave again with each forward. There they would count somebody else's look as the
first recipient's.
"""

import html
import re
from collections.abc import Mapping
from urllib.parse import unquote

from .links import NOWHERE, Site, on_one_line
from .markup import TEXT_ELEMENTS, attributes, start_tags

# SendGrid's pixel, on its own host or on the one that an account is branded with (Twilio docs, "Open Tracking" and
# "Link Branding"; its mails of some accounts have the form with /ss/), and core's pixel of a mailing. All also stand in
# the address of a proxy for images.
PIXEL = re.compile(
    r"/wf/open(?=[?/#]|$)|/ss/o/[\w\-.]+/[\w\-./]*/ho\.gif|/mail/track/(?P<mail>\d+)/[\w\-]+/blank\.gif", re.IGNORECASE
)
# Without one of these in small letters there is none: most texts are not looked at closely. Signs and letters may be
# written as references, quoted, or as another sign that browsers take for a slash.
TRACES = ("wf/open", "wf\\open", "wf%", "wf&", "/ho.gif", "blank.gif", "blank&", "blank%", "&#", "&newline;", "&tab;")
TRACES += ("%6", "%7", "%25", "%0a", "%0d", "%09")
IMAGE_TAGS = {"img", "image", "link", "v:image", "v:imagedata", "v:fill", "v:background"}
IMAGE_ATTRIBUTES = {"src", "srcset", "background", "style", "href", "xlink:href", "data", "poster", "o:href"}
# Elsewhere this is where a link leads to.
HREF_TAGS = {"link", "image", "feimage", "use"}
CSS_ADDRESS = re.compile(
    r"""url\(\s*(?:"[^"]*"|'[^']*'|&quot;.*?&quot;|[^)"']*)\s*\)|(?<=@import)\s*(?:"[^"]*"|'[^']*'|&quot;.*?&quot;)""",
    re.IGNORECASE | re.DOTALL,
)
# Odoo's plain text of a mail lists the addresses of images below: "Image [2]", and there "[2] https://…".
LISTED = re.compile(r"^\[(?P<number>\d+)\]\x20+(?P<address>\S+)[\x20\r]*$\n?", re.MULTILINE)
# The address of core's short link, and the part that tells the recipient.
SHORT_LINK = re.compile(
    r"(?P<site>(?:https?://(?P<host>[^/?#\s\"'<>:]+)(?::\d+)?)?)(?P<link>/r/[\w\-]+)/m/\d+(?![\w/])", re.IGNORECASE
)
# The same with its site, and with or without the recipient. Core makes none within another address, or with more behind
# it.
WHOLE_SHORT_LINK = re.compile(
    r"(?<![\w=])https?://(?P<host>[^/?#\s\"'<>:]+)(?::\d+)?/r/(?P<code>[\w\-]+)(?:/m/\d+)?(?![\w/?#\-])", re.IGNORECASE
)


def is_pixel(address: str, own: int | None = None) -> bool:
    """Tell whether an image's address is that of SendGrid's pixel or of a mailing of core's.

    :param own: id of a mail whose pixel is none here, because core shall count its looks
    """
    address = on_one_line(address).replace("\\", "/")
    found = PIXEL.search(address) or ("%" in address and PIXEL.search(on_one_line(unquote(unquote(address)))))
    return bool(found) and not (own and found["mail"] == str(own))


def remove_pixels(body: str, own: int | None = None) -> str:
    """Return an HTML text without pixels; all else is as it was, byte for byte. Links are left alone.

    :param own: see `is_pixel`
    :return: a plain str, or the same object if there is no pixel in it
    """
    if not _may_have_pixels(body):
        return body
    # A subclass may escape what is added to it.
    whole, body = body, str(body)
    pieces, position = [], 0
    for tag in start_tags(body):
        source = body[tag.start : tag.end]
        text_end = tag.end
        if tag.name == "style" and (closing := TEXT_ELEMENTS["style"].search(body, tag.end)):
            text_end = closing.start()
        clean = _clean_tag(tag.name, source, own)
        if text_end > tag.end:
            clean += _clean_style(body[tag.end : text_end], own)
        if clean != body[tag.start : text_end]:
            pieces += [body[position : tag.start], clean]
            position = text_end
    return "".join(pieces) + body[position:] if pieces else whole


def remove_listed_pixels(text: str, own: int | None = None) -> str:
    """Return Odoo's plain text of a mail without the pixels that it lists as images.

    :param own: see `is_pixel`
    """
    if not _may_have_pixels(text):
        return text
    numbers = set()

    def leave_out(found: re.Match[str]) -> str:
        if not is_pixel(found["address"], own):
            return found[0]
        numbers.add(found["number"])
        return ""

    text = LISTED.sub(leave_out, text)
    return re.sub(r"(?:Image|blank) \[(\d+)\]", lambda found: "" if found[1] in numbers else found[0], text)


def remove_recipient(text: str, site: Site = NOWHERE) -> str:
    """Return an HTML or plain text whose short links of core's mailings no longer name a recipient.

    :param site: what is our own; the links of other Odoos stay as they are
    """
    if "/m/" not in text:
        return text

    def shorten(found: re.Match[str]) -> str:
        if found["host"] and found["host"].lower() not in site.hosts:
            return found[0]
        return found["site"] + found["link"]

    return SHORT_LINK.sub(shorten, text)


def find_short_links(text: str, site: Site = NOWHERE) -> set[str]:
    """Return the codes of core's short links in an HTML or plain text.

    :param site: what is our own; the links of other Odoos do not count
    """
    if "/r/" not in text:
        return set()
    return {found["code"] for found in WHOLE_SHORT_LINK.finditer(text) if found["host"].lower() in site.hosts}


def replace_short_links(
    text: str, targets: Mapping[str, str | None], site: Site = NOWHERE, is_html: bool = True
) -> str:
    """Return a text with the addresses to which core's short links lead, instead of the links.

    :param targets: {code: the address}; a link without one stays
    :param site: as for `find_short_links`
    """
    if "/r/" not in text:
        return text

    def replace(found: re.Match[str]) -> str:
        target = targets.get(found["code"]) if found["host"].lower() in site.hosts else None
        if not target:
            return found[0]
        return html.escape(target) if is_html else target

    # A subclass may escape what is put into it.
    return WHOLE_SHORT_LINK.sub(replace, str(text))


def _may_have_pixels(text: str) -> bool:
    lowered = on_one_line(text.lower())
    return any(trace in lowered for trace in TRACES)


def _clean_tag(name: str, source: str, own: int | None) -> str:
    """Return the source of a start tag without pixels: nothing, if it is an image that is one."""
    if not _may_have_pixels(source):
        return source
    clean, shift = source, 0
    for attribute, (value, start, end) in attributes(source).items():
        if attribute not in IMAGE_ATTRIBUTES or not is_pixel(value, own):
            continue
        if attribute == "href" and name not in HREF_TAGS:
            continue
        if attribute == "style":
            kept = _clean_style(source[start:end], own)
        elif name in IMAGE_TAGS:
            return ""
        else:
            kept = ""
        clean = clean[: start + shift] + kept + clean[end + shift :]
        shift += len(kept) - (end - start)
    return clean


def _clean_style(text: str, own: int | None) -> str:
    """Return a style without the addresses of pixels."""

    def clean(found: re.Match[str]) -> str:
        if not is_pixel(html.unescape(found[0]), own):
            return found[0]
        return "none" if found[0][0] in "uU" else " none"

    return CSS_ADDRESS.sub(clean, text)
