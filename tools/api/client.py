"""This module calls SendGrid's v3 API, through the client of the `sendgrid` package."""

import json
import logging
import ssl
import time
import traceback
import urllib.error
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.parse import quote

from python_http_client.exceptions import HTTPError
from sendgrid import SendGridAPIClient

from . import hosts

TIMEOUT = 10  # seconds; the package has none of its own
TRIES = 4
FIRST_PAUSE = 1  # seconds, then twice as long each time

# At DEBUG the package logs the headers, and with them the API key.
logging.getLogger("python_http_client.client").addFilter(lambda record: record.levelno > logging.DEBUG)

# These may pass by themselves; the others wait for somebody to act. An `answer` may come from a proxy on the way.
PASSING = ("limit", "server", "timeout", "unreachable", "answer")
KINDS = {401: "key", 403: "scope", 404: "missing", 413: "size", 429: "limit"}


class Answer(NamedTuple):
    """An answer of SendGrid: ``body`` is its JSON or None, ``headers`` have names in lower case."""

    status: int
    body: Any
    headers: dict[str, str]


class ApiError(Exception):
    """A call that failed.

    ``kind`` says whose turn it is: `key` (refused), `credits` (the plan's e-mails are used up), `scope` (the API key
    may not do this), `sender` (SendGrid does not know the From address), `missing` (no such thing), `size`,
    `limit` (too many calls; ``wait`` seconds until the next), `refused` (any other 4xx), `server` (5xx), `timeout`,
    `unreachable` (no connection: nothing was sent), `answer` (it cannot be read). ``may_pass`` tells
    whether the same call may work later, without anybody's doing.
    ``errors`` are SendGrid's own, a list of {"message": str, "field": str or None}. The API key is in none of it.
    """

    def __init__(
        self,
        kind: str,
        status: int | None = None,
        errors: Iterable[dict[str, str | None]] = (),
        wait: float | None = None,
    ) -> None:
        self.status = status
        self.errors = list(errors)
        self.wait = wait
        self.may_pass = kind in PASSING
        words = "; ".join(filter(None, (error["message"] for error in self.errors)))
        # A status can mean two things: then SendGrid's words tell which.
        if kind == "scope" and any(error["field"] == "from" for error in self.errors):
            kind = "sender"
        elif kind == "key" and "credits" in words.lower():
            kind = "credits"
        self.kind = kind
        super().__init__(words or f"{kind} {status or ''}".strip())


class Client:
    """SendGrid's API for one API key.

    :param str api_key: the API key
    :param str host: one of `hosts.API`, or a local stand-in
    :param float patience: for how many seconds all the waiting of one call may last, before it fails
    :param sleep: takes seconds and waits for them
    :param before_change: called before each call that changes something at SendGrid; what it raises prevents the call
    :param float timeout: for how many seconds to wait for an answer, where a call does not say otherwise
    """

    def __init__(
        self,
        api_key: str,
        host: str = hosts.API["global"],
        patience: float = 15,
        sleep: Callable[[float], object] = time.sleep,
        before_change: Callable[[], object] = lambda: None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._client = SendGridAPIClient(api_key, host=host.rstrip("/")).client
        self._patience = patience
        self._sleep = sleep
        self.before_change = before_change
        self._timeout = timeout

    def get(self, path: tuple[str | int, ...], **params: Any) -> Any:
        """Return the JSON of a GET; ``params`` that are None are left out."""
        return self.call("get", path, params=params).body

    def call(
        self,
        method: str,
        path: tuple[str | int, ...],
        params: dict[str, Any] | None = None,
        body: Any = None,
        repeatable: bool | None = None,
        timeout: float | None = None,
        changes: bool = True,
    ) -> Answer:
        """Make a call, and try again if it may succeed the next time.

        :param str method: get, post, put, patch or delete
        :param path: the segments after `/v3`, such as ("suppression", "bounces", address); they are quoted here
        :param bool repeatable: whether a second call does no harm if the first one did reach SendGrid. By default all
            but POST. A call that SendGrid surely has not acted on (429, no connection) is tried again in any case.
        :param bool changes: False for a call other than GET that changes nothing of the account's: it sends or asks
        :raise ApiError: when it failed, and trying again did not help or would last too long
        """
        if repeatable is None:
            repeatable = method != "post"
        if changes and method != "get":
            self.before_change()
        pause, patience = FIRST_PAUSE, self._patience
        for attempt in range(1, TRIES + 1):
            began = time.monotonic()
            try:
                return self._call_once(method, path, params, body, timeout or self._timeout)
            except ApiError as error:
                untouched = error.kind in ("limit", "unreachable")
                if attempt == TRIES or not (untouched or (repeatable and error.kind in ("server", "timeout"))):
                    raise
                wait = pause if error.wait is None else max(error.wait, FIRST_PAUSE)
                if wait > patience or time.monotonic() - began > self._patience:
                    raise
                patience -= wait
                pause *= 2
            self._sleep(wait)
        raise AssertionError("unreachable")

    def _call_once(
        self, method: str, path: tuple[str | int, ...], params: dict[str, Any] | None, body: Any, timeout: float
    ) -> Answer:
        client = self._client
        for segment in path:
            client = client._(quote(str(segment), safe=""))
        params = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            response = getattr(client, method)(request_body=body, query_params=params or None, timeout=timeout)
            status, raw, headers = response.status_code, response.body, response.headers
        except HTTPError as error:
            headers = _lower(error.headers)
            raise ApiError(
                KINDS.get(error.status_code) or ("server" if error.status_code >= 500 else "refused"),
                error.status_code,
                _read_errors(error.body),
                _read_wait(headers) if error.status_code == 429 else None,
            ) from None
        except TimeoutError:
            raise ApiError("timeout") from None
        except urllib.error.URLError as error:
            # It is raised while connecting, but also when the connection broke before there was an answer.
            broken = (TimeoutError, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
            if isinstance(error.reason, broken) and not _is_of_connecting(error.reason):
                raise ApiError("timeout") from None
            raise ApiError("unreachable", errors=[{"message": str(error.reason), "field": None}]) from None
        except (OSError, HTTPException):
            raise ApiError("timeout") from None
        try:
            return Answer(status, json.loads(raw) if raw else None, _lower(headers))
        except ValueError:
            raise ApiError("answer", status) from None


def _is_of_connecting(error: BaseException) -> bool:
    """Tell whether an error was raised before there was a connection, so that nothing can have been sent."""
    return any(
        frame.f_code.co_name == "connect" and frame.f_globals.get("__name__") == "http.client"
        for frame, _line in traceback.walk_tb(error.__traceback__)
    )


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers.items() if headers else ())}


def _read_wait(headers: dict[str, str]) -> float | None:
    """Return the seconds until the limit is lifted (Twilio docs: X-RateLimit-Reset is Unix seconds), or None."""
    reset = headers.get("x-ratelimit-reset") or ""
    return max(0, int(reset) - time.time()) if reset.isascii() and reset.isdigit() and len(reset) < 12 else None


def _read_errors(raw: bytes | str) -> list[dict[str, str | None]]:
    """Return SendGrid's errors out of a body that may be anything."""
    try:
        errors = json.loads(raw)["errors"]
        return [
            {"message": str(error.get("message") or ""), "field": error.get("field")}
            for error in errors
            if isinstance(error, dict)
        ]
    except (ValueError, TypeError, KeyError):
        return []
