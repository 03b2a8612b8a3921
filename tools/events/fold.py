"""This module folds the set of an e-mail's events into its state.

Events come late, twice and in any order, so nothing here looks at what came first: the same set gives the same state.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any, NamedTuple

from .address import Words, get_group_words, get_words
from .answer import OWN, PROOFS, REPLIES
from .engagement import Verdict, judge_in_order
from .engagement_rules import BOTH, COLLEAGUE, HUMAN, WISHES
from .event import ENGAGEMENT_EVENTS
from .refusal import EXPIRED, bounce_fact, bounce_status, drop_fact, get_cause

# The weakest status comes first. An e-mail that was refused in the end did not arrive, though a scanner opened it.
# No event makes an e-mail `failed`: it never left. If there is any event, it did leave.
STATUSES = (
    "failed",
    "sent",
    "processed",
    "deferred",
    "delivered",
    "opened",
    "clicked",
    "blocked",
    "dropped",
    "bounced",
    "replied",
    "unsubscribed",
    "spam",
)
STRENGTH = {status: strength for strength, status in enumerate(STATUSES)}
FAILURES = ("blocked", "dropped", "bounced")

# These events by themselves make the e-mail so; the others depend on their neighbours or details.
PLAIN_STATUS = {
    "processed": "processed",
    "deferred": "deferred",
    "delivered": "delivered",
    "dropped": "dropped",
    "spamreport": "spam",
    "unsubscribe": "unsubscribed",
}
# All facts of an e-mail are true at once; its status is only the strongest of them.
CLAIMED_FACTS = ("delivered", "opened", "clicked", "blocked", "bounced", "replied", "spam")
# When these happened makes no difference to what follows.
TIMELESS = ("delivered", "opened", "clicked", "replied")
# Whether the recipient is out of a group is settled per address, over all its e-mails; here is each group's last word.
GROUP_FACTS = {"group_unsubscribe": "left_group", "group_resubscribe": "returned_group"}
# These may say a word about a group.
GROUPED = {*GROUP_FACTS, "dropped"}


class Evidence(NamedTuple):
    """The last word on a fact: when it was said (Unix seconds, UTC), and with which reason."""

    timestamp: int
    reason: str


@dataclass
class State:
    """An e-mail's state. Times are Unix seconds (UTC) or None.

    Nobody changes it. It is not frozen because a drain makes thousands, and a frozen one takes three times as long to
    make.

    ``open_count`` and ``click_count`` are those of people and those of whom nobody can tell; the latter are counted
    again as ``unknown_…``. ``person_open`` and ``person_click`` are the first of people only. Opens and clicks of
    colleagues count nowhere. ``reply`` is the first answer that counts as the recipient's.

    The receiver or SendGrid gave the ``reason`` with the event that decided the status, which also tells the
    ``refusal_cause`` of an e-mail that did not arrive. Consequences follow from facts
    that are new.
    """

    status: str = "sent"
    reason: str = ""
    refusal_cause: str = ""
    processed: int | None = None
    delivered: int | None = None
    first_open: int | None = None
    last_open: int | None = None
    open_count: int = 0
    click_count: int = 0
    unknown_open_count: int = 0
    unknown_click_count: int = 0
    machine_open_count: int = 0
    machine_click_count: int = 0
    person_open: int | None = None
    person_click: int | None = None
    reply: int | None = None
    # Every unsubscription is a machine's or a colleague's. What the status would be without these: ``status``, if there
    # are none.
    is_unsubscribed_by_machine: bool = False
    status_by_people: str = "sent"
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    facts: dict[str, Evidence] = field(default_factory=dict)
    groups: dict[int, tuple[int, bool]] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list, repr=False, compare=False)

    @cached_property
    def told(self) -> dict[str, Any]:
        """The facts in the shape in which they are stored: a fact whose time changes can have its consequences anew.

        Facts that are about this e-mail only have the time 0. The keys ``groups`` and ``words`` are there only if they
        tell something.
        """
        told: dict[str, Any] = {
            fact: 0 if fact in TIMELESS else evidence.timestamp for fact, evidence in self.facts.items()
        }
        if self.groups:
            told["groups"] = {str(group): list(word) for group, word in self.groups.items()}
        if tied := self._tied_words:
            told["words"] = tied
        return told

    @property
    def _tied_words(self) -> int:
        """Return a number that changes with the words of the refusals if several came in one second, and 0 otherwise.

        Their time does not tell then that another one came in, although its words may be those that count.
        """
        refusals = [e for e in self.events if e.event in ("bounce", "dropped")]
        if len(refusals) < 2 or len({e.timestamp for e in refusals}) == len(refusals):
            return 0
        return zlib.crc32(repr([(e.timestamp, e.reason, e.response) for e in refusals]).encode())

    @property
    def words(self) -> Words:
        """What the events say about the recipient's address."""
        return get_words(self.events)


def fold(events: Iterable[Any], has_arrived: bool = False) -> State:
    """Return the state that the events of one e-mail add up to.

    :param events: anything with the attributes of ``Event``; of several with one fingerprint, one counts
    :param has_arrived: events that are not kept any more proved that the e-mail arrived
    """
    events = _distinct(events)
    verdicts = judge_in_order(events)
    told = events
    if any(verdict.verdict == COLLEAGUE for verdict in verdicts.values()):
        # That a colleague looked does not even prove that the e-mail arrived: he may have a copy of his own.
        events = [e for e in events if e.event not in BOTH or verdicts[e.fingerprint].verdict != COLLEAGUE]
    # Most e-mails have few kinds of event. So a kind that is missing costs nothing.
    kinds: dict[str, list[Any]] = {}
    for e in events:
        kinds.setdefault(e.event, []).append(e)
    opens, clicks = kinds.get("open", []), kinds.get("click", [])
    people_opens = [e for e in opens if not verdicts[e.fingerprint].is_machine]
    people_clicks = [e for e in clicks if not verdicts[e.fingerprint].is_machine]
    sure_opens = [e for e in people_opens if verdicts[e.fingerprint].verdict == HUMAN]
    sure_clicks = [e for e in people_clicks if verdicts[e.fingerprint].verdict == HUMAN]
    wishes = [e for kind in WISHES for e in kinds.get(kind, ())]
    answers = [e for e in events if e.answer in REPLIES]
    last_words = _last_words(kinds)
    by_machine = bool(wishes) and all(verdicts[e.fingerprint].is_nobodys for e in wishes)

    claims: list[tuple[str, Any]] = [("sent", None)]
    claims += [("opened", e) for e in people_opens]
    claims += [("clicked", e) for e in people_clicks]
    claims += [(PLAIN_STATUS[e.event], e) for e in events if e.event in PLAIN_STATUS]
    claims += [("unsubscribed", e) for e in last_words if e.event == "group_unsubscribe"]
    if bounces := kinds.get("bounce"):
        has_arrived = has_arrived or any(
            (e.event in ("delivered", *ENGAGEMENT_EVENTS) and not e.is_colleague) or e.answer in PROOFS for e in events
        )
        claims += [(bounce_status(e), e) for e in bounces if not (has_arrived and e.bounce_type == EXPIRED)]
    # Only who has the mail in his own mailbox disproves that it was refused there.
    was_refused = any(status in FAILURES for status, _event in claims)
    claims += [("replied", e) for e in answers if e.answer == OWN or not was_refused]
    # The latest of equal claims decides: its reason is the last word.
    status, decisive = max(reversed(claims), key=lambda claim: STRENGTH[claim[0]])

    return State(
        status=status,
        reason=(decisive.reason or decisive.response) if decisive and status in (*FAILURES, "deferred") else "",
        refusal_cause=get_cause(decisive) if decisive and status in FAILURES else "",
        processed=_first(kinds.get("processed")),
        delivered=_first(kinds.get("delivered")),
        first_open=people_opens[0].timestamp if people_opens else None,
        last_open=people_opens[-1].timestamp if people_opens else None,
        open_count=len(people_opens),
        click_count=len(people_clicks),
        unknown_open_count=len(people_opens) - len(sure_opens),
        unknown_click_count=len(people_clicks) - len(sure_clicks),
        machine_open_count=len(opens) - len(people_opens),
        machine_click_count=len(clicks) - len(people_clicks),
        person_open=sure_opens[0].timestamp if sure_opens else None,
        person_click=sure_clicks[0].timestamp if sure_clicks else None,
        reply=answers[0].timestamp if answers else None,
        is_unsubscribed_by_machine=by_machine,
        status_by_people=_strongest(claim for claim in claims if claim[0] != "unsubscribed") if by_machine else status,
        verdicts=verdicts,
        facts=_facts(kinds, claims, last_words),
        groups=get_group_words(events) if kinds.keys() & GROUPED else {},
        events=told,
    )


def _strongest(claims: Iterable[tuple[str, Any]]) -> str:
    return max((status for status, _event in claims), key=STRENGTH.__getitem__)


def _distinct(events: Iterable[Any]) -> list[Any]:
    """Return each interaction once, in order of time. The last details count too, so that chance breaks no tie."""
    events = sorted(events, key=attrgetter("timestamp", "fingerprint"))
    if len({e.fingerprint for e in events}) == len(events):
        return events
    events.sort(
        key=lambda e: (
            e.timestamp,
            e.fingerprint,
            not e.is_colleague,
            bool(e.sg_machine_open),
            e.user_agent or "",
            e.smtp_status or "",
            e.reason or "",
            e.response or "",
            e.refusal_cause or "",
        ),
    )
    return list({e.fingerprint: e for e in reversed(events)}.values())[::-1]


def _facts(kinds: dict[str, list[Any]], claims: list[tuple[str, Any]], last_words: list[Any]) -> dict[str, Evidence]:
    # Events come in order of time, so that the last of several of a kind is the evidence.
    # A refusal may make an e-mail bounced, and yet say nothing about the address: its cause tells the fact.
    named = [
        (bounce_fact(e) if e and e.event == "bounce" else status, e) for status, e in claims if status in CLAIMED_FACTS
    ]
    named += [(drop_fact(e), e) for e in kinds.get("dropped", ())]
    named += [("unsubscribed", e) for e in kinds.get("unsubscribe", ())]
    named += [(GROUP_FACTS[e.event], e) for e in sorted(last_words, key=lambda e: e.timestamp)]
    return {fact: Evidence(e.timestamp, e.reason or e.response or "") for fact, e in named}


def _last_words(kinds: dict[str, list[Any]]) -> list[Any]:
    """Return, for each unsubscribe group, the event by which the recipient left it or came back last.

    If both happened in the same second, leaving wins: writing to somebody who left is the worse mistake.
    """
    last: dict[int, Any] = {}
    for e in [e for kind in GROUP_FACTS for e in kinds.get(kind, ())]:
        group = e.asm_group_id or 0  # the database keeps no other
        known = last.get(group)
        if known is None or _leaves_later(e, known):
            last[group] = e
    return list(last.values())


def _leaves_later(e: Any, known: Any) -> bool:
    def when(event: Any) -> tuple[int, bool]:
        return event.timestamp, event.event == "group_unsubscribe"

    return when(e) >= when(known)


def _first(events: list[Any] | None) -> int | None:
    return events[0].timestamp if events else None
