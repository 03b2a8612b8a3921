"""Odoo hands a message to a mail server's session; a `WatchedSession` stands before it and sees what really leaves."""

import smtplib
import traceback
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

# A header with this in its name tells who is Bcc. Modules that send a mail to each recipient by itself note it there.
SECRET_NAME = "bcc"


class WatchedSession:
    """A session (`smtplib.SMTP` or an `ApiSession`) whose messages a function hands over.

    Modules change the envelope as late as in their override of core's last method before the session. Here nothing
    changes any more.
    """

    def __init__(self, session: Any, send: Callable[..., dict]) -> None:
        """:param send: does what ``send_message`` does; it takes the session and the arguments of that"""
        self._session = session
        self._send = send

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send_message(self, message: EmailMessage, *args: Any, **options: Any) -> dict:
        """Send a message; see `smtplib.SMTP.send_message`.

        :return: {address: (code, words)} of the recipients that the server refused
        """
        return self._send(self._session, message, *args, **options)


def hide_bcc(message: EmailMessage) -> None:
    """Take all headers out of a message that tell who is Bcc."""
    for name in {name for name in message.keys() if SECRET_NAME in name.lower()}:
        del message[name]


def is_before_data(error: smtplib.SMTPServerDisconnected) -> bool:
    """Tell whether the connection surely was lost before a message's text was sent: then the server has nothing of it.

    What `smtplib` was doing tells it. A session of another kind may have handed the message over.
    """
    doing = {frame.f_code for frame, _line in traceback.walk_tb(error.__traceback__)}
    return smtplib.SMTP.sendmail.__code__ in doing and smtplib.SMTP.data.__code__ not in doing


def read_answer(answer: tuple[int, bytes | str]) -> str:
    """Return a server's answer, its code and its words as `smtplib` gives them, in one text."""
    code, words = answer
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return f"{code} {text}".strip()
