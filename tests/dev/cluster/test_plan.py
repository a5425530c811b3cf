import json
from pathlib import Path

import pytest

from syntera_dev.cluster.plan import Network, Plan, plan_control_plane, plan_node, recorded_slot


def test_slot_zero_has_the_usual_addresses() -> None:
    network = Network()
    assert network.node_address == "172.30.0.1"
    assert (network.service_cidr, network.api_service_address, network.dns_address) == (
        "10.96.0.0/16",
        "10.96.0.1",
        "10.96.0.10",
    )
    assert network.pod_cidr == "10.244.0.0/24"


def test_slots_share_no_address() -> None:
    first, second = Network(0), Network(1)
    assert {first.node_address, first.host_address}.isdisjoint({second.node_address, second.host_address})
    assert (first.service_cidr, first.pod_cidr) != (second.service_cidr, second.pod_cidr)


def test_plan_survives_its_file(tmp_path: Path) -> None:
    for plan in (plan_node("one", 3), plan_control_plane("two", controllers=False, ports=(1234, 1235))):
        plan.save(tmp_path)
        assert Plan.load(tmp_path) == plan


@pytest.mark.parametrize("content", ["", "[]", '{"name": "x"}'])
def test_load_of_something_else_is_no_plan(tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    assert Plan.load(tmp_path) is None


def test_slot_is_found_in_a_plan_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"slot": 4, "of another": "version"}))
    assert Plan.load(tmp_path) is None
    assert recorded_slot(tmp_path) == 4


def test_no_slot_is_found_without_a_node(tmp_path: Path) -> None:
    assert recorded_slot(tmp_path) is None
    plan_control_plane("two", controllers=False, ports=(1234, 1235)).save(tmp_path)
    assert recorded_slot(tmp_path) is None


def test_server_names_hold_every_way_to_the_api_server() -> None:
    names = plan_node("one", 2).server_names
    assert {"kubernetes.default.svc", "127.0.0.1", "172.30.2.1", "10.98.0.1"} <= set(names)
