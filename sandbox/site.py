"""What the rooms of the web site share."""

import json
from typing import Any

from aiohttp import web

from sandbox.service import Sandbox

SANDBOX = web.AppKey("sandbox", Sandbox)


def reader(request: web.Request, any_client: bool = False) -> dict:
    """`ip` and `useragent` of whoever sent the request. Unless `any_client`, only of a browser: a script that fires
    an event is not the one who reads the mail. A proxy passes the real address in X-Forwarded-For."""
    agent = request.headers.get("User-Agent", "")
    if not any_client and not agent.startswith("Mozilla/"):
        return {}
    forwarded = request.headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    return {"ip": forwarded or request.remote or "", "useragent": agent}


async def json_body(request: web.Request, *kinds: type) -> Any:
    """The JSON of the request, which must be of one of `kinds`; an empty body is an empty object."""
    try:
        data = json.loads(await request.read() or b"{}")
    except (ValueError, RecursionError) as error:
        raise bad_request(f"not JSON: {error}") from error
    if not isinstance(data, kinds):
        raise bad_request("expected " + " or ".join(kind.__name__ for kind in kinds))
    return data


def bad_request(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


def not_found(message: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=json.dumps({"error": message}), content_type="application/json")
