"""Chat completions and lists of models as OpenAI writes them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field

from ...chat.citations import find_markers
from ...chat.events import CompletionEnded
from ...errors import SynteraError
from ...models.exchange import FinishReason
from ...models.knowledge import Citation, Refusal
from ...models.turns import Turn, Usage
from ..problems import openai_error

_LEFT_OUT: Any = Field(exclude_if=lambda value: value is None)
"""A field that is not written when it says nothing."""


class ModelView(BaseModel):
    """An agent as a model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    """Not known; OpenAI's clients expect a number."""
    owned_by: str = "syntera"


class ModelList(BaseModel):
    """All agents as models."""

    object: Literal["list"] = "list"
    data: list[ModelView]


class CompletionUsage(BaseModel):
    """What the answer cost, as the agent's endpoint states it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The same in OpenAI's words."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
        )


class UrlCitation(BaseModel):
    """Where what stands before a marker can be read."""

    start_index: int
    """Of the marker in the content, in characters."""
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A citation in OpenAI's words: those that have a URL."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class CompletionCitation(BaseModel):
    """What a number in the content stands for. OpenAI's API has no such field."""

    number: int
    """As it stands in the content: `[1]`."""
    knowledge_base: str
    document_id: UUID
    title: str
    source: str
    path: str
    url: str | None
    headings: list[str]
    page: int | None
    last_page: int | None
    start: int
    """Where the passage begins in the document's text, in characters."""
    end: int
    quote: str
    """The passage's beginning."""

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """The view of `citation`."""
        return cls.model_validate(asdict(citation))


def annotate(text: str, citations: Sequence[Citation]) -> list[Annotation]:
    """The markers in a whole text that stand for something with a URL, in their order."""
    by_number = {citation.number: citation for citation in citations}
    found = []
    for marker in find_markers(text):
        for cited in filter(None, map(by_number.get, marker.numbers)):
            if cited.url is not None:
                url = UrlCitation(start_index=marker.start, end_index=marker.end, title=cited.title, url=cited.url)
                found.append(Annotation(url_citation=url))
    return found


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: Annotated[list[Annotation] | None, _LEFT_OUT] = None
    """What it cites that has a URL."""
    citations: Annotated[list[CompletionCitation] | None, _LEFT_OUT] = None
    """All that it cites. OpenAI's API has no such field."""
    refused: Annotated[Refusal | None, _LEFT_OUT] = None
    """Why the agent said this in place of an answer. OpenAI's API has no such field."""

    @classmethod
    def of(cls, ended: CompletionEnded) -> Self:
        """The answer that has ended."""
        return cls(
            content=ended.text,
            annotations=annotate(ended.text, ended.citations) or None,
            citations=[CompletionCitation.of(citation) for citation in ended.citations] or None,
            refused=ended.refusal,
        )


class Choice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: FinishReason
    logprobs: None = None


class ChatCompletion(BaseModel):
    """A whole chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    """The agent's name."""
    choices: list[Choice]
    usage: CompletionUsage | None
    """None: the agent's endpoint did not say."""
    system_fingerprint: str
    """Changes with the agent's revision."""


class Delta(BaseModel):
    """What a chunk adds."""

    role: Annotated[Literal["assistant"] | None, _LEFT_OUT] = None
    content: Annotated[str | None, _LEFT_OUT] = None
    annotations: Annotated[list[Annotation] | None, _LEFT_OUT] = None
    """What the whole answer cites that has a URL: in the last chunk."""
    citations: Annotated[list[CompletionCitation] | None, _LEFT_OUT] = None
    """What the content until here cites that it did not before. OpenAI's API has no such field."""
    refused: Annotated[Refusal | None, _LEFT_OUT] = None
    """Why the agent said this in place of an answer: in the last chunk. OpenAI's API has no such field."""


class ChunkChoice(BaseModel):
    """The only choice."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: None = None


class Head(BaseModel):
    """What all parts of one answer share."""

    id: str
    created: int
    model: str
    system_fingerprint: str

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """The head of the answer that `turn` gives."""
        return cls(
            id=f"chatcmpl-{turn.id.hex}",
            created=int(turn.created_at.timestamp()),
            model=turn.agent,
            system_fingerprint=f"revision-{turn.agent_revision}",
        )


class Chunk(Head):
    """A part of a streamed chat completion."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]


class ChunkWithUsage(Chunk):
    """The same for clients that asked for the usage: it is null in all chunks but the last."""

    usage: CompletionUsage | None = None


class ErrorChunk(BaseModel):
    """The end of a stream that failed."""

    error: dict[str, str | None]

    @classmethod
    def of(cls, error: SynteraError) -> Self:
        """The chunk that states `error`."""
        return cls(error=openai_error(error))
