"""What a URL of somebody else's may look like, and what the tenant allows beside public hosts.

A URL is taken only in the plain form that every parser reads alike: no user, no fragment, no other spelling of an address.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from .addresses import NEVER, Address, Network, is_in, is_public

MAX_LENGTH = 2048
PUBLIC_PORTS = frozenset({443})
"""The NetworkPolicies let tenants' pods reach no other port of the world on their own account."""
DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = r"[a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?"
_URL = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
    r"(?P<rest>[/?][-._~!$&'()*+,;=:@/?%a-zA-Z0-9]*)?",
    re.ASCII,
)
_LOOKS_LIKE_A_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""A host whose last part is one is taken for an IPv4 address by browsers and resolvers: `127.1`, `0x7f.1`, `2130706433`."""


class TargetRefused(ValueError):
    """A URL leads where it must not; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads."""

    url: str
    scheme: str
    host: str
    """A name or an address, in lower case, without brackets."""
    port: int
    address: Address | None
    """Where the host is an address."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where the tenant's runtime may connect to."""

    hosts: frozenset[str] = frozenset()
    """Names, in lower case, that may lead to addresses that are not public, and there by http, and at any port."""
    networks: Sequence[Network] = ()
    """Addresses that may be reached, public or not, by http, and at any port."""
    public_ports: frozenset[int] = PUBLIC_PORTS
    plain_ports: frozenset[int] = frozenset()
    """Ports at which public addresses may be reached by http."""
    never: Sequence[Network] = NEVER
    """What nothing allows."""

    @classmethod
    def of(cls, hosts: Sequence[str], networks: Sequence[str]) -> "EgressPolicy":
        """The policy of a published Tenant."""
        return cls(
            frozenset(host.lower() for host in hosts), tuple(ip_network(text, strict=False) for text in networks)
        )

    def for_reading(self, urls: Iterable[str]) -> "EgressPolicy":
        """The policy for reading what a resource of the tenant names: public addresses at the ports of these URLs, too, and by http
        where they say so. The NetworkPolicy of those who read opens the same. What is no URL opens nothing."""
        ways = {(target.scheme, target.port) for target in _parse_targets(urls)}
        return replace(
            self,
            public_ports=self.public_ports | {port for scheme, port in ways if scheme == "https"},
            plain_ports=self.plain_ports | {port for scheme, port in ways if scheme == "http"},
        )

    def allows_host(self, host: str) -> bool:
        """Whether the tenant has named the host."""
        return host in self.hosts

    def check_url(self, url: str) -> Target:
        """Where the URL leads, if that can be allowed at all; a name's addresses are checked when it is connected to.

        Raises:
            TargetRefused: It cannot.
        """
        target = parse_target(url)
        if target.address is not None:
            self.check_address(target, target.address)
        elif target.host not in self.hosts and not self.networks:
            self._check_way(target)
        return target

    def check_address(self, target: Target, address: Address) -> None:
        """Return if the target may be reached at the address.

        Raises:
            TargetRefused: It may not.
        """
        is_local = isinstance(address, IPv6Address) and address.scope_id is not None
        if is_local or is_in(address, self.never):
            raise TargetRefused("the host leads to an address that nobody may reach through a URL")
        if is_in(address, self.networks):
            return
        if not is_public(address):
            if target.host in self.hosts:
                return
            raise TargetRefused(
                "the host leads to an address that is not public, and the Tenant's spec.egress does not name it"
            )
        self._check_way(target)

    def _check_way(self, target: Target) -> None:
        if target.port in (self.public_ports if target.scheme == "https" else self.plain_ports):
            return
        ways = ", ".join(
            f"{scheme} at port {port}"
            for scheme, ports in (("https", self.public_ports), ("http", self.plain_ports))
            for port in sorted(ports)
        )
        raise TargetRefused(
            f"public addresses are reached by {ways} alone; spec.egress.networks of the Tenant names others"
        )


def parse_target(url: str) -> Target:
    """Where a URL leads.

    Raises:
        TargetRefused: It is not in the plain form.
    """
    found = _URL.fullmatch(url) if len(url) <= MAX_LENGTH else None
    if found is None:
        raise TargetRefused(
            "must be a URL such as https://hooks.acme.example/syntera: a host in lower case, at most a port, a path and a"
            " query, and nothing else"
        )
    host = found["host"].strip("[]")
    scheme, port = found["scheme"], int(found["port"] or DEFAULT_PORTS[found["scheme"]])
    if port > 65535 or len(host) > 253:
        raise TargetRefused("the port is at most 65535, and the host has at most 253 characters")
    return Target(url, scheme, host, port, _read_address(host, is_bracketed=found["host"].startswith("[")))


def _parse_targets(urls: Iterable[str]) -> Iterator[Target]:
    for url in urls:
        with suppress(TargetRefused):
            yield parse_target(url)


def _read_address(host: str, *, is_bracketed: bool) -> Address | None:
    is_numeric = _LOOKS_LIKE_A_NUMBER.fullmatch(host.rpartition(".")[2]) is not None
    if not is_bracketed and not is_numeric:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        raise TargetRefused("the host is no address in its usual spelling, and no name") from None
    if isinstance(address, IPv6Address if not is_bracketed else IPv4Address):
        raise TargetRefused("an IPv6 address stands in brackets, an IPv4 address does not")
    return address
