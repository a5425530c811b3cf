"""Where URLs lead."""

import pytest

from syntera_operator.desired.destinations import (
    AtAddress,
    Destination,
    InNamespace,
    InPublic,
    InRange,
    destination_of,
    exceptions_of,
    is_allowed,
    list_egress,
    list_service_urls,
    list_urls,
    ports_of_store,
)
from tests.support.make import make_challenge, make_endpoint, make_issuer, make_tenant


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://api.models.example/v1", InPublic(443)),
        ("http://api.models.example", InPublic(80)),
        ("https://api.models.example:8443/v1", InPublic(8443)),
        ("https://API.models.example.", InPublic(443)),
        ("http://vllm.gpu.svc:8000/v1", InNamespace("gpu")),
        ("http://vllm.gpu.svc.cluster.local/v1", InNamespace("gpu")),
        ("http://vllm.GPU.SVC.cluster.local./v1", InNamespace("gpu")),
        ("http://vllm-0.vllm.gpu.svc/v1", InNamespace("gpu")),
        ("http://vllm.gpu", InPublic(80)),
        ("http://1password.example", InPublic(80)),
        ("http://0x.models.example", InPublic(80)),
        ("http://localhost.models.example", InPublic(80)),
        ("http://vllm:8000/v1", InNamespace("acme")),
        ("http://10.1.2.3:8000/v1", AtAddress("10.1.2.3", 8000)),
        ("https://[2001:db8::1]/v1", AtAddress("2001:db8::1", 443)),
    ],
)
def test_destination(url: str, destination: Destination) -> None:
    assert destination_of(url, own_namespace="acme") == destination


def test_urls_are_those_of_endpoints_or_their_proxies_of_issuers_keys_and_what_else_the_tenant_names() -> None:
    tenant = make_tenant(
        models=[make_endpoint("a"), make_endpoint("b", proxyURL="http://proxy.egress.svc:3128")],
        auth={
            "issuers": [make_issuer(), make_issuer("https://other.example", jwksURL="http://keycloak.identity.svc")],
            "challenge": make_challenge(verifyURL="http://challenge.identity.svc:8080/siteverify"),
        },
        files={
            "s3": {
                "endpointURL": "http://minio.storage.svc:9000",
                "bucket": "files",
                "credentialsSecretRef": {"name": "k"},
            }
        },
    )
    services = [
        ("spec.models[0].baseURL", "https://models.example/v1"),
        ("spec.models[1].proxyURL", "http://proxy.egress.svc:3128"),
        ("spec.files.s3.endpointURL", "http://minio.storage.svc:9000"),
    ]
    assert list(list_service_urls(tenant)) == services
    assert list(list_urls(tenant)) == [
        *services,
        ("spec.auth.issuers[0].jwksURL", "https://login.example/jwks.json"),
        ("spec.auth.issuers[1].jwksURL", "http://keycloak.identity.svc"),
        ("spec.auth.challenge.verifyURL", "http://challenge.identity.svc:8080/siteverify"),
    ]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "[::1]", "[fe80::1]", f"{'a' * 64}.example"]
)
def test_destination_that_no_endpoint_can_have_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"refused|63 characters"):
        destination_of(f"http://{host}/v1", own_namespace="acme")


@pytest.mark.parametrize(
    "host",
    ["2130706433", "2852039166", "0x7f000001", "0xa9.0xfe.0xa9.0xfe", "0177.0.0.1", "127.1", "169.254.43518", "0"],
)
def test_destination_that_is_an_address_in_disguise_is_refused(host: str) -> None:
    """The resolver takes all of these for IPv4 addresses, so they would pass for names only here."""
    with pytest.raises(ValueError, match="four decimal numbers"):
        destination_of(f"http://{host}/v1", own_namespace="acme")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "models.localhost"])
def test_destination_that_is_the_pod_itself_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        destination_of(f"http://{host}/v1", own_namespace="acme")


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("postgresql://postgresql.syntera-stores.svc/syntera", {5432}),
        ("postgresql://t:p%40:w@db:6432/syntera?sslmode=require", {6432}),
        ("postgres://a:5433,b:5434/syntera", {5433, 5434}),
        ("redis://[2001:db8::1]:6380/0", {6380}),
        ("rediss://cache/0", {6379}),
    ],
)
def test_ports_of_store(url: str, ports: set[int]) -> None:
    assert ports_of_store(url) == ports


def test_ports_of_what_is_no_store_are_refused() -> None:
    with pytest.raises(ValueError, match="no protocol of a store"):
        ports_of_store("unix:///run/redis.sock")


def test_egress_is_public_https_and_what_the_tenant_names() -> None:
    assert list(list_egress(make_tenant())) == [("spec.egress", InPublic(443))]
    hosts, networks = ["crm.tools.svc", "hooks", "crm.corp.example"], ["10.1.2.3/16", "fd00::/8"]
    tenant = make_tenant(egress={"hosts": hosts, "networks": networks})
    assert list(list_egress(tenant)) == [
        ("spec.egress", InPublic(443)),
        ("spec.egress.hosts[0]", InNamespace("tools")),
        ("spec.egress.hosts[1]", InNamespace(tenant.namespace)),
        ("spec.egress.hosts[2]", InPublic(443)),
        ("spec.egress.networks[0]", InRange("10.1.0.0/16")),
        ("spec.egress.networks[1]", InRange("fd00::/8")),
    ]


@pytest.mark.parametrize(
    ("egress", "field"),
    [
        ({"hosts": ["ok.example", "localhost"]}, r"spec\.egress\.hosts\[1\]"),
        ({"hosts": ["127.1"]}, r"spec\.egress\.hosts\[0\]"),
        ({"networks": ["127.0.0.0/8"]}, r"spec\.egress\.networks\[0\]"),
        ({"networks": ["10.0.0.0/8", "169.254.169.254/32"]}, r"spec\.egress\.networks\[1\]"),
        ({"networks": ["fe80::/64"]}, r"spec\.egress\.networks\[0\]"),
    ],
)
def test_egress_that_nobody_may_reach_is_refused_by_its_field(egress: dict[str, list[str]], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        list(list_egress(make_tenant(egress=egress)))


def test_wide_range_leaves_out_what_nobody_reaches() -> None:
    assert exceptions_of("10.0.0.0/8") == []
    assert exceptions_of("100.64.0.0/10") == ["100.100.100.200/32"]
    assert {"169.254.0.0/16", "127.0.0.0/8"} <= set(exceptions_of("0.0.0.0/0"))
    assert "::/96" in exceptions_of("::/0")


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://git.example/a", True),
        ("https://git.example:8443/a", True),
        ("https://93.184.216.34/", True),
        ("https://git.tools.svc/a", True),
        ("https://GIT.tools.svc./a", True),
        ("https://10.1.2.3/", True),
        ("http://vllm.gpu.svc:8000/", True),
        ("https://git.others.svc/a", False),
        ("https://git/a", False),
        ("https://10.2.2.3/", False),
        ("https://[fd00::1]/", False),
        ("https://168.63.129.16/", False),
        ("https://100.100.100.200/", False),
    ],
)
def test_source_may_lead_to_public_hosts_and_where_the_tenant_lets_it(url: str, allowed: bool) -> None:
    tenant = make_tenant(
        models=[make_endpoint(baseURL="http://vllm.gpu.svc:8000/v1")],
        egress={"hosts": ["git.tools.svc"], "networks": ["10.1.0.0/16", "100.64.0.0/10"]},
    )
    assert is_allowed(url, tenant) is allowed


@pytest.mark.parametrize("url", ["http://localhost/", "http://127.0.0.1/", "http://169.254.169.254/", "http://0x7f.1/"])
def test_source_may_not_lead_to_the_pod_itself(url: str) -> None:
    with pytest.raises(ValueError, match=r"loopback|another spelling"):
        is_allowed(url, make_tenant(egress={"networks": ["0.0.0.0/0"]}))
