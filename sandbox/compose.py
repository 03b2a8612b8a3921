"""Builds a recipient's MIME message and its tracking options from the JSON of a mail send.

`check` refuses mails that fit the schema and that SendGrid refuses all the same. Source: Twilio docs, Mail Send.
"""

import base64
import binascii
import dataclasses
import re
import time
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, localtime

from sandbox.smtpapi import MAX_UNIQUE_ARGS, Options, args_size

MAX_BYTES = 30 * 1024 * 1024
MAX_RECIPIENTS = 1000
MAX_AHEAD = 72 * 3600
"""The most seconds that `send_at` may lie ahead."""
FORBIDDEN_HEADERS = frozenset(
    "x-sg-id x-sg-eid received dkim-signature content-type content-transfer-encoding "
    "to from subject reply-to cc bcc".split()
)
_ATOM = r"[^@\s<>,;:.\[\]()\\\"]+"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*")
_HEADER_NAME = re.compile(r"[!-9;-~]+")
# With a shorter limit Python folds long words, ids as well, into encoded-words.
_POLICY = SMTP.clone(max_line_length=998)


class Unacceptable(Exception):
    """SendGrid answers 400. `field` is the path of the faulty field, e.g. `personalizations.0.to`; None: no field."""

    def __init__(self, message: str, field: str | None):
        super().__init__(message)
        self.message = message
        self.field = field


def check(mail: dict) -> None:
    """Check a mail that fits the schema for the rules that the schema cannot express.

    :raise Unacceptable: if SendGrid refuses the mail
    """
    _check_address(mail["from"], "from")
    if not mail["personalizations"]:
        raise Unacceptable("The personalizations field is required and must have at least one personalization.", None)
    if sum(len(_recipients(one)) for one in mail["personalizations"]) > MAX_RECIPIENTS:
        raise Unacceptable(f"Not more than {MAX_RECIPIENTS} recipients are allowed.", "personalizations")
    for number, one in enumerate(mail["personalizations"]):
        _check_personalization(mail, one, f"personalizations.{number}")
    if "reply_to" in mail and "reply_to_list" in mail:
        raise Unacceptable("Use either reply_to or reply_to_list, not both.", "reply_to")
    for field, address in _reply_to(mail):
        _check_address(address, field)
    _check_headers(mail.get("headers", {}), "headers")
    _check_send_at(mail, "send_at")
    _check_content(mail)
    _check_tracking(mail.get("tracking_settings", {}))
    for number, attachment in enumerate(mail.get("attachments", [])):
        _check_attachment(attachment, f"attachments.{number}")


def _check_personalization(mail: dict, one: dict, field: str) -> None:
    if not one["to"]:
        raise Unacceptable("The to array is required for all personalization objects.", f"{field}.to")
    seen = set()
    for name in ("to", "cc", "bcc"):
        for number, address in enumerate(one.get(name, [])):
            _check_address(address, f"{field}.{name}.{number}")
            if address["email"].lower() in seen:
                raise Unacceptable(
                    "Each email address in the personalization block should be unique between to, cc, and bcc. "
                    f"We found the first duplicate instance of [{address['email']}] in the {field}.{name} field.",
                    field,
                )
            seen.add(address["email"].lower())
    if "from" in one:
        _check_address(one["from"], f"{field}.from")
    if not one.get("subject", mail.get("subject")):
        raise Unacceptable("The subject is required.", "subject")
    if one.get("substitutions") or one.get("dynamic_template_data"):
        raise Unacceptable("The sandbox has no templates.", field)
    if args_size(_args(mail, one)) >= MAX_UNIQUE_ARGS:
        raise Unacceptable(f"The custom_args must be less than {MAX_UNIQUE_ARGS} bytes.", f"{field}.custom_args")
    _check_headers(one.get("headers", {}), f"{field}.headers")
    _check_send_at(one, f"{field}.send_at")


def _check_address(address: dict, field: str) -> None:
    if not _ADDRESS.fullmatch(address["email"]) or not address["email"].isascii():
        raise Unacceptable("Does not contain a valid address.", f"{field}.email")


def _check_headers(headers: dict, field: str) -> None:
    for name, value in headers.items():
        if name.lower() in FORBIDDEN_HEADERS:
            raise Unacceptable(f"The header {name} is reserved and cannot be used.", f"{field}.{name}")
        if not _HEADER_NAME.fullmatch(name) or not isinstance(value, str) or "\r" in value or "\n" in value:
            raise Unacceptable("A header is one line of text.", f"{field}.{name}")


def _check_send_at(holder: dict, field: str) -> None:
    if holder.get("send_at", 0) > time.time() + MAX_AHEAD:
        raise Unacceptable("The send_at must not be more than 72 hours ahead.", field)


def _check_content(mail: dict) -> None:
    if mail.get("template_id"):
        raise Unacceptable("The sandbox has no templates.", "template_id")
    kinds = [one["type"].partition(";")[0].strip() for one in mail.get("content", [])]
    if not kinds:
        raise Unacceptable("Unless a valid template_id is provided, the content parameter is required.", "content")
    ranks = [{"text/plain": 0, "text/html": 1}.get(kind, 2) for kind in kinds]
    if ranks != sorted(ranks):
        raise Unacceptable(
            "If present, text/plain and text/html parts must be first: text/plain, text/html, then any others.",
            "content",
        )
    if len(set(kinds)) < len(kinds) or not all(re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) for kind in kinds):
        raise Unacceptable("Each type of content may be provided once.", "content")


def _check_tracking(settings: dict) -> None:
    # The vendor's description does not say this; SendGrid does (sendgrid/sendgrid-python, issue 189).
    for name, values in settings.items():
        if "enable" not in values:
            raise Unacceptable(f"The {name} enable parameter is required.", f"tracking_settings.{name}.enable")


def _check_attachment(attachment: dict, field: str) -> None:
    try:
        base64.b64decode(attachment["content"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unacceptable("The attachment content must be base64 encoded.", f"{field}.content") from error
    # SendGrid takes a type with parameters, such as method=REQUEST (sendgrid/sendgrid-nodejs, issue 1138).
    kind = attachment.get("type", "")
    if "\r" in kind or "\n" in kind:
        raise Unacceptable("The attachment type cannot contain CRLF characters.", f"{field}.type")


def _reply_to(mail: dict) -> list[tuple[str, dict]]:
    if "reply_to" in mail:
        return [("reply_to", mail["reply_to"])]
    return [(f"reply_to_list.{number}", one) for number, one in enumerate(mail.get("reply_to_list", []))]


def _args(mail: dict, one: dict) -> dict[str, str]:
    return mail.get("custom_args", {}) | one.get("custom_args", {})


def _recipients(one: dict) -> list[str]:
    return [address["email"] for name in ("to", "cc", "bcc") for address in one.get(name, [])]


@dataclasses.dataclass(frozen=True)
class Composed:
    """A message that the sandbox can accept, with its envelope."""

    content: bytes
    sender: str
    recipients: list[str]
    options: Options


def compose(mail: dict, defaults: Options) -> list[Composed]:
    """Return one message for each personalization of a checked mail.

    :param defaults: the account's tracking settings, for a mail that sets none
    :raise Unacceptable: if no MIME message can hold the content
    """
    messages = []
    for number, one in enumerate(mail["personalizations"]):
        try:
            content = _message(mail, one).as_bytes(policy=_POLICY)
        except (ValueError, LookupError, MessageError) as error:
            raise Unacceptable(str(error), f"personalizations.{number}") from error
        sender = one.get("from", mail["from"])["email"]
        messages.append(Composed(content, sender, _recipients(one), _options(mail, one, defaults)))
    return messages


def _message(mail: dict, one: dict) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    message["From"] = _address(one.get("from", mail["from"]))
    message["To"] = [_address(address) for address in one["to"]]
    if one.get("cc"):
        message["Cc"] = [_address(address) for address in one["cc"]]
    if reply_to := [_address(address) for _, address in _reply_to(mail)]:
        message["Reply-To"] = reply_to
    message["Subject"] = one.get("subject") or mail["subject"]
    for name, value in (mail.get("headers", {}) | one.get("headers", {})).items():
        message[name] = value
    if "Date" not in message:
        message["Date"] = format_datetime(localtime())
    _add_bodies(message, mail["content"])
    for attachment in mail.get("attachments", []):
        _add_attachment(message, attachment)
    return message


def _address(address: dict) -> Address:
    return Address(address.get("name", ""), addr_spec=address["email"])


def _add_bodies(message: EmailMessage, content: list[dict]) -> None:
    for number, one in enumerate(content):
        kind = EmailMessage(policy=_POLICY)
        kind["Content-Type"] = one["type"]
        main, sub = kind.get_content_maintype(), kind.get_content_subtype()
        if main == "text":
            args, options = (one["value"],), {"subtype": sub, "charset": "utf-8", "cte": "quoted-printable"}
            options["params"] = dict(kind["Content-Type"].params)
        else:
            args, options = (one["value"].encode(), main, sub), {"cte": "base64"}
        (message.add_alternative if number else message.set_content)(*args, **options)


def _add_attachment(message: EmailMessage, attachment: dict) -> None:
    main, _, sub = (attachment.get("type") or "application/octet-stream").partition("/")
    options = {"filename": attachment["filename"], "disposition": attachment.get("disposition", "attachment")}
    if attachment.get("content_id"):
        options["cid"] = f"<{attachment['content_id']}>"
    html = message.get_body(("html",))
    content = base64.b64decode(attachment["content"])
    if options["disposition"] == "inline" and "cid" in options and html is not None:
        html.add_related(content, main, sub or "octet-stream", **options)
    else:
        message.add_attachment(content, main, sub or "octet-stream", **options)


def _options(mail: dict, one: dict, defaults: Options) -> Options:
    tracking = mail.get("tracking_settings", {})
    click, opened = tracking.get("click_tracking", {}), tracking.get("open_tracking", {})
    subscription = tracking.get("subscription_tracking", {})
    return dataclasses.replace(
        defaults,
        unique_args=_args(mail, one),
        category=tuple(mail.get("categories", ())),
        asm_group_id=mail.get("asm", {}).get("group_id"),
        send_at=one.get("send_at", mail.get("send_at", 0)),
        ip_pool=mail.get("ip_pool_name", ""),
        click=click.get("enable", defaults.click),
        click_text=click.get("enable_text", defaults.click_text),
        open=opened.get("enable", defaults.open),
        open_tag=opened.get("substitution_tag", defaults.open_tag),
        subscription=subscription.get("enable", defaults.subscription),
        subscription_html=subscription.get("html", defaults.subscription_html),
        subscription_text=subscription.get("text", defaults.subscription_text),
        subscription_tag=subscription.get("substitution_tag", defaults.subscription_tag),
    )
