"""The state of one e-mail as a function of the set of its events.

Events come late, twice and in any order, so nothing here looks at what came first: the same set gives the same state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .engagement import Verdict, judge
from .event import ENGAGEMENT_EVENTS
from .refusal import EXPIRED, bounce_status, drop_fact

# Weakest to strongest. What was refused in the end did not arrive, whatever a scanner opened on the way.
STATUSES = (
    "sent",
    "processed",
    "deferred",
    "delivered",
    "opened",
    "clicked",
    "blocked",
    "dropped",
    "bounced",
    "unsubscribed",
    "spam",
)
STRENGTH = {status: strength for strength, status in enumerate(STATUSES)}
FAILURES = ("blocked", "dropped", "bounced")

# What an event makes of the e-mail by itself; the others depend on their neighbours or details.
PLAIN_STATUS = {
    "processed": "processed",
    "deferred": "deferred",
    "delivered": "delivered",
    "dropped": "dropped",
    "spamreport": "spam",
    "unsubscribe": "unsubscribed",
}


# Facts are what is true of an e-mail at once, where the status is only the strongest of it.
CLAIMED_FACTS = ("delivered", "opened", "clicked", "blocked", "bounced", "spam")
# Whether the recipient is out of a group is settled per address, over all its e-mails; here is each group's last word.
GROUP_FACTS = {"group_unsubscribe": "left_group", "group_resubscribe": "returned_group"}


class Evidence(NamedTuple):
    """The last word on a fact: when (Unix seconds, UTC), and what was said."""

    timestamp: int
    reason: str


@dataclass(frozen=True)
class State:
    """What the events add up to. Times are Unix seconds (UTC) or None; counts without "machine" are people's.

    ``reason`` is what the receiver or SendGrid said of the event that decided the status. From a fact that is new,
    consequences follow.
    """

    status: str = "sent"
    reason: str = ""
    processed: int | None = None
    delivered: int | None = None
    first_open: int | None = None
    last_open: int | None = None
    open_count: int = 0
    click_count: int = 0
    machine_open_count: int = 0
    machine_click_count: int = 0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    facts: dict[str, Evidence] = field(default_factory=dict)


def fold(events: Iterable) -> State:
    """Return the state that the events of one e-mail add up to.

    :param events: anything with the attributes of ``Event``; of several with one fingerprint, one counts
    """
    events = _distinct(events)
    verdicts = judge(events)
    opens = [e for e in events if e.event == "open"]
    clicks = [e for e in events if e.event == "click"]
    people_opens = [e for e in opens if not verdicts[e.fingerprint].is_machine]
    people_clicks = [e for e in clicks if not verdicts[e.fingerprint].is_machine]

    claims = [("sent", None)]
    claims += [("opened", e) for e in people_opens]
    claims += [("clicked", e) for e in people_clicks]
    claims += [(PLAIN_STATUS[e.event], e) for e in events if e.event in PLAIN_STATUS]
    claims += [("unsubscribed", e) for e in _last_words(events) if e.event == "group_unsubscribe"]
    arrived = any(e.event in ("delivered", *ENGAGEMENT_EVENTS) for e in events)
    claims += [
        (bounce_status(e), e) for e in events if e.event == "bounce" and not (arrived and e.bounce_type == EXPIRED)
    ]
    # Of equal claims the latest decides: its reason is the last word.
    status, decisive = max(enumerate(claims), key=lambda claim: (STRENGTH[claim[1][0]], claim[0]))[1]

    return State(
        status=status,
        reason=(decisive.reason or decisive.response) if decisive and status in (*FAILURES, "deferred") else "",
        processed=_first(events, "processed"),
        delivered=_first(events, "delivered"),
        first_open=people_opens[0].timestamp if people_opens else None,
        last_open=people_opens[-1].timestamp if people_opens else None,
        open_count=len(people_opens),
        click_count=len(people_clicks),
        machine_open_count=len(opens) - len(people_opens),
        machine_click_count=len(clicks) - len(people_clicks),
        verdicts=verdicts,
        facts=_facts(events, claims),
    )


def _distinct(events):
    """Return each interaction once, in order of time. Sorted to the last detail, so that no tie is broken by chance."""
    events = list(events)
    if len(events) < 2:
        return events
    events = sorted(
        events,
        key=lambda e: (
            e.timestamp,
            e.fingerprint,
            bool(e.sg_machine_open),
            e.user_agent or "",
            e.smtp_status or "",
            e.reason or "",
            e.response or "",
        ),
    )
    return list({e.fingerprint: e for e in reversed(events)}.values())[::-1]


def _facts(events, claims):
    # In order of time, so that of several events of a kind the last is the evidence.
    named = [(status, e) for status, e in claims if status in CLAIMED_FACTS]
    named += [(drop_fact(e.reason), e) for e in events if e.event == "dropped"]
    named += [("unsubscribed", e) for e in events if e.event == "unsubscribe"]
    named += [(GROUP_FACTS[e.event], e) for e in _last_words(events)]
    return {fact: Evidence(e.timestamp, e.reason or e.response or "") for fact, e in named}


def _last_words(events):
    """Return, for each unsubscribe group, the event by which the recipient left it or came back last.

    Of leaving and coming back in the same second, leaving wins: writing to somebody who left is the worse mistake.
    """
    last = {}
    for e in events:
        if e.event not in GROUP_FACTS:
            continue
        group = e.asm_group_id or 0  # the database keeps no other
        known = last.get(group)
        if known is None or _leaves_later(e, known):
            last[group] = e
    return list(last.values())


def _leaves_later(e, known):
    def when(event):
        return event.timestamp, event.event == "group_unsubscribe"

    return when(e) >= when(known)


def _first(events, name):
    return next((e.timestamp for e in events if e.event == name), None)
