"""Sources in a real sync Job, whose guard is the one that is composed there: nothing of this machine is asked."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import GitSource, S3Source, Source, WebSource
from syntera_crds.contract.tenant_config import Egress, TenantConfig
from tests.runtime.ingest.job import SyncJobs
from tests.runtime.ingest.sources.site import running_site
from tests.support.embedding_server import EmbeddingServer, embedding_server
from tests.support.postgresql import Database

KEY = SecretKey(name="bucket", key="key")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


async def test_job_asks_no_server_that_nobody_may_reach(
    database: Database, endpoint: EmbeddingServer, tmp_path: Path
) -> None:
    """Not even where the Tenant allows everything."""
    jobs = SyncJobs(database, await database.make_tenant(), tmp_path, endpoint.base_url)
    egress = Egress(hosts=["localhost"], networks=["0.0.0.0/0"])
    tenant = TenantConfig(name=jobs.login.name, display_name="x", egress=egress)
    (jobs.folder / "config" / "tenant.json").write_text(tenant.to_json())
    (jobs.folder / "secrets" / "bucket").mkdir()
    (jobs.folder / "secrets" / "bucket" / "key").write_text("secret")
    async with running_site() as site:
        sources = [
            Source(name=f"{kind}-{index}", **{kind: made})
            for index, host in enumerate(("127.0.0.1", "localhost"))
            for kind, made in {
                "web": WebSource(urls=[site.url(host=host)]),
                "git": GitSource(url=site.url("/a.git", host=host)),
                "s3": S3Source(
                    endpoint=site.url("", host=host),
                    region="r",
                    bucket="bucket",
                    access_key_id=KEY,
                    secret_access_key=KEY,
                ),
            }.items()
        ]
        jobs.configure(sources=sources)
        assert await asyncio.to_thread(jobs.run) == 0, jobs.log
        assert site.addresses == set()
    connection = await database.connect()
    try:
        told = await connection.fetchval(
            "SELECT failures::text FROM syntera.knowledge_syncs WHERE tenant_id = $1", jobs.login.tenant_id
        )
    finally:
        await connection.close()
    assert told.count("Refused") >= len(sources)
