"""This module tells what the events of one e-mail say about its address: refusals, wishes, and lists of SendGrid's.

Everything here is "the last word and its time". So what several e-mails say about one address can be put together in
any order.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .refusal import bounce_fact, drop_fact, is_held_back

# SendGrid puts an address on these lists, and then holds back all mail to it (Twilio docs: Suppressions). The keys are
# events, and the facts of drops. A drop for an earlier bounce is told apart before.
LISTS_BY_EVENT = {"spamreport": "spam_reports", "unsubscribe": "unsubscribes"}
LISTS_BY_DROP = {
    "dropped_bounced": "invalid_emails",
    "dropped_spam": "spam_reports",
    "dropped_unsubscribed": "unsubscribes",
}
# A server may answer with the whole mail that it returns. So much of its words is kept about an address.
REASON_LENGTH = 1000


class Bounce(NamedTuple):
    """A refusal because of the address: when (Unix seconds, UTC), the server's words, and the code of the cause."""

    timestamp: int
    reason: str
    cause: str


class Listed(NamedTuple):
    """A sign that SendGrid has the address on a list: since when (Unix seconds, UTC), and why.

    ``is_cause`` tells the event that put it there from a drop, which only reminds of it, and so knows neither.
    """

    is_cause: bool
    timestamp: int
    reason: str


class Words(NamedTuple):
    """What is said about an address. Times are Unix seconds (UTC), None if nothing was said.

    ``wish`` is when its owner last unsubscribed from everything or reported spam; ``reminder`` when SendGrid last held
    an e-mail back because of such a wish. ``groups`` has for each unsubscribe group when the last word about it was
    said, and whether the address was out of the group then.
    """

    bounce: Bounce | None = None
    wish: int | None = None
    reminder: int | None = None
    groups: dict[Any, tuple[int, bool]] = {}
    lists: dict[str, Listed] = {}


def get_words(events: Iterable[Any]) -> Words:
    """Return what the events of one e-mail say about its address.

    :param events: anything with the attributes of ``Event``
    """
    bounces, wishes, reminders, lists = [], [], [], {}
    events = list(events)
    for e in events:
        list_name = _get_list(e)
        if list_name:
            is_cause = e.event != "dropped" or list_name == "invalid_emails"
            listed = Listed(is_cause, e.timestamp, (e.reason or "")[:REASON_LENGTH] if is_cause else "")
            lists[list_name] = _latest(lists.get(list_name), listed)
        # A drop for an earlier bounce only repeats that bounce: the bounce itself says when the address failed.
        if (e.event == "bounce" and bounce_fact(e) == "bounced") or list_name == "invalid_emails":
            bounces.append(Bounce(e.timestamp, (e.reason or e.response or "")[:REASON_LENGTH], e.refusal_cause or ""))
        elif e.event in LISTS_BY_EVENT:
            wishes.append(e.timestamp)
        elif e.event == "dropped" and list_name in LISTS_BY_EVENT.values():
            reminders.append(e.timestamp)
    return Words(
        bounce=max(bounces, default=None),
        wish=max(wishes, default=None),
        reminder=max(reminders, default=None),
        groups=get_group_words(events),
        lists=lists,
    )


def _get_list(e: Any) -> str:
    """Return the list on which SendGrid has the address according to an event, or ``""``."""
    if e.event == "bounce":
        return "bounces" if e.bounce_type == "bounce" else ""
    if e.event != "dropped":
        return LISTS_BY_EVENT.get(e.event, "")
    name = "bounces" if is_held_back(e) else LISTS_BY_DROP.get(drop_fact(e), "")
    return "" if name == "unsubscribes" and e.asm_group_id else name


def get_group_words(events: Iterable[Any]) -> dict[int, tuple[int, bool]]:
    """Return for each unsubscribe group its last word: when it was said, and whether the recipient is out.

    If he left and came back in the same second, he is out: writing to somebody who left is the worse mistake. A drop
    that names a group says that he is out of that group, not of all.
    """
    words: dict[int, tuple[int, bool]] = {}
    for e in events:
        if e.event in ("group_unsubscribe", "group_resubscribe"):
            word = (e.timestamp, e.event == "group_unsubscribe")
        elif e.event == "dropped" and e.asm_group_id and drop_fact(e) == "dropped_unsubscribed":
            word = (e.timestamp, True)
        else:
            continue
        group = e.asm_group_id or 0  # the database keeps no other
        words[group] = max(words.get(group, word), word)
    return words


def merge(one: Words, other: Words) -> Words:
    """Put together what was said about one address, in any order."""
    return Words(
        bounce=_latest(one.bounce, other.bounce),
        wish=_latest(one.wish, other.wish),
        reminder=_latest(one.reminder, other.reminder),
        groups=_merge_latest(one.groups, other.groups),
        lists=_merge_latest(one.lists, other.lists),
    )


def _latest(one: Any, other: Any) -> Any:
    return max((word for word in (one, other) if word is not None), default=None)


def _merge_latest(one: dict[Any, Any], other: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _latest(one.get(key), other.get(key)) for key in {**one, **other}}
