"""The calls by which tests change the account and its API. README.md lists them with examples."""

from dataclasses import asdict, fields

from aiohttp import web

from sandbox.account import Account, Fault
from sandbox.site import SANDBOX, bad_request, json_body, not_found
from sandbox.suppressions import LISTS, MOST

_ACTIONS = ("status", "hang", "cut", "answer")

routes = web.RouteTableDef()


def _account(request: web.Request) -> Account:
    return request.app[SANDBOX].account


@routes.post("/sandbox/reset")
async def reset(request: web.Request) -> web.Response:
    request.app[SANDBOX].reset()
    return web.Response(status=204)


@routes.put("/sandbox/keys/{key}")
async def put_key(request: web.Request) -> web.Response:
    """Create an API key with these scopes, or give it other scopes."""
    scopes = await json_body(request, list)
    if not all(isinstance(scope, str) for scope in scopes):
        raise bad_request("expected a list of scopes")
    _account(request).keys[request.match_info["key"]] = set(scopes)
    return web.Response(status=204)


@routes.delete("/sandbox/keys/{key}")
async def delete_key(request: web.Request) -> web.Response:
    if _account(request).keys.pop(request.match_info["key"], None) is None:
        raise not_found("no such key")
    return web.Response(status=204)


@routes.put("/sandbox/max-webhooks")
async def put_max_webhooks(request: web.Request) -> web.Response:
    request.app[SANDBOX].webhooks.max_allowed = await json_body(request, int)
    return web.Response(status=204)


@routes.put("/sandbox/pages")
async def put_pages(request: web.Request) -> web.Response:
    """Set how many rows an answer holds at most, of the `lists` or of the `groups`."""
    pages, sizes = _account(request).pages, await json_body(request, dict)
    for name, size in sizes.items():
        is_number = isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= MOST
        if name not in pages or not (is_number or (name == "groups" and size is None)):
            raise bad_request(f"{name}: unknown, or no number from 1 to {MOST}; for groups also null")
    pages.update(sizes)
    return web.json_response(pages)


@routes.get("/sandbox/faults")
async def faults(request: web.Request) -> web.Response:
    """Return the faults that still spoil calls."""
    return web.json_response([asdict(fault) for fault in _account(request).faults if fault.times > 0])


@routes.post("/sandbox/faults")
async def add_fault(request: web.Request) -> web.Response:
    data = {"path": "/v3/", **await json_body(request, dict)}
    kinds = {field.name: (int, float) if field.type is float else field.type for field in fields(Fault)}
    for name, value in data.items():
        if name not in kinds or not isinstance(value, kinds[name]):
            raise bad_request(f"{name}: unknown, or a value of the wrong type")
    fault = Fault(**data)
    if fault.action not in _ACTIONS or not 400 <= fault.status < 600:
        raise bad_request(f"action must be one of {', '.join(_ACTIONS)}, status from 400 to 599")
    fault.method = fault.method.upper()
    _account(request).faults.append(fault)
    return web.json_response(asdict(fault), status=201)


@routes.delete("/sandbox/faults")
async def delete_faults(request: web.Request) -> web.Response:
    _account(request).faults.clear()
    return web.Response(status=204)


@routes.get("/sandbox/calls")
async def calls(request: web.Request) -> web.Response:
    return web.json_response([asdict(call) for call in _account(request).calls])


@routes.delete("/sandbox/calls")
async def delete_calls(request: web.Request) -> web.Response:
    _account(request).calls.clear()
    return web.Response(status=204)


@routes.post("/sandbox/suppressions/{list}")
async def add_suppressions(request: web.Request) -> web.Response:
    """Add any number of entries to a list, or to a group (`groups`, with `group_id`)."""
    entries = await json_body(request, list)
    name, suppressions = request.match_info["list"], _account(request).suppressions
    if name not in (*LISTS, "groups"):
        raise not_found(f"the lists are {', '.join(LISTS)} and groups")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("email"), str):
            raise bad_request("every entry needs an email")
        if name == "groups":
            suppressions.leave_group(entry.get("group_id"), entry["email"], entry.get("created"))
        else:
            suppressions.add(name, **entry)
    return web.json_response({"added": len(entries)}, status=201)


@routes.get("/sandbox/erasures")
async def erasures(request: web.Request) -> web.Response:
    """Return the jobs that erase recipients' data, oldest first."""
    return web.json_response([asdict(erasure) for erasure in _account(request).erasures])
