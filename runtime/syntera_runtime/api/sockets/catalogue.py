"""What clients send over a socket, and what they get beside the events of turns. Documented in `docs/reference/socketio.md`."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import Field

from ...chat.changes import ChangeKind, ConversationChanged, MarksChanged
from ...models.conversations import Side
from ...models.ids import ConversationId
from ...models.presence import Member, Presence
from ...views.base import View
from ...views.conversations import MessageView
from ..problems import Problem
from ..schemas import Input, MarksInput, MarksView, MessageInput, TurnView

VERSION = 1
"""Grows when an event or a field of one goes or changes its meaning; what is added leaves it as it is."""
MOST = 2**63 - 1
"""Largest number that the store takes."""
MOST_TOKEN = 16_384
"""Longer ones are refused as what they are by whoever reads them, this long ones unread."""

Id = Annotated[UUID, Field(strict=False)]

# ---- what clients send ----


class Credentials(Input):
    """`auth` of a connection, and `session.renew`."""

    token: Annotated[str, Field(min_length=1, max_length=MOST_TOKEN)]
    """What stands after `Bearer` in HTTP."""


class InConversation(Input):
    """`conversation.leave`: something in a conversation."""

    conversation_id: Id


class Join(InConversation):
    """`conversation.join`."""

    last_event_id: Annotated[int, Field(ge=0, le=MOST)] | None = None
    """Number of the last event that the client has. Left out: from now on, beginning with the running turn."""


class Send(MessageInput, InConversation):
    """`message.send`."""

    idempotency_key: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")] | None = None
    """As the header `Idempotency-Key`."""


class Stop(InConversation):
    """`turn.stop`."""

    turn_id: Id | None = None
    """Only this one. Left out: the one that runs."""


class Typing(InConversation):
    """`typing`, as clients send it."""

    is_typing: bool


class Mark(MarksInput, InConversation):
    """`marks.put`."""


# ---- what clients get ----


class MemberView(View):
    """Somebody in a conversation."""

    member_id: UUID
    """One socket in one conversation; says nothing of who it is."""
    side: Side

    @classmethod
    def of(cls, member: Member) -> Self:
        """The view of `member`."""
        return cls(member_id=member.id, side=member.side)


class PresenceView(View):
    """`presence`: who is in a conversation."""

    conversation_id: UUID
    members: list[MemberView]
    revision: int
    """Take the one with the greatest number; another may come late."""

    @classmethod
    def of(cls, conversation_id: ConversationId, presence: Presence) -> Self:
        """The view of `presence`."""
        members = [MemberView.of(member) for member in presence.members]
        return cls(conversation_id=conversation_id, members=members, revision=presence.revision)


class Joined(View):
    """The answer to `conversation.join`."""

    conversation_id: UUID
    member_id: UUID
    """What this socket is called in this conversation."""
    presence: PresenceView | None
    """None: nobody knows, because Redis is away."""
    version: int = VERSION
    """Of the catalogue of events."""


class Left(View):
    """The answer to `conversation.leave`."""

    conversation_id: UUID


class Sent(View):
    """The answer to `message.send`."""

    user_message: MessageView
    message_id: UUID
    """The id that the reply is going to have, or has."""
    turn: TurnView
    is_replayed: bool
    """An earlier request with that key has begun the turn."""


class TypingView(View):
    """`typing`, as clients get it; and the answer to it."""

    conversation_id: UUID
    member_id: UUID
    side: Side
    is_typing: bool

    @classmethod
    def of(cls, conversation_id: ConversationId, member: Member, *, is_typing: bool) -> Self:
        """What `member` does."""
        return cls(conversation_id=conversation_id, member_id=member.id, side=member.side, is_typing=is_typing)


class Changed(View):
    """`conversations.changed`."""

    conversation_id: UUID
    change: ChangeKind

    @classmethod
    def of(cls, changed: ConversationChanged) -> Self:
        """The view of `changed`."""
        return cls(conversation_id=changed.conversation_id, change=changed.kind)


class Marked(MarksView):
    """`marks.changed`."""

    conversation_id: UUID
    side: Side

    @classmethod
    def told(cls, changed: MarksChanged) -> Self:
        """The view of `changed`."""
        return cls(
            conversation_id=changed.conversation_id,
            side=changed.side,
            read_message_id=changed.marks.read,
            delivered_message_id=changed.marks.delivered,
        )


class Renewed(View):
    """The answer to `session.renew`."""


class SessionEnded(View):
    """`session.ended`: the last event before the server ends the socket."""

    error: Problem


class ParticipationEnded(View):
    """`participation.ended`: the last event of a conversation that is there no more for whoever holds the socket."""

    conversation_id: UUID
    error: Problem


class Draining(View):
    """`server.draining`: the connection is about to close. Connect again, and join with the numbers of the last events."""

    retry_after_seconds: float
    """When to, so that not all come at once."""
