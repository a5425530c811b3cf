"""One tenant's API: agents, conversations, messages and their events, visitors' tokens; what else there is has a part of its own."""

import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from datetime import datetime
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import httpx2

from ..models.conversations import Channel, ConversationOrder, ConversationState, Rating
from .api_keys import ApiKeys
from .audit_log import AuditLog
from .calls import Caller, Credentials, Location, Request, once, segment
from .completions import Completions
from .errors import ReplyFailed
from .events import Event, MessageCompleted, MessageFailed, MessageStopped
from .files import Files
from .knowledge import KnowledgeBases
from .models import (
    Agent,
    AgentList,
    Conversation,
    ConversationItem,
    Feedback,
    Marks,
    Message,
    Model,
    ModelList,
    Page,
    Reply,
    StartedConversation,
    StopRequested,
    Transcript,
    VisitorToken,
)
from .pages import read_pages
from .retries import Retries
from .streams import EventReader
from .usage import UsageReports
from .webhooks import Webhooks

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""The server gives a sign of life every 10 seconds while a reply is on its way; three of them may be missed."""
REQUEST_SECONDS = 60.0
PATIENT = Retries(attempts=12)
"""For streams: about a minute of trying, as long as a pod takes to be replaced."""


class Client:
    """Talks to one tenant's API. Use it as an asynchronous context manager, or call `aclose`."""

    def __init__(
        self,
        location: Location | str,
        credentials: Credentials,
        *,
        retries: Retries | None = None,
        stream_retries: Retries = PATIENT,
        request_seconds: float = REQUEST_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        verify: ssl.SSLContext | bool = True,
        trust_env: bool = True,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            location: The tenant's endpoint, such as `https://acme.chat.example`, or what tells where it is now.
            credentials: A key or token, or a function that gives the one that holds now.
            retries: How patient requests are.
            stream_retries: How patient streams are; each event makes them as patient as at the beginning.
            request_seconds: Deadline of a request with all its repetitions; of a stream, until it begins.
            silence_seconds: How long the server may give no sign of life before the connection counts as cut.
            verify: How the server's certificate is checked.
            trust_env: Whether the environment's proxies are used.
            transport: What carries the requests, instead of our own connections.
        """
        http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(silence_seconds, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            verify=verify,
            trust_env=trust_env,
            transport=transport,
        )
        self._caller = Caller(
            location, credentials, retries=retries or Retries(), http=http, request_seconds=request_seconds
        )
        self._stream_retries = stream_retries
        self.api_keys = ApiKeys(self._caller)
        """The tenant's API keys, for administrators."""
        self.audit_log = AuditLog(self._caller)
        """Who has done what with the tenant's administration."""
        self.completions = Completions(self._caller)
        """Questions of which the server keeps no text."""
        self.files = Files(self._caller)
        """Files, to be attached to messages."""
        self.knowledge_bases = KnowledgeBases(self._caller)
        """What agents look their answers up in."""
        self.usage = UsageReports(self._caller)
        """What was used, and what it cost."""
        self.webhooks = Webhooks(self._caller)
        """Endpoints that are told what happens."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._caller.aclose()

    # ---- agents ----

    async def agents(self) -> list[Agent]:
        """Who there is to talk to, by name."""
        return (await self._caller.get(AgentList, Request("GET", "/v1/agents"))).items

    async def agent(self, name: str) -> Agent:
        """One agent.

        Raises:
            AgentNotFound: There is none of that name.
        """
        return await self._caller.get(Agent, Request("GET", f"/v1/agents/{segment(name)}"))

    async def models(self) -> list[Model]:
        """The agents as OpenAI's protocol lists them."""
        return (await self._caller.get(ModelList, Request("GET", "/v1/models"))).data

    async def model(self, name: str) -> Model:
        """One of them.

        Raises:
            NotFound: There is none of that name.
        """
        return await self._caller.get(Model, Request("GET", f"/v1/models/{segment(name)}"))

    # ---- conversations ----

    async def start(
        self,
        agent: str,
        *,
        channel: Channel | None = None,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> StartedConversation:
        """Begin a conversation. The agent's greeting, where it has one, is its first message.

        Args:
            idempotency_key: The same key gives the same conversation, however often it is sent. None: one of the client's own.

        Raises:
            AgentNotFound: There is no such agent.
        """
        wanted = {"channel": channel, "title": title, "metadata": dict(metadata or {}) or None}
        body = {name: value for name, value in wanted.items() if value is not None}
        path = f"/v1/agents/{segment(agent)}/conversations"
        return await self._caller.get(
            StartedConversation, Request("POST", path, body=body, headers=once(idempotency_key))
        )

    def conversations(
        self,
        *,
        words: str | None = None,
        agent: str | None = None,
        channel: Channel | None = None,
        contact_id: UUID | str | None = None,
        states: Iterable[ConversationState] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        order: ConversationOrder = ConversationOrder.CREATED,
        page_size: int = 50,
    ) -> AsyncGenerator[ConversationItem, None]:
        """Conversations, page by page as they are read; `docs/reference/http-api.md` says what each filter does."""
        query = {
            "q": words,
            "agent": agent,
            "channel": channel,
            "contactId": None if contact_id is None else str(contact_id),
            "state": [str(state) for state in states] or None,
            "createdFrom": None if created_from is None else created_from.isoformat(),
            "createdBefore": None if created_before is None else created_before.isoformat(),
            "order": str(order),
            "limit": page_size,
        }
        return read_pages(self._caller, Page[ConversationItem], "/v1/conversations", query)

    async def conversation(self, conversation_id: UUID | str) -> Conversation:
        """One conversation, without its messages.

        Raises:
            ConversationNotFound: There is no such conversation.
        """
        return await self._caller.get(Conversation, Request("GET", _path(conversation_id)))

    async def change_conversation(
        self,
        conversation_id: UUID | str,
        *,
        title: str | None = None,
        metadata: Mapping[str, str] | None = None,
        state: ConversationState | None = None,
        revision: int | None = None,
    ) -> Conversation:
        """Rename it, replace its metadata, end it, archive it, make it active again. What is None stays as it is.

        Args:
            revision: Only if nobody has changed it since that revision.

        Raises:
            RevisionMismatch: Somebody has.
        """
        wanted = {"title": title, "metadata": None if metadata is None else dict(metadata), "state": state}
        request = Request(
            "PATCH",
            _path(conversation_id),
            body={name: value for name, value in wanted.items() if value is not None},
            headers={} if revision is None else {"If-Match": f'"{revision}"'},
            # The second of two would be told that somebody else was faster, who was the first.
            is_repeatable=revision is None,
        )
        return await self._caller.get(Conversation, request)

    async def delete_conversation(self, conversation_id: UUID | str) -> None:
        """Delete it with its messages, for good.

        Raises:
            ConversationBusy: The agent is replying.
        """
        # The second of two would be told that there is no such conversation, which the first has deleted.
        await self._caller.call(Request("DELETE", _path(conversation_id), is_repeatable=False))

    async def export(self, conversation_id: UUID | str) -> Transcript:
        """Everything that is kept of it."""
        return await self._caller.get(Transcript, _export(conversation_id, "json"))

    async def export_markdown(self, conversation_id: UUID | str) -> str:
        """The same, as text for people."""
        return (await self._caller.call(_export(conversation_id, "markdown"))).decode()

    async def mark(
        self, conversation_id: UUID | str, *, read: UUID | str | None = None, delivered: UUID | str | None = None
    ) -> Marks:
        """Say up to which message you have read, or which has arrived. Marks never go back."""
        body = {"readMessageId": _text(read), "deliveredMessageId": _text(delivered)}
        return await self._caller.get(Marks, Request("PUT", f"{_path(conversation_id)}/marks", body=body))

    # ---- messages ----

    def messages(self, conversation_id: UUID | str, *, page_size: int = 50) -> AsyncGenerator[Message, None]:
        """What was said, oldest first, page by page as it is read."""
        path = f"{_path(conversation_id)}/messages"
        return read_pages(self._caller, Page[Message], path, {"limit": page_size})

    def send(
        self,
        conversation_id: UUID | str,
        content: str,
        *,
        attachments: Iterable[UUID | str] = (),
        idempotency_key: str | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Say something, and hear the turn's events until its last. A cut connection is made anew, on whatever pod; each event
        comes once. Leaving early does not stop the turn: `stop` does.

        Args:
            content: The text; may be empty where there are attachments.
            attachments: Ids of files that `files.upload` sent and that no message has yet.

        Raises:
            ConversationBusy: The agent still replies to an earlier message; nothing was stored.
            ConnectionFailed: The events were cut off, and could not be had elsewhere.
            ReplyLost: The turn has ended, and the server has forgotten how.
            Unauthenticated, Forbidden: The credentials have ended; the turn goes on. A function is asked for others first.
        """
        files = [{"fileId": str(file_id)} for file_id in attachments]
        request = Request(
            "POST",
            f"{_path(conversation_id)}/messages",
            body={"content": content, **({"attachments": files} if files else {})},
            headers={"Accept": "text/event-stream", **once(idempotency_key)},
        )
        return self._reader(conversation_id).read_reply(request)

    async def ask(
        self,
        conversation_id: UUID | str,
        content: str,
        *,
        attachments: Iterable[UUID | str] = (),
        idempotency_key: str | None = None,
    ) -> Reply:
        """Say something, and wait for the whole reply, or for what had been said when somebody stopped it.

        Raises:
            ReplyFailed: The turn failed.
            ConversationBusy, ConnectionFailed, ReplyLost, Unauthenticated, Forbidden: As `send` raises them.
        """
        sent = self.send(conversation_id, content, attachments=attachments, idempotency_key=idempotency_key)
        async with aclosing(sent) as events:
            async for event in events:
                match event:
                    case MessageCompleted() | MessageStopped():
                        return Reply(message=event.message, turn=event.turn)
                    case MessageFailed():
                        raise ReplyFailed(event.error, message=event.message)
        raise AssertionError("events of a reply end with the turn")

    def follow(self, conversation_id: UUID | str, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """The events of all turns, whoever sends the messages, without an end.

        Args:
            after: Number of the last event that you have. None: from now on, beginning with the running turn if there is one; a
                turn that begins and ends while the very first connection is being made anew may be missed then.

        Raises:
            ConnectionFailed: The events were cut off, and could not be had elsewhere.
            Unauthenticated, Forbidden: As `send` raises them.
        """
        return self._reader(conversation_id).follow(after)

    async def stop(self, conversation_id: UUID | str, *, turn_id: UUID | str | None = None) -> StopRequested:
        """Stop the running turn, or none but that one."""
        path = f"{_path(conversation_id)}/stop"
        # Without the turn's id the second of two could stop a turn that began in between.
        return await self._caller.get(
            StopRequested, Request("POST", path, query={"turn": _text(turn_id)}, is_repeatable=turn_id is not None)
        )

    async def put_feedback(
        self, conversation_id: UUID | str, message_id: UUID | str, rating: Rating, *, comment: str | None = None
    ) -> Feedback:
        """Say what you think of a reply; a later say replaces it.

        Raises:
            MessageNotFound: There is no such reply.
        """
        body = {"rating": str(rating), **({} if comment is None else {"comment": comment})}
        return await self._caller.get(Feedback, Request("PUT", _feedback(conversation_id, message_id), body=body))

    async def delete_feedback(self, conversation_id: UUID | str, message_id: UUID | str) -> None:
        """Take it back."""
        await self._caller.call(Request("DELETE", _feedback(conversation_id, message_id)))

    # ---- visitors ----

    async def create_visitor_token(
        self,
        *,
        visitor_token: str | None = None,
        identity: Mapping[str, str] | None = None,
        challenge_response: str | None = None,
    ) -> VisitorToken:
        """Buy a token for a visitor; the credentials have to be a publishable key.

        Args:
            visitor_token: The visitor's token of before, so that they stay who they were.
            identity: Who vouches for them: `{"externalId", "hmac"}` or `{"identityToken"}`.
            challenge_response: What the visitor's browser got for solving the Tenant's challenge.
        """
        wanted: dict[str, Any] = {
            "visitorToken": visitor_token,
            "identity": None if identity is None else dict(identity),
            "challengeResponse": challenge_response,
        }
        body = {name: value for name, value in wanted.items() if value is not None}
        return await self._caller.get(VisitorToken, Request("POST", "/v1/visitor-tokens", body=body))

    def _reader(self, conversation_id: UUID | str) -> EventReader:
        return EventReader(self._caller, _path(conversation_id), retries=self._stream_retries)


def _text(value: UUID | str | None) -> str | None:
    return None if value is None else str(value)


def _path(conversation_id: UUID | str) -> str:
    return f"/v1/conversations/{segment(conversation_id)}"


def _feedback(conversation_id: UUID | str, message_id: UUID | str) -> str:
    return f"{_path(conversation_id)}/messages/{segment(message_id)}/feedback"


def _export(conversation_id: UUID | str, form: Literal["json", "markdown"]) -> Request:
    return Request("GET", f"{_path(conversation_id)}/export", query={"format": form})
