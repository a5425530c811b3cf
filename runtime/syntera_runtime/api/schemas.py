"""The JSON of our own API: camelCase, UTC times, no unknown field taken."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from syntera_crds.contract.agent_config import AgentConfig

from ..chat.management import Transcript
from ..models.conversations import (
    Channel,
    ConversationState,
    ConversationSummary,
    Marks,
    Rating,
)
from ..models.files import MOST_ATTACHMENTS
from ..models.ids import FileId
from ..models.turns import Turn, TurnState, Usage
from ..models.usage import Budget, LimitLevel, LimitMet
from ..views.base import View
from ..views.conversations import ConversationView, FailureView, FeedbackView, MessageView

MAX_CONTENT_LENGTH = 32_000


class Input(BaseModel):
    """What clients send: unknown fields are refused with their path."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True
    )


def check_characters(text: str) -> str:
    """The text, if PostgreSQL can take it."""
    if "\0" in text:
        raise PydanticCustomError("string_pattern_mismatch", "must not contain the character U+0000")
    return text


def _check_content(content: str) -> str:
    check_characters(content)
    if not content.strip():
        raise PydanticCustomError("string_too_short", "must hold more than white space")
    return content


Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT_LENGTH), AfterValidator(_check_content)]


def _check_line(text: str) -> str:
    if any(ord(character) < 32 for character in text) or not text.strip():
        raise PydanticCustomError("string_pattern_mismatch", "must be one line that holds more than white space")
    return text


Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_line)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_check_line)]
MetadataValue = Annotated[str, Field(max_length=512), AfterValidator(check_characters)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=50)]


Instant = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
"""A time that every store can take."""


class ConversationStart(Input):
    """How to begin a conversation. Nothing needs to be said yet, and the body may be left out."""

    channel: Annotated[Channel, Field(strict=False)] | None = None
    """How the customer's words come in. Left out: `chat` for customers, `api` for keys and the tenant's people."""
    title: Title | None = None
    """What people see in lists. Left out: none yet."""
    metadata: Metadata = {}
    """Whatever your programs want to remember: at most 50 entries, keys of at most 64 and values of at most 512
    characters."""


class ConversationPatch(Input):
    """What is to be different; what is left out stays as it is."""

    title: Title | None = None
    metadata: Metadata | None = None
    """All entries, in place of those before."""
    state: Annotated[ConversationState, Field(strict=False)] | None = None
    """`active`: messages are taken. `ended`, `archived`: they are refused, and lists leave out what is archived."""


class MarksInput(Input):
    """How far somebody has come. Marks never go back."""

    read_message_id: Annotated[UUID, Field(strict=False)] | None = None
    """The newest message that was read. What was read has arrived, too."""
    delivered_message_id: Annotated[UUID, Field(strict=False)] | None = None
    """The newest message that has arrived at a device."""


class FeedbackInput(Input):
    """What you think of a reply."""

    rating: Annotated[Rating, Field(strict=False)]
    comment: Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_check_content)] | None = None
    """Why, in your own words."""


class AttachmentInput(Input):
    """A file to attach."""

    file_id: Annotated[UUID, Field(strict=False)]
    """Of a file that you sent and that no message has yet."""


def _check_different(attachments: list[AttachmentInput]) -> list[AttachmentInput]:
    if len({attachment.file_id for attachment in attachments}) < len(attachments):
        raise PydanticCustomError("value_error", "must name each file once")
    return attachments


class MessageInput(Input):
    """What the user says."""

    attachments: Annotated[
        list[AttachmentInput], Field(max_length=MOST_ATTACHMENTS), AfterValidator(_check_different)
    ] = []
    """Files that belong to it."""
    content: Annotated[str, Field(max_length=MAX_CONTENT_LENGTH, validate_default=True)] = ""
    """Plain text. May be left out where there are attachments."""

    @field_validator("content")
    @classmethod
    def _says_something(cls, content: str, info: ValidationInfo) -> str:
        return (
            check_characters(content)
            if info.data.get("attachments") and not content.strip()
            else _check_content(content)
        )

    @property
    def file_ids(self) -> Sequence[FileId]:
        """The files, in order."""
        return [FileId(attachment.file_id) for attachment in self.attachments]


class AgentView(View):
    """An agent, as its users may see it."""

    name: str
    """Stands in paths, and as `model` in chat completions."""
    display_name: str
    description: str
    greeting: str | None
    """What it says first in every conversation."""
    suggestions: list[str]
    """Questions that a chat window may offer."""
    revision: int
    """Grows with every change of the agent."""

    @classmethod
    def of(cls, agent: AgentConfig) -> Self:
        """The view of `agent`."""
        return cls(
            name=agent.name,
            display_name=agent.display_name,
            description=agent.description,
            greeting=agent.greeting,
            suggestions=agent.suggestions,
            revision=agent.revision,
        )


class AgentList(View):
    """All agents, by name."""

    items: list[AgentView]


class UsageView(View):
    """The tokens of a turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    is_estimated: bool
    """The model's endpoint did not say, or the answer broke off before it did: estimated from the texts."""

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The view of `usage`."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
            is_estimated=usage.is_estimated,
        )


class LimitView(View):
    """The limit on tokens or turns that a turn met when it began."""

    name: Budget
    level: LimitLevel
    """`soft`: it was nearly reached; the agent may have answered with another model, or a shorter history. `hard`: it was
    reached, and the agent said so without asking a model."""

    @classmethod
    def of(cls, limit: LimitMet) -> Self:
        """The view of `limit`."""
        return cls(name=limit.budget, level=limit.level)


class TurnView(View):
    """One run of the agent."""

    id: UUID
    agent: str
    agent_revision: int
    state: TurnState
    model: str | None
    """The model that answered, as its endpoint states it."""
    usage: UsageView | None
    """None: the turn runs, asked no model, or got no answer from one."""
    limit: LimitView | None
    """None: it met none."""
    error: FailureView | None
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, turn: Turn) -> Self:
        """The view of `turn`."""
        return cls(
            id=turn.id,
            agent=turn.agent,
            agent_revision=turn.agent_revision,
            state=turn.state,
            model=turn.model,
            usage=None if turn.usage is None else UsageView.of(turn.usage),
            limit=None if turn.limit is None else LimitView.of(turn.limit),
            error=None if turn.failure is None else FailureView.of(turn.failure),
            created_at=turn.created_at,
            ended_at=turn.ended_at,
        )


class ConversationItem(ConversationView):
    """A conversation in a list."""

    last_message: MessageView | None
    """What was said last."""
    unread: int
    """Messages of the other side that yours has not marked as read; counted up to 100."""

    @classmethod
    def summarise(cls, summary: ConversationSummary) -> Self:
        """The view of `summary`."""
        last = summary.last_message
        return cls(
            **ConversationView.of(summary.conversation).model_dump(),
            last_message=None if last is None else MessageView.of(last),
            unread=summary.unread,
        )


class MarksView(View):
    """How far a side has come."""

    read_message_id: UUID | None
    delivered_message_id: UUID | None

    @classmethod
    def of(cls, marks: Marks) -> Self:
        """The view of `marks`."""
        return cls(read_message_id=marks.read, delivered_message_id=marks.delivered)


class TranscriptView(View):
    """Everything that is kept of a conversation."""

    conversation: ConversationView
    messages: list[MessageView]
    feedback: list[FeedbackView]

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        """The view of `transcript`."""
        return cls(
            conversation=ConversationView.of(transcript.conversation),
            messages=[MessageView.of(message) for message in transcript.messages],
            feedback=[FeedbackView.of(feedback) for feedback in transcript.feedback],
        )


class StartedConversation(ConversationView):
    """A conversation that was just made."""

    messages: list[MessageView]
    """The agent's greeting, where it has one."""


class SentMessage(View):
    """What was said, and the reply to it."""

    user_message: MessageView
    message: MessageView
    """The agent's reply."""
    turn: TurnView


class StopRequested(View):
    """What a stop does."""

    turn_id: UUID | None
    """The turn that is going to end; None: it had ended already, or none ran."""


Item = TypeVar("Item")


class Page(View, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next_cursor: str | None
    """Give it as `cursor` to get what follows; None: nothing follows now."""
