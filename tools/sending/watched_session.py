"""Odoo hands a message to a mail server's session; a `WatchedSession` stands before it and sees what really leaves."""

import smtplib
import traceback
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import getaddresses
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

    def send_message(
        self,
        msg: EmailMessage,
        from_addr: str | None = None,
        to_addrs: Sequence[str] | str | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict:
        """Send a message. The parameters have the names that `smtplib.SMTP.send_message` has for them.

        :return: {address: (code, words)} of the recipients that the server refused
        """
        from_addr, to_addrs = read_envelope(msg, from_addr, to_addrs)
        options = {"mail_options": mail_options, "rcpt_options": rcpt_options}
        # Who stands in for `smtplib` need not know the options.
        options = {name: value for name, value in options.items() if value}
        return self._send(self._session, msg, from_addr, to_addrs, **options)


def read_envelope(
    msg: EmailMessage, from_addr: str | None, to_addrs: Sequence[str] | str | None
) -> tuple[str, list[str]]:
    """Return sender and recipients of a message, which its headers tell where they are not given, as in `smtplib`."""
    if from_addr is None:
        [from_addr, *_others] = _get_addresses(msg, "Sender") or _get_addresses(msg, "From") or [""]
    if to_addrs is None:
        to_addrs = _get_addresses(msg, "To", "Bcc", "Cc")
    return from_addr, [to_addrs] if isinstance(to_addrs, str) else list(to_addrs)


def _get_addresses(msg: EmailMessage, *names: str) -> list[str]:
    headers = [str(header) for name in names for header in msg.get_all(name, ())]
    return [address for _name, address in getaddresses(headers) if address]


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
