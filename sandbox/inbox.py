"""The inbox page: it lists every copy with its events, and has buttons that cause further events.

This module renders the page; `static/inbox.js` fetches it again after a change and swaps the live parts. A message's
HTML is shown in an iframe without scripts and with an origin of its own, so that it cannot reach the page.
"""

import json
import re
import time
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sandbox import events, lives, mime
from sandbox.api import find_copy
from sandbox.message import Copy, Event
from sandbox.site import SANDBOX

SHOWN_MESSAGES = 200
SHOWN_TEXT = 500_000
"""The most characters of text or source that the page shows; longer ones can be downloaded."""
VIEWS = ("html", "text", "source", "headers")

_PAGE_POLICY = "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'self'"
_MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src * data:; media-src * data:; "
    "style-src * 'unsafe-inline'; font-src * data:"
)
_HEAD = re.compile(r"<head(\s[^>]*)?>", re.IGNORECASE)
_CID = re.compile(r"""cid:([^\s"'<>)]+)""", re.IGNORECASE)

routes = web.RouteTableDef()
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _event_time(event: Event) -> str:
    timestamp = event.wire.get("timestamp")
    try:
        return _clock(timestamp)
    except (TypeError, ValueError, OverflowError, OSError):
        return str(timestamp)


def _event_note(event: Event) -> str:
    """Return the field of an event that tells a reader most."""
    for name in ("reason", "response", "url", "useragent"):
        if event.wire.get(name):
            return str(event.wire[name]).strip()
    return ""


def _outcome(event: Event) -> str:
    return {"delivered": "posted", "pending": "waiting", "failing": "refused", "lost": "not posted"}[event.outcome]


def _pretty(wire: dict) -> str:
    return json.dumps(wire, ensure_ascii=False, indent=2)


_templates.filters.update(
    clock=_clock, event_time=_event_time, event_note=_event_note, outcome=_outcome, pretty=_pretty
)


@routes.get("/")
async def index(request: web.Request) -> web.Response:
    return _page(request, None)


@routes.get("/messages/{message}/{recipient}")
async def one_copy(request: web.Request) -> web.Response:
    return _page(request, find_copy(request))


@routes.get("/inbox/version")
async def version(request: web.Request) -> web.Response:
    """Return a number that changes whenever the page would."""
    return web.Response(text=str(request.app[SANDBOX].version), headers={"Cache-Control": "no-store"})


def _page(request: web.Request, copy: Copy | None) -> web.Response:
    sandbox = request.app[SANDBOX]
    page = _templates.get_template("inbox.html").render(
        messages=sandbox.mailbox.newest_first()[:SHOWN_MESSAGES],
        total=len(sandbox.mailbox),
        webhook=sandbox.webhooks.summary(),
        account_events=sandbox.account_events,
        public_key=sandbox.public_key,
        smtp_address=sandbox.smtp_address,
        lives=lives.LIVES,
        drop_reasons=events.DROP_REASONS,
        account_types=events.ACCOUNT_TYPES,
        copy=copy,
        view=_view(request, copy) if copy else None,
    )
    return web.Response(
        body=page.encode("utf-8", "replace"),
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": _PAGE_POLICY, "Cache-Control": "no-store"},
    )


def _view(request: web.Request, copy: Copy) -> dict:
    """Return the values for the middle of the page, which shows one copy."""
    message = copy.message
    kinds = [part.content_type for part in message.parts if not part.is_attachment]
    default = "html" if "text/html" in kinds else "text"
    name = request.query.get("view", default)
    if name not in VIEWS:
        name = default
    content = ""
    if name != "html" or "text/html" not in kinds:
        content = _content(name, copy.source(request.app[SANDBOX].base_url))
    return {
        "name": name,
        "names": VIEWS,
        "has_html": "text/html" in kinds,
        "content": content[:SHOWN_TEXT],
        "cut": len(content) > SHOWN_TEXT,
        "smtpapi": [mime.text(b"".join(value.splitlines())) for value in message.smtpapi],
    }


def _content(name: str, raw: bytes) -> str:
    if name == "source":
        return mime.text(raw)
    if name == "headers":
        return mime.text(mime.split_head(raw)[0])
    return "\n\n".join(
        mime.body_text(raw, part)[0]
        for part in mime.parts(raw)
        if not part.is_attachment and part.content_type == "text/plain"
    )


@routes.get("/messages/{message}/{recipient}/html")
async def html_part(request: web.Request) -> web.Response:
    """Return the HTML of a copy for the iframe. Loading it loads the pixel; its links open in a new tab."""
    copy = find_copy(request)
    raw = copy.source(request.app[SANDBOX].base_url)
    source = next(
        (
            mime.body_text(raw, part)[0]
            for part in mime.parts(raw)
            if not part.is_attachment and part.content_type == "text/html"
        ),
        "",
    )
    body = _with_base(_with_inline_images(source, copy)).encode("utf-8", "replace")
    return web.Response(
        body=body,
        content_type="text/html",
        charset="utf-8",
        headers={
            "Content-Security-Policy": _MAIL_POLICY,
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _with_base(source: str) -> str:
    base = '<base target="_blank">'
    head = _HEAD.search(source)
    if head:
        return source[: head.end()] + base + source[head.end() :]
    doctype = re.match(r"\s*<!doctype[^>]*>", source, re.IGNORECASE)
    place = doctype.end() if doctype else 0
    return source[:place] + base + source[place:]


def _with_inline_images(source: str, copy: Copy) -> str:
    numbers = {part.content_id: number for number, part in enumerate(copy.message.parts) if part.content_id}

    def address(match: re.Match) -> str:
        number = numbers.get(match[1])
        return match[0] if number is None else f"/messages/{copy.message.id}/{copy.index}/parts/{number}"

    return _CID.sub(address, source)


@routes.get("/messages/{message}/{recipient}/parts/{number:[0-9]{1,6}}")
async def part_content(request: web.Request) -> web.Response:
    """Return an attachment or an inline image. Only images are shown; everything else is a download, for safety."""
    message = find_copy(request).message
    number = int(request.match_info["number"])
    if number >= len(message.parts):
        raise web.HTTPNotFound()
    part = message.parts[number]
    is_image = re.fullmatch(r"image/[a-z0-9.+-]+", part.content_type)
    headers = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}
    if not is_image:
        name = re.sub(r"[^\w. -]", "_", part.filename, flags=re.ASCII) or "attachment"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return web.Response(
        body=mime.body(message.raw, part),
        content_type=part.content_type if is_image else "application/octet-stream",
        headers=headers,
    )
