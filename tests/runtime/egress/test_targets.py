"""Where URLs of others may lead: a table of addresses and of spellings."""

from ipaddress import ip_address, ip_network

import pytest

from syntera_operator.desired import destinations, network_policies
from syntera_runtime.egress.addresses import NEVER, NOT_PUBLIC, is_public
from syntera_runtime.egress.targets import EgressPolicy, TargetRefused, parse_target

PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_reached(address: str) -> None:
    policy = EgressPolicy()
    policy.check_address(parse_target("https://hooks.example/"), ip_address(address))
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(TargetRefused):
        EgressPolicy().check_address(parse_target("https://hooks.example/"), ip_address(address))


@pytest.mark.parametrize("network", [*network_policies._NOT_PUBLIC_4, *network_policies._NOT_PUBLIC_6])
def test_what_the_network_refuses_is_refused_here(network: str) -> None:
    refused = ip_network(network)
    for address in (refused[0], refused[-1], refused[refused.num_addresses // 2]):
        assert not is_public(address)


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::3", "::ffff:10.1.2.3", "100.64.0.9"])
def test_network_that_the_tenant_allows_is_reached(address: str) -> None:
    policy = EgressPolicy.of([], ["10.1.0.0/16", "fd00::/8", "100.64.0.0/10"])
    policy.check_address(parse_target("http://hooks.example:8080/"), ip_address(address))


def test_host_that_the_tenant_allows_may_have_a_private_address() -> None:
    policy = EgressPolicy.of(["Receiver.tools.svc"], [])
    target = policy.check_url("http://receiver.tools.svc:8080/hook")
    policy.check_address(target, ip_address("10.96.0.7"))
    with pytest.raises(TargetRefused):
        policy.check_address(parse_target("https://other.tools.svc/"), ip_address("10.96.0.7"))


@pytest.mark.parametrize("url", ["http://hooks.acme.example:8080/", "https://hooks.acme.example:8443/"])
def test_host_that_the_tenant_names_is_reached_at_public_addresses_like_all_others(url: str) -> None:
    """The network opens nothing more of the world for it."""
    policy = EgressPolicy.of(["hooks.acme.example"], [])
    target = policy.check_url(url)  # it may be private
    policy.check_address(target, ip_address("10.1.2.3"))
    with pytest.raises(TargetRefused, match="https"):
        policy.check_address(target, ip_address("8.8.8.8"))
    policy.check_address(parse_target("https://hooks.acme.example/"), ip_address("8.8.8.8"))


def test_range_of_public_addresses_is_reached_by_http_too() -> None:
    policy = EgressPolicy.of([], ["8.8.8.0/24"])
    policy.check_address(parse_target("http://hooks.acme.example:8080/"), ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "224.0.0.1", "fd00:ec2::254"]
)
def test_nothing_allows_loopback_and_metadata(address: str) -> None:
    policy = EgressPolicy.of(["receiver"], ["0.0.0.0/0", "::/0"])
    with pytest.raises(TargetRefused):
        policy.check_address(parse_target("http://receiver/"), ip_address(address))


def test_network_allows_no_plain_http_to_public_hosts() -> None:
    policy = EgressPolicy.of([], ["10.1.0.0/16"])
    target = policy.check_url("http://hooks.example/")  # it may lead into the network
    with pytest.raises(TargetRefused, match="https"):
        policy.check_address(target, ip_address("8.8.8.8"))


def test_what_is_read_is_reached_at_its_own_ports() -> None:
    policy = EgressPolicy().for_reading(["http://docs.example/", "https://git.example:8443/a.git", "nonsense"])
    for url in (
        "http://docs.example/",
        "http://docs.example:80/",
        "https://docs.example/",
        "https://git.example:8443/",
    ):
        policy.check_address(policy.check_url(url), ip_address("8.8.8.8"))
    for url in (
        "http://docs.example:443/",
        "http://docs.example:8443/",
        "https://docs.example:80/",
        "http://docs.example:8080/",
        "http://10.0.0.1/",
    ):
        with pytest.raises(TargetRefused):
            policy.check_url(url)
    for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254"):
        with pytest.raises(TargetRefused):
            policy.check_address(parse_target("http://docs.example/"), ip_address(address))
    with pytest.raises(TargetRefused):
        EgressPolicy().check_url("http://docs.example/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "//hooks.example/",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "HTTPS://hooks.example/",
        "https://",
        "https:///path",
        "https://user@hooks.example/",
        "https://user:password@hooks.example/",
        "https://hooks.example@10.0.0.1/",
        "https://hooks.example\\@10.0.0.1/",
        "https://hooks.example#@10.0.0.1/",
        "https://hooks.example./",
        "https://hooks..example/",
        "https://.example/",
        "https://Hooks.example/",
        "https://hööks.example/",
        "https://hooks。example/",
        "https://hooks.example:0/",
        "https://hooks.example:65536/",
        "https://hooks.example:44 3/",
        "https://hooks.example/a b",
        "https://hooks.example/\r\nHost: x",
        "https://hooks.example\t/",
        " https://hooks.example/",
        "https://hooks.example/\n",
        "https://hooks.example/#fragment",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://127.0.0.01/",
        "https://1.2.3.4.5/",
        "https://a.0x1/",
        "https://1.2.3.4./",
        "https://[fe80::1%25eth0]/",
        "https://[::1/",
        "https://[8.8.8.8]/",
        "https://::1/",
        "https://" + "a" * 64 + ".example/",
        "https://hooks.example/" + "a" * 2048,
    ],
)
def test_url_that_is_not_plain_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        parse_target(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "http://hooks.example/",
        "https://hooks.example:8443/",
        "http://8.8.8.8/",
    ],
)
def test_url_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(TargetRefused):
        EgressPolicy().check_url(url)


def test_url_in_the_plain_form_is_taken() -> None:
    target = EgressPolicy().check_url("https://hooks.acme.example/in?x=%20a&b=[1]".replace("[1]", "1"))
    assert (target.scheme, target.host, target.port, target.address) == ("https", "hooks.acme.example", 443, None)
    assert EgressPolicy().check_url("https://[2606:4700::1111]:443").address == ip_address("2606:4700::1111")
    assert EgressPolicy().check_url("https://8.8.8.8/").address == ip_address("8.8.8.8")


def test_lists_do_not_overlap() -> None:
    for one in NEVER:
        for other in NOT_PUBLIC:
            if one.version == other.version:
                assert not other.subnet_of(one)  # type: ignore[arg-type]  # of the same version


def test_nobody_reaches_by_the_network_what_is_never_reached_here() -> None:
    assert set(destinations.NEVER) == set(NEVER)
