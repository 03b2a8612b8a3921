"""The Email Activity, an add-on of the plan: an API key can read it with the scope `email_activity.read`."""

import json

from aiohttp import web

from sandbox.events import SENDING_IP
from sandbox.history import Record, find, iso, records
from sandbox.query import QueryError, parse
from sandbox.site import SANDBOX
from sandbox.v3.refusal import refuse

DEFAULT_LIMIT = 10
_TEXT = frozenset(("=", "LIKE"))
_FIELDS = {
    "msg_id": _TEXT,
    "from_email": _TEXT,
    "to_email": _TEXT,
    "subject": _TEXT,
    "status": frozenset(("=", "IN")),
    "last_event_time": frozenset(("<", ">", "<=", ">=", "=", "BETWEEN")),
}
_STATUS = {"processed": "processed", "deferred": "processed", "delivered": "delivered"}
_NAMES = {"bounce": "bounced", "open": "opened", "click": "clicked", "spamreport": "spam_report"}
"""The name here of each event that is called otherwise on the wire."""

routes = web.RouteTableDef()


def _row(record: Record) -> dict:
    return record.summary | {
        "msg_id": record.copy.sg_message_id,
        "status": _STATUS.get(record.status, "not_delivered"),
        "last_event_time": record.last_event,
    }


def _count(record: Record, name: str) -> int:
    return sum(event["event"] == name for event in record.events)


@routes.get("/v3/messages")
async def search(request: web.Request) -> web.Response:
    """Return the messages that meet the query, newest first. There is no offset."""
    try:
        meets = parse(request.query["query"], _FIELDS)
    except QueryError as error:
        raise refuse(400, str(error)) from error
    found = [
        row
        | {
            "last_event_time": iso(row["last_event_time"]),
            "opens_count": _count(record, "open"),
            "clicks_count": _count(record, "click"),
        }
        for record in records(request.app[SANDBOX].mailbox)
        if meets(row := _row(record))
    ]
    return web.json_response({"messages": found[: int(request.query.get("limit", DEFAULT_LIMIT))]})


@routes.get("/v3/messages/{msg_id}")
async def get_one(request: web.Request) -> web.Response:
    record = find(request.app[SANDBOX].mailbox, request.match_info["msg_id"])
    if record is None:
        raise refuse(404, "message not found")
    options = record.copy.message.options
    row = _row(record)
    del row["last_event_time"]
    detail = row | {
        "events": [_event(event) for event in record.events],
        "originating_ip": "127.0.0.1",
        "categories": list(options.category),
        "unique_args": json.dumps(options.unique_args),
        "teammate": "",
        "api_key_id": "sandbox",
        "outbound_ip": SENDING_IP,
        "outbound_ip_type": "dedicated",
    }
    if options.asm_group_id is not None:
        detail["asm_group_id"] = options.asm_group_id
    return web.json_response(detail)


def _event(wire: dict) -> dict:
    """Return an event with less than on the wire: no id, no address of the reader, no place of the link."""
    name = wire["event"]
    event = {"event_name": _NAMES.get(name, name), "processed": iso(wire["timestamp"])}
    if words := wire.get("reason") or (wire.get("response") if name == "deferred" else ""):
        event["reason"] = words[:1024]
    if name == "bounce":
        event["bounce_type"] = "soft" if wire.get("type") == "blocked" else "hard"
    elif name == "deferred":
        event["attempt_num"] = min(int(wire["attempt"]) + 1, 10)
    elif name == "delivered":
        event["mx_server"] = f"mx.{wire['email'].rpartition('@')[2]}"
    elif name in ("open", "click"):
        event["http_user_agent"] = wire.get("useragent", "")
        if name == "click":
            event["url"] = wire.get("url", "")
    return event
