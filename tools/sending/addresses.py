"""The addresses of a message, as SendGrid takes them by SMTP as well as by the Web API: in ASCII."""

import re
from collections.abc import Iterable
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy
from typing import Any

from ..address_form import DOTS, comparable
from .errors import RecipientError

# This finds addresses in a header that is not well-formed.
ADDRESS = re.compile(r'[^\s"<>,@]+@[^\s"<>,]+')
SHOWING = ("From", "Sender", "To", "Cc", "Reply-To", "Disposition-Notification-To")
ODD = re.compile(r"[^\x00-\x7f][^\s<>,;\"]*@|@[^\s<>,;\"]*[^\x00-\x7f]")
# The most characters (RFC 5321, 4.5.3.1; RFC 1035, 2.3.4).
MAX_LOCAL = 64
MAX_DOMAIN = 253
# Words with dots between them (RFC 5322, 3.2.3).
LOCAL = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
LABEL = re.compile(r"[\w-]{1,63}", re.ASCII)


def get_addresses(message: EmailMessage, header_name: str) -> tuple[Address, ...]:
    """Return the addresses that a header shows, as far as they can be read."""
    return _parse(message, header_name).addresses


def get_names(message: EmailMessage, header_name: str) -> dict[str, str]:
    """Return the names that a header shows, by comparable address."""
    header, names = _parse(message, header_name), {}
    for address in header.addresses:
        names.setdefault(comparable(address.addr_spec), address.display_name)
    # In a header that is well-formed, what else looks like an address is a part of somebody's name.
    for address in ADDRESS.findall(header) if header.defects else ():
        names.setdefault(comparable(address), "")
    return names


def _parse(message: EmailMessage, header_name: str) -> Any:
    # The header is parsed again: one that was set to a list of texts, as Odoo does, gives these back as its addresses.
    # It is read as a To, since Python does not know each of these headers as one with addresses.
    # A module may have built the message by Python's old policy, which reads no addresses.
    policy = message.policy if isinstance(message.policy, EmailPolicy) else SMTP
    return policy.header_factory("To", str(message[header_name] or ""))


def on_one_line(value: Any) -> Any:
    """Return what a header is set to, a text or a list of texts, without line breaks.

    Names bring them along. In a list they would end the header, and in a text they would cost everybody the mail.
    """
    if isinstance(value, list):
        return [on_one_line(text) for text in value]
    if not isinstance(value, str) or value.isprintable():  # a line break is not
        return value
    return " ".join(value.splitlines())


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


class AddressLines(str):
    """A header with several addresses, which folds itself: between the addresses, and each by itself.

    Python without the fix of CVE-2025-1795 encodes commas between the addresses like the words of a name, if one of the
    names is not ASCII: mail programs then show fewer recipients than there are. ``email.policy`` leaves the folding to
    values that have a ``name`` and a ``fold``.
    """

    name: str
    addresses: tuple[Address, ...]

    def fold(self, *, policy: EmailPolicy) -> str:
        """Return the header as it stands on the wire, lines ended by ``policy.linesep``."""
        headers = [policy.header_factory("To", str(address)).fold(policy=policy) for address in self.addresses]
        lines = f",{policy.linesep} ".join(header.partition(":")[2].strip() for header in headers)
        return f"{self.name}: {lines}{policy.linesep}"


def write_in_lines(message: EmailMessage) -> None:
    """Let headers with several addresses fold themselves, see `AddressLines`, where Python may lose an address."""
    if not isinstance(message.policy, EmailPolicy):
        return
    # Reading the headers one by one would take longer.
    for name, text in list(message.raw_items()):
        # Python decodes what looks like an encoded word, and then folds it as it folds letters that are not ASCII.
        is_plain = text.isascii() and "=?" not in text
        if name not in ("To", "Cc", "Reply-To") or is_plain or "," not in text:
            continue
        header = _parse(message, name)
        is_read = header.addresses and all(address.username and address.domain for address in header.addresses)
        # Of a header that is not well-formed, Python may have read only some of the addresses.
        if is_read and (not header.defects or len(header.addresses) == len(ADDRESS.findall(text))):
            lines = AddressLines(text)
            lines.name, lines.addresses = name, header.addresses
            message.replace_header(name, lines)


def to_ascii(address: str) -> str:
    """Return an address with the domain as DNS knows it, and otherwise as it is."""
    local, at, domain = address.rpartition("@")
    return address if domain.isascii() else local + at + comparable(address).rpartition("@")[2]


def find_impossible(addresses: Iterable[str]) -> dict[str, RecipientError]:
    """Return the addresses that SendGrid surely does not deliver to, with the reason.

    By SMTP, SendGrid would take some of them and drop the mail later, and refuse others together with all recipients of
    the message. The Web API would refuse the whole message. What is not sure is left to SendGrid. Surely it sends
    neither to an address with a dot at the wrong place, although some Japanese providers have these, nor to the number
    of a host (support.sendgrid.kke.co.jp, article 360000019762).
    """
    errors = {address: _get_error(address) for address in addresses}
    return {address: error for address, error in errors.items() if error}


def _get_error(address: str) -> RecipientError | None:
    local, _at, domain = address.rpartition("@")
    # SendGrid has no SMTPUTF8, and the Web API drops such a mail as "Invalid" (sendgrid/sendgrid-csharp, issue 656).
    if not local.isascii():
        return RecipientError("recipient_not_ascii", address=address)
    is_quoted = local.startswith('"') and local.endswith('"') and len(local) > 2
    if not local or len(local) > MAX_LOCAL or ("@" in local and not is_quoted) or len(domain) > MAX_DOMAIN:
        return RecipientError("malformed_recipient", address=address)
    is_number = domain.startswith("[")
    if not is_number and not all(map(LABEL.fullmatch, DOTS.split(domain))):
        return RecipientError("malformed_recipient", address=address)
    if is_number or not (is_quoted or LOCAL.fullmatch(local)):
        return RecipientError("unserved_recipient", address=address)
    return None
