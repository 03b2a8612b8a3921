"""This module tells why a message was refused or dropped, and which status and fact about it follow.

Only a refusal for the address says something about the contact. Servers also refuse because the mailbox is full, the
message is too large, they do not trust the sender, or they are busy. SendGrid's ``type`` does not tell these apart: it
reports a full mailbox, or a broken DMARC record of the sender, as a bounce all the same.

Sources, named beside each entry:

- RFC 3463, and the registry that continues it: IANA, SMTP Enhanced Status Codes.
- Microsoft: "Email non-delivery reports and SMTP errors in Exchange Online" (learn.microsoft.com).
- Google: "Gmail SMTP errors and codes" (support.google.com/a/answer/3726730).
- SendGrid: Twilio docs, "Event Webhook reference" and "Bounce and Block Classifications".
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, NamedTuple

# Odoo's own bounces have this type: SendGrid stopped trying after 72 hours without saying so.
EXPIRED = "expired"
# The causes; the weakest proof about the address comes last.
CAUSES = ("address", "mailbox", "message", "sender", "temporary", "unknown")
# A refusal for one of these says that the address does not work. ``unknown`` is among them because SendGrid holds back
# whatever is sent to that address from now on.
ABOUT_ADDRESS = ("address", "unknown")

# A server says what it has to say at the beginning. The rest may be a whole message that came back.
READ_LENGTH = 1000


class Code(NamedTuple):
    """An enhanced status code such as 5.1.1; see RFC 3463."""

    family: str
    detail: str

    @property
    def is_transient(self) -> bool:
        return self.family == "4"


# Codes that tell of the address, whatever the words. They do so in class 5 only: class 4 says to try again.
ADDRESS_CODES = {
    "1.1",  # IANA: bad destination mailbox address
    "1.2",  # IANA: bad destination system address
    "1.3",  # IANA: bad destination mailbox address syntax
    "1.4",  # IANA: destination mailbox address ambiguous
    "1.5",  # IANA: destination address valid; as a refusal it contradicts itself, but speaks of the address
    "1.6",  # IANA: destination mailbox has moved, no forwarding address
    "1.10",  # IANA: recipient address has null MX. Microsoft: recipient not found
    "2.1",  # IANA: mailbox disabled, not accepting messages; see also `RATE`
    "4.4",  # IANA: unable to route, such as a domain without a server
    "4.310",  # Microsoft: the domain does not exist in DNS
    "7.13",  # IANA: user account disabled; see also `NOT_AUTHENTICATED`
    "7.17",  # IANA: mailbox owner has changed (RFC 7293)
    "7.18",  # IANA: domain owner has changed (RFC 7293)
    "7.504",  # Microsoft: the recipient address is not valid
    "7.505",  # Microsoft: the recipient is not valid
}
# These codes tell the same in both classes.
CODES = {
    "2.2": "mailbox",  # IANA: mailbox full. Google: 452 4.2.2 and 552 5.2.2, over quota
    "2.3": "message",  # IANA: message length exceeds administrative limit
    "3.4": "message",  # IANA: message too big for system
    "1.7": "sender",  # IANA: bad sender's mailbox address syntax
    "1.8": "sender",  # IANA: bad sender's system address. Microsoft: bad outbound sender
    "2.121": "temporary",  # Microsoft: the recipient's limit for this hour and this sender
    "2.122": "temporary",  # Microsoft: the recipient's limit for this hour
    "4.6": "temporary",  # IANA: routing loop detected
    "4.7": "temporary",  # IANA: delivery time expired
    "4.14": "temporary",  # Microsoft: routing loop detected
    "4.300": "temporary",  # Microsoft: message expired
}
# The other codes of a whole subject.
SUBJECTS = {
    "6": "message",  # IANA: message content or media, such as a conversion that is not possible
    "7": "sender",  # IANA: security or policy. Google: 4.7.x and 5.7.x for SPF, DKIM, DMARC, rates and content
}
# "Other or undefined" (x.0.0) and the SMTP protocol itself (x.5.x). Microsoft answers 5.5.0 for unknown mailboxes of
# hotmail.com, others for anything else.
SILENT_SUBJECTS = ("0", "5")

# A code stands anywhere: "550-5.1.1", "(#5.1.1)", "[5.1.1]", "550.5.4.1". Yahoo's "[#4.16.1]" and IP addresses are
# none.
CODE = re.compile(r"(?:(?<![\d.])|(?<=\b[45]\d\d\.))([45])\.([0-7])\.(\d{1,3})(?!\.?\d)")
REPLY_CODE = re.compile(r"\A\W*(?:smtp\W{0,3})?([45])\d\d\b")
# The second and further lines of a reply begin with its codes again, in the middle of a sentence.
CONTINUATION = re.compile(r"\s+[45]\d\d[ -](?:[45]\.\d{1,3}\.\d{1,3}\s)?\s*")

# SendGrid's classification of a bounce contains one of these (in lower case). The webhook and the statistics write some
# of the names differently, older samples of the docs only "invalid". "Unclassified" contains none.
CLASSIFICATIONS = (
    ("invalid", "address"),
    ("mailbox", "mailbox"),
    ("technical", "temporary"),
    ("reputation", "sender"),
    ("content", "sender"),
    ("frequency", "sender"),
    ("volume", "sender"),
)

# Google: 450 4.2.1 and 550 5.2.1 for a mailbox that gets too much at once
# (support.google.com/mail/?p=ReceivingRatePerm).
RATE = re.compile(r"receiving (?:e?mail|messages)\b.{0,30}\b(?:rate|quickly|fast)\b|receive limit|at a rate that")
# Exchange uses 5.7.13 also for groups and folders that take mail of their own organization only (Microsoft: "5.7.13 or
# 5.7.135").
NOT_AUTHENTICATED = re.compile(r"not ?authenticated|authentication required|resolver\.rst|public ?folder")

# Servers say these words where no code tells the cause. They are asked in this order, and the first that fits tells.
# Accents are removed from the text beforehand, and a damaged letter is matched by ``\S?``. It may also be the sender
# who "does not exist", or it may be so only for the moment, so that such words must not stand between.
_WHO = r"(?:users?|recipients?|mailbox(?:es)?|mail ?box|accounts?|addressee|customer|person|alias)"
_UP_TO = r"(?:(?!sender|\bfrom\b|temporar|connection|\bspf\b|dmarc|polic).){0,70}?"
_GONE = (
    r"\b(?:unknown|not found|not known|n[o']t exist\w*|not exists?|not a valid|not valid|invalid|disabled|inactive|"
    r"closed|deleted|suspended|deactivated|discontinued|terminated|no longer)\b"
)
# A server may say so of the sender's own account, domain or server too. "Check your domain. User disabled" speaks of
# the address, so that the end of a sentence and whoever receives must not stand between.
_ITS_OWN = (
    r"\b(?:senders?(?:'s?)?|sending|your) (?:e-?mail |mail |own )?(?:accounts?|ips?|ip address(?:es)?|domains?|hosts?|"
    r"servers?|networks?)\b"
)
_UP_TO_OWN = r"(?:(?:(?!\. |;|\busers?\b|recipient|mail ?box).){0,60}?)"
_SHUT_OUT = r"\b(?:suspended|disabled|deactivated|inactive|terminated|locked|block\w*|blacklisted|banned|barred)\b"
_NO_ONE = r"(?:unknown|invalid|bad|non-?existent|nonexisting|not existing|inactive) (?:local |)"
_ANYBODY = r"(?:recipients?|users?|rcpts?|mail ?box(?:es)?|address(?:es)?|accounts?)\b"
WORDS = (
    # SendGrid itself failed to find or reach the server. It files this under "blocked", and tries at the next mail.
    (
        "temporary",
        (
            r"unable to get mx",
            r"error dialing",
            r"failed to get ips",
            r"i/o timeout",
        ),
    ),
    ("temporary", (RATE.pattern,)),
    (
        "sender",
        (
            r"submission quota",
            r"sending (?:limit|quota)",
            r"quota of the sender",
        ),
    ),
    # These speak of the sender, though they say "user", "account" or "mailbox" too.
    (
        "sender",
        (
            r"sender verif",
            r"\bverification failed for <",
            r"invalid dns (?:mx|a|aaaa)\b",
            rf"(?:too many|too much|excessive|(?:high|large) (?:number|rate|percentage|amount) of)\b.{{0,30}}?\b"
            rf"{_NO_ONE}{_ANYBODY}",
            rf"(?:connections?|messages|e?mails?|attempts) to {_NO_ONE}{_ANYBODY}",
            rf"{_ITS_OWN}{_UP_TO_OWN}(?:{_SHUT_OUT}|n[o']t exist)",
            rf"\bsenders?\b.{{0,40}}\b(?:is|was|has been|been) (?:\w+ |){_SHUT_OUT}",
            r"\bbadmailfrom",
            r"\bclient host\b.{0,80}\b(?:block\w*|rejected|refused|denied|listed)\b",
            r"\b(?:spf|dkim|dmarc) (?:check|validation|verification|authentication|record|policy)\b",
            r"\b(?:spf|dkim|dmarc)\b.{0,30}\b(?:soft|hard)?fail",
            r"(?:absender|expediteur|remitente|mittente)(?:(?!empf|benutzer|destinat|utilisateur|usuario|utente).){0,40}?"
            r"(?:unbekannt|ung\S{0,2}ltig|existiert nicht|nicht gefunden|gesperrt|abgelehnt|inconnu|inexistant|"
            r"n.existe|desconocid|no existe|sconosciut|inesistente|non esiste)",
        ),
    ),
    (
        "mailbox",
        (
            r"over ?quota",
            r"quota\b.{0,30}\b(?:exceed\w*|full|reached|overdrawn)",
            r"exceed\w*\b.{0,40}\b(?:quota|storage)",
            r"quota ?exceeded",
            r"(?:mail ?box|inbox|account|user|recipient)\b.{0,60}\b(?:is|was|has been|almost|storage)? ?\bfull\b",
            r"(?:full|overfull) (?:mail ?box|inbox)",
            r"mailboxfull",
            r"out of storage",
            r"storage (?:is )?(?:full|limit)",
            r"(?:postfach|mailbox|konto)\b.{0,40}\b(?:voll|uberfullt|uberf\S?llt|ist voll)\b",
            r"speicherplatz",
            r"kontingent",
            r"quota uberschritten",
            r"bo\S?ite\b.{0,40}\b(?:pleine|saturee)",
            r"quota\b.{0,20}\bdepasse",
            r"depassement (?:de|du) quota",
            r"casella\b.{0,40}\bpiena",
            r"buzon\b.{0,30}\bllen",
            r"cuota\b.{0,30}\bexced",
            r"caixa\b.{0,40}\bcheia",
            r"(?:mailbox|postvak|brievenbus)\b.{0,20}\bvol\b",
            r"skrzynka\b.{0,40}\bp\S?el",
        ),
    ),
    (
        "message",
        (
            r"(?:message|mail|size|e-?mail)\b.{0,40}\b(?:too (?:large|big|long)|exceed\w*\b.{0,40}\b(?:size|limit|"
            r"maximum))",
            r"size (?:limit )?exceed\w*",
            r"(?:maximum|max) (?:message |mail )?size",
            r"exceed\w*\b.{0,30}\bsize",
            r"(?:attachment|file (?:type|extension))s?\b.{0,60}\b(?:not (?:allowed|accepted|permitted)|blocked|"
            r"prohibited|forbidden|rejected|refused)",
            r"(?:nachricht|mail)\b.{0,30}\bzu gro",
            r"message trop (?:gros|volumineux|grand)",
            r"(?:mensaje|messaggio|mensagem)\b.{0,20}\b(?:demasiado|troppo|muito) grande",
            r"line too long",
            r"bare (?:lf|line)",
            r"smtputf8",
            r"8bit",
        ),
    ),
    # These speak of users, mailboxes and accounts, and the sender has none of these here.
    (
        "address",
        (
            rf"\b{_WHO}\b{_UP_TO}{_GONE}",
            r"account\b.{0,20}\bexpired",
            r"\b(?:unknown|no such|invalid|bad|non-?existent|nonexisting|inactive|disabled|unrecognized) (?:local |"
            r"virtual |destination |recipient |user ?|or |illegal ){0,3}(?:users?|recipients?|mailbox(?:es)?|"
            r"mail ?box|account|alias|person|addressee)\b",
            r"no (?:mailbox|account|user|one)\b.{0,30}\b(?:here|by that name|with that|for this)",
            r"not a (?:valid|known) (?:user|recipient|mailbox)",
            r"user ?unknown",
            r"(?:recipient|mailbox) ?not ?found",
            r"does ?n[o']t have an? .{0,40}account",
            r"(?:recipient|user) does ?n[o']t exist",
            r"left the company",
            r"no longer (?:works|with us|employed|in use|active)",
            r"null mx",
            r"recipient address(?:es)? rejected: (?:access denied|user|unknown|undeliverable|no such|not found)",
        ),
    ),
    # These say the same in German, French, Spanish, Italian, Portuguese, Dutch and Polish.
    (
        "address",
        (
            r"unbekannte\w? (?:empf\S{0,3}nger|benutzer|adresse|mailadresse)",
            r"(?:empf\S{0,3}nger|benutzer|adresse|postfach|konto|mailbox|teilnehmer)\w*\b.{0,60}\b(?:unbekannt|"
            r"existiert nicht|nicht (?:gefunden|bekannt|vorhanden|g\S?ltig)|gibt es nicht|ung\S{0,2}ltig|deaktiviert|"
            r"gesperrt)",
            r"(?:utilisateur|destinataire|adresse|compte|bo\S?ite)\b.{0,60}\b(?:inconnue?|inexistante?|introuvable|"
            r"invalide|desactivee?|n.existe (?:pas|plus))",
            r"(?:usuario|destinatario|cuenta|buzon|direccion)\b.{0,60}\b(?:desconocid[oa]|inexistente|no existe|"
            r"no encontrad[oa]|invalid[oa])",
            r"(?:utente|destinatario|indirizzo|casella)\b.{0,60}\b(?:sconosciut[oa]|inesistente|non esiste|"
            r"non valid[oa]|disattivat[oa])",
            r"(?:usuario|destinatario|conta|caixa|endereco)\b.{0,60}\b(?:desconhecid[oa]|inexistente|nao existe|"
            r"invalid[oa])",
            r"(?:gebruiker|ontvanger|adres|mailbox)\b.{0,40}\b(?:onbekend|bestaat niet)",
            r"onbekende (?:gebruiker|ontvanger)",
            r"(?:uzytkownik|adres|konto|skrzynka|odbiorca)\b.{0,40}\b(?:nie istnieje|nieznany)",
            r"nie ma takiego konta",
        ),
    ),
    (
        "sender",
        (
            r"\b(?:spf|dkim|dmarc|domainkeys)\b",
            r"sender policy framework",
            r"unauthenticated",
            r"not authenticated",
            r"authentication (?:is )?(?:required|failed|check)",
            r"black ?-?list",
            r"block ?-?list",
            r"deny ?-?list",
            r"\b[dr]bl\b",
            r"dnsbl",
            r"spamhaus",
            r"spamcop",
            r"barracuda",
            r"senderscore",
            r"reputation",
            r"\bspam\w*",
            r"junk",
            r"unsolicited",
            r"bulk (?:e?mail|sender)",
            r"complaint",
            r"phish",
            r"virus",
            r"malware",
            r"(?:sender|absender|expediteur|remitente|mittente|from address|mail from)\b.{0,80}\b(?:reject\w*|denied|"
            r"block\w*|verif\w*|invalid|not (?:allowed|exist|accepted|found|permitted)|unknown|refused|bann\w*|"
            r"abgelehnt|gesperrt|unbekannt|refuse|rejete|rechazad|rifiutat)",
            r"(?:rejected|denied|blocked|invalid|unknown|bad|banned) (?:the )?sender",
            r"sender verif",
            r"reverse (?:dns|hostname)",
            r"\bptr\b",
            r"\brdns\b",
            r"\b[eh][eh]lo\b",
            r"\bbanned\b",
            r"\bblocked\b",
            r"polic(?:y|ies)",
            r"content\b.{0,40}\b(?:reject\w*|denied|not (?:allowed|accepted)|refused|filter)",
            r"administrative prohibition",
            r"(?<!relay )access denied",
            r"unusual rate",
            r"rate limit",
            r"too many (?:messages|e?mails)",
            r"not authori[sz]ed",
            r"unauthori[sz]ed",
            r"richtlinie",
            r"gesperrt",
            r"sperrliste",
            r"liste noire",
        ),
    ),
    (
        "temporary",
        (
            r"gr[ea]y-? ?list",
            r"temporar",
            r"try (?:again|later)",
            r"retry",
            r"later",
            r"timed? ?-?out",
            r"connection (?:refused|reset|lost|closed|dropped|timed)",
            r"too many connections",
            r"no route to host",
            r"network is unreachable",
            r"service (?:not |un)available",
            r"busy",
            r"overload",
            r"congest",
            r"system (?:is )?full",
            r"insufficient (?:system |disk )?(?:storage|space|resources)",
            r"resources (?:are )?unavailable",
            r"delivery time",
            r"message expired",
            r"\bexpired\b",
            r"local error",
            r"internal (?:server )?error",
            r"system error",
            r"dns",
            r"loop",
            r"hop count",
            r"too many hops",
            r"spater",
            r"vor\S?bergehend",
            r"plus tard",
            r"reessay",
            r"mas tarde",
            r"piu tardi",
            r"mais tarde",
            r"pozniej",
        ),
    ),
    # These could also have been said of the sender, or for the moment, so that they are asked last.
    (
        "address",
        (
            r"mail ?box (?:is )?(?:un|not )available",
            r"recipient\w*\b.{0,40}\b(?:reject\w*|refused|denied|invalid)",
            r"(?:e-?mail )?address(?:es)?\b.{0,60}\b(?:reject\w*|unknown|invalid|n[o']t exist\w*|not found|not valid|"
            r"no longer)",
            r"(?:domain|host)\b.{0,60}\b(?:unknown|not found|n[o']t exist\w*|no longer|does not accept)",
            r"nxdomain",
            r"(?:unknown|no such) (?:domain|host)",
            r"unrout\w+ address",
            r"undeliverable",
            r"(?:does|will) not accept (?:any )?e?-?mail",
        ),
    ),
)
WORDS = tuple((cause, re.compile("|".join(phrases))) for cause, phrases in WORDS)

# SendGrid's reasons for a drop begin so (Twilio docs: Event Webhook reference; in lower case), each with the fact and
# the cause. "Invalid SMTPAPI header" stands before "Invalid" and "Invalid Address", because the first that fits counts.
HELD_BACK = "bounced address"
DROPS = (
    (HELD_BACK, "dropped_bounced", ""),
    ("unsubscribed address", "dropped_unsubscribed", ""),
    ("spam reporting address", "dropped_spam", ""),
    ("invalid smtpapi", "dropped", "sender"),
    ("invalid", "dropped_bounced", "address"),
    ("spam content", "dropped", "sender"),
    ("recipient list over", "dropped", "sender"),
    ("duplicate", "dropped", "message"),
)
# The fact that follows from a drop for an earlier bounce, if that bounce was not for the address or nobody knows it.
HELD_FACT = "dropped_held"
DROP_FACTS = ("dropped", HELD_FACT, *dict.fromkeys(fact for _start, fact, _cause in DROPS if fact != "dropped"))

# Here the recipient's own rules decide who may write. The sender's administrators can do nothing about it.
RULE_CODES = {
    "7.2",  # IANA: mailing list expansion prohibited
    "7.12",  # Microsoft: the recipient takes mail of its own organization only
    "7.124",  # Microsoft: the sender is not in the group's list of allowed senders
    "7.133",  # Microsoft: the group takes mail of its own organization only
    "7.134",  # Microsoft: the mailbox takes mail of its own organization only
    "7.135",  # Microsoft: the public folder takes mail of its own organization only
    "7.136",  # Microsoft: the mail user takes mail of its own organization only
    "7.507",  # Microsoft: blocked by the recipient's organization
    "7.513",  # Microsoft: on the block list of the recipient's domain
}
# Google ends a refusal by its customer's rules with "gcdp". Exchange names the component: RESOLVER.RST restricts
# senders, TRANSPORT.RULES are the rules of an organization. Greylisting puts off whoever writes for the first time.
RULE_WORDS = re.compile(
    r"resolver\.rst|transport\.rules|\bgcdp\b|sendernotauthenticated|not ?authenticated (?:for|by)|"
    r"not (?:on|in) (?:the |its |their )?(?:allowed|approved|accepted)|allowed-senders|"
    r"(?:internal|authenticated|authori[sz]ed|approved) senders|only (?:accepts?|receives?|takes?)\b.{0,40}\bfrom|"
    r"(?:members?|subscribers?) only|only (?:members|subscribers)|customer block list|"
    r"rejected by (?:the )?recipient(?:'?s)? (?:organi[sz]ation|rules?)|"
    r"not (?:allowed|authori[sz]ed|permitted) to (?:send|post|write)\b.{0,40}\b(?:group|list|recipient|mailbox|user|"
    r"address)|gr[ea]y-? ?list"
)
# A refusal with these words is the sender's to mend, though the recipient's rules ("DMARC policy") may have ordered it.
OUR_AUTHENTICATION = re.compile(r"\b(?:spf|dkim|dmarc|domainkeys)\b|sender policy framework")
# These refusals end with the one message, which has an attachment that is not wanted, or with the moment. Google: 552
# 5.7.0 "its content presents a potential security issue". Microsoft: 451 4.7.500 "Server busy".
PASSING = re.compile(
    r"potential security (?:issue|risk|threat)|\battachments?\b|\bfile (?:type|extension|name)s?\b|"
    r"(?:server|system|service)\b.{0,20}\b(?:busy|overloaded)\b"
)
# The sender can do something else about each fault: the first fault whose words fit counts, else it is the reputation.
FAULTS = (
    ("header", re.compile(r"\Ainvalid smtpapi")),
    ("quota", re.compile(r"\Arecipient list over|submission quota|sending (?:limit|quota)")),
    (
        "authentication",
        re.compile(
            r"\b(?:spf|dkim|dmarc|domainkeys)\b|sender policy|authenticat|[45]\.7\.(?:2[0-9]|509)\b|\bptr\b|"
            r"reverse (?:dns|hostname)|sender (?:address|verif|domain)|[45]\.1\.[78]\b"
        ),
    ),
    ("content", re.compile(r"content|\bspam\b|virus|malware|phish|unsolicited|\burls?\b|\blinks?\b")),
)
# Replies that say the same differ in addresses, numbers, names of sessions and servers. These are left out.
KEPT = re.compile(r"(?:[45]\d\d-?)?(?:[45]\.\d{1,3}\.\d{1,3})?")
PARTICULAR = re.compile(r"\S*@\S*|https?://\S*|\S*\d\S*\d\S*")
# Microsoft reserves these details of subject 7 for the rules of an organization (mail flow rules).
RULE_DETAILS = range(900, 1000)


def refusal_cause(reason: str = "", smtp_status: str = "", bounce_type: str = "", classification: str = "") -> str:
    """Tell why a server refused a message: one of `CAUSES`. Works for a bounce and for an entry of a list of bounces.

    The exact enhanced code tells it first, then SendGrid's classification, then the server's words, then SendGrid's
    type. A refusal of class 4 never tells of the address, whatever SendGrid files it under (RFC 3463).

    :param reason: what the server answered, perhaps in several lines
    :param smtp_status: the enhanced code, or three digits, which tell the class only
    :param bounce_type: SendGrid's ``type``
    :param classification: SendGrid's ``bounce_classification``
    """
    for code in _codes(smtp_status, reason):
        if cause := _cause_of_code(code, reason):
            return cause
    text = _clean(reason)
    cause = (
        _cause_of_classification(classification)
        or ("temporary" if _is_type(bounce_type, EXPIRED) else "")
        or next((cause for cause, words in WORDS if words.search(text)), "")
        or ("temporary" if _is_type(bounce_type, "block") else "unknown")
    )
    if cause in ABOUT_ADDRESS and refusal_class(reason, smtp_status) == "4":
        return "temporary"
    return cause


def drop_cause(reason: str) -> str:
    """Tell why SendGrid did not try to deliver: one of `CAUSES`, or ``""``.

    It is empty for a drop because of an earlier bounce (`is_held_back`), whose cause is that bounce's, and for
    recipients who do not want the mail.
    """
    return _find_drop(reason)[2]


def told_cause(event: Any) -> str:
    """Tell the cause of a bounce or a drop by what it says itself, ``""`` for any other event.

    :param event: anything with ``event``, ``reason``, ``smtp_status``, ``bounce_type`` and ``bounce_classification``
    """
    if event.event == "bounce":
        return refusal_cause(event.reason, event.smtp_status, event.bounce_type, event.bounce_classification)
    return drop_cause(event.reason) if event.event == "dropped" else ""


def is_hard_bounce(event: Any) -> bool:
    """Tell whether SendGrid puts the address on its list of bounces, and so holds back what is sent to it later."""
    return event.event == "bounce" and not _is_type(event.bounce_type, "block", EXPIRED)


def is_held_back(event: Any) -> bool:
    """Tell whether SendGrid dropped a message because the address bounced before."""
    return event.event == "dropped" and (event.reason or "").lower().startswith(HELD_BACK)


def drop_fact(drop: Any) -> str:
    """Tell the fact that follows from a drop: one of `DROP_FACTS`.

    :param drop: anything with ``reason`` and ``refusal_cause``, such as an `Event` or a record
    """
    start, fact, _cause = _find_drop(drop.reason)
    if start == HELD_BACK and drop.refusal_cause not in ABOUT_ADDRESS:
        return HELD_FACT
    return fact


def bounce_status(bounce: Any) -> str:
    """Tell the status that a bounce makes: ``bounced``, or ``blocked`` if this message only was refused.

    :param bounce: anything with ``refusal_cause`` and what `told_cause` needs, such as an `Event` or a record
    """
    cause = get_cause(bounce)
    if cause in ABOUT_ADDRESS:
        return "bounced"
    # What SendGrid calls blocked it tries again at the next mail.
    if cause not in ("mailbox", "sender") or _is_type(bounce.bounce_type, "block", EXPIRED):
        return "blocked"
    said = refusal_class(bounce.reason, bounce.smtp_status)
    if cause == "mailbox":
        return "bounced" if said == "5" else "blocked"
    # The type is missing in SendGrid's test events.
    return "bounced" if bounce.bounce_type or said != "4" else "blocked"


def bounce_fact(bounce: Any) -> str:
    """Tell the fact that follows from a bounce: ``bounced`` if the address is the cause, else ``blocked``.

    A refusal for another cause fails the message, but says nothing about the contact, though its status may be bounced.
    """
    return "bounced" if get_cause(bounce) in ABOUT_ADDRESS else "blocked"


def get_cause(event: Any) -> str:
    """Return the cause that was stored with a bounce or a drop, or else what it says itself."""
    return event.refusal_cause or told_cause(event)


def refusal_class(reason: str = "", smtp_status: str = "") -> str:
    """Tell the class of a refusal: ``4`` (try again), ``5`` (for good) or ``""``.

    That of the code that tells the cause counts, else that of the first code, else that of the reply.
    """
    telling = next((code for code in _codes(smtp_status, reason) if _cause_of_code(code, reason)), None)
    if telling:
        return telling.family
    for said in (smtp_status, reason):
        found = next(_codes(said), None)
        if found:
            return found.family
        if match := REPLY_CODE.match((said or "").lower()):
            return match[1]
    return ""


def is_recipients_rule(reason: str = "", smtp_status: str = "") -> bool:
    """Tell whether a refusal for the `sender` comes from the recipient's own rules, such as "only internal senders"."""
    text = _clean(reason)
    if OUR_AUTHENTICATION.search(text):
        return False
    codes = list(_codes(smtp_status, reason))
    if any(code.detail in RULE_CODES for code in codes):
        return True
    for code in codes:
        subject, _dot, detail = code.detail.partition(".")
        if subject == "7" and int(detail) in RULE_DETAILS:
            return True
    return bool(RULE_WORDS.search(text))


def is_for_administrators(reason: str = "", smtp_status: str = "") -> bool:
    """Tell whether the sender's administrators can do something about a refusal for the `sender`.

    They cannot change the recipient's own rules. A refused attachment concerns whoever wrote that message, and a busy
    server takes the next one.
    """
    text = _clean(reason)
    if OUR_AUTHENTICATION.search(text):
        return True
    return not PASSING.search(text) and not is_recipients_rule(reason, smtp_status)


def sender_fault(reason: str = "", smtp_status: str = "") -> str:
    """Tell what a refusal for the `sender` is about, so that the administrators know what to do.

    :return: ``authentication``, ``content``, ``quota``, ``header`` (X-SMTPAPI) or ``reputation``
    """
    text = _clean(f"{reason or ''} {smtp_status or ''}")
    return next((fault for fault, words in FAULTS if words.search(text)), "reputation")


def generalize(reason: str) -> str:
    """Return a server's words without what is particular to one message, so that equal refusals can be counted.

    The enhanced code stays.
    """

    def keep_code(match: re.Match[str]) -> str:
        return match[0] if KEPT.fullmatch(match[0]) else "…"

    text = CONTINUATION.sub(" ", (reason or "")[:READ_LENGTH])
    return " ".join(PARTICULAR.sub(keep_code, text).split())


def _codes(*texts: str) -> Iterator[Code]:
    for text in texts:
        for match in CODE.finditer((text or "")[:READ_LENGTH]):
            yield Code(match[1], f"{match[2]}.{int(match[3])}")


def _cause_of_code(code: Code, reason: str) -> str:
    """Return the cause that a code tells, ``""`` if it tells none.

    Some codes have two meanings, which the server's words tell apart.
    """
    subject = code.detail.partition(".")[0]
    if subject in SILENT_SUBJECTS:
        return ""
    if code.detail in CODES:
        return "sender" if code.detail == "2.2" and "submission quota" in _clean(reason) else CODES[code.detail]
    if not code.is_transient:
        if code.detail == "2.1" and RATE.search(_clean(reason)):
            return "temporary"
        # Microsoft: "Recipient address rejected: Access denied" is an address that does not exist. Without "recipient"
        # it is a server that does not answer (IANA), or that is not responsible for the domain (Microsoft).
        if code.detail == "4.1" and "recipient" in _clean(reason):
            return "address"
        if code.detail == "7.13" and NOT_AUTHENTICATED.search(_clean(reason)):
            return "sender"
        if code.detail in ADDRESS_CODES:
            return "address"
    return SUBJECTS.get(subject) or ("temporary" if code.is_transient else "")


def _cause_of_classification(classification: str) -> str:
    name = (classification or "").lower()
    return next((cause for part, cause in CLASSIFICATIONS if part in name), "")


def _find_drop(reason: str | None) -> tuple[str, str, str]:
    said = (reason or "").strip().lower()
    return next((drop for drop in DROPS if said.startswith(drop[0])), ("", "dropped", ""))


def _is_type(bounce_type: str | None, *starts: str) -> bool:
    # The docs write "blocked", older ones "Blocked".
    return (bounce_type or "").lower().startswith(starts)


def _clean(reason: str | None) -> str:
    """Return the words of a reason in lower case, in one line and without accents."""
    text = CONTINUATION.sub(" ", (reason or "")[:READ_LENGTH])
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in text if not unicodedata.combining(letter)).replace("’", "'")
    return " ".join(text.lower().split())
