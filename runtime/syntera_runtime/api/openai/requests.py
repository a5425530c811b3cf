"""What a client may ask of a chat completion; `docs/reference/openai.md` states the rules.

What cannot be done is refused by name. Fields that nobody knows here are ignored, as OpenAI-compatible servers do, and
are never passed on.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ...models import ModelMessage, ModelRequest

MAX_MESSAGES = 2000


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


def _unsupported(message: str) -> PydanticCustomError:
    return PydanticCustomError("unsupported", message)


def _refuse(message: str, *harmless: object) -> AfterValidator:
    """Takes only values that ask for nothing."""

    def check(value: object) -> object:
        if value is None or value in harmless:
            return value
        raise _unsupported(message)

    return AfterValidator(check)


def _check_role(role: object) -> object:
    if role in ("tool", "function"):
        raise _unsupported("messages of tools are not supported yet: an agent's tools are its own")
    return role


def _check_part(kind: object) -> object:
    if kind != "text":
        raise _unsupported("only parts of the type 'text' are supported yet; images, audio and files are not")
    return kind


def _as_parts(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class TextPart(_Asked):
    """A piece of text."""

    type: Annotated[Literal["text"], BeforeValidator(_check_part)]
    text: str


class ChatMessage(_Asked):
    """A message of the client. `system` and `developer` add context to the agent's instructions."""

    role: Annotated[Literal["system", "developer", "user", "assistant"], BeforeValidator(_check_role)]
    tool_calls: Annotated[Any, _refuse("calls of tools are not supported yet", [])] = None
    function_call: Annotated[Any, _refuse("calls of functions are not supported yet")] = None
    content: Annotated[
        list[TextPart],
        Field(min_length=1),
        BeforeValidator(_as_parts, json_schema_input_type=str | list[TextPart]),
    ]

    def to_model(self) -> ModelMessage:
        """The message in our words."""
        text = "\n".join(part.text for part in self.content)
        return ModelMessage("system" if self.role == "developer" else self.role, text)


class StreamOptions(_Asked):
    """How to stream."""

    include_usage: bool = False
    """End with a chunk that holds the usage."""


class ChatCompletionRequest(_Asked):
    """A chat completion."""

    model: str
    """The agent's name."""
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Unless the agent sets it."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Unless the agent sets it."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """The smallest of this, `max_completion_tokens` and the agent's own bound counts."""
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: int | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    response_format: dict[str, JsonValue] | None = None
    user: Annotated[str, Field(max_length=512)] | None = None

    n: Annotated[int | None, _refuse("only one choice is made: leave it out or set it to 1", 1)] = None
    tools: Annotated[Any, _refuse("tools are not supported yet: an agent's tools are its own", [])] = None
    tool_choice: Annotated[Any, _refuse("tools are not supported yet", "none", "auto")] = None
    functions: Annotated[Any, _refuse("functions are not supported", [])] = None
    function_call: Annotated[Any, _refuse("functions are not supported", "none", "auto")] = None
    logprobs: Annotated[bool | None, _refuse("log probabilities are not supported", False)] = None
    top_logprobs: Annotated[int | None, _refuse("log probabilities are not supported", 0)] = None
    audio: Annotated[Any, _refuse("audio is not supported here")] = None
    modalities: Annotated[Any, _refuse("only text is supported", ["text"])] = None
    web_search_options: Annotated[Any, _refuse("searching the web is not supported")] = None

    @field_validator("stream_options")
    @classmethod
    def _streams_if_it_says_how(cls, options: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if options is not None and not info.data.get("stream"):
            raise PydanticCustomError("value_error", "may be set only together with stream")
        return options

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def to_model(self) -> ModelRequest:
        """The request in our words."""
        bounds = [bound for bound in (self.max_tokens, self.max_completion_tokens) if bound is not None]
        passed = ("seed", "presence_penalty", "frequency_penalty", "response_format", "user")
        asked = {name: getattr(self, name) for name in passed}
        return ModelRequest(
            messages=tuple(message.to_model() for message in self.messages),
            temperature=self.temperature,
            top_p=self.top_p,
            max_output_tokens=min(bounds, default=None),
            stop=(self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()),
            extra={name: value for name, value in asked.items() if value is not None},
        )
