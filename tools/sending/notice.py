"""The link in a mail to the page that tells how the mail is measured, where its recipient can decline.

Templates, mailings and signatures contain `ADDRESS` as a placeholder. When a mail is sent, the link of its recipients
takes its place, as core does with the link to unfollow a record.
"""

import re

from .links import NOTICE_PAGE, NOWHERE, Site

ADDRESS = NOTICE_PAGE
CONFIRMATION = f"{ADDRESS}/confirm"
# A placeholder has got its site where core has made all links of a mail absolute. It has a token already where a mail
# quotes another one: that token is somebody else's. The link that confirms a word is no placeholder.
PLACEHOLDER = re.compile(
    rf"(?P<before>^|[\s\"'<>(\[{{;]|\bhref=)(?:https?://(?P<host>[^/?#\s\"'<>:@]+)(?::\d+)?)?{ADDRESS}"
    r"(?!/confirm\b)(?:/[\w\-]+)?/?(?![\w/\-])",
    re.IGNORECASE | re.MULTILINE,
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
