"""The Email Logs: a search for messages, and one message with its events."""

from functools import cache

from aiohttp import web

from sandbox.description import operations
from sandbox.history import Record, find, iso, records
from sandbox.query import QueryError, parse
from sandbox.site import SANDBOX
from sandbox.v3.refusal import refuse

DEFAULT_LIMIT = 10
MAX_EVENTS = 100
_TIME = frozenset(("<", ">", "<=", ">="))
_FIELDS = {
    "sg_message_id": frozenset("="),
    "subject": frozenset("="),
    "to_email": frozenset("="),
    "status": frozenset(("IN",)),
    "reason": frozenset("="),
    "categories": frozenset(("IN",)),
    "sg_message_id_created_at": _TIME,
}
_NO_KEY = {"api_key_id": "", "client_ip": "127.0.0.1"}
"""These are the same for all messages: the sandbox does not remember which API key sent one."""

routes = web.RouteTableDef()


def _row(record: Record) -> dict:
    return record.summary | {
        "sg_message_id": record.copy.sg_message_id,
        "status": record.status,
        "reason": record.reason,
        "categories": list(record.copy.message.options.category),
        "sg_message_id_created_at": record.created,
    }


@routes.post("/v3/logs")
async def search(request: web.Request) -> web.Response:
    """Return the messages that meet the query, newest first. There is no offset: narrow the time to get the others."""
    body = request["body"]
    try:
        meets = parse(body["query"], _FIELDS) if body.get("query") else lambda row: True
    except QueryError as error:
        raise refuse(400, str(error), "query") from error
    rows = [row for row in map(_row, records(request.app[SANDBOX].mailbox)) if meets(row)]
    found = []
    for row in rows[: body.get("limit", DEFAULT_LIMIT)]:
        del row["categories"]
        found.append(row | {"sg_message_id_created_at": iso(row["sg_message_id_created_at"])})
    return web.json_response({"messages": found})


@routes.get("/v3/logs/{sg_message_id}")
async def get_one(request: web.Request) -> web.Response:
    record = find(request.app[SANDBOX].mailbox, request.match_info["sg_message_id"])
    if record is None:
        raise refuse(404, "message not found")
    options = record.copy.message.options
    detail = record.summary | _NO_KEY
    detail |= {
        "sg_message_id": record.copy.sg_message_id,
        "status": record.status,
        "category": list(options.category),
        "custom_args": options.unique_args,
        "events": [_event(record, event) for event in record.events[-MAX_EVENTS:]],
    }
    if options.asm_group_id is not None:
        detail["asm_group_id"] = options.asm_group_id
    return web.json_response(detail)


@cache
def _described() -> dict[str, set[str]]:
    """Return the fields that the description allows for each event."""
    schema = operations()["GET", "/v3/logs/{sg_message_id}"].answer_schema
    kinds = schema["properties"]["events"]["items"]["oneOf"]
    return {name: set(kind["properties"]) for kind in kinds for name in kind["properties"]["event"]["enum"]}


def _event(record: Record, wire: dict) -> dict:
    """Return an event as on the wire, but with nested args, without flags that are off and fields not described."""
    args = record.copy.message.options.unique_args
    event = {
        name: value
        for name, value in wire.items()
        if name in _described()[wire["event"]]
        and args.get(name) != value
        and not (name in ("sg_machine_open", "tls") and not value)
    }
    if wire["event"] == "unsubscribe":
        event["date"] = iso(wire["timestamp"])[:10]
    return event | ({"custom_args": args} if args else {})
