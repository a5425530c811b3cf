"""The operator's view of a real API server, with everything that it asks and that it is woken for written down."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import ClusterConfig, KubeClient, Manifest, ObjectStore, Reflector, Resource, Selection
from syntera_kube.errors import NotFound
from syntera_kube.model import EVERYTHING
from syntera_kube.resources import ROLE_BINDINGS
from syntera_kube.transport import Request
from syntera_operator.cluster import Cluster, Owner
from syntera_operator.errors import LeadershipLost
from syntera_operator.manifest import AGENTS, TENANTS
from syntera_operator.queue import Key
from tests.support.apiserver import RunningApiServer, unique_name

_WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass
class Observed:
    """A cluster, and what it did."""

    cluster: Cluster
    client: KubeClient
    """The administrator, who is not counted."""
    requests: list[str] = field(default_factory=list)
    woken: list[Key] = field(default_factory=list)
    is_leader: bool = True

    def take_writes(self) -> int:
        """How many writes were sent since this was last asked."""
        writes = sum(verb in _WRITES for verb in self.requests)
        self.requests.clear()
        return writes

    async def eventually(self, check: Callable[[], bool], *, seconds: float = 30) -> None:
        """Wait until watches have delivered what `check` looks for."""
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110 - the condition is nobody's event
                await asyncio.sleep(0.01)

    async def delivered(self) -> None:
        """Wait until watches have delivered everything that is written by now."""
        mirrors = self.cluster._mirrors
        for resource, store in mirrors._own.items():
            await self._delivered(resource, EVERYTHING, store)
        for mirror in (*mirrors._reflectors(), *(secrets for secrets, _ in mirrors._secrets.values())):
            await self._delivered(mirror.resource, mirror.selection, mirror.store)

    async def settled(self) -> None:
        """Wait until watches have delivered everything that is written by now, and forget who was woken."""
        await self.delivered()
        self.woken.clear()

    async def _delivered(self, resource: Resource, selection: Selection, store: ObjectStore) -> None:
        try:
            there = await self.client.list(resource, replace(selection, metadata_only=True))
        except NotFound:  # a kind that this cluster does without
            return
        await self.eventually(
            lambda: all(map(store.has, there.items)) and not store.find_gone(there.items, there.resource_version)
        )


@pytest.fixture
async def observed(api_server: RunningApiServer, client: KubeClient) -> AsyncIterator[Observed]:
    config = ClusterConfig.from_kubeconfig(api_server.kubeconfig)
    made: Observed | None = None

    def note(request: Request, status: int, seconds: float) -> None:
        assert made is not None
        if not request.is_watch:
            made.requests.append(request.method)

    def before_write() -> None:
        assert made is not None
        if not made.is_leader:
            raise LeadershipLost

    async with KubeClient.connect(config, component="syntera-operator", observer=note) as operator:
        cluster = Cluster(
            operator,
            before_write=before_write,
            enqueue=lambda wakeup: made.woken.append(wakeup.key) if made else None,
            instance="test",
        )
        made = Observed(cluster, client)
        own = [_feed(client, cluster, kind) for kind in (TENANTS, AGENTS)]
        async with cluster.running():
            await cluster.load()
            tasks = [asyncio.create_task(one.run()) for one in own]
            await made.settled()
            made.take_writes()
            yield made
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _feed(client: KubeClient, cluster: Cluster, kind: Resource) -> Reflector:
    """Stands for the handlers: the same events, without kopf."""
    return Reflector(
        client,
        kind,
        on_change=lambda change: cluster.observe(kind, change.object, deleted=change.new is None),
    )


@dataclass(frozen=True)
class Home:
    """A tenant with its namespace, in which the operator is bound."""

    tenant: Manifest
    namespace: str

    @property
    def name(self) -> str:
        return str(self.tenant["metadata"]["name"])

    @property
    def owner(self) -> Owner:
        return Owner.of(self.tenant)

    @property
    def key(self) -> Key:
        return Key("Tenant", None, self.name)

    def build(self, kind: str = "ConfigMap", name: str = "one", api_version: str = "v1", **content: Any) -> Manifest:
        """A child as the builders make it."""
        metadata = {"name": name, "namespace": self.namespace, "labels": {names.TENANT_LABEL: self.name}}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


@pytest.fixture
async def home(observed: Observed) -> Home:
    name = unique_name("tenant")
    client = observed.client
    spec = {"namespace": name}
    body = {"apiVersion": TENANTS.api_version, "kind": TENANTS.kind, "metadata": {"name": name}, "spec": spec}
    tenant = await client.create(TENANTS, body)
    made = Home(tenant, name)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    namespace["metadata"]["labels"] = {names.TENANT_LABEL: name}  # type: ignore[index]
    await observed.cluster.apply(namespace, owner=None, manager=names.TENANT_FIELD_MANAGER)
    binding = made.build(
        "RoleBinding",
        names.OPERATOR_BINDING,
        ROLE_BINDINGS.api_version,
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
    )
    await observed.cluster.apply(binding, owner=made.owner, manager=names.TENANT_FIELD_MANAGER)
    await observed.eventually(lambda: observed.cluster.tenant(name) is not None)
    await observed.settled()
    observed.take_writes()
    return made
