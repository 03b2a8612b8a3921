"""A message as Odoo builds it for SMTP, turned into the payload of SendGrid's ``POST /v3/mail/send``.

The limits are those of Twilio's docs ("Mail Send: Limitations") and of the vendor's OpenAPI description.
"""

import base64
import json
import mimetypes
import re
from email.message import EmailMessage
from urllib.parse import unquote

import idna
from sendgrid.helpers import mail as helpers

from . import smtpapi

MAX_SIZE = 30 * 1024 * 1024  # bytes, of the whole request
MAX_RECIPIENTS = 1000
MAX_CUSTOM_ARGS = 10_000  # bytes
MAX_CATEGORIES = 10
MAX_CATEGORY = 255  # characters

# Said by other fields of the payload, or by SendGrid itself as it builds the message. So is all of Content-….
CARRIED_HEADERS = {"from", "to", "cc", "bcc", "subject", "reply-to", "mime-version", smtpapi.HEADER.lower()}
FORBIDDEN_HEADERS = {"x-sg-id", "x-sg-eid", "received", "dkim-signature"}
# Of several contents, the plainest comes first; what is not named here comes last.
CONTENT_ORDER = ("text/plain", "text/x-amp-html", "text/html")
# To find addresses in a header that is not well-formed.
ADDRESS = re.compile(r'[^\s"<>,@]+@[^\s"<>,]+')
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BYPASSES = {
    "bypass_list_management": helpers.BypassListManagement,
    "bypass_bounce_management": helpers.BypassBounceManagement,
    "bypass_spam_management": helpers.BypassSpamManagement,
    "bypass_unsubscribe_management": helpers.BypassUnsubscribeManagement,
}


class V3MailError(ValueError):
    """The Web API would not take the message. Says why, in words for a person."""


def build(message: EmailMessage, recipients: list[str], is_click_tracked=lambda: False) -> dict:
    """Return the payload that sends ``message`` to ``recipients``.

    Who gets it is the envelope's decision, as with SMTP; the headers only say who is shown as To and Cc, and whoever
    they do not name is a Bcc. The API needs a To: of a message that has none, the Cc are shown as To, and without
    these each recipient gets a message to himself.

    :param recipients: addresses of the envelope, in ASCII
    :param is_click_tracked: whether the account tracks clicks. Called where the message leaves that to the account:
        the API refuses click settings that do not say it.
    :raise V3MailError: SendGrid would refuse the message, or send it otherwise than it says
    """
    mail = helpers.Mail(subject=helpers.Subject(str(message["Subject"] or "") or " "))
    mail.from_email = _get_sender(message)
    for number, personalization in enumerate(_get_personalizations(message, recipients)):
        mail.add_personalization(personalization, index=number)
    contents, attachments = _split(message)
    # The helpers put each new one before the others.
    for attachment in reversed(attachments):
        mail.add_attachment(attachment)
    for name, value in reversed(_get_headers(message)):
        mail.add_header(helpers.Header(name, value))
    try:
        settings = smtpapi.read(message.get_all(smtpapi.HEADER, []))
    except smtpapi.SmtpapiError as error:
        raise V3MailError(str(error)) from error
    _apply_settings(mail, settings, is_click_tracked)
    payload = mail.get()
    # Not by the helper, which refuses a text that begins like an API key, wherever it comes from.
    payload["content"] = contents
    # Early 6.9 has no helper for several.
    replies = [reply.get() for reply in _get_replies(message)]
    payload |= {"reply_to": replies[0]} if len(replies) == 1 else {"reply_to_list": replies} if replies else {}
    _check(payload)
    return payload


def _check(payload):
    size = len(json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace"))
    if size >= MAX_SIZE:
        raise V3MailError(
            f"It is too large: {size / 1024**2:.1f} MB with its attachments encoded, and {MAX_SIZE / 1024**2:.0f} MB "
            "is the limit."
        )
    args = len(json.dumps(payload.get("custom_args", {}), ensure_ascii=False).encode("utf-8", "replace"))
    if args >= MAX_CUSTOM_ARGS:
        raise V3MailError(f"Its unique_args have {args} bytes, and {MAX_CUSTOM_ARGS} is the limit.")
    categories = payload.get("categories", [])
    if len(categories) > MAX_CATEGORIES:
        raise V3MailError(f"It has {len(categories)} categories, and {MAX_CATEGORIES} is the limit.")
    if longest := max((category for category in categories if len(category) > MAX_CATEGORY), key=len, default=None):
        raise V3MailError(f"The category “{longest[:40]}…” has more than {MAX_CATEGORY} characters.")


# ------------------------------------------------------------
# ADDRESSES
# ------------------------------------------------------------


def _get_sender(message):
    addresses = _get_addresses(message, "From")
    if not addresses:
        raise V3MailError("It has no sender.")
    address = _to_ascii(addresses[0].addr_spec)
    if not address.isascii():
        raise V3MailError(f"The sender's address {address} has letters before the @ that are not ASCII.")
    return _entry(helpers.From, address, addresses[0].display_name)


def _get_replies(message):
    replies = {}
    for address in _get_addresses(message, "Reply-To"):
        if address.domain:
            spec = _to_ascii(address.addr_spec)
            replies.setdefault(spec.lower(), _entry(helpers.ReplyTo, spec, address.display_name))
    return list(replies.values())


def _get_personalizations(message, recipients):
    """Return the one personalization of the message, or one for each recipient if none may see another."""
    unique = {}
    for address in recipients:
        unique.setdefault(address.lower(), address)
    if not unique:
        raise V3MailError("It has no recipient.")
    if len(unique) > MAX_RECIPIENTS:
        raise V3MailError(f"It has {len(unique)} recipients, and {MAX_RECIPIENTS} is the limit.")
    to, cc = _get_shown(message, "To"), _get_shown(message, "Cc")
    tos, ccs, bccs = [], [], []
    for key, address in unique.items():
        (tos if key in to else ccs if key in cc else bccs).append((address, to.get(key) or cc.get(key)))
    if not tos:
        tos, ccs = ccs, []
    if not tos:
        return [_personalization([recipient]) for recipient in bccs]
    return [_personalization(tos, ccs, bccs)]


def _personalization(tos, ccs=(), bccs=()):
    personalization = helpers.Personalization()
    for kind, addresses in ((helpers.To, tos), (helpers.Cc, ccs), (helpers.Bcc, bccs)):
        for address, name in addresses:
            personalization.add_email(_entry(kind, address, name))
    return personalization


def _get_shown(message, header_name):
    """Return the names of whom a header shows, by address in lower case."""
    names = {}
    for address in _get_addresses(message, header_name):
        names.setdefault(_to_key(address.addr_spec), address.display_name)
    for address in ADDRESS.findall(str(message[header_name] or "")):
        names.setdefault(_to_key(address), "")
    return names


def _get_addresses(message, header_name):
    # Parsed again: a header that was set to a list of texts, as Odoo does, gives these back as its addresses.
    return message.policy.header_factory(header_name, str(message[header_name] or "")).addresses


def _entry(kind, address, name):
    # Not by the constructor, which takes an address without a name apart.
    entry = kind()
    entry.email = address
    entry.name = name or None
    return entry


def _to_key(address):
    try:
        return _to_ascii(address).lower()
    except V3MailError:
        return address.lower()


def _to_ascii(address):
    """Return the address with the domain as DNS knows it."""
    local, at, domain = address.rpartition("@")
    if domain.isascii():
        return address
    try:
        return local + at + idna.encode(domain).decode("ascii")
    except idna.IDNAError as error:
        raise V3MailError(f"{domain} is not a domain: {error}") from error


# ------------------------------------------------------------
# HEADERS
# ------------------------------------------------------------


def _get_headers(message):
    """Return the names and values of the headers that go along, each name once: the first, as who reads it takes it."""
    headers = {}
    for name, value in message.items():
        key = name.lower()
        if key in FORBIDDEN_HEADERS:
            raise V3MailError(f"It has the header {name}, which only SendGrid may set.")
        if value and key not in CARRIED_HEADERS and not key.startswith("content-"):
            headers.setdefault(key, (name, _get_value(message, name, value)))
    return list(headers.values())


def _get_value(message, name, value):
    if not value.isascii():  # goes as encoded words
        value = message.policy.clone(max_line_length=None, utf8=False).fold(name, value).partition(":")[2]
    return re.sub(r"\r?\n", "", value).strip()


# ------------------------------------------------------------
# PARTS
# ------------------------------------------------------------


def _split(message):
    """Return the contents to show, as the payload has them, and the attachments, as the helpers have them."""
    contents, others = {}, []
    for part in _iter_leaves(message):
        kind = part.get_content_type()
        is_shown = part.get_content_maintype() == "text" and not part.get_filename() and kind not in contents
        if is_shown and part.get_content_disposition() != "attachment":
            contents[kind] = _get_text(part)
        else:
            others.append(part)
    order = [*CONTENT_ORDER, *(kind for kind in contents if kind not in CONTENT_ORDER)]
    # An empty value is refused (OpenAPI: minLength 1).
    shown = [{"type": kind, "value": contents[kind] or " "} for kind in order if kind in contents]
    html = unquote(contents.get("text/html", ""))
    attachments = [_get_attachment(part, message.policy, html) for part in others]
    return shown or [{"type": "text/plain", "value": " "}], attachments


def _iter_leaves(part):
    if part.get_content_maintype() == "multipart" and part.is_multipart():
        for inner in part.get_payload():
            yield from _iter_leaves(inner)
    else:
        yield part


def _get_text(part):
    payload = part.get_payload(decode=True) or b""
    try:
        text = payload.decode(part.get_content_charset("utf-8"), "replace")
    except LookupError:
        text = payload.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _get_attachment(part, policy, html):
    kind = part.get_content_type()
    name = CONTROL.sub("_", part.get_filename() or f"attachment{mimetypes.guess_extension(kind) or '.bin'}")
    if part.is_multipart():  # a message in the message
        content = part.as_bytes(policy=policy.clone(linesep="\r\n")).partition(b"\r\n\r\n")[2]
    else:
        content = part.get_payload(decode=True)
    if not content:
        raise V3MailError(f"The attachment “{name}” is empty.")
    content_id = str(part["Content-ID"] or "").strip().strip("<>")
    # SendGrid gives an id only to what is inline.
    is_inline = part.get_content_disposition() == "inline" or (content_id and f"cid:{content_id}" in html)
    return helpers.Attachment(
        base64.b64encode(content).decode("ascii"),
        name,
        kind,
        "inline" if is_inline else "attachment",
        content_id or None,
    )


# ------------------------------------------------------------
# SETTINGS
# ------------------------------------------------------------


def _apply_settings(mail, settings, is_click_tracked):
    """Say in the payload what ``X-SMTPAPI`` says (Twilio docs: Building an X-SMTPAPI Header, SMTP Filters)."""
    known = {"unique_args", "category", "asm_group_id", "asm_groups_to_display", "send_at", "ip_pool", "filters"}
    if unknown := sorted(key for key, value in settings.items() if value and key not in known):
        raise V3MailError(f"{smtpapi.HEADER} asks for {', '.join(unknown)}, which the Web API cannot do for it.")
    for name, value in _get_dict(settings, "unique_args").items():
        mail.add_custom_arg(helpers.CustomArg(name, _to_text(value)))
    category = settings.get("category") or []
    categories = category if isinstance(category, list) else [category]
    for name in reversed(dict.fromkeys(_to_text(one) for one in categories if one not in (None, ""))):
        mail.add_category(helpers.Category(name))
    if group := settings.get("asm_group_id"):
        groups = settings.get("asm_groups_to_display")
        mail.asm = helpers.Asm(
            helpers.GroupId(_to_number("asm_group_id", group)),
            helpers.GroupsToDisplay([_to_number("asm_groups_to_display", one) for one in groups]) if groups else None,
        )
    if send_at := settings.get("send_at"):
        mail.send_at = helpers.SendAt(_to_number("send_at", send_at))
    if ip_pool := settings.get("ip_pool"):
        mail.ip_pool_name = helpers.IpPoolName(_to_text(ip_pool))
    _apply_filters(mail, _get_dict(settings, "filters"), is_click_tracked)


def _apply_filters(mail, filters, is_click_tracked):
    tracking, handling = helpers.TrackingSettings(), helpers.MailSettings()
    for name in filters:
        values = _get_dict(_get_dict(filters, name), "settings")
        text = {key: _to_text(value) for key, value in values.items() if value not in (None, "")}
        if name == "clicktrack":
            enabled = _is_on(values["enable"]) if "enable" in values else is_click_tracked()
            in_text = _is_on(values["enable_text"]) if "enable_text" in values else None
            tracking.click_tracking = helpers.ClickTracking(enabled, in_text and enabled)
        elif "enable" not in values:
            raise V3MailError(f"{smtpapi.HEADER} does not say whether the filter {name} is enabled.")
        elif name == "opentrack":
            tag = helpers.OpenTrackingSubstitutionTag(text["replace"]) if "replace" in text else None
            tracking.open_tracking = helpers.OpenTracking(_is_on(values["enable"]), tag)
        elif name == "subscriptiontrack":
            tracking.subscription_tracking = helpers.SubscriptionTracking(
                _is_on(values["enable"]),
                helpers.SubscriptionText(text["text/plain"]) if "text/plain" in text else None,
                helpers.SubscriptionHtml(text["text/html"]) if "text/html" in text else None,
                helpers.SubscriptionSubstitutionTag(text["replace"]) if "replace" in text else None,
            )
        elif name == "ganalytics":
            utm = {key: value for key, value in text.items() if key.startswith("utm_")}
            tracking.ganalytics = helpers.Ganalytics(_is_on(values["enable"]), **utm)
        elif name == "footer":
            handling.footer_settings = helpers.FooterSettings(
                _is_on(values["enable"]),
                helpers.FooterText(text["text/plain"]) if "text/plain" in text else None,
                helpers.FooterHtml(text["text/html"]) if "text/html" in text else None,
            )
        elif name in BYPASSES:
            setattr(handling, name, BYPASSES[name](_is_on(values["enable"])))
        elif _is_on(values["enable"]):
            raise V3MailError(f"{smtpapi.HEADER} asks for the filter {name}, which the Web API does not have.")
    if tracking.get():
        mail.tracking_settings = tracking
    if handling.get():
        mail.mail_settings = handling


def _get_dict(settings, name):
    value = settings.get(name) or {}
    if not isinstance(value, dict):
        raise V3MailError(f"{smtpapi.HEADER}: {name} is not an object.")
    return value


def _is_on(value):
    return str(value).strip().lower() not in ("0", "false", "none", "")


def _to_number(name, value):
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise V3MailError(f"{smtpapi.HEADER}: {name} is not a number.") from error


def _to_text(value):
    """Return a value as the events bring it back: text, whatever it was."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
