"""Odoo takes an `ApiSession` for an SMTP connection; it sends by SendGrid's Web API."""

import math
import smtplib
from collections.abc import Sequence
from email.message import EmailMessage
from functools import cached_property
from typing import Literal

from ..api import tracking_settings
from ..api.client import ApiError, Client
from . import v3_mail
from .errors import AllRefusedError
from .watched_session import hide_bcc, read_envelope

TIMEOUT = 60  # seconds without a word, as Odoo waits for a mail server
MOST_TRIES = 10  # if SendGrid names one malformed address at a time
REFUSED = 553  # SMTP's "mailbox name not allowed" (RFC 5321, 4.2.3)
# After so many failures of a kind in a row the next message would only wait for the same: it fails at once.
HOPELESS_AFTER = {"key": 1, "credits": 1, "unreachable": 1, "timeout": 3}


class NothingHandedOver(smtplib.SMTPServerDisconnected):
    """SendGrid cannot be reached, hung up, or takes no more calls for a while: it surely has nothing of the message.
    ``error`` tells why.

    Odoo leaves mails in the queue if an SMTP server disconnects, and would not try those again that fail otherwise.
    """

    def __init__(self, error: ApiError | smtplib.SMTPServerDisconnected) -> None:
        super().__init__(str(error))
        self.error = error


class ApiSession:
    """A stand-in for `smtplib.SMTP`, as far as `ir.mail_server` and `mail.mail` use a connection."""

    def __init__(
        self, client: Client, from_filter: str | Literal[False] = False, smtp_from: str | Literal[False] = False
    ) -> None:
        """:param from_filter: the mail server's, which decides on the From header
        :param smtp_from: the sender for whom the mail server was chosen
        """
        self._client = client
        self._failures = []
        self.from_filter = from_filter
        self.smtp_from = smtp_from
        self.sg_message_id = None
        """SendGrid's id of the message sent last."""

    def send_message(
        self,
        msg: EmailMessage,
        from_addr: str | None = None,
        to_addrs: Sequence[str] | str | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict:
        """Send a message, once: whether one that got no answer was taken, nobody knows.

        SendGrid refuses the whole message for one malformed address. It names the address, so that the others get the
        message without it, as by SMTP.

        The parameters have the names of those of `smtplib.SMTP.send_message`. ``from_addr`` is where bounces would go;
        SendGrid puts its own address there, as it does with SMTP. The options are SMTP's.

        :raise tools.sending.v3_mail.V3MailError: it does not fit the Web API; nothing was sent
        :raise tools.api.client.ApiError: SendGrid refused it, or it is not known whether SendGrid has it
        :raise NothingHandedOver: SendGrid cannot be reached, or takes no more calls; it surely does not have it
        :raise tools.sending.errors.AllRefusedError: it refused each address
        :return: {address that SendGrid refused: (code, words as bytes)}, as `smtplib` does
        """
        self.sg_message_id = None
        _from_addr, recipients = read_envelope(msg, from_addr, to_addrs)
        refused = {}
        hide_bcc(msg)
        if self._failures and len(self._failures) >= HOPELESS_AFTER.get(self._failures[-1].kind, math.inf):
            # This message surely was not sent, so it must not be said that it may have been.
            last = self._failures[-1]
            if last.kind in ("timeout", "unreachable"):
                raise NothingHandedOver(last if last.kind == "unreachable" else ApiError("unreachable"))
            raise last
        for attempt in range(1, MOST_TRIES + 1):
            payload = v3_mail.build(msg, recipients, lambda: self._is_click_tracked)
            try:
                answer = self._client.call("post", ("mail", "send"), body=payload, timeout=TIMEOUT, changes=False)
                break
            except ApiError as error:
                named = v3_mail.find_refused(payload, error.errors) if error.kind == "refused" else {}
                if not named or attempt == MOST_TRIES:
                    self._failures = [one for one in self._failures if one.kind == error.kind] + [error]
                    if error.kind in ("unreachable", "limit"):
                        raise NothingHandedOver(error) from error
                    raise
            refused |= {address: (REFUSED, words.encode()) for address, words in named.items()}
            keys = {address.lower() for address in named}
            recipients = [address for address in recipients if address.lower() not in keys]
            if not recipients:
                raise AllRefusedError(refused)
        self._failures = []
        self.sg_message_id = answer.headers.get("x-message-id") or None
        return refused

    @cached_property
    def _is_click_tracked(self) -> bool:
        """Tell whether the account follows clicks, where a message leaves that to it."""
        try:
            return tracking_settings.is_on(self._client, "click")
        except ApiError:
            # The API key may not read it. Better that clicks are not followed than followed against somebody's will.
            return False

    def quit(self) -> None:
        """Do nothing: each message has a connection of its own."""

    close = quit
