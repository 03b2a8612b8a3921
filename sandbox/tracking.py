"""The addresses that recipients open: the pixel, tracked links, the unsubscribe link. Each fetch is an event."""

import base64

from aiohttp import web

from sandbox.message import Copy
from sandbox.site import SANDBOX, reader

PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A transparent GIF of 1 × 1 pixel."""
_NOT_CACHED = {"Cache-Control": "no-cache, no-store, must-revalidate"}

routes = web.RouteTableDef()


def _copy(request: web.Request) -> tuple[Copy, list[str]]:
    message_id, _, rest = request.query.get("upn", "").partition(".")
    index, *more = rest.split(".")
    message = request.app[SANDBOX].mailbox.get(message_id)
    copy = message.copy(index) if message else None
    if copy is None:
        raise web.HTTPNotFound(text="This message is not in the sandbox (any more).")
    return copy, more


@routes.get("/wf/open")
async def opened(request: web.Request) -> web.Response:
    copy, _ = _copy(request)
    request.app[SANDBOX].fire(copy, "open", reader(request, any_client=True))
    return web.Response(body=PIXEL, content_type="image/gif", headers=_NOT_CACHED)


@routes.get("/ls/click")
async def clicked(request: web.Request) -> web.Response:
    copy, more = _copy(request)
    links = copy.message.links
    number = int(more[0]) if more and more[0].isdecimal() else -1
    if not 0 <= number < len(links):
        raise web.HTTPNotFound(text="This message has no such link.")
    link = links[number]
    details = {"url": link.url, "url_offset": {"index": link.index, "type": link.type}}
    request.app[SANDBOX].fire(copy, "click", reader(request, any_client=True) | details)
    return web.Response(status=302, headers={"Location": _location(link.url), **_NOT_CACHED})


def _location(url: str) -> str:
    """Return a URL for a Location header: without line breaks, which a header cannot hold, and otherwise unchanged."""
    return "".join(url.split("\r")).replace("\n", "").encode("utf-8", "replace").decode()


@routes.get("/wf/unsubscribe")
async def unsubscribed(request: web.Request) -> web.Response:
    copy, _ = _copy(request)
    request.app[SANDBOX].fire(copy, "unsubscribe", reader(request, any_client=True))
    return web.Response(text="You have been unsubscribed.", headers=_NOT_CACHED)
