"""Bounces, blocks, invalid addresses, spam reports and global unsubscribes."""

from aiohttp import web

from sandbox.site import SANDBOX
from sandbox.suppressions import Suppressions
from sandbox.v3.refusal import refuse

routes = web.RouteTableDef()


def _state(request: web.Request) -> Suppressions:
    return request.app[SANDBOX].account.suppressions


def _list_name(request: web.Request) -> str:
    return request.path.split("/")[3]


def page(request: web.Request, entries: list, most: int | None) -> list:
    """Return the part of a list that the parameters `limit` and `offset` ask for, if there are any.

    :param most: the most rows of one answer, None: as many as there are
    """
    offset = int(request.query.get("offset", 0))
    sizes = [size for size in (most, int(request.query.get("limit", 0))) if size]
    return entries[offset : offset + min(sizes)] if sizes else entries[offset:]


async def _get(request: web.Request) -> web.Response:
    """Return the entries between `start_time` and `end_time` (Unix seconds, inclusive), newest first.

    `email` is the beginning of an address.
    """
    entries, query = _state(request).newest_first(_list_name(request)), request.query
    if query.keys() & {"start_time", "end_time", "email"}:
        start, end = int(query.get("start_time", 0)), int(query.get("end_time", 10**12))
        prefix = query.get("email", "").lower()
        entries = [
            entry for entry in entries if start <= entry["created"] <= end and entry["email"].lower().startswith(prefix)
        ]
    return web.json_response(page(request, entries, request.app[SANDBOX].account.pages["lists"]))


async def _delete_some(request: web.Request) -> web.Response:
    body = request["body"] or {}
    if bool(body.get("delete_all")) == ("emails" in body):
        raise refuse(400, "Pass either delete_all or emails.")
    if "emails" in body:
        _state(request).remove(_list_name(request), body["emails"])
    else:
        _state(request).remove_all(_list_name(request))
    return web.Response(status=204)


async def _get_one(request: web.Request) -> web.Response:
    entry = _state(request).get(_list_name(request), request.match_info["email"])
    return web.json_response([entry] if entry else [])


async def _delete_one(request: web.Request) -> web.Response:
    _state(request).remove(_list_name(request), [request.match_info["email"]])
    return web.Response(status=204)


for _name in ("bounces", "blocks", "invalid_emails", "spam_reports"):
    routes.get(f"/v3/suppression/{_name}")(_get)
    routes.delete(f"/v3/suppression/{_name}")(_delete_some)
    routes.get(f"/v3/suppression/{_name}/{{email}}")(_get_one)
    routes.delete(f"/v3/suppression/{_name}/{{email}}")(_delete_one)
routes.get("/v3/suppression/unsubscribes")(_get)


@routes.post("/v3/asm/suppressions/global")
async def add_global(request: web.Request) -> web.Response:
    for email in request["body"]["recipient_emails"]:
        _state(request).add("unsubscribes", email)
    return web.json_response({"recipient_emails": request["body"]["recipient_emails"]}, status=201)


@routes.get("/v3/asm/suppressions/global/{email}")
async def get_global(request: web.Request) -> web.Response:
    entry = _state(request).get("unsubscribes", request.match_info["email"])
    return web.json_response({"recipient_email": entry["email"]} if entry else {})


@routes.delete("/v3/asm/suppressions/global/{email}")
async def delete_global(request: web.Request) -> web.Response:
    _state(request).remove("unsubscribes", [request.match_info["email"]])
    return web.Response(status=204)
