"""These rules tell people from machines. Thresholds, patterns and sources stand beside them.

Each rule stands in `RULES`; the first that applies to an interaction decides. See `tools.events.engagement`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# This is `tools.events.engagement.History`. Importing it would close a circle, since that file imports the rules.
History = Any

HUMAN, MACHINE, UNKNOWN = "human", "machine", "unknown"

# Thresholds, in seconds. Nobody receives, reads and clicks in two seconds (Mautic: 2, Collie: 1.5), or opens several
# links in two (AutoEmails: three links).
CLICK_AT_ONCE = 2
OPEN_AT_ONCE = 1
BURST = 2
BURST_LINKS = 3
# A scanner works on arrival; a later and lonely click is rather that of a person whose program shows no images.
ON_ARRIVAL = 60
# A scanner that takes its time does not pause.
SWEEP_PACE = 30
# A program left open shows a new mail about as fast as a scanner does.
OPEN_SOON = 10
# A gateway looks into a mail during the SMTP dialogue; an earlier open means that an earlier try had been accepted.
SMTP_DIALOGUE = 60

GMAIL_PREFETCH = re.compile(r"Chrome/42\.0\.2311\.135 Safari/537\.36 Edge/12\.246 Mozilla/5\.0")
# These proxies of mailbox providers fetch when a person looks.
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
# A recipient's program can send an agent of any length; its name stands at the beginning.
MAX_AGENT = 512
# The rules with these reasons need no look at the neighbours.
BY_ITSELF = ("apple_privacy", "gmail_prefetch", "scanner", "program")
BARE_AGENT = re.compile(r"(?:Mozilla/\d\.\d)?")


@dataclass(frozen=True)
class Rule:
    """``applies`` takes an interaction and its `tools.events.engagement.History`; ``source`` says who found it out."""

    verdict: str
    reason: str
    source: str
    applies: Callable[[Any, History], Any]


def link(click: Any) -> tuple[str, str]:
    """Return what makes a link another one: its address, and where it stands in the message."""
    return click.url or "", click.url_offset or ""


def agent(interaction: Any) -> str:
    """Return as much of the user agent as names it."""
    return (interaction.user_agent or "")[:MAX_AGENT]


@lru_cache(maxsize=4096)
def says(pattern: re.Pattern[str], user_agent: str) -> bool:
    """Tell whether a user agent fits a pattern: most events of a day share a few agents."""
    return bool(pattern.search(user_agent))


def is_prefetch(interaction: Any) -> bool:
    """Tell whether an interaction is known to be no person's by itself, without its neighbours."""
    if interaction.is_final:
        return interaction.machine_reason in BY_ITSELF
    return bool(
        interaction.sg_machine_open
        or says(GMAIL_PREFETCH, agent(interaction))
        or says(SCANNER, agent(interaction))
        or says(PROGRAM, agent(interaction))
    )


def is_click(interaction: Any) -> bool:
    return interaction.event == "click"


def is_open(interaction: Any) -> bool:
    return interaction.event == "open"


def is_proxied(interaction: Any) -> bool:
    return says(IMAGE_PROXY, agent(interaction))


def is_on_arrival(interaction: Any, history: History) -> bool:
    return history.after_arrival(interaction) <= ON_ARRIVAL


def is_before_delivery(interaction: Any, history: History) -> bool:
    return (
        history.delivered is not None
        and interaction.timestamp < history.delivered
        and not (history.first_deferred is not None and history.first_deferred <= interaction.timestamp)
    )


RULES = (
    Rule(
        MACHINE,
        "apple_privacy",
        "Twilio docs, Apple Mail Privacy Protection and open events",
        lambda e, history: e.sg_machine_open,
    ),
    Rule(
        MACHINE,
        "gmail_prefetch",
        "Bird, prefetched opens",
        lambda e, history: says(GMAIL_PREFETCH, agent(e)),
    ),
    Rule(
        MACHINE,
        "scanner",
        "field guides on bot clicks (Barracuda, Proofpoint, Mimecast)",
        lambda e, history: says(SCANNER, agent(e)),
    ),
    Rule(
        MACHINE,
        "program",
        "field guides on bot clicks; Odoo's own list of robots",
        lambda e, history: says(PROGRAM, agent(e)),
    ),
    Rule(
        MACHINE,
        "burst",
        "AutoEmails: three links in two seconds; SendGrid support on non-human interaction",
        lambda e, history: is_click(e) and history.burst(e.timestamp) >= BURST_LINKS,
    ),
    Rule(
        MACHINE,
        "burst",
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
        "SendGrid support on non-human interaction; AutoEmails: click without open",
        lambda e, history: is_click(e) and bool(history.sweep) and e.timestamp <= history.sweep[-1].timestamp,
    ),
    Rule(
        MACHINE,
        "at_once",
        "Mautic: under two seconds; Collie: under 1.5",
        lambda e, history: is_click(e) and 0 <= history.after_arrival(e) <= CLICK_AT_ONCE and history.delivered,
    ),
    Rule(
        UNKNOWN,
        "same_second",
        "SendGrid support on unsubscribes by machines: at the same moment",
        lambda e, history: is_proxied(e) and history.delivered is not None and e.timestamp == history.delivered,
    ),
    Rule(
        HUMAN,
        "",
        "Bird: Google's image proxy is triggered by people",
        lambda e, history: is_open(e) and is_proxied(e),
    ),
    Rule(
        MACHINE,
        "with_scanner",
        "SendGrid support on non-human interaction",
        lambda e, history: is_open(e) and is_on_arrival(e, history) and history.bursts_near(e.timestamp, OPEN_SOON),
    ),
    Rule(
        MACHINE,
        "before_delivery",
        "the order of events; SendGrid support on non-human interaction",
        lambda e, history: is_before_delivery(e, history) and history.delivered - e.timestamp <= SMTP_DIALOGUE,
    ),
    Rule(
        MACHINE,
        "at_once",
        "Mautic: under two seconds",
        lambda e, history: is_open(e) and history.delivered and 0 <= history.after_arrival(e) <= OPEN_AT_ONCE,
    ),
    Rule(
        UNKNOWN,
        "before_delivery_report",
        "the order of events",
        lambda e, history: history.delivered is not None and e.timestamp < history.delivered,
    ),
    Rule(
        UNKNOWN,
        "no_agent",
        "Apple's proxy without its flag behind a CDN (SendGrid support)",
        lambda e, history: BARE_AGENT.fullmatch(agent(e).strip()),
    ),
    Rule(
        UNKNOWN,
        "soon",
        "HubSpot and Mautic count how quickly; no threshold is safe",
        lambda e, history: is_open(e) and history.after_arrival(e) < OPEN_SOON,
    ),
    Rule(
        UNKNOWN,
        "same_moment",
        "SendGrid support: at the same moment as opens",
        lambda e, history: e.timestamp in history.links_by_time and e.timestamp in history.open_times,
    ),
    Rule(
        UNKNOWN,
        "pair",
        "below AutoEmails' three links",
        lambda e, history: (
            is_click(e) and len(history.links_between(e.timestamp - BURST - 1, e.timestamp + BURST + 1)) > 1
        ),
    ),
    Rule(
        UNKNOWN,
        "header_link",
        "Twilio docs: url_offset type header",
        lambda e, history: is_click(e) and (e.url_offset or "").startswith("header") and not history.opened_before(e),
    ),
    Rule(
        UNKNOWN,
        "click_without_open",
        "AutoEmails: click without open; SafeLinks uses ordinary browsers",
        lambda e, history: is_click(e) and is_on_arrival(e, history) and not history.opened_before(e),
    ),
)

# Why an interaction is not a person's, in the order of the rules: the codes that `sendgrid.event` has words for.
REASONS = tuple(dict.fromkeys(rule.reason for rule in RULES if rule.reason))
