import json

import pytest

from syntera_dev.cluster import host_network
from syntera_dev.cluster.host_network import SLOTS, choose_slot
from syntera_dev.cluster.plan import Network
from syntera_dev.errors import ClusterBusy


def given(monkeypatch: pytest.MonkeyPatch, *, addresses: list[str], routes: list[str]) -> None:
    """Let the machine have these addresses and routes."""
    links = [{"addr_info": [{"local": address} for address in addresses]}]
    answers = {"address": json.dumps(links), "route": json.dumps([{"dst": route} for route in routes])}
    monkeypatch.setattr(host_network, "run", lambda arguments: answers[arguments[3]])


def test_the_first_slot_is_chosen_on_an_ordinary_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, addresses=["127.0.0.1", "192.168.1.20"], routes=["default", "192.168.1.0/24"])
    assert choose_slot() == 0


@pytest.mark.parametrize("route", ["172.30.0.1", "10.244.0.0/24", "10.96.0.0/16", "10.96.7.0/24"])
def test_a_slot_is_left_out_when_something_routes_to_its_addresses(monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    given(monkeypatch, addresses=[], routes=[route])
    assert choose_slot() == 1


def test_a_slot_is_left_out_when_the_machine_has_one_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, addresses=["172.30.0.1", "172.30.1.2"], routes=[])
    assert choose_slot() == 2


def test_a_wider_route_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, addresses=["10.4.5.6"], routes=["default", "10.0.0.0/8"])
    assert choose_slot() == 0


def test_no_slot_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, addresses=[], routes=[Network(slot).pod_cidr for slot in SLOTS])
    with pytest.raises(ClusterBusy, match="all 8 address ranges"):
        choose_slot()
