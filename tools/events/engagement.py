"""This module tells who opened or clicked: a person, or a machine that fetches for people, or that nobody can tell.

SendGrid flags the prefetches of Apple Mail and nothing else. The rest is told from what its webhook gives: the time
since delivery, the user agent, the order of things, which links. `tools.events.engagement_rules` has the rules; the
first that applies decides. The verdict on one interaction depends on its neighbours: more events can change it.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .engagement_rules import (
    BURST,
    BURST_LINKS,
    HUMAN,
    MACHINE,
    ON_ARRIVAL,
    OPEN_AT_ONCE,
    RULES,
    SWEEP_PACE,
    is_prefetch,
    link,
)


@dataclass(frozen=True)
class Verdict:
    """``verdict`` is ``human``, ``machine`` or ``unknown``; ``reason`` one of `REASONS`, ``""`` for a person."""

    verdict: str = HUMAN
    reason: str = ""

    @property
    def is_machine(self) -> bool:
        return self.verdict == MACHINE


class History:
    """Answers what the rules ask of the other events of an e-mail: once for each second, as there can be thousands."""

    def __init__(self, events: list[Any]) -> None:
        self.clicks = [e for e in events if e.event == "click"]
        opens = [e for e in events if e.event == "open"]
        named = {
            name: [e.timestamp for e in events if e.event == name] for name in ("processed", "deferred", "delivered")
        }
        self.first_deferred = min(named["deferred"], default=None)
        # The delivered event can be lost or late: then the mail arrived about when SendGrid took it. If that was not
        # reported either, nobody knows.
        self.delivered = min(named["delivered"], default=None)
        self.arrival = min(named["delivered"] or named["processed"], default=None)
        self.open_times = {e.timestamp for e in opens}
        self.links_by_time = defaultdict(set)
        for click in self.clicks:
            self.links_by_time[click.timestamp].add(link(click))
        shown = (e.timestamp for e in opens if not is_prefetch(e))
        self._first_shown = min(
            (moment for moment in shown if self.arrival is None or moment - self.arrival > OPEN_AT_ONCE), default=None
        )
        self._bursts = {}

    def after_arrival(self, interaction: Any) -> float:
        """Return the seconds since the mail arrived, infinity if nobody knows when it did."""
        return math.inf if self.arrival is None else interaction.timestamp - self.arrival

    def links_between(self, first: int, last: int) -> set[tuple[str, str]]:
        """Return the links that were followed from one second to another, both included."""
        return set().union(*(self.links_by_time.get(moment, ()) for moment in range(first, last + 1)))

    def burst(self, moment: int) -> int:
        """Return how many different links were followed in some two seconds that hold the moment."""
        if moment not in self._bursts:
            starts = range(moment - BURST, moment + 1)
            self._bursts[moment] = max(len(self.links_between(start, start + BURST)) for start in starts)
        return self._bursts[moment]

    def bursts_near(self, moment: int, seconds: int) -> bool:
        """Tell whether a machine followed different links some seconds from the moment."""
        return any(
            self.burst(near) >= BURST_LINKS or (self.burst(near) > 1 and not self.shown_at(near))
            for near in range(moment - seconds, moment + seconds + 1)
            if near in self.links_by_time
        )

    def shown_at(self, moment: int) -> bool:
        return self._first_shown is not None and self._first_shown <= moment

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


def judge(events: Iterable[Any]) -> dict[str, Verdict]:
    """Judge each open and click of one e-mail.

    :param events: all events of the e-mail (anything with the attributes of ``Event``), in any order. Those that
        have lost their details (``is_final``) keep their former ``verdict`` and ``machine_reason``.
    :return: a verdict by fingerprint, for opens and clicks only
    """
    events = list(events)
    if not any(e.event in ("open", "click") for e in events):
        return {}
    events.sort(key=lambda e: (e.timestamp, e.fingerprint))
    interactions = [e for e in events if e.event in ("open", "click")]
    history = History(events)
    return {e.fingerprint: _judge_one(e, history) for e in interactions}


def _judge_one(interaction: Any, history: History) -> Verdict:
    if interaction.is_final and interaction.verdict:
        return Verdict(interaction.verdict, interaction.machine_reason or "")
    for rule in RULES:
        if rule.applies(interaction, history):
            return Verdict(rule.verdict, rule.reason)
    return Verdict()
