"""Files attached to mails, of which some are mails themselves (.eml)."""

import re
from base64 import encodebytes
from collections.abc import Callable
from email import message_from_bytes, policy

MIMETYPE = "message/rfc822"
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def clean_name(name: str) -> str:
    """Return a file's name on one line. A line break in it would cost everybody the mail."""
    return CONTROL.sub(" ", name).strip()


def change_texts(source: bytes, change: Callable[[str, bool], str]) -> bytes:
    """Return a mail whose texts were changed, those of mails within it too.

    :param change: gets a text, and whether it is HTML, and returns what shall stand in its place
    :return: the same object if nothing changes, since the mail's signatures (DKIM) hold for its bytes only
    """
    message = message_from_bytes(source)
    is_changed = False
    for part in message.walk():
        content = part.get_payload(decode=True) if part.get_content_maintype() == "text" else None
        if not content:
            continue
        text, charset = _decode(content, part.get_content_charset("utf-8"))
        changed = change(text, part.get_content_subtype() == "html")
        if changed != text:
            is_changed = True
            part.set_payload(encodebytes(changed.encode(charset, "surrogateescape")).decode())
            del part["Content-Transfer-Encoding"]
            part["Content-Transfer-Encoding"] = "base64"
    return message.as_bytes(policy=policy.compat32.clone(linesep="\r\n")) if is_changed else source


def _decode(content: bytes, charset: str) -> tuple[str, str]:
    """Return a text with the charset in which it can be read and written again without a loss.

    It may not be the one that it says, or one that Python does not know. Each byte is a character of latin-1.
    """
    try:
        text = content.decode(charset, "surrogateescape")
        is_lossless = text.encode(charset, "surrogateescape") == content
    except (LookupError, ValueError):
        is_lossless = False
    return (text, charset) if is_lossless else (content.decode("latin-1"), "latin-1")
