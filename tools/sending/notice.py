"""The link in a mail to the page that tells how the mail is measured, where its recipient can decline.

Templates, mailings and signatures contain `ADDRESS` as a placeholder. When a mail is sent, the link of its recipients
takes its place, as core does with the link to unfollow a record.
"""

import re
from collections.abc import Callable

from .links import NOTICE_PAGE, NOWHERE, Site
from .notice_token import MIN_LENGTH

ADDRESS = NOTICE_PAGE
CONFIRMATION = f"{ADDRESS}/confirm"
# A placeholder has got its site where core has made all links of a mail absolute. It has a token already where a mail
# quotes another one: that token is somebody else's. The link that confirms a word is no placeholder.
PLACEHOLDER = re.compile(
    rf"(?P<before>^|[\s\"'<>(\[{{;]|\bhref=)(?:https?://(?P<host>[^/?#\s\"'<>:@]+)(?::\d+)?)?{ADDRESS}"
    r"(?!/confirm\b)(?:/[\w\-]+)?/?(?![\w/\-])",
    re.IGNORECASE | re.MULTILINE,
)

# A slash and a colon as they stand within the address of a service that looks at links before they open: quoted, or as
# Proofpoint's "URL Defense" writes them.
_SLASH, _COLON = r"(?:/|%(?:25)*2[Ff]|&#(?:47|[xX]2[Ff]);|_)", r"(?::|%(?:25)*3[Aa]|-3A)"
WITH_TOKEN = re.compile(
    rf"(?P<page>(?:https?{_COLON}{_SLASH}{{2}}(?P<host>[a-zA-Z0-9.\-]+)(?:{_COLON}\d{{1,5}})?)?"
    rf"{ADDRESS.replace('/', _SLASH)}){_SLASH}(?P<confirm>confirm{_SLASH})?(?P<token>[\w\-]{{{MIN_LENGTH},}})",
    re.ASCII,
)


def contains_placeholder(text: str) -> bool:
    """Tell whether a text may have a placeholder. Most texts have none, and are not looked at closely."""
    return ADDRESS in text


def fill(text: str, link: str, site: Site = NOWHERE) -> str:
    """Return an HTML or plain text in which ``link`` stands instead of each placeholder.

    :param link: the address of the page, with the token of the recipients, or without one
    :param site: what is our own; links to the pages of other Odoos stay as they are
    :return: a plain str, or the same object if there is no placeholder in it
    """
    if not contains_placeholder(text):
        return text

    def put(found: re.Match[str]) -> str:
        if found["host"] and found["host"].lower() not in site.hosts:
            return found[0]
        return found["before"] + link

    # A subclass may escape what is put together with it.
    return PLACEHOLDER.sub(put, str(text))


def withdraw(text: str, stays: Callable[[str, bool, str], bool]) -> str:
    """Return an HTML or plain text whose links to the page name no recipient: they lead to the page for everybody.

    Whoever reads a text that quotes a mail could else decide in the name of the mail's recipient.

    :param stays: tells of a link whether it stays as it is. It gets the host ("" if the link has none), whether the
        link confirms a word, and the token
    :return: a plain str, or the same object if there is no such link in it
    """
    if "measuring" not in text:
        return text

    def shorten(found: re.Match[str]) -> str:
        return found[0] if stays(found["host"] or "", bool(found["confirm"]), found["token"]) else found["page"]

    short = WITH_TOKEN.sub(shorten, str(text))
    return text if short == text else short
