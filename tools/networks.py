"""This module reads IP addresses and networks, and compares them. Addresses come from outside and may be anything."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

from .coded_error import CodedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Larger networks belong to whole providers and countries, so that nobody's offices are one.
LARGEST = {4: 8, 6: 19}
# A network of this length is one site. Its devices choose their addresses in it, and change them (RFC 8981).
SITE = 64
# IPv4 addresses within IPv6 begin with so many fixed bits (RFC 4291).
MAPPED = 96


class NetworkError(CodedError):
    """A word that cannot be taken for an office's network."""


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address | None:
    """Return an IP address, or None if the text is none. An IPv4 address within IPv6 is returned as such."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_site(text: str) -> tuple[int, int] | None:
    """Return what the addresses of one site have in common, or None if the text is no IP address.

    A site of IPv4 has one address, which its devices share. A site of IPv6 has a network of its own, of which each
    device uses several addresses at once.
    """
    address = read_address(text)
    if address is None:
        return None
    return address.version, int(address) >> (0 if address.version == 4 else SITE)


def parse(text: str) -> list[Network]:
    """Return the networks that a text lists: in CIDR notation, or as single addresses.

    White space, commas and semicolons separate them.

    An address within a network stands for the network, as in ``203.0.113.7/24``.

    :raise NetworkError: for the first word that is no network, or one that is too large to be an office's
    """
    return [_read_network(word) for word in text.replace(",", " ").replace(";", " ").split()]


def _read_network(word: str) -> Network:
    try:
        network = ipaddress.ip_network(word, strict=False)
    except ValueError:
        raise NetworkError("no_network", word=word) from None
    if network.version == 6 and network.prefixlen >= MAPPED and (mapped := network.network_address.ipv4_mapped):
        network = ipaddress.ip_network((mapped, network.prefixlen - MAPPED))
    if network.prefixlen < LARGEST[network.version]:
        raise NetworkError("too_large", word=word)
    return network


def holds(networks: Iterable[Network], text: str) -> bool:
    """Tell whether one of some networks has an IP address. A text that is no address is in none."""
    address = read_address(text)
    return address is not None and any(address in network for network in networks)
