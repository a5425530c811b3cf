"""The same reconciles against a real API server: that it takes what is built, that it gives it back as it was, and that a
Tenant comes to its end. Its controllers run, but no pod does; the stores and the pods' answers are stand-ins.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, KubeClient
from syntera_kube import resources as kube
from syntera_kube.resources import Resource
from syntera_kube.transport import Request
from syntera_operator.cluster import Cluster
from syntera_operator.manifest import AGENTS, TENANTS, Manifest, resource_of
from syntera_operator.reconcile.agent import reconcile_agent
from syntera_operator.reconcile.context import Context
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.operator.desired.test_quantities import SPELLINGS
from tests.support.apiserver import ApiRefused, RunningApiServer, unique_name
from tests.support.fake_knowledge import FakeKnowledge
from tests.support.fake_runtimes import FakeRuntimes
from tests.support.fake_stores import FakeStores
from tests.support.kstatus import Kstatus, compute
from tests.support.make import make_agent_manifest, make_endpoint, make_issuer, make_tenant_manifest

from .conftest import make_settings

pytestmark = pytest.mark.api

EVERYTHING: dict[str, Any] = {
    "displayName": "Acme Travel",
    "models": [
        make_endpoint("public", baseURL="https://api.models.example/v1"),
        make_endpoint("inside", baseURL="http://vllm.gpu.svc:8000/v1"),
        make_endpoint("address", baseURL="http://10.20.30.40:8000/v1"),
    ],
    "auth": {
        "issuers": [
            make_issuer(roleClaim="app_metadata.role", algorithms=["ES256"]),
            make_issuer("https://sso.acme.example", jwksURL="http://keycloak.identity.svc:8080/certs"),
        ],
        "allowedOrigins": ["https://www.acme.example", "http://localhost:3000"],
    },
    "runtime": {
        "autoscaling": {"min": 1, "max": 5},
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 2, "memory": "1.5Gi"}},
    },
    "quota": {"pods": 50, "requests.cpu": "10000m", "limits.memory": "1024Gi", "limits.cpu": "10.5"},
    "exposure": {"host": "acme.chat.example", "ingressClassName": "nginx", "tlsSecretName": "acme-tls"},
}


@dataclass
class Api:
    """A real cluster's API with the operator's view of it."""

    server: RunningApiServer
    cluster: Cluster
    stores: FakeStores
    knowledge: FakeKnowledge
    runtimes: FakeRuntimes
    writes: list[str]
    """HTTP verbs of the operator's requests, but for reading."""

    @property
    def context(self) -> Context:
        return Context(self.cluster, self.stores, self.knowledge, self.runtimes, make_settings())

    def put(self, manifest: Manifest) -> Manifest:
        """Have somebody apply a Tenant or an Agent, and the operator hear of it."""
        resource = resource_of(manifest)
        metadata = {key: manifest["metadata"][key] for key in ("name", "namespace") if key in manifest["metadata"]}
        body = {key: manifest[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": metadata}
        answer = self.server.apply(resource.path(namespace=metadata.get("namespace"), name=metadata["name"]), body)
        self.cluster.observe(resource, answer, deleted=False)
        return answer

    def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return self.server.send("GET", resource.path(namespace=namespace, name=name))

    def exists(self, resource: Resource, namespace: str | None, name: str) -> bool:
        try:
            self.get(resource, namespace, name)
        except ApiRefused as refused:
            if refused.status != 404:
                raise
            return False
        return True

    def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        self.server.send("DELETE", resource.path(namespace=namespace, name=name))

    def count_children(self, namespace: str) -> int:
        """How many objects of the operator's making a namespace holds."""
        query = {"labelSelector": f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"}
        others = (kube.HTTP_ROUTES, kube.PODS, kube.ENDPOINT_SLICES)
        kinds = [kind for kind in kube.BUILT_IN if kind.namespaced and kind not in others]
        return sum(len(self.server.send("GET", kind.path(namespace=namespace), query=query)["items"]) for kind in kinds)


@asynccontextmanager
async def running_api(server: RunningApiServer) -> AsyncIterator[Api]:
    writes: list[str] = []

    def observe(request: Request, status: int, seconds: float) -> None:
        if request.method != "GET":
            writes.append(request.method)

    config = ClusterConfig.from_kubeconfig(server.kubeconfig)
    async with KubeClient.connect(config, component="test", observer=observe) as client:
        cluster = Cluster(client, before_write=lambda: None, enqueue=lambda _: None, instance="test")
        async with cluster.running():
            await cluster.load()
            yield Api(server, cluster, FakeStores(), FakeKnowledge(), FakeRuntimes(), writes)


@pytest.fixture
async def api(api_server: RunningApiServer) -> AsyncIterator[Api]:
    async with running_api(api_server) as running:
        yield running


@pytest.fixture
def name() -> str:
    """Of a Tenant and its namespace."""
    return unique_name("acme")


async def until(condition: Any, *, seconds: float = 60) -> None:
    """Wait for what controllers do in their own time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.1)


def pods_are_made(api: Api, namespace: str) -> bool:
    """Whether the Deployment's controller has done what it can here, and the operator has heard of it."""
    deployment = api.cluster.child(kube.DEPLOYMENTS, namespace, names.RUNTIME) or {}
    status = deployment.get("status") or {}
    return (
        status.get("updatedReplicas") == 1 and status.get("observedGeneration") == deployment["metadata"]["generation"]
    )


async def test_tenant_with_everything_is_taken_and_written_only_once(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name, **EVERYTHING))
    await reconcile_tenant(name, api.context)
    conditions = {one["type"]: one["status"] for one in api.get(TENANTS, None, name)["status"]["conditions"]}
    assert {type_ for type_, status in conditions.items() if status == "False"} == {"RuntimeReady", "Ready", "Stalled"}
    assert api.count_children(name) == 17
    await until(lambda: pods_are_made(api, name))
    await reconcile_tenant(name, api.context)
    written = len(api.writes)
    await reconcile_tenant(name, api.context)
    assert len(api.writes) == written
    async with running_api(api.server) as restarted:
        restarted.stores = api.stores
        await reconcile_tenant(name, restarted.context)
        assert restarted.writes == []


async def test_tenant_that_is_made_shows_nothing_but_its_own_names(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    managers = {
        entry["manager"]
        for resource, namespace, object_name in (
            (TENANTS, None, name),
            (kube.NAMESPACES, None, name),
            (kube.ROLES, name, names.RUNTIME),
            (kube.SECRETS, name, names.STORES_SECRET),
        )
        for entry in api.get(resource, namespace, object_name)["metadata"]["managedFields"]
    }
    assert managers == {names.TENANT_FIELD_MANAGER, "syntera-tests"}


async def test_pods_of_the_runtime_pass_the_restricted_level_of_pod_security(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name, quota={"limits.cpu": 4, "limits.memory": "4Gi", "pods": 5}))
    await reconcile_tenant(name, api.context)
    namespace = api.get(kube.NAMESPACES, None, name)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    template = api.get(kube.DEPLOYMENTS, name, names.RUNTIME)["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": "try"}}
    path = kube.PODS.path(namespace=name)
    made = api.server.send("POST", path, pod | {"spec": template["spec"]}, query={"dryRun": "All"})
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}

    template["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(ApiRefused, match="violates PodSecurity"):
        api.server.send("POST", path, pod | {"spec": template["spec"]}, query={"dryRun": "All"})


async def test_quantities_are_spelled_as_the_api_server_does(api_server: RunningApiServer) -> None:
    namespace = api_server.create_namespace()
    limits = [{"type": "Container", "max": {"memory": amount}} for amount in SPELLINGS]
    made = []
    for index, limit in enumerate(limits):
        body = {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": f"try-{index}"},
            "spec": {"limits": [limit]},
        }
        answer = api_server.send("POST", kube.LIMIT_RANGES.path(namespace=namespace), body)
        made.append(answer["spec"]["limits"][0]["max"]["memory"])
    assert made == list(SPELLINGS.values())


async def test_pods_that_pass_to_an_autoscaler_keep_their_number(api: Api, name: str) -> None:
    tenant = make_tenant_manifest(name, runtime={"replicas": 4})
    api.put(tenant)
    await reconcile_tenant(name, api.context)
    api.put(make_tenant_manifest(name, runtime={"autoscaling": {"min": 2, "max": 9}}))
    await reconcile_tenant(name, api.context)
    assert api.get(kube.DEPLOYMENTS, name, names.RUNTIME)["spec"]["replicas"] == 4

    api.put(make_tenant_manifest(name, suspended=True, runtime={"autoscaling": {"min": 2, "max": 9}}))
    await reconcile_tenant(name, api.context)
    assert api.get(kube.DEPLOYMENTS, name, names.RUNTIME)["spec"]["replicas"] == 0
    assert not api.exists(kube.HORIZONTAL_POD_AUTOSCALERS, name, names.RUNTIME)

    api.put(make_tenant_manifest(name, runtime={"autoscaling": {"min": 2, "max": 9}}))
    await reconcile_tenant(name, api.context)
    assert api.get(kube.DEPLOYMENTS, name, names.RUNTIME)["spec"]["replicas"] == 2


async def test_route_on_a_cluster_without_gateway_api_is_told(api: Api, name: str) -> None:
    exposure = {"host": "a.example", "gatewayRef": {"name": "public", "namespace": "gateways"}}
    api.put(make_tenant_manifest(name, exposure=exposure))
    await reconcile_tenant(name, api.context)
    conditions = {one["type"]: one for one in api.get(TENANTS, None, name)["status"]["conditions"]}
    assert conditions["RuntimeReady"]["reason"] == "Rejected"
    assert "no Gateway API" in conditions["RuntimeReady"]["message"]


async def test_namespace_that_exists_is_adopted_only_when_labelled(api: Api, name: str) -> None:
    metadata = {"name": name, "labels": {"team": "travel"}}
    api.server.send("POST", kube.NAMESPACES.path(), {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    assert compute(api.get(TENANTS, None, name)) is Kstatus.FAILED

    labels = {"metadata": {"labels": {names.TENANT_LABEL: name}}}
    path = kube.NAMESPACES.path(name=name)
    api.server.send("PATCH", path, labels, content_type="application/merge-patch+json")
    await reconcile_tenant(name, api.context)
    assert compute(api.get(TENANTS, None, name)) is Kstatus.IN_PROGRESS
    assert api.get(kube.NAMESPACES, None, name)["metadata"]["labels"]["team"] == "travel"


async def test_agent_is_published_edited_repaired_and_goes_with_its_configuration(api: Api, name: str) -> None:
    api.put(make_tenant_manifest(name))
    await reconcile_tenant(name, api.context)
    api.put(make_agent_manifest(namespace=name))
    await reconcile_agent(name, "travel", api.context)
    path = kube.CONFIG_MAPS.path(namespace=name, name="agent-travel")
    first = api.server.send("GET", path)
    agent = api.get(AGENTS, name, "travel")
    assert agent["status"]["revision"] == 1
    assert agent["status"]["digest"] == first["data"][names.DIGEST_KEY]

    api.server.send("PATCH", path, {"data": {"digest": "x"}}, content_type="application/merge-patch+json")
    await until(lambda: (api.cluster.child(kube.CONFIG_MAPS, name, "agent-travel") or {})["data"]["digest"] == "x")
    await reconcile_agent(name, "travel", api.context)
    assert api.server.send("GET", path)["data"] == first["data"]

    api.put(make_agent_manifest(namespace=name, instructions="Be brief."))
    await reconcile_agent(name, "travel", api.context)
    agent = api.get(AGENTS, name, "travel")
    assert agent["status"]["revision"] == 2
    assert compute(agent) is Kstatus.IN_PROGRESS
    before = agent["metadata"]["resourceVersion"], api.server.send("GET", path)["metadata"]["resourceVersion"]
    await reconcile_agent(name, "travel", api.context)
    after = api.get(AGENTS, name, "travel")["metadata"]["resourceVersion"]
    assert (after, api.server.send("GET", path)["metadata"]["resourceVersion"]) == before

    api.delete(AGENTS, name, "travel")
    # The garbage collector of a cluster that has just started learns of new kinds within half a minute.
    await until(lambda: not api.exists(kube.CONFIG_MAPS, name, "agent-travel"), seconds=120)


async def end(api: Api, name: str) -> None:
    """Reconcile a Tenant that is being deleted until it is gone."""
    api.delete(TENANTS, None, name)
    async with asyncio.timeout(120):
        while api.exists(TENANTS, None, name):
            api.cluster.observe(TENANTS, api.get(TENANTS, None, name), deleted=False)
            await reconcile_tenant(name, api.context)
            await asyncio.sleep(0.2)


async def make_with_agent(api: Api, name: str, **spec: Any) -> None:
    api.put(make_tenant_manifest(name, **spec))
    await reconcile_tenant(name, api.context)
    api.put(make_agent_manifest(namespace=name))
    await reconcile_agent(name, "travel", api.context)


async def test_deletion_with_delete_leaves_nothing(api: Api, name: str) -> None:
    await make_with_agent(api, name, deletionPolicy="Delete")
    agent = api.get(AGENTS, name, "travel")
    ending = asyncio.create_task(end(api, name))
    await until(lambda: not api.exists(AGENTS, name, "travel"))
    # The watch of Agents is kopf's, which does not run here.
    api.cluster.observe(AGENTS, agent, deleted=True)
    await ending
    assert not api.exists(kube.NAMESPACES, None, name)
    assert len(api.stores.erased) == 1


async def test_deletion_with_retain_leaves_agents_and_configuration(api: Api, name: str) -> None:
    await make_with_agent(api, name)
    await end(api, name)
    assert api.exists(AGENTS, name, "travel")
    assert api.exists(kube.CONFIG_MAPS, name, "agent-travel")
    for kind, object_name in (
        (kube.DEPLOYMENTS, names.RUNTIME),
        (kube.SECRETS, names.STORES_SECRET),
        (kube.SECRETS, names.ADMIN_SECRET),
        (kube.SECRETS, names.SIGNING_SECRET),
        (kube.CONFIG_MAPS, names.TENANT_CONFIG),
        (kube.ROLES, names.RUNTIME),
        (kube.ROLE_BINDINGS, names.OPERATOR_BINDING),
    ):
        assert not api.exists(kind, name, object_name)
