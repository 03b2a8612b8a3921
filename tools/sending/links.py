"""Links that carry a secret: SendGrid must neither keep them nor stand between them and the recipient."""

import re
from html import escape, unescape
from urllib.parse import unquote

from lxml import html
from lxml.etree import LxmlError

# The beginning of a link in source text, and what matters on the way to the end of its tag: the end itself, and the
# value of an attribute, in which ">" means nothing while it is quoted, and quotes mean nothing while it is not.
LINK = re.compile(r"<a(?=[\s/])", re.IGNORECASE)
TAG_END_OR_VALUE = re.compile(r""">|=\s*(?:(?P<quote>["'])|[^\s"'>][^\s>]*)""")
BROKEN_TAG = re.compile(r"[^<>]*>?")
# Without one of these in the whole text there is no secret link: most bodies are never looked at closely.
SUSPECT = "token hash signature unsubscribe unfollow password signup optout opt_out /rate/ /survey/".split()
# A parameter that is a key to something: access_token, hash_token, signup_token, hash, …
SECRET_PARAMETER = re.compile(r"[?&;#][\w.\-]*(?:token|hash|signature)=", re.IGNORECASE)
# Pages whose address itself is the key, or that act at the first call.
SECRET_PATH = re.compile(
    r"/web/(?:reset_password|signup)|unsubscribe|/mail/unfollow|opt_?out|/rate/|/survey/(?:start|[\w\-]+/)",
    re.IGNORECASE,
)
CREDENTIALS_PATH = re.compile(r"/web/(?:reset_password|signup)\b", re.IGNORECASE)
# What a browser leaves out of an address (WHATWG URL Standard: tabs and newlines), and what nobody sees in a text.
IGNORED = re.compile(r"[\t\n\r\u00ad\u200b-\u200d\u2060\ufeff]")
# What XML does not have: lxml refuses it, and browsers show nothing of it.
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
HOST = re.compile(r"(?P<scheme>[a-z][a-z0-9+.\-]*:)?//(?:[^/?#\s]*@)?(?P<host>[^/?#@\s]+)", re.IGNORECASE)
WORD = re.compile(r"[^\s<>\"']+")
# The beginning of a word in a text that is meant as an address: with a scheme, a host or a path.
ADDRESS = re.compile(
    r"[a-z][a-z0-9+.\-]*:|.*//|\W*(?:www\.|/)|\W*[\w\-]+(?:\.[\w\-]+)+(?::\d+)?[/?#]|[^?]*\?.*=", re.IGNORECASE
)
# Attributes whose value is an address, whatever it looks like.
ADDRESS_ATTRIBUTES = set(
    "action background cite classid codebase data formaction href icon longdesc manifest ping poster src usemap".split()
)
OWN_IMAGE = re.compile(r"/web/(?:image|content)/[\w./\-]+(?=\?)")
# Elements between which a text goes on, as a reader sees it.
INLINE = set(
    "a abbr b bdi bdo big cite code em font i ins del kbd label mark nobr q s samp small span strike strong sub sup "
    "tt u var wbr".split()
)
# Elements whose text is no text for people.
SOURCES = {"iframe", "noembed", "noframes", "noscript", "script", "style", "template", "textarea", "title", "xmp"}
CUT = "…"
SECRET_VALUE = re.compile(r"(?:token|hash|signature)=([^&#;]{6,})", re.IGNORECASE)

# The mark of one link for SendGrid (Twilio docs, "Click Tracking HTML Best Practices").
MARK = ' clicktracking="off"'


def is_secret(url: str) -> bool:
    """Tell whether whoever has ``url`` can act as the recipient: reset a password, open the portal, unsubscribe."""
    # Twice: a link can stand, quoted, as the parameter of another one.
    for _depth in range(3):
        if SECRET_PARAMETER.search(url) or SECRET_PATH.search(url):
            return True
        url = unquote(url)
    return False


def leads_to_credentials(body: str) -> bool:
    """Tell whether the HTML text ``body`` has a link to set a password or to sign up."""
    return bool(CREDENTIALS_PATH.search(unquote(body)))


def protect(body: str) -> tuple[str, bool]:
    """Mark the secret links of an HTML text, so that SendGrid leaves them alone.

    :param body: the source text; whatever is not the start tag of a secret link comes back as it is, byte for byte
    :return: the text, and whether there are secret links in it (marked by us, or marked already)
    """
    lowered = body.lower()
    if not any(word in lowered for word in SUSPECT):
        return body, False
    pieces, position, found = [], 0, False
    for start, end in _link_tags(body):
        link = _parse(body[start:end])
        if not is_secret(link.get("href") or ""):
            continue
        found = True
        if (link.get("clicktracking") or "").lower() != "off":
            # Right behind "<a": before any clicktracking="on", since the first of two attributes counts.
            pieces += [body[position : start + 2], MARK]
            position = start + 2
    return "".join(pieces) + body[position:] if pieces else body, found


def _link_tags(body):
    """Yield where the start tags of links begin and end, as a browser reads them, in linear time."""
    position, is_broken = 0, False
    while link := LINK.search(body, position):
        position = None if is_broken else _find_tag_end(body, link.end())
        if position is None:
            # A quote is open to the end of the text. What is a tag behind it nobody knows: better look at them all.
            is_broken = True
            position = BROKEN_TAG.match(body, link.end()).end()
        yield link.start(), position


def _find_tag_end(body, position):
    while found := TAG_END_OR_VALUE.search(body, position):
        if found.group() == ">":
            return found.end()
        position = found.end()
        if quote := found["quote"]:
            position = body.find(quote, position) + 1
            if not position:
                return None
    return None


def _parse(tag):
    try:
        return html.fragment_fromstring(f"{tag}</a>")
    except (LxmlError, ValueError):
        # E.g. characters that XML does not have. All of it may be the address.
        return {"href": unescape(tag)}


def cut(url: str) -> str:
    """Return what may be shown of a link to others than its recipient: of a secret one the beginning, and "…".

    The page it leads to is told, unless the path is the key: then the site.
    """
    if not _is_secret_address(url):
        return url
    page = re.split(r"[?#;&]", url, maxsplit=1)[0]
    host = HOST.match(page)
    if _is_secret_address(page):
        return f"{host['scheme'] or ''}//{host['host']}/{CUT}" if host else CUT
    if host:
        page = f"{host['scheme'] or ''}//{host['host']}{page[host.end() :]}"
    return f"{page}?{CUT}"


def disarm(body: str) -> tuple[str, bool]:
    """Take the secret links out of an HTML text that is shown to others than its recipient. Their words stay.

    No attribute, comment or text of what comes back holds an address that `is_secret`.

    :return: the text, as it was if there is no secret link in it; and whether there was one
    """
    if not body:
        return body, False
    clean = NOT_XML.sub("", body)
    try:
        # As bytes: of a str lxml refuses one that names an encoding.
        parser = html.HTMLParser(encoding="utf-8", remove_pis=True)
        root = html.fragment_fromstring(clean.encode(), create_parent="div", parser=parser)
    except (LxmlError, ValueError, AssertionError):
        # Nothing that a browser would show as more than text.
        text = _cut_text(clean)
        return (escape(text), True) if text != clean else (body, False)
    found = _disarm_elements(root)
    found = _disarm_texts(root) or found
    if not found and not _spells_secret(clean):
        return body, False
    shown = escape(root.text or "", quote=False) + "".join(html.tostring(child, encoding="unicode") for child in root)
    # Where a tag is broken, an address can be anything: a name, an attribute, several of them.
    text = IGNORED.sub("", unescape(clean))
    for key in {key for word in WORD.findall(text) if _is_secret_address(word) for key in SECRET_VALUE.findall(word)}:
        shown = shown.replace(key, CUT)
    return shown, True


def _is_secret_address(url):
    url = IGNORED.sub("", url)
    return is_secret(url) or ("\\" in url and is_secret(url.replace("\\", "/")))


def _cut_word(word):
    return cut(word) if ADDRESS.match(unquote(word)) else word


def _cut_text(text):
    """Return a text without the secret part of each address that it spells."""
    return WORD.sub(lambda word: _cut_word(word[0]), text)


def _spells_secret(source):
    text = IGNORED.sub("", unescape(source))
    return _cut_text(text) != text


def _disarm_elements(root):
    """Take the secret addresses out of attributes, comments and source text."""
    found = False
    for element in list(root.iter()):
        if not isinstance(element.tag, str):
            # A comment, such as those that only one mail program reads.
            if _spells_secret(element.text or ""):
                element.text, found = "", True
            continue
        if element.tag in SOURCES and _spells_secret(element.text or ""):
            element.text, found = "", True
        for name, value in list(element.attrib.items()):
            is_address = name.lower().rpartition(":")[2].rpartition("}")[2] in ADDRESS_ATTRIBUTES
            if not (_spells_secret(value) or (is_address and _is_secret_address(value))):
                continue
            own_image = OWN_IMAGE.match(value) if element.tag == "img" and name == "src" else None
            if own_image and not _is_secret_address(own_image[0]):
                # Shown to whoever may read the attachment.
                element.set(name, own_image[0])
            else:
                del element.attrib[name]
            found = True
    return found


def _disarm_texts(root):
    """Cut the secret addresses that are spelt as text, also where elements such as <wbr> stand within."""
    found = False
    for run in _text_runs(root):
        text = "".join(getattr(element, place) for element, place in run)
        # From the end, so that positions before stay as they are.
        for word in reversed(list(WORD.finditer(text))):
            if (shown := _cut_word(word[0])) == word[0]:
                continue
            found, begin = True, 0
            for element, place in run:
                piece = getattr(element, place) or ""
                start, end = (min(max(position - begin, 0), len(piece)) for position in word.span())
                begin += len(piece)
                if start < end:
                    setattr(element, place, piece[:start] + shown + piece[end:])
                    shown = ""
    return found


def _text_runs(root):
    """Yield the pieces of text that a reader sees as one: lists of (element, ``text`` or ``tail``)."""
    run = []
    stack = [(root, False)]
    while stack:
        element, is_left = stack.pop()
        if is_left:
            if element.tag not in INLINE and isinstance(element.tag, str) and run:
                yield run
                run = []
            if element.tail and element is not root:
                run.append((element, "tail"))
            continue
        stack.append((element, True))
        if not isinstance(element.tag, str):
            continue
        if element.tag not in INLINE and run:
            yield run
            run = []
        if element.text and element.tag not in SOURCES:
            run.append((element, "text"))
        stack.extend((child, False) for child in reversed(element))
    if run:
        yield run
