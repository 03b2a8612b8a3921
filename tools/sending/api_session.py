"""Odoo takes an `ApiSession` for an SMTP connection; it sends by SendGrid's Web API."""

import math
from email.message import EmailMessage
from functools import cached_property
from typing import Literal

from ..api import tracking_settings
from ..api.client import ApiError, Client
from . import v3_mail

TIMEOUT = 60  # seconds without a word, as Odoo waits for a mail server
# After so many failures of a kind in a row the next message would only wait for the same: it fails at once.
HOPELESS_AFTER = {"key": 1, "credits": 1, "unreachable": 1, "timeout": 3}


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

    def send_message(self, message: EmailMessage, smtp_from: str, smtp_to_list: list[str]) -> dict:
        """Send a message, once: whether one that got no answer was taken, nobody knows.

        ``smtp_from`` is where bounces would go; SendGrid puts its own address there, as it does with SMTP.

        :raise tools.sending.v3_mail.V3MailError: it does not fit the Web API; nothing was sent
        :raise tools.api.client.ApiError: SendGrid refused it, or cannot be reached
        """
        self.sg_message_id = None
        if self._failures and len(self._failures) >= HOPELESS_AFTER.get(self._failures[-1].kind, math.inf):
            # This message surely was not sent, so it must not be said that it may have been.
            raise ApiError("unreachable") if self._failures[-1].kind == "timeout" else self._failures[-1]
        payload = v3_mail.build(message, smtp_to_list, lambda: self._is_click_tracked)
        try:
            answer = self._client.call("post", ("mail", "send"), body=payload, timeout=TIMEOUT, changes=False)
        except ApiError as error:
            self._failures = [one for one in self._failures if one.kind == error.kind] + [error]
            raise
        self._failures = []
        self.sg_message_id = answer.headers.get("x-message-id") or None
        return {}

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
