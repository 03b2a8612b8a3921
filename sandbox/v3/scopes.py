"""The call that tells what a key may do."""

from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/v3/scopes")
async def scopes(request: web.Request) -> web.Response:
    return web.json_response({"scopes": sorted(request["scopes"])})
