"""The addresses of a message, as SendGrid takes them by SMTP as well as by the Web API: in ASCII."""

import re
from collections.abc import Iterable
from email.headerregistry import Address
from email.message import EmailMessage

from ..address_form import DOTS, comparable
from .errors import RecipientError

SHOWING = ("From", "Sender", "To", "Cc", "Reply-To", "Disposition-Notification-To")
ODD = re.compile(r"[^\x00-\x7f][^\s<>,;\"]*@|@[^\s<>,;\"]*[^\x00-\x7f]")
# The most characters (RFC 5321, 4.5.3.1; RFC 1035, 2.3.4).
MAX_LOCAL = 64
MAX_DOMAIN = 253
MAX_LABEL = 63


def get_addresses(message: EmailMessage, header_name: str) -> tuple[Address, ...]:
    """Return the addresses that a header shows, as far as they can be read."""
    # The header is parsed again: one that was set to a list of texts, as Odoo does, gives these back as its addresses.
    # It is read as a To, since Python does not know each of these headers as one with addresses.
    return message.policy.header_factory("To", str(message[header_name] or "")).addresses


def has_odd_address(message: EmailMessage, header_name: str) -> bool:
    """Tell whether a header may show an address that is not ASCII. Parsing each header to be sure would take long."""
    return bool(ODD.search(str(message[header_name] or "")))


def write_in_ascii(message: EmailMessage) -> None:
    """Write the domains in a message's headers as DNS knows them.

    Python would encode what is not ASCII in an address like the words of a name, which no mail program understands. An
    address with such letters before the @ cannot be written at all: it is left out, but stays if it is the sender's.
    """
    for name in SHOWING:
        if not has_odd_address(message, name):
            continue
        addresses = get_addresses(message, name)
        written = [
            Address(address.display_name, address.username, to_ascii(f"@{address.domain}")[1:])
            for address in addresses
            if address.username.isascii() or name == "From"
        ]
        if written:
            message.replace_header(name, ", ".join(map(str, written)))
        else:
            del message[name]


def to_ascii(address: str) -> str:
    """Return an address with the domain as DNS knows it, and otherwise as it is."""
    local, at, domain = address.rpartition("@")
    return address if domain.isascii() else local + at + comparable(address).rpartition("@")[2]


def find_impossible(addresses: Iterable[str]) -> dict[str, RecipientError]:
    """Return the addresses that surely nobody delivers to, with the reason.

    By SMTP, SendGrid would take some of them and drop the mail later, and refuse others together with all recipients of
    the message. The Web API would refuse the whole message. What is not sure is left to SendGrid.
    """
    errors = {address: _get_error(address) for address in addresses}
    return {address: error for address, error in errors.items() if error}


def _get_error(address: str) -> RecipientError | None:
    local, _at, domain = address.rpartition("@")
    # SendGrid has no SMTPUTF8, and the Web API drops such a mail as "Invalid" (sendgrid/sendgrid-csharp, issue 656).
    if not local.isascii():
        return RecipientError("recipient_not_ascii", address=address)
    is_quoted = local.startswith('"') and local.endswith('"') and len(local) > 2
    if not local or len(local) > MAX_LOCAL or ("@" in local and not is_quoted):
        return RecipientError("malformed_recipient", address=address)
    if domain.startswith("["):
        return None
    labels = DOTS.split(domain)
    if not domain.isascii() or len(domain) > MAX_DOMAIN or not all(0 < len(label) <= MAX_LABEL for label in labels):
        return RecipientError("malformed_recipient", address=address)
    return None
