"""Magic addresses: the local part of a recipient decides which events happen to its copy."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One event of a life. Both times are seconds after the message was accepted."""

    kind: str
    at: float = 0.0
    """The time that the event's timestamp tells."""
    sent: float | None = None
    """The time when the event reaches the webhook's queue; None: the same as `at`."""

    @property
    def delay(self) -> float:
        """Seconds after which the event reaches the webhook's queue."""
        return self.at if self.sent is None else self.sent


@dataclass(frozen=True)
class Life:
    """A magic address's name and the steps of its copies."""

    prefix: str
    says: str
    """A description for people, used on the page and in the README."""
    steps: tuple[Step, ...]
    doubled: bool = False


_ARRIVES = (Step("processed"), Step("delivered"))
_OUT_OF_ORDER = (Step("open", at=1, sent=1), Step("delivered", at=0, sent=1.6), Step("processed", at=0, sent=2.2))

ORDINARY = Life("", "processed, delivered", _ARRIVES)
HEADER_DROPPED = Life("", "dropped: Invalid SMTPAPI header", (Step("dropped-header"),))


def dropped(kind: str) -> Life:
    """Return the life of a copy to an address on a suppression list. `kind` is the kind of `dropped` event."""
    return Life("", "dropped", (Step(kind),))


LIVES = (
    Life("bounce", "processed, then refused for good (550, hard bounce)", (Step("processed"), Step("bounce"))),
    Life("blocked", "processed, then refused for now (mailbox full)", (Step("processed"), Step("blocked"))),
    Life(
        "deferred",
        "deferred, and delivered 2 seconds later",
        (Step("processed"), Step("deferred"), Step("delivered", at=2)),
    ),
    Life("dropped", "dropped: Bounced Address", (Step("dropped"),)),
    Life("dropped-unsubscribed", "dropped: Unsubscribed Address", (Step("dropped-unsubscribed"),)),
    Life("dropped-spam", "dropped: Spam Reporting Address", (Step("dropped-spam"),)),
    Life("dropped-invalid", "dropped: Invalid", (Step("dropped-invalid"),)),
    Life(
        "late-bounce",
        "delivered, and returned 2 seconds later by a bounce without any ids",
        (*_ARRIVES, Step("late-bounce", at=2)),
    ),
    Life(
        "machine-open",
        "delivered, and opened at once by Apple Mail Privacy Protection",
        (*_ARRIVES, Step("machine-open")),
    ),
    Life(
        "scanner",
        "delivered; a scanner opens it and clicks every link within 2 seconds",
        (*_ARRIVES, Step("scan", at=1)),
    ),
    Life(
        "spam",
        "delivered, opened, and reported as spam 1 second later",
        (*_ARRIVES, Step("open"), Step("spamreport", at=1)),
    ),
    Life("duplicate", "delivered; every event comes twice, with another sg_event_id", _ARRIVES, doubled=True),
    Life("unordered", "open comes first, then delivered, then processed, in three POSTs", _OUT_OF_ORDER),
)


def life_of(address: str) -> Life:
    """Return the life with the longest prefix that matches. No letter may follow a prefix (`bounce+7@`, `bounce2@`)."""
    local = address.rpartition("@")[0].lower()
    for life in sorted(LIVES, key=lambda one: -len(one.prefix)):
        if re.match(re.escape(life.prefix) + r"(?![a-z])", local):
            return life
    return ORDINARY
