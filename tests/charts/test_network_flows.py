"""Who may talk to whom once everything is installed, judged by all NetworkPolicies together: the chart's, those of the
development stores and those that the operator makes for tenants.

Each flow is judged twice, since networks differ in whether an `ipBlock` covers pods: what is intended has to be admitted
either way, what is not has to be refused either way.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from syntera_crds.v1alpha1 import Tenant
from syntera_operator.config import Settings, load_settings
from syntera_operator.desired.destinations import InPublic
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.namespace import build_namespace
from syntera_operator.desired.sync_job import build_sync_labels
from syntera_operator.reconcile.children import Children, Surroundings, build_children
from tests.support.make import make_endpoint, make_issuer, make_tenant
from tests.support.network import Network, Outside, Place, Pod

from .chart import NAMESPACE, ROOT, Chart, Manifest, operator_environment

STORES = ROOT / "manifests" / "stores"
API_SERVER = Outside("192.168.1.10")
API_SERVER_PORT = 6443

DNS, KUBELET, POSTGRESQL, REDIS, API, INTERNAL = 53, 10250, 5432, 6379, 8080, 8081

TENANTS = {
    "acme": make_tenant(
        "acme",
        models=[
            make_endpoint("public", baseURL="https://api.models.example/v1"),
            make_endpoint("inside", baseURL="http://vllm.gpu.svc:8000/v1"),
            make_endpoint("address", baseURL="http://10.20.30.40:9000/v1"),
        ],
        auth={"issuers": [make_issuer(jwksURL="http://keycloak.identity.svc:8080/certs")]},
        exposure={"host": "acme.chat.example"},
        egress={"hosts": ["crm.tools.svc"], "networks": ["100.64.0.0/10"]},
    ),
    "beta": make_tenant(
        "beta",
        models=[make_endpoint("inside", baseURL="http://vllm.gpu.svc:8000/v1")],
        auth={"issuers": [make_issuer(jwksURL="https://login.example:8443/jwks.json")]},
    ),
}

SYNCED = "acme"
"""The tenant that has a knowledge base, with a source at a public host's port 8444."""


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that is installed, as far as it has to do with the network."""

    namespaces: dict[str, dict[str, str]]
    policies: list[Manifest]
    places: dict[str, Place]

    def admits(self, source: str, target: str, port: int, protocol: str = "TCP") -> set[bool]:
        """Whether the flow is admitted, on either kind of network."""
        return {
            Network(self.namespaces, self.policies, blocks_mean_pods).admits(
                self.places[source], self.places[target], port, protocol=protocol
            )
            for blocks_mean_pods in (True, False)
        }


@pytest.fixture(scope="module")
def settings(chart: Chart) -> Iterator[Settings]:
    """The operator's, as the chart sets them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in operator_environment(chart.manifests()).items():
            patch.setenv(name, value)
        yield load_settings()


@pytest.fixture(scope="module")
def site(chart: Chart, settings: Settings) -> Site:
    """The chart with its defaults, the development stores, two tenants, and strangers."""
    namespaces: dict[str, dict[str, str]] = {
        name: {}
        for name in (NAMESPACE, "kube-system", "gpu", "identity", "ingress-nginx", "monitoring", "stranger", "tools")
    }
    # Somebody who may label namespaces has called his a tenant's.
    namespaces["squatter"] = {"syntera.io/tenant": "acme"}
    stores = read(STORES / "namespace.yaml")[0]
    namespaces["syntera-stores"] = stores["metadata"]["labels"]
    policies = [one for one in chart.manifests() if one["kind"] == "NetworkPolicy"]
    for policy in read(STORES / "networkpolicy.yaml"):
        policies.append(policy | {"metadata": policy["metadata"] | {"namespace": "syntera-stores"}})
    places: dict[str, Place] = {
        "operator": chart_pod(chart),
        "postgresql": store_pod("postgresql", address="10.0.3.1"),
        "redis": store_pod("redis", address="10.0.3.2"),
        "dns": Pod("kube-system", {"k8s-app": "kube-dns"}, "10.0.4.1"),
        "another pod of kube-system": Pod("kube-system", {"k8s-app": "metrics"}, "10.0.4.2"),
        "model server": Pod("gpu", {"app": "vllm"}, "10.0.5.1"),
        "issuer": Pod("identity", {"app": "keycloak"}, "10.0.5.2"),
        "receiver": Pod("tools", {"app": "crm"}, "10.0.5.3"),
        "receiver outside of the cluster": Outside("100.64.7.1"),
        "a cloud's metadata service in a range": Outside("100.100.100.200"),
        "ingress controller": Pod("ingress-nginx", {"app": "nginx"}, "10.0.6.1"),
        "prometheus": Pod("monitoring", {"app": "prometheus"}, "10.0.7.1"),
        "stranger": Pod("stranger", {"app": "any"}, "10.0.8.1"),
        "squatter": Pod("squatter", {"app": "any"}, "10.0.9.1"),
        "test of the chart": Pod(NAMESPACE, {"app.kubernetes.io/component": "test"}, "10.0.2.9"),
        "api server": API_SERVER,
        "node": Outside("192.168.1.10"),
        "another node": Outside("192.168.1.11"),
        "public host": Outside("93.184.216.34"),
        "metadata service": Outside("169.254.169.254"),
        # One that a Tenant names by its private address.
        "addressed model server": Outside("10.20.30.40"),
    }
    for number, (name, tenant) in enumerate(TENANTS.items()):
        children = children_of(tenant, settings)
        scope = Scope(tenant=name, namespace=name)
        namespaces[name] = build_namespace(scope, tenant_uid="uid")["metadata"]["labels"]
        policies += [one for one in children.walls if one["kind"] == "NetworkPolicy"]
        template = (children.pods or {})["spec"]["template"]
        places[f"{name}'s runtime"] = Pod.of_template(template, namespace=name, address=f"10.0.1{number}.1")
        if name == SYNCED:
            places[f"{name}'s sync"] = Pod(name, build_sync_labels(scope, "handbook"), f"10.0.1{number}.3")
        places[f"{name}'s other pod"] = Pod(name, {"app": "job"}, f"10.0.1{number}.2")
    return Site(namespaces, policies, places)


def read(file: Path) -> list[Manifest]:
    return [one for one in yaml.safe_load_all(file.read_text()) if one]


def chart_pod(chart: Chart) -> Pod:
    template = chart.one("Deployment", "syntera-operator")["spec"]["template"]
    return Pod.of_template(template, namespace=NAMESPACE, address="10.0.2.1")


def store_pod(name: str, *, address: str) -> Pod:
    [stateful] = [one for one in read(STORES / name / f"{name}.yaml") if one["kind"] == "StatefulSet"]
    return Pod.of_template(stateful["spec"]["template"], namespace="syntera-stores", address=address)


def children_of(tenant: Tenant, settings: Settings) -> Children:
    surroundings = Surroundings(
        tenant_id=UUID("01900000-0000-7000-8000-000000000001"),
        secrets=(),
        has_credentials=True,
        published=None,
        usable_secrets=frozenset(),
        api_server=[(API_SERVER.address, API_SERVER_PORT)],
        sources=[InPublic(8444)] if tenant.metadata.name == SYNCED else None,
    )
    scope = Scope(tenant=tenant.metadata.name, namespace=tenant.namespace)
    return build_children(scope, tenant, surroundings, settings)


INTENDED = [
    # A tenant's runtime.
    *[(f"{name}'s runtime", "dns", DNS, protocol) for name in TENANTS for protocol in ("UDP", "TCP")],
    *[(f"{name}'s runtime", "api server", API_SERVER_PORT, "TCP") for name in TENANTS],
    *[(f"{name}'s runtime", "postgresql", POSTGRESQL, "TCP") for name in TENANTS],
    *[(f"{name}'s runtime", "redis", REDIS, "TCP") for name in TENANTS],
    *[(f"{name}'s runtime", "model server", 8000, "TCP") for name in TENANTS],
    ("acme's runtime", "public host", 443, "TCP"),
    ("acme's runtime", "issuer", 8080, "TCP"),
    ("beta's runtime", "public host", 8443, "TCP"),
    ("beta's runtime", "public host", 443, "TCP"),
    ("acme's runtime", "receiver", 8080, "TCP"),
    ("acme's runtime", "receiver outside of the cluster", 8080, "TCP"),
    ("acme's runtime", "addressed model server", 9000, "TCP"),
    # Who comes to it.
    *[("operator", f"{name}'s runtime", INTERNAL, "TCP") for name in TENANTS],
    *[("prometheus", f"{name}'s runtime", INTERNAL, "TCP") for name in TENANTS],
    ("ingress controller", "acme's runtime", API, "TCP"),
    # A sync of its knowledge base.
    *[("acme's sync", "dns", DNS, protocol) for protocol in ("UDP", "TCP")],
    ("acme's sync", "postgresql", POSTGRESQL, "TCP"),
    ("acme's sync", "model server", 8000, "TCP"),
    ("acme's sync", "addressed model server", 9000, "TCP"),
    *[("acme's sync", "public host", port, "TCP") for port in (80, 443, 8444)],
    ("acme's sync", "receiver outside of the cluster", 8080, "TCP"),
    # The operator.
    ("operator", "dns", DNS, "UDP"),
    ("operator", "api server", API_SERVER_PORT, "TCP"),
    ("operator", "postgresql", POSTGRESQL, "TCP"),
    ("operator", "redis", REDIS, "TCP"),
    ("node", "operator", 8080, "TCP"),
    ("prometheus", "operator", 9090, "TCP"),
]
REFUSED = [
    # Other tenants.
    *[
        (f"acme's {one}", f"beta's {other}", port, "TCP")
        for one in ("runtime", "other pod")
        for other in ("runtime", "other pod")
        for port in (API, INTERNAL, 80, 443)
    ],
    # What a runtime has no business with.
    ("acme's runtime", "operator", 8080, "TCP"),
    ("acme's runtime", "operator", 9090, "TCP"),
    ("acme's runtime", "api server", KUBELET, "TCP"),
    ("acme's runtime", "node", KUBELET, "TCP"),
    ("acme's runtime", "another node", KUBELET, "TCP"),
    ("acme's runtime", "another node", API_SERVER_PORT, "TCP"),
    ("acme's runtime", "another pod of kube-system", DNS, "UDP"),
    ("acme's runtime", "another pod of kube-system", 443, "TCP"),
    ("acme's runtime", "dns", 9153, "TCP"),
    *[("acme's runtime", "metadata service", port, "TCP") for port in (80, 443)],
    ("acme's runtime", "public host", 80, "TCP"),
    ("acme's runtime", "public host", 443, "UDP"),
    ("acme's runtime", "public host", 25, "TCP"),
    ("acme's runtime", "addressed model server", 22, "TCP"),
    ("acme's runtime", "addressed model server", 443, "TCP"),
    ("acme's runtime", "stranger", 443, "TCP"),
    ("acme's runtime", "prometheus", 9090, "TCP"),
    ("acme's runtime", "ingress controller", 443, "TCP"),
    ("acme's runtime", "postgresql", REDIS, "TCP"),
    ("acme's runtime", "postgresql", 22, "TCP"),
    ("beta's runtime", "public host", 80, "TCP"),
    ("beta's runtime", "receiver", 8080, "TCP"),
    ("beta's runtime", "receiver outside of the cluster", 8080, "TCP"),
    ("acme's runtime", "a cloud's metadata service in a range", 80, "TCP"),
    ("beta's runtime", "issuer", 8080, "TCP"),
    ("acme's runtime", "public host", 8443, "TCP"),
    ("beta's runtime", "addressed model server", 9000, "TCP"),
    # A sync of its knowledge base, which nobody has business with.
    ("acme's sync", "redis", REDIS, "TCP"),
    ("acme's sync", "issuer", 8080, "TCP"),
    ("acme's sync", "receiver", 8080, "TCP"),
    ("acme's sync", "api server", API_SERVER_PORT, "TCP"),
    ("acme's sync", "acme's runtime", INTERNAL, "TCP"),
    ("acme's sync", "operator", 8081, "TCP"),
    ("acme's sync", "metadata service", 80, "TCP"),
    ("acme's sync", "node", KUBELET, "TCP"),
    ("acme's sync", "stranger", 443, "TCP"),
    ("acme's sync", "public host", 25, "TCP"),
    ("acme's sync", "a cloud's metadata service in a range", 80, "TCP"),
    *[(source, "acme's sync", API, "TCP") for source in ("acme's runtime", "operator", "prometheus", "stranger")],
    # Who has no business with it.
    *[("stranger", f"{name}'s runtime", port, "TCP") for name in TENANTS for port in (API, INTERNAL)],
    *[("squatter", f"{name}'s runtime", port, "TCP") for name in TENANTS for port in (API, INTERNAL)],
    ("ingress controller", "beta's runtime", API, "TCP"),
    ("ingress controller", "acme's runtime", INTERNAL, "TCP"),
    ("prometheus", "acme's runtime", API, "TCP"),
    ("operator", "acme's runtime", API, "TCP"),
    ("test of the chart", "acme's runtime", INTERNAL, "TCP"),
    ("public host", "acme's runtime", API, "TCP"),
    ("model server", "acme's runtime", API, "TCP"),
    ("postgresql", "acme's runtime", API, "TCP"),
    # Pods of the tenant's own that it did not open the network for.
    ("acme's other pod", "public host", 443, "TCP"),
    ("acme's other pod", "postgresql", POSTGRESQL, "TCP"),
    ("acme's other pod", "acme's runtime", API, "TCP"),
    ("acme's runtime", "acme's other pod", 443, "TCP"),
    # The stores.
    ("stranger", "postgresql", POSTGRESQL, "TCP"),
    ("stranger", "redis", REDIS, "TCP"),
    ("model server", "redis", REDIS, "TCP"),
    ("operator", "postgresql", 22, "TCP"),
    ("postgresql", "redis", REDIS, "TCP"),
    ("postgresql", "public host", 443, "TCP"),
    ("redis", "acme's runtime", API, "TCP"),
    # The operator.
    ("stranger", "operator", 8081, "TCP"),
    ("stranger", "operator", 22, "TCP"),
    ("operator", "public host", 80, "TCP"),
    ("operator", "metadata service", 80, "TCP"),
    ("operator", "node", KUBELET, "TCP"),
    ("operator", "acme's other pod", INTERNAL, "TCP"),
    ("operator", "stranger", INTERNAL, "TCP"),
    ("operator", "squatter", INTERNAL, "TCP"),
]


@pytest.mark.parametrize(("source", "target", "port", "protocol"), INTENDED)
def test_flow_is_admitted(source: str, target: str, port: int, protocol: str, site: Site) -> None:
    assert site.admits(source, target, port, protocol) == {True}


@pytest.mark.parametrize(("source", "target", "port", "protocol"), REFUSED)
def test_flow_is_refused(source: str, target: str, port: int, protocol: str, site: Site) -> None:
    assert site.admits(source, target, port, protocol) == {False}
