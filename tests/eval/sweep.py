"""Tries other constants than the product's, from which its defaults were chosen.

Fusions are computed from what the two searches bring, so that a hundred of them cost one search for each question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from syntera_runtime.models.ids import ChunkId
from syntera_runtime.models.knowledge import Hit

from .corpus import MODEL
from .embeddings import CachedEmbedder
from .indexing import EVERYBODY, IndexedCorpus
from .metrics import Rank
from .questions import Question

_CANDIDATES = 50
"""As many as the product's search takes of each."""
_CONSTANTS = (5, 10, 20, 40, 60, 100)
_WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.5)


@dataclass(frozen=True, slots=True)
class Hits:
    """What the two searches bring for a question."""

    vector: Sequence[ChunkId]
    keyword: Sequence[ChunkId]


async def collect_hits(
    corpus: IndexedCorpus, questions: Sequence[Question], embedder: CachedEmbedder
) -> Sequence[Hits]:
    """Both searches for each question."""
    stores, index = corpus.stores, corpus.index
    hits = []
    for question in questions:
        vector = embedder.vector(f"{MODEL.query_prefix}{question.text}")[0]
        near = await stores.vectors.search(stores.tenant_id, index, vector, filter=EVERYBODY, limit=_CANDIDATES)
        words = await stores.reader.search_words(
            stores.tenant_id, index, question.text, filter=EVERYBODY, limit=_CANDIDATES
        )
        hits.append(Hits(_ids(near), _ids(words)))
    return hits


def sweep_fusions(
    corpus: IndexedCorpus, questions: Sequence[Question], hits: Sequence[Hits]
) -> Sequence[tuple[str, Sequence[Rank]]]:
    """Ranks under each constant of reciprocal rank fusion, with each weight of the words beside 1 of the vectors."""
    return [
        (
            f"k = {constant}, words {weight:g}",
            rank_answers(corpus, questions, [fuse(one, constant=constant, weight=weight) for one in hits]),
        )
        for constant, weight in product(_CONSTANTS, _WEIGHTS)
    ]


def fuse(hits: Hits, *, constant: float, weight: float) -> Sequence[ChunkId]:
    """Reciprocal rank fusion, the best first."""
    scores: dict[ChunkId, float] = {}
    for worth, ids in ((1.0, hits.vector), (weight, hits.keyword)):
        for rank, one in enumerate(ids, start=1):
            scores[one] = scores.get(one, 0.0) + worth / (constant + rank)
    return sorted(scores, key=lambda one: scores[one], reverse=True)


def rank_answers(
    corpus: IndexedCorpus, questions: Sequence[Question], found: Sequence[Sequence[ChunkId]]
) -> Sequence[Rank]:
    """For each question the place of the first chunk with an answer."""
    return [_rank(corpus, question, ids) for question, ids in zip(questions, found, strict=True)]


def _rank(corpus: IndexedCorpus, question: Question, ids: Sequence[ChunkId]) -> Rank:
    for rank, one in enumerate(ids, start=1):
        path, chunk = corpus.chunks[one]
        if question.is_answered_by(path, chunk.content):
            return rank
    return None


def _ids(hits: Sequence[Hit]) -> Sequence[ChunkId]:
    return [hit.chunk_id for hit in hits]
