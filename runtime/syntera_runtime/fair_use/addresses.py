"""Whose address a request comes from. Pure: what proxies say is believed as far as they are trusted, hop by hop."""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](:\d+)?|(?P<v4>\d+\.\d+\.\d+\.\d+):\d+")
_NETWORK_BITS = 64
"""What one customer of a provider has at least: single addresses of it are his to choose."""

_Address = IPv4Address | IPv6Address


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[str]) -> str | None:
    """The address to limit: with IPv6 the network of 64 bits around it. None: the connection has none.

    Args:
        peer: Who opened the connection.
        forwarded: The values of `X-Forwarded-For`, in their order.
        trusted: Ranges of the proxies that may say whom they ask for.
    """
    address = _find(peer, forwarded, trusted)
    return None if address is None else _limited(address)


def exact_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[str]) -> str | None:
    """The address itself, found the same way."""
    address = _find(peer, forwarded, trusted)
    return None if address is None else str(address)


def _find(peer: str | None, forwarded: Sequence[str], trusted: Sequence[str]) -> _Address | None:
    address = _parse(peer or "")
    if address is None:
        return None
    networks = _networks(tuple(trusted))
    hops = [hop for value in forwarded for hop in value.split(",")]
    while hops and _is_trusted(address, networks):
        said = _parse(hops.pop())
        if said is None:
            break
        address = said
    return address


def _parse(text: str) -> _Address | None:
    text = text.strip()
    if found := _WITH_PORT.fullmatch(text):
        text = found["v6"] or found["v4"] or ""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_trusted(address: _Address, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _limited(address: _Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), _NETWORK_BITS), strict=False))


@lru_cache(maxsize=4)
def _networks(ranges: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(one, strict=False) for one in ranges)
