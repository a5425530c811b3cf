"""Ingress, HTTPRoute and the address that people are told."""

import pytest

from syntera_crds.v1alpha1.tenant import Exposure, GatewayRef
from syntera_operator.desired.exposure import build_endpoint, build_exposure
from syntera_operator.desired.metadata import Scope
from tests.support.golden import Golden

INGRESS = Exposure(host="acme.chat.example", ingress_class_name="nginx", tls_secret_name="acme-tls")
ROUTE = Exposure(
    host="acme.chat.example", gateway_ref=GatewayRef(name="public", namespace="gateways", section_name="https")
)


def test_ingress(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/ingress.yaml", build_exposure(scope, INGRESS))


def test_route(scope: Scope, golden: Golden) -> None:
    golden.check_manifests("desired/httproute.yaml", build_exposure(scope, ROUTE))


def test_ingress_without_class_and_certificate_says_nothing_of_them(scope: Scope) -> None:
    spec = build_exposure(scope, Exposure(host="acme.chat.example"))["spec"]
    assert set(spec) == {"rules"}


@pytest.mark.parametrize(
    ("exposure", "endpoint"),
    [
        (None, "http://syntera-runtime.acme-prod.svc"),
        (INGRESS, "https://acme.chat.example"),
        (ROUTE, "https://acme.chat.example"),
        (Exposure(host="acme.chat.example"), "http://acme.chat.example"),
    ],
)
def test_endpoint(scope: Scope, exposure: Exposure | None, endpoint: str) -> None:
    assert build_endpoint(scope, exposure) == endpoint
