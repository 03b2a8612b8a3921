"""This module asks what SendGrid remembers of messages, and tells it in the shape of the event webhook.

Two of its APIs tell: Email Logs (`/v3/logs`), and Email Activity (`/v3/messages`), an extra of some plans, which tells
less: no place of a clicked link, no address. Both give at most 1,000 messages at once, and no pages.
"""

import json
from datetime import datetime, timezone
from typing import Any

from .client import ApiError, Client

AT_ONCE = 1000
# Fewer than asked for may be a part as well, if their number looks like the most that an API gives at once.
ROUND = 50
# Email Activity's names of events (Twilio's OpenAPI description: Email Activity), where they are others.
ACTIVITY_NAMES = {"bounced": "bounce", "opened": "open", "clicked": "click", "spam_report": "spamreport"}
ACTIVITY_BOUNCES = {"hard": "bounce", "soft": "blocked"}
# Email Logs tell these too; the webhook never does.
NOT_ON_WEBHOOK = ("received", "cancel_drop")
# An event is told with its message, and SendGrid goes on trying for 72 hours.
LOOK_BACK = 72 * 3600


class EmailLogs:
    """The Email Logs API, for one client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def widen(self, start: int, end: int, now: int) -> tuple[int, int]:
        """Return the times to search for messages in, to find what happened from ``start`` to ``end``.

        Messages are found by when they were sent: events later than 72 hours after that are missed.
        """
        return start - LOOK_BACK, end

    def find(self, start: int, end: int, recipient: str | None = None) -> list[str]:
        """Return the ids of the messages that SendGrid took from ``start`` to before ``end`` (Unix seconds, UTC).

        :param recipient: leave out messages to other addresses
        :return: list of ids; an empty one stands for a message whose id cannot be read
        :raise ApiError: as the client's calls; `answer` also if the answer is no list of messages
        """
        query = [f"sg_message_id_created_at >= {_moment(start)}", f"sg_message_id_created_at < {_moment(end)}"]
        if recipient:
            query.append(f"to_email = {_quote(recipient)}")
        body = {"query": " AND ".join(query), "limit": AT_ONCE}
        answer = self._client.call("post", ("logs",), body=body, repeatable=True, changes=False).body
        return _read_ids(answer, "sg_message_id")

    def get_events(self, message_id: str) -> list[dict[str, Any]]:
        """Return the events of a message, as the webhook would have told them.

        SendGrid tells the last 100 (Twilio's OpenAPI description: Email Logs).

        :return: list of events; what is no object is told as it is, so that it is not lost silently
        :raise ApiError: as the client's calls; `answer` also if the answer has no list of events
        """
        message = self._client.get(("logs", message_id))
        return [
            # Our own arguments stand beside SendGrid's words on the webhook, below them in the logs.
            {**_arguments(message, "custom_args"), **_arguments(event, "custom_args"), **_without(event, "custom_args")}
            if isinstance(event, dict)
            else event
            for event in _read_rows(message, "events")
            if not (isinstance(event, dict) and event.get("event") in NOT_ON_WEBHOOK)
        ]


class EmailActivity:
    """The Email Activity API, for one client: six calls a minute, says SendGrid."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def widen(self, start: int, end: int, now: int) -> tuple[int, int]:
        """Return the times to search in; see `EmailLogs.widen`. Messages are found by what happened last."""
        return start, max(end, now)

    def find(self, start: int, end: int, recipient: str | None = None) -> list[str]:
        """Return the ids of the messages of which something happened in this time; see `EmailLogs.find`."""
        query = f"last_event_time BETWEEN {_moment(start)} AND {_moment(end - 1)}"
        if recipient:
            query += f" AND to_email={_quote(recipient)}"
        return _read_ids(self._client.get(("messages",), query=query, limit=AT_ONCE), "msg_id")

    def get_events(self, message_id: str) -> list[dict[str, Any]]:
        """Return the events of a message, as far as they are told; see `EmailLogs.get_events`."""
        message = self._client.get(("messages", message_id))
        return [
            self._to_webhook(message, event) if isinstance(event, dict) else event
            for event in _read_rows(message, "events")
        ]

    def _to_webhook(self, message: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        name = event.get("event_name")
        name = ACTIVITY_NAMES.get(name, name)
        told = {
            "event": name,
            "email": message.get("to_email"),
            "timestamp": _seconds(event.get("processed")),
            "sg_message_id": message.get("msg_id"),
            "response" if name in ("delivered", "deferred") else "reason": event.get("reason"),
            "attempt": _attempt(event) if name == "deferred" else None,
            "type": ACTIVITY_BOUNCES.get(event.get("bounce_type")) if name == "bounce" else None,
            "url": event.get("url") if name in ("open", "click") else None,
            "useragent": event.get("http_user_agent") if name in ("open", "click") else None,
            "asm_group_id": message.get("asm_group_id") if name not in ("spamreport", "unsubscribe") else None,
        }
        return {**_arguments(message, "unique_args"), **{key: value for key, value in told.items() if value}}


def _attempt(event: dict[str, Any]) -> str | None:
    """Return how many times delivery had been tried before: Email Activity counts from 1, up to 10."""
    number = event.get("attempt_num")
    return str(number - 1) if isinstance(number, int) and number > 0 else None


def _read_ids(answer: Any, key: str) -> list[str]:
    ids = [row.get(key) if isinstance(row, dict) else None for row in _read_rows(answer, "messages")]
    return [one if isinstance(one, str) else "" for one in ids]


def _read_rows(answer: Any, key: str) -> list[Any]:
    """Return the list in an answer.

    :raise ApiError: `answer`: there is none. Taken for an empty one, it would say that there was nothing.
    """
    rows = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ApiError("answer")
    return rows


def may_be_part(number: int) -> bool:
    """Tell whether so many messages may be a part of those that were looked for."""
    return number >= AT_ONCE or (number > 0 and number % ROUND == 0)


def _arguments(told: Any, key: str) -> dict[str, Any]:
    """Return the arguments that a message was sent with: an object, or its JSON as a text."""
    arguments = told.get(key)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return {}
    return arguments if isinstance(arguments, dict) else {}


def _without(event: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != key}


def _moment(seconds: int) -> str:
    return f'TIMESTAMP "{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"'


def _quote(text: str) -> str:
    """Return a text as a query holds it, without the characters that would end it: no address has them."""
    return '"' + text.replace("\\", "").replace('"', "") + '"'


def _seconds(moment: Any) -> int | None:
    """Return Unix seconds of an ISO 8601 moment (UTC), None if it is none."""
    try:
        parsed = datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
    except ValueError:
        return None
    return int(parsed.replace(tzinfo=parsed.tzinfo or timezone.utc).timestamp())
