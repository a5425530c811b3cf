"""Searches one knowledge base: by meaning and by words at once, fused, thinned out, judged, joined to passages.

Who may be answered from which document is decided by the filter, which the store's queries enforce. All of a search has one
deadline. Where one of the two searches of a hybrid one fails because of the model, or the reranker does, the others' result is
what there is, and its stages say so; a threshold is then left alone if it is about scores that nobody has.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import structlog

from syntera_crds.contract.knowledge_config import EmbeddingModel, KnowledgeBaseConfig, RerankModel, SearchMode

from ..errors import (
    KnowledgeBaseNotFound,
    KnowledgeBaseNotReady,
    ModelError,
    SearchTimedOut,
    SecretMissing,
    StoreUnavailable,
    SynteraError,
    code_of,
)
from ..metrics import Metrics
from ..models.ids import ChunkId, TenantId
from ..models.knowledge import FoundChunk, Hit, Index, Passage, SearchRequest, SearchResult, SearchStage, Vector
from ..ports.configuration import TenantCatalogue
from ..ports.knowledge import Embedder, KnowledgeBases, KnowledgeReader, Reranker, VectorIndex, VectorsOf
from ..tracing import NO_TRACER, Tracer
from .duplicates import drop_duplicates
from .fusion import KEYWORD_WEIGHT, VECTOR_WEIGHT, fuse_ranks
from .joining import Scored, build_passages
from .question_models import find_question_model
from .questions import Questions

log = structlog.get_logger(__name__)

CANDIDATES = 50
"""How many chunks each search brings at least; more cost time and seldom get far."""
READ_FOR_EACH = 3
"""Chunks that are read for each one that is wanted, because some of them say the same."""
_TRIES = 2
"""Of a search, one after what was found by the first was written anew before it could be read."""
COMPARED_INLINE = 40_000
"""Characters of chunks up to which looking for the same takes less time than handing it to a thread may: some milliseconds."""
EMBED_SHARE = 0.6
"""Of the time that is left, what the model may take to embed the question: what words found must still be read after it."""
RERANK_SHARE = 0.7
"""The same for the reranker."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one search does, the request's wishes put over the knowledge base's settings."""

    mode: SearchMode
    top_k: int
    min_score: float
    neighbours: int
    passage_tokens: int
    rerank: RerankModel | None

    @property
    def candidates(self) -> int:
        """How many chunks each search brings."""
        judged = 0 if self.rerank is None else self.rerank.candidates
        return max(CANDIDATES, self.top_k * READ_FOR_EACH, judged)

    @property
    def read(self) -> int:
        """How many chunks are read."""
        return self.top_k * READ_FOR_EACH if self.rerank is None else max(self.rerank.candidates, self.top_k)


def build_plan(config: KnowledgeBaseConfig, request: SearchRequest) -> Plan:
    """What is to be done for the request."""
    own = config.retrieval
    return Plan(
        mode=own.mode if request.mode is None else request.mode,
        top_k=own.top_k if request.top_k is None else request.top_k,
        min_score=own.min_score if request.min_score is None else request.min_score,
        neighbours=own.neighbours if request.neighbours is None else request.neighbours,
        passage_tokens=own.passage_tokens,
        rerank=None if request.rerank is False else own.rerank,
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk on its way through a search."""

    chunk_id: ChunkId
    embedded_hash: bytes
    scores: Mapping[str, float]

    def with_score(self, stage: str, score: float) -> "Candidate":
        """The same with a stage's score."""
        return Candidate(self.chunk_id, self.embedded_hash, {**self.scores, stage: score})


def fuse_hits(vector: Sequence[Hit], keyword: Sequence[Hit]) -> list[Candidate]:
    """What two searches found as candidates, the best first."""
    hits = {hit.chunk_id: hit for hit in (*keyword, *vector)}
    scores: dict[ChunkId, dict[str, float]] = {chunk_id: {} for chunk_id in hits}
    for stage, found in (("vector", vector), ("keyword", keyword)):
        for hit in found:
            scores[hit.chunk_id][stage] = hit.score
    lists = ((VECTOR_WEIGHT, [hit.chunk_id for hit in vector]), (KEYWORD_WEIGHT, [hit.chunk_id for hit in keyword]))
    return [
        Candidate(chunk_id, hits[chunk_id].embedded_hash, {**scores[chunk_id], "fused": fused})
        for chunk_id, fused in fuse_ranks(lists).items()
    ]


def drop_same_texts(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without those whose text is exactly that of one before them."""
    first = {one.embedded_hash: one for one in reversed(candidates)}
    return [one for one in candidates if first[one.embedded_hash] is one]


def score_of(scores: Mapping[str, float]) -> float:
    """The score that counts: the reranker's, else the cosine similarity, else the rank of words scaled to 0..1."""
    for stage in ("rerank", "vector"):
        if stage in scores:
            return scores[stage]
    rank = scores.get("keyword", 0.0)
    return rank / (1 + rank)


def judged_by(plan: Plan) -> str:
    """The stage whose scores the threshold is about."""
    if plan.rerank is not None:
        return "rerank"
    return "keyword" if plan.mode is SearchMode.KEYWORD else "vector"


class Searcher:
    """Searches the knowledge bases of this process."""

    def __init__(
        self,
        configs: KnowledgeBases,
        reader: KnowledgeReader,
        *,
        tenants: TenantCatalogue,
        vectors_of: VectorsOf,
        embedder: Embedder,
        reranker: Reranker,
        metrics: Metrics,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._configs = configs
        self._reader = reader
        self._tenants = tenants
        self._vectors_of = vectors_of
        self._questions = Questions(embedder)
        self._reranker = reranker
        self._metrics = metrics
        self._tracer = tracer

    async def search(self, tenant_id: TenantId, knowledge_base: str, request: SearchRequest) -> SearchResult:
        """The passages that answer a question, as far as those of the filter's audience may know.

        Raises:
            KnowledgeBaseNotFound: There is none of that name.
            KnowledgeBaseNotReady: Nothing of it can be searched yet.
            SearchTimedOut: It took longer than the request lets it.
            StoreUnavailable: The store does not answer.
            ModelUnavailable, ModelTimeout, ModelRefused, SecretMissing: The question could not be embedded, and there are
                no words to go by.
        """
        config = self._configs.knowledge_base(knowledge_base)
        if config is None:
            raise KnowledgeBaseNotFound(f"There is no knowledge base {knowledge_base!r}.")
        with self._observe(config.name):
            try:
                async with asyncio.timeout(request.seconds) as deadline:
                    return await self._search(tenant_id, config, request, ends_at=deadline.when() or 0.0)
            except TimeoutError:
                raise SearchTimedOut from None
            except ExceptionGroup as group:
                raise _first(group) from group

    async def _search(
        self, tenant_id: TenantId, config: KnowledgeBaseConfig, request: SearchRequest, *, ends_at: float
    ) -> SearchResult:
        tokens = 0
        for _ in range(_TRIES):
            known = await self._reader.find_knowledge_base(tenant_id, config.name)
            if known is None or known.active is None:
                raise KnowledgeBaseNotReady
            search = _Search(
                tenant_id=tenant_id,
                config=config,
                index=known.active,
                model=find_question_model(config, known.active, tenant=self._tenants.tenant()),
                request=request,
                plan=build_plan(config, request),
                ends_at=ends_at,
                reader=self._reader,
                vectors_of=self._vectors_of,
                questions=self._questions,
                reranker=self._reranker,
                stages=_Stages(self._metrics, self._tracer),
            )
            result = await search.run()
            self._metrics.question_tokens.labels(config.name).inc(result.embedding_tokens)
            tokens += result.embedding_tokens
            if not search.has_lost:
                break
        return replace(result, embedding_tokens=tokens)

    @contextmanager
    def _observe(self, knowledge_base: str) -> Iterator[None]:
        outcome = "success"
        try:
            with self._tracer.span("search_knowledge_base", {"syntera.knowledge_base": knowledge_base}):
                yield
        except BaseException as error:
            outcome = code_of(error)
            raise
        finally:
            self._metrics.searches.labels(knowledge_base, outcome).inc()


@dataclass(slots=True)
class _Measured:
    found: int = 0
    failure: str | None = None


class _Stages:
    """Notes how long each stage took and what it left."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self.done: list[SearchStage] = []

    @contextmanager
    def measure(self, name: str) -> Iterator[_Measured]:
        """Around one stage."""
        started, measured = time.monotonic(), _Measured()
        with self._tracer.span(f"search_{name}", {"syntera.search.stage": name}) as span:
            try:
                yield measured
            finally:
                seconds = time.monotonic() - started
                self._metrics.search_stage_seconds.labels(name).observe(seconds)
            span.set({"syntera.search.found": measured.found})
            if measured.failure is not None:
                span.fail(measured.failure)
                self._metrics.search_stage_failures.labels(name, measured.failure).inc()
        self.done.append(SearchStage(name, seconds, measured.found, measured.failure))


@dataclass(slots=True)
class _Search:
    """One search under way."""

    tenant_id: TenantId
    config: KnowledgeBaseConfig
    index: Index
    model: EmbeddingModel | None
    """What embeds the question; None: nobody knows by which model its vector would fit those of the index."""
    request: SearchRequest
    plan: Plan
    ends_at: float
    """When (by the loop's clock) all of it must be done."""
    reader: KnowledgeReader
    vectors_of: VectorsOf
    questions: Questions
    reranker: Reranker
    stages: _Stages
    embedding_tokens: int = 0
    vector: Vector | None = field(default=None, repr=False)
    has_lost: bool = False
    """A chunk that was found was gone when it was to be read: its document, or all of the index, was written anew meanwhile."""

    async def run(self) -> SearchResult:
        candidates = await self._find()
        kept = [one for one in candidates if self._is_good(one.scores)]
        left_out = len(candidates) - len(kept)
        most = (
            self.plan.top_k if self.plan.rerank is None else None
        )  # a judge shall see all that there is to choose from
        chosen = await _drop_duplicates(await self._read(drop_same_texts(kept)[: self.plan.read]), most=most)
        judged = await self._judge(chosen)
        good = [one for one in judged if self._is_good(one.scores)]
        left_out += len(judged) - len(good)
        passages = await self._join(good[: self.plan.top_k])
        return SearchResult(
            passages=passages,
            stages=tuple(self.stages.done),
            mode=self.plan.mode,
            embedding_tokens=self.embedding_tokens,
            scored_by=self._name_scorer(judged),
            left_out=left_out,
        )

    async def _find(self) -> list[Candidate]:
        """What either search finds, fused, each with its similarity to the question."""
        mode = self.plan.mode
        async with asyncio.TaskGroup() as group:
            by_vector = None if mode is SearchMode.KEYWORD else group.create_task(self._search_vectors())
            by_words = None if mode is SearchMode.VECTOR else group.create_task(self._search_words())
        vector = [] if by_vector is None else by_vector.result()
        words = [] if by_words is None else by_words.result()
        with self.stages.measure("fuse") as stage:
            candidates = await self._compare(fuse_hits(vector, words))
            stage.found = len(candidates)
        return candidates

    async def _search_vectors(self) -> Sequence[Hit]:
        vector = await self._embed()
        if vector is None:
            return []
        with self.stages.measure("vector") as stage:
            try:
                hits = await self._vectors.search(
                    self.tenant_id,
                    self.index,
                    vector,
                    filter=self.request.filter,
                    limit=self.plan.candidates,
                )
            except (StoreUnavailable, SecretMissing) as error:
                if self.plan.mode is SearchMode.VECTOR:
                    raise
                stage.failure = error.code
                return []
            self.vector = vector
            stage.found = len(hits)
        return hits

    async def _embed(self) -> Vector | None:
        """The question as a vector; None: there is none, and words have to do."""
        with self.stages.measure("embed") as stage:
            try:
                if self.model is None:
                    raise KnowledgeBaseNotReady(
                        "The index of the knowledge base was made with a model that is not known any more. Wait for the next sync."
                    )
                vector, tokens = await self.questions.embed(
                    self.model, self.request.question, seconds=self._left * EMBED_SHARE
                )
            except (ModelError, SecretMissing, KnowledgeBaseNotReady) as error:
                if self.plan.mode is SearchMode.VECTOR:
                    raise
                stage.failure = error.code
                log.warning("question not embedded", knowledge_base=self.config.name, reason=error.code)
                return None
            self.embedding_tokens = tokens
            return vector

    async def _search_words(self) -> Sequence[Hit]:
        with self.stages.measure("keyword") as stage:
            hits = await self.reader.search_words(
                self.tenant_id,
                self.index,
                self.request.question,
                filter=self.request.filter,
                limit=self.plan.candidates,
            )
            stage.found = len(hits)
        return hits

    async def _compare(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates, those that words alone have found with their similarity, too."""
        hashes = list({one.embedded_hash for one in candidates if "vector" not in one.scores})
        if self.vector is None or not hashes:
            return list(candidates)
        try:
            similar = await self._vectors.similarities(self.tenant_id, self.index, self.vector, hashes)
        except (StoreUnavailable, SecretMissing):
            similar = {}
        return [
            one.with_score("vector", similar[one.embedded_hash])
            if "vector" not in one.scores and one.embedded_hash in similar
            else one
            for one in candidates
        ]

    async def _read(self, candidates: Sequence[Candidate]) -> list[Scored]:
        """The candidates' chunks. Somebody for whom the documents are not gets none, whatever a store brings."""
        with self.stages.measure("read") as stage:
            read = await self._read_chunks([one.chunk_id for one in candidates])
            self.has_lost = len(read) < len(candidates)
            found = {one.id: one for one in read if one.facts.audience & self.request.filter.audience}
            stage.found = len(found)
        return [
            Scored(found[one.chunk_id], score_of(one.scores), one.scores) for one in candidates if one.chunk_id in found
        ]

    async def _read_chunks(self, chunk_ids: Sequence[ChunkId], *, neighbours: int = 0) -> Sequence[FoundChunk]:
        if not chunk_ids:
            return []
        return await self.reader.read_chunks(self.tenant_id, self.index, chunk_ids, neighbours=neighbours)

    async def _judge(self, found: Sequence[Scored]) -> list[Scored]:
        """What was found in the reranker's order, if there is one."""
        model = self.plan.rerank
        if model is None or not found:
            return list(found)
        judged = found[: model.candidates]
        with self.stages.measure("rerank") as stage:
            try:
                scores = await self.reranker.rerank(
                    model,
                    self.request.question,
                    [_describe(one.found) for one in judged],
                    seconds=self._left * RERANK_SHARE,
                )
            except (ModelError, SecretMissing) as error:
                stage.failure = error.code
                log.warning("passages not reranked", knowledge_base=self.config.name, reason=error.code)
                return list(found)
            stage.found = len(judged)
        scored = [
            Scored(one.found, score, {**one.scores, "rerank": score}) for one, score in zip(judged, scores, strict=True)
        ]
        return sorted(scored, key=lambda one: one.score, reverse=True)

    async def _join(self, found: Sequence[Scored]) -> Sequence[Passage]:
        """Passages around what was found."""
        with self.stages.measure("join") as stage:
            ids = [one.found.id for one in found] if self.plan.neighbours else []
            around = await self._read_chunks(ids, neighbours=self.plan.neighbours)
            passages = build_passages(
                found,
                around,
                knowledge_base=self.config.name,
                index_number=self.index.number,
                neighbours=self.plan.neighbours,
                most_tokens=self.plan.passage_tokens,
            )
            stage.found = len(passages)
        return passages

    def _is_good(self, scores: Mapping[str, float]) -> bool:
        """Whether the scores pass the threshold, as far as it is about one of them."""
        return judged_by(self.plan) not in scores or score_of(scores) >= self.plan.min_score

    def _name_scorer(self, judged: Sequence[Scored]) -> str | None:
        """What made the scores; words' ranks hold within one index alone."""
        if self.plan.rerank is not None and all("rerank" in one.scores for one in judged):
            return f"rerank {self.plan.rerank.endpoint} {self.plan.rerank.model}"
        if self.vector is None or self.model is None:
            return None
        return f"vector {self.model.endpoint} {self.model.model}"

    @property
    def _vectors(self) -> VectorIndex:
        return self.vectors_of(self.config, self.index)

    @property
    def _left(self) -> float:
        """Seconds until the deadline."""
        return max(self.ends_at - asyncio.get_running_loop().time(), 0.0)


async def _drop_duplicates(found: Sequence[Scored], *, most: int | None) -> list[Scored]:
    if sum(len(_content(one)) for one in found) <= COMPARED_INLINE:
        return drop_duplicates(found, _content, most=most)
    return await asyncio.to_thread(drop_duplicates, found, _content, most=most)


def _content(scored: Scored) -> str:
    return scored.found.chunk.content


def _describe(found: FoundChunk) -> str:
    """A chunk as the reranker gets it: with what it is about."""
    return "\n".join((" > ".join((found.facts.title, *found.chunk.headings)), "", found.chunk.content))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of our own errors that the tasks of a search ended with, else the first of any."""
    errors: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            errors.append(error)
    return next((error for error in errors if isinstance(error, SynteraError)), errors[0])
