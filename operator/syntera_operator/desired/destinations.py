"""Where a URL leads, in the only terms that a NetworkPolicy knows: a namespace, an address, or anywhere public; and ports.

What must not be reached by *name* is not decided here: a policy sees addresses only.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from syntera_crds.v1alpha1.tenant import ModelEndpoint

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


Destination = InNamespace | AtAddress | InPublic


def destination_of_endpoint(endpoint: ModelEndpoint, *, own_namespace: str) -> Destination:
    """Where the requests to a model endpoint go: to its proxy, if it has one.

    Raises:
        ValueError: nothing of the cluster's network can lead there.
    """
    return destination_of(endpoint.proxy_url or endpoint.base_url, own_namespace=own_namespace)


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


def _refuse_special(address: IPv4Address | IPv6Address) -> None:
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        raise ValueError(f"{address} is no address of a model endpoint: loopback, link-local and multicast are refused")
