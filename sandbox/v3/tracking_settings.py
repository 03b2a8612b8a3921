"""The account's tracking settings, which hold for a message that does not set them itself."""

from aiohttp import web

from sandbox.account import Account
from sandbox.site import SANDBOX

_TITLES = {"open": "Open Tracking", "click": "Click Tracking", "subscription": "Subscription Tracking"}
_SUBSCRIPTION = {
    "enabled": "subscription",
    "html_content": "subscription_html",
    "plain_content": "subscription_text",
    "replace": "subscription_tag",
}
"""The name in `smtpapi.Options` of each setting of the API."""

routes = web.RouteTableDef()


def _account(request: web.Request) -> Account:
    return request.app[SANDBOX].account


@routes.get("/v3/tracking_settings")
async def get_all(request: web.Request) -> web.Response:
    tracking = _account(request).tracking
    settings = [
        {"name": name, "title": title, "description": "", "enabled": getattr(tracking, name)}
        for name, title in _TITLES.items()
    ]
    return web.json_response({"result": settings})


@routes.get("/v3/tracking_settings/click")
async def get_click(request: web.Request) -> web.Response:
    tracking = _account(request).tracking
    return web.json_response({"enabled": tracking.click, "enable_text": tracking.click_text})


@routes.patch("/v3/tracking_settings/click")
async def set_click(request: web.Request) -> web.Response:
    _account(request).track(click=request["body"].get("enabled", _account(request).tracking.click))
    return await get_click(request)


@routes.get("/v3/tracking_settings/open")
async def get_open(request: web.Request) -> web.Response:
    return web.json_response({"enabled": _account(request).tracking.open})


@routes.patch("/v3/tracking_settings/open")
async def set_open(request: web.Request) -> web.Response:
    _account(request).track(open=request["body"].get("enabled", _account(request).tracking.open))
    return await get_open(request)


@routes.get("/v3/tracking_settings/subscription")
async def get_subscription(request: web.Request) -> web.Response:
    account = _account(request)
    shown = {name: getattr(account.tracking, option) for name, option in _SUBSCRIPTION.items()}
    return web.json_response(shown | account.landing)


@routes.patch("/v3/tracking_settings/subscription")
async def set_subscription(request: web.Request) -> web.Response:
    account, body = _account(request), request["body"]
    account.track(**{option: body[name] for name, option in _SUBSCRIPTION.items() if name in body})
    account.landing |= {name: body[name] for name in account.landing if name in body}
    return await get_subscription(request)
