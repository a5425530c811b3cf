"""Network policies: their content by golden file, and that no rule ever means everybody."""

from typing import Any

import pytest

from syntera_operator.config import NetworkSettings, Peer
from syntera_operator.desired.destinations import AtAddress, InNamespace, InPublic
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.network_policies import Flows, build_default_deny, build_runtime_policy
from tests.support.golden import Golden

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
