"""Unsubscribe groups (ASM) and the addresses that left them."""

from aiohttp import web

from sandbox.site import SANDBOX
from sandbox.suppressions import Group, Suppressions
from sandbox.v3.refusal import refuse
from sandbox.v3.suppressions import page

routes = web.RouteTableDef()


def _state(request: web.Request) -> Suppressions:
    return request.app[SANDBOX].account.suppressions


def _group_id(request: web.Request) -> int:
    text = request.match_info["group_id"]
    return int(text) if text.isascii() and text.isdigit() else 0


def _group(request: web.Request) -> Group:
    group = _state(request).groups.get(_group_id(request))
    if group is None:
        raise refuse(404, "group not found", "group_id")
    return group


def _shown(group: Group) -> dict:
    return {"id": group.id, "name": group.name, "description": group.description, "is_default": group.is_default}


def _counted(group: Group) -> dict:
    return _shown(group) | {"unsubscribes": len(group.members)}


@routes.get("/v3/asm/groups")
async def get_all(request: web.Request) -> web.Response:
    wanted = request.query.getall("id", [])
    groups = [group for group in _state(request).groups.values() if not wanted or str(group.id) in wanted]
    return web.json_response([_counted(group) for group in groups])


@routes.post("/v3/asm/groups")
async def create(request: web.Request) -> web.Response:
    body = request["body"]
    for name in ("name", "description"):
        if not body.get(name):
            raise refuse(400, f"{name} is required", name)
    if any(group.name == body["name"] for group in _state(request).groups.values()):
        raise refuse(400, "name must be unique", "name")
    group = _state(request).add_group(body["name"], body["description"], body.get("is_default", False))
    return web.json_response(_shown(group), status=201)


@routes.get("/v3/asm/groups/{group_id}")
async def get_one(request: web.Request) -> web.Response:
    return web.json_response(_counted(_group(request)))


@routes.get("/v3/asm/groups/{group_id}/suppressions")
async def get_members(request: web.Request) -> web.Response:
    return web.json_response(list(_group(request).members))


@routes.post("/v3/asm/groups/{group_id}/suppressions")
async def add_members(request: web.Request) -> web.Response:
    emails = request["body"]["recipient_emails"]
    for email in emails:
        _state(request).leave_group(_group_id(request), email)
    return web.json_response({"recipient_emails": emails}, status=201)


@routes.delete("/v3/asm/groups/{group_id}/suppressions/{email}")
async def delete_member(request: web.Request) -> web.Response:
    _group(request).members.pop(request.match_info["email"].lower(), None)
    return web.Response(status=204)


@routes.get("/v3/asm/suppressions")
async def get_all_members(request: web.Request) -> web.Response:
    entries = [
        {"email": email, "group_id": group.id, "group_name": group.name, "created_at": created}
        for group in _state(request).groups.values()
        for email, created in group.members.items()
    ]
    return web.json_response(page(request, entries, request.app[SANDBOX].account.pages["groups"]))


@routes.get("/v3/asm/suppressions/{email}")
async def get_groups_of(request: web.Request) -> web.Response:
    email = request.match_info["email"].lower()
    groups = [_shown(group) | {"suppressed": email in group.members} for group in _state(request).groups.values()]
    return web.json_response({"suppressions": groups})
