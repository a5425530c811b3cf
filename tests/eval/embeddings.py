"""Embeddings of the corpus, kept by content outside of the tree: the model takes half an hour for all of it, the cache a second."""

import hashlib
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from syntera_crds.contract.knowledge_config import EmbeddingModel
from syntera_dev.models.e5 import DIMENSIONS, E5Embedder
from syntera_dev.models.protocol import REAL_EMBEDDING_MODEL
from syntera_dev.paths import cache_folder

_FORMAT = f"<{DIMENSIONS}e"
"""Halves of a number's bits, as PostgreSQL keeps them."""


@dataclass(frozen=True, slots=True)
class CachedEmbedded:
    """What the port `Embedder` answers."""

    vectors: Sequence[Sequence[float]]
    tokens: int
    is_estimated: bool = False


class CachedEmbedder:
    """The port `Embedder` over the real model on this processor, in this process, and a file of what it has made before."""

    def __init__(self, path: Path | None = None) -> None:
        path = path or cache_folder() / "eval" / f"{REAL_EMBEDDING_MODEL}.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._model = E5Embedder()
        self._kept = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._kept.execute("PRAGMA journal_mode=WAL")
        self._kept.execute("PRAGMA synchronous=OFF")
        self._kept.execute(
            "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB, tokens INTEGER) WITHOUT ROWID"
        )

    async def embed(
        self,
        model: EmbeddingModel,
        texts: Sequence[str],
        *,
        seconds: float | None = None,
    ) -> CachedEmbedded:
        """The vectors of texts that have their prefix."""
        entries = [self.vector(text) for text in texts]
        return CachedEmbedded([vector for vector, _ in entries], sum(tokens for _, tokens in entries))

    def vector(self, text: str) -> tuple[Sequence[float], int]:
        """The vector of a text and how many tokens it has."""
        key = hashlib.sha256(text.encode(errors="replace")).digest()
        found = self._kept.execute("SELECT vector, tokens FROM vectors WHERE text = ?", (key,)).fetchone()
        if found is not None:
            return struct.unpack(_FORMAT, found[0]), found[1]
        made = self._model.embed_now(text)
        packed = struct.pack(_FORMAT, *made.vector)
        self._kept.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", (key, packed, made.tokens))
        return struct.unpack(_FORMAT, packed), made.tokens

    def missing(self, texts: Sequence[str]) -> Iterator[str]:
        """Those that are not there yet."""
        for start in range(0, len(texts), 500):
            some = texts[start : start + 500]
            keys = {hashlib.sha256(text.encode(errors="replace")).digest(): text for text in some}
            marks = ",".join("?" * len(keys))
            with closing(self._kept.execute(f"SELECT text FROM vectors WHERE text IN ({marks})", list(keys))) as rows:
                there = {row[0] for row in rows}
            yield from (text for key, text in keys.items() if key not in there)

    def close(self) -> None:
        """Close the file."""
        self._kept.close()
        self._model.close()
