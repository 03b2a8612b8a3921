"""The ``X-SMTPAPI`` header is JSON that tells SendGrid how to treat a message. This module reads and writes it."""

import json
import re
from email.policy import EmailPolicy
from typing import Any, NoReturn

from .errors import SmtpapiError

__all__ = (
    "HEADER",
    "SmtpapiError",
    "SmtpapiHeader",
    "is_on",
    "merge",
    "no_plain_text_tracking",
    "no_tracking",
    "read",
    "unique_args",
)

HEADER = "X-SMTPAPI"
# Twilio docs, "Building an X-SMTPAPI Header": lines of up to 1,000 characters, 72 by older advice.
LINE_LENGTH = 72
# RFC 5322 ends a line after 998 characters, of which one is the blank that continues the header.
LONGEST_WORD = 997


class SmtpapiHeader(str):
    """The value of the header, which folds itself: at the blanks of its JSON, and nowhere else.

    Python's own folding turns a word longer than the line into an RFC 2047 encoded-word, and what comes out is no
    longer JSON. ``email.policy`` leaves the folding to values that have a ``name`` and a ``fold``.
    """

    name = HEADER

    def fold(self, *, policy: EmailPolicy) -> str:
        """Return the header as it stands on the wire, lines ended by ``policy.linesep``."""
        lines = [f"{self.name}:"]
        for word in self.split(" "):
            if len(lines[-1]) + 1 + len(word) > LINE_LENGTH and lines[-1].strip():
                lines.append("")
            lines[-1] += f" {word}"
        return policy.linesep.join(lines) + policy.linesep


def merge(headers: list[str], settings: dict[str, Any]) -> SmtpapiHeader:
    """Return one header that says what ``headers`` say, and ``settings`` above them.

    :param headers: the values already set on the message, in any number
    :param settings: e.g. ``{"unique_args": {"odoo_id": "…"}}``; objects are merged, other values replaced
    :raise SmtpapiError: one of ``headers`` is not a JSON object, names recipients, or has a word that no line can hold
    """
    said = read(headers)
    if name := _find_recipients(said):
        raise SmtpapiError("names_recipients", header=HEADER, name=name)
    # The JSON is ASCII, with blanks between its elements to fold at. One of two blanks in a text is escaped, because
    # a fold between them would leave a line of nothing.
    header = SmtpapiHeader(json.dumps(_merge(said, settings)).replace("  ", " \\u0020"))
    if max(map(len, header.split(" "))) > LONGEST_WORD:
        raise SmtpapiError("long_word", header=HEADER, limit=LONGEST_WORD)
    return header


def read(headers: list[str]) -> dict[str, Any]:
    """Return what the headers of a message say, the later ones above the earlier.

    :raise SmtpapiError: one of them is not a JSON object
    """
    merged = {}
    for header in headers:
        try:
            value = json.loads(re.sub(r"\r?\n", "", header), parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise SmtpapiError("not_json", header=HEADER, position=error.pos + 1) from error
        except (ValueError, RecursionError) as error:
            raise SmtpapiError("absurd", header=HEADER) from error
        if not isinstance(value, dict):
            raise SmtpapiError("not_a_json_object", header=HEADER)
        merged = _merge(merged, value)
    return merged


def unique_args(odoo_db: str, odoo_id: str | None) -> dict[str, Any]:
    """Return the settings that make SendGrid put our two opaque ids into every event of the message."""
    args = {"odoo_db": odoo_db}
    if odoo_id:
        args["odoo_id"] = odoo_id
    return {"unique_args": args}


def no_plain_text_tracking() -> dict[str, Any]:
    """Return the settings that keep the links of the text part as they are.

    ``enable`` is left out: whether links of the HTML part are tracked stays the account's decision.
    """
    return {"filters": {"clicktrack": {"settings": {"enable_text": 0}}}}


def no_tracking() -> dict[str, Any]:
    """Return the settings with which a message leaves without a pixel, and with its links as they were written.

    ``subscriptiontrack`` is left alone: it carries the unsubscribe link (Twilio docs, "SMTP Filters").
    """
    return {
        "filters": {
            "opentrack": {"settings": {"enable": 0}},
            "clicktrack": {"settings": {"enable": 0, "enable_text": 0}},
        }
    }


def is_on(value: Any) -> bool:
    """Tell whether a filter is enabled by a value, which may be a number, a truth value or a text."""
    return str(value).strip().lower() not in ("0", "false", "none", "")


def _find_recipients(settings: dict[str, Any]) -> str | None:
    """Return the name of a setting by which SendGrid would send to others than the envelope says, None without one.

    It would send to those in ``to`` instead, and to the address of the filter ``bcc`` as well. The filter gives them
    the copy's name, so that their opens would count for the copy's recipient (Twilio docs, "SMTP Filters").
    """
    if settings.get("to"):
        return "to"
    bcc = settings
    for name in ("filters", "bcc", "settings", "enable"):
        bcc = bcc.get(name) if isinstance(bcc, dict) else None
    return "bcc" if is_on(bcc) else None


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError(name)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
