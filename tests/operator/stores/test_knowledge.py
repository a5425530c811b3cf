"""What the operator reads of knowledge bases, and what becomes of their rows, filled as a tenant's own processes fill them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from syntera_crds.contract.knowledge_config import MOST_KNOWLEDGE_BASES
from syntera_operator.reconcile.knowledge_status import Observed, describe_contents
from syntera_operator.stores import knowledge
from syntera_operator.stores.erasure import Erasure
from syntera_operator.stores.knowledge import KnowledgeStore
from syntera_operator.stores.knowledge_summary import KnowledgeSummary, VectorPlace
from syntera_operator.stores.postgresql import Postgresql
from syntera_runtime.models.knowledge import (
    DocumentFailure,
    DocumentOrigin,
    Failing,
    IndexStorage,
    SyncCounts,
    SyncFailure,
    SyncState,
)
from tests.runtime.conftest import PostgresqlStores, make_postgresql_stores
from tests.runtime.knowledge_stores import KnowledgeStores, make_facts, make_postgresql_knowledge
from tests.support.postgresql import Database

from .conftest import connected

ENDED = datetime(2026, 3, 1, tzinfo=UTC)
TABLES = (
    "knowledge_bases",
    "knowledge_indexes",
    "knowledge_documents",
    "knowledge_texts",
    "knowledge_index_documents",
    "knowledge_chunks",
    "knowledge_vectors",
    "knowledge_words",
    "knowledge_syncs",
)


@pytest_asyncio.fixture
async def tenant(database: Database, tmp_path: Path) -> AsyncIterator[PostgresqlStores]:
    """A tenant with stores of its own."""
    made = await make_postgresql_stores(database, tmp_path)
    yield made
    await made.pool.aclose()


@pytest.fixture
def filled(tenant: PostgresqlStores) -> KnowledgeStores:
    """What its syncs write to."""
    return make_postgresql_knowledge(tenant)


async def fill(filled: KnowledgeStores, name: str = "handbook") -> None:
    """A knowledge base with some of everything."""
    base = await filled.begin(name)
    index = await filled.open_index(base)
    await filled.put(index, "a.md", "one two", "three two", vectors=[(1, 0, 0, 0), (0, 1, 0, 0)])
    gone = await filled.put(index, "b.md", "four")
    await filled.editor.exclude_document(filled.tenant_id, base.id, gone)
    await filled.writer.fail_document(
        filled.tenant_id,
        base.id,
        index,
        document=None,
        origin=DocumentOrigin("docs", "c.pdf"),
        facts=make_facts(),
        failure=DocumentFailure(Failing.BROKEN, "It cannot be read."),
    )
    await filled.publish(index)
    await filled.upload(base.id)
    await filled.writer.begin_sync(filled.tenant_id, base.id, trigger="schedule", revision=1)


async def count(database: Database, tenant_id: object) -> dict[str, int]:
    """How many rows of each table a tenant has."""
    async with connected(database.superuser_dsn) as superuser:
        return {
            table: await superuser.fetchval(f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1", tenant_id)
            for table in TABLES
        }


async def test_summary_tells_counts_and_the_last_syncs(filled: KnowledgeStores, postgresql: Postgresql) -> None:
    store = KnowledgeStore(postgresql)
    assert await store.summary(filled.tenant_id, "handbook") is None
    base = await filled.begin()
    assert await store.summary(filled.tenant_id, "handbook") == KnowledgeSummary()
    await fill(filled)
    (running,) = await filled.editor.list_syncs(filled.tenant_id, base.id, limit=9)
    failures = [SyncFailure("web", None, Failing.UNAVAILABLE, "It is away.")] * 12
    ended = replace(
        running,
        state=SyncState.FAILED,
        ended_at=ENDED,
        counts=SyncCounts(added=3, embedded_tokens=70, chunks_written=9),
        failures=failures,
        failure="budget-exceeded",
        message="It needs more.",
        estimated_tokens=700,
    )
    await filled.writer.report_sync(filled.tenant_id, ended)
    await filled.writer.begin_sync(filled.tenant_id, base.id, trigger="request", revision=2)
    await filled.open_index(base, "f2")

    found = await store.summary(filled.tenant_id, "handbook")

    assert found is not None
    assert (found.documents, found.indexed, found.failed, found.chunks) == (3, 1, 1, 2)
    assert (found.active_index, found.building_index, found.request_id) == (1, 2, None)
    assert found.last_sync is not None
    assert (found.last_sync.state, found.last_sync.trigger, found.last_sync.ended_at) == ("running", "request", None)
    assert found.last_ended is not None
    assert (found.last_ended.state, found.last_ended.ended_at, found.last_ended.added) == ("failed", ENDED, 3)
    assert (found.last_ended.embedded_tokens, found.last_ended.estimated_tokens) == (70, 700)
    assert (found.last_ended.failure, found.last_ended.message) == ("budget-exceeded", "It needs more.")
    assert len(found.last_ended.failures) == 10
    assert (found.last_ended.failures[0].reason, found.last_ended.failures[0].document) == ("Unavailable", None)


async def test_request_is_pending_until_it_was_begun(
    filled: KnowledgeStores, tenant: PostgresqlStores, postgresql: Postgresql
) -> None:
    store = KnowledgeStore(postgresql)

    async def asked() -> list[tuple[str, object]]:
        found = await store.pending()
        return [(one.knowledge_base, one.request_id) for one in found if one.tenant_id == filled.tenant_id]

    await filled.editor.request_sync(filled.tenant_id, "handbook")
    ((name, request_id),) = await asked()
    assert name == "handbook"
    await filled.editor.request_sync(filled.tenant_id, "handbook")  # it is asked for already
    assert await asked() == [(name, request_id)]
    found = await store.summary(filled.tenant_id, "handbook")
    assert found is not None
    assert found.request_id == request_id
    await store.begun(filled.tenant_id, "handbook", uuid4())
    assert await asked() == [(name, request_id)]
    await store.begun(filled.tenant_id, "handbook", found.request_id or uuid4())
    assert await asked() == []


async def test_tenant_that_asks_for_much_hides_no_other(
    filled: KnowledgeStores, database: Database, postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of tenants that are suspended, or for what is no KnowledgeBase, are never begun."""
    monkeypatch.setattr(knowledge, "_MOST_PENDING", 4)
    others = [await make_postgresql_stores(database, tmp_path) for _ in range(2)]
    for tenant_id, editor in (
        (filled.tenant_id, filled.editor),
        *((made.tenant_id, made.editor) for made in map(make_postgresql_knowledge, others)),
    ):
        for number in range(4):
            await editor.request_sync(tenant_id, f"base-{number}")
    found = {one.tenant_id for one in await KnowledgeStore(postgresql).pending()}
    assert {filled.tenant_id, *(one.stores.tenant_id for one in others)} <= found
    for one in others:
        await one.pool.aclose()


async def test_outcome_that_no_sync_of_ours_wrote_is_read_all_the_same(
    filled: KnowledgeStores, tenant: PostgresqlStores, postgresql: Postgresql
) -> None:
    """A tenant's login may write what it likes into its own rows."""
    base = await filled.begin()
    await filled.writer.begin_sync(filled.tenant_id, base.id, trigger="t" * 1000, revision=1)
    for counts, failures in (
        ("[]", "{}"),
        ('{"added": -1, "removed": "many", "failed": 1e99, "changed": true}', '[1, {"source": 2}, {"reason": null}]'),
        ('{"added": 7}', '["' + "x" * 2_000_000 + '"]'),
    ):
        async with tenant.pool.connection("test") as connection:
            await connection.execute(
                "UPDATE syntera.knowledge_syncs SET state = 'failed', ended_at = now(), counts = $2, failures = $3,"
                " failure = repeat('f', 1000), message = repeat('m', 100000) WHERE tenant_id = $1",
                filled.tenant_id, counts, failures,
            )  # fmt: skip
        found = await KnowledgeStore(postgresql).summary(filled.tenant_id, "handbook")
        assert found is not None
        status = describe_contents(Observed((), found))
        assert status["last_sync"].added in (0, 7)
        assert status["failures"] == []
        assert found.last_ended is not None
        assert found.last_ended.message == "m" * 4096


async def test_places_of_vectors_are_those_that_each_index_names(
    filled: KnowledgeStores, postgresql: Postgresql
) -> None:
    store = KnowledgeStore(postgresql)
    base, other = await filled.begin(), await filled.begin("other")
    await fill(filled)
    await filled.publish(await filled.open_index(base, "f2", pinecone_host="https://old.example"))
    await filled.publish(await filled.open_index(base, "f3", pinecone_host="https://new.example"))
    await filled.open_index(other, pinecone_host="https://new.example")

    def place(host: str, base_id: UUID, number: int) -> VectorPlace:
        return VectorPlace(host=host, namespace=f"{filled.tenant_id}.{base_id}.{number}")

    own = [place("https://old.example", base.id, 2), place("https://new.example", base.id, 3)]
    assert await store.list_vectors(filled.tenant_id, "handbook") == own
    assert await store.list_vectors(filled.tenant_id) == [*own, place("https://new.example", other.id, 1)]
    assert await store.list_vectors(uuid4()) == await store.list_vectors(filled.tenant_id, "nothing") == []


async def test_vectors_that_a_sync_could_not_erase_are_left_until_somebody_gives_them_up(
    filled: KnowledgeStores, postgresql: Postgresql
) -> None:
    store = KnowledgeStore(postgresql)
    base = await filled.begin()
    begun = await filled.writer.begin_sync(filled.tenant_id, base.id, trigger="schedule", revision=1)
    for fingerprint, host in (("f1", "https://old.example"), ("f2", "https://older.example"), ("f3", None)):
        await filled.publish(await filled.open_index(base, fingerprint, pinecone_host=host))

    async def left() -> list[str]:
        found = await store.summary(filled.tenant_id, "handbook")
        assert found is not None
        return [place.host for place in found.left]

    await filled.writer.report_sync(filled.tenant_id, replace(begun, state=SyncState.COMPLETE, ended_at=ENDED))
    assert await left() == [], "they are kept to go back to"
    doomed = await filled.writer.list_expired_indexes(filled.tenant_id, base.id, kept=timedelta(0))
    assert [index.number for index in doomed] == [1, 2]
    assert await left() == ["https://old.example", "https://older.example"]
    begun = await filled.writer.begin_sync(filled.tenant_id, base.id, trigger="schedule", revision=1)
    assert await left() == [], "the sync that runs may erase them"
    await filled.writer.report_sync(filled.tenant_id, replace(begun, state=SyncState.COMPLETE, ended_at=ENDED))

    await store.abandon_vectors(filled.tenant_id, "other", "https://old.example")
    await store.abandon_vectors(filled.tenant_id, "handbook", "https://nowhere.example")
    assert await left() == ["https://old.example", "https://older.example"]
    await store.abandon_vectors(filled.tenant_id, "handbook", "https://old.example")
    assert await left() == ["https://older.example"]
    doomed = await filled.writer.list_expired_indexes(filled.tenant_id, base.id, kept=timedelta(0))
    assert [(index.number, index.storage, index.pinecone_host) for index in doomed] == [
        (1, IndexStorage.COMMON, None),
        (2, IndexStorage.PINECONE, "https://older.example"),
    ]


async def test_index_that_is_searched_is_not_given_up(filled: KnowledgeStores, postgresql: Postgresql) -> None:
    base = await filled.begin()
    index = await filled.publish(await filled.open_index(base, pinecone_host="https://new.example"))
    await KnowledgeStore(postgresql).abandon_vectors(filled.tenant_id, "handbook", "https://new.example")
    assert await filled.writer.list_indexes(filled.tenant_id, base.id) == [index]


async def test_forgotten_knowledge_base_leaves_nothing_and_others_stay(
    filled: KnowledgeStores, database: Database, postgresql: Postgresql
) -> None:
    await fill(filled)
    before = await count(database, filled.tenant_id)
    assert all(before.values()), before
    await fill(filled, "other")
    await KnowledgeStore(postgresql).forget(filled.tenant_id, "handbook")
    await KnowledgeStore(postgresql).forget(filled.tenant_id, "handbook")
    assert await count(database, filled.tenant_id) == before
    assert await filled.reader.find_knowledge_base(filled.tenant_id, "handbook") is None
    assert len(await filled.doomed()) == 1


async def test_room_ends_where_no_further_knowledge_base_is_made(
    tenant: PostgresqlStores, database: Database, postgresql: Postgresql
) -> None:
    store, tenant_id = KnowledgeStore(postgresql), tenant.stores.tenant_id
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(
            "INSERT INTO syntera.knowledge_bases (tenant_id, id, name)"
            " SELECT $1, gen_random_uuid(), 'number-' || n FROM generate_series(2, $2::int) AS n",
            tenant_id, MOST_KNOWLEDGE_BASES,
        )  # fmt: skip
    make = "SELECT syntera.ensure_knowledge_base(gen_random_uuid(), $1)"
    assert await store.has_room(tenant_id)
    async with tenant.pool.connection("test") as connection:
        await connection.execute(make, "number-1")
        assert not await store.has_room(tenant_id)
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await connection.execute(make, "one-too-many")


async def test_erased_tenant_leaves_nothing(
    filled: KnowledgeStores, tenant: PostgresqlStores, database: Database, postgresql: Postgresql
) -> None:
    await fill(filled)
    before = await count(database, filled.tenant_id)
    erasure = Erasure(postgresql)
    await erasure.open_receipt(filled.tenant_id)
    await erasure.erase_rows(filled.tenant_id)
    assert set((await count(database, filled.tenant_id)).values()) == {0}
    receipt = await erasure.complete(filled.tenant_id)
    assert {table: receipt.rows[table] for table in TABLES} == before
