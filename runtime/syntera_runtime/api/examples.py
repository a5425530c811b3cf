"""Examples for the OpenAPI description: what may be asked, what is answered, and every problem with its code.

Answers are made by the same views as real ones, so that they cannot lag behind. An operation that has no entry here, where its
answer or its request has a body, makes `tests/runtime/api/test_openapi.py` fail.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from syntera_crds.contract.agent_config import AgentConfig
from syntera_crds.contract.api_key import KeyKind, Scope

from ..chat.events import (
    CompletionEnded,
    ReplyCited,
    ReplyCompleted,
    ReplyDelta,
    ReplyRetrieved,
    ReplyStarted,
    ReplyUsed,
    TurnEvent,
)
from ..chat.management import Transcript
from ..chat.transcript import build_markdown
from ..files.links import Disposition, Link
from ..models.conversations import (
    Channel,
    Conversation,
    ConversationSummary,
    Feedback,
    Marks,
    Message,
    Rating,
    Role,
)
from ..models.files import File, FileContent, Storage, build_reply_parts
from ..models.identity import KeyMaker, KeyRecord, StoredApiKey
from ..models.ids import ApiKeyId, ContactId, ConversationId, DocumentId, FileId, MessageId, TurnId
from ..models.knowledge import Citation, KnowledgeSearch, Retrieval
from ..models.turns import EndedTurn, Turn, TurnState, Usage
from ..views.conversations import ConversationView, FeedbackView, MessageView
from . import administration_examples as administration
from . import knowledge_examples as knowledge
from .events import render_event
from .file_schemas import FileLinkView, FileView
from .identity_schemas import ApiKeyView, CreatedApiKey, IdentitySecret, VisitorTokenView
from .links import write_link
from .openai.answers import (
    AnswerMessage,
    ChatCompletion,
    Choice,
    Chunk,
    ChunkChoice,
    CompletionCitation,
    CompletionUsage,
    Delta,
    Head,
    ModelList,
    ModelView,
    annotate,
)
from .schemas import (
    AgentList,
    AgentView,
    ConversationItem,
    MarksView,
    Page,
    SentMessage,
    StartedConversation,
    StopRequested,
    TranscriptView,
    TurnView,
)

JSON = "application/json"
EVENTS = "text/event-stream"
ANY = "*/*"

_NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_CONVERSATION_ID = ConversationId(UUID("019a3f4e-6c00-7000-8000-000000000001"))
_TURN_ID = TurnId(UUID("019a3f4e-6c00-7000-8000-000000000002"))
_QUESTION_ID = MessageId(UUID("019a3f4e-6c00-7000-8000-000000000003"))
_REPLY_ID = MessageId(UUID("019a3f4e-6c00-7000-8000-000000000004"))
_GREETING_ID = MessageId(UUID("019a3f4e-6c00-7000-8000-000000000005"))
_KEY_ID = ApiKeyId(UUID("019a3f4e-6c00-7000-8000-000000000006"))
_CONTACT_ID = ContactId(UUID("019a3f4e-6c00-7000-8000-000000000007"))
_FILE_ID = FileId(UUID("019a3f4e-6c00-7000-8000-000000000008"))
_ANSWER = "One cabin bag of 8 kg [1]."
_RETRIEVAL = Retrieval((KnowledgeSearch("handbook", 3, 0.042),), 3, 0.044)
_CITATION = Citation(
    1,
    knowledge_base="handbook",
    document_id=DocumentId(UUID("019a3f4e-6c00-7000-8000-000000000009")),
    title="Luggage",
    source="website",
    path="https://www.example.com/luggage",
    url="https://www.example.com/luggage",
    headings=("What you may take", "Cabin bags"),
    page=None,
    last_page=None,
    start=1204,
    end=1688,
    quote="Each passenger may take one cabin bag of at most 8 kg.",
)
_USAGE = Usage(120, 9)
_SIGNATURE = "3b" * 32
_BYTES = "Gate 12, boarding at 9:40.\n"
"""Of a file, as a text can show them."""

PARAMETERS: Mapping[str, Any] = {
    "agent": "travel",
    "model": "travel",
    "conversationId": str(_CONVERSATION_ID),
    "messageId": str(_REPLY_ID),
    "apiKeyId": str(_KEY_ID),
    "turn": str(_TURN_ID),
    "after": 41,
    "Last-Event-ID": 41,
    "Idempotency-Key": "order-7-question-1",
    "If-Match": '"3"',
    "limit": 50,
    "cursor": "AQGaP05sAHAAgAAAAAAAAAQ",
    "q": '"cabin bag" -car',
    "channel": "chat",
    "contactId": str(_CONTACT_ID),
    "state": ["active"],
    "createdFrom": "2026-11-01T00:00:00Z",
    "createdBefore": "2026-12-01T00:00:00Z",
    "order": "activity",
    "format": "json",
    "fileId": str(_FILE_ID),
    "name": "boarding.txt",
    "disposition": "inline",
    "expires": 1793535300,
    "signature": _SIGNATURE,
    **administration.PARAMETERS,
    **knowledge.PARAMETERS,
}
"""By name, wherever they stand."""
PARAMETERS_OF: Mapping[str, Mapping[str, Any]] = knowledge.PARAMETERS_OF
"""By operation, where one means something else by a name."""

REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "startConversation": {
        "nothing said yet": {},
        "with a title": {"channel": "chat", "title": "My booking", "metadata": {"order": "4711"}},
    },
    "changeConversation": {"rename": {"title": "Lost bag"}, "end": {"state": "ended"}},
    "putMarks": {"read": {"readMessageId": str(_REPLY_ID)}},
    "putFeedback": {
        "thumbs up": {"rating": "up"},
        "with words": {"rating": "down", "comment": "That is not my booking."},
    },
    "sendMessage": {
        "text": {"content": "How many bags may I take?"},
        "with a file": {"content": "When do I have to be there?", "attachments": [{"fileId": str(_FILE_ID)}]},
    },
    "createFile": {"a text": _BYTES},
    "createFileLink": {"to show it": {}, "to save it": {"disposition": "attachment"}},
    "createChatCompletion": {
        "whole": {"model": "travel", "messages": [{"role": "user", "content": "How many bags may I take?"}]},
        "streamed": {
            "model": "travel",
            "messages": [{"role": "user", "content": "How many bags may I take?"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    },
    "createVisitorToken": {
        "a new visitor": {},
        "a new visitor who has solved the challenge": {"challengeResponse": "0.Tq3iF..."},
        "the same visitor again": {"visitorToken": "syn_vt_eyJhbGciOi..."},
        "somebody whom the site vouches for": {"identity": {"externalId": "user-7", "hmac": "5f" * 32}},
    },
    "createApiKey": {
        "for a server": {"kind": "sk", "name": "the shop", "scopes": ["chat", "agents:read"]},
        "for a website": {
            "kind": "pk",
            "name": "website",
            "agents": ["travel"],
            "allowedOrigins": ["https://www.acme.example"],
        },
    },
    **administration.REQUESTS,
    **knowledge.REQUESTS,
}
"""Bodies by operation, each with a name."""


@dataclass(frozen=True, slots=True)
class _Story:
    """One exchange, as the services know it."""

    agent: AgentConfig
    conversation: Conversation
    greeting: Message
    question: Message
    reply: Message
    turn: Turn
    feedback: Feedback
    key: KeyRecord
    file: File


def build_answers() -> Mapping[str, Mapping[str, Any]]:
    """What operations answer when all goes well, by operation and media type. Those that answer nothing are left out."""
    story = _build_story()
    agent = AgentView.of(story.agent)
    conversation = ConversationView.of(story.conversation)
    messages = [MessageView.of(message) for message in (story.greeting, story.question, story.reply)]
    feedback = FeedbackView.of(story.feedback)
    summary = ConversationSummary(story.conversation, story.reply, 1)
    transcript = Transcript(story.conversation, (story.greeting, story.question, story.reply), (story.feedback,))
    key, file = ApiKeyView.of(story.key), FileView.describe(story.file)
    sent = SentMessage(user_message=messages[1], message=messages[2], turn=TurnView.of(story.turn))
    events = _build_events(story)
    made: dict[str, dict[str, BaseModel | str]] = {
        "listAgents": {JSON: AgentList(items=[agent])},
        "getAgent": {JSON: agent},
        "startConversation": {JSON: StartedConversation(**conversation.model_dump(), messages=messages[:1])},
        "listConversations": {JSON: Page(items=[ConversationItem.summarise(summary)], next_cursor=None)},
        "getConversation": {JSON: conversation},
        "changeConversation": {JSON: conversation},
        "exportConversation": {JSON: TranscriptView.of(transcript), "text/markdown": build_markdown(transcript)},
        "sendMessage": {JSON: sent, EVENTS: events},
        "listMessages": {JSON: Page(items=messages, next_cursor=None)},
        "followConversation": {EVENTS: events},
        "stopTurn": {JSON: StopRequested(turn_id=_TURN_ID)},
        "putFeedback": {JSON: feedback},
        "putMarks": {JSON: MarksView.of(Marks(read=_REPLY_ID, delivered=_REPLY_ID))},
        "createChatCompletion": {JSON: _build_completion(story.turn), EVENTS: _build_chunks(story.turn)},
        "listModels": {JSON: ModelList(data=[ModelView(id="travel")])},
        "getModel": {JSON: ModelView(id="travel")},
        "createVisitorToken": {
            JSON: VisitorTokenView(
                visitor_token="syn_vt_eyJhbGciOi...",
                expires_at=_NOON.replace(hour=13),
                refreshable_until=_NOON.replace(month=12, hour=13),
                contact_id=_CONTACT_ID,
                is_identified=False,
            )
        },
        "createApiKey": {JSON: CreatedApiKey(**key.model_dump(), key="syn_sk_...")},
        "listApiKeys": {JSON: Page(items=[key], next_cursor=None)},
        "getIdentitySecret": {JSON: IdentitySecret(secret="9c" * 32)},
        "createFile": {JSON: file},
        "getFile": {JSON: file},
        "getFileContent": {ANY: _BYTES},
        "createFileLink": {JSON: _build_link()},
        "followFileLink": {ANY: _BYTES},
        **{operation: {JSON: answer} for operation, answer in administration.build_answers().items()},
        **{operation: {JSON: answer} for operation, answer in knowledge.build_answers().items()},
    }
    return {operation: {kind: _plain(answer) for kind, answer in kinds.items()} for operation, kinds in made.items()}


def _plain(answer: BaseModel | str) -> Any:
    return answer if isinstance(answer, str) else answer.model_dump(mode="json", by_alias=True)


def _build_story() -> _Story:
    def message(id_: MessageId, role: Role, content: str, turn: TurnId | None) -> Message:
        return Message(id_, _CONVERSATION_ID, role, content, _NOON, turn_id=turn)

    return _Story(
        agent=AgentConfig(
            name="travel",
            uid="5d1f4a52-0000-4000-8000-000000000001",
            revision=3,
            display_name="Travel assistant",
            description="Answers questions on bookings",
            instructions="",
            greeting="Hello, how can I help?",
            suggestions=["Where is my booking?"],
            models=[],
        ),
        conversation=Conversation(
            _CONVERSATION_ID,
            "travel",
            _NOON,
            _NOON,
            channel=Channel.CHAT,
            title="How many bags may I take?",
            metadata={"order": "4711"},
            contact_id=_CONTACT_ID,
        ),
        greeting=message(_GREETING_ID, Role.ASSISTANT, "Hello, how can I help?", None),
        question=message(_QUESTION_ID, Role.USER, "How many bags may I take?", _TURN_ID),
        reply=replace(
            message(_REPLY_ID, Role.ASSISTANT, _ANSWER, _TURN_ID),
            parts=build_reply_parts(_ANSWER, [_CITATION], retrieval=_RETRIEVAL),
        ),
        turn=Turn(
            _TURN_ID,
            _CONVERSATION_ID,
            "travel",
            3,
            TurnState.COMPLETE,
            _NOON,
            ended_at=_NOON,
            endpoint="openai",
            model="gpt-4.1-mini",
            usage=_USAGE,
        ),
        feedback=Feedback(_REPLY_ID, f"contact:{_CONTACT_ID}", Rating.UP, "Thanks", _NOON),
        key=KeyRecord(
            StoredApiKey(_KEY_ID, KeyKind.SECRET, "a1B2c3D4", b"", frozenset({Scope.CHAT})),
            "the shop",
            KeyMaker.TENANT,
            _NOON,
            created_by=f"key:{_KEY_ID}",
        ),
        file=File(
            _FILE_ID,
            "boarding.txt",
            FileContent("text/plain", len(_BYTES), hashlib.sha256(_BYTES.encode()).digest()),
            Storage.POSTGRESQL,
            _NOON,
        ),
    )


def _build_link() -> FileLinkView:
    link = Link(_FILE_ID, Disposition.INLINE, int(_NOON.timestamp()) + 900, _SIGNATURE)
    return FileLinkView(url=write_link(link), expires_at=link.expires_at)


def _build_events(story: _Story) -> str:
    running = replace(story.turn, state=TurnState.RUNNING, ended_at=None, endpoint=None, model=None, usage=None)
    told: Sequence[TurnEvent] = (
        ReplyStarted(42, running, story.question, _REPLY_ID),
        ReplyRetrieved(43, _REPLY_ID, _RETRIEVAL),
        ReplyDelta(44, _REPLY_ID, story.reply.content),
        ReplyCited(45, _REPLY_ID, _CITATION),
        ReplyUsed(46, _TURN_ID, _REPLY_ID, _USAGE),
        ReplyCompleted(47, EndedTurn(story.turn, story.question, story.reply)),
    )
    return "".join(render_event(event, request_id="").decode() for event in told)


def _build_completion(turn: Turn) -> ChatCompletion:
    usage = None if turn.usage is None else CompletionUsage.of(turn.usage)
    ended = CompletionEnded(turn, _ANSWER, "stop", citations=(_CITATION,))
    choice = Choice(message=AnswerMessage.of(ended), finish_reason="stop")
    return ChatCompletion(**Head.of(turn).model_dump(), choices=[choice], usage=usage)


def _build_chunks(turn: Turn) -> str:
    head = Head.of(turn).model_dump()
    choices = (
        ChunkChoice(delta=Delta(role="assistant", content="")),
        ChunkChoice(delta=Delta(content=_ANSWER)),
        ChunkChoice(delta=Delta(citations=[CompletionCitation.of(_CITATION)])),
        ChunkChoice(delta=Delta(annotations=annotate(_ANSWER, [_CITATION])), finish_reason="stop"),
    )
    chunks = [Chunk(**head, choices=[choice]).model_dump_json() for choice in choices]
    return "".join(format_sse_event(data_str=data).decode() for data in (*chunks, "[DONE]"))
