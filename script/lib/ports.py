"""The demo's addresses, each of which an environment variable can move."""

import os

from . import process, say


def odoo():
    """Odoo's HTTP port."""
    return _port("ODOO_PORT", 8069)


def smtp():
    """The local SendGrid's SMTP relay."""
    return _port("SANDBOX_SMTP_PORT", 2525)


def inbox():
    """The local SendGrid's inbox page and API."""
    return _port("SANDBOX_HTTP_PORT", 8025)


def require_free():
    """Complain if one of them is taken."""
    process.require_port(odoo(), "Odoo", "ODOO_PORT")
    process.require_port(smtp(), "the local SendGrid's SMTP relay", "SANDBOX_SMTP_PORT")
    process.require_port(inbox(), "the local SendGrid's inbox", "SANDBOX_HTTP_PORT")


def _port(variable, default):
    try:
        return int(os.environ.get(variable) or default)
    except ValueError:
        raise say.Problem(f"{variable} is not a port number: {os.environ[variable]}") from None
