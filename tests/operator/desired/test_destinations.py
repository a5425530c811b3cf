"""Where URLs lead."""

import pytest

from syntera_crds.v1alpha1.tenant import ModelEndpoint
from syntera_operator.desired.destinations import (
    AtAddress,
    Destination,
    InNamespace,
    InPublic,
    destination_of,
    destination_of_endpoint,
    ports_of_store,
)
from tests.support.make import make_endpoint


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
        ("http://vllm:8000/v1", InNamespace("acme")),
        ("http://10.1.2.3:8000/v1", AtAddress("10.1.2.3", 8000)),
        ("https://[2001:db8::1]/v1", AtAddress("2001:db8::1", 443)),
    ],
)
def test_destination(url: str, destination: Destination) -> None:
    assert destination_of(url, own_namespace="acme") == destination


def test_destination_of_an_endpoint_with_a_proxy_is_the_proxy() -> None:
    endpoint = ModelEndpoint.model_validate(make_endpoint(proxyURL="http://proxy.egress.svc:3128"))
    assert destination_of_endpoint(endpoint, own_namespace="acme") == InNamespace("egress")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "[::1]", "[fe80::1]", f"{'a' * 64}.example"]
)
def test_destination_that_no_endpoint_can_have_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"refused|63 characters"):
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
