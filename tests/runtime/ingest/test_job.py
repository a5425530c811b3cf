"""Sync Jobs as processes on a real PostgreSQL, with the real readers of formats and an embedding endpoint that counts."""

import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from syntera_crds.contract.knowledge_config import Chunking, InlineSource, Source, SyncBudget, UploadSource
from syntera_runtime.adapters.postgresql.blobs import PostgresqlBlobs
from syntera_runtime.adapters.postgresql.files import PostgresqlFiles
from syntera_runtime.adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from syntera_runtime.adapters.postgresql.knowledge_writer import PostgresqlKnowledgeWriter
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.ids import new_id
from syntera_runtime.models.files import FileContent, NewFile, Storage
from syntera_runtime.models.ids import FileId, TenantId
from syntera_runtime.models.knowledge import DocumentFacts, DocumentOrigin
from tests.runtime.ingest.job import NAME, SyncJobs
from tests.support.embedding_server import EmbeddingServer, embedding_server
from tests.support.postgresql import Database

pytestmark = pytest.mark.long
"""Each process imports for a second or two."""

DOCUMENTS = {
    "refunds.md": "# Refunds\n\nYou get your money back within 14 days.\n\n## Exceptions\n\nNone.",
    "hours.txt": "We are open from nine to five, on all days but Sunday.",
    "prices.csv": "what,price\nbed,100\nbreakfast,15\n",
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture
async def jobs(database: Database, endpoint: EmbeddingServer, tmp_path: Path) -> SyncJobs:
    made = SyncJobs(database, await database.make_tenant(), tmp_path, endpoint.base_url)
    made.mount(DOCUMENTS)
    endpoint.take_counts()
    return made


async def test_sync_fills_the_index_and_the_next_one_writes_nothing(jobs: SyncJobs, endpoint: EmbeddingServer) -> None:
    assert jobs.run() == 0, jobs.log
    assert jobs.message.startswith("complete: 3 documents (3 added")
    contents = await jobs.contents()
    assert endpoint.take_counts().texts == await jobs.count("knowledge_vectors") > 0
    before = await written(jobs)
    assert jobs.run("sync", "--trigger", "schedule", "--when-busy", "skip") == 0, jobs.log
    assert jobs.message.startswith("complete: 3 documents (0 added, 0 changed, 0 removed, 0 failed)")
    assert endpoint.take_counts().texts == 0
    assert await written(jobs) == before
    assert await jobs.contents() == contents


async def written(jobs: SyncJobs) -> list[object]:
    """The transactions that wrote the tenant's rows last, but for those of syncs."""
    tables = ("knowledge_documents", "knowledge_texts", "knowledge_index_documents", "knowledge_chunks", "knowledge_vectors",
              "knowledge_words", "knowledge_indexes", "knowledge_bases")  # fmt: skip
    connection = await jobs.database.connect()
    try:
        found = [
            await connection.fetch(
                f"SELECT ctid::text, xmin::text FROM syntera.{table} WHERE tenant_id = $1 ORDER BY 1",
                jobs.login.tenant_id,
            )
            for table in tables
        ]
    finally:
        await connection.close()
    return [[tuple(row) for row in rows] for rows in found]


async def test_sync_beyond_its_budget_is_final(jobs: SyncJobs, endpoint: EmbeddingServer) -> None:
    assert jobs.run() == 0, jobs.log
    endpoint.take_counts()
    jobs.configure(chunking=Chunking(target_tokens=64, overlap_tokens=0), budget=SyncBudget(max_tokens_per_sync=1))
    jobs.mount({**DOCUMENTS, "more.md": "Something new is said here."})
    before = await jobs.contents()
    assert jobs.run() == 2, jobs.log
    assert jobs.message.startswith("budget-exceeded: ")
    assert endpoint.take_counts().texts == 0
    assert await jobs.contents() == before


async def test_configuration_that_is_missing_is_final(jobs: SyncJobs) -> None:
    (jobs.folder / "config" / "knowledge-base.json").unlink()
    assert jobs.run() == 2, jobs.log
    assert jobs.message.startswith("configuration-error: ")


async def test_store_that_is_away_is_worth_another_try(jobs: SyncJobs) -> None:
    (jobs.folder / "stores" / "postgresql-url").write_text("postgresql://nobody:x@127.0.0.1:1/none")
    assert jobs.run() == 1, jobs.log
    assert jobs.message.startswith("store-unavailable: ")


async def test_sigterm_ends_a_sync_as_killed(database: Database, tmp_path: Path) -> None:
    with embedding_server(seconds=1) as slow:
        jobs = SyncJobs(database, await database.make_tenant(), tmp_path, slow.base_url)
        jobs.mount({f"{number}.md": f"Document {number} says this." for number in range(400)})
        process = jobs.start()
        assert slow.wait_for_requests(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 1, jobs.log
        assert jobs.message.startswith("killed: ")
        assert 0 < slow.take_counts().texts <= 256
        assert jobs.run() == 0, jobs.log
        assert slow.take_counts().repeated == 0


async def test_lost_connections_are_worth_another_try(database: Database, tmp_path: Path) -> None:
    with embedding_server(seconds=1) as slow:
        jobs = SyncJobs(database, await database.make_tenant(), tmp_path, slow.base_url)
        jobs.mount({f"{number}.md": f"Document {number} says this." for number in range(100)})
        process = jobs.start()
        assert slow.wait_for_requests(1)
        connection = await database.connect()
        try:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 't_' || $1",
                jobs.login.tenant_id.hex,
            )
        finally:
            await connection.close()
        assert process.wait(timeout=60) == 1, jobs.log
        assert jobs.message.startswith("store-unavailable: ")
        assert jobs.run() == 0, jobs.log
    assert await jobs.count("knowledge_documents") == 100


async def test_source_that_is_not_there_keeps_what_it_had(jobs: SyncJobs) -> None:
    other = Source(name="notes", inline=InlineSource(title="Notes", text="A note is here."))
    docs = jobs.config.sources[0]
    jobs.configure(sources=[docs, other])
    assert jobs.run() == 0, jobs.log
    before = await jobs.contents()
    shutil.rmtree(jobs.folder / "config-maps" / "docs")
    assert jobs.run() == 0, jobs.log
    assert jobs.message.startswith("complete: 4 documents (0 added, 0 changed, 0 removed, 0 failed)")
    assert await jobs.contents() == before


async def test_uploads_are_taken_in_and_go_with_the_knowledge_base(jobs: SyncJobs) -> None:
    jobs.configure(sources=[Source(name="uploads", upload=UploadSource())])
    content = b"# Cancelling\n\nYou may cancel until the day before. " * 20_000
    tenant_id = TenantId(jobs.login.tenant_id)
    async with Pool(jobs.folder / "stores" / "postgresql-url", connections=3, seconds=20, application="test") as pool:
        files, new = PostgresqlFiles(pool), NewFile(FileId(new_id()), "cancelling.md", Storage.POSTGRESQL)

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        await files.add_file(tenant_id, new, owner=None)
        await PostgresqlBlobs(pool).write(tenant_id, new.id, pieces())
        digest = sha256(content).digest()
        await files.complete_file(tenant_id, new.id, FileContent("text/markdown", len(content), digest))
        async with PostgresqlKnowledgeWriter(pool).lock(tenant_id, NAME) as base:
            assert base is not None
        await PostgresqlKnowledgeEditor(pool).add_upload(
            tenant_id,
            base.id,
            origin=DocumentOrigin("uploads", "cancelling.md"),
            facts=DocumentFacts(title="cancelling.md"),
            content_hash=digest,
            file_id=new.id,
        )
        assert jobs.run() == 0, jobs.log
        assert jobs.message.startswith("complete: 1 documents (1 added"), jobs.message
        assert jobs.run() == 0, jobs.log
        assert jobs.message.startswith("complete: 1 documents (0 added, 0 changed, 0 removed, 0 failed)"), jobs.message
        assert jobs.run("erase") == 0, jobs.log
        assert [blob.file_id for blob in await files.list_doomed(tenant_id, Storage.POSTGRESQL, limit=9)] == [new.id]


async def test_erase_leaves_nothing(jobs: SyncJobs) -> None:
    assert jobs.run() == 0, jobs.log
    assert jobs.run("erase") == 0, jobs.log
    assert jobs.message.startswith("erased: ")
    for table in ("knowledge_bases", "knowledge_documents", "knowledge_chunks", "knowledge_vectors", "knowledge_syncs"):
        assert await jobs.count(table) == 0, table
