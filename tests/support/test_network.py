"""The judge of NetworkPolicies, held to what Kubernetes' documentation says of them."""

from collections.abc import Sequence
from typing import Any

import pytest

from .network import Json, Network, Outside, Place, Pod, policy_types, selects

A = Pod("a", {"app": "a", "tier": "web"}, "10.0.0.1", {"http": 8080})
A2 = Pod("a", {"app": "other"}, "10.0.0.2", {"http": 9090})
B = Pod("b", {"app": "b"}, "10.0.1.1")
INTERNET = Outside("93.184.216.34")
NAMESPACES = {"a": {"team": "red"}, "b": {"team": "blue", "env": "prod"}}


def policy(namespace: str = "a", selector: Json | None = None, **spec: Any) -> Json:
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": selector or {}, **spec}}


def network(*policies: Json, blocks_mean_pods: bool = True) -> Network:
    return Network(NAMESPACES, policies, blocks_mean_pods)


def admitted_sources(judged: Network, *, port: int = 80) -> list[Place]:
    """Who reaches A."""
    return [one for one in (A2, B, INTERNET) if judged.admits(one, A, port)]


def peers_of_a(*peers: Json) -> list[Place]:
    return admitted_sources(network(policy(policyTypes=["Ingress"], ingress=[{"from": list(peers)}])))


def test_everything_is_admitted_without_a_policy() -> None:
    assert admitted_sources(network()) == [A2, B, INTERNET]


def test_default_deny_admits_nothing_in_either_direction() -> None:
    denied = network(policy(policyTypes=["Ingress", "Egress"]))

    assert not denied.admits(B, A, 80)
    assert not denied.admits(A, B, 80)
    assert not denied.admits(A, INTERNET, 443)
    assert denied.admits(B, INTERNET, 443)


def test_policy_binds_only_the_pods_that_it_selects_in_its_own_namespace() -> None:
    denied = network(policy(selector={"matchLabels": {"app": "a"}}, policyTypes=["Ingress"]))

    assert not denied.admits(B, A, 80)
    assert denied.admits(B, A2, 80)
    assert network(policy("b", {"matchLabels": {"app": "a"}}, policyTypes=["Ingress"])).admits(B, A, 80)


def test_policies_add_up() -> None:
    deny = policy(policyTypes=["Ingress"])
    admit = policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}])

    assert admitted_sources(network(deny, admit)) == admitted_sources(network(admit, deny)) == [A2]


def test_both_ends_have_to_admit() -> None:
    leaves = policy("b", policyTypes=["Egress"], egress=[{"to": [{"namespaceSelector": {}}]}])
    enters = policy("a", policyTypes=["Ingress"], ingress=[{"from": [{"namespaceSelector": {}}]}])
    stays, closed = policy("b", policyTypes=["Egress"]), policy("a", policyTypes=["Ingress"])

    assert network(leaves, enters).admits(B, A, 80)
    assert not network(stays, enters).admits(B, A, 80)
    assert not network(leaves, closed).admits(B, A, 80)


def test_egress_rules_do_not_let_in_nor_ingress_rules_out() -> None:
    both = policy(policyTypes=["Ingress", "Egress"], egress=[{}])

    assert both is not None
    assert network(both).admits(A, B, 80)
    assert not network(both).admits(B, A, 80)


@pytest.mark.parametrize(
    ("peers", "admitted"),
    [
        ([{"podSelector": {}}], [A2]),
        ([{"podSelector": {"matchLabels": {"app": "b"}}}], []),
        ([{"namespaceSelector": {}}], [A2, B]),
        ([{"namespaceSelector": {"matchLabels": {"team": "blue"}}}], [B]),
        ([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "b"}}}], [B]),
        # Together in one peer: both. In two: either.
        ([{"namespaceSelector": {"matchLabels": {"team": "blue"}}, "podSelector": {"matchLabels": {"app": "x"}}}], []),
        ([{"namespaceSelector": {"matchLabels": {"team": "blue"}}, "podSelector": {"matchLabels": {"app": "b"}}}], [B]),
        ([{"namespaceSelector": {"matchLabels": {"team": "blue"}}}, {"podSelector": {}}], [A2, B]),
        ([{"namespaceSelector": {}, "podSelector": {}}], [A2, B]),
        ([{"ipBlock": {"cidr": "93.184.0.0/16"}}], [INTERNET]),
        ([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], [INTERNET]),
        ([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["93.184.216.0/24"]}}], [A2, B]),
        ([{"ipBlock": {"cidr": "::/0"}}], []),
        # An empty list is everybody.
        ([], [A2, B, INTERNET]),
    ],
)
def test_peers(peers: list[Json], admitted: list[Place]) -> None:
    assert peers_of_a(*peers) == admitted


def test_rule_without_peers_is_everybody_and_no_rule_is_nobody() -> None:
    assert admitted_sources(network(policy(policyTypes=["Ingress"], ingress=[{}]))) == [A2, B, INTERNET]
    assert admitted_sources(network(policy(policyTypes=["Ingress"], ingress=[]))) == []


def test_block_speaks_of_pods_only_where_that_is_supposed() -> None:
    block = policy(policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])

    assert network(block, blocks_mean_pods=True).admits(A, B, 80)
    assert not network(block, blocks_mean_pods=False).admits(A, B, 80)
    assert network(block, blocks_mean_pods=False).admits(A, Outside("10.9.9.9"), 80)


@pytest.mark.parametrize(
    ("ports", "port", "protocol", "fits"),
    [
        ([], 1, "TCP", True),
        ([{"port": 80}], 80, "TCP", True),
        ([{"port": 80}], 81, "TCP", False),
        ([{"port": 80}], 80, "UDP", False),
        ([{"port": 53, "protocol": "UDP"}], 53, "UDP", True),
        ([{"port": 53, "protocol": "UDP"}], 53, "TCP", False),
        ([{"protocol": "TCP"}], 4711, "TCP", True),
        ([{"protocol": "TCP"}], 4711, "UDP", False),
        ([{"port": 80, "endPort": 90}], 90, "TCP", True),
        ([{"port": 80, "endPort": 90}], 91, "TCP", False),
        ([{"port": "http"}], 8080, "TCP", True),
        ([{"port": "http"}], 80, "TCP", False),
        ([{"port": "nameless"}], 8080, "TCP", False),
        ([{"port": 80}, {"port": 8080}], 8080, "TCP", True),
    ],
)
def test_ports(ports: list[Json], port: int, protocol: str, fits: bool) -> None:
    judged = network(policy(policyTypes=["Ingress"], ingress=[{"ports": ports}]))

    assert judged.admits(B, A, port, protocol=protocol) is fits


def test_named_port_is_the_targets_own_also_in_egress() -> None:
    judged = network(policy("b", policyTypes=["Egress"], egress=[{"ports": [{"port": "http"}]}]))

    assert judged.admits(B, A, 8080)
    assert judged.admits(B, A2, 9090)
    assert not judged.admits(B, A2, 8080)
    assert not judged.admits(B, INTERNET, 8080)


def test_peers_and_ports_of_one_rule_must_both_fit() -> None:
    rules: Sequence[Json] = [
        {"from": [{"podSelector": {}}], "ports": [{"port": 80}]},
        {"from": [{"namespaceSelector": {}}], "ports": [{"port": 443}]},
    ]
    judged = network(policy(policyTypes=["Ingress"], ingress=list(rules)))

    assert admitted_sources(judged, port=80) == [A2]
    assert admitted_sources(judged, port=443) == [A2, B]


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, {"Ingress"}),
        ({"ingress": [{}]}, {"Ingress"}),
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"egress": []}, {"Ingress"}),
        ({"policyTypes": ["Egress"]}, {"Egress"}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {"Egress"}),
    ],
)
def test_directions(spec: Json, types: set[str]) -> None:
    assert policy_types(policy(**spec)) == types


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ({"key": "app", "operator": "Exists"}, True),
        ({"key": "nothing", "operator": "Exists"}, False),
        ({"key": "nothing", "operator": "DoesNotExist"}, True),
        ({"key": "app", "operator": "DoesNotExist"}, False),
        ({"key": "app", "operator": "In", "values": ["x", "a"]}, True),
        ({"key": "app", "operator": "In", "values": ["x"]}, False),
        ({"key": "nothing", "operator": "In", "values": ["x"]}, False),
        ({"key": "app", "operator": "NotIn", "values": ["x"]}, True),
        ({"key": "app", "operator": "NotIn", "values": ["a"]}, False),
        ({"key": "nothing", "operator": "NotIn", "values": ["x"]}, True),
    ],
)
def test_expressions(expression: Json, fits: bool) -> None:
    assert selects({"matchExpressions": [expression]}, A.labels) is fits


def test_labels_and_expressions_of_a_selector_must_all_fit() -> None:
    selector = {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}

    assert selects(selector, A.labels)
    assert not selects(selector, {"app": "a"})
    assert not selects({"matchLabels": {"app": "a", "tier": "x"}}, A.labels)
    assert selects({}, {})


def test_unknown_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="no operator"):
        selects({"matchExpressions": [{"key": "app", "operator": "Gt"}]}, A.labels)


def test_pod_of_a_template_has_its_labels_and_named_ports() -> None:
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 8000}, {"containerPort": 9}]}]},
    }

    made = Pod.of_template(template, namespace="a", address="10.0.0.9")

    assert made == Pod("a", {"app": "x"}, "10.0.0.9", {"http": 8000})
