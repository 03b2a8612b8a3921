"""This module turns a message, as Odoo builds it for SMTP, into the payload of SendGrid's ``POST /v3/mail/send``.

The limits are those of Twilio's docs ("Mail Send: Limitations") and of the vendor's OpenAPI description.
"""

import base64
import json
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator
from email.message import EmailMessage, Message
from email.policy import EmailPolicy
from email.utils import collapse_rfc2231_value, encode_rfc2231, quote
from typing import Any
from urllib.parse import unquote

from . import smtpapi, v3_settings
from .addresses import find_impossible, get_addresses, get_names, to_ascii
from .attached import CONTROL, clean_name
from .errors import SmtpapiError, V3MailError

__all__ = ("V3MailError", "build")

MAX_SIZE = 30 * 1024 * 1024  # bytes, of the whole request
MAX_RECIPIENTS = 1000
MAX_CUSTOM_ARGS = 10_000  # bytes
MAX_CATEGORIES = 10
MAX_CATEGORY = 255  # characters

# Other fields of the payload say these, or SendGrid itself as it builds the message. So is it with all of Content-….
CARRIED_HEADERS = {"from", "to", "cc", "bcc", "subject", "reply-to", "mime-version", smtpapi.HEADER.lower()}
# RFC 5321, 4.4: the server that delivers the message writes it. As a header of the API it led to errors, or to no mail
# at all (sendgrid/sendgrid-csharp, issue 661).
CARRIED_HEADERS |= {"return-path"}
FORBIDDEN_HEADERS = {"x-sg-id", "x-sg-eid", "received", "dkim-signature"}
# SendGrid wants the plainest of several contents first; those that are not named here come last.
CONTENT_ORDER = ("text/plain", "text/x-amp-html", "text/html")
# The place of a recipient, as SendGrid's errors name it.
RECIPIENT = re.compile(r"personalizations\.(?P<number>\d+)\.(?P<kind>to|cc|bcc)\.(?P<index>\d+)(?:\.email)?")
# RFC 2045, 5.1: what a parameter's value may be without quotes.
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")


def build(
    message: EmailMessage, recipients: list[str], is_click_tracked: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Return the payload that sends ``message`` to ``recipients``.

    The envelope decides who gets it, as with SMTP; the headers only say who is shown as To and Cc, and recipients that
    they do not name are Bcc. The API needs a To: of a message that has none, the Cc are shown as To, and without these
    each recipient gets a message to himself.

    Everything arrives as by SMTP, but for one thing: the API sends to everybody whom it shows. So addresses that the
    headers show and the message does not go to are left out. Odoo shows all external recipients of a chatter message in
    the To of each copy; only who gets it by SMTP can answer to all of them.

    :param recipients: addresses of the envelope, in ASCII
    :param is_click_tracked: whether the account tracks clicks. Called where the message leaves that to the account:
        the API refuses click settings that do not say it.
    :raise V3MailError: SendGrid would refuse the message, or send it otherwise than it says
    """
    contents, attachments = _split(message)
    payload = {
        "personalizations": _get_personalizations(message, recipients),
        "from": _get_sender(message),
        "subject": str(message["Subject"] or "") or " ",  # an empty one is refused (OpenAPI: minLength 1)
        "content": contents,
        "attachments": attachments,
        "headers": _get_headers(message),
    }
    replies = _get_replies(message)
    payload |= {"reply_to": replies[0]} if len(replies) == 1 else {"reply_to_list": replies}
    try:
        settings = smtpapi.read(message.get_all(smtpapi.HEADER, []))
    except SmtpapiError as error:
        raise V3MailError(error.reason.code, **error.reason.parameters) from error
    payload |= v3_settings.convert(settings, is_click_tracked)
    payload = {key: value for key, value in payload.items() if value not in ([], {})}
    _check(payload)
    return payload


def _check(payload: dict[str, Any]) -> None:
    """Raise `V3MailError` if a limit of SendGrid's is passed."""
    size = _count_bytes(payload)
    if size >= MAX_SIZE:
        raise V3MailError("too_large", size=size, limit=MAX_SIZE)
    size = _count_bytes(payload.get("custom_args", {}))
    if size >= MAX_CUSTOM_ARGS:
        raise V3MailError("long_args", size=size, limit=MAX_CUSTOM_ARGS)
    categories = payload.get("categories", [])
    if len(categories) > MAX_CATEGORIES:
        raise V3MailError("many_categories", count=len(categories), limit=MAX_CATEGORIES)
    if longest := max((category for category in categories if len(category) > MAX_CATEGORY), key=len, default=None):
        raise V3MailError("long_category", category=longest[:40], limit=MAX_CATEGORY)


def _count_bytes(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


# ------------------------------------------------------------
# ADDRESSES
# ------------------------------------------------------------


def _get_sender(message: EmailMessage) -> dict[str, str]:
    addresses = get_addresses(message, "From")
    if not addresses:
        raise V3MailError("no_sender")
    address = to_ascii(addresses[0].addr_spec)
    if not address.rpartition("@")[0].isascii():
        raise V3MailError("sender_not_ascii", address=address)
    if not address.isascii():
        raise V3MailError("no_domain", domain=address.rpartition("@")[2])
    return _entry(address, addresses[0].display_name)


def _get_replies(message: EmailMessage) -> list[dict[str, str]]:
    replies = {}
    for address in get_addresses(message, "Reply-To"):
        spec = to_ascii(address.addr_spec)
        if not find_impossible([spec]):
            replies.setdefault(spec.lower(), _entry(spec, address.display_name))
    return list(replies.values())


def _get_personalizations(message: EmailMessage, recipients: list[str]) -> list[dict[str, list]]:
    """Return the one personalization of the message, or one for each recipient if none may see another."""
    unique = {}
    for address in recipients:
        unique.setdefault(address.lower(), address)
    if not unique:
        raise V3MailError("no_recipient")
    if len(unique) > MAX_RECIPIENTS:
        raise V3MailError("many_recipients", count=len(unique), limit=MAX_RECIPIENTS)
    to, cc = get_names(message, "To"), get_names(message, "Cc")
    tos, ccs, bccs = [], [], []
    for key, address in unique.items():
        (tos if key in to else ccs if key in cc else bccs).append((address, to.get(key) or cc.get(key)))
    if not tos:
        tos, ccs = ccs, []
    if not tos:
        return [_personalization([recipient]) for recipient in bccs]
    return [_personalization(tos, ccs, bccs)]


def _personalization(
    tos: Iterable[tuple[str, str | None]],
    ccs: Iterable[tuple[str, str | None]] = (),
    bccs: Iterable[tuple[str, str | None]] = (),
) -> dict[str, list[dict[str, str]]]:
    found = {
        kind: [_entry(address, name) for address, name in addresses]
        for kind, addresses in (("to", tos), ("cc", ccs), ("bcc", bccs))
    }
    return {kind: entries for kind, entries in found.items() if entries}


def find_refused(payload: dict[str, Any], errors: Iterable[dict[str, str | None]]) -> dict[str, str]:
    """Return the recipients because of which SendGrid refused a payload, with its words.

    :param errors: those of `tools.api.client.ApiError`
    :return: {address: words}; empty if there is another reason too, so that it would be refused without them as well
    """
    refused = {}
    for error in errors:
        place = RECIPIENT.fullmatch(error["field"] or "")
        try:
            entry = payload["personalizations"][int(place["number"])][place["kind"]][int(place["index"])]
        except (TypeError, KeyError, IndexError):
            return {}
        refused.setdefault(entry["email"], error["message"] or "")
    return refused


def _entry(address: str, name: str | None) -> dict[str, str]:
    return {"email": address, "name": name} if name else {"email": address}


# ------------------------------------------------------------
# HEADERS
# ------------------------------------------------------------


def _get_headers(message: EmailMessage) -> dict[str, str]:
    """Return the headers that go along. Of several with one name the first goes, since readers take the first."""
    headers = {}
    for name, value in message.items():
        key = name.lower()
        if key in FORBIDDEN_HEADERS:
            raise V3MailError("forbidden_header", name=name)
        if value and key not in CARRIED_HEADERS and not key.startswith("content-"):
            headers.setdefault(key, (name, _get_value(message, name, value)))
    return dict(headers.values())


def _get_value(message: EmailMessage, name: str, value: str) -> str:
    if not value.isascii():  # goes as encoded words
        value = message.policy.clone(max_line_length=None, utf8=False).fold(name, value).partition(":")[2]
    return re.sub(r"\r?\n", "", value).strip()


# ------------------------------------------------------------
# PARTS
# ------------------------------------------------------------


def _split(message: EmailMessage) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the contents to show and the attachments, as the payload has them."""
    contents, others = {}, []
    for part in _iter_leaves(message):
        kind = part.get_content_type()
        is_shown = part.get_content_maintype() == "text" and not part.get_filename() and kind not in contents
        if is_shown and part.get_content_disposition() != "attachment":
            contents[kind] = part
        else:
            others.append(part)
    order = [*CONTENT_ORDER, *(kind for kind in contents if kind not in CONTENT_ORDER)]
    texts = {kind: _get_text(contents[kind]) for kind in order if kind in contents}
    # An empty value is refused (OpenAPI: minLength 1). SendGrid writes each text in a charset of its choice.
    # It looks for some of them by their bare names.
    types = {kind: kind if kind in CONTENT_ORDER else _get_type(contents[kind], "charset") for kind in texts}
    shown = [{"type": types[kind], "value": text or " "} for kind, text in texts.items()]
    html = unquote(texts.get("text/html", ""))
    attachments = [_get_attachment(part, message.policy, html) for part in others]
    return shown or [{"type": "text/plain", "value": " "}], attachments


def _iter_leaves(part: Message) -> Iterator[Message]:
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.get_payload():
            yield from _iter_leaves(inner)
    else:
        yield part


def _get_type(part: Message, *without: str) -> str:
    """Return the type of a part with its parameters: mail programs show an invitation by its ``method=REQUEST``.

    :param without: further parameters to leave out
    """
    # The name is said by the file name, and a boundary belongs to the parts within.
    left_out = {"name", "boundary", *without}
    parameters = [(name.lower(), value) for name, value in part.get_params([])[1:] if name.lower() not in left_out]
    said = [_get_parameter(name, collapse_rfc2231_value(value)) for name, value in parameters]
    return "; ".join([part.get_content_type(), *said])


def _get_parameter(name: str, value: str) -> str:
    """Return a parameter as it stands in a header."""
    value = CONTROL.sub(" ", value)
    if not value.isascii():
        return f"{name}*={encode_rfc2231(value, 'utf-8')}"
    if TOKEN.fullmatch(value):
        return f"{name}={value}"
    return f'{name}="{quote(value)}"'


def _get_text(part: Message) -> str:
    payload = part.get_payload(decode=True) or b""
    try:
        text = payload.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = payload.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _get_attachment(part: Message, policy: EmailPolicy, html: str) -> dict[str, str]:
    extension = mimetypes.guess_extension(part.get_content_type()) or ".bin"
    name = clean_name(part.get_filename() or "") or f"attachment{extension}"
    if part.is_multipart():  # a message in the message
        content = part.as_bytes(policy=policy.clone(linesep="\r\n")).partition(b"\r\n\r\n")[2]
    else:
        content = part.get_payload(decode=True)
    if not content:
        raise V3MailError("empty_attachment", name=name)
    content_id = str(part["Content-ID"] or "").strip().strip("<>")
    # SendGrid gives an id only to what is inline.
    is_inline = part.get_content_disposition() == "inline" or (content_id and f"cid:{content_id}" in html)
    attachment = {
        "content": base64.b64encode(content).decode("ascii"),
        "type": _get_type(part),
        "filename": name,
        "disposition": "inline" if is_inline else "attachment",
    }
    return attachment | ({"content_id": content_id} if content_id else {})
