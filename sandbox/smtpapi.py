"""Reads the sender's wishes from `X-SMTPAPI` (Twilio docs: Building an X-SMTPAPI header, SMTP filters)."""

import json
from dataclasses import dataclass, field

from sandbox import mime

MAX_LINE = 1000
"""The most characters in one line of the header."""
MAX_UNIQUE_ARGS = 10_000
"""The most bytes of all unique args together."""


class InvalidHeader(ValueError):
    """SendGrid drops the message with the reason `Invalid SMTPAPI header`."""


@dataclass(frozen=True)
class Options:
    """The tracking options of one message. The defaults are those of a new account: clicks and opens, in HTML only."""

    valid: bool = True
    """False if the header cannot be read: then every recipient is dropped, and nothing in the header counts."""
    unique_args: dict[str, str] = field(default_factory=dict)
    category: tuple[str, ...] = ()
    asm_group_id: int | None = None
    send_at: int = 0
    """Unix seconds. The sandbox repeats the value in `processed` and never waits."""
    ip_pool: str = ""
    click: bool = True
    click_text: bool = False
    """True if links in text/plain are tracked too."""
    open: bool = True
    open_tag: str = ""
    """The text in the body that the pixel replaces; empty: the pixel goes before </body>."""
    subscription: bool = False
    subscription_html: str = ""
    subscription_text: str = ""
    subscription_tag: str = ""
    """The text in the body that the unsubscribe address replaces; empty: a line is appended."""


DEFAULTS = Options()
"""The options of a new account."""


def values(content: bytes) -> list[bytes]:
    """Return the raw values of all X-SMTPAPI headers of a message, still folded."""
    return [value for name, value in mime.fields(content) if name.lower() == "x-smtpapi"]


def read(found: list[bytes], defaults: Options = DEFAULTS) -> Options:
    """Return the options from the raw values of all X-SMTPAPI headers of a message, still folded. The first one wins.

    :param defaults: the options where the header says nothing else
    :return: `Options(valid=False)` if the header cannot be read
    """
    if not found:
        return defaults
    try:
        return _options(_parse(found[0]), defaults)
    except InvalidHeader:
        return Options(valid=False)


def _parse(value: bytes) -> dict:
    lines = value.splitlines()
    if any(len(line) > MAX_LINE for line in lines):
        raise InvalidHeader("line too long")
    try:
        # Unfolding removes the line breaks and nothing else (RFC 5322 2.2.3). Encoded-words are not JSON.
        data = json.loads(b"".join(lines))
    except (ValueError, RecursionError) as error:
        raise InvalidHeader(str(error)) from error
    if not isinstance(data, dict):
        raise InvalidHeader("not an object")
    return data


def _options(data: dict, defaults: Options) -> Options:
    filters = _dict(data.get("filters"))
    click = _dict(_dict(filters.get("clicktrack")).get("settings"))
    opened = _dict(_dict(filters.get("opentrack")).get("settings"))
    subscription = _dict(_dict(filters.get("subscriptiontrack")).get("settings"))
    return Options(
        unique_args=_unique_args(_dict(data.get("unique_args"))),
        category=_category(data.get("category")),
        asm_group_id=_int(data.get("asm_group_id")),
        send_at=_int(data.get("send_at")) or 0,
        ip_pool=_text(data.get("ip_pool")),
        click=_on(click, "enable", defaults.click),
        click_text=_on(click, "enable_text", defaults.click_text),
        open=_on(opened, "enable", defaults.open),
        open_tag=_text(opened.get("replace", defaults.open_tag)),
        subscription=_on(subscription, "enable", defaults.subscription),
        subscription_html=_text(subscription.get("text/html", defaults.subscription_html)),
        subscription_text=_text(subscription.get("text/plain", defaults.subscription_text)),
        subscription_tag=_text(subscription.get("replace", defaults.subscription_tag)),
    )


def _unique_args(args: dict) -> dict[str, str]:
    texts = {key: _text(value) for key, value in args.items()}
    if args_size(texts) > MAX_UNIQUE_ARGS:
        raise InvalidHeader("unique_args too long")
    return texts


def args_size(args: dict[str, str]) -> int:
    """Return the bytes that count against MAX_UNIQUE_ARGS."""
    return sum(len((key + value).encode("utf-8", "replace")) for key, value in args.items())


def _category(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(_text(item) for item in values if item not in (None, ""))


def _on(settings: dict, name: str, default: bool) -> bool:
    if name not in settings:
        return default
    return str(settings[name]).strip().lower() not in ("0", "false", "none", "")


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _int(value: object) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    """Return a value as text: args are strings on the wire, whatever they were in the header."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
