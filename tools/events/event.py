"""An event is one interaction as SendGrid reports it. This module knows which reports tell of the same one."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# The event webhook names them so (Twilio docs: Event Webhook reference). Events with other names are kept as they come.
DELIVERY_EVENTS = ("processed", "dropped", "deferred", "delivered", "bounce")
ENGAGEMENT_EVENTS = ("open", "click", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe")
ACCOUNT_EVENT = "account_status_change"
# The sample events of SendGrid's button "Test Your Integration" are about this address.
TEST_RECIPIENT = "example@test.com"
MAX_TEST_BODY = 64 * 1024  # bytes; the samples are a POST by themselves, of a dozen events


@dataclass
class Event:
    """An event of the webhook, cleaned: absent texts are ``""``, absent numbers ``None``.

    Nobody changes it, but for its ``refusal_cause``, which may become known later.

    It is not frozen because there are thousands in a batch, and a frozen one takes three times as long to make.

    ``timestamp`` is in Unix seconds (UTC), ``recipient`` in lower case. ``message_key`` is SendGrid's id of the message
    up to the first dot: the id that SMTP answers with ("queued as") and the Web API as ``X-Message-Id``.
    ``odoo_db`` and ``odoo_id`` are our own unique arguments. ``refusal_cause`` is one of `refusal.CAUSES` for a bounce
    or a drop, ``""`` where there is none. ``unread`` names, separated by commas, the fields of the wire that were there
    and could not be used.
    """

    event: str
    timestamp: int
    recipient: str = ""
    sg_event_id: str = ""
    sg_message_id: str = ""
    smtp_id: str = ""
    odoo_db: str = ""
    odoo_id: str = ""
    reason: str = ""
    response: str = ""
    smtp_status: str = ""
    attempt: int | None = None
    bounce_type: str = ""
    bounce_classification: str = ""
    refusal_cause: str = ""
    url: str = ""
    url_offset: str = ""
    ip: str = ""
    user_agent: str = ""
    sg_machine_open: bool = False
    asm_group_id: int | None = None
    unread: str = ""

    # It has no annotation because it is no field: an event that just came has its details. See `engagement.judge`.
    is_final = False

    @property
    def message_key(self) -> str:
        """The part of ``sg_message_id`` that all recipients of one message share, or ``""``.

        Some dropped events have a server's name in its place (captured: ``filter0093p1las1.9128…``), which many
        messages share: that is no message key.
        """
        key = self.sg_message_id.partition(".")[0]
        return "" if key.startswith(("filter", "recvd-", "ismtpd", "geopod")) else key

    @cached_property
    def fingerprint(self) -> str:
        """Name the interaction by what it says, in 22 letters: 128 bits, each of which is on disk twice per event.

        ``sg_event_id`` will not do: it can be missing, or change when SendGrid delivers an event again. Neither will
        the details do: SendGrid's message history (Email Activity) tells the same events without address, agent or
        answer.
        """
        said = (
            self.event,
            self.sg_message_id,
            self.recipient,
            self.timestamp,
            self.url,
            self.url_offset,
            self.attempt,
            self.bounce_type,
            self.asm_group_id,
            # A message can be dropped for two reasons in one second.
            self.reason if self.event == "dropped" else "",
            # Two accounts can be suspended in one second, and nothing else tells them apart.
            self.sg_event_id if self.event == ACCOUNT_EVENT else "",
        )
        digest = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).digest()
        return base64.urlsafe_b64encode(digest[:16])[:22].decode()


@dataclass
class StoredEvent(Event):
    """An event that was read from the database, with what is stored beside it.

    Only what the reader asked for is filled. The stored fingerprint holds, because some of what it was made from may
    have been forgotten since; of ``sg_message_id`` the message key is stored. ``is_final`` says that the details are
    gone, so that the former ``verdict`` and ``machine_reason`` hold for good.
    """

    id: int = 0
    email_id: int = 0
    source: str = "webhook"
    fingerprint: str = ""
    verdict: str = ""
    machine_reason: str = ""
    is_final: bool = False


# These tell of events, the best informed first.
SOURCES = ("webhook", "history", "suppressions")
# A list of suppressions says since when an address is on it, which is about when the message came back.
TIME_TOLERANCE = 3600


def is_same(event: Any, other: Any, tolerance: int = 0) -> bool:
    """Tell whether two reports of one message are of the same interaction, where one may say less than the other.

    :param event: anything with the attributes of `Event`
    :param other: likewise
    :param tolerance: seconds by which their times may differ
    """
    if event.event != other.event or abs(event.timestamp - other.timestamp) > tolerance:
        return False
    details = ["message_key", "url", "url_offset", "attempt", "bounce_type", "asm_group_id"]
    if event.event == "dropped":
        details.append("reason")
    pairs = ((getattr(event, name), getattr(other, name)) for name in details)
    return all(one == another or not (one and another) for one, another in pairs)
