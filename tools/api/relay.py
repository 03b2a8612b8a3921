"""This module tries whether SendGrid's SMTP relay takes a login, as the mail servers of Odoo will use it."""

import smtplib
import ssl

TIMEOUT = 10  # seconds without a word


class RelayError(Exception):
    """The relay cannot be used.

    ``kind`` says why: `login` (the user or the password is wrong, or the API key may not send), `unreachable` (no
    connection: often the port is blocked), `refused` (the relay says something else). The words are the relay's own.
    """

    def __init__(self, kind: str, words: str) -> None:
        self.kind = kind
        super().__init__(words)


def try_login(host: str, port: int, user: str, password: str, encryption: str = "starttls") -> None:
    """Log in, and leave again without a message.

    :param str encryption: `starttls`, `ssl` or `none`, perhaps with an ending of Odoo's that has certificates checked
    :raise RelayError: if one of it does not work
    """
    try:
        if encryption.startswith("ssl"):
            connection = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT)
        else:
            connection = smtplib.SMTP(host, port, timeout=TIMEOUT)
        with connection:
            if encryption.startswith("starttls"):
                context = ssl.create_default_context()
                if not encryption.endswith("_strict"):
                    # Odoo checks certificates only where the mail server says so.
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                connection.starttls(context=context)
            connection.login(user, password)
    except smtplib.SMTPAuthenticationError as error:
        raise RelayError("login", _read(error)) from None
    except (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected, TimeoutError) as error:
        raise RelayError("unreachable", _read(error)) from None
    except smtplib.SMTPException as error:
        raise RelayError("refused", _read(error)) from None
    except (OSError, UnicodeError) as error:
        raise RelayError("unreachable", str(error)) from None


def _read(error: Exception) -> str:
    words = getattr(error, "smtp_error", None)
    words = words.decode("utf-8", "replace") if isinstance(words, bytes) else words or str(error)
    return f"{code} {words}" if (code := getattr(error, "smtp_code", None)) else words
