"""Sockets in conversations: events of turns are delivered, and who is there is told to whoever else is.

Each socket follows each of its conversations from a number of its own; the process reads the log once for all of them. Only
what is not kept (who is there, who types) goes around to sockets of other processes.
"""

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog

from ...chat.events import (
    ReplyCompleted,
    ReplyFailed,
    ReplySnapshot,
    ReplyStarted,
    ReplyStopped,
    TurnEvent,
)
from ...errors import ConversationNotFound, NotJoined, ShuttingDown, StoreUnavailable, TooManyJoined
from ...ids import new_id
from ...models.ids import ContactId, ConversationId, TenantId, TurnId
from ...models.presence import Member, MemberId, Presence
from ...services import Services
from ..events import view_event
from ..problems import build_problem
from .catalogue import ParticipationEnded, PresenceView, TypingView
from .outlet import Outlet, render, room_of
from .sockets import Participation, Socket

MOST_JOINED = 50
"""Conversations that one socket can be in."""
LEASE = timedelta(seconds=30)
"""How long members of a process that died are still taken to be there."""
RENEW_SECONDS = 10.0
TYPED_SECONDS = 6.0
"""How long somebody types who does not say so again."""
ASK_SECONDS = 60.0
"""How long it is taken for granted that a conversation is still there for whoever has joined it and hears nothing of it."""
LOOK_SECONDS = 0.5
MOST_WAITING = 200
"""Packets that wait for a client before no more events of turns are added to them."""
WAIT_SECONDS = 0.05

log = structlog.get_logger(__name__)


class Participations:
    """All sockets of this process in all conversations. Somebody must `run` it."""

    def __init__(self, services: Services, outlet: Outlet, *, sockets: Collection[Socket]) -> None:
        self._services = services
        self._outlet = outlet
        self._sockets = sockets

    # Coming and going -------------------------------------------------------------------------------------------------

    async def join(
        self, socket: Socket, conversation_id: ConversationId, *, after: int | None
    ) -> tuple[Participation, Presence | None]:
        """Let a socket have the events of a conversation, as `Conversations.follow` gives them; who has them already begins anew.

        Returns:
            The participation, and who is there now; None: nobody knows.

        Raises:
            TooManyJoined: The socket is in too many others.
            ConversationNotFound: There is no such conversation for whoever holds the socket.
            ShuttingDown: This process takes no readers any more, or the socket is gone.
            StoreUnavailable: Nobody knows how far the conversation is.
        """
        async with socket.joining:
            before = socket.joined.get(conversation_id)
            if before is None and len(socket.joined) >= MOST_JOINED:
                raise TooManyJoined(f"A socket can be in {MOST_JOINED} conversations. Leave one first.")
            follower = await self._services.conversations.follow(socket.principal, conversation_id, after=after)
            if socket.is_closed():
                self._services.followers.leave(follower)
                raise ShuttingDown
            if before is not None:
                self._stop(before)
            member = before.member if before is not None else _make_member(socket)
            joined = Participation(socket.principal.tenant_id, conversation_id, follower, member)
            socket.joined[conversation_id] = joined
            joined.delivering = asyncio.create_task(self._deliver(socket, joined), name=f"socket-{socket.sid}")
            await self._outlet.enter(socket.sid, room_of(conversation_id))
            presence = await self._enter(joined)
            if socket.is_closed():  # meanwhile, and its end did not know that it had come in
                await self._announce_gone(joined)
        return joined, presence

    async def leave(self, socket: Socket, conversation_id: ConversationId) -> None:
        """Let a socket have no more of a conversation, if it had any."""
        async with socket.joining:
            joined = socket.joined.pop(conversation_id, None)
            if joined is not None:
                self._stop(joined)
                await self._outlet.leave(socket.sid, room_of(conversation_id))
                await self._announce_gone(joined)

    async def leave_all(self, socket: Socket) -> None:
        """The socket is gone."""
        gone = list(socket.joined.values())
        socket.joined.clear()
        for joined in gone:
            self._stop(joined)
        for joined in gone:
            await self._announce_gone(joined)

    def of(self, socket: Socket, conversation_id: ConversationId) -> Participation:
        """The socket in a conversation.

        Raises:
            NotJoined: It is not in it.
        """
        joined = socket.joined.get(conversation_id)
        if joined is None:
            raise NotJoined
        return joined

    def _stop(self, joined: Participation) -> None:
        self._services.followers.leave(joined.follower)
        if joined.delivering is not None and joined.delivering is not asyncio.current_task():
            joined.delivering.cancel()

    # Conversations that are there no more -----------------------------------------------------------------------------

    async def review_of(self, contact_id: ContactId) -> None:
        """Ask again for the sockets of a contact whose conversations have become somebody else's."""
        await self._review([one for one in self._everybody() if one[0].principal.contact_id == contact_id])

    async def review_in(self, conversation_id: ConversationId) -> None:
        """Ask again for those in a conversation that may be gone."""
        await self._review([one for one in self._everybody() if one[1].conversation_id == conversation_id])

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            due = time.monotonic() - ASK_SECONDS
            await self._review([one for one in self._everybody() if one[1].asked_at < due])

    async def _review(self, everybody: Sequence[tuple[Socket, Participation]]) -> None:
        """End those to whom their conversation is there no more. While nobody knows, all stay."""
        answers: dict[tuple[ConversationId, ContactId | None], bool] = {}
        try:
            for socket, joined in everybody:
                asked = (joined.conversation_id, socket.principal.contact_id)
                if asked not in answers:
                    answers[asked] = await self._services.followers.may_follow(socket.principal, joined.conversation_id)
                joined.asked_at = time.monotonic()
                if not answers[asked]:
                    await self._end(socket, joined)
        except StoreUnavailable:
            pass  # the next time is soon enough
        except Exception:
            log.exception("review of conversations broke")

    async def _end(self, socket: Socket, joined: Participation) -> None:
        conversation_id = joined.conversation_id
        async with socket.joining:
            if socket.joined.get(conversation_id) is not joined:  # it has left, or come anew
                return
            del socket.joined[conversation_id]
            self._stop(joined)
            await self._outlet.leave(socket.sid, room_of(conversation_id))
            error = build_problem(ConversationNotFound(), request_id=socket.request_id)
            view = ParticipationEnded(conversation_id=conversation_id, error=error)
            await self._outlet.tell(socket.sid, "participation.ended", render(view))
            await self._announce_gone(joined)

    def _everybody(self) -> Iterator[tuple[Socket, Participation]]:
        return ((socket, joined) for socket in list(self._sockets) for joined in list(socket.joined.values()))

    # Events of turns --------------------------------------------------------------------------------------------------

    async def _deliver(self, socket: Socket, joined: Participation) -> None:
        """Hand events over, as fast as the client takes them. If they end, the client comes again for the rest."""
        try:
            while (event := await joined.follower.feed.next()) is not None:
                if not await self._may_hear(socket, joined, event):
                    await self._end(socket, joined)
                    return
                await self._hand_over(socket, joined.conversation_id, event)
                while self._outlet.backlog(socket.sid) > MOST_WAITING:  # noqa: ASYNC110  # nobody announces it
                    await asyncio.sleep(WAIT_SECONDS)
            await self._outlet.hang_up(socket.sid)
        except Exception:
            log.exception("delivery of events broke")
            socket.connection.abort()

    async def _may_hear(self, socket: Socket, joined: Participation, event: TurnEvent) -> bool:
        """Ask once with each turn, wherever it runs: a customer's conversation may have become another's."""
        turn_id = _turn_told_by(event)
        if socket.principal.contact_id is None or turn_id is None or turn_id == joined.asked_for:
            return True
        try:
            may_follow = await self._services.followers.may_follow(socket.principal, joined.conversation_id)
        except StoreUnavailable:  # while nobody knows, all stay
            return True
        joined.asked_at, joined.asked_for = time.monotonic(), turn_id
        return may_follow

    async def _hand_over(self, socket: Socket, conversation_id: ConversationId, event: TurnEvent) -> None:
        name, view = view_event(event, request_id=socket.request_id)
        told = {"conversationId": str(conversation_id), "number": event.number, "data": render(view)}
        self._services.metrics.socket_events_sent.labels(name).inc()
        await self._outlet.tell(socket.sid, name, told)

    # Who is there, and who types --------------------------------------------------------------------------------------

    async def type(self, socket: Socket, conversation_id: ConversationId, *, is_typing: bool) -> Participation:
        """Tell the others whether somebody types. Saying the same again tells nothing new, but keeps it up.

        Raises:
            NotJoined: The socket is not in the conversation.
        """
        joined = self.of(socket, conversation_id)
        is_news = is_typing != (joined.typing_until is not None)
        joined.typing_until = time.monotonic() + TYPED_SECONDS if is_typing else None
        if is_news:
            await self._tell_typing(socket, joined)
        return joined

    async def run(self) -> None:
        """End what nobody keeps up, and keep up what is, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._end_typing())
            group.create_task(self._renew())
            group.create_task(self._ask_again())

    async def _end_typing(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = time.monotonic()
            for socket, joined in self._everybody():
                if joined.typing_until is not None and joined.typing_until < now:
                    joined.typing_until = None
                    await self._tell_typing(socket, joined)

    async def _tell_typing(self, socket: Socket, joined: Participation) -> None:
        view = TypingView.of(joined.conversation_id, joined.member, is_typing=joined.typing_until is not None)
        await self._outlet.tell_rooms([room_of(joined.conversation_id)], "typing", view, but=socket.sid)

    async def _enter(self, joined: Participation) -> Presence | None:
        try:
            presence = await self._services.presence.enter(
                joined.tenant_id, joined.conversation_id, joined.member, lease=LEASE
            )
        except StoreUnavailable:
            return None
        await self._announce(joined.conversation_id, presence)
        return presence

    async def _announce_gone(self, joined: Participation) -> None:
        """Without the register, others take the member to be there until the lease ends."""
        with suppress(StoreUnavailable):
            presence = await self._services.presence.leave(joined.tenant_id, joined.conversation_id, joined.member)
            await self._announce(joined.conversation_id, presence)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            members: dict[TenantId, dict[ConversationId, list[Member]]] = {}
            known: dict[MemberId, tuple[Socket, Participation]] = {}
            for socket, joined in self._everybody():
                members.setdefault(joined.tenant_id, {}).setdefault(joined.conversation_id, []).append(joined.member)
                known[joined.member.id] = socket, joined
            for tenant_id, of_tenant in members.items():
                with suppress(StoreUnavailable):  # the next time is soon enough
                    renewal = await self._services.presence.renew(tenant_id, of_tenant, lease=LEASE)
                    for conversation_id, presence in renewal.changed.items():
                        await self._announce(conversation_id, presence)
                    for lost in [member for some in renewal.lost.values() for member in some]:
                        await self._enter_again(*known[lost.id])

    async def _enter_again(self, socket: Socket, joined: Participation) -> None:
        """Whom the register has lost comes back, unless it has left by itself."""
        async with socket.joining:
            now = socket.joined.get(joined.conversation_id)
            if now is None or now.member != joined.member:
                return
            await self._enter(now)
            if socket.is_closed():  # meanwhile, and its end did not know that it had come in
                await self._announce_gone(now)

    async def _announce(self, conversation_id: ConversationId, presence: Presence) -> None:
        view = PresenceView.of(conversation_id, presence)
        await self._outlet.tell_rooms([room_of(conversation_id)], "presence", view)


def _make_member(socket: Socket) -> Member:
    return Member(MemberId(new_id()), socket.principal.side)


def _turn_told_by(event: TurnEvent) -> TurnId | None:
    """The turn of an event with whole messages in it; None: it has a piece of one at most."""
    match event:
        case ReplyStarted() | ReplySnapshot():
            return event.turn.id
        case ReplyCompleted() | ReplyStopped() | ReplyFailed() if event.ended is not None:
            return event.ended.turn.id
    return None
