"""The demo's ports. An environment variable can move each of them."""

import os

from . import process, say

ODOO = ("ODOO_PORT", 8069)
SMTP = ("SANDBOX_SMTP_PORT", 2525)  # the local SendGrid's relay
INBOX = ("SANDBOX_HTTP_PORT", 8025)  # its inbox page and API


def number(port: tuple[str, int]) -> int:
    """Return the number of one of the ports above."""
    variable, default = port
    value = os.environ.get(variable) or str(default)
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise say.Problem(f"{variable} is not a port number: {value}")
    return int(value)


def require_free() -> None:
    """Raise `say.Problem` if one of the ports is taken."""
    for port in (ODOO, SMTP, INBOX):
        if not process.is_free(number(port)):
            raise say.Problem(f"Port {number(port)} is in use: stop what uses it, or set {port[0]} to another one.")
