"""Tenants as the operator provides for them with the rights that the chart gives it. Stores and pods are stand-ins."""

import asyncio

from syntera_kube import ClusterConfig, KubeClient
from syntera_kube.errors import Forbidden
from syntera_operator.cluster import Cluster
from syntera_operator.reconcile.context import Context
from syntera_operator.reconcile.tenant import reconcile_tenant
from tests.operator.reconcile.conftest import make_settings
from tests.support.fake_knowledge import FakeKnowledge
from tests.support.fake_runtimes import FakeRuntimes
from tests.support.fake_stores import FakeStores

from .installed import TENANTS, Installed, tenant_manifest

_DEADLINE_SECONDS = 120


def provide(installed: Installed, name: str, **spec: object) -> None:
    """Make a Tenant, and everything that the operator makes for it.

    Raises:
        TimeoutError: the operator was not let do so.
    """
    tenant = installed.server.send("POST", TENANTS.path(), tenant_manifest(name, **spec))
    asyncio.run(_reconcile(installed, tenant))


async def _reconcile(installed: Installed, tenant: dict[str, object]) -> None:
    kubeconfig = installed.server.kubeconfig_for(installed.user, *installed.groups)
    settings = make_settings(
        operator_namespace=installed.namespace,
        service_account=installed.account,
        tenant_cluster_role=installed.tenant_role,
    )
    async with KubeClient.connect(ClusterConfig.from_kubeconfig(kubeconfig), component="syntera-operator") as client:
        cluster = Cluster(client, before_write=lambda: None, enqueue=lambda _: None, instance="test")
        async with cluster.running(), asyncio.timeout(_DEADLINE_SECONDS):
            await cluster.load()
            cluster.observe(TENANTS, tenant, deleted=False)
            context = Context(cluster, FakeStores(), FakeKnowledge(), FakeRuntimes(), settings)
            while True:
                try:
                    await reconcile_tenant(str(tenant["metadata"]["name"]), context)  # type: ignore[index]
                    return
                except Forbidden:  # the API server has not seen the operator's newest right yet
                    await asyncio.sleep(0.05)
