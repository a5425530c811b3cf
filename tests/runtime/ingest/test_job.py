"""Sync Jobs as processes on a real PostgreSQL, with the real readers of formats and an embedding endpoint that counts."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_crds.contract.knowledge_config import Chunking, SyncBudget
from tests.runtime.ingest.job import SyncJobs
from tests.support.embedding_server import EmbeddingServer, embedding_server
from tests.support.postgresql import Database

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


async def test_erase_leaves_nothing(jobs: SyncJobs) -> None:
    assert jobs.run() == 0, jobs.log
    assert jobs.run("erase") == 0, jobs.log
    assert jobs.message.startswith("erased: ")
    for table in ("knowledge_bases", "knowledge_documents", "knowledge_chunks", "knowledge_vectors", "knowledge_syncs"):
        assert await jobs.count(table) == 0, table
