"""SendGrid's memory of the messages, one record for each recipient; Email Logs and Email Activity read it."""

import time
from dataclasses import dataclass

from sandbox.message import Copy, Mailbox

_STATUS = {
    "processed": "processed",
    "dropped": "dropped",
    "deferred": "deferred",
    "delivered": "delivered",
    "open": "delivered",
    "click": "delivered",
}
"""The status that an event gives, by the vendor's description of the Email Logs; other events give none."""


def iso(seconds: float) -> str:
    """Return Unix seconds as an ISO 8601 text in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


@dataclass(frozen=True)
class Record:
    """SendGrid's memory of one copy."""

    copy: Copy
    events: list[dict]
    """The events as on the wire, oldest first. A bounce without ids belongs to no message, and so to no record."""

    @property
    def status(self) -> str:
        """The status: processed, deferred, dropped, delivered, bounced or blocked."""
        status = "processed"
        for event in self.events:
            if event["event"] == "bounce":
                status = "blocked" if event.get("type") == "blocked" else "bounced"
            else:
                status = _STATUS.get(event["event"], status)
        return status

    @property
    def created(self) -> int:
        """The time when SendGrid took the message (Unix seconds)."""
        return int(self.copy.message.time)

    @property
    def last_event(self) -> int:
        """The time of the latest event (Unix seconds); without events, the time when SendGrid took the message."""
        return max((event["timestamp"] for event in self.events), default=self.created)

    @property
    def reason(self) -> str:
        """The reason of the latest event that gives one, or ""."""
        words = [event.get("reason") or event.get("response") or "" for event in self.events]
        return next((one for one in reversed(words) if one), "")

    @property
    def summary(self) -> dict:
        """The fields that both histories show of a message."""
        message = self.copy.message
        return {"from_email": message.envelope_from, "subject": message.subject, "to_email": self.copy.address}


def record(copy: Copy) -> Record:
    """Return the record of one copy, with the events that name its message."""
    events = [event.wire for event in copy.trail if event.wire.get("sg_message_id") == copy.sg_message_id]
    return Record(copy, sorted(events, key=lambda event: event["timestamp"]))


def records(mailbox: Mailbox) -> list[Record]:
    """Return the records of all copies, newest first."""
    return [record(copy) for message in mailbox.newest_first() for copy in reversed(message.copies)]


def find(mailbox: Mailbox, sg_message_id: str) -> Record | None:
    """Return the record of the copy with this id, or None."""
    for message in mailbox.newest_first():
        for copy in message.copies:
            if copy.sg_message_id == sg_message_id:
                return record(copy)
    return None
