"""Whose address counts, whatever a client writes into its headers."""

import pytest

from syntera_runtime.fair_use.addresses import client_address, exact_address

PROXIES = ("10.0.0.0/8", "fd00::/8")
INGRESS = "10.1.2.3"


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        # nobody is trusted: what the header says is a stranger's word
        ("192.0.2.1", [], (), "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], (), "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], PROXIES, "192.0.2.1"),
        # behind proxies: the rightmost that is none of them
        (INGRESS, [], PROXIES, INGRESS),
        (INGRESS, ["198.51.100.7"], PROXIES, "198.51.100.7"),
        (INGRESS, ["203.0.113.66, 198.51.100.7"], PROXIES, "198.51.100.7"),
        (INGRESS, ["203.0.113.66", "198.51.100.7, 10.9.9.9"], PROXIES, "198.51.100.7"),
        (INGRESS, [" 198.51.100.7 ,10.9.9.9 , 10.9.9.8"], PROXIES, "198.51.100.7"),
        (INGRESS, ["10.7.7.7, 10.9.9.9"], PROXIES, "10.7.7.7"),
        ("fd00::5", ["198.51.100.7"], PROXIES, "198.51.100.7"),
        # a hop that is no address ends what can be believed
        (INGRESS, ["198.51.100.7, unknown"], PROXIES, INGRESS),
        (INGRESS, ["198.51.100.7, _hidden, 10.9.9.9"], PROXIES, "10.9.9.9"),
        (INGRESS, [""], PROXIES, INGRESS),
        # with a port
        (INGRESS, ["198.51.100.7:51234"], PROXIES, "198.51.100.7"),
        (INGRESS, ["[2001:db8:1:2:3::4]:51234"], PROXIES, "2001:db8:1:2::/64"),
        (INGRESS, ["[2001:db8:1:2:3::4]"], PROXIES, "2001:db8:1:2::/64"),
        # IPv6 by network, IPv4 in IPv6 as IPv4
        ("2001:db8:1:2:3:4:5:6", [], (), "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", [], (), "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", [], (), "192.0.2.1"),
        ("::ffff:10.1.2.3", ["198.51.100.7"], PROXIES, "198.51.100.7"),
        # a range whose author has set bits beyond its prefix
        (INGRESS, ["198.51.100.7"], ("10.1.2.3/8",), "198.51.100.7"),
        # no network at all
        (None, ["198.51.100.7"], PROXIES, None),
        ("testclient", [], (), None),
    ],
)
def test_address(peer: str | None, forwarded: list[str], trusted: tuple[str, ...], address: str | None) -> None:
    assert client_address(peer, forwarded, trusted) == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "address"),
    [
        ("2001:db8:1:2:3:4:5:6", [], (), "2001:db8:1:2:3:4:5:6"),
        ("::ffff:192.0.2.1", [], (), "192.0.2.1"),
        (INGRESS, ["203.0.113.66, [2001:db8:1:2:3::4]:51234, 10.9.9.9"], PROXIES, "2001:db8:1:2:3::4"),
        (INGRESS, ["198.51.100.7"], (), INGRESS),
        ("testclient", [], (), None),
    ],
)
def test_exact_address_is_found_the_same_way(
    peer: str | None, forwarded: list[str], trusted: tuple[str, ...], address: str | None
) -> None:
    assert exact_address(peer, forwarded, trusted) == address


def test_address_when_a_client_sends_very_many_hops() -> None:
    assert client_address(INGRESS, [", ".join(["10.0.0.1"] * 10_000)], PROXIES) == "10.0.0.1"
