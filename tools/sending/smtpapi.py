"""The ``X-SMTPAPI`` header: JSON that tells SendGrid what to do with a message."""

import json
import re

HEADER = "X-SMTPAPI"
# Twilio docs, "Building an X-SMTPAPI Header": lines of up to 1,000 characters, 72 by older advice.
LINE_LENGTH = 72
# RFC 5322 ends a line after 998 characters, of which one is the blank that continues the header.
LONGEST_WORD = 997


class SmtpapiError(ValueError):
    """The header that somebody set is not a JSON object: SendGrid would drop the message."""


class SmtpapiHeader(str):
    """The value of the header, which folds itself: at the blanks of its JSON, and nowhere else.

    Python's own folding turns a word longer than the line into an RFC 2047 encoded-word, and what comes out is no
    longer JSON. ``email.policy`` leaves the folding to values that have a ``name`` and a ``fold``.
    """

    name = HEADER

    def fold(self, *, policy) -> str:
        """Return the header as it stands on the wire, lines ended by ``policy.linesep``."""
        lines = [f"{self.name}:"]
        for word in self.split(" "):
            if len(lines[-1]) + 1 + len(word) > LINE_LENGTH and lines[-1].strip():
                lines.append("")
            lines[-1] += f" {word}"
        return policy.linesep.join(lines) + policy.linesep


def merge(headers: list[str], settings: dict) -> SmtpapiHeader:
    """Return one header that says what ``headers`` say, and ``settings`` above them.

    :param headers: the values already set on the message, in any number
    :param settings: e.g. ``{"unique_args": {"odoo_id": "…"}}``; objects are merged, other values replaced
    :raise SmtpapiError: one of ``headers`` is not a JSON object, or has a word that no line can hold
    """
    # ASCII only, with blanks between the elements: the places to fold at. Of two blanks in a text one is escaped, or a
    # fold between them would leave a line of nothing.
    header = SmtpapiHeader(json.dumps(_merge(read(headers), settings)).replace("  ", " \\u0020"))
    if max(map(len, header.split(" "))) > LONGEST_WORD:
        raise SmtpapiError(f"{HEADER} has a word of more than {LONGEST_WORD} characters, which no line can hold.")
    return header


def read(headers: list[str]) -> dict:
    """Return what the headers of a message say, the later ones above the earlier.

    :raise SmtpapiError: one of them is not a JSON object
    """
    merged = {}
    for header in headers:
        try:
            value = json.loads(re.sub(r"\r?\n", "", header), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise SmtpapiError(f"{HEADER} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise SmtpapiError(f"{HEADER} is not a JSON object.")
        merged = _merge(merged, value)
    return merged


def unique_args(odoo_db: str, odoo_id: str | None) -> dict:
    """Return the settings that make SendGrid put our two opaque ids into every event of the message."""
    args = {"odoo_db": odoo_db}
    if odoo_id:
        args["odoo_id"] = odoo_id
    return {"unique_args": args}


def no_plain_text_tracking() -> dict:
    """Return the settings that keep the links of the text part as they are.

    ``enable`` is left out: whether links of the HTML part are tracked stays the account's decision.
    """
    return {"filters": {"clicktrack": {"settings": {"enable_text": 0}}}}


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON number")


def _merge(below, above):
    merged = dict(below)
    for key, value in above.items():
        known = merged.get(key)
        merged[key] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
