"""Network policies: their content by golden file, and that no rule ever means everybody."""

from dataclasses import replace
from typing import Any

import pytest

from syntera_operator.config import NetworkSettings, Peer
from syntera_operator.desired.destinations import AtAddress, InNamespace, InPublic, InRange
from syntera_operator.desired.metadata import Scope, build_runtime_labels
from syntera_operator.desired.network_policies import (
    Flows,
    build_default_deny,
    build_ingestion_policy,
    build_runtime_policy,
)
from tests.support.golden import Golden
from tests.support.network import Network, Outside, Pod

OPERATOR = [Peer(namespace_labels={"kubernetes.io/metadata.name": "syntera-system"}, pod_labels={"app": "operator"})]
FLOWS = Flows(
    api_server=[("10.0.0.12", 6443), ("10.0.0.11", 6443)],
    store_ports=[6379, 5432],
    destinations=[InPublic(443), InNamespace("gpu"), AtAddress("10.1.2.3", 8000), AtAddress("2001:db8::1", 443)],
    is_exposed=True,
)


def test_default_deny(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/network-default-deny.yaml", build_default_deny(scope))


def test_runtime_policy(scope: Scope, golden: Golden) -> None:
    built = build_runtime_policy(scope, NetworkSettings(), FLOWS, operator=OPERATOR)
    golden.check_manifests("desired/network-runtime.yaml", built)


def test_ingestion_policy(scope: Scope, golden: Golden) -> None:
    flows = Flows(store_ports=[5432], destinations=FLOWS.destinations)
    golden.check_manifests("desired/network-ingestion.yaml", build_ingestion_policy(scope, NetworkSettings(), flows))


def test_ingestion_policy_admits_nobody_and_leads_not_to_the_api_server(scope: Scope) -> None:
    spec = build_ingestion_policy(scope, NetworkSettings(), FLOWS)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert "10.0.0.11" not in str(spec["egress"])


def test_runtime_policy_is_the_same_whatever_the_order_of_its_inputs(scope: Scope) -> None:
    turned = Flows(
        api_server=list(reversed(FLOWS.api_server)),
        store_ports=[5432, 6379, 5432],
        destinations=list(reversed(list(FLOWS.destinations))) * 2,
        is_exposed=True,
    )
    first = build_runtime_policy(scope, NetworkSettings(), FLOWS, operator=OPERATOR)
    assert build_runtime_policy(scope, NetworkSettings(), turned, operator=OPERATOR) == first


def test_runtime_policy_when_not_exposed_admits_no_ingress_controller(scope: Scope) -> None:
    built = build_runtime_policy(
        scope, NetworkSettings(), Flows(api_server=[], store_ports=[5432], is_exposed=False), operator=OPERATOR
    )
    assert "ingress-nginx" not in str(built["spec"]["ingress"])


def test_runtime_policy_when_nothing_is_known_has_no_rule_without_peers_or_ports(scope: Scope) -> None:
    nothing = NetworkSettings(dns=[], stores=[], ingress=[], prometheus=[])
    built = build_runtime_policy(scope, nothing, Flows(api_server=[], store_ports=[]), operator=[])
    assert built["spec"]["egress"] == []
    rules: list[dict[str, Any]] = built["spec"]["ingress"]
    assert all(rule["from"] and rule["ports"] for rule in rules)


@pytest.mark.parametrize("block", ["10.0.0.0/8", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10"])
def test_runtime_policy_for_public_endpoints_leaves_out(scope: Scope, block: str) -> None:
    flows = Flows(api_server=[], store_ports=[], destinations=[InPublic(443)])
    (rule,) = build_runtime_policy(scope, NetworkSettings(dns=[]), flows, operator=[])["spec"]["egress"]
    assert block in [one for peer in rule["to"] for one in peer["ipBlock"]["except"]]
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]


def test_runtime_policy_for_named_private_endpoints_adds_the_configured_blocks(scope: Scope) -> None:
    flows = Flows(api_server=[], store_ports=[], destinations=[InPublic(8000)])
    network = NetworkSettings(dns=[], model_cidrs=["10.20.0.0/16"])
    (rule,) = build_runtime_policy(scope, network, flows, operator=[])["spec"]["egress"]
    assert {"ipBlock": {"cidr": "10.20.0.0/16"}} in rule["to"]


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "172.31.255.255", "192.168.0.1",
        # Where clouds tell a machine its credentials.
        "169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",
        "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::10.1.2.3", "2001::a01:203", "64:ff9b:1::a01:203", "100::1", "2001:db8::1", "2002:a01:203::1",
        "fc00::1", "fdff::1", "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_runtime_with_public_endpoints_reaches_no_address_of_another_kind(scope: Scope, address: str) -> None:
    flows = Flows(api_server=[], store_ports=[], destinations=[InPublic(443)])
    policies = [
        build_default_deny(scope),
        build_runtime_policy(scope, NetworkSettings(), flows, operator=OPERATOR),
    ]
    network = Network({scope.namespace: {}}, policies)
    runtime = Pod(scope.namespace, build_runtime_labels(scope), "10.0.0.1")

    assert network.admits(runtime, Outside("93.184.216.34"), 443)
    assert network.admits(runtime, Outside("2606:4700::1111"), 443)
    # Public IPv4 hosts, as clusters with IPv6 alone reach them.
    assert network.admits(runtime, Outside("64:ff9b::5db8:d822"), 443)
    assert not network.admits(runtime, Outside("93.184.216.34"), 80)
    assert not network.admits(runtime, Outside(address), 443)


def test_traces_may_leave_only_where_there_are_any(scope: Scope) -> None:
    flows = Flows(api_server=[], store_ports=[], collector_port=4318)
    network = NetworkSettings(dns=[], collectors=[Peer(namespace_labels={"name": "tracing"})])

    built = build_runtime_policy(scope, network, flows, operator=[])["spec"]["egress"]
    without = build_runtime_policy(scope, network, replace(flows, collector_port=None), operator=[])["spec"]["egress"]

    to = [{"namespaceSelector": {"matchLabels": {"name": "tracing"}}}]
    assert built == [{"to": to, "ports": [{"protocol": "TCP", "port": 4318}]}]
    assert without == []


def test_runtime_policy_for_a_range_leaves_out_what_nobody_reaches(scope: Scope) -> None:
    flows = Flows(api_server=[], store_ports=[], destinations=[InRange("10.1.0.0/16"), InRange("100.64.0.0/10")])
    built = build_runtime_policy(scope, NetworkSettings(dns=[], stores=[]), flows, operator=OPERATOR)
    assert built["spec"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP"}]},
        {
            "to": [{"ipBlock": {"cidr": "100.64.0.0/10", "except": ["100.100.100.200/32"]}}],
            "ports": [{"protocol": "TCP"}],
        },
    ]
