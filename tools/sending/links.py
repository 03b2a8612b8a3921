"""Some links carry a secret: SendGrid must neither keep them nor stand between them and the recipient."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from .markup import PROPER_REST, attributes, start_tags

# LINK finds what may be the beginning of something to follow or to press: links, areas, forms, buttons, and Outlook's
# buttons, whose names have a prefix (<v:roundrect>).
LINK = re.compile(r"<(?:a|area|button|form|input|[a-z][\w.\-]*:[\w.\-]+)(?=[\s/])", re.IGNORECASE | re.ASCII)
LINK_TAGS = {"a", "area", "button", "form", "input"}
LINK_ATTRIBUTES = ("href", "xlink:href", "action", "formaction")
# SendGrid leaves a link with this mark alone (Twilio docs, "Click Tracking HTML Best Practices").
MARK = ' clicktracking="off"'

# These parameters open something, whatever their value: access_token, hash_token, signup_token, hash, …
SECRET_PARAMETER = re.compile(r"[?&;#][\w.\-]*(?:token|hash|signature)=(?P<key>[^&#;]*)", re.IGNORECASE)
# The address itself of these pages opens them, or they act at the first call.
SECRET_PATH = re.compile(
    r"/web/(?:reset_password|signup)|unsubscribe|/mail/unfollow|opt_?out|/rate/|/survey/(?:start|[\w\-]+/)|/sms/\d+/",
    re.IGNORECASE,
)
# Without one of these in small letters, neither of the two above is found. Looking for words is much faster.
SECRET_WORDS = ("token=", "hash=", "signature=")
SECRET_PAGES = tuple("reset_password signup unsubscribe unfollow optout opt_out /rate/ /survey/ /sms/".split())
# The page that tells how an e-mail is measured: whoever wants to know that is not measured on the way to it.
NOTICE_PAGE = "/sendgrid/measuring"
CREDENTIALS_PATH = re.compile(r"/web/(?:reset_password|signup)\b", re.IGNORECASE)
# The title of a page, as it stands in its address: "how-to-unsubscribe-3".
TITLE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+){3,}", re.IGNORECASE)

PARAMETER = re.compile(r"(?:^|[?&;#])(?P<name>[\w.\-]+)=(?P<value>[^?&#;]*)")
# The value of these parameters is a key if there is one at all. The names may have something before them: x-api-key.
KEY_NAME = re.compile(
    r"(?:.*[_.\-])?(?:(?:access|api|auth|private)[_\-]?key|rlkey|pwd|passwd|password|passcode|pass|passphrase"
    r"|otp|totp|jwt|sig|hmac|secret|credentials?|oobcode|samlresponse)",
    re.IGNORECASE,
)
# These parameters also have other values (a promotion's code, the key of a setting), so the value tells.
LIKELY_NAME = re.compile(
    r"(?:.*[_.\-])?(?:key|code|pin|auth|ticket|session|session_?id|sid|invite|invitation|magic(?:_?link)?|nonce|confirm"
    r"|confirmation|verify|verification|activation|credential|uuid|guid)|\w*[a-z](?-i:Key|Code)",
    re.IGNORECASE,
)
# A number is a key only as the value of these: one-time codes.
CODE_NAME = re.compile(r"(?:auth|verification|confirmation|security|login|access)?_?(?:code|pin)", re.IGNORECASE)
JWT = re.compile(r"(?<![\w\-])eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*", re.ASCII)
# Pages that are opened by the last part of their address. `ir.http` tells those of the modules that are installed;
# these are known by themselves, because they may be quoted from another Odoo, or belong to no module of Community.
KEY_PATH = re.compile(
    r"""/(?:
        calendar/(?:join_videocall|view|cancel)|appointment/view|chat/\d+|meet|hr_attendance|coupon
        |dashboard/(?:share|data|download)/\d+|spreadsheet/(?:share|data|download)/\d+
        |sign/(?:document/)?(?:[a-z_]+/){0,3}\d+|documents?/(?:content|share|download|thumbnail|avatar|zip|upload)(?:/\d+)?
        |documents|knowledge/article/invite/\d+|planning|quotes?/\d+|web/hook
        |password(?:[_\-]?reset)?|reset(?:[_\-]?password)?|(?:activate|verify|confirm|validate|invite|join|sso)
        |(?:verify|confirm|validate)[_\-](?:e?mail|account)|accept[_\-](?:invite|invitation)|invitations?|magic(?:[_\-]?link)?
        |email[_\-](?:verification|confirmation)
    )/(?P<key>[^/?#&=]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# Without one of these as a part, it is not found.
KEY_PAGES = set(
    "join_videocall view cancel chat meet hr_attendance coupon dashboard spreadsheet sign documents document article "
    "planning quotes quote hook password reset reset-password reset_password resetpassword password-reset "
    "password_reset passwordreset activate verify confirm validate invite join sso invitation invitations magic "
    "magic-link magic_link magiclink email-verification email_verification email-confirmation email_confirmation "
    "verify-email verify_email verify-mail verify_mail confirm-email confirm_email confirm-mail confirm_mail "
    "validate-email validate_email accept-invite accept_invite accept-invitation accept_invitation verify-account "
    "verify_account confirm-account confirm_account validate-account validate_account".split()
)
# Of these the last part is a key on our own site, whatever it looks like.
OWN_KEY_PATH = re.compile(
    r"(?:/[a-z]{2,3}(?:[_\-]\w+)?)?/(?:calendar/(?:join_videocall|view|cancel)|appointment/view|chat/\d+"
    r"|dashboard/(?:share|data|download)/\d+|spreadsheet/(?:share|data|download)/\d+"
    r"|sign/(?:document/)?(?:[a-z_]+/){0,3}\d+|documents?/(?:content|share)(?:/\d+)?|knowledge/article/invite/\d+|web/hook"
    r")/(?P<key>[^/?#&=]+)",
    re.IGNORECASE,
)
# Opaque parts of these addresses only tell browsers which version to load, or are short links for everybody.
HARMLESS_PATH = re.compile(
    r"(?:/[a-z]{2,3}(?:[_\-]\w+)?)?/(?:web/(?:image|content|assets|static)|\w+/static|r)/", re.ASCII
)
# Where somebody came from. Advertisers' and SendGrid's own marks are opaque, and open nothing.
HARMLESS_NAME = re.compile(
    r"utm_\w+|\w*clid|gclsrc|gbraid|wbraid|li_fat_id|mc_[ce]id|_\w+|unique|checksum|upn|domain|context", re.ASCII
)
# A name and a password before the host.
LOGIN = re.compile(r"//[^/?#@:\s]*:(?P<key>[^/?#@\s]+)@")
AUTHORITY = re.compile(r"//(?:[^/?#@\s]*@)?(?P<host>\[[^\]/]*\]|[^/?#:&\s]*)(?::\d+)?")
BARE_HOST = re.compile(r"(?P<host>[\w\-]+(?:\.[\w\-]+)+)(?::\d+)?(?=[/?#])")
PATH = re.compile(r"[^?#&;]*")
FURTHER_PATH = re.compile(r"=(/[^?#&;]+)")
OTHER_SCHEME = re.compile(r"\s*(?!(?:https?|ftp|wss?):)[a-z][a-z0-9+.\-]*:", re.IGNORECASE)
PART = re.compile(r"(?:^|[/?&;#])(?:(?P<name>[\w.\-]+)=)?(?P<value>[^/?&;#=]+=*)")

# Whatever is opaque has this.
LONG = re.compile(r"[\w+~.\-]{16}", re.ASCII)
UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
HEX = re.compile(r"(?<![A-Za-z0-9])(?!\d+(?![A-Za-z0-9]))(?:[0-9a-f]{16,}|[0-9A-F]{16,})(?![A-Za-z0-9])")
BASE64 = re.compile(r"[A-Za-z0-9_+~.\-]{20,}={0,2}")
SEPARATOR = re.compile(r"[_+~.\-=]+")
EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
# In words the kind of character seldom changes, but for capitals at their beginnings.
WORDS = re.compile(r"(?:[A-Z]?[a-z]{2,}|[A-Z]{2,}(?![a-z])|\d{1,4}(?!\d)|[\W_])+[a-z]?")
SOME_CHANGE = re.compile(r"[0-9][A-Za-z]|[a-z][A-Z0-9]|[A-Z][0-9]")
CHANGE = re.compile(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[0-9]|(?<=[0-9])[A-Za-z]")

# Links that SendGrid has tracked before, when they were in another mail.
TRACKED = re.compile(r"/(?:ls|wf|uni/ls)/click\?(?:[^#]*&)?upn=|/ss/c/[\w\-.]{16,}/\w+/[\w\-.]+/h\d+/")
# SendGrid looks for links in the text, and takes this for the beginning of one, although it stands in an address
# (github.com/sendgrid/docs/issues/3416).
HREF_WITHIN = re.compile(r"\bhref=https?://", re.IGNORECASE)
QUOTED_TIMES = 5
CACHED_LENGTH = 300


@dataclass(frozen=True, eq=False)
class Site:
    """What is our own. Each object equals itself only, so that it is found fast in a cache.

    :param hosts: our host names, in lower case, without ports; an address without a host is always our own
    :param routes: finds with ``match`` a path that is opened by a key in it. Its groups are the keys
    :param pages: the paths that ``routes`` finds although they have no key
    """

    hosts: frozenset[str] = frozenset()
    routes: re.Pattern[str] | None = None
    pages: frozenset[str] = frozenset()


NOWHERE = Site()


def is_secret(url: str, site: Site = NOWHERE) -> bool:
    """Tell whether whoever has ``url`` can act as the recipient: reset a password, open the portal, unsubscribe."""
    return _is_secret(url, site) if len(url) <= CACHED_LENGTH else next(find_keys(url, site), None) is not None


@lru_cache(maxsize=4096)
def _is_secret(url: str, site: Site) -> bool:
    """Mails have the same links again and again: the site, the footer, and all links of a mailing."""
    return next(find_keys(url, site), None) is not None


def find_keys(url: str, site: Site = NOWHERE) -> Iterator[str]:
    """Yield the parts of ``url`` that are secret; an empty text where the page itself is.

    A link can stand, quoted, as a parameter of another one, and that again.
    """
    for _depth in range(QUOTED_TIMES):
        yield from _find_keys(url, site)
        plain = unquote(url)
        if plain == url:
            return
        url = plain


def leads_to_credentials(body: str) -> bool:
    """Tell whether the HTML text ``body`` has a link to set a password or to sign up."""
    return bool(CREDENTIALS_PATH.search(unquote(body)))


def protect(body: str, site: Site = NOWHERE) -> tuple[str, bool]:
    """Mark the links of an HTML text that SendGrid has to leave alone.

    These are the secret ones, those to the page that tells how an e-mail is measured, those that SendGrid tracks
    already, and those that it would break.

    :param body: the source text; all but the start tags of such links comes back as it is, byte for byte
    :return: the text, and whether there are links in it that must not be tracked in the mail's plain text either
    """
    if not _may_need_marks(body, site):
        return body, False
    # A subclass may escape what is added to it.
    whole, body = body, str(body)
    pieces, position, found = [], 0, False
    for tag in start_tags(body):
        if tag.name not in LINK_TAGS and ":" not in tag.name:
            continue
        values = attributes(body[tag.start : tag.end])
        addresses = [values[name].value for name in LINK_ATTRIBUTES if name in values]
        is_private = any(_is_private(address, site) for address in addresses)
        if not (is_private or any(map(_would_break, addresses))):
            continue
        found = found or is_private
        if "clicktracking" not in values or values["clicktracking"].value.lower() != "off":
            # It stands right behind the name: before any clicktracking="on", since the first of two attributes counts.
            place = tag.start + 1 + len(tag.name)
            pieces += [body[position:place], MARK]
            position = place
    return "".join(pieces) + body[position:] if pieces else whole, found


def _may_need_marks(body: str, site: Site) -> bool:
    """Tell without reading the whole text whether `protect` has something to mark. Most mails end here."""
    position = 0
    while link := LINK.search(body, position):
        rest = PROPER_REST.match(body, link.end())
        if not rest:
            return True
        position = rest.end()
        values = attributes(body[link.start() : position])
        for name in LINK_ATTRIBUTES:
            if name in values:
                address = values[name].value
                if _is_private(address, site) or _would_break(address):
                    return True
    return False


def _is_private(address: str, site: Site) -> bool:
    address = on_one_line(address)
    return is_secret(address, site) or NOTICE_PAGE in address or _is_tracked(address)


def on_one_line(address: str) -> str:
    """Return an address, or a text with addresses, without what browsers leave out of addresses."""
    return address.replace("\n", "").replace("\r", "").replace("\t", "")


def _is_tracked(address: str) -> bool:
    address = unquote(address) if "%" in address else address
    return ("/click?" in address or "/ss/c/" in address) and bool(TRACKED.search(address))


def _would_break(address: str) -> bool:
    return "=http" in address.lower() and bool(HREF_WITHIN.search(address))


def _find_keys(url: str, site: Site) -> Iterator[str]:
    """Yield the keys of an address, without what is quoted in it."""
    lowered = url.lower()
    if any(word in lowered for word in SECRET_PAGES) and _has_secret_path(url):
        yield ""
    if "@" in url and (found := LOGIN.search(url)):
        yield found["key"]
    if "eyJ" in url:
        yield from JWT.findall(url)
    if "=" in url:
        if any(word in lowered for word in SECRET_WORDS):
            for found in SECRET_PARAMETER.finditer(url):
                yield found["key"]
        for found in PARAMETER.finditer(url):
            if _is_key_parameter(found["name"], found["value"]):
                yield found["value"]
    if not KEY_PAGES.isdisjoint(lowered.split("/")):
        for found in KEY_PATH.finditer(url):
            if _looks_like_key(found["key"]):
                yield found["key"]
    for address in _own_addresses(url, site):
        yield from _find_own_keys(address, site)


def _find_own_keys(address: str, site: Site) -> Iterator[str]:
    """Yield the keys of an address on our own site, given without the site."""
    path = PATH.match(address)[0]
    # A login leads on to a page that stands in its parameter.
    for page in [path, *FURTHER_PATH.findall(address)] if "=/" in address else [path]:
        for pattern in (OWN_KEY_PATH, site.routes):
            if pattern and page not in site.pages and (found := pattern.match(page)):
                yield found[found.lastindex]
    if not LONG.search(address):
        return
    start = len(path) if HARMLESS_PATH.match(path) else 0
    for found in PART.finditer(address, start):
        if is_opaque(found["value"]) and not (found["name"] and HARMLESS_NAME.fullmatch(found["name"])):
            yield found["value"]


def _own_addresses(url: str, site: Site) -> Iterator[str]:
    """Yield the addresses within ``url`` that are on our own site, each without the site."""
    start = url.find("//")
    position, is_own = 0, not (url.startswith(("https://", "http://")) or OTHER_SCHEME.match(url))
    if is_own and start != 0 and (host := BARE_HOST.match(url)):
        is_own, position = host["host"].lower() in site.hosts, host.end()
    while start >= 0:
        if is_own and start > position:
            yield url[position:start]
        authority = AUTHORITY.match(url, start)
        is_own = authority["host"].lower().rstrip(".") in site.hosts
        position = max(authority.end(), start + 2)
        start = url.find("//", position)
    if is_own and position < len(url):
        yield url[position:]


def _is_key_parameter(name: str, value: str) -> bool:
    if not value:
        return False
    if KEY_NAME.fullmatch(name):
        return True
    if not LIKELY_NAME.fullmatch(name):
        return False
    if value.isdecimal():
        return len(value) >= 6 and bool(CODE_NAME.fullmatch(name))
    return _looks_like_key(value)


def _looks_like_key(text: str) -> bool:
    """Tell whether a text that may be a key is no word: "4f0e-11b", not "SUMMER24"."""
    if is_opaque(text):
        return True
    changes = sum(len(CHANGE.findall(piece)) for piece in SEPARATOR.split(text))
    # A promotion has few changes: "10OFF50".
    return len(text) >= 6 and changes >= 2 and (text.upper() != text or len(text) >= 12) and not WORDS.fullmatch(text)


def is_opaque(text: str) -> bool:
    """Tell whether a part of an address was made by chance: long, and neither words nor a number."""
    if len(text) < 16 or not SOME_CHANGE.search(text):
        return False
    if UUID.search(text) or HEX.search(text):
        return True
    if len(text) < 20 or not BASE64.fullmatch(text):
        return False
    pieces = SEPARATOR.split(EXTENSION.sub("", text))
    changes = sum(len(CHANGE.findall(piece)) for piece in pieces)
    if changes * 5 < len(text) or WORDS.fullmatch(text):
        return False
    # Titles have no small and capital letters mixed, but they have many pieces, and numbers.
    is_mixed = text.lower() != text and text.upper() != text
    return is_mixed or max(map(len, pieces)) >= 10


def _has_secret_path(url: str) -> bool:
    """Tell whether an address names a page that is secret itself, and not only in a title: "how-to-unsubscribe-3"."""
    position = 0
    while found := SECRET_PATH.search(url, position):
        start = max(position, *(url.rfind(mark, position, found.start()) + 1 for mark in "/?#&="))
        title = TITLE.match(url, start)
        if "/" in found[0] or not title or title.end() < found.end():
            return True
        position = title.end()
    return False
