"""The SMTP relay: user `apikey`, password the first API key.

Its answer names the id (Twilio docs: SMTP integration).
"""

import asyncio
import logging
import warnings

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.service import Sandbox

MAX_MESSAGE_BYTES = 30 * 1024 * 1024

logging.getLogger("mail.log").setLevel(logging.ERROR)  # it warns of AUTH without TLS at every connection
warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS", category=UserWarning)


class _Protocol(SMTP):
    line_length_limit = MAX_MESSAGE_BYTES
    """RFC 5322 forbids longer lines, but SendGrid takes them."""


class _Handler:
    def __init__(self, sandbox: Sandbox):
        self.sandbox = sandbox

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 (aiosmtpd)
        recipients = [_encodable(address) for address in envelope.rcpt_tos]
        message = self.sandbox.accept(envelope.content or b"", recipients, _encodable(envelope.mail_from or ""))
        return f"250 Ok: queued as {message.id}"


def _encodable(address: str) -> str:
    return address.encode("utf-8", "replace").decode()


async def listen(sandbox: Sandbox, host: str, port: int) -> asyncio.Server:
    """Start the relay in the running event loop and return its server."""

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, credentials: object
    ) -> AuthResult:
        good = (
            isinstance(credentials, LoginPassword)
            and credentials.login == b"apikey"
            and "mail.send" in sandbox.account.keys.get(credentials.password.decode("utf-8", "replace"), ())
        )
        return AuthResult(success=good, handled=False)

    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: _Protocol(
            _Handler(sandbox),
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="SendGrid sandbox",
            auth_required=True,
            auth_require_tls=False,
            authenticator=authenticate,
            loop=loop,
        ),
        host,
        port,
    )
