"""What the API answers, as its clients read it.

The server's own views say what this release writes; these say what a client takes from any release: fields that are not
known are passed over, fields that an older server does not write have a default, and a word that is not in our lists stays
a text. `tests/runtime/client/test_models.py` holds both together.
"""

from datetime import datetime
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from syntera_crds.contract.api_key import KeyKind

from ..models.conversations import Channel, ConversationState, MessageState, Rating, Role
from ..models.identity import KeyMaker
from ..models.knowledge import Refusal
from ..models.turns import TurnState
from ..models.usage import Budget, LimitLevel

_OR_TEXT = Field(union_mode="left_to_right")
"""A word that only newer servers know stays what it is."""

RoleOrText: TypeAlias = Annotated[Role | str, _OR_TEXT]
MessageStateOrText: TypeAlias = Annotated[MessageState | str, _OR_TEXT]
TurnStateOrText: TypeAlias = Annotated[TurnState | str, _OR_TEXT]
ChannelOrText: TypeAlias = Annotated[Channel | str, _OR_TEXT]
ConversationStateOrText: TypeAlias = Annotated[ConversationState | str, _OR_TEXT]
RatingOrText: TypeAlias = Annotated[Rating | str, _OR_TEXT]
KeyKindOrText: TypeAlias = Annotated[KeyKind | str, _OR_TEXT]
KeyMakerOrText: TypeAlias = Annotated[KeyMaker | str, _OR_TEXT]
BudgetOrText: TypeAlias = Annotated[Budget | str, _OR_TEXT]
RefusalOrText: TypeAlias = Annotated[Refusal | str, _OR_TEXT]
LimitLevelOrText: TypeAlias = Annotated[LimitLevel | str, _OR_TEXT]


class Answer(BaseModel):
    """Something that the API answered."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )


class Agent(Answer):
    """An agent, as its users see it."""

    name: str
    display_name: str
    description: str = ""
    greeting: str | None = None
    """What it says first in every conversation."""
    suggestions: list[str] = []
    """Questions that a chat window may offer."""
    revision: int = 0
    """Grows with every change of the agent."""


class AgentList(Answer):
    """All agents, by name."""

    items: list[Agent]


class Failure(Answer):
    """Why a turn failed."""

    code: str
    """Stable; decide by this."""
    detail: str = ""


class Attachment(Answer):
    """A file, as it stands in a message."""

    id: UUID
    name: str
    media_type: str
    """By its bytes, whatever its name says."""
    bytes: int
    width: int | None = None
    """Of an image, in pixels."""
    height: int | None = None
    url: str = ""
    """Path of its bytes; `client.files.read` reads them."""


class TextPart(Answer):
    """Text in a message."""

    type: Literal["text"]
    text: str


class ImagePart(Answer):
    """A picture in a message."""

    type: Literal["image"]
    file: Attachment


class FilePart(Answer):
    """Another file in a message."""

    type: Literal["file"]
    file: Attachment


class Citation(Answer):
    """What a number in an answer stands for: a passage that the model was given."""

    number: int
    """As it stands in the text: `[1]`."""
    knowledge_base: str
    document_id: UUID
    title: str = ""
    source: str = ""
    """Name of the knowledge base's source that the document comes from."""
    path: str = ""
    """Of the document in its source."""
    url: str | None = None
    """Where people can read the document."""
    headings: list[str] = []
    """Of the section that the passage was found in, the outermost first."""
    page: int | None = None
    """On which it begins, from 1. None: the format has none."""
    last_page: int | None = None
    start: int
    """Characters of the document's text before the passage."""
    end: int
    """Characters before what follows the passage."""
    quote: str = ""
    """The passage's beginning."""


class CitationPart(Answer):
    """What a number in the text stands for."""

    type: Literal["citation"]
    citation: Citation


class UnknownPart(Answer):
    """A part of a type that this release does not know."""

    type: str


Part: TypeAlias = Annotated[TextPart | ImagePart | FilePart | CitationPart | UnknownPart, _OR_TEXT]


class KnowledgeSearch(Answer):
    """How one knowledge base was searched for a reply."""

    knowledge_base: str
    passages: int
    """That were found in it."""
    milliseconds: int = 0
    failure: str | None = None
    """Code of why it brought nothing, or less than there may be."""


class KnowledgeRetrieval(Answer):
    """What was looked up before a reply."""

    searches: list[KnowledgeSearch] = []
    passages: int
    """That the model was given."""
    milliseconds: int = 0
    failure: str | None = None
    """Code of why there are none, where that is not because the knowledge bases hold nothing on the question."""


class Message(Answer):
    """One thing said."""

    id: UUID
    conversation_id: UUID
    turn_id: UUID | None = None
    """None: no turn made it, as with a greeting."""
    role: RoleOrText
    state: MessageStateOrText = MessageState.COMPLETE
    content: str = ""
    """The text alone; of a message that failed or was stopped, what had been said until then."""
    parts: list[Part] = []
    """What it consists of, in order. Empty: the server is older than parts."""
    created_at: datetime
    error: Failure | None = None
    limited_by: BudgetOrText | None = None
    """The limit for which the agent said this in place of an answer."""
    refused: RefusalOrText | None = None
    """Why the agent said this in place of an answer that it has no knowledge for."""
    retrieval: KnowledgeRetrieval | None = None
    """What was looked up before this was said. None: nothing, or the server is older than this."""

    @property
    def citations(self) -> list[Citation]:
        """What the numbers in its text stand for."""
        return [part.citation for part in self.parts if isinstance(part, CitationPart)]


class Usage(Answer):
    """The tokens of a turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    is_estimated: bool = False
    """The model's endpoint did not say."""


class Limit(Answer):
    """The limit that a turn met when it began."""

    name: BudgetOrText
    level: LimitLevelOrText
    """`soft`: it was nearly reached. `hard`: it was reached, and no model was asked."""


class Turn(Answer):
    """One run of the agent."""

    id: UUID
    agent: str
    agent_revision: int = 0
    state: TurnStateOrText
    model: str | None = None
    """The model that answered, as its endpoint states it."""
    usage: Usage | None = None
    """None: the turn runs, asked no model, or got no answer from one."""
    limit: Limit | None = None
    """None: it met none."""
    error: Failure | None = None
    created_at: datetime
    ended_at: datetime | None = None


class Conversation(Answer):
    """A thread with one agent."""

    id: UUID
    agent: str
    contact_id: UUID | None = None
    """The customer whose conversation it is; None: nobody's."""
    channel: ChannelOrText = Channel.API
    state: ConversationStateOrText = ConversationState.ACTIVE
    title: str | None = None
    metadata: dict[str, str] = {}
    revision: int = 0
    """Grows with every change that somebody makes; give it to `change_conversation`."""
    created_at: datetime
    updated_at: datetime
    """When something was said last."""


class ConversationItem(Conversation):
    """A conversation in a list."""

    last_message: Message | None = None
    unread: int = 0
    """Messages of the other side that yours has not marked as read; counted up to 100."""


class StartedConversation(Conversation):
    """A conversation that was just made."""

    messages: list[Message] = []
    """The agent's greeting, where it has one."""


class Marks(Answer):
    """How far a side has come."""

    read_message_id: UUID | None = None
    delivered_message_id: UUID | None = None


class Feedback(Answer):
    """What somebody thinks of a reply."""

    message_id: UUID
    author: str = ""
    rating: RatingOrText
    comment: str | None = None
    created_at: datetime


class Transcript(Answer):
    """Everything that is kept of a conversation."""

    conversation: Conversation
    messages: list[Message]
    feedback: list[Feedback] = []


class Reply(Answer):
    """A whole reply, or what had been said when somebody stopped it."""

    message: Message
    turn: Turn


class StopRequested(Answer):
    """What a stop does."""

    turn_id: UUID | None = None
    """The turn that is going to end; None: none ran."""


class ApiKeyInfo(Answer):
    """A key, without its secret."""

    id: UUID
    kind: KeyKindOrText
    name: str
    prefix: str
    """How the key begins."""
    scopes: list[str] = []
    agents: list[str] | None = None
    """Of a publishable key."""
    allowed_origins: list[str] = []
    made_by: KeyMakerOrText = ""
    created_by: str | None = None
    """None: the operator."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""


class CreatedApiKey(ApiKeyInfo):
    """A key that was just made."""

    key: str
    """The whole key. It is shown this once."""


class IdentitySecret(Answer):
    """What a site vouches for its users with."""

    secret: str


class VisitorToken(Answer):
    """A visitor's token."""

    visitor_token: str
    expires_at: datetime
    refreshable_until: datetime
    """Until then it buys another one for the same visitor."""
    contact_id: UUID
    is_identified: bool = False
    """Somebody vouched for who the visitor is."""


class Model(Answer):
    """An agent as OpenAI's protocol lists it."""

    id: str


class ModelList(Answer):
    """All agents as models."""

    data: list[Model]


class Fault(Answer):
    """What is wrong with one place of a request."""

    path: str
    message: str
    code: str


class Problem(Answer):
    """Why a request failed (RFC 9457)."""

    code: str
    """Stable; decide by this. Codes that this release does not know come as they are."""
    detail: str
    status: int = 0
    title: str = ""
    type: str = ""
    retryable: bool = False
    """Whether the same request may succeed later."""
    request_id: str | None = None
    store: str | None = None
    """With `store-unavailable`: which store does not answer."""
    errors: list[Fault] | None = None
    """With `invalid-request`: every fault that was found."""
    turn_id: UUID | None = None
    """With a failed turn: its id. With `conversation-busy`: the turn that runs."""
    message_id: UUID | None = None
    retry_after_seconds: float | None = None
    """When trying again makes sense; None: not known."""


Item = TypeVar("Item")


class Page(Answer, Generic[Item]):
    """Part of a list."""

    items: list[Item]
    next_cursor: str | None = None
    """None: nothing follows now."""
