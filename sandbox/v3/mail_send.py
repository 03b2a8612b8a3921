"""The operation Mail Send."""

from aiohttp import web

from sandbox import compose
from sandbox.site import SANDBOX
from sandbox.v3.refusal import refuse

routes = web.RouteTableDef()


@routes.post("/v3/mail/send")
async def send(request: web.Request) -> web.Response:
    """Answer 202 and one X-Message-Id, however many messages the personalizations make."""
    sandbox, mail = request.app[SANDBOX], request["body"]
    if len(await request.read()) > compose.MAX_BYTES:
        raise refuse(413, "The message exceeds the maximum size of 30MB.")
    try:
        compose.check(mail)
        messages = compose.compose(mail, sandbox.account.tracking)
    except compose.Unacceptable as error:
        raise refuse(400, error.message, error.field) from error
    if mail.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
        return web.Response(status=200)
    message_id = sandbox.accept_mail(messages)
    return web.Response(status=202, headers={"X-Message-Id": message_id})
