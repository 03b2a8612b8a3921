"""The sandbox's own JSON API, for tests and scripts. README.md lists the calls with examples."""

from dataclasses import asdict

from aiohttp import web

from sandbox import events, mime
from sandbox.message import Copy, Message
from sandbox.service import ACTIONS
from sandbox.site import SANDBOX, bad_request, json_body, not_found, reader

_SETTINGS = {
    "url": (str, type(None)),
    "hold": (bool,),
    "shuffle": (bool,),
    "duplicate": (bool,),
    "max_events": (int, type(None)),
    "flush_seconds": (int, float),
}
_READ_BY_SOMEONE = ("open", "click", "unsubscribe", "group_unsubscribe", "group_resubscribe")

routes = web.RouteTableDef()


@routes.get("/health")
async def health(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


@routes.get("/sandbox/public-key")
async def public_key(request: web.Request) -> web.Response:
    return web.Response(text=request.app[SANDBOX].public_key)


# --- webhook


@routes.get("/sandbox/webhook")
async def get_webhook(request: web.Request) -> web.Response:
    return web.json_response(request.app[SANDBOX].webhooks.summary())


@routes.put("/sandbox/webhook")
async def put_webhook(request: web.Request) -> web.Response:
    settings = await json_body(request, dict)
    for name, value in settings.items():
        if not isinstance(value, _SETTINGS.get(name, ())):
            raise bad_request(f"{name}: unknown setting, or a value of the wrong type")
    if settings.get("max_events", 1) is not None and settings.get("max_events", 1) < 1:
        raise bad_request("max_events: at least 1")
    webhooks = request.app[SANDBOX].webhooks
    webhooks.set(**settings)
    return web.json_response(webhooks.summary())


@routes.post("/sandbox/webhook/flush")
async def flush(request: web.Request) -> web.Response:
    return web.json_response([asdict(post) for post in await request.app[SANDBOX].webhooks.flush()])


@routes.get("/sandbox/deliveries")
async def deliveries(request: web.Request) -> web.Response:
    return web.json_response([asdict(post) for post in request.app[SANDBOX].webhooks.posts])


# --- events


@routes.post("/sandbox/events")
async def post_events(request: web.Request) -> web.Response:
    """Send an `account_status_change` (the body is an object), or any objects unchanged (the body is a list)."""
    data = await json_body(request, dict, list)
    sandbox = request.app[SANDBOX]
    if isinstance(data, list):
        if not all(isinstance(one, dict) for one in data):
            raise bad_request("expected a list of objects")
        sandbox.send_as_is(data)
        return web.json_response(data, status=201)
    if data.pop("event", events.ACCOUNT) != events.ACCOUNT:
        raise bad_request("only account_status_change has no recipient")
    status = data.pop("type", events.ACCOUNT_TYPES[0])
    if not isinstance(status, str):
        raise bad_request("type must be a string")
    return web.json_response([sandbox.fire_account(status, data)], status=201)


@routes.post("/sandbox/messages/{message}/{recipient}/events")
async def post_event(request: web.Request) -> web.Response:
    copy = find_copy(request)
    details = await json_body(request, dict)
    kind = details.pop("event", None)
    if not isinstance(kind, str) or not (events.is_kind(kind) or kind in ACTIONS):
        known = ", ".join((*events.DELIVERY, *events.ENGAGEMENT, *events.VARIANTS, *ACTIONS))
        raise bad_request(f"event must be one of {known}")
    if kind == "click" and isinstance(details.get("link"), int):
        details = events.link_fields(copy, details.pop("link")) | details
    if kind in _READ_BY_SOMEONE:
        details = reader(request) | details
    return web.json_response(request.app[SANDBOX].fire(copy, kind, details), status=201)


# --- messages


@routes.get("/sandbox/messages")
async def messages(request: web.Request) -> web.Response:
    sandbox = request.app[SANDBOX]
    return web.json_response([message_json(one, sandbox.base_url) for one in sandbox.mailbox.newest_first()])


@routes.delete("/sandbox/messages")
async def clear(request: web.Request) -> web.Response:
    request.app[SANDBOX].clear()
    return web.Response(status=204)


@routes.get("/sandbox/messages/{message}")
async def message(request: web.Request) -> web.Response:
    return web.json_response(message_json(find_message(request), request.app[SANDBOX].base_url))


@routes.get("/sandbox/messages/{message}/raw")
async def raw(request: web.Request) -> web.Response:
    """Return the bytes of the message as received, X-SMTPAPI included."""
    return _source(find_message(request).received)


@routes.get("/sandbox/messages/{message}/{recipient}/raw")
async def copy_raw(request: web.Request) -> web.Response:
    """Return the bytes of the copy that this recipient gets."""
    return _source(find_copy(request).source(request.app[SANDBOX].base_url))


def _source(content: bytes) -> web.Response:
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
    return web.Response(body=content, content_type="application/octet-stream", headers=headers)


def find_message(request: web.Request) -> Message:
    """Return the message that the request's path names.

    :raise web.HTTPNotFound: if there is none
    """
    found = request.app[SANDBOX].mailbox.get(request.match_info["message"])
    if found is None:
        raise not_found("no such message")
    return found


def find_copy(request: web.Request) -> Copy:
    """Return the copy that the request's path names.

    :raise web.HTTPNotFound: if there is none
    """
    found = find_message(request).copy(request.match_info["recipient"])
    if found is None:
        raise not_found("no such recipient")
    return found


def message_json(message: Message, base_url: str) -> dict:
    """Return a message as README.md describes it. `base_url` is the sandbox's own address."""
    options = message.options
    return {
        "id": message.id,
        "message_id": message.message_id,
        "time": message.time,
        "envelope_from": message.envelope_from,
        "from": message.sender,
        "subject": message.subject,
        "size": len(message.received),
        "headers": [[name, mime.text(value)] for name, value in mime.fields(message.received)],
        "smtpapi": {"valid": options.valid, "unique_args": options.unique_args, "category": list(options.category)},
        "links": [asdict(link) for link in message.links],
        "attachments": [
            {"part": number, "filename": part.filename, "content_type": part.content_type}
            for number, part in message.attachments
        ],
        "recipients": [copy_json(copy, base_url) for copy in message.copies],
    }


def copy_json(copy: Copy, base_url: str) -> dict:
    """Return a copy as README.md describes a message's recipient."""
    addresses = copy.addresses(base_url)
    return {
        "index": copy.index,
        "address": copy.address,
        "state": copy.state,
        "sg_message_id": copy.sg_message_id,
        "open_url": addresses.open if copy.message.has_pixel else None,
        "click_urls": [addresses.click(number) for number in range(len(copy.message.links))],
        "unsubscribe_url": addresses.unsubscribe,
        "events": [event.wire for event in copy.trail],
    }
