"""Chat completions and lists of models as OpenAI writes them."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field

from ...errors import SynteraError
from ...models.exchange import FinishReason
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


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


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
