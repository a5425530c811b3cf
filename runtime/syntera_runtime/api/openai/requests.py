"""What a client may ask of a chat completion; `docs/reference/openai.md` states the rules.

What cannot be done is refused by name. Fields that nobody knows here are ignored, as OpenAI-compatible servers do, and
are never passed on. Images are looked at last, by `to_model`: that takes time, and is for a thread of its own.
"""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from ...errors import FieldFault, FileTooLarge, FileTypeRefused, InvalidRequest
from ...files.kinds import Examination
from ...models.exchange import ModelMessage, ModelRequest
from ...models.files import IMAGES, MOST_IMAGES, ModelImage
from ..problems import IMAGE_PART, TEXT_PART, describe_location

MAX_MESSAGES = 2000
MAX_IMAGE_BYTES = 10 * 1024 * 1024
"""Of one image. Requests have a bound of their own, which is less."""
MAX_STOPS = 4
"""OpenAI's own bound."""


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


def _check_kind(kind: object) -> object:
    if kind != "text":
        raise _unsupported("only parts of the types 'text' and 'image_url' are supported; audio and files are not")
    return kind


def _tell_kind(part: object) -> str:
    """What is no image is taken for a text, which says what is wrong with it."""
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return IMAGE_PART if kind == "image_url" else TEXT_PART


def _read_image(url: str, place: str) -> ModelImage:
    """The image in a `data:` URL, which stands at that place.

    Raises:
        InvalidRequest: It is none, or has too many pixels.
    """
    examination = Examination(most_bytes=MAX_IMAGE_BYTES)
    try:
        data = base64.b64decode(url.partition(",")[2], validate=True)
        examination.take(data)
        content = examination.end()
    except (ValueError, FileTypeRefused, FileTooLarge):
        raise _no_image(place) from None
    if content.media_type not in IMAGES:
        raise _no_image(place)
    return ModelImage("image", content.media_type, data)


def _no_image(place: str) -> InvalidRequest:
    message = "must be the data of a sound PNG, JPEG, WebP or GIF image that is not too large"
    faults = [FieldFault(path=place, message=message, code="value_error")]
    return InvalidRequest(f"The request is not valid: {place}: {message}", faults=faults)


def _check_image_url(url: str) -> str:
    if url[:5].lower() != "data:":
        raise _unsupported(
            "must be a data URL, such as 'data:image/png;base64,...': images at other addresses are not fetched"
        )
    if not url.partition(",")[0].lower().endswith(";base64"):
        raise PydanticCustomError("value_error", "must be a data URL in base64")
    return url


def _as_parts(content: object) -> object:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise PydanticCustomError(
            "value_error", "must be a text, or a list of parts of the types 'text' and 'image_url'"
        )
    return content


def _as_stops(stop: object) -> object:
    if isinstance(stop, str):
        return [stop]
    is_fit = isinstance(stop, list) and len(stop) <= MAX_STOPS and all(isinstance(text, str) for text in stop)
    if stop is not None and not is_fit:
        raise PydanticCustomError("value_error", f"must be a text, or a list of at most {MAX_STOPS} texts")
    return stop


class TextPart(_Asked):
    """A piece of text."""

    type: Annotated[Literal["text"], BeforeValidator(_check_kind)]
    text: str


class ImageUrl(_Asked):
    """Where an image is."""

    url: Annotated[str, AfterValidator(_check_image_url)]
    """A `data:` URL with the image in base64."""


class ImagePart(_Asked):
    """An image, for models that take images."""

    type: Literal["image_url"]
    image_url: ImageUrl


ContentPart = Annotated[
    Annotated[TextPart, Tag(TEXT_PART)] | Annotated[ImagePart, Tag(IMAGE_PART)], Discriminator(_tell_kind)
]


class ChatMessage(_Asked):
    """A message of the client. `system` and `developer` add context to the agent's instructions."""

    role: Annotated[Literal["system", "developer", "user", "assistant"], BeforeValidator(_check_role)]
    tool_calls: Annotated[Any, _refuse("calls of tools are not supported yet", [])] = None
    function_call: Annotated[Any, _refuse("calls of functions are not supported yet")] = None
    content: Annotated[
        list[ContentPart],
        Field(min_length=1),
        BeforeValidator(_as_parts, json_schema_input_type=str | list[ContentPart]),
    ]

    @field_validator("content")
    @classmethod
    def _shows_as_a_user(cls, content: list[ContentPart], info: ValidationInfo) -> list[ContentPart]:
        if info.data.get("role") != "user" and any(isinstance(part, ImagePart) for part in content):
            raise _unsupported("only messages of the role 'user' may hold images")
        return content

    @property
    def number_of_images(self) -> int:
        """How many images it holds."""
        return sum(isinstance(part, ImagePart) for part in self.content)

    def to_model(self, place: Sequence[str | int]) -> ModelMessage:
        """The message, which stands at that place, in our words.

        Raises:
            InvalidRequest: An image is none.
        """
        text = "\n".join(part.text for part in self.content if isinstance(part, TextPart))
        images = tuple(
            _read_image(part.image_url.url, describe_location((*place, "content", number, "image_url", "url")))
            for number, part in enumerate(self.content)
            if isinstance(part, ImagePart)
        )
        return ModelMessage("system" if self.role == "developer" else self.role, text, images=images)


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
    stop: Annotated[
        list[str] | None,
        BeforeValidator(
            _as_stops, json_schema_input_type=str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None
        ),
    ] = None
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

    @field_validator("messages")
    @classmethod
    def _shows_no_more_than_models_take(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if sum(message.number_of_images for message in messages) > MOST_IMAGES:
            raise PydanticCustomError("value_error", f"may hold at most {MOST_IMAGES} images in all")
        return messages

    @property
    def has_images(self) -> bool:
        """Whether there are images in it."""
        return any(message.number_of_images for message in self.messages)

    @property
    def wants_usage_chunk(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def to_model(self) -> ModelRequest:
        """The request in our words. With images it takes a while.

        Raises:
            InvalidRequest: An image is none.
        """
        bounds = [bound for bound in (self.max_tokens, self.max_completion_tokens) if bound is not None]
        passed = ("seed", "presence_penalty", "frequency_penalty", "response_format", "user")
        asked = {name: getattr(self, name) for name in passed}
        return ModelRequest(
            messages=tuple(
                message.to_model(("body", "messages", number)) for number, message in enumerate(self.messages)
            ),
            temperature=self.temperature,
            top_p=self.top_p,
            max_output_tokens=min(bounds, default=None),
            stop=tuple(self.stop or ()),
            extra={name: value for name, value in asked.items() if value is not None},
        )
