"""Configuration, rights and tokens against a real API server: what a fake cannot vouch for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.agent_config import AgentConfig, SecretKey
from syntera_crds.contract.tenant_config import TenantConfig
from syntera_kube import ClusterConfig, KubeClient, Transport
from syntera_runtime.adapters.cluster_tokens import ClusterTokens
from syntera_runtime.adapters.kubernetes_config import KubernetesConfig
from syntera_runtime.errors import TokenRefused
from tests.runtime.adapters.fixed_secrets import KEY
from tests.runtime.adapters.published import eventually, make_agent, make_tenant
from tests.support.apiserver import RunningApiServer

pytestmark = pytest.mark.api

OPERATOR = "operator"


class Namespace:
    """A tenant's namespace with the runtime's ServiceAccount and Role, as the operator makes them."""

    def __init__(self, server: RunningApiServer) -> None:
        self._server = server
        self.name = server.create_namespace("tenant")
        for account in (names.RUNTIME, OPERATOR):
            self.apply("api/v1", "ServiceAccount", "serviceaccounts", account, automountServiceAccountToken=False)
        self.grant()
        self.apply(
            "apis/rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", names.RUNTIME,
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names.RUNTIME},
            subjects=[{"kind": "ServiceAccount", "name": names.RUNTIME, "namespace": self.name}],
        )  # fmt: skip

    def grant(self, *secrets: str) -> None:
        """Let the runtime read ConfigMaps and exactly these Secrets."""
        verbs = ["get", "list", "watch"]
        rules: list[dict[str, Any]] = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
        if secrets:
            rules += [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": list(secrets), "verbs": verbs}]
        self.apply("apis/rbac.authorization.k8s.io/v1", "Role", "roles", names.RUNTIME, rules=rules)

    def publish(self, agent: AgentConfig) -> None:
        """Publish an agent as the operator does."""
        data = {names.AGENT_CONFIG_KEY: agent.to_json(), names.DIGEST_KEY: agent.digest()}
        name = names.published_agent_name(agent.name)
        self.apply("api/v1", "ConfigMap", "configmaps", name, labels={names.PUBLISHED_LABEL: "agent"}, data=data)

    def publish_tenant(self, tenant: TenantConfig) -> None:
        """Publish the tenant's configuration as the operator does."""
        data = {names.TENANT_CONFIG_KEY: tenant.to_json()}
        labels = {names.PUBLISHED_LABEL: "tenant"}
        self.apply("api/v1", "ConfigMap", "configmaps", names.TENANT_CONFIG, labels=labels, data=data)

    def apply_secret(self, name: str, value: str) -> None:
        """Create or change a Secret with one entry, `api-key`."""
        self.apply("api/v1", "Secret", "secrets", name, stringData={"api-key": value})

    def apply(
        self, api: str, kind: str, plural: str, name: str, *, labels: dict[str, str] | None = None, **content: Any
    ) -> None:
        """Create or change any object."""
        version = api.removeprefix("apis/").removeprefix("api/")
        metadata = {"name": name, "namespace": self.name, "labels": labels or {}}
        manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, **content}
        self._server.apply(f"/{api}/namespaces/{self.name}/{plural}/{name}", manifest)

    def delete(self, plural: str, name: str) -> None:
        """Delete an object of the core group."""
        self._server.send("DELETE", f"/api/v1/namespaces/{self.name}/{plural}/{name}")

    def token(self, account: str, *audiences: str) -> str:
        """A token of a ServiceAccount."""
        spec = {"audiences": list(audiences), "expirationSeconds": 3600}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{self.name}/serviceaccounts/{account}/token"
        token: str = self._server.send("POST", path, body)["status"]["token"]
        return token


@pytest.fixture
def namespace(api_server: RunningApiServer) -> Namespace:
    return Namespace(api_server)


@pytest.fixture
async def transport(api_server: RunningApiServer, namespace: Namespace) -> AsyncIterator[Transport]:
    """The pod's own connection: the runtime's token and no other right."""
    pod = ClusterConfig(
        server=api_server.url, ca_data=api_server.ca_file.read_text(), token=namespace.token(names.RUNTIME)
    )
    async with Transport(pod, component="syntera-runtime") as opened:
        yield opened


@pytest.fixture
async def config(transport: Transport, namespace: Namespace) -> AsyncIterator[KubernetesConfig]:
    running = KubernetesConfig(KubeClient(transport), namespace=namespace.name)
    task = asyncio.create_task(running.run())
    await eventually(lambda: running.is_loaded)
    yield running
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_published_agent_is_served_soon(config: KubernetesConfig, namespace: Namespace) -> None:
    await asyncio.to_thread(namespace.publish, make_agent())
    await eventually(lambda: config.loaded("travel"))
    edited = make_agent(instructions="Be long.", revision=2)
    await asyncio.to_thread(namespace.publish, edited)
    loaded = await config.wait_loaded("travel", digest=edited.digest(), seconds=20)
    assert loaded
    assert (loaded.digest, loaded.revision) == (edited.digest(), 2)


async def test_published_tenant_is_known_soon_until_it_is_deleted(
    config: KubernetesConfig, namespace: Namespace
) -> None:
    await asyncio.to_thread(namespace.publish_tenant, make_tenant())
    await eventually(lambda: config.tenant() == make_tenant())
    await asyncio.to_thread(namespace.delete, "configmaps", names.TENANT_CONFIG)
    await eventually(lambda: config.tenant() is None)


async def test_secret_is_read_as_soon_as_the_role_names_it(config: KubernetesConfig, namespace: Namespace) -> None:
    def publish() -> None:
        namespace.apply_secret("openai", "sk-one")
        namespace.publish(make_agent(needs=(KEY,)))

    await asyncio.to_thread(publish)
    await eventually(lambda: config.get("travel"))
    await asyncio.sleep(0.5)
    assert config.loaded("travel") is None
    await asyncio.to_thread(namespace.grant, "openai")
    await eventually(lambda: config.loaded("travel"))
    assert config.secrets.value(KEY) == "sk-one"
    await asyncio.to_thread(namespace.apply_secret, "openai", "sk-two")
    await eventually(lambda: config.secrets.value(KEY) == "sk-two")


async def test_secret_that_no_role_names_stays_unread(config: KubernetesConfig, namespace: Namespace) -> None:
    def publish() -> None:
        namespace.grant("openai")
        namespace.apply_secret("foreign", "sk-foreign")
        namespace.publish(make_agent(needs=(SecretKey(name="foreign", key="api-key"),)))

    await asyncio.to_thread(publish)
    await eventually(lambda: config.get("travel"))
    await asyncio.sleep(1)
    assert config.loaded("travel") is None


async def test_deleted_config_map_takes_its_agent_along(config: KubernetesConfig, namespace: Namespace) -> None:
    await asyncio.to_thread(namespace.publish, make_agent())
    await eventually(lambda: config.loaded("travel"))
    await asyncio.to_thread(namespace.delete, "configmaps", "agent-travel")
    await eventually(lambda: config.get("travel") is None)


async def test_operators_token_is_accepted_and_others_are_not(transport: Transport, namespace: Namespace) -> None:
    audience = names.internal_audience(uuid4())
    subject = f"system:serviceaccount:{namespace.name}:{OPERATOR}"
    tokens = ClusterTokens(transport, audience=audience, subject=subject)

    await tokens.verify(await asyncio.to_thread(namespace.token, OPERATOR, audience))
    for account, audiences in [
        (OPERATOR, [names.internal_audience(uuid4())]),
        (OPERATOR, []),
        (OPERATOR, [audience, "https://elsewhere"]),
        (names.RUNTIME, [audience]),
    ]:
        token = await asyncio.to_thread(namespace.token, account, *audiences)
        with pytest.raises(TokenRefused):
            await tokens.verify(token)
