"""The exchange with a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from .files import Attachment, ModelImage
from .turns import Usage


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str
    files: tuple[Attachment, ...] = ()
    """Files that belong to it and were not read yet: no model is told of these."""
    images: tuple[ModelImage, ...] = ()
    """Pictures for models that take images; others are told that there are some."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What is asked of a model. The adapter merges it with the candidate: what the candidate sets wins, and of
    `max_output_tokens` the smaller."""

    messages: tuple[ModelMessage, ...]
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: Mapping[str, JsonValue] = field(default_factory=dict)
    """Further fields of the request body that the client asked for, passed through."""


@dataclass(frozen=True, slots=True)
class ModelStarted:
    """A candidate has begun to answer. Comes once, before any text."""

    endpoint: str
    """The endpoint's name in the Tenant."""
    model: str
    """The model's name as the endpoint states it."""
    candidate: int = 0
    """Which of those that were to be asked."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


FinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """The answer is whole. Comes once, last."""

    finish_reason: FinishReason
    usage: Usage | None = None
    """None: the endpoint did not say."""


ModelEvent = ModelStarted | TextDelta | ModelFinished
