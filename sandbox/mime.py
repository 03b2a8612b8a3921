"""Finds where the parts of a message lie in its bytes, so that one part can change while every other byte stays.

Python's `email` package forgets byte positions, so only its header parser is used here. Nothing in this file raises on
broken input: a part that cannot be understood is left as one opaque part.
"""

import base64
import binascii
import email.message
import email.parser
import quopri
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header

MAX_DEPTH = 30
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:(.*(?:\n[ \t].*)*)\n?", re.MULTILINE)
_BLANK_LINE = re.compile(rb"\A\r?\n|\r?\n\r?\n")


@dataclass(frozen=True)
class Part:
    """A leaf of the MIME tree; `start` and `end` are the byte range of its body in the whole message."""

    headers: email.message.Message
    start: int
    end: int

    @property
    def content_type(self) -> str:
        """The type of the content, such as `text/html`."""
        return self.headers.get_content_type()

    @property
    def encoding(self) -> str:
        """The Content-Transfer-Encoding in lower case; "" if there is none."""
        return str(self.headers.get("Content-Transfer-Encoding", "")).strip().lower()

    @property
    def charset(self) -> str:
        """The character set of the content, UTF-8 if it names none."""
        return _quiet(self.headers.get_content_charset) or "utf-8"

    @property
    def filename(self) -> str:
        """The name of the file, decoded; "" if there is none."""
        return words(_quiet(self.headers.get_filename) or "")

    @property
    def content_id(self) -> str:
        """The Content-ID without angle brackets; "" if there is none."""
        return str(self.headers.get("Content-ID", "")).strip().strip("<>")

    @property
    def is_attachment(self) -> bool:
        """True if this part is something else than the message's text."""
        if self.content_type not in ("text/plain", "text/html"):
            return True
        disposition = _quiet(self.headers.get_content_disposition)
        return disposition == "attachment" or bool(self.filename)


def _quiet(function: Callable[[], str | None]) -> str | None:
    try:
        return function()
    except (LookupError, ValueError, TypeError, MessageError):
        return None


def split_head(raw: bytes) -> tuple[bytes, int]:
    """Return the header block of `raw`, and the position where its body begins."""
    match = _BLANK_LINE.search(raw)
    if not match:
        return raw, len(raw)
    head_end = match.start() if match.start() == 0 else match.end() - len(match.group()) // 2
    return raw[:head_end], match.end()


def fields(raw: bytes) -> list[tuple[str, bytes]]:
    """Return the name and the raw value, still folded, of each header field of `raw`, in order."""
    head, _ = split_head(raw)
    return [(match[1].decode("ascii"), match[2].strip()) for match in _FIELD.finditer(head)]


def without_field(raw: bytes, name: str) -> bytes:
    """Return `raw` without the header fields called `name` (in any case); all other bytes stay."""
    head, _ = split_head(raw)
    kept = _FIELD.sub(lambda match: b"" if match[1].lower() == name.lower().encode() else match[0], head)
    return kept + raw[len(head) :]


def header(raw: bytes, name: str) -> str:
    """Return the first header field called `name`, unfolded and decoded for people; "" if there is none."""
    for key, value in fields(raw):
        if key.lower() == name.lower():
            return words(text(b"".join(value.splitlines())))
    return ""


def words(value: str) -> str:
    """Return a header value with its RFC 2047 encoded-words decoded."""
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError, MessageError):
        return value


def text(value: bytes) -> str:
    """Decode bytes that should be UTF-8 into a text that can always be encoded again."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def parts(raw: bytes) -> list[Part]:
    """Return all leaves of the MIME tree, in the order of the message."""
    return _parts(raw, 0, len(raw), 0)


def _parts(raw: bytes, start: int, end: int, depth: int) -> list[Part]:
    head, body = split_head(raw[start:end])
    headers = email.parser.BytesHeaderParser().parsebytes(head)
    body += start
    boundary = _quiet(headers.get_boundary)
    if headers.get_content_maintype() == "multipart" and boundary and depth < MAX_DEPTH:
        ranges = _split_multipart(raw, body, end, boundary.encode("utf-8", "surrogateescape"))
        if ranges:
            return [part for low, high in ranges for part in _parts(raw, low, high, depth + 1)]
    return [Part(headers, body, end)]


def _split_multipart(raw: bytes, start: int, end: int, boundary: bytes) -> list[tuple[int, int]]:
    """Byte ranges between the delimiter lines; the line break before a delimiter belongs to the delimiter."""
    delimiter = re.compile(rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)", re.MULTILINE)
    ranges = []
    low = None
    for match in delimiter.finditer(raw, start, end):
        if low is not None:
            ranges.append((min(low, match.start()), match.start()))
        if match[1]:
            return ranges
        low = match.end() + (2 if raw[match.end() : match.end() + 2] == b"\r\n" else 1)
    if low is not None and low <= end:  # the closing delimiter is missing
        ranges.append((low, end))
    return ranges


def body(raw: bytes, part: Part) -> bytes:
    """The decoded bytes of a part."""
    encoded = raw[part.start : part.end]
    if part.encoding == "base64":
        try:
            return base64.b64decode(encoded + b"===")  # forgives missing padding
        except (binascii.Error, ValueError):
            return encoded
    if part.encoding == "quoted-printable":
        return quopri.decodestring(encoded)
    return encoded


def body_text(raw: bytes, part: Part) -> tuple[str, str]:
    """The text of a part, and the charset that turns it into the very same bytes again."""
    data = body(raw, part)
    for charset in (part.charset, "utf-8"):
        try:
            decoded = data.decode(charset)
            if decoded.encode(charset) == data:
                return decoded, charset
        except (LookupError, ValueError):
            continue
    return data.decode("latin-1"), "latin-1"


def encoded_body(content: str, charset: str, part: Part) -> bytes:
    """`content` in the charset and transfer encoding of `part`."""
    data = content.encode(charset, "replace")
    if part.encoding == "base64":
        return base64.encodebytes(data).replace(b"\n", b"\r\n")
    if part.encoding == "quoted-printable":
        return quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
    return data


def replaced(raw: bytes, changes: list[tuple[Part, bytes]]) -> bytes:
    """`raw` with the bodies of some parts replaced."""
    pieces = []
    position = 0
    for part, content in sorted(changes, key=lambda change: change[0].start):
        pieces += [raw[position : part.start], content]
        position = part.end
    return b"".join([*pieces, raw[position:]])
