"""Readers who follow conversations: the events of whatever turns come, whichever process runs them.

One task reads the event log for all of them. What the log cannot tell (it was away, has lost or trimmed something) is
looked up among the stored turns: a reader gets the ends of turns that it missed, and of a running one its beginning; then
the log goes on, with pieces of a reply only where the reader has all before them, else from a snapshot or the end on.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from ..errors import ConversationNotFound, ShuttingDown, StoreUnavailable
from ..models.identity import Principal
from ..models.ids import ConversationId, TenantId, TurnId
from ..models.live_events import EventBatch, EventPosition
from ..models.turns import EVENTS_OF_A_TURN
from ..ports.conversations import ConversationStore
from ..ports.live_events import EventLog
from ..ports.turns import TurnStore
from .event_batches import decode_events, follow_on
from .events import ReplyEnded, TurnEvent, stored_event
from .feed import Feed

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
"""Pause after the log was found away."""
GATHER_SECONDS = 0.01
"""Pause after news: what comes meanwhile is read with one question."""
WATCH_SECONDS = 3.0
"""How often stored turns are looked at for those whom the log leaves in the dark."""
SILENCE_SECONDS = 10.0
"""How long a running turn may be silent before it is looked up."""
MOST_TURNS = 100
"""How many turns a reader who missed more is told of; the list of messages has all."""
MOST_BEHIND = 10_000
"""Events that wait for a slow reader before it is sent away to come again."""


@dataclass(eq=False, slots=True)
class Follower:
    """A reader of one conversation."""

    conversation_id: ConversationId
    position: int
    """Number of the last event that it knows."""
    in_turn: bool
    """A turn runs, as far as it knows."""
    feed: Feed[TurnEvent] = field(default_factory=Feed)
    heard_at: float = field(default_factory=time.monotonic)
    is_looked_up: bool = False
    """What it missed was looked up, and it waits for an event that stands by itself."""

    def take(self, event: TurnEvent) -> None:
        """Hand an event over."""
        self.feed.publish(event)
        self.position = event.number
        self.in_turn = not isinstance(event, ReplyEnded)
        self.heard_at = time.monotonic()


class OneTurn:
    """What a follower hears of the turn that comes next, and nothing after that turn's end."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._has_ended = False

    async def next(self) -> TurnEvent | None:
        """The next event as soon as there is one; None after the turn's last."""
        event = None if self._has_ended else await self._follower.feed.next()
        self._has_ended = event is None or isinstance(event, ReplyEnded)
        return event

    def take_ready(self, most: int) -> list[TurnEvent]:
        """The turn's events that can be had without waiting, up to so many."""
        taken: list[TurnEvent] = []
        while len(taken) < most and not self._has_ended and (ready := self._follower.feed.take_ready(1)):
            taken += ready
            self._has_ended = isinstance(ready[0], ReplyEnded)
        return taken


class Followers:
    """All readers of this process, who are readers of one tenant."""

    def __init__(
        self,
        tenant_id: TenantId,
        *,
        events: EventLog,
        conversations: ConversationStore,
        turns: TurnStore,
        on_stop: Callable[[TurnId], object],
    ) -> None:
        """Prepare; somebody must `run` it.

        Args:
            tenant_id: The only tenant that is served.
            on_stop: Told of turns that somebody wants stopped.
        """
        self._tenant_id = tenant_id
        self._events = events
        self._conversations = conversations
        self._turns = turns
        self._on_stop = on_stop
        self._tail = events.tail(tenant_id)
        self._followers: dict[ConversationId, set[Follower]] = {}
        self._is_away = False
        self._is_closed = False

    # Coming and going -------------------------------------------------------------------------------------------------

    async def follow(self, principal: Principal, conversation_id: ConversationId, *, after: int | None) -> Follower:
        """Read on after an event, or from now on, beginning with the running turn if there is one.

        Raises:
            ConversationNotFound: There is no such conversation.
            ShuttingDown: This process takes no readers any more.
            StoreUnavailable: Nobody knows how far the conversation is.
        """
        position = await self._conversations.find_position(
            principal.tenant_id, conversation_id, owner=principal.contact_id
        )
        if position is None:
            raise ConversationNotFound
        self._refuse_when_closed()
        begin = _begin(position, after)
        follower = Follower(conversation_id, begin, in_turn=position.is_running or begin < position.last_event)
        try:
            if not await self._is_covered(conversation_id, position, begin):
                await self._look_up([follower])
            self._followers.setdefault(conversation_id, set()).add(follower)
            await self._tail.follow(conversation_id, after=follower.position)
            self._refuse_when_closed()
        except BaseException:
            self.leave(follower)
            raise
        return follower

    async def may_follow(self, principal: Principal, conversation_id: ConversationId) -> bool:
        """Whether the conversation is still there for whoever follows it.

        Raises:
            StoreUnavailable: Nobody knows.
        """
        position = await self._conversations.find_position(
            principal.tenant_id, conversation_id, owner=principal.contact_id
        )
        return position is not None

    def leave(self, follower: Follower) -> None:
        """Read no more."""
        follower.feed.leave()
        others = self._followers.get(follower.conversation_id, set())
        others.discard(follower)
        if not others:
            self._followers.pop(follower.conversation_id, None)
            self._tail.leave(follower.conversation_id)

    def close(self) -> None:
        """Send all readers away; they come again elsewhere and miss nothing."""
        self._is_closed = True
        for follower in self._everybody():
            follower.feed.end()

    async def aclose(self) -> None:
        """Send all readers away and leave the log."""
        self.close()
        await self._tail.aclose()

    async def _is_covered(self, conversation_id: ConversationId, position: EventPosition, begin: int) -> bool:
        """Whether the log can tell all that comes after `begin`."""
        if begin == position.last_event and not position.is_running:
            return True
        try:
            found = await self._events.read(self._tenant_id, conversation_id, after=begin - 1, limit=1)
        except StoreUnavailable:
            return False
        return bool(found) and found[0].previous <= begin

    def _refuse_when_closed(self) -> None:
        if self._is_closed:
            raise ShuttingDown

    # Reading ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read for everybody until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._watch())

    async def _read(self) -> None:
        while True:
            try:
                await self._take_news()
            except StoreUnavailable:
                if not self._is_away:
                    log.warning("event log away")
                self._is_away = True
                await _pause()
            except Exception:
                log.exception("reading of events broke")
                await _pause()

    async def _take_news(self) -> None:
        news = await self._tail.next()
        if self._is_away:
            log.info("event log back")
            self._is_away = False
            await self._look_up(list(self._everybody()))
        for turn_id in news.stops:
            self._on_stop(turn_id)
        for conversation_id, batches in news.batches.items():
            for batch in batches:
                await self._deliver(conversation_id, batch)
        if news.batches:
            await asyncio.sleep(GATHER_SECONDS)

    async def _deliver(self, conversation_id: ConversationId, batch: EventBatch) -> None:
        readers = [one for one in self._followers.get(conversation_id, ()) if one.position < batch.number]
        if not readers:
            return
        events = decode_events(batch)
        missing = [one for one in readers if one.position < batch.previous and not one.is_looked_up]
        await self._look_up(missing)
        for one in readers:
            one.is_looked_up = one.position < batch.previous
            for event in follow_on(one.position, batch, events):
                one.take(event)
                one.is_looked_up = False
            if one.feed.backlog > MOST_BEHIND:
                one.feed.end()
                self.leave(one)

    async def _watch(self) -> None:
        """Look up what the log may never tell: it is away, or a turn is silent for long."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            since = time.monotonic() - SILENCE_SECONDS
            silent = [one for one in self._everybody() if self._is_away or (one.in_turn and one.heard_at < since)]
            try:
                await self._look_up(silent)
            except Exception:
                log.exception("looking up of events broke")

    async def _look_up(self, readers: Sequence[Follower]) -> None:
        """Tell readers what the store knows and they do not."""
        if not readers:
            return
        positions: dict[ConversationId, int] = {}
        for one in readers:
            positions[one.conversation_id] = min(one.position, positions.get(one.conversation_id, one.position))
            one.heard_at = time.monotonic()
        try:
            records = await self._turns.turns_since(self._tenant_id, positions, limit=MOST_TURNS)
        except StoreUnavailable as error:
            log.warning("missed events not looked up", store=error.store)
            return
        events = [(record.turn.conversation_id, stored_event(record)) for record in records]
        for one in readers:
            for conversation_id, event in events:
                if conversation_id == one.conversation_id and event.number > one.position:
                    one.take(event)

    def _everybody(self) -> Iterable[Follower]:
        return [one for readers in self._followers.values() for one in readers]


async def _pause() -> None:
    await asyncio.sleep(random.uniform(0.5, 1.0) * RETRY_SECONDS)  # noqa: S311  # jitter, no secret


def _begin(position: EventPosition, after: int | None) -> int:
    """Where a reader begins. A number that no event can have had is as good as none."""
    newest = position.last_event + (EVENTS_OF_A_TURN if position.is_running else 0)
    return position.last_event if after is None or after > newest else after
