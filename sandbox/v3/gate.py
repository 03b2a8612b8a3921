"""Passes every call of the API: notes it, lets a fault spoil it, checks API key, scopes, rate limit and description."""

import asyncio
import json
import time
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.account import Account, Call, Fault, Window
from sandbox.description import operations
from sandbox.scopes import NEEDED
from sandbox.site import SANDBOX
from sandbox.v3.refusal import Refusal, refuse

LIMIT = 600
"""Calls a minute for one operation. SendGrid publishes no numbers; this one was seen on /v3/scopes."""
ACTIVITY_LIMIT = 6
"""Calls a minute for both operations of the Email Activity together (Twilio docs: Email Activity)."""
ERASURE_LIMIT = 100
"""Calls a minute (Twilio docs: Recipients' Data Erasure)."""
MAX_KEPT_BODY = 100_000
"""The sandbox does not remember a longer body of a call (bytes)."""
TOO_MANY = "too many requests"


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Note a call of the API, let a fault spoil it, else check it and answer. Other requests pass unchanged."""
    if not request.path.startswith("/v3/"):
        return await handler(request)
    account = request.app[SANDBOX].account
    call = Call(time.time(), request.method, request.path, dict(request.query), request.headers.get("on-behalf-of", ""))
    account.calls.append(call)
    fault = account.fault(request.method, request.path)
    if fault and not fault.after:
        await _remember_body(request, call)
        response = await _break(request, fault)
    else:
        response = await _answer(request, handler, account, call)
        if fault:
            response = await _break(request, fault)
    call.status = response.status
    return response


async def _break(request: web.Request, fault: Fault) -> web.Response:
    """Do what a fault says: answer with its status or its body, or end the connection without an answer."""
    if fault.action == "answer":
        return web.json_response(fault.body)
    if fault.action == "hang":
        await asyncio.sleep(fault.seconds)
    if fault.action != "status":
        if request.transport:  # it is None if the caller has gone
            request.transport.abort()
        raise ConnectionResetError
    limit = Window(LIMIT, int(time.time() + fault.reset), LIMIT) if fault.status == 429 else None
    words = fault.message or (TOO_MANY if limit else HTTPStatus(fault.status).phrase)
    return _refused(refuse(fault.status, words), limit)


async def _answer(request: web.Request, handler: Handler, account: Account, call: Call) -> web.Response:
    limit = None
    try:
        await _remember_body(request, call)
        key = _key(request, account)
        path = _template(request)
        limit = _limit(account, key, request.method, path)
        if limit and limit.count > limit.limit:
            raise refuse(429, TOO_MANY)
        needed = NEEDED.get((request.method, path), ())
        if needed and not account.keys[key].intersection(needed):
            raise refuse(403, "access forbidden")
        request["scopes"] = account.keys[key]
        _check_request(request, path)
        response = await handler(request)
        _check_answer(request.method, path, response)
    except Refusal as refusal:
        return _refused(refusal, limit)
    except web.HTTPRequestEntityTooLarge:
        return _refused(refuse(413, "The request is too large."), limit)
    _tell(response, limit)
    return response


def _key(request: web.Request, account: Account) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise refuse(401, "authorization required")
    if key not in account.keys:
        raise refuse(401, "The provided authorization grant is invalid, expired, or revoked")
    return key


def _template(request: web.Request) -> str:
    """Return the path with the names of its parameters, such as `/v3/asm/groups/{id}`."""
    info = request.match_info
    if info.http_exception is not None:
        raise refuse(info.http_exception.status, str(info.http_exception.reason).lower())
    return info.route.resource.canonical


def _limit(account: Account, key: str, method: str, path: str) -> Window | None:
    """Count the call and return the window of its limit. Sending has no limit."""
    if path == "/v3/mail/send":
        return None
    if path.startswith("/v3/messages"):
        return account.count((key, "/v3/messages"), ACTIVITY_LIMIT)
    return account.count((key, method, path), ERASURE_LIMIT if path == "/v3/recipients/erasejob" else LIMIT)


async def _remember_body(request: web.Request, call: Call) -> None:
    raw = await request.read()
    try:
        request["body"] = json.loads(raw) if raw else None
    except (ValueError, RecursionError):
        return
    if len(raw) <= MAX_KEPT_BODY:
        call.body = request["body"]


def _check_request(request: web.Request, path: str) -> None:
    """Refuse a request that the description does not allow."""
    if "body" not in request:
        raise refuse(400, "Bad Request: the body is not JSON")
    operation = operations()[request.method, path]
    error = operation.query_error(request.query)
    if not error and request["body"] is not None:
        error = operation.body_error(request["body"])
    elif not error and request.method in ("POST", "PATCH"):
        error = "", "a body is required"
    if error:
        raise refuse(400, error[1], error[0] or None)


def _check_answer(method: str, path: str, response: web.Response) -> None:
    """Answer 500 in place of an answer that SendGrid would not give, so that a mistake of ours does not stay unseen."""
    body = json.loads(response.body) if response.body else None
    error = operations()[method, path].answer_error(response.status, body)
    if error:
        raise refuse(500, f"sandbox: the answer of {method} {path} deviates from the description: {error}")


def _refused(refusal: Refusal, limit: Window | None) -> web.Response:
    response = web.json_response(refusal.body, status=refusal.status)
    _tell(response, limit)
    return response


def _tell(response: web.Response, limit: Window | None) -> None:
    if limit:
        response.headers["X-RateLimit-Limit"] = str(limit.limit)
        response.headers["X-RateLimit-Remaining"] = str(max(limit.limit - limit.count, 0))
        response.headers["X-RateLimit-Reset"] = str(limit.reset)
