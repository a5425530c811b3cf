"""A cluster, stores and runtimes in memory, and what tests do with them over and over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.config import Settings
from syntera_operator.manifest import AGENTS, KNOWLEDGE_BASES, TENANTS, Manifest
from syntera_operator.queue import Outcome
from syntera_operator.reconcile.agent import reconcile_agent
from syntera_operator.reconcile.context import Context
from syntera_operator.reconcile.knowledge_base import reconcile_knowledge_base
from syntera_operator.reconcile.stores import RecentIdentities
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_knowledge import FakeKnowledge
from tests.support.fake_runtimes import FakeRuntimes
from tests.support.fake_stores import FakeStores
from tests.support.kstatus import Kstatus, compute
from tests.support.make import make_tenant_manifest


def make_settings(**changes: Any) -> Settings:
    """The operator's settings."""
    fields = {
        "operator_namespace": "syntera-system",
        "runtime_image": "registry.example/syntera-runtime:1",
        "ingestion_image": "registry.example/syntera-ingestion:1",
        "tenant_cluster_role": "syntera-tenant-namespace",
        "postgresql_url": "postgresql://syntera_operator@postgresql.syntera-stores.svc/syntera",
        "redis_url": "redis://redis.syntera-stores.svc:6379/0",
    }
    return Settings(**(fields | changes))


@dataclass
class World:
    """Everything around a reconcile."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    stores: FakeStores = field(default_factory=FakeStores)
    knowledge: FakeKnowledge = field(default_factory=FakeKnowledge)
    runtimes: FakeRuntimes = field(default_factory=FakeRuntimes)
    time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    settings: Settings = field(default_factory=make_settings)
    recent: RecentIdentities = field(init=False)

    def __post_init__(self) -> None:
        self.recent = RecentIdentities(clock=self._clock)

    @property
    def context(self) -> Context:
        """What a reconcile gets."""
        return Context(self.cluster, self.stores, self.knowledge, self.runtimes, self.settings, self._now, self.recent)

    async def tenant(self, name: str = "acme") -> Outcome:
        """Reconcile a Tenant."""
        return await reconcile_tenant(name, self.context)

    async def agent(self, name: str = "travel", namespace: str = "acme") -> Outcome:
        """Reconcile an Agent."""
        return await reconcile_agent(namespace, name, self.context)

    async def knows(self, name: str = "handbook", namespace: str = "acme") -> Outcome:
        """Reconcile a KnowledgeBase."""
        return await reconcile_knowledge_base(namespace, name, self.context)

    async def settle(self, name: str = "acme") -> None:
        """Bring a Tenant up, pods included."""
        await self.tenant(name)
        self.cluster.finish_rollout(self.cluster.get(TENANTS, None, name)["status"]["namespace"])
        await self.tenant(name)

    def edit(self, manifest: Manifest, **spec: Any) -> None:
        """Change an object's spec, as its author would; None takes a field away."""
        manifest["spec"] = {key: value for key, value in {**manifest["spec"], **spec}.items() if value is not None}
        manifest["metadata"]["generation"] += 1

    def conditions(self, manifest: Manifest) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition."""
        return {one["type"]: (one["status"], one["reason"]) for one in manifest["status"]["conditions"]}

    def message(self, manifest: Manifest, type_: str) -> str:
        """A condition's message."""
        return next(str(one["message"]) for one in manifest["status"]["conditions"] if one["type"] == type_)

    def the_tenant(self, name: str = "acme") -> Manifest:
        """A Tenant as it is now."""
        return self.cluster.get(TENANTS, None, name)

    def the_agent(self, name: str = "travel", namespace: str = "acme") -> Manifest:
        """An Agent as it is now."""
        return self.cluster.get(AGENTS, namespace, name)

    def the_knowledge_base(self, name: str = "handbook", namespace: str = "acme") -> Manifest:
        """A KnowledgeBase as it is now."""
        return self.cluster.get(KNOWLEDGE_BASES, namespace, name)

    def the_published(self, agent: str = "travel", namespace: str = "acme") -> Manifest:
        """A published ConfigMap as it is now."""
        return self.cluster.get(kube.CONFIG_MAPS, namespace, names.published_agent_name(agent))

    def state(self, manifest: Manifest) -> Kstatus:
        """What kstatus thinks of an object."""
        return compute(manifest)

    def _clock(self) -> float:
        return self.time.timestamp()

    def _now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def world() -> World:
    """A cluster with nothing in it."""
    return World()


@pytest.fixture
def acme(world: World) -> Callable[..., Manifest]:
    """Makes the Tenant `acme`."""

    def make(**fields: Any) -> Manifest:
        world.cluster.put(make_tenant_manifest("acme", **fields))
        return world.the_tenant()

    return make
