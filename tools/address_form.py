"""An e-mail address has one form in which it is stored and compared, whoever spells it.

It is that of Odoo's `email_normalize`, but with the domain as DNS knows it: Odoo keeps the domain `bücher.example` as
somebody typed it, while mail servers and SendGrid say `xn--bcher-kva.example`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import idna

# These end a label too (RFC 3490, 3.1).
DOTS = re.compile("[.\u3002\uff0e\uff61]")
MAX_LABEL = 63  # characters (RFC 1035, 2.3.4)
ENCODED = re.compile(r"(?:^|\.)xn--", re.IGNORECASE)


def comparable(address: str) -> str:
    """Return the form in which an address is stored and compared. It never raises: what is no domain stays as it is.

    Letters before the @ that are not ASCII keep their case, as in Odoo: to the few servers that know such letters, it
    may make a difference.

    :param address: one address, without a name
    """
    if address.isascii():
        return address.lower()
    local, at, domain = address.rpartition("@")
    if not at:
        return address.lower()
    return (local.lower() if local.isascii() else local) + at + _encode(domain.lower())


def spellings(address: str) -> list[str]:
    """Return the forms of an address that Odoo may have stored in `email_normalized`: the comparable one comes first.

    There are two if its domain has a spelling with other letters than those of ASCII.

    :param address: one address in any form
    """
    encoded = comparable(address)
    local, at, domain = encoded.rpartition("@")
    decoded = local + at + (_decode(domain) if ENCODED.search(domain) else domain)
    return [encoded] if decoded == encoded else [encoded, decoded]


def all_spellings(addresses: Iterable[str]) -> list[str]:
    """Return the forms of several addresses, each once, to look for them in `email_normalized`."""
    return list(dict.fromkeys(spelling for address in addresses for spelling in spellings(address)))


@lru_cache(4096)
def _encode(domain: str) -> str:
    return ".".join(label if label.isascii() else _encode_label(label) for label in DOTS.split(domain))


def _encode_label(label: str) -> str:
    if len(label) > MAX_LABEL:
        return label
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except (ValueError, IndexError):  # the former is a base of `idna.IDNAError`; old versions stumble over odd labels
        return label


@lru_cache(4096)
def _decode(domain: str) -> str:
    return ".".join(map(_decode_label, domain.split(".")))


def _decode_label(label: str) -> str:
    if not label.startswith("xn--") or len(label) > MAX_LABEL:
        return label
    try:
        decoded = idna.decode(label)
    except (ValueError, IndexError):
        return label
    # A spelling that leads elsewhere is another address's.
    return decoded if _encode_label(decoded) == label else label
