"""Made-up knowledge to measure searches in: clustered vectors, and texts of words as rare as those of languages are.

Vectors lie near a space of few dimensions, as those of embedding models do: random directions in all of theirs have no near
neighbours that an index could find. It is written by COPY, past row-level security, into tables without their index of words,
which is made afterwards.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np
from numpy.typing import NDArray

from tests.support.postgresql import Database, TenantLogin

DIMENSIONS = 384
CHUNKS_OF_A_DOCUMENT = 10
_LATENT = 24
_CLUSTERS = 1000
_WORDS = 40_000
_WORDS_OF_A_CHUNK = 120
_QUESTION_WORDS = 8
_COPIED_AT_ONCE = 10_000

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Filled:
    """A tenant's index."""

    login: TenantLogin
    base_id: uuid.UUID
    index_id: uuid.UUID
    vectors: Floats
    hashes: Sequence[bytes]


class Corpus:
    """Draws vectors, texts and questions of the same kinds for everybody."""

    def __init__(self, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        self._centres = self._random.normal(size=(_CLUSTERS, _LATENT)).astype(np.float32)
        self._directions = self._random.normal(size=(_LATENT, DIMENSIONS)).astype(np.float32)
        self._words = _make_words(self._random)
        shares = 1 / np.arange(1, _WORDS + 1) ** 1.05
        self._shares = shares / shares.sum()

    def vectors(self, number: int) -> Floats:
        """Vectors of length one."""
        near = self._centres[self._random.integers(0, _CLUSTERS, number)]
        latent = near + 0.5 * self._random.normal(size=near.shape).astype(np.float32)
        found = latent @ self._directions + 0.3 * self._random.normal(size=(number, DIMENSIONS)).astype(np.float32)
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)

    def texts(self, number: int) -> list[str]:
        """Texts of as many words each."""
        chosen = self._random.choice(_WORDS, size=(number, _WORDS_OF_A_CHUNK), p=self._shares)
        return [" ".join(self._words[word] for word in row) for row in chosen]

    def questions(self, texts: Sequence[str], number: int) -> list[str]:
        """Some words of a text each, with two that any text has."""
        found = []
        for _ in range(number):
            words = texts[int(self._random.integers(0, len(texts)))].split()
            found.append(" ".join((self._words[0], self._words[1], *self._random.choice(words, _QUESTION_WORDS - 2))))
        return found


def _make_words(random: np.random.Generator) -> list[str]:
    syllables = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]
    return ["".join(random.choice(syllables, 2 + number % 3)) + str(number % 7) for number in range(_WORDS)]


async def fill(
    database: Database, corpus: Corpus, login: TenantLogin, *, chunks: int, texts: Sequence[str], is_public: float = 1.0
) -> Filled:
    """Write a tenant's knowledge base with an active index; `is_public` is the part of its documents that visitors may see."""
    base_id, index_id = uuid.uuid4(), uuid.uuid4()
    vectors = corpus.vectors(chunks)
    hashes = [uuid.uuid4().bytes for _ in range(chunks)]
    documents = [uuid.uuid4() for _ in range(-(-chunks // CHUNKS_OF_A_DOCUMENT))]
    tenant_id = login.tenant_id
    connection = await database.connect()
    try:
        await connection.execute(
            "INSERT INTO syntera.knowledge_bases (tenant_id, id, name) VALUES ($1, $2, 'handbook')", tenant_id, base_id
        )
        await connection.execute(
            "INSERT INTO syntera.knowledge_indexes (tenant_id, id, knowledge_base_id, number, fingerprint, dimensions, storage,"
            " state, activated_at, languages) VALUES ($1, $2, $3, 1, 'f', $4, 'common', 'active', now(), '{\"\"}')",
            tenant_id, index_id, base_id, DIMENSIONS,
        )  # fmt: skip
        public, mine = ["public"], ["authenticated"]
        await _copy(
            connection,
            "knowledge_documents",
            ["tenant_id", "id", "knowledge_base_id", "source", "path", "path_hash", "title", "media_type", "audience", "state"],
            [
                (tenant_id, document, base_id, "docs", f"{n}.md", document.bytes * 2, "T", "text/plain",
                 public if n % 100 < is_public * 100 else mine, "indexed")
                for n, document in enumerate(documents)
            ],
        )  # fmt: skip
        await _copy(
            connection,
            "knowledge_index_documents",
            ["tenant_id", "index_id", "document_id", "content_hash", "reader", "chunks"],
            [(tenant_id, index_id, document, bytes(32), "r", CHUNKS_OF_A_DOCUMENT) for document in documents],
        )
        await _copy(
            connection,
            "knowledge_chunks",
            ["tenant_id", "index_id", "document_id", "position", "id", "hash", "starts", "ends", "overlap", "tokens",
             "language", "headings", "content"],
            [
                (tenant_id, index_id, documents[n // CHUNKS_OF_A_DOCUMENT], n % CHUNKS_OF_A_DOCUMENT, uuid.uuid4(), hashes[n],
                 0, 1, 0, 1, "", [], texts[n])
                for n in range(chunks)
            ],
        )  # fmt: skip
        await _copy_vectors(connection, tenant_id, index_id, hashes, vectors)
    finally:
        await connection.close()
    return Filled(login, base_id, index_id, vectors, hashes)


async def _copy(connection: asyncpg.Connection, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    for start in range(0, len(rows), _COPIED_AT_ONCE):
        await connection.copy_records_to_table(
            table, schema_name="syntera", columns=columns, records=rows[start : start + _COPIED_AT_ONCE], timeout=600
        )


async def _copy_vectors(
    connection: asyncpg.Connection, tenant_id: uuid.UUID, index_id: uuid.UUID, hashes: Sequence[bytes], vectors: Floats
) -> None:
    """By PostgreSQL's binary format: asyncpg knows none for halfvec."""
    fields = [
        ("fields", ">i2"),
        ("tenant_length", ">i4"),
        ("tenant", "V16"),
        ("index_length", ">i4"),
        ("index", "V16"),
        ("hash_length", ">i4"),
        ("hash", "V16"),
        ("vector_length", ">i4"),
        ("dimensions", ">i2"),
        ("unused", ">i2"),
        ("vector", ">f2", (DIMENSIONS,)),
    ]
    rows = np.zeros(len(hashes), dtype=fields)
    rows["fields"] = 4
    for name in ("tenant_length", "index_length", "hash_length"):
        rows[name] = 16
    rows["tenant"] = np.void(tenant_id.bytes)
    rows["index"] = np.void(index_id.bytes)
    rows["hash"] = np.frombuffer(b"".join(hashes), dtype="V16")
    rows["vector_length"] = 4 + 2 * DIMENSIONS
    rows["dimensions"] = DIMENSIONS
    rows["vector"] = vectors

    async def source() -> Any:
        yield b"PGCOPY\n\xff\r\n\0" + bytes(8)
        for start in range(0, len(rows), _COPIED_AT_ONCE):
            yield rows[start : start + _COPIED_AT_ONCE].tobytes()
        yield b"\xff\xff"

    await connection.copy_to_table(
        "knowledge_vectors", schema_name="syntera", source=source(), format="binary", timeout=600
    )


def questions_near(vectors: Floats, number: int, seed: int = 3) -> Floats:
    """Vectors that lie near some of these, as a question lies near its answer."""
    random = np.random.default_rng(seed)
    found = vectors[random.integers(0, len(vectors), number)] + random.normal(0, 0.02, (number, DIMENSIONS))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


def nearest(filled: Filled, vector: Floats, number: int) -> Iterator[bytes]:
    """Hashes of the nearest vectors, compared one by one."""
    for place in np.argsort(-(filled.vectors @ vector))[:number]:
        yield filled.hashes[place]
