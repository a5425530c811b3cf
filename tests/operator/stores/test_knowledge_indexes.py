"""Tables of their own for large indexes: made behind the walls, searched by HNSW, removed when nobody needs them."""

import asyncio
import math
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from syntera_crds.contract.names import OWN_VECTORS_PREFIX, own_vectors_table
from syntera_operator.stores import knowledge_indexes
from syntera_operator.stores.erasure import Erasure
from syntera_operator.stores.knowledge_indexes import LargeIndexes
from syntera_operator.stores.knowledge_summary import StuckIndex
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_runtime.adapters.postgresql.knowledge_rows import filter_values
from syntera_runtime.adapters.postgresql.knowledge_vectors import nearest_statement
from syntera_runtime.models.ids import DocumentId
from syntera_runtime.models.knowledge import Index, IndexStorage, SearchFilter
from tests.runtime.conftest import PostgresqlStores, make_postgresql_stores
from tests.runtime.knowledge_stores import PUBLIC, KnowledgeStores, embedded_hash, make_postgresql_knowledge
from tests.support.postgresql import Database, explain

from .catalogue import find_faults
from .conftest import connected

DIMENSIONS = 24
CHUNKS = 400
"""Of each filled index; from half of it on an index is large here."""


@pytest_asyncio.fixture
async def tenant(database: Database, tmp_path: Path) -> AsyncIterator[PostgresqlStores]:
    """A tenant with stores of its own."""
    made = await make_postgresql_stores(database, tmp_path)
    yield made
    await made.pool.aclose()


@pytest.fixture
def knowledge(tenant: PostgresqlStores) -> KnowledgeStores:
    """What its syncs write to."""
    return make_postgresql_knowledge(tenant)


@pytest_asyncio.fixture
async def large(database: Database) -> AsyncIterator[LargeIndexes]:
    """For indexes of half the size and more."""
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn))
    yield LargeIndexes(postgresql, large=CHUNKS // 2)
    await postgresql.aclose()


def make_vectors(seed: int = 1) -> Iterator[tuple[float, ...]]:
    """Random directions, the same ones for the same seed."""
    chosen = random.Random(seed)
    while True:
        vector = [chosen.gauss(0, 1) for _ in range(DIMENSIONS)]
        length = math.hypot(*vector)
        yield tuple(value / length for value in vector)


async def fill(knowledge: KnowledgeStores, *, rare: int = 0) -> Index:
    """An active index; the chunks of its last documents, `rare` of them, are for owners alone."""
    base = await knowledge.begin()
    index = await knowledge.open_index(base, dimensions=DIMENSIONS)
    vectors = make_vectors()
    for number in range(CHUNKS // 20):
        texts = [f"text {number} {position}" for position in range(20)]
        audience = {"owner"} if number >= CHUNKS // 20 - rare else {"public"}
        await knowledge.put(index, f"{number}.md", *texts, vectors=[next(vectors) for _ in texts], audience=audience)
    return await knowledge.publish(index)


async def reread(knowledge: KnowledgeStores) -> Index:
    """The active index as it is now."""
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active is not None
    return found.active


async def tables(database: Database) -> set[str]:
    """Tables of large indexes that are there."""
    async with connected(database.superuser_dsn) as superuser:
        rows = await superuser.fetch(knowledge_indexes._TABLES, OWN_VECTORS_PREFIX)
    return {row["relname"] for row in rows}


async def copies(database: Database, index: Index) -> int:
    """How many of its vectors are in the common table."""
    async with connected(database.superuser_dsn) as superuser:
        found: int = await superuser.fetchval(
            "SELECT count(*) FROM syntera.knowledge_vectors WHERE index_id = $1", index.id
        )
    return found


async def age_move(database: Database, index: Index) -> None:
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(
            "UPDATE syntera.knowledge_indexes SET moved_at = moved_at - interval '1 hour' WHERE id = $1", index.id
        )


async def test_large_index_moves_to_a_table_of_its_own_and_finds_the_same(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database
) -> None:
    before = await fill(knowledge)
    asked = [next(make_vectors(seed)) for seed in range(5, 15)]
    exact = [await knowledge.near(before, vector) for vector in asked]

    await large.look_after()

    index = await reread(knowledge)
    assert (before.storage, index.storage) == (IndexStorage.COMMON, IndexStorage.OWN)
    assert own_vectors_table(knowledge.tenant_id, index.id) in await tables(database)
    # A search that had read the index before the move still finds all.
    assert [await knowledge.near(before, vector) for vector in asked] == exact
    found = [await knowledge.near(index, vector) for vector in asked]
    hits = sum(len(set(ours) & set(theirs)) for ours, theirs in zip(found, exact, strict=True))
    assert hits >= 98
    assert await copies(database, index) == CHUNKS
    await large.look_after()
    assert await copies(database, index) == CHUNKS
    await age_move(database, index)
    await large.look_after()
    assert await copies(database, index) == 0
    assert await knowledge.near(index, asked[0]) == found[0]


async def test_own_table_stands_behind_the_same_walls(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database, tmp_path: Path
) -> None:
    index = await fill(knowledge)
    await large.look_after()
    table = own_vectors_table(knowledge.tenant_id, index.id)
    async with connected(database.superuser_dsn) as superuser:
        assert await find_faults(superuser) == set()
    other = await make_postgresql_stores(database, tmp_path)
    async with connected(other.url_file.read_text()) as attacker:
        assert await attacker.fetchval(f"SELECT count(*) FROM syntera.{table}") == 0
        for statement in (
            f"DELETE FROM syntera.{table}",
            f"DROP TABLE syntera.{table}",
            f"INSERT INTO syntera.{table} SELECT '{other.stores.tenant_id}', gen_random_uuid(), '\\x00'::bytea, NULL",
            f"INSERT INTO syntera.{table} VALUES ('{knowledge.tenant_id}', '{index.id}', sha256('x'), NULL)",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError)):
                await attacker.execute(statement)
    await other.pool.aclose()


async def test_index_goes_on_growing_and_shrinking_in_its_own_table(
    knowledge: KnowledgeStores, large: LargeIndexes
) -> None:
    await fill(knowledge)
    await large.look_after()
    index = await reread(knowledge)
    vector = next(make_vectors(99))
    await knowledge.put(index, "new.md", "brand new", vectors=[vector])
    assert (await knowledge.near(index, vector))[0] == "brand new"
    asked = [embedded_hash("brand new"), embedded_hash("nowhere")]
    assert await knowledge.writer.known_vectors(knowledge.tenant_id, index, asked) == {asked[0]}
    pages = [page async for page in knowledge.vectors.hashes(knowledge.tenant_id, index)]
    assert sum(map(len, pages)) == CHUNKS + 1
    await knowledge.vectors.delete(knowledge.tenant_id, index, asked)
    assert "brand new" not in await knowledge.near(index, vector)
    assert await knowledge.vectors.similarities(knowledge.tenant_id, index, vector, asked) == {}


@pytest.mark.parametrize("rare", [1, 5])
async def test_all_that_pass_are_found_however_few_they_are(
    knowledge: KnowledgeStores, large: LargeIndexes, rare: int
) -> None:
    before = await fill(knowledge, rare=rare)
    await large.look_after()
    index = await reread(knowledge)
    owners = SearchFilter(audience=frozenset({"owner"}))
    vector = next(make_vectors(7))
    expected = await knowledge.near(before, vector, owners, limit=20)
    assert len(expected) == 20
    assert set(await knowledge.near(index, vector, owners, limit=20)) == set(expected)
    nobody = SearchFilter(audience=frozenset({"nobody"}))
    assert await knowledge.near(index, vector, nobody) == []


async def test_own_table_is_searched_by_hnsw_with_bound_parameters(
    knowledge: KnowledgeStores, large: LargeIndexes, tenant: PostgresqlStores, database: Database
) -> None:
    await fill(knowledge)
    await large.look_after()
    index = await reread(knowledge)
    table = own_vectors_table(knowledge.tenant_id, index.id)
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(
            f"INSERT INTO syntera.{table} SELECT $1, $2, substr(sha256(n::text::bytea), 1, 16),"
            " ARRAY(SELECT random() + n * 0 FROM generate_series(1, 24))::real[]::extensions.halfvec"
            " FROM generate_series(1, 6000) AS n",
            knowledge.tenant_id, index.id,
        )  # fmt: skip
        await superuser.execute(f"ANALYZE syntera.{table}")
    async with tenant.pool.connection("test") as connection:
        values = (knowledge.tenant_id, index.id, next(make_vectors(3)), 10, *filter_values(PUBLIC))
        plans = await explain(connection, nearest_statement(table, 40), *values)
    for plan in plans:
        assert f"Index Scan using {table.replace('vectors', 'hnsw', 1)}" in plan


async def test_table_goes_with_its_index(knowledge: KnowledgeStores, large: LargeIndexes, database: Database) -> None:
    await fill(knowledge)
    await large.look_after()
    index = await reread(knowledge)
    table = own_vectors_table(knowledge.tenant_id, index.id)
    base = await knowledge.begin()
    await knowledge.publish(await knowledge.open_index(base, "f2", dimensions=DIMENSIONS))
    await large.look_after()
    assert table in await tables(database)
    await knowledge.vectors.drop(knowledge.tenant_id, index)
    await knowledge.writer.drop_index(knowledge.tenant_id, index)
    await large.look_after()
    assert table not in await tables(database)


async def test_index_that_goes_right_after_its_move_leaves_no_copies(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database
) -> None:
    index = await fill(knowledge)
    await large.look_after()
    assert await copies(database, index) == CHUNKS
    while await knowledge.writer.erase(knowledge.tenant_id, "handbook"):
        pass
    assert await copies(database, index) == 0


async def test_index_that_cannot_be_moved_holds_up_no_other(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database, tmp_path: Path
) -> None:
    """A tenant's login can write vectors of any length."""
    other = await make_postgresql_stores(database, tmp_path)
    theirs = make_postgresql_knowledge(other)
    for each in (theirs, knowledge):
        broken = await fill(each)
        async with connected(database.superuser_dsn) as superuser:
            await superuser.execute(
                "UPDATE syntera.knowledge_vectors SET vector = '[1,2]' WHERE index_id = $1 AND hash ="
                " (SELECT hash FROM syntera.knowledge_vectors WHERE index_id = $1 LIMIT 1)",
                broken.id,
            )  # fmt: skip
    third = await make_postgresql_stores(database, tmp_path)
    sound = make_postgresql_knowledge(third)
    await fill(sound)
    assert [stuck.knowledge_base for stuck in await large.look_after()] == ["handbook"] * 2
    assert (await reread(sound)).storage is IndexStorage.OWN
    index = await reread(knowledge)
    assert index.storage is IndexStorage.COMMON
    assert "dimensions" in (large.why_stuck(index.id) or "")
    assert large.why_stuck((await reread(sound)).id) is None
    async with connected(database.superuser_dsn) as superuser:
        for each in (theirs, knowledge):
            await superuser.execute("DELETE FROM syntera.knowledge_vectors WHERE tenant_id = $1", each.tenant_id)
    for opened in (other, third):
        await opened.pool.aclose()


async def test_index_that_cannot_be_moved_rests_longer_each_time_and_is_told_once(
    knowledge: KnowledgeStores, database: Database, postgresql: Postgresql
) -> None:
    """And is searched as before."""
    seconds = 0.0
    index = await fill(knowledge)
    vector = next(make_vectors(7))
    nearest = await knowledge.near(index, vector)
    table = own_vectors_table(knowledge.tenant_id, index.id)
    large = LargeIndexes(postgresql, large=CHUNKS // 2, clock=lambda: seconds)
    told: list[StuckIndex] = []
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(f"CREATE VIEW syntera.{table} AS SELECT")
        with capture_logs() as logs:
            while seconds < 43_200:
                told += await large.look_after()
                seconds += 300
        await superuser.execute(f"DROP VIEW syntera.{table}")

    assert [table in stuck.message for stuck in told] == [True]
    assert table in (large.why_stuck(index.id) or "")
    rests = [entry["rest_seconds"] for entry in logs if entry.get("index_id") == str(index.id)]
    assert rests == [300, 600, 1200, 2400, 4800, 9600, 19200, 21600]
    assert await knowledge.near(await reread(knowledge), vector) == nearest
    seconds += 21_600
    assert await large.look_after() == []
    assert (await reread(knowledge)).storage is IndexStorage.OWN
    assert large.why_stuck(index.id) is None


async def test_table_that_somebody_holds_holds_up_nothing_else(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database, tenant: PostgresqlStores, tmp_path: Path
) -> None:
    """Whoever reads a table in a transaction that never ends keeps it from being dropped."""
    index = await fill(knowledge)
    await large.look_after()
    table = own_vectors_table(knowledge.tenant_id, index.id)
    other = await make_postgresql_stores(database, tmp_path)
    waiting = make_postgresql_knowledge(other)
    await fill(waiting)
    async with tenant.pool.transaction("test") as holder:
        await holder.execute(f"SELECT FROM syntera.{table} LIMIT 1")
        while await knowledge.writer.erase(knowledge.tenant_id, "handbook"):
            pass
        await large.look_after()
        assert table in await tables(database)
        assert (await reread(waiting)).storage is IndexStorage.OWN
    await large.look_after()
    assert table not in await tables(database)
    await other.pool.aclose()


async def test_erased_knowledge_base_and_tenant_leave_no_table(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database, postgresql: Postgresql
) -> None:
    index = await fill(knowledge)
    await large.look_after()
    table = own_vectors_table(knowledge.tenant_id, index.id)
    erasure = Erasure(postgresql)
    await erasure.open_receipt(knowledge.tenant_id)
    await age_move(database, index)
    await large.look_after()
    await erasure.erase_rows(knowledge.tenant_id)
    await erasure.erase_rows(knowledge.tenant_id)
    assert table not in await tables(database)
    assert (await erasure.complete(knowledge.tenant_id)).rows["knowledge_vectors"] == CHUNKS


async def test_index_is_left_alone_while_a_sync_runs(knowledge: KnowledgeStores, large: LargeIndexes) -> None:
    await fill(knowledge)
    async with knowledge.writer.lock(knowledge.tenant_id, "handbook"):
        await large.look_after()
        assert (await reread(knowledge)).storage is IndexStorage.COMMON
    await large.look_after()
    assert (await reread(knowledge)).storage is IndexStorage.OWN


@pytest.mark.parametrize("at", ["INSERT INTO syntera.knowledge_vectors_", "CREATE INDEX knowledge_hnsw_", "UPDATE"])
async def test_move_that_is_cut_off_leaves_nothing_and_begins_again(
    knowledge: KnowledgeStores, database: Database, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes away after each of its steps."""
    index = await fill(knowledge)
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn))
    whole = postgresql.long_session

    class Cut:
        def __init__(self, connection: asyncpg.Connection) -> None:
            self._connection = connection
            self.fetchval = connection.fetchval
            self.transaction = connection.transaction

        async def execute(self, statement: str, *values: object) -> str:
            done: str = await self._connection.execute(statement, *values)
            if at in statement:
                self._connection.terminate()
                raise ConnectionResetError
            return done

    @asynccontextmanager
    async def cut_session(seconds: float) -> AsyncIterator[Cut]:
        async with whole(seconds) as connection:
            yield Cut(connection)

    monkeypatch.setattr(postgresql, "long_session", cut_session)
    before = await tables(database)
    (stuck,) = await LargeIndexes(postgresql, large=CHUNKS // 2).look_after()
    assert "PostgreSQL is not available" in stuck.message
    monkeypatch.undo()
    for _ in range(100):  # until the server has noticed
        await asyncio.sleep(0.02)
        async with knowledge.writer.lock(knowledge.tenant_id, "handbook") as held:
            if held is not None:
                break
    assert await tables(database) == before
    assert (await reread(knowledge)).storage is IndexStorage.COMMON
    await LargeIndexes(postgresql, large=CHUNKS // 2).look_after()
    assert (await reread(knowledge)).storage is IndexStorage.OWN
    assert await copies(database, index) == CHUNKS
    await postgresql.aclose()


async def test_tenant_cannot_name_anothers_table(
    knowledge: KnowledgeStores, large: LargeIndexes, database: Database, tmp_path: Path
) -> None:
    """A row with the id of another's index leads to another table, which is not there."""
    index = await fill(knowledge)
    await large.look_after()
    other = await make_postgresql_stores(database, tmp_path)
    theirs = make_postgresql_knowledge(other)
    base = await theirs.begin()
    async with other.pool.connection("test") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE syntera.knowledge_indexes SET storage = 'own'")
        await connection.execute(
            "INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage)"
            " VALUES ($1, $2, $3, 1, 'f', 4, 'own')",
            theirs.tenant_id, index.id, base.id,
        )  # fmt: skip
        assert await connection.fetchval("SELECT syntera.delete_vectors($1, NULL, 1000)", index.id) == 0
        assert not await connection.fetchval("SELECT syntera.erase_index($1, 1000)", index.id)
    await large.look_after()
    assert own_vectors_table(knowledge.tenant_id, index.id) in await tables(database)
    assert len(await knowledge.near(await reread(knowledge), next(make_vectors()))) == 10
    assert await knowledge.editor.find_document(knowledge.tenant_id, base.id, DocumentId(index.id)) is None
    await other.pool.aclose()
