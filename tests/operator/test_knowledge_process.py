"""A KnowledgeBase's life with the whole operator, real PostgreSQL and Kubernetes' own controllers. No pod runs: what one would have
written, and how it would have ended, is written here.

Only the program shows that requests are polled for, that a Job's end is heard of, and who wakes whom.
"""

import asyncio
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from syntera_crds.contract import names
from syntera_kube.resources import JOBS, PODS
from syntera_operator.manifest import KNOWLEDGE_BASES, Manifest
from tests.support import operator_site
from tests.support.apiserver import unique_name
from tests.support.make import make_embedding, make_endpoint, make_knowledge_base_manifest
from tests.support.operator_process import OperatorProcess
from tests.support.operator_site import Site, strip
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.api, pytest.mark.long]

_SYNCED = """
    WITH base AS (
      INSERT INTO syntera.knowledge_bases (tenant_id, id, name, last_index) VALUES ($1, $2, $3, 1) RETURNING id
    ), index AS (
      INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, state, storage)
      SELECT $1, $4, id, 1, 'f', 384, 'active', 'common' FROM base
    )
    INSERT INTO syntera.knowledge_syncs (tenant_id, id, knowledge_base_id, state, trigger, revision, index_number, ended_at)
    SELECT $1, $5, id, 'complete', 'configuration', 1, 1, now() + interval '3 seconds' FROM base
"""


@pytest.fixture(scope="module")
def site(database: Database, redis_server: RedisServer) -> Iterator[Site]:
    with operator_site.empty_site(database, redis_server) as site:
        site.server.install_crds()
        yield site
        site.end_all()


def execute(database: Database, statement: str, *values: object) -> list[Manifest]:
    """Rows that a statement of the administrator's gives."""

    async def run() -> list[Manifest]:
        connection = await database.connect()
        try:
            return [dict(row) for row in await connection.fetch(statement, *values)]
        finally:
            await connection.close()

    return asyncio.run(run())


def end_pods(site: Site, operator: OperatorProcess, namespace: str) -> None:
    """Do what a kubelet would: end the pods of Jobs."""

    def list_open() -> list[str]:
        query = {"labelSelector": f"{names.NAME_LABEL}={names.INGESTION}", "fieldSelector": "status.phase=Pending"}
        return site.list_names(PODS, namespace, **query)

    operator.wait_until(list_open)
    for pod in list_open():
        site.merge(PODS.path(namespace=namespace, name=pod, subresource="status"), {"status": {"phase": "Succeeded"}})


def test_knowledge_base_is_synced_asked_for_searched_and_erased(site: Site, database: Database) -> None:
    operator, name = site.start_leader(), unique_name("acme")
    tenant = site.make_tenant(name, models=[make_endpoint(embedding=make_embedding())])
    operator.wait_until(site.is_provided(tenant))
    agent = site.make_agent(name, "travel", knowledge=[{"name": "handbook"}])
    operator.wait_until(lambda: site.conditions(agent).get("ResolvedRefs") == "False")

    path = KNOWLEDGE_BASES.path(namespace=name, name="handbook")
    manifest = strip(make_knowledge_base_manifest(namespace=name))
    site.server.send("POST", KNOWLEDGE_BASES.path(namespace=name), manifest)
    operator.wait_until(lambda: len(site.list_names(JOBS, name)) == 1)
    operator.wait_until(site.is_published(agent))
    assert site.full_conditions(path)["Synced"]["reason"] == "Syncing"

    tenant_id = UUID((site.get(tenant) or {})["status"]["tenantID"])
    execute(database, _SYNCED, tenant_id, uuid4(), "handbook", uuid4(), uuid4())
    end_pods(site, operator, name)
    operator.wait_until(lambda: site.conditions(path).get("Ready") == "True")
    status = (site.get(path) or {})["status"]
    assert (status["activeIndex"], status["lastSync"]["trigger"], status["lastSyncDurationSeconds"]) == (
        1,
        "configuration",
        3,
    )
    assert (site.get(tenant) or {})["status"]["knowledgeBases"] == 1

    execute(database, "UPDATE syntera.knowledge_bases SET sync_request = $2 WHERE tenant_id = $1", tenant_id, uuid4())
    operator.wait_until(lambda: len(site.list_names(JOBS, name)) == 2)
    asked = "SELECT FROM syntera.knowledge_bases WHERE tenant_id = $1 AND sync_request IS NOT NULL"
    operator.wait_until(lambda: not execute(database, asked, tenant_id))
    end_pods(site, operator, name)
    operator.wait_until(lambda: site.full_conditions(path)["Synced"]["reason"] == "Synced")

    site.delete(path)
    end_pods(site, operator, name)
    operator.wait_until(lambda: site.get(path) is None)
    operator.wait_until(lambda: site.conditions(agent).get("ResolvedRefs") == "False")
