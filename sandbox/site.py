"""Functions that all modules of the web site share."""

import json
from typing import Any

from aiohttp import web

from sandbox.events import READER_IP
from sandbox.service import Sandbox

SANDBOX = web.AppKey("sandbox", Sandbox)


def reader(request: web.Request, any_client: bool = False) -> dict:
    """Return `ip` and `useragent` of the client that sent the request.

    Unless `any_client`, return nothing for a client that is no browser: a script that fires an event does not read the
    mail. X-Forwarded-For tells the real address behind a proxy. Whoever reads on this machine counts as a reader
    elsewhere: SendGrid is never visited from its own machine.
    """
    agent = request.headers.get("User-Agent", "")
    if not any_client and not agent.startswith("Mozilla/"):
        return {}
    forwarded = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    address = forwarded or request.remote or ""
    return {"ip": READER_IP if address in ("127.0.0.1", "::1") else address, "useragent": agent}


async def json_body(request: web.Request, *kinds: type) -> Any:
    """Return the JSON of the request, of one of `kinds`. An empty body counts as an empty object.

    :raise web.HTTPBadRequest: if the body is not JSON, or of another type
    """
    try:
        data = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError) as error:
        raise bad_request(f"not JSON: {error}") from error
    if not isinstance(data, kinds):
        raise bad_request("expected " + " or ".join(kind.__name__ for kind in kinds))
    return data


def bad_request(message: str) -> web.HTTPBadRequest:
    """Return an answer 400 with the error as JSON."""
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def not_found(message: str) -> web.HTTPNotFound:
    """Return an answer 404 with the error as JSON."""
    return web.HTTPNotFound(text=json.dumps({"error": message}), content_type="application/json")
