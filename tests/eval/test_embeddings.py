"""Embeddings that are kept."""

from pathlib import Path

import pytest

from .corpus import MODEL
from .embeddings import CachedEmbedder


async def test_vector_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vectors.sqlite"
    texts = ["passage: Bags", "query: What of bags?"]
    first = CachedEmbedder(path)
    assert set(first.missing(texts)) == set(texts)
    made = await first.embed(MODEL, texts)
    assert len(made.vectors[0]) == MODEL.dimensions
    assert made.tokens > 0
    first.close()

    second = CachedEmbedder(path)
    monkeypatch.setattr("syntera_dev.models.e5.E5Embedder.embed_now", None)
    assert await second.embed(MODEL, texts) == made
    assert list(second.missing(texts)) == []
    second.close()
