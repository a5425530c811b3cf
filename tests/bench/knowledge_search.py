"""Searches in a hundred thousand chunks of one tenant among two hundred, with row-level security and without.

The reference is the same statement, asked by somebody whom no policy binds and who names the tenant: for words the text of the
function itself, run with the caller's rights.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg
import uvloop

from syntera_crds.contract.knowledge_config import EmbeddingModel
from syntera_crds.contract.names import own_vectors_table
from syntera_operator.stores.knowledge_indexes import LargeIndexes
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_runtime.adapters.openai_embeddings import EmbeddedTexts
from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.knowledge_rows import filter_values
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.adapters.postgresql.pool import Pool
from syntera_runtime.knowledge.search import CANDIDATES, Searcher
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import Hit, Index, Passage, SearchFilter, SearchRequest
from tests.runtime.knowledge_fakes import (
    FakeKnowledgeBases,
    FakeReranker,
    FakeTenant,
    make_config,
    make_embedding,
    make_endpoint,
)
from tests.support.postgresql import Database, PostgresqlServer

from .figures import Figure, percentile
from .knowledge_corpus import DIMENSIONS, Corpus, Filled, Floats, fill, nearest, questions_near

_CHUNKS = 100_000
_TENANTS = 200
_CHUNKS_OF_OTHERS = 300
_CONCURRENT = 8
_CONNECTIONS = 8
"""As many as a runtime opens unless it is told otherwise."""
_QUESTIONS = 400
"""In a slice."""
_SLICES = 3
_PUBLIC = SearchFilter(audience=frozenset({"public"}))
_SETTINGS = {
    "shared_buffers": "1GB",
    "log_statement": "none",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    "fsync": "on",
    "synchronous_commit": "on",
}
_TABLES = (
    "knowledge_indexes",
    "knowledge_documents",
    "knowledge_index_documents",
    "knowledge_chunks",
    "knowledge_words",
)

_Asked = tuple[Sequence[float], str]
"""A question as a vector and as words."""

_Search = Callable[[int], Awaitable[Sequence[object]]]
"""Searches for one of the questions."""


def measure() -> list[Figure]:
    """Everything."""
    server = PostgresqlServer.start(18, _SETTINGS)
    try:
        with TemporaryDirectory() as folder:
            return uvloop.run(_measure(server, Path(folder)))
    finally:
        server.stop()


async def _measure(server: PostgresqlServer, folder: Path) -> list[Figure]:
    database = await server.create_ready_database()
    corpus = Corpus()
    filled, questions = await fill_all(database, corpus)
    url_file = folder / "url"
    url_file.write_text(filled.login.dsn)
    async with Pool(url_file, connections=_CONNECTIONS, seconds=60, application="bench") as pool:
        reader, vectors = PostgresqlKnowledgeReader(pool), PostgresqlVectors(pool)
        counting = time.monotonic()
        async with pool.connection("count") as connection:
            await connection.execute("SELECT syntera.count_words($1)", filled.index_id, timeout=600)
        counted = time.monotonic() - counting
        moving = time.monotonic()
        await promote(database)
        moved = time.monotonic() - moving
        await _vacuum(database)
        tenant_id = TenantId(filled.login.tenant_id)
        found = await reader.find_knowledge_base(tenant_id, "handbook")
        assert found is not None
        assert found.active is not None
        index = found.active
        asked = questions_near(filled.vectors, _QUESTIONS)
        lists = [row.tolist() for row in asked]

        async def by_vector(number: int) -> Sequence[Hit]:
            return await vectors.search(tenant_id, index, lists[number], filter=_PUBLIC, limit=CANDIDATES)

        async def by_words(number: int) -> Sequence[Hit]:
            return await reader.search_words(tenant_id, index, questions[number], filter=_PUBLIC, limit=CANDIDATES)

        async def by_both(number: int) -> Sequence[Hit]:
            first, second = await asyncio.gather(by_vector(number), by_words(number))
            return [*first, *second]

        searcher = _build_searcher(reader, vectors, dict(zip(questions, lists, strict=True)))

        async def whole(number: int) -> Sequence[Passage]:
            request = SearchRequest(question=questions[number], filter=_PUBLIC)
            return (await searcher.search(tenant_id, "handbook", request)).passages

        times = {name: await _time(search) for name, search in _named(by_vector, by_words, by_both)}
        times_of_all = await _time(whole)
        recall = await measure_recall(filled, asked, by_vector)
        pairs = list(zip(lists, questions, strict=True))
        free_file = folder / "free-url"
        free_file.write_text(database.superuser_dsn)
        async with Pool(free_file, connections=1, seconds=60, application="bench") as unbound:
            ratios = await _compare_walls(
                database, unbound, filled, index=index, searches=(by_vector, by_words), asked=pairs
            )
    what = f"search in {_CHUNKS:,} chunks of one tenant among {_TENANTS}, {_CONCURRENT} at a time"
    figures = [Figure("recall@10 of HNSW against exact search", recall, "", at_least=0.98)]
    for name, milliseconds in times.items():
        figures.append(Figure(f"{what}: {name}, p50", percentile(milliseconds, 50), "ms"))
        figures.append(Figure(f"{what}: {name}, p95", percentile(milliseconds, 95), "ms", at_most=25))
    for percent in (50, 95):
        name = f"{what}: from the question's vector to passages, p{percent}"
        figures.append(Figure(name, percentile(times_of_all, percent), "ms"))
    for name, (walled, free) in ratios.items():
        figures.append(
            Figure(
                f"{name}, one at a time, p50",
                percentile(walled, 50),
                "ms",
                at_most=percentile(free, 50) * 1.25,
                reference=percentile(free, 50),
                compared_with="the owner, without row-level security",
            )
        )
    return [
        *figures,
        Figure("words counted anew", counted, "s"),
        Figure("moved to a table with HNSW", moved, "s"),
    ]


async def fill_all(database: Database, corpus: Corpus) -> tuple[Filled, list[str]]:
    """All tenants' knowledge; that of the large one, and questions in its words."""
    administrator = await database.connect()
    await administrator.execute("DROP INDEX syntera.knowledge_chunks_terms")
    others = corpus.texts(_CHUNKS_OF_OTHERS * 10)
    for number in range(_TENANTS - 1):
        login = await database.make_tenant()
        start = number % 9 * _CHUNKS_OF_OTHERS
        await fill(database, corpus, login, chunks=_CHUNKS_OF_OTHERS, texts=others[start:])
    texts = corpus.texts(_CHUNKS)
    filled = await fill(database, corpus, await database.make_tenant(), chunks=_CHUNKS, texts=texts, is_public=0.9)
    await administrator.execute(
        "CREATE INDEX knowledge_chunks_terms ON syntera.knowledge_chunks USING gin (terms) WITH (fastupdate = off)",
        timeout=600,
    )
    await administrator.close()
    await _vacuum(database)
    return filled, corpus.questions(texts, _QUESTIONS)


async def promote(database: Database) -> None:
    """Move the large index, as the operator does."""
    postgresql = Postgresql(PostgresqlSettings(url=database.operator_dsn))
    assert not await LargeIndexes(postgresql).look_after()
    await postgresql.aclose()


async def measure_recall(filled: Filled, asked: Floats, search: Callable[[int], Awaitable[Sequence[Hit]]]) -> float:
    """The part of the ten nearest public chunks that is found."""
    hits = wanted = 0
    for number, vector in enumerate(asked[:100]):
        public = {hit.embedded_hash for hit in (await search(number))[:10]}
        exact = list(nearest(filled, vector, 40))
        passing = [hash for hash in exact if filled.hashes.index(hash) // 10 % 100 < 90][:10]
        hits += len(public & set(passing))
        wanted += len(passing)
    return hits / wanted


def _build_searcher(
    reader: PostgresqlKnowledgeReader, vectors: PostgresqlVectors, known: Mapping[str, Sequence[float]]
) -> Searcher:
    """The product's, with a model that knows the questions and takes no time."""
    return Searcher(
        FakeKnowledgeBases(make_config(embedding=make_embedding(dimensions=DIMENSIONS))),
        reader,
        tenants=FakeTenant(make_endpoint()),
        vectors_of=lambda _config, _index: vectors,
        embedder=_KnownQuestions(known),
        reranker=FakeReranker(),
        metrics=Metrics(),
    )


@dataclass(frozen=True, slots=True)
class _KnownQuestions:
    """`Embedder` of a few questions."""

    vectors: Mapping[str, Sequence[float]]

    async def embed(
        self, _model: EmbeddingModel, texts: Sequence[str], *, seconds: float | None = None
    ) -> EmbeddedTexts:
        """See `Embedder`."""
        return EmbeddedTexts([self.vectors[text] for text in texts], tokens=0, is_estimated=True)


def _named(*searches: _Search) -> Sequence[tuple[str, _Search]]:
    return list(zip(("by vector", "by words", "by both"), searches, strict=True))


async def _time(search: _Search) -> list[float]:
    """Milliseconds of each search, so many at a time."""
    milliseconds: list[float] = []
    left = list(range(_QUESTIONS)) * _SLICES

    async def ask() -> None:
        while left:
            number = left.pop()
            started = time.monotonic()
            found = await search(number)
            milliseconds.append((time.monotonic() - started) * 1000)
            assert found

    await asyncio.gather(*(ask() for _ in range(_CONCURRENT)))
    return milliseconds[_QUESTIONS // 2 :]


async def _compare_walls(
    database: Database,
    unbound: Pool,
    filled: Filled,
    *,
    index: Index,
    searches: Sequence[_Search],
    asked: Sequence[_Asked],
) -> dict[str, tuple[list[float], list[float]]]:
    """The same searches with the policies, and without by somebody who names the tenant."""
    administrator = await database.connect()
    tables = (*_TABLES, own_vectors_table(filled.login.tenant_id, index.id))
    await administrator.execute(await _free_function(administrator))
    free = PostgresqlVectors(unbound)

    async def vector_free(number: int) -> Sequence[Hit]:
        tenant_id = TenantId(filled.login.tenant_id)
        return await free.search(tenant_id, index, asked[number][0], filter=_PUBLIC, limit=CANDIDATES)

    async def words_free(number: int) -> Sequence[object]:
        statement = "SELECT * FROM syntera.search_free($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        values = filter_values(_PUBLIC)
        return await administrator.fetch(
            statement, filled.login.tenant_id, index.id, asked[number][1], *values, CANDIDATES
        )

    pairs = {"by vector": (searches[0], vector_free), "by words": (searches[1], words_free)}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in pairs}
    try:
        for _ in range(2 * _SLICES):
            for name, both in pairs.items():
                for place, search in enumerate(both):
                    await _set_walls(administrator, tables, has_walls=place == 0)
                    found[name][place].extend(await _one_by_one(search))
    finally:
        await administrator.close()
    return found


async def _one_by_one(search: _Search) -> list[float]:
    milliseconds = []
    for number in range(_QUESTIONS // 4):
        started = time.monotonic()
        await search(number)
        milliseconds.append((time.monotonic() - started) * 1000)
    return milliseconds[20:]


async def _free_function(administrator: asyncpg.Connection) -> str:
    """The search for words as a function of whoever calls it, told the tenant."""
    text: str = await administrator.fetchval("SELECT pg_get_functiondef('syntera.search_knowledge'::regproc)")
    return (
        text.replace("syntera.search_knowledge(", "syntera.search_free(tenant uuid, ", 1)
        .replace(" SECURITY DEFINER", "")
        .replace("tenant uuid := syntera.current_tenant();", "")
        .replace("search_knowledge.", "search_free.")
    )


async def _set_walls(administrator: asyncpg.Connection, tables: Sequence[str], *, has_walls: bool) -> None:
    for table in tables:
        await administrator.execute(
            f"ALTER TABLE syntera.{table} {'ENABLE' if has_walls else 'DISABLE'} ROW LEVEL SECURITY"
        )


async def _vacuum(database: Database) -> None:
    administrator = await database.connect()
    await administrator.execute("VACUUM ANALYZE", timeout=600)
    await administrator.close()
