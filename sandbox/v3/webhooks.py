"""Event webhook settings: each webhook has its own URL, flags and pair of keys."""

from urllib.parse import urlsplit

from aiohttp import web

from sandbox.site import SANDBOX
from sandbox.v3.refusal import Refusal, refuse
from sandbox.webhooks import FLAGS, Configured, Webhooks

_DEFAULTS = {"enabled": False, "friendly_name": None, **dict.fromkeys(FLAGS, False)}
_OPT_IN = "account_status_change"
_OAUTH = ("oauth_client_id", "oauth_token_url")
"""The answer shows these if they were set, but never the secret. The sandbox remembers them and does not use them."""

routes = web.RouteTableDef()


def _webhooks(request: web.Request) -> Webhooks:
    return request.app[SANDBOX].webhooks


def _one(request: web.Request) -> Configured:
    one = _webhooks(request).configured.get(request.match_info["id"])
    if one is None:
        raise refuse(404, "Invalid id provided.")
    return one


def _shown(request: web.Request, one: Configured, dates: bool = True, key: bool = True) -> dict:
    hidden = set() if request.query.get("include") == _OPT_IN else {_OPT_IN}
    shown = {name: one.settings[name] for name in ("url", *_DEFAULTS) if name not in hidden}
    shown |= {name: one.settings[name] for name in _OAUTH if one.settings.get(name)}
    shown["id"] = one.id
    if dates:
        shown |= {"created_date": one.created, "updated_date": one.updated}
    if key and one.public_key:
        shown["public_key"] = one.public_key
    return shown


def _check_url(webhooks: Webhooks, url: str, own_id: str | None = None) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in url):
        raise Refusal(400, {"message": f"'{url}' is not a valid url"})
    for one in webhooks.configured.values():
        if one.settings["url"] == url and one.id != own_id:
            message = f"Webhook at '{url}' already exists. Please provide a unique URL."
            raise Refusal(400, {"id": one.id, "message": message, "url": url})


@routes.get("/v3/user/webhooks/event/settings/all")
async def get_all(request: web.Request) -> web.Response:
    webhooks = _webhooks(request)
    shown = [_shown(request, one) for one in webhooks.configured.values()]
    # Without a webhook the list holds an empty object.
    return web.json_response({"max_allowed": webhooks.max_allowed, "webhooks": shown or [{}]})


@routes.post("/v3/user/webhooks/event/settings")
async def create(request: web.Request) -> web.Response:
    webhooks = _webhooks(request)
    _check_url(webhooks, request["body"]["url"])
    if len(webhooks.configured) >= webhooks.max_allowed:
        raise Refusal(
            400, {"message": "You have reached the maximum number of webhooks per your current billing plan."}
        )
    one = webhooks.configure(_DEFAULTS | request["body"])
    return web.json_response(_shown(request, one), status=201)


@routes.get("/v3/user/webhooks/event/settings/{id}")
async def get_one(request: web.Request) -> web.Response:
    return web.json_response(_shown(request, _one(request), dates=False))


@routes.patch("/v3/user/webhooks/event/settings/{id}")
async def change(request: web.Request) -> web.Response:
    webhooks, one = _webhooks(request), _one(request)
    _check_url(webhooks, request["body"]["url"], one.id)
    webhooks.change(one, request["body"])
    return web.json_response(_shown(request, one, key=False))


@routes.delete("/v3/user/webhooks/event/settings/{id}")
async def delete(request: web.Request) -> web.Response:
    _webhooks(request).remove(_one(request))
    return web.Response(status=204)


@routes.get("/v3/user/webhooks/event/settings/signed/{id}")
async def get_key(request: web.Request) -> web.Response:
    one = _one(request)
    return web.json_response({"id": one.id, "public_key": one.public_key})


@routes.patch("/v3/user/webhooks/event/settings/signed/{id}")
async def sign(request: web.Request) -> web.Response:
    one = _one(request)
    one.sign(request["body"]["enabled"])
    return web.json_response({"id": one.id, "public_key": one.public_key})


@routes.post("/v3/user/webhooks/event/test")
async def test(request: web.Request) -> web.Response:
    """POST the sample, signed with the key of the webhook that `id` names if that webhook signs."""
    webhooks, body = _webhooks(request), request["body"]
    key = None
    if body.get("id"):
        if body["id"] not in webhooks.configured:
            raise refuse(404, "Invalid id provided.")
        key = webhooks.configured[body["id"]].webhook.key
    webhooks.post_test(body["url"], key)
    return web.Response(status=204)
