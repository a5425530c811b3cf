"""Who may talk to a tenant's pods and whom they may talk to: nobody, and then exactly what is listed.

An entry without peers would mean everybody, so no rule is ever built from an empty list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from syntera_crds.contract import names

from ..config import NetworkSettings, Peer
from ..manifest import Manifest
from .destinations import AtAddress, Destination, InNamespace, InPublic, InRange, exceptions_of
from .metadata import Scope, build_object, build_runtime_selector
from .sync_job import build_ingestion_selector

DEFAULT_DENY = "syntera-default-deny"

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_POLICY_TYPES = ["Ingress", "Egress"]
_NOT_PUBLIC_4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
"""This network, private, shared (carrier-grade NAT), loopback, Azure's host agent, link-local, protocol assignments,
documentation, benchmarks, multicast, reserved. The agent's address is a public one, but only its machine sees it."""
_NOT_PUBLIC_6 = [
    "::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]
"""Loopback and IPv4 in another form, local translation to IPv4, discard, protocol assignments (Teredo among them),
documentation, 6to4, unique local, link-local, site-local, multicast. The common translation to IPv4, 64:ff9b::/96, stays:
it stands for public addresses only, and clusters with IPv6 alone reach the rest of the world by it."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Flows:
    """What pods of a tenant's need beside what every installation allows."""

    store_ports: Iterable[int]
    """Ports on which the stores listen that these pods use."""
    destinations: Iterable[Destination] = ()
    """Where the services are that these pods ask, and what webhooks or sources may name."""
    api_server: Sequence[tuple[str, int]] = ()
    """Addresses and ports of the API server itself, not of its Service. Empty: these pods do not ask it."""
    collector_port: int | None = None
    """Port at which traces are taken; None: nobody sends any."""
    is_exposed: bool = False
    """Whether ingress or gateway controllers reach the public port."""


def build_default_deny(scope: Scope) -> Manifest:
    """No pod of the namespace talks to anybody, unless another policy allows it."""
    return _build_policy(DEFAULT_DENY, scope, podSelector={}, policyTypes=_POLICY_TYPES)


def build_runtime_policy(scope: Scope, network: NetworkSettings, flows: Flows, *, operator: Sequence[Peer]) -> Manifest:
    """What the runtime's pods may do. `operator` are the operator's own pods."""
    own_namespace: Json = {"podSelector": {}}
    public = [*network.clients, *(network.ingress if flows.is_exposed else ())]
    ingress = [
        {"from": [own_namespace, *map(_build_peer, public)], "ports": [_tcp(names.PUBLIC_PORT)]},
        *_rule("from", map(_build_peer, [*operator, *network.prometheus]), [_tcp(names.INTERNAL_PORT)]),
    ]
    egress = [
        *_build_dns_rules(network),
        *_build_api_server_rules(flows.api_server),
        *_build_store_rules(network, flows),
        *_rule(
            "to",
            map(_build_peer, network.collectors),
            [] if flows.collector_port is None else [_tcp(flows.collector_port)],
        ),
        *_build_destination_rules(flows.destinations, network.model_cidrs),
    ]
    return _build_policy(
        names.RUNTIME,
        scope,
        podSelector={"matchLabels": build_runtime_selector(scope)},
        policyTypes=_POLICY_TYPES,
        ingress=ingress,
        egress=egress,
    )


def _build_policy(name: str, scope: Scope, **spec: Any) -> Manifest:
    return build_object("networking.k8s.io/v1", "NetworkPolicy", name, scope, spec=spec)


def build_ingestion_policy(scope: Scope, network: NetworkSettings, flows: Flows) -> Manifest:
    """What the pods of sync Jobs may do: nobody reaches them, and they do not reach the API server."""
    egress = [
        *_build_dns_rules(network),
        *_build_store_rules(network, flows),
        *_build_destination_rules(flows.destinations, network.model_cidrs),
    ]
    return _build_policy(
        names.INGESTION,
        scope,
        podSelector={"matchLabels": build_ingestion_selector(scope)},
        policyTypes=_POLICY_TYPES,
        egress=egress,
    )


def _build_dns_rules(network: NetworkSettings) -> list[Json]:
    return _rule("to", map(_build_peer, network.dns), [{"protocol": "UDP", "port": 53}, _tcp(53)])


def _build_store_rules(network: NetworkSettings, flows: Flows) -> list[Json]:
    peers = [*map(_build_peer, network.stores), *({"ipBlock": {"cidr": one}} for one in sorted(network.store_cidrs))]
    return _rule("to", peers, [_tcp(port) for port in sorted(set(flows.store_ports))])


def _rule(direction: str, peers: Iterable[Json], ports: list[Json]) -> list[Json]:
    """One rule, or none where there is no peer or no port: leaving either out would mean all."""
    listed = list(peers)
    return [{direction: listed, "ports": ports}] if listed and ports else []


def _tcp(port: int | None = None) -> Json:
    return {"protocol": "TCP"} if port is None else {"protocol": "TCP", "port": port}


def _build_peer(peer: Peer) -> Json:
    built: Json = {"namespaceSelector": _build_selector(peer.namespace_labels)}
    if peer.pod_labels:
        built["podSelector"] = _build_selector(peer.pod_labels)
    return built


def _build_selector(labels: dict[str, str]) -> Json:
    return {"matchLabels": dict(sorted(labels.items()))} if labels else {}


def _build_address(address: str) -> Json:
    return {"ipBlock": {"cidr": f"{address}/{ip_address(address).max_prefixlen}"}}


def _build_range(cidr: str) -> Json:
    block: Json = {"cidr": cidr}
    if left_out := exceptions_of(cidr):
        block["except"] = left_out
    return {"ipBlock": block}


def _build_api_server_rules(addresses: Iterable[tuple[str, int]]) -> list[Json]:
    by_port: dict[int, set[str]] = {}
    for address, port in addresses:
        by_port.setdefault(port, set()).add(address)
    return [
        {"to": [_build_address(a) for a in sorted(by_port[port])], "ports": [_tcp(port)]} for port in sorted(by_port)
    ]


def _build_destination_rules(destinations: Iterable[Destination], private_cidrs: Sequence[str]) -> list[Json]:
    wanted = set(destinations)
    namespaces = sorted(one for one in wanted if isinstance(one, InNamespace))
    addresses = sorted(one for one in wanted if isinstance(one, AtAddress))
    public = sorted(one for one in wanted if isinstance(one, InPublic))
    ranges = sorted(one for one in wanted if isinstance(one, InRange))
    everywhere: list[Json] = [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": _NOT_PUBLIC_4}},
        {"ipBlock": {"cidr": "::/0", "except": _NOT_PUBLIC_6}},
        *({"ipBlock": {"cidr": cidr}} for cidr in sorted(private_cidrs)),
    ]
    return [
        *(
            {"to": [_build_peer(Peer(namespace_labels={_NAMESPACE_NAME: one.namespace}))], "ports": [_tcp()]}
            for one in namespaces
        ),
        *({"to": [_build_address(one.address)], "ports": [_tcp(one.port)]} for one in addresses),
        *({"to": [_build_range(one.cidr)], "ports": [_tcp()]} for one in ranges),
        *({"to": everywhere, "ports": [_tcp(one.port)]} for one in public),
    ]
