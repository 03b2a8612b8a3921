"""Links that carry a secret: SendGrid must neither keep them nor stand between them and the recipient."""

import re
from urllib.parse import unquote

from lxml import html
from lxml.etree import LxmlError

# The start tag of a link in source text; quoted values may hold ">".
LINK_TAG = re.compile(r"""<a(?=[\s/])(?:[^>"']|"[^"]*"|'[^']*')*>""", re.IGNORECASE)
# Cheap test of the whole text, so that most bodies are never looked at closely.
SUSPECT = re.compile(
    r"token|hash|signature|unsubscribe|unfollow|password|signup|opt_?out|/rate/|/survey/", re.IGNORECASE
)
# A parameter that is a key to something: access_token, hash_token, signup_token, hash, …
SECRET_PARAMETER = re.compile(r"[?&;#][\w.\-]*(?:token|hash|signature)=", re.IGNORECASE)
# Pages whose address itself is the key, or that act at the first call.
SECRET_PATH = re.compile(
    r"/web/(?:reset_password|signup)|unsubscribe|/mail/unfollow|opt_?out|/rate/|/survey/(?:start|[\w\-]+/)",
    re.IGNORECASE,
)
CREDENTIALS_PATH = re.compile(r"/web/(?:reset_password|signup)\b", re.IGNORECASE)
# The mark of one link for SendGrid (Twilio docs, "Click Tracking HTML Best Practices").
MARK = ' clicktracking="off"'


def is_secret(url: str) -> bool:
    """Tell whether whoever has ``url`` can act as the recipient: reset a password, open the portal, unsubscribe."""
    # Twice: a link can stand, quoted, as the parameter of another one.
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

    :param body: the source text; whatever is not the start tag of a secret link comes back as it is, byte for byte
    :return: the text, and whether there are secret links in it (marked by us, or marked already)
    """
    if not SUSPECT.search(body):
        return body, False
    found = False

    def mark(tag):
        nonlocal found
        link = _parse(tag.group())
        if link is None or not is_secret(link.get("href") or ""):
            return tag.group()
        found = True
        if (link.get("clicktracking") or "").lower() == "off":
            return tag.group()
        # Right behind "<a": before any clicktracking="on", since the first of two attributes counts.
        return tag.group()[:2] + MARK + tag.group()[2:]

    protected = LINK_TAG.sub(mark, body)
    return protected, found


def _parse(tag):
    try:
        return html.fragment_fromstring(f"{tag}</a>")
    except (LxmlError, ValueError):
        return None
