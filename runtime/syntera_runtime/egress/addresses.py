"""Which addresses a URL of somebody else's may lead to: public ones, and those that the tenant allows.

The operator's NetworkPolicies refuse the same addresses in the network; a test holds the two lists together.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


NEVER = _networks(
    "0.0.0.0/8",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "fd00:ec2::/32",
    "100.100.100.200/32",
)
"""Refused whatever the tenant allows: this network, loopback, Azure's host agent, link-local with the metadata services of
most clouds, multicast, reserved, IPv4 in an outdated form, site-local, the metadata services of AWS and Alibaba."""

NOT_PUBLIC = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
)
"""Refused unless the tenant allows it: private, shared (carrier-grade NAT), protocol assignments (Teredo among them),
documentation, 6to4 and its relays, benchmarks, local translation to IPv4, discard, segment routing, unique local.
`ipaddress` knows most of these, but what it knows differs between the releases of Python."""

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""The last 32 bits are an IPv4 address, to which a gateway of the network translates."""


def unwrap(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether the whole world can reach the address, and whoever has it is one host."""
    real = unwrap(address)
    return real.is_global and not real.is_multicast and not real.is_reserved and not is_in(real, (*NEVER, *NOT_PUBLIC))


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address belongs to one of the networks."""
    real = unwrap(address)
    return any(network.version == real.version and real in network for network in networks)
