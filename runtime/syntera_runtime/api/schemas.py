"""The JSON of our own API: camelCase, UTC times, no unknown field taken."""

from datetime import datetime
from typing import Annotated, Generic, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from syntera_crds.contract.agent_config import AgentConfig

from ..models import Conversation, Failure, Message, MessageState, Role, Turn, TurnState, Usage

MAX_CONTENT_LENGTH = 32_000


class Input(BaseModel):
    """What clients send: unknown fields are refused with their path."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, use_attribute_docstrings=True, strict=True
    )


class View(BaseModel):
    """What clients get. They must ignore fields that they do not know."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


def _check_content(content: str) -> str:
    if "\0" in content:
        raise PydanticCustomError("string_pattern_mismatch", "must not contain the character U+0000")
    if not content.strip():
        raise PydanticCustomError("string_too_short", "must hold more than white space")
    return content


Content = Annotated[str, Field(min_length=1, max_length=MAX_CONTENT_LENGTH), AfterValidator(_check_content)]


class ConversationStart(Input):
    """How to begin a conversation. Nothing needs to be said yet, and the body may be left out."""


class MessageInput(Input):
    """What the user says."""

    content: Content
    """Plain text."""


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


class FailureView(View):
    """Why a turn failed."""

    code: str
    """Stable; decide by this."""
    detail: str

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """The view of `failure`."""
        return cls(code=failure.code, detail=failure.detail)


class MessageView(View):
    """One thing said."""

    id: UUID
    """Messages are ordered by it."""
    conversation_id: UUID
    turn_id: UUID | None
    """None: no turn made it, as with a greeting."""
    role: Role
    state: MessageState
    """`failed`: the turn failed, and `content` is what had been said until then, perhaps nothing."""
    content: str
    created_at: datetime
    error: FailureView | None
    """Why it failed."""

    @classmethod
    def of(cls, message: Message) -> Self:
        """The view of `message`."""
        return cls(
            id=message.id,
            conversation_id=message.conversation_id,
            turn_id=message.turn_id,
            role=message.role,
            state=message.state,
            content=message.content,
            created_at=message.created_at,
            error=None if message.failure is None else FailureView.of(message.failure),
        )


class UsageView(View):
    """What the model's endpoint says that an answer cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """The view of `usage`."""
        return cls(
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            total_tokens=usage.total_tokens,
        )


class TurnView(View):
    """One run of the agent."""

    id: UUID
    agent: str
    agent_revision: int
    state: TurnState
    model: str | None
    """The model that answered, as its endpoint states it."""
    usage: UsageView | None
    """None: the endpoint did not say."""
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
            error=None if turn.failure is None else FailureView.of(turn.failure),
            created_at=turn.created_at,
            ended_at=turn.ended_at,
        )


class ConversationView(View):
    """A thread with one agent."""

    id: UUID
    agent: str
    created_at: datetime
    updated_at: datetime
    """When something was said last."""

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        """The view of `conversation`."""
        return cls(
            id=conversation.id,
            agent=conversation.agent,
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
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


Item = TypeVar("Item")


class Page(View, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next_cursor: str | None
    """Give it as `cursor` to get what follows; None: nothing follows now."""
