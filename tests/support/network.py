"""Judges NetworkPolicies by what they say: whether a connection is admitted, as a network that enforces them would decide.

The local node's network enforces none, and each cluster's does it in a way of its own; what is the same everywhere is the
meaning of the policies, which this follows (https://kubernetes.io/docs/concepts/services-networking/network-policies/):

* A pod that no policy of its namespace selects for a direction may do everything in it; one that is selected, what any
  of these policies admits.
* A connection needs both its ends: the source's egress and the target's ingress.
* Selectors of one peer must both fit; entries of a list are alternatives; an empty or missing list of peers or ports is
  everybody, an empty selector too.

Of one thing the documentation says that it is not defined: whether an `ipBlock` speaks of pods. `Network.blocks_mean_pods`
decides; who judges a wall has to try both.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal, NamedTuple, TypeAlias

Json: TypeAlias = dict[str, Any]
Direction = Literal["Ingress", "Egress"]

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_RULES = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the cluster's network."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    ports: Mapping[str, int] = field(default_factory=dict)
    """Container ports that have a name."""

    @classmethod
    def of_template(cls, template: Json, *, namespace: str, address: str) -> "Pod":
        """A pod of a Deployment's or StatefulSet's template."""
        listed = [port for container in template["spec"]["containers"] for port in container.get("ports", ())]
        ports = {port["name"]: int(port["containerPort"]) for port in listed if "name" in port}
        return cls(namespace, template["metadata"].get("labels") or {}, address, ports)


@dataclass(frozen=True, slots=True)
class Outside:
    """An address that is no pod's: a host on the internet, a node, the API server."""

    address: str


Place = Pod | Outside


class _Connection(NamedTuple):
    source: Place
    target: Place
    port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Network:
    """Namespaces and the policies in them."""

    namespaces: Mapping[str, Mapping[str, str]]
    """Labels of each; the name of a namespace is a label of it anyway."""
    policies: Sequence[Json]
    blocks_mean_pods: bool = True
    """Whether an `ipBlock` covers pods whose addresses lie in it."""

    def admits(self, source: Place, target: Place, port: int, *, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to a port of `target`."""
        connection = _Connection(source, target, port, protocol)
        return self._lets(connection, "Egress") and self._lets(connection, "Ingress")

    def _lets(self, connection: "_Connection", direction: Direction) -> bool:
        here, there = connection.source, connection.target
        if direction == "Ingress":
            here, there = there, here
        if not isinstance(here, Pod):
            return True  # policies bind pods only
        policies = list(self._selecting(here, direction))
        if not policies:
            return True
        rules, peers = _RULES[direction]
        return any(
            self._fits_peers(rule.get(peers) or (), policy, there) and _fits_ports(rule.get("ports") or (), connection)
            for policy in policies
            for rule in policy["spec"].get(rules) or ()
        )

    def _selecting(self, pod: Pod, direction: Direction) -> Iterator[Json]:
        for policy in self.policies:
            is_there = policy["metadata"]["namespace"] == pod.namespace
            if is_there and direction in policy_types(policy) and selects(policy["spec"]["podSelector"], pod.labels):
                yield policy

    def _fits_peers(self, peers: Iterable[Json], policy: Json, other: Place) -> bool:
        listed = list(peers)
        return not listed or any(self._fits_peer(peer, policy, other) for peer in listed)

    def _fits_peer(self, peer: Json, policy: Json, other: Place) -> bool:
        if "ipBlock" in peer:
            is_meant = isinstance(other, Outside) or self.blocks_mean_pods
            return is_meant and _is_in_block(other.address, peer["ipBlock"])
        if not isinstance(other, Pod):
            return False
        if "namespaceSelector" not in peer:
            is_namespace_meant = other.namespace == policy["metadata"]["namespace"]
        else:
            labels = {**self.namespaces[other.namespace], _NAMESPACE_NAME: other.namespace}
            is_namespace_meant = selects(peer["namespaceSelector"], labels)
        return is_namespace_meant and selects(peer.get("podSelector") or {}, other.labels)


def policy_types(policy: Json) -> frozenset[str]:
    """The directions that a policy speaks of: where it does not say so itself, always ingress, and egress if it has rules."""
    spec = policy["spec"]
    return frozenset(spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])])


def selects(selector: Json, labels: Mapping[str, str]) -> bool:
    """Whether a label selector fits; an empty one fits everything."""
    wanted = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(expression, labels) for expression in expressions
    )


def _holds(expression: Json, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or ()
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return key in labels and labels[key] in values
    if operator == "NotIn":
        return key not in labels or labels[key] not in values
    raise ValueError(f"{operator!r} is no operator of a label selector")


def _fits_ports(ports: Iterable[Json], connection: _Connection) -> bool:
    listed = list(ports)
    return not listed or any(_fits_port(one, connection) for one in listed)


def _fits_port(wanted: Json, connection: _Connection) -> bool:
    if wanted.get("protocol", "TCP") != connection.protocol:
        return False
    number: int | str | None = wanted.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        return isinstance(connection.target, Pod) and connection.target.ports.get(number) == connection.port
    return number <= connection.port <= int(wanted.get("endPort", number))


def _is_in_block(address: str, block: Json) -> bool:
    def covers(cidr: str) -> bool:
        network, one = ip_network(cidr), ip_address(address)
        return one.version == network.version and one in network

    return covers(block["cidr"]) and not any(covers(cidr) for cidr in block.get("except") or ())
