"""What is PostgreSQL's own of knowledge: plans under a tenant's login, languages, and locks that are lost."""

import asyncio
import json
import math
import random
from collections.abc import Sequence
from uuid import UUID

import pytest

from syntera_crds.contract.knowledge_config import SearchMode
from syntera_crds.contract.published import hash_content
from syntera_runtime.adapters.postgresql.knowledge_reader import READ_CHUNKS
from syntera_runtime.adapters.postgresql.knowledge_rows import filter_values
from syntera_runtime.adapters.postgresql.knowledge_vectors import all_statement, nearest_statement
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.knowledge import SearchFilter, SearchRequest
from tests.runtime.conftest import PostgresqlStores, connected
from tests.runtime.knowledge_fakes import (
    FakeEmbedder,
    FakeKnowledgeBases,
    embed_words,
    make_config,
    make_embedding,
    make_searcher,
)
from tests.runtime.knowledge_stores import PUBLIC, KnowledgeStores, embedded_hash, make_postgresql_knowledge
from tests.support.postgresql import Database, explain


@pytest.fixture(params=["postgresql_stores", "oldest_postgresql_stores"])
def made(request: pytest.FixtureRequest) -> PostgresqlStores:
    """A tenant on each version."""
    found: PostgresqlStores = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def knowledge(made: PostgresqlStores) -> KnowledgeStores:
    """Its stores of knowledge."""
    return make_postgresql_knowledge(made)


async def fill(knowledge: KnowledgeStores, documents: int = 5, *, fingerprint: str = "f1") -> None:
    """Small knowledge bases, as many tenants have."""
    base = await knowledge.begin()
    index = await knowledge.open_index(base, fingerprint)
    for number in range(documents):
        texts = [f"text {number} {position}" for position in range(20)]
        chosen = random.Random(number)
        vectors = [[chosen.gauss(0, 1) for _ in range(4)] for _ in texts]
        await knowledge.put(index, f"{fingerprint}/{number}.md", *texts, vectors=[_unit(vector) for vector in vectors])
    await knowledge.publish(index)


def _unit(vector: Sequence[float]) -> Sequence[float]:
    return [value / math.hypot(*vector) for value in vector]


async def crowd(database: Database) -> None:
    """Fifty other tenants' rows, so that reading all of a table is dearer than its key."""
    async with connected(database.superuser_dsn) as superuser:
        await superuser.execute(
            "CREATE TEMPORARY TABLE crowd AS"
            " SELECT gen_random_uuid() AS tenant_id, gen_random_uuid() AS index_id, gen_random_uuid() AS document_id"
            " FROM generate_series(1, 50)"
        )
        await superuser.execute(
            "INSERT INTO syntera.knowledge_vectors SELECT tenant_id, index_id, substr(sha256(n::text::bytea), 1, 16), '[1,0,0,0]'"
            " FROM crowd, generate_series(1, 100) AS n"
        )
        await superuser.execute(
            "INSERT INTO syntera.knowledge_chunks (tenant_id, index_id, document_id, position, id, hash, starts, ends, overlap,"
            " tokens, language, headings, content) SELECT tenant_id, index_id, document_id, n,"
            " gen_random_uuid(), substr(sha256(n::text::bytea), 1, 16), 0, 1, 0, 1, '', '{}', 'text of others ' || n"
            " FROM crowd, generate_series(1, 100) AS n"
        )
        await superuser.execute(
            "ANALYZE syntera.knowledge_vectors, syntera.knowledge_chunks, syntera.knowledge_documents"
        )


async def test_vectors_and_chunks_are_read_by_their_keys(made: PostgresqlStores, knowledge: KnowledgeStores) -> None:
    await fill(knowledge)
    await crowd(made.database)
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active is not None
    values = (knowledge.tenant_id, found.active.id, [1.0, 0, 0, 0], 10, *filter_values(PUBLIC))
    async with made.pool.connection("test") as connection:
        plans = await explain(connection, nearest_statement("knowledge_vectors", 40), *values)
    for plan in plans:
        assert "knowledge_vectors_pkey" in plan
        # By the index or by a bitmap of it: for one row both cost the same.
        assert "knowledge_chunks_hash" in plan
        assert "Seq Scan on knowledge_vectors" not in plan
        assert "Seq Scan on knowledge_chunks" not in plan


@pytest.mark.parametrize(
    ("statement", "values", "indexes"),
    [
        (READ_CHUNKS, ([UUID(int=1)], 1), ["knowledge_chunks_tenant_id_id_key", "knowledge_chunks_pkey"]),
        (
            all_statement("knowledge_vectors"),
            ([1.0, 0, 0, 0], 10, *filter_values(PUBLIC)),
            ["knowledge_chunks_pkey", "knowledge_vectors_pkey"],
        ),
    ],
    ids=["read", "compare"],
)
async def test_plans_for_a_new_index_go_by_keys(
    made: PostgresqlStores, knowledge: KnowledgeStores, statement: str, values: Sequence[object], indexes: Sequence[str]
) -> None:
    """Beside many others, and others of the tenant's own, which statistics know and which it is not among yet."""
    await crowd(made.database)
    await fill(knowledge)
    await fill(knowledge, documents=40, fingerprint="f2")
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active is not None
    async with made.pool.connection("test") as connection:
        await connection.execute("SET enable_seqscan = off")  # which these few rows would be cheap for
        plans = await explain(connection, statement, knowledge.tenant_id, found.active.id, *values)
        await connection.execute("RESET enable_seqscan")
    for plan in plans:
        assert [index for index in indexes if f" {index}" not in plan] == [], plan
        assert "knowledge_chunks_hash" not in plan
        assert "Join Filter" not in plan


async def test_chunks_of_an_index_that_the_planner_does_not_know_are_read_one_by_one(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    """Statistics are made now and then: before, the planner takes every new index for a row or two, and reads all of it for each chunk."""
    await crowd(made.database)
    await fill(knowledge, documents=20)
    found = await knowledge.reader.find_knowledge_base(knowledge.tenant_id, "handbook")
    assert found is not None
    assert found.active is not None
    values = (knowledge.tenant_id, found.active.id)
    chosen = (
        "SELECT array_agg(id) FROM syntera.knowledge_chunks WHERE tenant_id = $1 AND index_id = $2 AND position = 7"
    )
    read_so_far = "SELECT idx_tup_fetch FROM pg_stat_xact_all_tables WHERE relid = 'syntera.knowledge_chunks'::regclass"
    async with connected(made.database.superuser_dsn) as superuser, superuser.transaction():
        login = await superuser.fetchval("SELECT login_role FROM syntera.tenants WHERE id = $1", knowledge.tenant_id)
        ids = await superuser.fetchval(chosen, *values)
        before = await superuser.fetchval(read_so_far)
        await superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {login}")
        read = await superuser.fetch(READ_CHUNKS, *values, ids, 1)
        await superuser.execute("RESET SESSION AUTHORIZATION")
        fetched = await superuser.fetchval(read_so_far) - before
    assert len(read) == 20 * 3
    assert fetched == 20 + 20 * 3


async def test_words_are_found_by_their_index(made: PostgresqlStores, knowledge: KnowledgeStores) -> None:
    """Told by how often each index is used: the function's plans, made with the owner's rights, are nobody's to see."""
    await fill(knowledge)
    await crowd(made.database)
    scans = "SELECT pg_stat_get_xact_numscans($1::regclass)"
    async with connected(made.database.superuser_dsn) as superuser, superuser.transaction():
        login = await superuser.fetchval("SELECT login_role FROM syntera.tenants WHERE id = $1", knowledge.tenant_id)
        # The function asks whose the session is.
        await superuser.execute(f"SET LOCAL SESSION AUTHORIZATION {login}")
        index = await superuser.fetchval("SELECT id FROM syntera.knowledge_indexes")
        for _ in range(7):  # the plan that does not know the words comes after five that do
            rows = await superuser.fetch(
                "SELECT * FROM syntera.search_knowledge($1, 'text 3', '{public}', NULL, NULL, NULL, NULL, NULL, 5)",
                index,
            )
            assert len(rows) == 5
        await superuser.execute("RESET SESSION AUTHORIZATION")
        used = {
            name: await superuser.fetchval(scans, f"syntera.{name}")
            for name in ("knowledge_chunks_terms", "knowledge_chunks_pkey", "knowledge_chunks_hash", "knowledge_chunks")
        }
    assert used.pop("knowledge_chunks_terms") >= 7
    assert set(used.values()) == {0}, "another index, or all of the table, was read"


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("en", "Printers were jamming", "why is my printer jammed?"),
        ("de", "Die Häuser am See", "ein Haus"),
        ("fr", "les chevaux mangeaient", "le cheval mange"),
        ("es", "las facturas pagadas", "pagar una factura"),
        ("ru", "красивые дома", "красивый дом"),
        ("xx", "Printers", "PRINTERS"),
    ],
)
async def test_words_are_found_in_other_forms_of_their_language(
    knowledge: KnowledgeStores, language: str, text: str, question: str
) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", text, language=language)
    await knowledge.put(index, "b.md", "nothing of it", language="en")
    index = await knowledge.publish(index)
    assert await knowledge.with_words(index, question) == [text]


async def test_chunks_with_two_common_words_come_before_those_with_one(knowledge: KnowledgeStores) -> None:
    """Each word is in more chunks than are ranked for a rare one; those that nobody may see take nobody's place."""
    index = await knowledge.open_index(await knowledge.begin())
    texts = []
    for number in range(2200):
        words = ["printer"] if number % 5 == 0 else []
        words += ["manual"] if number % 5 == 1 or number % 50 == 0 else []
        texts.append(" ".join([*words, f"of{number}"]))
    for start in range(0, 2200, 220):
        audience = {"owner"} if start < 440 else {"public"}
        await knowledge.put(index, f"{start}.md", *texts[start : start + 220], audience=audience)
    index = await knowledge.publish(index)
    found = await knowledge.with_words(index, "printer manual", limit=50)
    both = [text for text in found if "printer manual" in text]
    assert len(both) == 44 * 8 // 10
    assert found[: len(both)] == both
    assert [text.split()[0] for text in found[len(both) :]] == ["printer"] * (50 - len(both))
    assert len(await knowledge.with_words(index, "printer", limit=1000)) == 440 * 8 // 10
    assert (await knowledge.with_words(index, "printer manual of700", limit=50))[0] == "printer manual of700"


async def test_question_is_parsed_in_every_language_of_the_index(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "printers", language="en")
    await knowledge.put(index, "b.md", "Drucker", language="de")
    await knowledge.put(index, "c.md", "printers")
    index = await knowledge.publish(index)
    assert set(await knowledge.with_words(index, "printers")) == {"printers"}
    assert len(await knowledge.with_words(index, "printers")) == 2
    assert await knowledge.with_words(index, "Druckern") == ["Drucker"]


async def test_texts_of_any_characters_are_kept(knowledge: KnowledgeStores) -> None:
    """NUL and halves of surrogates are in no text of PostgreSQL; what stands for them is as long."""
    base = await knowledge.begin()
    index = await knowledge.open_index(base)
    made = await knowledge.put(index, "a\0.md", "a\0b \ud800 c", title="T\0", headings=("h\0",), validators={"e": "\0"})
    assert await knowledge.chunks_of(index, made) == ["a\ufffdb \ufffd c"]
    read = await knowledge.writer.read_text(knowledge.tenant_id, made)
    assert read is not None
    assert read.text == "a\ufffdb \ufffd c"
    assert await knowledge.put(index, "a\0.md", "again") == made


async def test_words_are_counted_anew_when_many_chunks_changed(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    index = await knowledge.open_index(await knowledge.begin())

    async def counted() -> dict[str, int]:
        async with made.pool.connection("test") as connection:
            rows = await connection.fetch("SELECT lexeme, chunks FROM syntera.knowledge_words")
        return {row["lexeme"]: row["chunks"] for row in rows}

    await knowledge.put(index, "a.md", *(f"printer {number}" for number in range(250)))
    await knowledge.publish(index)
    assert await counted() == {"printer": 250}
    await knowledge.put(index, "b.md", "printer tray")
    await knowledge.publish(index)
    assert await counted() == {"printer": 250}  # one in two hundred and fifty
    await knowledge.put(index, "c.md", "printer tray", "tray of paper")
    await knowledge.publish(index)
    assert await counted() == {"printer": 252, "tray": 3}
    (known, *_) = [known for known in await knowledge.known(index) if known.origin.path == "a.md"]
    await knowledge.writer.remove_documents(knowledge.tenant_id, [known.id])
    await knowledge.publish(index)
    assert await counted() == {"printer": 2, "tray": 3}


async def test_pod_of_the_release_before_dooms_no_file_of_a_document(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    base = await knowledge.begin()
    document, file_id = await knowledge.upload(base.id)
    async with made.pool.connection("test") as connection:
        await connection.execute(
            "UPDATE syntera.files SET state = 'doomed' WHERE message_id IS NULL AND state = 'ready'"
        )
    assert await knowledge.doomed() == set()
    assert await knowledge.editor.exclude_document(knowledge.tenant_id, base.id, document)
    assert await knowledge.doomed() == {file_id}


# ---- locks ----


async def test_lock_ends_with_its_connection_and_nothing_is_written_after(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    other = make_postgresql_knowledge(made)
    async with knowledge.writer.lock(knowledge.tenant_id, "handbook") as base:
        assert base is not None
        index = await knowledge.open_index(base)
        async with connected(made.database.superuser_dsn) as superuser:
            await superuser.execute(
                "SELECT pg_terminate_backend(l.pid) FROM pg_locks AS l"
                " WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid() AND l.database ="
                " (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        for _ in range(200):
            try:
                await knowledge.put(index, "a.md", "one")
            except StoreUnavailable:
                break
            await asyncio.sleep(0.02)
        with pytest.raises(StoreUnavailable):
            await knowledge.put(index, "b.md", "two")
        async with other.writer.lock(other.tenant_id, "handbook") as taken:
            assert taken is not None
    assert [known.origin.path for known in await knowledge.known(index)] in ([], ["a.md"])


async def test_two_processes_never_hold_the_same_lock(made: PostgresqlStores) -> None:
    held, most = 0, 0

    async def sync(writer: KnowledgeStores) -> bool:
        nonlocal held, most
        async with writer.writer.lock(writer.tenant_id, "handbook") as base:
            if base is None:
                return False
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            await writer.open_index(base)
            held -= 1
            return True

    tried = await asyncio.gather(*(sync(make_postgresql_knowledge(made)) for _ in range(8)))
    assert most == 1
    assert any(tried)


async def test_documents_that_are_put_and_excluded_at_once_leave_no_chunk_behind(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    base = await knowledge.begin()
    index = await knowledge.publish(await knowledge.open_index(base))
    for number in range(10):
        document = await knowledge.put(index, f"{number}.md", "one", "two")
        await asyncio.gather(
            knowledge.put(index, f"{number}.md", "three"),
            knowledge.editor.exclude_document(knowledge.tenant_id, base.id, document),
        )
    async with made.pool.connection("test") as connection:
        assert await connection.fetchval("SELECT count(*) FROM syntera.knowledge_chunks") == 0
        assert await connection.fetchval("SELECT count(*) FROM syntera.knowledge_texts") == 0


async def test_statistics_know_an_index_once_it_has_doubled(made: PostgresqlStores, knowledge: KnowledgeStores) -> None:
    """Autovacuum comes for a few hundred rows in a table of many at some time or never."""
    await crowd(made.database)
    before = await last_analyzed(made.database)
    await fill(knowledge)
    assert await last_analyzed(made.database) == before, "of 100, which may be read from end to end"
    await fill(knowledge, documents=15)
    assert 200 < await estimate_chunks(made, knowledge) < 600, "of 300, and of one tenant"
    analyzed = await last_analyzed(made.database)
    await fill(knowledge, documents=20)
    assert await last_analyzed(made.database) == analyzed, "of 400"


async def estimate_chunks(made: PostgresqlStores, knowledge: KnowledgeStores) -> int:
    """How many chunks of the index the planner believes in."""
    base = await knowledge.begin()
    assert base.active is not None
    async with connected(made.database.superuser_dsn) as superuser:
        plan = await superuser.fetchval(
            "EXPLAIN (FORMAT JSON) SELECT FROM syntera.knowledge_chunks WHERE tenant_id = $1 AND index_id = $2",
            knowledge.tenant_id, base.active.id,
        )  # fmt: skip
    estimated: int = json.loads(plan)[0]["Plan"]["Plan Rows"]
    return estimated


async def last_analyzed(database: Database) -> object:
    """When statistics of chunks were made last."""
    async with connected(database.superuser_dsn) as superuser:
        return await superuser.fetchval("SELECT pg_stat_get_last_analyze_time('syntera.knowledge_chunks'::regclass)")


async def test_vectors_of_shared_texts_are_written_side_by_side(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    hashes = [embedded_hash(str(number)) for number in range(300)]
    orders = [random.Random(seed).sample(hashes, len(hashes)) for seed in range(8)]
    vector = (1.0, 0.0, 0.0, 0.0)
    for _ in range(3):
        await asyncio.gather(
            *(knowledge.vectors.write(knowledge.tenant_id, index, dict.fromkeys(order, vector)) for order in orders)
        )
    assert await knowledge.writer.known_vectors(knowledge.tenant_id, index, hashes) == set(hashes)


async def test_sixty_thousand_characters_of_a_word_are_a_chunk_like_any_other(knowledge: KnowledgeStores) -> None:
    index = await knowledge.open_index(await knowledge.begin())
    await knowledge.put(index, "a.md", "x" * 60_000, " ".join(f"word{n}" for n in range(9_000)), language="en")
    index = await knowledge.publish(index)
    everybody = SearchFilter(audience=frozenset({"public"}))
    assert len(await knowledge.with_words(index, "word17", everybody)) == 1


# ---- what rows decide ----


async def test_row_of_an_index_says_not_where_its_model_is_nor_with_which_key(
    made: PostgresqlStores, knowledge: KnowledgeStores
) -> None:
    base = await knowledge.begin()
    row = {
        "endpoint": "stand-in",
        "base_url": "https://elsewhere.example/v1",
        "baseUrl": "https://elsewhere.example/v1",
        "apiKey": {"name": "stripe", "key": "key"},
        "api_key": {"name": "stripe", "key": "key"},
        "headers": {"X-To": "elsewhere"},
        "timeoutSeconds": 10,
        "model": "older-embed",
        "dimensions": 64,
        "server": hash_content(make_embedding().base_url),
    }
    async with made.pool.connection("test") as connection:
        await connection.execute(
            "INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage,"
            " embedding) VALUES ($1, gen_random_uuid(), $2, 1, 'f1', 64, 'common', $3)",
            knowledge.tenant_id,
            base.id,
            json.dumps(row),
        )
    index = await knowledge.open_index(base)
    await knowledge.put(index, "a.md", "The desk opens at nine", vectors=[embed_words("The desk opens at nine")])
    await knowledge.publish(index)
    embedder = FakeEmbedder()
    searcher = make_searcher(knowledge, FakeKnowledgeBases(make_config()), embedder=embedder)
    request = SearchRequest(question="when does the desk open?", filter=PUBLIC, mode=SearchMode.VECTOR, min_score=-1.0)
    assert (await searcher.search(knowledge.tenant_id, "handbook", request)).passages
    (asked,) = embedder.models
    assert (asked.model, asked.base_url, asked.secret_keys()) == ("older-embed", make_embedding().base_url, frozenset())
    assert asked.headers == {}
