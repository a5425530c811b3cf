"""Tries other parameters of HNSW than the product's on real vectors: short passages of the corpus, so that there are enough.

The table is the product's, made by the operator's code, and so are the statements that search it. Recall is the part of the
ten nearest passages that are found; which these are says an exact search before the vectors are moved.
"""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from unittest.mock import patch

from syntera_crds.contract.knowledge_config import Chunking
from syntera_crds.contract.names import own_vectors_table
from syntera_operator.stores import knowledge_indexes
from syntera_operator.stores.knowledge_indexes import LargeIndexes, build_hnsw
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from syntera_runtime.adapters.postgresql import pool
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.knowledge.chunking import cut
from syntera_runtime.knowledge.search import CANDIDATES
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import Index, IndexStorage, SearchFilter, Vector
from tests.bench.processes import cpu_seconds

from .corpus import MODEL, CorpusDocument
from .indexing import EVERYBODY, IndexedCorpus, Stores, embed_content, index_corpus
from .questions import read_questions
from .report import render_table
from .sweeps import Evaluation

_CHUNKING = Chunking(target_tokens=50, overlap_tokens=0)
_STORED = 17_000
"""Passages: more than three times as many as make an index a large one. Embedding takes a quarter of an hour, the first time."""
_HELD_OUT = 250
"""Others, which are searched for."""
_NEAREST = 10
_CONNECTIONS = (8, 16, 24)
_CONSTRUCTIONS = (64, 128)
_EF_SEARCHES = (40, 100, 200)
_NAME = "passages"
_FILTERS = {
    "all": EVERYBODY,
    "one book": SearchFilter(audience=EVERYBODY.audience, path_prefix="policy/"),
}
"""The book has a ninth of the passages. Most questions are about another one, so that few of the nearest passages pass."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Vectors that are searched for."""

    name: str
    vectors: Sequence[Vector]


@dataclass(frozen=True, slots=True)
class Searched:
    """Vectors, as one session of PostgreSQL searches them."""

    tenant_id: TenantId
    vectors: PostgresqlVectors
    pid: int
    """Of the session's process."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """What searches found for each vector, and what they cost."""

    hashes: Sequence[Sequence[bytes]]
    """Of the texts, the nearest first."""
    milliseconds: float
    """Processor time of PostgreSQL for a search, which says the same on a machine that has more to do."""


async def sweep_hnsw(evaluation: Evaluation) -> str:
    """Each size of the graph, searched with each number of candidates."""
    stores = evaluation.stores
    stored, held_out = draw(evaluation.documents)
    corpus = await index_corpus(
        stores,
        evaluation.documents,
        chunking=_CHUNKING,
        embedder=evaluation.embedder,
        embedded_text=embed_content,
        contents=stored,
        name=_NAME,
    )
    asked = [
        Asked(name, [evaluation.embedder.vector(f"{MODEL.query_prefix}{text}")[0] for text in texts])
        for name, texts in (("questions", [one.text for one in read_questions()]), ("passages", held_out))
    ]
    async with _searching(stores) as searched:
        exact = await _search_all(searched, corpus.index, asked)
    index = await _move(corpus)
    rows = []
    for connections, construction in product(_CONNECTIONS, _CONSTRUCTIONS):
        seconds, megabytes = await _build(corpus, connections=connections, construction=construction)
        for ef_search in _EF_SEARCHES:
            async with _searching(stores, ef_search) as searched:
                found = await _search_all(searched, index, asked)
            rows.append(
                [f"{connections}, {construction}", f"{seconds:.0f} s", f"{megabytes:.0f} MB", str(ef_search)]
                + [_describe(found[key], exact[key]) for key in found]
            )
    head = ["m, ef_construction", "built in", "size", "ef_search"]
    head += [f"{asked_name}, {name}" for name, asked_name in exact]
    exactly = ", ".join(f"{one.milliseconds:.1f} ms for {' of '.join(key[::-1])}" for key, one in exact.items())
    return f"{len(corpus.chunks):,} passages; an exact search: {exactly}\n\n{render_table(head, rows)}"


def draw(documents: Sequence[CorpusDocument]) -> tuple[frozenset[str], Sequence[str]]:
    """Texts that are stored, and those that are held out; chance, which is that of their hashes, decides."""
    texts = {chunk.content for document in documents for chunk in cut(document.extracted, _CHUNKING)}
    drawn = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())
    return frozenset(drawn[_HELD_OUT:][:_STORED]), drawn[:_HELD_OUT]


def measure_recall(found: Sequence[Sequence[bytes]], exact: Sequence[Sequence[bytes]]) -> float:
    """The part of the nearest ones that was found among as many."""
    pairs = [(set(one[:_NEAREST]), set(other[:_NEAREST])) for one, other in zip(found, exact, strict=True)]
    return sum(len(one & other) for one, other in pairs) / sum(len(other) for _, other in pairs)


async def _search_all(searched: Searched, index: Index, asked: Sequence[Asked]) -> dict[tuple[str, str], Nearest]:
    """What is found by each filter for each kind of question."""
    found = {}
    for (name, filter), one in product(_FILTERS.items(), asked):
        before = cpu_seconds(searched.pid)
        hits = [
            await searched.vectors.search(searched.tenant_id, index, vector, filter=filter, limit=CANDIDATES)
            for vector in one.vectors
        ]
        spent = cpu_seconds(searched.pid) - before
        hashes = [[hit.embedded_hash for hit in some] for some in hits]
        found[name, one.name] = Nearest(hashes, spent / len(hits) * 1000)
    return found


async def _move(corpus: IndexedCorpus) -> Index:
    """Have the operator give the index a table of its own."""
    stores = corpus.stores
    postgresql = Postgresql(PostgresqlSettings(url=stores.database.operator_dsn))
    try:
        await LargeIndexes(postgresql).look_after()
    finally:
        await postgresql.aclose()
    moved = await stores.reader.find_knowledge_base(stores.tenant_id, _NAME)
    assert moved is not None
    assert moved.active is not None
    assert moved.active.storage is IndexStorage.OWN
    return moved.active


async def _build(corpus: IndexedCorpus, *, connections: int, construction: int) -> tuple[float, float]:
    """Build the graph anew: seconds that it took, and its size in MB."""
    table = own_vectors_table(corpus.stores.tenant_id, corpus.index.id)
    name = table.replace("vectors", "hnsw", 1)
    administrator = await corpus.stores.database.connect()
    try:
        await administrator.execute(f"DROP INDEX syntera.{name}")
        await administrator.execute(f"SET maintenance_work_mem = '{knowledge_indexes._MEMORY}'")
        with (
            patch.object(knowledge_indexes, "_CONNECTIONS", connections),
            patch.object(knowledge_indexes, "_CONSTRUCTION", construction),
        ):
            statement = build_hnsw(table)
        started = time.monotonic()
        await administrator.execute(statement, timeout=600)
        seconds = time.monotonic() - started
        return seconds, await administrator.fetchval(f"SELECT pg_relation_size('syntera.{name}')") / 1e6
    finally:
        await administrator.close()


@asynccontextmanager
async def _searching(stores: Stores, ef_search: int | None = None) -> AsyncIterator[Searched]:
    """Searches in one session, in which HNSW keeps so many candidates; as the product has it, unless it is said."""
    session = pool._SESSION
    if ef_search is not None:
        session, number = re.subn(r"ef_search = \d+", f"ef_search = {ef_search}", session)
        assert number == 1
    with patch.object(pool, "_SESSION", session):
        async with pool.Pool(stores.url_file, connections=1, seconds=120, application="eval") as opened:
            async with opened.connection("pid") as connection:
                pid = await connection.fetchval("SELECT pg_backend_pid()")
            yield Searched(stores.tenant_id, PostgresqlVectors(opened), pid)


def _describe(found: Nearest, exact: Nearest) -> str:
    return f"{measure_recall(found.hashes, exact.hashes):.3f}, {found.milliseconds:.1f} ms"
