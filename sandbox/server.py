"""Starts and stops the SMTP server and the HTTP server in one event loop."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import api, control, inbox, keys, relay, tracking
from sandbox.service import Sandbox
from sandbox.site import SANDBOX
from sandbox.v3 import (
    email_activity,
    erasure,
    groups,
    logs,
    mail_send,
    scopes,
    suppressions,
    tracking_settings,
    webhooks,
)
from sandbox.v3.gate import gate
from sandbox.webhooks import Webhooks

V3 = (scopes, webhooks, tracking_settings, suppressions, groups, mail_send, logs, email_activity, erasure)
ROOMS = (tracking, api, control, inbox, *V3)
"""The modules with `routes`."""
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Settings:
    """The options of the command line."""

    host: str
    smtp_port: int
    http_port: int
    api_key: str
    key: ec.EllipticCurvePrivateKey
    webhook_url: str | None
    connected: bool
    flush_seconds: float


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Print one line when both servers listen."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sandbox = Sandbox(settings.api_key, keys.public_text(settings.key))
    sandbox.webhooks = Webhooks(settings.key, settings.webhook_url, settings.flush_seconds, sandbox.changed)
    if settings.connected:
        sandbox.webhooks.connect()
    runner = web.AppRunner(web_site(sandbox), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.http_port).start()
        sandbox.base_url = f"http://{_reachable(settings.host)}:{runner.addresses[0][1]}"
        smtp = await relay.listen(sandbox, settings.host, settings.smtp_port)
        sandbox.smtp_address = f"{_reachable(settings.host)}:{smtp.sockets[0].getsockname()[1]}"
        print(f"sandbox ready: smtp {sandbox.smtp_address} http {sandbox.base_url}", flush=True)
        await stop.wait()
        smtp.close()
    finally:
        await sandbox.webhooks.close()
        await runner.cleanup()


def web_site(sandbox: Sandbox) -> web.Application:
    """Return the web site with the inbox, both APIs and the addresses that recipients open."""
    app = web.Application(client_max_size=64 * 1024 * 1024, middlewares=[gate])
    app[SANDBOX] = sandbox
    for room in ROOMS:
        app.add_routes(room.routes)
    app.router.add_static("/static/", STATIC)
    return app


def _reachable(host: str) -> str:
    """Return an address for `host` that a browser on this machine can open."""
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
