"""Who opened or clicked: a person, a machine that fetches for people, or nobody can tell.

SendGrid flags the prefetches of Apple Mail and nothing else. The rest is told from what its webhook gives: the time
since delivery, the user agent, the order of things, which links. Each rule stands in `RULES` with its source; the first
that applies decides. The verdict on one interaction depends on its neighbours: more events can change it.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

HUMAN, MACHINE, UNKNOWN = "human", "machine", "unknown"

# Thresholds, in seconds. Nobody receives, reads and clicks in two seconds (Mautic: 2, Collie: 1.5), or opens several
# links in two (AutoEmails: three links).
CLICK_AT_ONCE = 2
OPEN_AT_ONCE = 1
BURST = 2
BURST_LINKS = 3
# A scanner works on arrival; what is later and alone is rather a person whose program shows no images.
ON_ARRIVAL = 60
# A scanner that takes its time does not pause.
SWEEP_PACE = 30
# A program left open shows a new mail about as fast as a scanner does.
OPEN_SOON = 10
# A gateway that looks into a mail during the SMTP dialogue; an earlier open means an earlier try had been accepted.
SMTP_DIALOGUE = 60

GMAIL_PREFETCH = re.compile(r"Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0")
# Proxies of mailbox providers that fetch when a person looks.
IMAGE_PROXY = re.compile(r"GoogleImageProxy|YahooMailProxy")
SCANNER = re.compile(
    r"barracuda|mimecast|proofpoint|symantec|messagelabs|trendmicro|trend micro|fortinet|fortimail|sophos|ironport|"
    r"fireeye|trellix|zscaler|checkpoint|check point|avanan|vade|hornetsecurity|safelinks|urldefense|cloudmark",
    re.IGNORECASE,
)
PROGRAM = re.compile(
    r"python|curl/|wget|go-http-client|java/|apache-httpclient|libwww|node-fetch|axios|guzzle|headless|phantomjs|"
    r"puppeteer|playwright|selenium|\b\w*bot\b(?<!cubot)|slackbot|crawler|spider|bingpreview|link ?preview|preview/|"
    r"facebookexternalhit|whatsapp/|skypeuripreview|linkexpanding|embedly|scanner",
    re.IGNORECASE,
)
# What comes from a recipient's program can be of any length; what names it stands at the beginning.
MAX_AGENT = 512
# The reasons, as in `RULES`, that need no look at the neighbours.
BY_ITSELF = ("apple_privacy", "gmail_prefetch", "scanner", "program")
BARE_AGENT = re.compile(r"(?:Mozilla/\d\.\d)?")


@dataclass(frozen=True)
class Verdict:
    """``verdict`` is ``human``, ``machine`` or ``unknown``; ``reason`` a key of `REASONS`, ``""`` for a person."""

    verdict: str = HUMAN
    reason: str = ""

    @property
    def is_machine(self) -> bool:
        return self.verdict == MACHINE


@dataclass(frozen=True)
class Rule:
    """``applies`` takes an interaction and its `History`; ``words`` are for the Tracking page."""

    verdict: str
    reason: str
    words: str
    source: str
    applies: Callable


class History:
    """What the rules ask of the other events of the e-mail: an answer for each second, as there can be thousands."""

    def __init__(self, events):
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

    def after_arrival(self, interaction):
        """Return the seconds since the mail arrived: without end if nobody knows when it did."""
        return math.inf if self.arrival is None else interaction.timestamp - self.arrival

    def links_between(self, first, last):
        return set().union(*(self.links_by_time.get(moment, ()) for moment in range(first, last + 1)))

    def burst(self, moment):
        """Return how many different links were followed in some two seconds that hold the moment."""
        if moment not in self._bursts:
            starts = range(moment - BURST, moment + 1)
            self._bursts[moment] = max(len(self.links_between(start, start + BURST)) for start in starts)
        return self._bursts[moment]

    def bursts_near(self, moment, seconds):
        """Tell whether a machine followed different links some seconds from the moment."""
        return any(
            self.burst(near) >= BURST_LINKS or (self.burst(near) > 1 and not self.shown_at(near))
            for near in range(moment - seconds, moment + seconds + 1)
            if near in self.links_by_time
        )

    def shown_at(self, moment):
        return self._first_shown is not None and self._first_shown <= moment

    def opened_before(self, interaction):
        """Tell whether the mail had been shown before: an open at the same second counts, a prefetch does not."""
        return self.shown_at(interaction.timestamp)

    @cached_property
    def sweep(self):
        """The clicks that follow each other closely from arrival on, before anything was shown."""
        sweep = []
        for click in self.clicks:
            last = sweep[-1].timestamp if sweep else click.timestamp
            if self.opened_before(click) or click.timestamp - last > SWEEP_PACE:
                break
            sweep.append(click)
        on_arrival = sweep and self.after_arrival(sweep[0]) <= ON_ARRIVAL
        return sweep if on_arrival and len({link(click) for click in sweep}) >= BURST_LINKS else []


def link(click):
    return click.url or "", click.url_offset or ""


def agent(interaction):
    return (interaction.user_agent or "")[:MAX_AGENT]


@lru_cache(maxsize=4096)
def says(pattern, user_agent):
    """Tell whether a user agent fits a pattern: most events of a day share a few agents."""
    return bool(pattern.search(user_agent))


def is_prefetch(interaction):
    """Tell what by itself, without its neighbours, is known to be no person."""
    if interaction.is_final:
        return interaction.machine_reason in BY_ITSELF
    return bool(
        interaction.sg_machine_open
        or says(GMAIL_PREFETCH, agent(interaction))
        or says(SCANNER, agent(interaction))
        or says(PROGRAM, agent(interaction))
    )


def is_click(interaction):
    return interaction.event == "click"


def is_open(interaction):
    return interaction.event == "open"


def is_proxied(interaction):
    return says(IMAGE_PROXY, agent(interaction))


def is_on_arrival(interaction, history):
    return history.after_arrival(interaction) <= ON_ARRIVAL


def is_before_delivery(interaction, history):
    return (
        history.delivered is not None
        and interaction.timestamp < history.delivered
        and not (history.first_deferred is not None and history.first_deferred <= interaction.timestamp)
    )


RULES = (
    Rule(
        MACHINE,
        "apple_privacy",
        "Apple Mail fetched the images in advance (Mail Privacy Protection): no sign that it was read.",
        "Twilio docs, Apple Mail Privacy Protection and open events",
        lambda e, history: e.sg_machine_open,
    ),
    Rule(
        MACHINE,
        "gmail_prefetch",
        "Gmail fetched the images in advance while its app was open: no sign that it was read.",
        "Bird, prefetched opens",
        lambda e, history: says(GMAIL_PREFETCH, agent(e)),
    ),
    Rule(
        MACHINE,
        "scanner",
        "A security scanner that names itself inspected the e-mail.",
        "field guides on bot clicks (Barracuda, Proofpoint, Mimecast)",
        lambda e, history: says(SCANNER, agent(e)),
    ),
    Rule(
        MACHINE,
        "program",
        "A program that names itself fetched it: a link preview, a crawler or a script.",
        "field guides on bot clicks; Odoo's own list of robots",
        lambda e, history: says(PROGRAM, agent(e)),
    ),
    Rule(
        MACHINE,
        "burst",
        "Several different links were followed within two seconds: faster than a person can.",
        "AutoEmails: three links in two seconds; SendGrid support on non-human interaction",
        lambda e, history: is_click(e) and history.burst(e.timestamp) >= BURST_LINKS,
    ),
    Rule(
        MACHINE,
        "burst",
        "Several different links were followed within two seconds: faster than a person can.",
        "the same, on arrival: two links are enough",
        lambda e, history: (
            is_click(e)
            and history.burst(e.timestamp) > 1
            and is_on_arrival(e, history)
            and not history.opened_before(e)
        ),
    ),
    Rule(
        MACHINE,
        "sweep",
        "The links were followed one after the other on arrival, before the e-mail was shown.",
        "SendGrid support on non-human interaction; AutoEmails: click without open",
        lambda e, history: is_click(e) and bool(history.sweep) and e.timestamp <= history.sweep[-1].timestamp,
    ),
    Rule(
        MACHINE,
        "at_once",
        "It came within two seconds of the delivery: nobody reads that fast.",
        "Mautic: under two seconds; Collie: under 1.5",
        lambda e, history: is_click(e) and 0 <= history.after_arrival(e) <= CLICK_AT_ONCE and history.delivered,
    ),
    Rule(
        UNKNOWN,
        "same_second",
        "The mailbox provider fetched the images at the moment of delivery: nobody can tell whether anybody looked.",
        "SendGrid support on unsubscribes by machines: at the same moment",
        lambda e, history: is_proxied(e) and history.delivered is not None and e.timestamp == history.delivered,
    ),
    Rule(
        HUMAN,
        "",
        "",
        "Bird: Google's image proxy is triggered by people",
        lambda e, history: is_open(e) and is_proxied(e),
    ),
    Rule(
        MACHINE,
        "with_scanner",
        "It came together with a machine's clicks on arrival.",
        "SendGrid support on non-human interaction",
        lambda e, history: is_open(e) and is_on_arrival(e, history) and history.bursts_near(e.timestamp, OPEN_SOON),
    ),
    Rule(
        MACHINE,
        "before_delivery",
        "It came before the recipient's server had accepted the e-mail: its gateway was looking into it.",
        "the order of events; SendGrid support on non-human interaction",
        lambda e, history: is_before_delivery(e, history) and history.delivered - e.timestamp <= SMTP_DIALOGUE,
    ),
    Rule(
        MACHINE,
        "at_once",
        "It came within two seconds of the delivery: nobody reads that fast.",
        "Mautic: under two seconds",
        lambda e, history: is_open(e) and history.delivered and 0 <= history.after_arrival(e) <= OPEN_AT_ONCE,
    ),
    Rule(
        UNKNOWN,
        "before_delivery_report",
        "It came before the report of the delivery: nobody can tell whether it was a person or a gateway.",
        "the order of events",
        lambda e, history: history.delivered is not None and e.timestamp < history.delivered,
    ),
    Rule(
        UNKNOWN,
        "no_agent",
        "The program that fetched it did not say what it is.",
        "Apple's proxy without its flag behind a CDN (SendGrid support)",
        lambda e, history: BARE_AGENT.fullmatch(agent(e).strip()),
    ),
    Rule(
        UNKNOWN,
        "soon",
        "It came seconds after the delivery: a person with the mailbox open, or an inspection.",
        "HubSpot and Mautic count how quickly; no threshold is safe",
        lambda e, history: is_open(e) and history.after_arrival(e) < OPEN_SOON,
    ),
    Rule(
        UNKNOWN,
        "same_moment",
        "It was opened and clicked in the same second: a person whose program loads images late, or a tool.",
        "SendGrid support: at the same moment as opens",
        lambda e, history: e.timestamp in history.links_by_time and e.timestamp in history.open_times,
    ),
    Rule(
        UNKNOWN,
        "pair",
        "Two different links were followed within moments: a person opening both, or a checking program.",
        "below AutoEmails' three links",
        lambda e, history: (
            is_click(e) and len(history.links_between(e.timestamp - BURST - 1, e.timestamp + BURST + 1)) > 1
        ),
    ),
    Rule(
        UNKNOWN,
        "header_link",
        "The header's unsubscribe link was fetched: by the mail program's button, or by a checking program.",
        "Twilio docs: url_offset type header",
        lambda e, history: is_click(e) and (e.url_offset or "").startswith("header") and not history.opened_before(e),
    ),
    Rule(
        UNKNOWN,
        "click_without_open",
        "It was clicked on arrival without having been shown: a link check, or a quick reader without images.",
        "AutoEmails: click without open; SafeLinks uses ordinary browsers",
        lambda e, history: is_click(e) and is_on_arrival(e, history) and not history.opened_before(e),
    ),
)

# Why an interaction is not a person's, in words for the Tracking page.
REASONS = {rule.reason: rule.words for rule in RULES if rule.reason}


def judge(events: Iterable) -> dict[str, Verdict]:
    """Judge each open and click of one e-mail.

    :param events: all events of the e-mail (anything with the attributes of ``Event``), in any order. Of those that
        have lost their details (``is_final``) the former ``verdict`` and ``machine_reason`` hold.
    :return: a verdict by fingerprint, for opens and clicks only
    """
    events = list(events)
    if not any(e.event in ("open", "click") for e in events):
        return {}
    events.sort(key=lambda e: (e.timestamp, e.fingerprint))
    interactions = [e for e in events if e.event in ("open", "click")]
    history = History(events)
    return {e.fingerprint: _judge_one(e, history) for e in interactions}


def _judge_one(interaction, history):
    if interaction.is_final and interaction.verdict:
        return Verdict(interaction.verdict, interaction.machine_reason or "")
    for rule in RULES:
        if rule.applies(interaction, history):
            return Verdict(rule.verdict, rule.reason)
    return Verdict()
