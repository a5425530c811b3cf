"""Functions of knowledge that run with the owner's rights, called by tenant A with ids of B's and with whatever words."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from tests.support.postgresql import Database, TenantLogin

from .conftest import add_knowledge, connected

SECRET = "projectzephyr was said in confidence"
SEARCH = "SELECT * FROM syntera.search_knowledge($1, $2, $3, $4, NULL, NULL, NULL, NULL, 10)"
COUNTS = """
    SELECT (SELECT count(*) FROM syntera.knowledge_bases), (SELECT count(*) FROM syntera.knowledge_indexes),
      (SELECT count(*) FROM syntera.knowledge_documents), (SELECT count(*) FROM syntera.knowledge_texts),
      (SELECT count(*) FROM syntera.knowledge_index_documents), (SELECT count(*) FROM syntera.knowledge_chunks),
      (SELECT count(*) FROM syntera.knowledge_vectors), (SELECT count(*) FROM syntera.knowledge_words),
      (SELECT count(*) FROM syntera.knowledge_syncs)
"""


class Two(NamedTuple):
    """A attacks, and knows B's ids."""

    a: TenantLogin
    b: TenantLogin
    base: UUID
    index_id: UUID
    document: UUID
    sync: UUID


@pytest.fixture(scope="session")
def two(database: Database) -> Two:
    """Both with a knowledge base of the same name."""
    return asyncio.run(_make_two(database))


async def _make_two(database: Database) -> Two:
    a, b = await database.make_tenant(), await database.make_tenant()
    async with connected(a.dsn) as own:
        await add_knowledge(own, a, content="mine")
    async with connected(b.dsn) as own:
        index = await add_knowledge(own, b, content=SECRET)
        base = await own.fetchval("SELECT id FROM syntera.knowledge_bases")
        document = await own.fetchval("SELECT id FROM syntera.knowledge_documents")
        sync = await own.fetchval("SELECT id FROM syntera.knowledge_syncs")
    return Two(a, b, base, index, document, sync)


@pytest_asyncio.fixture
async def attacker(two: Two) -> AsyncIterator[asyncpg.Connection]:
    """A's own connection, in a transaction that is never committed."""
    async with connected(two.a.dsn) as connection:
        attempt = connection.transaction()
        await attempt.start()
        yield connection
        await attempt.rollback()


@pytest.mark.parametrize(
    "call",
    [
        "take_out_documents(ARRAY['{document}'::uuid], NULL)",
        "take_out_documents(ARRAY['{document}'::uuid], '{index_id}')",
        "delete_texts(ARRAY['{document}'::uuid])",
        "delete_documents(ARRAY['{document}'::uuid])",
        "delete_vectors('{index_id}', NULL, 1000)",
        "erase_index('{index_id}', 1000)",
        "erase_knowledge_base('{base}', 1000)",
        "prune_syncs('{base}', 0)",
        "count_words('{index_id}')",
        "analyze_knowledge('{index_id}')",
        "lock_knowledge_base('{base}')",
        "unlock_knowledge_base('{base}')",
        "ensure_knowledge_base('{base}', 'handbook')",
    ],
)
async def test_ids_of_another_tenant_change_nothing_of_its(two: Two, call: str) -> None:
    async with connected(two.b.dsn) as victim, connected(two.a.dsn) as attacker:
        before = await victim.fetchrow(COUNTS)
        told = await attacker.fetchval(f"SELECT syntera.{call.format(**two._asdict())}")
        assert told in (None, False, "", 0) or told != two.base
        assert await victim.fetchrow(COUNTS) == before
        assert await victim.fetchval("SELECT syntera.lock_knowledge_base($1)", two.base)
        assert not await attacker.fetchval("SELECT syntera.lock_knowledge_base($1)", two.base)


async def test_search_in_anothers_index_finds_nothing(two: Two, attacker: asyncpg.Connection) -> None:
    words = "projectzephyr shared said in confidence"
    assert await attacker.fetch(SEARCH, two.index_id, words, ["public"], None) == []
    # Nor does a row of its own with that id lead there.
    await attacker.execute(
        "INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage)"
        " SELECT tenant_id, $1, id, 2, 'f', 3, 'common' FROM syntera.knowledge_bases LIMIT 1",
        two.index_id,
    )
    assert await attacker.fetch(SEARCH, two.index_id, words, ["public"], None) == []
    await attacker.execute(
        "INSERT INTO syntera.knowledge_chunks (tenant_id, index_id, document_id, position, id, hash, starts, ends, overlap,"
        " tokens, language, headings, content) SELECT tenant_id, $1, id, 1, gen_random_uuid(), substr(sha256('a'), 1, 16), 0, 1, 0,"
        " 1, '', '{}', 'projectzephyr' FROM syntera.knowledge_documents",
        two.index_id,
    )
    own = await attacker.fetch(SEARCH, two.index_id, words, ["public"], None)
    assert [row["document_id"] for row in own] != [two.document]
    assert len(own) == 1


async def test_chunk_of_ones_own_is_in_nobody_elses_search(two: Two, attacker: asyncpg.Connection) -> None:
    terms = await attacker.fetchval(
        "INSERT INTO syntera.knowledge_chunks (tenant_id, index_id, document_id, position, id, hash, starts, ends, overlap,"
        " tokens, language, headings, content) VALUES ($1, $2, $3, 7, gen_random_uuid(), substr(sha256('a'), 1, 16), 0, 1, 0,"
        " 1, 'en', '{}', $4) RETURNING terms::text",
        two.a.tenant_id, two.index_id, two.document, f"'index {two.b.tenant_id} {two.index_id}' forged",
    )  # fmt: skip
    assert f"'index {two.a.tenant_id} {two.index_id}'" in terms
    assert f"'index {two.b.tenant_id} {two.index_id}'" not in terms


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE syntera.knowledge_chunks SET content = 'x'",
        "UPDATE syntera.knowledge_chunks SET terms = DEFAULT",
        "INSERT INTO syntera.knowledge_words VALUES ('{a}', '{index_id}', 'x', 1)",
        "UPDATE syntera.knowledge_words SET chunks = 9",
        "UPDATE syntera.knowledge_indexes SET storage = 'own'",
        "UPDATE syntera.knowledge_indexes SET pinecone_host = NULL",
        "UPDATE syntera.knowledge_indexes SET chunks = 1000000",
        "UPDATE syntera.knowledge_indexes SET dimensions = 1",
        "UPDATE syntera.knowledge_documents SET knowledge_base_id = '{base}'",
        "INSERT INTO syntera.knowledge_bases (tenant_id, id, name) VALUES ('{a}', gen_random_uuid(), 'x')",
        "INSERT INTO syntera.knowledge_documents (tenant_id, id, knowledge_base_id, source, path, path_hash, title, media_type,"
        " audience, state) VALUES ('{b}', gen_random_uuid(), '{base}', 's', 'p', sha256('p'), 't', 'm', '{{}}', 'indexed')",
        "INSERT INTO syntera.knowledge_vectors VALUES ('{b}', '{index_id}', substr(sha256('x'), 1, 16), '[1]')",
        "DELETE FROM syntera.knowledge_chunks",
        "TRUNCATE syntera.knowledge_vectors",
        "LOCK TABLE syntera.knowledge_chunks IN SHARE MODE",
        "SELECT syntera.knowledge_lock_key('{b}', '{base}')",
        "SELECT pg_try_advisory_lock(1)",
        "CREATE INDEX ON syntera.knowledge_vectors (hash)",
    ],
)
async def test_tenant_is_refused(two: Two, attacker: asyncpg.Connection, statement: str) -> None:
    filled = statement.format(a=two.a.tenant_id, b=two.b.tenant_id, index_id=two.index_id, base=two.base)
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.InvalidTextRepresentationError)) as caught:
        await attacker.execute(filled)
    assert isinstance(caught.value, asyncpg.InsufficientPrivilegeError)


@pytest.mark.parametrize(
    ("storage", "host"),
    [("pinecone", None), ("common", "https://a.example"), ("pinecone", "x" * 1025), ("pinecone", "")],
)
async def test_index_says_one_place_where_its_vectors_are(
    attacker: asyncpg.Connection, storage: str, host: str | None
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await attacker.execute(
            "INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage,"
            " pinecone_host) SELECT tenant_id, gen_random_uuid(), id, 2, 'f', 3, $1, $2 FROM syntera.knowledge_bases",
            storage, host,
        )  # fmt: skip


async def test_foreign_key_answers_the_same_whether_the_foreign_row_exists_or_not(
    two: Two, attacker: asyncpg.Connection
) -> None:
    for base in (two.base, uuid4()):
        nested = attacker.transaction()
        await nested.start()
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await attacker.execute(
                "INSERT INTO syntera.knowledge_syncs (tenant_id, id, knowledge_base_id, trigger, revision)"
                " VALUES ($1, gen_random_uuid(), $2, 't', 1)",
                two.a.tenant_id,
                base,
            )
        await nested.rollback()


@pytest.mark.parametrize(
    "words",
    [
        "shared:* | !mine & (('",
        "'; DROP TABLE syntera.knowledge_chunks; --",
        "\\' \\\\ ''' \" $1 %s {} <-> <3>",
        ".*[a-z]+(?=x)^$",
        "index " + str(UUID(int=0)),
        " ".join(f"word{number}" for number in range(10_000)),
        "x" * 1_000_000,
        "https://shop.example/a\\b'c?d=e&f=g user@host.example /usr/share/x\\y 1e-7 -5",
        "\u202e\U0001f9ff \u0301\u0301\u0301 ﷽ a\u0000b".replace("\0", ""),
    ],
)
async def test_words_are_only_words(two: Two, attacker: asyncpg.Connection, words: str) -> None:
    await attacker.execute("SET LOCAL statement_timeout = '20s'")
    index = await attacker.fetchval("SELECT id FROM syntera.knowledge_indexes")
    found = await attacker.fetch(SEARCH, index, words, ["public"], None)
    assert len(found) == (2 if "shared" in words else 0)
    assert await attacker.fetch(SEARCH, index, f"shared {words}", ["public"], None)


async def test_large_filters_are_only_filters(two: Two, attacker: asyncpg.Connection) -> None:
    index = await attacker.fetchval("SELECT id FROM syntera.knowledge_indexes")
    many = [f"source {number}" for number in range(10_000)]
    assert await attacker.fetch(SEARCH, index, "shared", ["public"], many) == []
    assert len(await attacker.fetch(SEARCH, index, "shared", [*many, "public"], [*many, "docs"])) == 2
    assert await attacker.fetch(SEARCH, index, "shared", ["{public}", "public,x", "%", ""], None) == []


async def test_estimates_and_notices_tell_nothing_of_words_that_others_use(database: Database, two: Two) -> None:
    async with connected(two.b.dsn) as victim:
        await victim.execute(
            "INSERT INTO syntera.knowledge_chunks (tenant_id, index_id, document_id, position, id, hash, starts, ends, overlap,"
            " tokens, language, headings, content) SELECT $1, $2, $3, n, gen_random_uuid(), substr(sha256('b'), 1, 16), 0, 1, 0, 1,"
            " '', '{}', 'projectzephyr ' || repeat('x', 3000) FROM generate_series(10, 500) AS n",
            two.b.tenant_id, two.index_id, two.document,
        )  # fmt: skip
        await victim.execute("SELECT syntera.count_words($1)", two.index_id)
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute("ANALYZE syntera.knowledge_chunks, syntera.knowledge_words")
    async with connected(two.a.dsn) as attacker:
        for question in (
            "SELECT FROM syntera.knowledge_chunks WHERE terms @@ '{}'::tsquery",
            "SELECT FROM syntera.knowledge_words WHERE lexeme = '{}'",
        ):
            plans = [
                await attacker.fetch(f"EXPLAIN {question.format(word)}") for word in ("projectzephyr", "neverused")
            ]
            texts = [
                "\n".join(row[0] for row in plan).replace(word, "word")
                for plan, word in zip(plans, ("projectzephyr", "neverused"), strict=True)
            ]
            assert texts[0] == texts[1]
        heard: list[str] = []
        attacker.add_log_listener(lambda _, message: heard.append(str(message)))
        index = await attacker.fetchval("SELECT id FROM syntera.knowledge_indexes")
        await attacker.execute("SET work_mem = '64kB'")
        await attacker.fetch(SEARCH, index, "projectzephyr the", ["public"], None)
    assert heard == []


async def test_locks_that_a_tenant_may_hold_are_bounded(database: Database) -> None:
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        ensure = (
            "SELECT syntera.ensure_knowledge_base(gen_random_uuid(), 'base ' || n) FROM generate_series(1, 250) AS n"
        )
        await own.execute(ensure)
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await own.execute("SELECT syntera.ensure_knowledge_base(gen_random_uuid(), 'one more')")
        await own.execute(ensure)  # those that are there are found
        assert await own.fetchval("SELECT count(*) FROM syntera.knowledge_bases") == 250


async def test_tenant_that_was_released_sees_and_holds_nothing(database: Database) -> None:
    tenant = await database.make_tenant()
    async with connected(tenant.dsn) as own:
        index = await add_knowledge(own, tenant)
        base = await own.fetchval("SELECT id FROM syntera.knowledge_bases")
        async with connected(database.superuser_dsn) as superuser:
            await superuser.execute("UPDATE syntera.tenants SET released_at = now() WHERE id = $1", tenant.tenant_id)
        assert await own.fetch(SEARCH, index, "shared", ["public"], None) == []
        assert not await own.fetchval("SELECT syntera.lock_knowledge_base($1)", base)
        assert await own.fetchval("SELECT count(*) FROM syntera.knowledge_chunks") == 0
