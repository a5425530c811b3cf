"""The JSON of searches in knowledge bases."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from syntera_crds.contract.knowledge_config import Audience, SearchMode

from ..models.knowledge import Passage, SearchFilter, SearchRequest, SearchResult, SearchStage
from ..views.base import View
from .schemas import Input, Instant, check_characters

MOST_PASSAGES = 50


def _check_question(question: str) -> str:
    check_characters(question)
    if not question.strip():
        raise PydanticCustomError("string_too_short", "must hold more than white space")
    return question


_Name = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)]


class SearchFilterInput(Input):
    """Which documents may be found."""

    audience: Annotated[
        list[Annotated[Audience, Field(strict=False)]], Field(min_length=1, max_length=len(Audience))
    ] = [Audience.PUBLIC]
    """Documents that are for one of these. An agent looks for what is for whoever talks to it."""
    sources: Annotated[list[_Name], Field(min_length=1, max_length=50)] | None = None
    """Only documents of these sources. Left out: of all."""
    path_prefix: Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(check_characters)] | None = None
    """Only documents whose path begins so."""
    tags: Annotated[list[_Name], Field(max_length=20)] = []
    """Only documents that have all of these."""
    modified_from: Annotated[Instant, Field(strict=False)] | None = None
    modified_before: Annotated[Instant, Field(strict=False)] | None = None

    def to_model(self) -> SearchFilter:
        """What is wanted."""
        return SearchFilter(
            audience=frozenset(one.value for one in self.audience),
            sources=None if self.sources is None else frozenset(self.sources),
            path_prefix=self.path_prefix,
            tags=frozenset(self.tags),
            modified_from=self.modified_from,
            modified_before=self.modified_before,
        )


class SearchInput(Input):
    """What to search for. What is left out is as the knowledge base says."""

    question: Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_check_question)]
    """In the words of whoever wants to know."""
    mode: Annotated[SearchMode, Field(strict=False)] | None = None
    """`Hybrid`: by meaning and by words; `Vector`: by meaning; `Keyword`: by words."""
    top_k: Annotated[int, Field(ge=1, le=MOST_PASSAGES)] | None = None
    """Passages at most."""
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Passages whose score is less are left out."""
    rerank: bool | None = None
    """false: without the reranker that the knowledge base names."""
    neighbours: Annotated[int, Field(ge=0, le=10)] | None = None
    """Chunks before and after a found one that belong to the passage."""
    filter: SearchFilterInput = SearchFilterInput()

    def to_model(self) -> SearchRequest:
        """What is wanted."""
        return SearchRequest(
            question=self.question,
            filter=self.filter.to_model(),
            mode=self.mode,
            top_k=self.top_k,
            min_score=self.min_score,
            rerank=self.rerank,
            neighbours=self.neighbours,
        )


class PassageView(View):
    """A piece of one document that may answer the question."""

    document_id: UUID
    index_number: int
    """The index that it was found in."""
    title: str
    source: str
    path: str
    url: str | None
    """Where people can read the document."""
    headings: list[str]
    """The path of headings that it stands below, the outermost first."""
    page: int | None
    """The page, slide or sheet on which it begins, from 1; null: the format has none."""
    last_page: int | None
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    text: str
    tokens: int
    """As estimated."""
    score: float
    """What `minScore` is compared with: the reranker's where there is one, else the cosine similarity where vectors are searched,
    else the rank of words."""
    scores: dict[str, float]
    """By stage: `vector`, `keyword`, `fused`, `rerank`. Stages that did not find it are left out."""
    modified_at: datetime | None
    """When the document was changed last, as far as anybody says."""

    @classmethod
    def of(cls, passage: Passage) -> Self:
        """The view of `passage`."""
        return cls(
            document_id=passage.document_id,
            index_number=passage.index_number,
            title=passage.title,
            source=passage.origin.source,
            path=passage.origin.path,
            url=passage.url,
            headings=list(passage.headings),
            page=passage.page,
            last_page=passage.last_page,
            start=passage.start,
            end=passage.end,
            text=passage.text,
            tokens=passage.tokens,
            score=passage.score,
            scores=dict(passage.scores),
            modified_at=passage.modified_at,
        )


class SearchStageView(View):
    """One step of a search."""

    name: str
    """`embed`, `vector`, `keyword`, `fuse`, `rerank`, `read`, `join`."""
    seconds: float
    found: int
    """Candidates after it."""
    failure: str | None
    """Code of why it gave nothing; the search went on without it."""

    @classmethod
    def of(cls, stage: SearchStage) -> Self:
        """The view of `stage`."""
        return cls(name=stage.name, seconds=stage.seconds, found=stage.found, failure=stage.failure)


class SearchView(View):
    """What a search found, and how."""

    passages: list[PassageView]
    """The best first."""
    mode: SearchMode
    stages: list[SearchStageView]
    left_out: int
    """Candidates whose score was less than `minScore`."""
    embedding_tokens: int
    """Of the question."""

    @classmethod
    def of(cls, result: SearchResult) -> Self:
        """The view of `result`."""
        return cls(
            passages=[PassageView.of(passage) for passage in result.passages],
            mode=result.mode,
            stages=[SearchStageView.of(stage) for stage in result.stages],
            left_out=result.left_out,
            embedding_tokens=result.embedding_tokens,
        )
