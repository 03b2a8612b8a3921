"""Some links carry a secret: SendGrid must neither keep them nor stand between them and the recipient."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote

from lxml import html
from lxml.etree import LxmlError
from lxml.html import HtmlElement

# LINK finds the beginning of a link in source text. On the way to the end of its tag matter the end itself and the
# value of an attribute, in which ">" means nothing while it is quoted, and quotes mean nothing while it is not.
LINK = re.compile(r"<a(?=[\s/])", re.IGNORECASE)
TAG_END_OR_VALUE = re.compile(r""">|=\s*(?:(?P<quote>["'])|[^\s"'>][^\s>]*)""")
BROKEN_TAG = re.compile(r"[^<>]*>?")
# Without one of these in the whole text there is no secret link: most bodies are never looked at closely.
SUSPECT = "token hash signature unsubscribe unfollow password signup optout opt_out /rate/ /survey/".split()
# These parameters open something: access_token, hash_token, signup_token, hash, …
SECRET_PARAMETER = re.compile(r"[?&;#][\w.\-]*(?:token|hash|signature)=", re.IGNORECASE)
# The address itself of these pages opens them, or they act at the first call.
SECRET_PATH = re.compile(
    r"/web/(?:reset_password|signup)|unsubscribe|/mail/unfollow|opt_?out|/rate/|/survey/(?:start|[\w\-]+/)",
    re.IGNORECASE,
)
CREDENTIALS_PATH = re.compile(r"/web/(?:reset_password|signup)\b", re.IGNORECASE)
# SendGrid leaves a link with this mark alone (Twilio docs, "Click Tracking HTML Best Practices").
MARK = ' clicktracking="off"'


def is_secret(url: str) -> bool:
    """Tell whether whoever has ``url`` can act as the recipient: reset a password, open the portal, unsubscribe."""
    # A link can stand, quoted, as the parameter of another one, and that again.
    for _depth in range(3):
        if SECRET_PARAMETER.search(url) or SECRET_PATH.search(url):
            return True
        url = unquote(url)
    return False


def leads_to_credentials(body: str) -> bool:
    """Tell whether the HTML text ``body`` has a link to set a password or to sign up."""
    return bool(CREDENTIALS_PATH.search(unquote(body)))


def protect(body: str) -> tuple[str, bool]:
    """Mark the secret links of an HTML text, so that SendGrid leaves them alone.

    :param body: the source text; all but the start tags of secret links comes back as it is, byte for byte
    :return: the text, and whether there are secret links in it (marked by us, or marked already)
    """
    lowered = body.lower()
    if not any(word in lowered for word in SUSPECT):
        return body, False
    pieces, position, found = [], 0, False
    for start, end in _link_tags(body):
        link = _parse(body[start:end])
        if not is_secret(link.get("href") or ""):
            continue
        found = True
        if (link.get("clicktracking") or "").lower() != "off":
            # It stands right behind "<a": before any clicktracking="on", since the first of two attributes counts.
            pieces += [body[position : start + 2], MARK]
            position = start + 2
    return "".join(pieces) + body[position:] if pieces else body, found


def _link_tags(body: str) -> Iterator[tuple[int, int]]:
    """Yield where the start tags of links begin and end, as a browser reads them, in linear time."""
    position, is_broken = 0, False
    while link := LINK.search(body, position):
        position = None if is_broken else _find_tag_end(body, link.end())
        if position is None:
            # A quote is open to the end of the text. Nobody knows what is a tag behind it: better look at them all.
            is_broken = True
            position = BROKEN_TAG.match(body, link.end()).end()
        yield link.start(), position


def _find_tag_end(body: str, position: int) -> int | None:
    while found := TAG_END_OR_VALUE.search(body, position):
        if found.group() == ">":
            return found.end()
        position = found.end()
        if quote := found["quote"]:
            position = body.find(quote, position) + 1
            if not position:
                return None
    return None


def _parse(tag: str) -> HtmlElement | dict[str, str]:
    try:
        return html.fragment_fromstring(f"{tag}</a>")
    except (LxmlError, ValueError):
        # It holds e.g. characters that XML does not have. All of it may be the address.
        return {"href": unescape(tag)}
