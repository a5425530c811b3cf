"""Where a URL leads, in the only terms that a NetworkPolicy knows: a namespace, an address, or anywhere public; and ports.

What must not be reached by *name* is not decided here: a policy sees addresses only.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from syntera_crds.v1alpha1 import Tenant

_MAX_LABEL_LENGTH = 63
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}


@dataclass(frozen=True, slots=True, order=True)
class InNamespace:
    """Pods of one namespace. A Service's port says nothing of its pods' ports, so there is none here."""

    namespace: str


@dataclass(frozen=True, slots=True, order=True)
class AtAddress:
    """One address, given as such."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, order=True)
class InPublic:
    """A host name that is not the cluster's: any address that is not private."""

    port: int


@dataclass(frozen=True, slots=True, order=True)
class InRange:
    """Any address of a range, at any port."""

    cidr: str


Destination = InNamespace | AtAddress | InPublic | InRange

NEVER = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "fd00:ec2::/32",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""What nobody reaches by a range that contains it: the same that the runtime refuses, and a test holds the two together."""


def list_urls(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Every URL that the tenant's runtime connects to, with its field."""
    yield from list_service_urls(tenant)
    for index, issuer in enumerate(tenant.spec.auth.issuers):
        yield f"spec.auth.issuers[{index}].jwksURL", issuer.jwks_url
    if tenant.spec.auth.challenge is not None:
        yield "spec.auth.challenge.verifyURL", tenant.spec.auth.challenge.verify_url


def list_service_urls(tenant: Tenant) -> Iterator[tuple[str, str]]:
    """Those of services that syncs use as well: models, files and vectors. Of an endpoint behind a proxy only the proxy's."""
    for index, endpoint in enumerate(tenant.spec.models):
        field, url = ("baseURL", endpoint.base_url) if endpoint.proxy_url is None else ("proxyURL", endpoint.proxy_url)
        yield f"spec.models[{index}].{field}", url
    if tenant.spec.files.s3 is not None:
        yield "spec.files.s3.endpointURL", tenant.spec.files.s3.endpoint_url
    if tenant.spec.stores.vectors.pinecone is not None:
        yield "spec.stores.vectors.pinecone.indexHost", tenant.spec.stores.vectors.pinecone.index_host


def list_egress(tenant: Tenant) -> Iterator[tuple[str, Destination]]:
    """Where URLs may lead that are given through the API, such as those of webhooks, with the fields that say so.

    Raises:
        ValueError: a field, named first, allows what nobody may reach.
    """
    yield "spec.egress", InPublic(_DEFAULT_PORTS["https"])
    for index, host in enumerate(tenant.spec.egress.hosts):
        field = f"spec.egress.hosts[{index}]"
        try:
            yield field, destination_of(f"https://{host}", own_namespace=tenant.namespace)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
    yield from list_egress_networks(tenant)


def list_egress_networks(tenant: Tenant) -> Iterator[tuple[str, InRange]]:
    """The ranges among these, where hosts with any name may be.

    Raises:
        ValueError: a field, named first, allows what nobody may reach.
    """
    for index, cidr in enumerate(tenant.spec.egress.networks):
        network = ip_network(cidr, strict=False)
        if any(_is_within(network, never) for never in NEVER):
            raise ValueError(f"spec.egress.networks[{index}]: {network} holds no server's address that may be reached")
        yield f"spec.egress.networks[{index}]", InRange(str(network))


def list_public_web() -> Iterator[Destination]:
    """Where pages are that anybody can read."""
    yield from map(InPublic, (_DEFAULT_PORTS["http"], _DEFAULT_PORTS["https"]))


def is_allowed(url: str, tenant: Tenant) -> bool:
    """Whether a URL that stands in an object of the tenant's namespace leads somewhere public, or where the Tenant, which belongs
    to the platform, lets it lead.

    Raises:
        ValueError: nothing of the cluster's network can lead there.
    """
    destination = destination_of(url, own_namespace=tenant.namespace)
    if isinstance(destination, InPublic):
        return True
    host = (urlsplit(url).hostname or "").removesuffix(".")
    own = (urlsplit(one).hostname for _, one in list_urls(tenant))
    if host in tenant.spec.egress.hosts or host in own:
        return True
    if not isinstance(destination, AtAddress):
        return False
    address = ip_address(destination.address)
    if any(address in never for never in NEVER):
        return False
    ranges = [ip_network(cidr, strict=False) for cidr in tenant.spec.egress.networks]
    return address.is_global or any(address in one for one in ranges)


def exceptions_of(cidr: str) -> list[str]:
    """The parts of a range that nobody reaches."""
    network = ip_network(cidr)
    return [str(never) for never in NEVER if _is_within(never, network) and never != network]


def destination_of(url: str, *, own_namespace: str) -> Destination:
    """Where an http or https URL leads.

    Raises:
        ValueError: nothing of the cluster's network can lead there.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").removesuffix(".")
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    try:
        address = ip_address(host)
    except ValueError:
        _refuse_disguised(host)
        return _destination_of_name(host, port, own_namespace=own_namespace)
    _refuse_special(address)
    return AtAddress(str(address), port)


def ports_of_store(url: str) -> set[int]:
    """The ports in a store's URL, which may name several hosts.

    Raises:
        ValueError: it is no URL of a store.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"{parts.scheme!r} is no protocol of a store")
    hosts = parts.netloc.rpartition("@")[2].split(",")
    ports = [host.rpartition("]")[2].rpartition(":")[2] for host in hosts if ":" in host.rpartition("]")[2]]
    return {int(port) for port in ports} or {_DEFAULT_PORTS[parts.scheme]}


def _destination_of_name(host: str, port: int, *, own_namespace: str) -> Destination:
    labels = host.split(".")
    if any(len(label) > _MAX_LABEL_LENGTH for label in labels):
        raise ValueError(f"no part of a host name may have more than {_MAX_LABEL_LENGTH} characters")
    if len(labels) == 1:
        return InNamespace(own_namespace)
    # <service>.<namespace>.svc, <pod>.<service>.<namespace>.svc, each with or without the cluster's domain.
    for index in (2, 3):
        if labels[index : index + 1] == ["svc"]:
            return InNamespace(labels[index - 1])
    return InPublic(port)


def _refuse_disguised(host: str) -> None:
    """Resolvers take more for an IPv4 address than four decimal numbers: fewer, hexadecimal and octal ones."""
    if host == "localhost" or host.endswith(".localhost"):
        raise ValueError(f"{host!r} is loopback, which is the pod itself; name the server's own host")
    try:
        socket.inet_aton(host)
    except OSError:
        return
    raise ValueError(f"{host!r} is an IPv4 address in another spelling; write it as four decimal numbers")


def _is_within(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.subnet_of(other)


def _refuse_special(address: IPv4Address | IPv6Address) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is no server's address: loopback, link-local and multicast are refused")
