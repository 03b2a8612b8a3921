"""This module tells who opened, clicked or unsubscribed: a person, a machine, or that nobody can tell.

SendGrid flags the prefetches of Apple Mail and nothing else. The rest is told from what its webhook gives: the time
since delivery, the user agent, the order of things, which links. `tools.events.engagement_rules` has the rules; the
first that applies decides. The verdict on one interaction depends on its neighbours: more events can change it.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .engagement_rules import (
    BOTH,
    BURST,
    BURST_LINKS,
    BY_ITSELF,
    CHECKED_AGAIN,
    CLICK_RULES,
    COLLEAGUE,
    HUMAN,
    MACHINE,
    ON_ARRIVAL,
    OPEN_AT_ONCE,
    OPEN_RULES,
    READING,
    RULES,
    SCANNED_AGAIN,
    SWEEP_PACE,
    WISH_RULES,
    WISHES,
    WITH_CLICKS,
    WITHOUT_OPEN,
    Rule,
    agent,
    is_elsewhere,
    is_prefetch,
    is_proxied,
    link,
    origin,
)
from .refusal import EXPIRED

# An interaction asks only the rules about its kind, and only if it may, those about the interaction by itself.
OPENS_FIRST, CLICKS_FIRST = (tuple(rule for rule in RULES if kind in rule.kinds) for kind in BOTH)
OPENS_AFTER, CLICKS_AFTER = (
    tuple(rule for rule in rules if rule.reason not in BY_ITSELF) for rules in (OPENS_FIRST, CLICKS_FIRST)
)
JUDGED = frozenset((*BOTH, *WISHES))


@dataclass(frozen=True)
class Verdict:
    """``verdict`` is ``human``, ``machine``, ``colleague`` or ``unknown``.

    ``reason`` is one of `REASONS`, ``""`` for a person or a colleague.
    """

    verdict: str = HUMAN
    reason: str = ""

    @property
    def is_machine(self) -> bool:
        return self.verdict == MACHINE

    @property
    def is_nobodys(self) -> bool:
        """Whether it is surely not the recipient's."""
        return self.verdict in NOBODYS


PERSON = Verdict()
OURS = Verdict(COLLEAGUE)
NOBODYS = (MACHINE, COLLEAGUE)


class History:
    """Answers what the rules ask of the other events of an e-mail: fast, as there can be thousands.

    `judge` notes its verdicts here, because later rules ask for them.
    """

    def __init__(self, events: list[Any]) -> None:
        self.opens, self.clicks, self.wishes = [], [], []
        self.deferrals = []
        # When it was refused: by the receiving server, and by that or SendGrid, which did not try then.
        self.bounces, self.refusals = [], []
        self.delivered = processed = None
        for e in events:
            name = e.event
            if name == "open":
                self.opens.append(e)
            elif name == "click":
                self.clicks.append(e)
            elif name in WISHES:
                self.wishes.append(e)
            elif name == "delivered":
                self.delivered = e.timestamp if self.delivered is None else self.delivered
            elif name == "processed":
                processed = e.timestamp if processed is None else processed
            elif name == "deferred":
                self.deferrals.append(e.timestamp)
            elif name == "dropped":
                self.refusals.append(e.timestamp)
            elif name == "bounce" and e.bounce_type != EXPIRED:
                # Our own "not within 72 hours" is a guess, which any interaction disproves.
                self.bounces.append(e.timestamp)
                self.refusals.append(e.timestamp)
        # The delivered event can be lost or late: then the mail arrived about when SendGrid took it. If that was not
        # reported either, nobody knows.
        self.arrival = processed if self.delivered is None else self.delivered
        # When it is last known to have been with SendGrid still.
        self.last_underway = max((*self.deferrals[-1:], -math.inf if processed is None else processed))
        self.open_times = {e.timestamp for e in self.opens}
        self.wish_times = {e.timestamp for e in self.wishes}
        self.links_by_time = {}
        for click in self.clicks:
            self.links_by_time.setdefault(click.timestamp, set()).add(link(click))
        earliest = -math.inf if self.arrival is None else self.arrival + OPEN_AT_ONCE
        self._first_shown = next(
            (e.timestamp for e in self.opens if e.timestamp > earliest and not is_prefetch(e)), math.inf
        )
        self._bursts = {}
        # When a person first opened it, the opens of people, and when proxies fetched for them.
        self._first_read = math.inf
        self._reads, self._proxied_reads = [], []
        # Apple's flag says that its owner's opens cannot be seen.
        self.hides_opens = False
        # Where people's clicks came from, and when the last of each came; the latest is the last.
        self._people = {}
        self._links_of_people = defaultdict(set)
        self._people_wishes = {}
        self._verdicts = {}

    # ------------------------------------------------------------
    # TIME AND ORDER
    # ------------------------------------------------------------

    def after_arrival(self, interaction: Any) -> float:
        """Return the seconds since the mail arrived, infinity if nobody knows when it did."""
        return math.inf if self.arrival is None else interaction.timestamp - self.arrival

    def links_between(self, first: int, last: int) -> set[tuple[str, str]]:
        """Return the links that were followed from one second to another, both included."""
        if len(self.links_by_time) == 1:
            [(moment, links)] = self.links_by_time.items()
            return links if first <= moment <= last else set()
        return set().union(*(self.links_by_time.get(moment, ()) for moment in range(first, last + 1)))

    def burst(self, moment: int) -> int:
        """Return how many different links were followed in some two seconds that hold the moment."""
        if len(self.clicks) == 1 and not self.wishes:
            return 1
        if moment not in self._bursts:
            starts = range(moment - BURST, moment + 1)
            self._bursts[moment] = max(self._count_links(start, start + BURST) for start in starts)
        return self._bursts[moment]

    def _count_links(self, first: int, last: int) -> int:
        """Count the links of some seconds. The one to unsubscribe is one more, as SendGrid reports no click on it.

        But a mail program that follows the header's link to unsubscribe has followed one link.
        """
        links = self.links_between(first, last)
        if not self.wish_times or not any(second in self.wish_times for second in range(first, last + 1)):
            return len(links)
        return len(links) + any(not offset.startswith("header") for _url, offset in links)

    @cached_property
    def _links_by_program(self) -> dict[int, dict[str, set[tuple[str, str]]]]:
        """Which links each program followed, by second."""
        followed = defaultdict(lambda: defaultdict(set))
        for click in self.clicks:
            followed[click.timestamp][agent(click)].add(link(click))
        return followed

    def _get_near(self, click: Any, seconds: int) -> list[dict[str, set[tuple[str, str]]]]:
        """Return what each program followed, in the seconds around a click."""
        near = range(click.timestamp - seconds, click.timestamp + seconds + 1)
        return [self._links_by_program[moment] for moment in near if moment in self._links_by_program]

    def _get_links_of_one(self, click: Any, seconds: int) -> set[tuple[str, str]]:
        """Return which links the program of a click followed in the seconds around it."""
        return set().union(*(programs.get(agent(click), ()) for programs in self._get_near(click, seconds)))

    def burst_of_one(self, click: Any) -> int:
        """Return how many different links the program of a click followed within two seconds before or after it."""
        near = range(click.timestamp - BURST, click.timestamp + BURST + 1)
        return len(self._get_links_of_one(click, BURST)) + any(moment in self.wish_times for moment in near)

    def has_pair(self, click: Any) -> bool:
        """Tell whether the program of a click followed another link at about the same moment."""
        return len(self.clicks) > 1 and len(self._get_links_of_one(click, BURST + 1)) > 1

    def has_twin(self, click: Any) -> bool:
        """Tell whether another program follows the same link at the same moment."""
        return any(
            link(click) in links
            for programs in self._get_near(click, BURST)
            for name, links in programs.items()
            if name != agent(click)
        )

    def bursts_near(self, moment: int, seconds: int) -> bool:
        """Tell whether a machine followed different links some seconds from the moment."""
        return any(
            self.burst(near) >= BURST_LINKS or (self.burst(near) > 1 and not self.shown_at(near - BURST))
            for near in range(moment - seconds, moment + seconds + 1)
            if near in self.links_by_time
        )

    def shown_at(self, moment: int) -> bool:
        return self._first_shown <= moment

    def opened_before(self, interaction: Any) -> bool:
        """Tell whether the mail had been shown before: an open at the same second counts, a prefetch does not."""
        return self.shown_at(interaction.timestamp)

    @cached_property
    def sweep(self) -> list[Any]:
        """Return the clicks that follow each other closely from arrival on, before anything was shown."""
        sweep = []
        for click in self.clicks:
            last = sweep[-1].timestamp if sweep else click.timestamp
            if self.opened_before(click) or click.timestamp - last > SWEEP_PACE:
                break
            sweep.append(click)
        on_arrival = sweep and self.after_arrival(sweep[0]) <= ON_ARRIVAL
        return sweep if on_arrival and len({link(click) for click in sweep}) >= BURST_LINKS else []

    # ------------------------------------------------------------
    # WHO READ IT
    # ------------------------------------------------------------

    def note_open(self, opened: Any, verdict: "Verdict") -> None:
        """Take notice of a person's open; the opens come in order of time."""
        if verdict.verdict != HUMAN:
            self.hides_opens = self.hides_opens or verdict.reason == "apple_privacy"
            return
        self._first_read = min(self._first_read, opened.timestamp)
        if is_proxied(opened):
            self._proxied_reads.append(opened.timestamp)
        else:
            self._reads.append(opened)

    @cached_property
    def _readers(self) -> dict[Any, int]:
        """When each network, each program, and each address together with a program was first seen to read the mail."""
        readers = {}
        for opened in self._reads:
            place = origin(opened)
            for key in (place.network, place.agent, (opened.ip, place.agent)):
                readers.setdefault(key, opened.timestamp)
        return readers

    def read_before(self, interaction: Any) -> bool:
        """Tell whether a person is known to have looked at the mail before."""
        return self._first_read <= interaction.timestamp

    def has_read(self, interaction: Any) -> bool:
        """Tell whether there was a look at the mail from the network or with the program of an interaction before it.

        A look through a proxy shows neither: it counts for what comes shortly after it.
        """
        place = origin(interaction)
        if any(key and self._readers.get(key, math.inf) <= interaction.timestamp for key in place[::3]):
            return True
        index = bisect_right(self._proxied_reads, interaction.timestamp) - 1
        return index >= 0 and interaction.timestamp - self._proxied_reads[index] <= WITHOUT_OPEN

    def returns(self, interaction: Any) -> bool:
        """Tell whether the same program at the same address opens the mail later: who came early was a person."""
        return self._late_openers.get((interaction.ip, agent(interaction)), -1) > interaction.timestamp

    @cached_property
    def _late_openers(self) -> dict[tuple[str, str], int]:
        return {
            (e.ip, agent(e)): e.timestamp
            for e in self.opens
            if e.ip and agent(e) and self.after_arrival(e) > ON_ARRIVAL and not is_prefetch(e) and not is_proxied(e)
        }

    @cached_property
    def _click_times(self) -> list[int]:
        return [click.timestamp for click in self.clicks]

    def is_reader_in_turn(self, click: Any) -> bool:
        """Tell whether a click is one of a reader's, who opens one link after the other, at most one a second."""
        who = click.ip, agent(click)
        if not all(who) or self._readers.get(who, math.inf) > click.timestamp - READING:
            return False
        first = bisect_left(self._click_times, click.timestamp - BURST - 1)
        # One more than there may be, each in a second of its own.
        near = self.clicks[first : first + 2 * (BURST + 1) + 2]
        near = [e for e in near if e.timestamp <= click.timestamp + BURST + 1]
        return len({e.timestamp for e in near}) == len(near) and all((e.ip, agent(e)) == who for e in near)

    # ------------------------------------------------------------
    # WHO CLICKED
    # ------------------------------------------------------------

    def note_clicks(self, verdicts: dict[str, "Verdict"]) -> None:
        """Take notice of what the first rules said of clicks.

        :param verdicts: by fingerprint; later rules may still turn a person into "unknown"
        """
        self._verdicts = verdicts

    @cached_property
    def _by_machines(self) -> list[Any]:
        return [click for click in self.clicks if self._verdicts[click.fingerprint].is_machine]

    @cached_property
    def _machine_times(self) -> list[int]:
        return [click.timestamp for click in self._by_machines]

    @cached_property
    def _machine_places(self) -> dict[tuple[str, str], int]:
        """When a machine last clicked from each network with each program."""
        places = ((origin(click), click.timestamp) for click in self._by_machines)
        return {(place.network, place.agent): moment for place, moment in places if place.network and place.agent}

    @cached_property
    def _previewed(self) -> set[tuple[str, str]]:
        return {link(click) for click in self._by_machines if self._verdicts[click.fingerprint].reason == "program"}

    @cached_property
    def _unread(self) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """Who followed each link while nobody had read the mail yet, machines left out; the first link comes first."""
        followers = {}
        for click in self.clicks:
            if not self._verdicts[click.fingerprint].is_machine and not self.read_before(click):
                who = followers.setdefault(link(click), set())
                if click.ip or click.user_agent:
                    who.add((click.ip, agent(click)))
        return followers

    def has_several_followers(self, click: Any) -> bool:
        """Tell whether several programs or addresses followed a link while nobody had read the mail yet."""
        return len(self._unread.get(link(click), ())) > 1

    def note_person(self, click: Any) -> None:
        """Take notice of a person's click; these come in order of time."""
        place = origin(click)
        self._people.pop(place, None)
        self._people[place] = click.timestamp
        self._links_of_people[link(click)].add(place)

    def has_person_elsewhere(self, interaction: Any) -> bool:
        """Tell whether a person has just clicked from elsewhere, and nobody from where this interaction came from."""
        place = None
        for other, last in reversed(self._people.items()):
            if interaction.timestamp - last > CHECKED_AGAIN:
                break
            place = place or origin(interaction)
            if not is_elsewhere(place, other):
                return False
        return place is not None

    def is_repeated_elsewhere(self, click: Any) -> bool:
        """Tell whether a person's link is followed again by another program elsewhere that did not show the mail.

        A link that was pasted into a chat is fetched by the chat's program first. Then its readers follow it.
        """
        others = self._links_of_people.get(link(click))
        if not others or link(click) in self._previewed:
            return False
        place = origin(click)
        return all(place.agent != other.agent and is_elsewhere(place, other) for other in others) and not self.has_read(
            click
        )

    @cached_property
    def follows_order(self) -> bool:
        """Tell whether the links that were followed without an open are three or more, in their order in the mail."""
        positions = [offset.rpartition(":")[2] for _url, offset in self._unread]
        if len(positions) < BURST_LINKS or not all(position.isdecimal() for position in positions):
            return False
        numbers = [int(position) for position in positions]
        return numbers == sorted(numbers)

    def is_like_machine(self, interaction: Any) -> bool:
        """Tell whether a machine has followed links with the same program in the same network, not long before."""
        if not self._machine_places:
            return False
        place = origin(interaction)
        last = self._machine_places.get((place.network, place.agent), math.inf)
        return 0 <= interaction.timestamp - last <= SCANNED_AGAIN

    # ------------------------------------------------------------
    # WHO UNSUBSCRIBED
    # ------------------------------------------------------------

    def has_machine_clicks_near(self, wish: Any) -> bool:
        """Tell whether a machine followed links some seconds before or after an unsubscription.

        If a person has read the mail before, the wish is likely his own, and a gateway only checks the links that he
        follows. Then the machine must have the wish's address or program.
        """
        if not self.read_before(wish):
            return self._is_near(self._machine_times, wish.timestamp)
        keys = (("ip", wish.ip), ("agent", agent(wish)))
        return any(self._is_near(self._machine_times_by_origin.get(key, ()), wish.timestamp) for key in keys if key[1])

    @cached_property
    def _machine_times_by_origin(self) -> dict[tuple[str, str], list[int]]:
        """When machines clicked from each address and with each program."""
        times = defaultdict(list)
        for click in self._by_machines:
            times["ip", click.ip].append(click.timestamp)
            times["agent", agent(click)].append(click.timestamp)
        return times

    @staticmethod
    def _is_near(times: Sequence[int], moment: int) -> bool:
        index = bisect_left(times, moment - WITH_CLICKS)
        return index < len(times) and times[index] <= moment + WITH_CLICKS

    def note_wish(self, wish: Any) -> None:
        """Take notice of a person's unsubscription."""
        self._people_wishes[origin(wish)] = wish.timestamp

    def has_wish_elsewhere(self, wish: Any) -> bool:
        """Tell whether a person has unsubscribed before, and from elsewhere."""
        place = origin(wish)
        return bool(self._people_wishes) and all(is_elsewhere(place, other) for other in self._people_wishes)


def judge(events: Iterable[Any]) -> dict[str, Verdict]:
    """Judge each open, click and unsubscription of one e-mail.

    :param events: all events of the e-mail (anything with the attributes of ``Event``), in any order. Those that
        have lost their details (``is_final``) keep their former ``verdict`` and ``machine_reason``. Those of colleagues
        (``is_colleague``) are left out before the others are judged, because they say nothing about the recipient.
    :return: a verdict by fingerprint, for opens, clicks and unsubscriptions only
    """
    return judge_in_order(sorted(events, key=lambda e: (e.timestamp, e.fingerprint)))


def judge_in_order(events: list[Any]) -> dict[str, Verdict]:
    """Do as `judge`, for events that are sorted by time, those of one second by fingerprint."""
    judged = [e for e in events if e.event in JUDGED]
    if not judged:
        return {}
    verdicts = {e.fingerprint: OURS for e in judged if e.is_colleague}
    if verdicts:
        events = [e for e in events if e.fingerprint not in verdicts]
    history = History(events)
    for opened in history.opens:
        rules = OPENS_FIRST if is_prefetch(opened) else OPENS_AFTER
        verdict = verdicts[opened.fingerprint] = _judge_one(opened, history, rules)
        history.note_open(opened, verdict)
    if history.clicks:
        for click in history.clicks:
            rules = CLICKS_FIRST if is_prefetch(click) else CLICKS_AFTER
            verdicts[click.fingerprint] = _judge_one(click, history, rules)
        history.note_clicks(verdicts)
        _judge_again(history, verdicts)
    for wish in history.wishes:
        verdict = verdicts[wish.fingerprint] = _judge_one(wish, history, WISH_RULES)
        if verdict.verdict == HUMAN:
            history.note_wish(wish)
    return verdicts


def _judge_again(history: History, verdicts: dict[str, Verdict]) -> None:
    """Judge those again that the first rules took for people, now that the others are known.

    Of several in one second, those from where the mail was read come first, because the others may follow from them.
    """
    people = [click for click in history.clicks if verdicts[click.fingerprint].verdict == HUMAN]
    since = history.clicks[0].timestamp
    people += [e for e in history.opens if e.timestamp >= since and verdicts[e.fingerprint].verdict == HUMAN]
    if len({e.timestamp for e in people}) == len(people):
        people.sort(key=lambda e: e.timestamp)
    else:
        people.sort(key=lambda e: (e.timestamp, e.event, not history.has_read(e), e.fingerprint))
    for e in people:
        if not e.is_final:
            verdicts[e.fingerprint] = _judge_one(e, history, CLICK_RULES if e.event == "click" else OPEN_RULES)
        if e.event == "click" and len(people) > 1 and verdicts[e.fingerprint].verdict == HUMAN:
            history.note_person(e)


def _judge_one(interaction: Any, history: History, rules: tuple[Rule, ...]) -> Verdict:
    if interaction.is_final and interaction.verdict:
        return Verdict(interaction.verdict, interaction.machine_reason or "")
    for rule in rules:
        if rule.applies(interaction, history):
            return Verdict(rule.verdict, rule.reason)
    return PERSON
