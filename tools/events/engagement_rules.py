"""These rules tell people from machines. Thresholds, patterns and sources stand beside them.

Each rule stands in `RULES`; the first that applies to an interaction decides. See `tools.events.engagement`.
"""

import ipaddress
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

# This is `tools.events.engagement.History`. Importing it would close a circle, since that file imports the rules.
History = Any

HUMAN, MACHINE, COLLEAGUE, UNKNOWN = "human", "machine", "colleague", "unknown"

# The kinds of events that a rule is about.
OPENS = ("open",)
CLICKS = ("click",)
BOTH = (*OPENS, *CLICKS)
WISHES = ("unsubscribe", "group_unsubscribe")

# Thresholds, in seconds. Nobody receives, reads and clicks in two seconds (Mautic: 2, Collie: 1.5), or opens several
# links in two (AutoEmails: three links).
CLICK_AT_ONCE = 2
OPEN_AT_ONCE = 1
BURST = 2
BURST_LINKS = 3
# A scanner works on arrival. A sandbox that renders the mail in a browser takes longer than others, but not more.
ON_ARRIVAL = 60
# A scanner that takes its time does not pause.
SWEEP_PACE = 30
# A mail program left open shows a new mail about as fast as a scanner does.
OPEN_SOON = 10
# A click without an open is that of a person whose program shows no images, but for slow checks in the beginning.
WITHOUT_OPEN = 20 * 60
# Whoever looks at the mail for so long can then open several links, one a second, into tabs.
READING = 30
# A scanner comes back within so long, and leaves the same traces.
SCANNED_AGAIN = 60 * 60
# A gateway looks into a mail during the SMTP dialogue; an earlier open means that an earlier try had been accepted.
SMTP_DIALOGUE = 60
# A service that checks a link because somebody clicked it does so soon (resend-node#901: after twelve seconds).
CHECKED_AGAIN = 60
# A scanner that follows all links of a mail is done with all of them, the unsubscribe link among them, within this.
WITH_CLICKS = 10

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
# It says nothing, or it names something that is neither a program nor a system that anybody knows.
BARE_AGENT = re.compile(r"(?:Mozilla/\d\.\d(?:\s\(compatible;[\w\s.-]*\))?)?")
# These show mails and nothing else, so that no sandbox renders a mail in them.
MAIL_PROGRAM = re.compile(r"MSOffice|ms-office|Microsoft Outlook|Thunderbird")
# Office asks for a document itself before it gives its link to the browser.
OFFICE = re.compile(r"^Microsoft Office")
# The first that a user agent holds is its system: an iPhone's says "like Mac OS X" as well, an Android's "Linux".
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "CrOS", "Mac OS X", "Linux")


@dataclass(frozen=True)
class Rule:
    """``applies`` takes an interaction and its `tools.events.engagement.History`; ``source`` says who found it out.

    The rule is about the ``kinds`` of events only, so that ``applies`` need not ask.
    """

    kinds: tuple[str, ...]
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


@lru_cache(maxsize=4096)
def is_machine_by_name(user_agent: str) -> bool:
    """Tell whether a user agent is that of a program which fetches for nobody who looks."""
    return any(says(pattern, user_agent) for pattern in (GMAIL_PREFETCH, SCANNER, PROGRAM))


def is_prefetch(interaction: Any) -> bool:
    """Tell whether an interaction is known to be no person's by itself, without its neighbours."""
    if interaction.is_final:
        return interaction.machine_reason in BY_ITSELF
    return bool(interaction.sg_machine_open or is_machine_by_name(agent(interaction)))


class Origin(NamedTuple):
    """Where an interaction came from, as far as it tells.

    ``family`` is the version of IP, and ``agent`` the user agent, whose operating system is ``system``.
    """

    network: str
    family: int
    system: str
    agent: str


@lru_cache(maxsize=4096)
def identify_network(ip: str) -> tuple[str, int]:
    """Return the network of an IP address and the version of IP, or ``("", 0)`` if it is no address.

    Networks are as small as they can be announced to the whole internet: /24 of IPv4, /48 of IPv6. So two addresses of
    one network belong to one provider or company, while the next network may be anybody's.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return "", 0
    address = getattr(address, "ipv4_mapped", None) or address
    length = 24 if address.version == 4 else 48
    return str(ipaddress.ip_network((address, length), strict=False)), address.version


@lru_cache(maxsize=4096)
def identify_system(user_agent: str) -> str:
    """Return the operating system that a user agent names, or ``""``."""
    return next((system for system in SYSTEMS if system in user_agent), "")


def origin(interaction: Any) -> Origin:
    """Return the `Origin` of an interaction. Details that were removed or did not come are empty."""
    name = agent(interaction)
    return Origin(*identify_network(interaction.ip or ""), identify_system(name), name)


def is_elsewhere(one: Origin, other: Origin) -> bool:
    """Tell whether two origins are not one person's: another operating system, or another network.

    Most devices have an address of IPv4 and one of IPv6, and use now the one, now the other. So between the two only
    the program can be compared. What was removed or did not come differs from nothing.
    """
    if one.system and other.system and one.system != other.system:
        return True
    if not (one.network and other.network):
        return False
    return one.network != other.network if one.family == other.family else one.agent != other.agent


def is_proxied(interaction: Any) -> bool:
    return says(IMAGE_PROXY, agent(interaction))


def is_on_arrival(interaction: Any, history: History) -> bool:
    return history.after_arrival(interaction) <= ON_ARRIVAL


def is_soon(interaction: Any, history: History) -> bool:
    """Tell whether an open comes so soon that a program in a browser may have made it."""
    since = history.after_arrival(interaction)
    if since >= ON_ARRIVAL:
        return False
    return since < (OPEN_SOON if says(MAIL_PROGRAM, agent(interaction)) else ON_ARRIVAL) and not history.returns(
        interaction
    )


def is_unread(interaction: Any, history: History) -> bool:
    """Tell whether something followed a link before a person can be told to have looked at the mail."""
    since = history.after_arrival(interaction)
    if since > WITHOUT_OPEN or history.read_before(interaction) or history.returns(interaction):
        return False
    return since <= ON_ARRIVAL or not history.opened_before(interaction)


def is_on_the_way(interaction: Any, history: History, refusals: list[int]) -> bool:
    """Tell whether the mail had not been delivered yet, and some server was just looking at it before it refused it.

    The report of the delivery can be lost, and a refusal can come back days later. So only what is close to something
    that is known to have happened on the way is no reader's: SendGrid took the mail, a server put it off or refused it.

    :param refusals: when it was refused (Unix seconds, UTC), in order of time
    """
    if not refusals or (history.delivered is not None and interaction.timestamp >= history.delivered):
        return False
    if interaction.timestamp > refusals[-1] + SMTP_DIALOGUE:
        return False
    if interaction.timestamp <= history.last_underway + SMTP_DIALOGUE:
        return True
    next_refusal = bisect_left(refusals, interaction.timestamp - SMTP_DIALOGUE)
    return refusals[next_refusal] - interaction.timestamp <= SCANNED_AGAIN


def is_during_smtp(interaction: Any, history: History) -> bool:
    """Tell whether the receiving server was taking or putting off the mail just then, and had not accepted it."""
    if history.delivered is None or interaction.timestamp >= history.delivered:
        return False
    tried = [moment for moment in history.deferrals if moment <= interaction.timestamp]
    if tried:
        return interaction.timestamp - tried[-1] <= SMTP_DIALOGUE and not is_proxied(interaction)
    return history.delivered - interaction.timestamp <= SMTP_DIALOGUE


# The rules about opens, and the first about clicks.
RULES = (
    Rule(
        BOTH,
        MACHINE,
        "apple_privacy",
        "Twilio docs, Apple Mail Privacy Protection and open events",
        lambda e, history: e.sg_machine_open,
    ),
    Rule(
        BOTH,
        MACHINE,
        "gmail_prefetch",
        "Bird, prefetched opens",
        lambda e, history: says(GMAIL_PREFETCH, agent(e)),
    ),
    Rule(
        (*BOTH, *WISHES),
        MACHINE,
        "scanner",
        "field guides on bot clicks (Barracuda, Proofpoint, Mimecast)",
        lambda e, history: says(SCANNER, agent(e)),
    ),
    Rule(
        (*BOTH, *WISHES),
        MACHINE,
        "program",
        "field guides on bot clicks; Odoo's own list of robots",
        lambda e, history: says(PROGRAM, agent(e)),
    ),
    Rule(
        BOTH,
        MACHINE,
        "refused",
        "the order of events: who never got a mail cannot have looked at it",
        lambda e, history: is_on_the_way(e, history, history.refusals),
    ),
    Rule(
        CLICKS,
        MACHINE,
        "burst",
        "AutoEmails: three links in two seconds; SendGrid support on non-human interaction",
        lambda e, history: history.burst(e.timestamp) >= BURST_LINKS and not history.is_reader_in_turn(e),
    ),
    Rule(
        CLICKS,
        MACHINE,
        "burst",
        "the same, on arrival: two links by one program are enough",
        lambda e, history: (
            history.burst(e.timestamp) > 1
            and is_on_arrival(e, history)
            and not history.shown_at(e.timestamp - BURST)
            and history.burst_of_one(e) > 1
        ),
    ),
    Rule(
        CLICKS,
        MACHINE,
        "sweep",
        "SendGrid support on non-human interaction; AutoEmails: click without open",
        lambda e, history: bool(history.sweep) and e.timestamp <= history.sweep[-1].timestamp,
    ),
    Rule(
        CLICKS,
        MACHINE,
        "at_once",
        "Mautic: under two seconds; Collie: under 1.5",
        lambda e, history: 0 <= history.after_arrival(e) <= CLICK_AT_ONCE and history.delivered,
    ),
    Rule(
        BOTH,
        UNKNOWN,
        "same_second",
        "SendGrid support on unsubscribes by machines: at the same moment",
        lambda e, history: is_proxied(e) and history.delivered is not None and e.timestamp == history.delivered,
    ),
    Rule(
        OPENS,
        HUMAN,
        "",
        "Bird: Google's image proxy is triggered by people; of Yahoo's nobody says so",
        lambda e, history: is_proxied(e) and ("GoogleImageProxy" in agent(e) or not is_soon(e, history)),
    ),
    Rule(
        OPENS,
        MACHINE,
        "with_scanner",
        "SendGrid support on non-human interaction",
        lambda e, history: is_on_arrival(e, history) and history.bursts_near(e.timestamp, OPEN_SOON),
    ),
    Rule(
        OPENS,
        MACHINE,
        "with_scanner",
        "SendGrid support on unsubscribes by machines: right after delivery, at the same moment as an open",
        lambda e, history: history.after_arrival(e) <= OPEN_SOON and e.timestamp in history.wish_times,
    ),
    Rule(
        BOTH,
        MACHINE,
        "before_delivery",
        "the order of events; SendGrid support on non-human interaction",
        lambda e, history: is_during_smtp(e, history),
    ),
    Rule(
        OPENS,
        MACHINE,
        "at_once",
        "Mautic: under two seconds",
        lambda e, history: history.delivered and 0 <= history.after_arrival(e) <= OPEN_AT_ONCE,
    ),
    Rule(
        BOTH,
        UNKNOWN,
        "before_delivery_report",
        "the order of events",
        lambda e, history: history.delivered is not None and e.timestamp < history.delivered,
    ),
    Rule(
        BOTH,
        UNKNOWN,
        "no_agent",
        "Apple's proxy without its flag behind a CDN (SendGrid support)",
        lambda e, history: BARE_AGENT.fullmatch(agent(e).strip()),
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "probe",
        "Microsoft: Office looks a link up before it opens it",
        lambda e, history: says(OFFICE, agent(e)) and history.has_twin(e),
    ),
    Rule(
        OPENS,
        UNKNOWN,
        "soon",
        "HubSpot and Mautic count how quickly; no threshold is safe",
        lambda e, history: is_soon(e, history),
    ),
    Rule(
        BOTH,
        UNKNOWN,
        "same_moment",
        "SendGrid support: at the same moment as opens",
        lambda e, history: e.timestamp in history.links_by_time and e.timestamp in history.open_times,
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "pair",
        "below AutoEmails' three links",
        lambda e, history: history.has_pair(e) and not history.is_reader_in_turn(e),
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "header_link",
        "Twilio docs: url_offset type header",
        lambda e, history: (e.url_offset or "").startswith("header") and not history.opened_before(e),
    ),
)

# These ask what the rules above have said of the mail's opens and other clicks.
CLICK_RULES = (
    Rule(
        CLICKS,
        UNKNOWN,
        "click_without_open",
        "AutoEmails: click without open; SafeLinks uses ordinary browsers",
        lambda e, history: is_unread(e, history),
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "scanned_again",
        "SendGrid support on non-human interaction: repeated agents and addresses",
        lambda e, history: history.is_like_machine(e),
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "many_without_open",
        "AutoEmails: click without open; whoever sees no images rarely follows three links",
        lambda e, history: not history.hides_opens and not history.read_before(e) and history.follows_order,
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "several_without_open",
        "emdash#3298 and resend-node#901: a link is followed again by a service, from its own network",
        lambda e, history: not history.hides_opens and not history.read_before(e) and history.has_several_followers(e),
    ),
    Rule(
        CLICKS,
        UNKNOWN,
        "another_network",
        "resend-node#901: a service follows the link again, from its own network, twelve seconds after the person",
        lambda e, history: history.has_person_elsewhere(e) or history.is_repeated_elsewhere(e),
    ),
)

# These ask what the rules above have said of the mail's clicks.
OPEN_RULES = (
    Rule(
        OPENS,
        UNKNOWN,
        "another_network",
        "as for clicks",
        lambda e, history: history.has_person_elsewhere(e),
    ),
    Rule(
        OPENS,
        UNKNOWN,
        "scanned_again",
        "as for clicks",
        lambda e, history: history.is_like_machine(e),
    ),
)

# SendGrid need not tell address and agent of an unsubscription (Twilio docs: Event Webhook reference), so that their
# absence means nothing.
WISH_RULES = (
    *(rule for rule in RULES if rule.reason in ("scanner", "program")),
    Rule(
        WISHES,
        MACHINE,
        "refused",
        "the order of events; a drop can be the consequence of the wish itself",
        lambda e, history: is_on_the_way(e, history, history.bounces),
    ),
    Rule(
        WISHES,
        MACHINE,
        "with_clicks",
        "SendGrid support on unsubscribes by machines: at the same moment; Rock#7034",
        lambda e, history: history.has_machine_clicks_near(e),
    ),
    Rule(
        WISHES,
        MACHINE,
        "at_once",
        "SendGrid support on unsubscribes by machines: right after delivery",
        lambda e, history: (
            history.delivered is not None
            and 0 <= history.after_arrival(e) <= (OPEN_SOON if e.timestamp in history.open_times else CLICK_AT_ONCE)
        ),
    ),
    Rule(
        WISHES,
        MACHINE,
        "before_delivery",
        "the order of events",
        lambda e, history: is_during_smtp(e, history),
    ),
    Rule(
        WISHES,
        UNKNOWN,
        "before_delivery_report",
        "the order of events",
        lambda e, history: history.delivered is not None and e.timestamp < history.delivered,
    ),
    Rule(
        WISHES,
        UNKNOWN,
        "wish_without_open",
        "as for clicks",
        lambda e, history: is_unread(e, history),
    ),
    Rule(
        WISHES,
        UNKNOWN,
        "scanned_again",
        "as for clicks",
        lambda e, history: history.is_like_machine(e),
    ),
    Rule(
        WISHES,
        UNKNOWN,
        "another_network",
        "as for clicks",
        lambda e, history: history.has_wish_elsewhere(e),
    ),
)

# Why an interaction is not a person's, in the order of the rules: the codes that `sendgrid.event` has words for.
REASONS = tuple(dict.fromkeys(rule.reason for rule in (*RULES, *CLICK_RULES, *OPEN_RULES, *WISH_RULES) if rule.reason))
