"""Asks all questions in the product's ways of searching, and finds the rank of each answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, RerankModel, SearchMode
from syntera_runtime.knowledge.search import Searcher
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.knowledge import Passage, SearchRequest

from .embeddings import CachedEmbedder
from .indexing import EVERYBODY, IndexedCorpus
from .metrics import METRICS, Rank
from .questions import Question

_DEPTH = 10
"""Passages that are looked at."""
_SHOWN = 5
"""Of them, those that a model is shown by default."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way of searching."""

    name: str
    mode: SearchMode
    neighbours: int = 0


WAYS = (
    Way("keyword", SearchMode.KEYWORD),
    Way("vector", SearchMode.VECTOR),
    Way("hybrid", SearchMode.HYBRID),
    Way("hybrid + neighbours", SearchMode.HYBRID, neighbours=1),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one way found."""

    way: Way
    questions: Sequence[Question]
    ranks: Sequence[Rank]
    """One for each question, as are the next two."""
    shown_tokens: Sequence[float]
    """Tokens of the passages that a model is shown, as estimated."""
    milliseconds: Sequence[float]
    """Time of a search without the embedding of the question."""

    def mean(self, metric: str) -> float:
        """The mean of one of the figures."""
        return fmean(map(METRICS[metric], self.ranks))

    def among(self, questions: Sequence[Question]) -> "Found":
        """The same for some of its questions."""
        wanted = {question.text for question in questions}
        places = [place for place, question in enumerate(self.questions) if question.text in wanted]
        return Found(
            self.way,
            [self.questions[place] for place in places],
            [self.ranks[place] for place in places],
            [self.shown_tokens[place] for place in places],
            [self.milliseconds[place] for place in places],
        )


class OneKnowledgeBase:
    """The port `KnowledgeBases` with one entry."""

    def __init__(self, config: KnowledgeBaseConfig) -> None:
        self._config = config

    def knowledge_base(self, name: str) -> KnowledgeBaseConfig | None:
        """The configuration, under its own name."""
        return self._config if name == self._config.name else None

    def all_knowledge_bases(self) -> Sequence[KnowledgeBaseConfig]:
        """The one."""
        return [self._config]


class NoTenant:
    """The port `TenantCatalogue`: every index is made with the configured model."""

    def tenant(self) -> None:
        """Nobody publishes one."""


class NoReranker:
    """The port `Reranker`, which nobody uses here."""

    async def rerank(
        self, model: RerankModel, question: str, passages: Sequence[str], *, seconds: float
    ) -> Sequence[float]:
        """There is none."""
        raise NotImplementedError


async def search_all(corpus: IndexedCorpus, questions: Sequence[Question], way: Way, embedder: CachedEmbedder) -> Found:
    """Ask all questions in one way."""
    searcher = Searcher(
        OneKnowledgeBase(corpus.config),
        corpus.stores.reader,
        tenants=NoTenant(),
        vectors_of=lambda _config, _index: corpus.stores.vectors,
        embedder=embedder,
        reranker=NoReranker(),
        metrics=Metrics(),
    )
    ranks: list[Rank] = []
    tokens: list[float] = []
    milliseconds: list[float] = []
    for question in questions:
        request = SearchRequest(
            question=question.text,
            filter=EVERYBODY,
            mode=way.mode,
            top_k=_DEPTH,
            neighbours=way.neighbours,
            seconds=60,
        )
        started = time.monotonic()
        result = await searcher.search(corpus.stores.tenant_id, corpus.config.name, request)
        embedding = sum(stage.seconds for stage in result.stages if stage.name == "embed")
        milliseconds.append((time.monotonic() - started - embedding) * 1000)
        ranks.append(find_rank(question, result.passages))
        tokens.append(sum(passage.tokens for passage in result.passages[:_SHOWN]))
    return Found(way, questions, ranks, tokens, milliseconds)


def find_rank(question: Question, passages: Sequence[Passage]) -> Rank:
    """The place of the first passage that holds an answer."""
    places = enumerate(passages, start=1)
    return next((rank for rank, one in places if question.is_answered_by(one.origin.path, one.text)), None)
