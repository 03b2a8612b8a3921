"""An event is one interaction as SendGrid reports it. This module knows which reports tell of the same one."""

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

# The event webhook names them so (Twilio docs: Event Webhook reference). Events with other names are kept as they come.
DELIVERY_EVENTS = ("processed", "dropped", "deferred", "delivered", "bounce")
ENGAGEMENT_EVENTS = ("open", "click", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe")
ACCOUNT_EVENT = "account_status_change"
# Several programs can do these at once, each of which SendGrid reports by itself.
INTERACTIONS = ("open", "click")
# What happens within one second is told in this order (see `get_rank`): what was refused or complained about has been
# on its way before, a machine opens a mail before the server refuses it, and of leaving a group and coming back leaving
# is the last word, as in `fold`.
NATURAL_ORDER = (
    "processed",
    "deferred",
    "delivered",
    "open",
    "click",
    "dropped",
    "bounce",
    "spamreport",
    "group_resubscribe",
    "group_unsubscribe",
    "unsubscribe",
)
# These tell how things stand with an address, whoever has written to it.
ADDRESS_EVENTS = ("bounce", "dropped", "spamreport", "unsubscribe", "group_unsubscribe", "group_resubscribe")
# The sample events of SendGrid's button "Test Your Integration" are about this address.
TEST_RECIPIENT = "example@test.com"
# Odoo's own name for an answer, see `answer`. If SendGrid uses it one day, its event has no `Event.answer`.
REPLY = "reply"
MAX_TEST_BODY = 64 * 1024  # bytes; the samples are a POST by themselves, of a dozen events


@dataclass
class Event:
    """An event of the webhook, cleaned: absent texts are ``""``, absent numbers ``None``.

    Nobody changes it, but for its ``refusal_cause``, which may become known later, and ``is_colleague``.

    It is not frozen because there are thousands in a batch, and a frozen one takes three times as long to make.

    ``timestamp`` is in Unix seconds (UTC), ``recipient`` in lower case. ``message_key`` is SendGrid's id of the message
    up to the first dot: the id that SMTP answers with ("queued as") and the Web API as ``X-Message-Id``.
    ``odoo_db`` and ``odoo_id`` are our own unique arguments. ``refusal_cause`` is one of `refusal.CAUSES` for a bounce
    or a drop, ``""`` where there is none. ``unread`` names, separated by commas, the fields of the wire that were there
    and could not be used. ``answer``, ``answer_id`` and ``answer_message_id`` are those of an answer that Odoo itself
    has got, see `answer`: how it came or whose it is, its Message-ID, and the id of its `mail.message`.
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
    answer: str = ""
    answer_id: str = ""
    answer_message_id: int | None = None

    # These have no annotation because they are no fields. An event that just came has its details, see
    # `engagement.judge`. `former` is {attribute: value} of what version 19.0.1.0.0 read from the same report and this
    # one reads otherwise, as far as the fingerprint is made of it; nearly always there is nothing.
    # ``is_marketing`` says that SendGrid itself made the e-mail: a newsletter of its Marketing Campaigns.
    # ``is_colleague`` says that one of our own people opened, clicked or unsubscribed. Who stores events decides it. It
    # is None as long as the reports have not told enough to decide. ``document`` is the `matching.Document` of an
    # answer, which is known beforehand.
    is_final = False
    former = None
    is_marketing = False
    is_colleague = None
    document = None

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

        ``sg_event_id`` will not do: it can be missing, or change when SendGrid delivers an event again. Two people, or
        a person and a machine, can open or click within one second: their addresses and programs tell them apart.
        SendGrid's message history may tell neither, so that its report of the same event has another fingerprint; see
        `is_same`.
        """
        if self.answer:
            # Its time is not part of it: whoever writes a mail chooses its date.
            return _digest((self.event, self.answer_id))
        said = _list_identity(self)
        if self.event in INTERACTIONS:
            said += (self.ip, self.user_agent, self.sg_machine_open)
        return _digest(said)

    @property
    def former_fingerprint(self) -> str:
        """The fingerprint that version 19.0.1.0.0 gave to the event, ``""`` where it is the same.

        Events that were stored then keep it. If such an event is processed again, or reported once more, it is found by
        this name; see `is_repeated`.
        """
        if self.former:
            return _digest(_list_identity(replace(self, **self.former)))
        return _digest(_list_identity(self)) if self.event in INTERACTIONS else ""


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
    is_colleague: bool | None = None

    @classmethod
    def of(cls, names: Iterable[str], values: Iterable[Any]) -> "StoredEvent":
        """Return an event with some attributes, the others have their default values.

        `__init__` would set each of the others too. A drain reads thousands of events, of which it asks half as much.
        """
        event = cls.__new__(cls)
        event.__dict__.update(zip(names, values, strict=True))
        return event


def get_rank(name: str) -> int:
    """Return the place of a kind of event among others of the same second; kinds that are not known come last.

    :param name: SendGrid's name of the event
    """
    return NATURAL_ORDER.index(name) if name in NATURAL_ORDER else len(NATURAL_ORDER)


def _list_identity(event: Event) -> tuple[str | int | None, ...]:
    """Return what tells an event from every other, as far as all of SendGrid's sources tell it."""
    return (
        event.event,
        event.sg_message_id,
        event.recipient,
        event.timestamp,
        event.url,
        event.url_offset,
        event.attempt,
        event.bounce_type,
        event.asm_group_id,
        # A message can be dropped for two reasons in one second.
        event.reason if event.event == "dropped" else "",
        # Two accounts can be suspended in one second, and nothing else tells them apart.
        event.sg_event_id if event.event == ACCOUNT_EVENT else "",
    )


def _digest(said: tuple[str | int | None, ...]) -> str:
    digest = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest[:16])[:22].decode()


# These tell of events, the best informed first. What the gateway tells, no other source tells.
SOURCES = ("webhook", "history", "suppressions", "gateway")
# Odoo asks these what the webhook missed. They tell less.
ASKED = ("history", "suppressions")
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
    pairs = zip(_list_details(event, other), _list_details(other, event), strict=True)
    return all(one == another or not (one and another) for one, another in pairs)


def says_more(event: Any, other: Any) -> bool:
    """Tell whether a report says all that another one says of the same interaction, and more.

    The parameters are those of `is_same`.
    """
    details, others = _list_details(event, other), _list_details(other, event)
    return (
        details != others
        and is_same(event, other)
        and not any(another and not one for one, another in zip(details, others, strict=True))
    )


def is_repeated(event: Event, source: str, stored: StoredEvent) -> bool:
    """Tell whether a report is of the stored event whose fingerprint is the report's former one.

    That fingerprint told no programs and addresses apart. So they are compared here, unless they have been forgotten.

    :param source: one of `SOURCES`, which told of ``event``
    :param stored: with ``source``, ``is_final``, ``ip``, ``user_agent`` and ``sg_machine_open``
    """
    if stored.is_final or event.event not in INTERACTIONS:
        return True
    pairs = [(getattr(event, name), getattr(stored, name)) for name in ("ip", "user_agent", "sg_machine_open")]
    if source == stored.source == "webhook":
        return all(one == another for one, another in pairs)
    return all(one == another or not (one and another) for one, another in pairs)


def _list_details(event: Any, other: Any) -> list[Any]:
    """Return the details of a report by which it is compared with another one."""
    url = event.url or ""
    if event.is_final or other.is_final:
        # What stands behind these marks has been forgotten with the other details.
        url = url.partition("?")[0].partition("#")[0]
    details = [event.message_key, url, event.url_offset, event.attempt, event.bounce_type, event.asm_group_id]
    if event.event in INTERACTIONS:
        details += [event.ip, event.user_agent]
    if event.event == "dropped":
        details.append(event.reason.lower())
    return details
