"""A message as received, its copies (one for each recipient), and the mailbox that holds all messages of this run."""

import time
from dataclasses import dataclass, field
from functools import cached_property

from sandbox import ids, mime, rewrite, smtpapi

MAX_MESSAGES = 10_000
"""The mailbox forgets its oldest messages above this number."""


@dataclass(eq=False)
class Event:
    """An event of a copy as it goes over the wire, and the outcome of posting it."""

    wire: dict
    outcome: str = "pending"
    """One of `pending`, `delivered` (2xx), `failing` (tried again), `lost` (given up, or no webhook is set)."""

    @property
    def label(self) -> str:
        """A name of the event for people, finer than the wire name."""
        name = self.wire.get("event")
        if name == "bounce" and self.wire.get("type") == "blocked":
            return "blocked"
        if name == "open" and self.wire.get("sg_machine_open"):
            return "machine open"
        return str(name).replace("_", " ")


@dataclass(eq=False)
class Copy:
    """The message as one recipient (To, Cc or Bcc alike) gets it: with its own index, pixel, links and events."""

    message: "Message"
    index: int
    address: str
    trail: list[Event] = field(default_factory=list)
    attempts: int = 0
    """The number of times that the receiver has deferred this copy."""
    doubled: bool = False
    """True if every event of this copy is sent twice."""

    @property
    def sg_message_id(self) -> str:
        """The id of the copy in SendGrid's events."""
        return f"{self.message.sg_id}.{self.message.server}.{self.number}"

    @property
    def number(self) -> int:
        """The place of the recipient among all recipients of the call or transaction."""
        return self.message.first_number + self.index

    @property
    def token(self) -> str:
        """The id of the copy in links and the pixel."""
        return f"{self.message.id}.{self.index}"

    @property
    def state(self) -> str:
        """The label of the latest event; `accepted` before there is one."""
        return self.trail[-1].label if self.trail else "accepted"

    @property
    def arrived(self) -> bool:
        """True if the receiver took the copy. Otherwise nobody can load its pixel or click."""
        return any(event.wire.get("event") == "delivered" for event in self.trail)

    def addresses(self, base_url: str) -> rewrite.Addresses:
        """Return the addresses that the copy's links, pixel and unsubscribe link lead to."""
        return rewrite.Addresses(
            click=lambda number: f"{base_url}/ls/click?upn={self.token}.{number}",
            open=f"{base_url}/wf/open?upn={self.token}",
            unsubscribe=f"{base_url}/wf/unsubscribe?upn={self.token}",
        )

    def source(self, base_url: str) -> bytes:
        """Return the bytes of the copy: as delivered, or without pixel and tracked links if it has not arrived."""
        message = self.message
        if not self.arrived:
            return message.raw
        return rewrite.delivered(message.raw, message.options, self.addresses(base_url), len(message.links))


class Message:
    """An accepted message. `received` holds its bytes as they came, `raw` the same without X-SMTPAPI headers.

    Without `options`, the X-SMTPAPI header decides. The messages of one API call share `sg_id`, and `first_number` is
    the number of recipients of the earlier ones.
    """

    def __init__(
        self,
        received: bytes,
        recipients: list[str],
        sender: str,
        options: smtpapi.Options | None = None,
        sg_id: str | None = None,
        first_number: int = 0,
    ):
        self.id = ids.random_id() if first_number or not sg_id else sg_id
        self.sg_id = sg_id or self.id
        self.first_number = first_number
        self.server = ids.server_suffix()
        self.time = time.time()
        self.received = received
        self.envelope_from = sender
        self.options = options or smtpapi.read(smtpapi.values(received))
        self.raw = mime.without_field(received, "X-SMTPAPI")
        self.message_id = mime.header(self.raw, "Message-ID")
        if not self.message_id:  # SendGrid, too, gives a message without Message-ID one
            self.message_id = f"<{self.sg_id}@geopod-ismtpd-16>"
            self.raw = f"Message-ID: {self.message_id}\r\n".encode() + self.raw
        self.copies = [Copy(self, index, address) for index, address in enumerate(recipients)]

    @property
    def smtpapi(self) -> list[bytes]:
        """The raw values of all X-SMTPAPI headers, still folded."""
        return smtpapi.values(self.received)

    @cached_property
    def links(self) -> list[rewrite.Link]:
        """The links that are tracked."""
        return rewrite.find_links(self.raw, self.options)

    @cached_property
    def has_pixel(self) -> bool:
        """True if each copy carries an open pixel."""
        return rewrite.has_pixel(self.raw, self.options)

    @cached_property
    def parts(self) -> list[mime.Part]:
        """The leaves of the MIME tree."""
        return mime.parts(self.raw)

    @cached_property
    def attachments(self) -> list[tuple[int, mime.Part]]:
        """The attachments and inline images, each with its number among `parts`."""
        return [(number, part) for number, part in enumerate(self.parts) if part.is_attachment]

    @cached_property
    def subject(self) -> str:
        """The subject, decoded for people."""
        return mime.header(self.raw, "Subject")

    @cached_property
    def sender(self) -> str:
        """The From header, decoded for people."""
        return mime.header(self.raw, "From")

    def copy(self, name: str) -> Copy | None:
        """Return the copy with this index or this recipient's address, or None."""
        for copy in self.copies:
            if name == str(copy.index) or name.lower() == copy.address.lower():
                return copy
        return None


class Mailbox:
    """Holds all messages of this run."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}

    def add(self, message: Message) -> None:
        """Add a message; forget the oldest above MAX_MESSAGES."""
        self._messages[message.id] = message
        while len(self._messages) > MAX_MESSAGES:
            del self._messages[next(iter(self._messages))]

    def get(self, message_id: str) -> Message | None:
        """Return the message with this id, or None."""
        return self._messages.get(message_id)

    def newest_first(self) -> list[Message]:
        """Return all messages, newest first."""
        return list(reversed(self._messages.values()))

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()

    def __len__(self) -> int:
        return len(self._messages)
