"""Writes the events of this process's turns to the event log, behind the backs of the turns: none ever waits for it.

What comes within `BATCH_SECONDS` is written together. When the log was away or has lost what it held, the pieces that are
missing there are not sent again: a snapshot takes their place. A turn whose lease may have ended writes nothing more until
it is renewed or stored.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from ..errors import StoreUnavailable
from ..models.ids import ConversationId, TenantId
from ..models.live_events import EventBatch
from ..models.turns import BegunTurn, Said
from ..ports.live_events import EventLog
from .event_batches import encode_events
from .events import ReplyEnded, ReplySnapshot, TurnEvent

log = structlog.get_logger(__name__)

BATCH_SECONDS = 0.02
"""Readers in other processes get text this much later; a model says some hundred pieces a second at most."""
RETRY_SECONDS = 0.5
"""Pause after a failed write."""
END_SECONDS = 20.0
"""How long the end of a turn is tried to be written. Readers find it in the store later."""


class EventWriter:
    """The events of one turn on their way into the log."""

    def __init__(
        self,
        events: EventLog,
        tenant_id: TenantId,
        begun: BegunTurn,
        *,
        said: Callable[[], Said],
        is_held: Callable[[], bool],
    ) -> None:
        self._events = events
        self._tenant_id = tenant_id
        self._begun = begun
        self._say = said
        self._is_held = is_held
        self._pending: list[TurnEvent] = []
        self._written = begun.last_event
        self._is_whole = True
        """The log has everything of the turn that was written."""
        self._said = Said()
        """What the turn has said with the events that are being written."""
        self._news = asyncio.Event()
        self._closed_at: float | None = None

    def publish(self, event: TurnEvent) -> None:
        """Hand over an event."""
        self._pending.append(event)
        self._news.set()

    def close(self, *, is_stored: bool) -> None:
        """Say that no event follows. Unless the turn's end is stored, what waits is not written: the turn is another's."""
        if not is_stored:
            self._pending.clear()
        self._closed_at = time.monotonic()
        self._news.set()

    async def run(self) -> None:
        """Write until the last event is written, or is given up."""
        while True:
            await self._news.wait()
            self._news.clear()
            if self._closed_at is None:
                await asyncio.sleep(BATCH_SECONDS)
            while self._pending and not await self._write():
                if self._closed_at is not None and time.monotonic() - self._closed_at > END_SECONDS:
                    log.warning("end of turn not written to the event log", turn_id=str(self._begun.turn.id))
                    return
                await asyncio.sleep(RETRY_SECONDS)
            if self._closed_at is not None and not self._pending:
                return

    async def _write(self) -> bool:
        """Write what is pending; False: try again later."""
        taken, self._pending = self._pending, []
        self._said = self._say()
        if (self._is_held() or self._closed_at is not None) and await self._append(taken):
            return True
        # A snapshot is going to stand for all of it, under the last number.
        self._is_whole = False
        self._pending = [taken[-1], *self._pending]
        return False

    async def _append(self, events: Sequence[TurnEvent]) -> bool:
        """Write events, or what stands for them."""
        try:
            if self._is_whole and await self._send(events, begins=self._written == self._begun.last_event):
                return True
            self._is_whole = await self._send([self._stand_in(events[-1])], begins=True)
        except StoreUnavailable:
            return False
        return self._is_whole

    async def _send(self, events: Sequence[TurnEvent], *, begins: bool) -> bool:
        number = events[-1].number
        batch = EventBatch(
            number=number,
            previous=self._begun.last_event if begins else self._written,
            events=encode_events(events),
        )
        is_there = await self._events.append(self._tenant_id, self._conversation_id, batch, begins=begins)
        if is_there:
            self._written = number
        return is_there

    def _stand_in(self, last: TurnEvent) -> TurnEvent:
        """The end of a turn stands by itself; anything else becomes a snapshot."""
        if isinstance(last, ReplyEnded):
            return last
        begun, said = self._begun, self._said
        return ReplySnapshot(
            last.number,
            begun.turn,
            begun.user_message,
            begun.reply_id,
            said.text,
            citations=said.citations,
            retrieval=said.retrieval,
        )

    @property
    def _conversation_id(self) -> ConversationId:
        return self._begun.user_message.conversation_id


class EventWriters:
    """Owns the tasks that write."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._tasks: set[asyncio.Task[None]] = set()

    def open(
        self,
        tenant_id: TenantId,
        begun: BegunTurn,
        *,
        said: Callable[[], Said],
        is_held: Callable[[], bool],
    ) -> EventWriter:
        """A writer for a turn that begins.

        Args:
            said: What the turn has said until now.
            is_held: Whether its lease surely still runs.
        """
        writer = EventWriter(self._events, tenant_id, begun, said=said, is_held=is_held)
        task = asyncio.create_task(self._run(writer, begun), name=f"events-{begun.turn.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return writer

    async def drain(self, *, seconds: float) -> None:
        """Let turns that have ended write their ends for `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def aclose(self) -> None:
        """Write nothing any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _run(writer: EventWriter, begun: BegunTurn) -> None:
        try:
            await writer.run()
        except Exception:
            log.exception("event writer broke", turn_id=str(begun.turn.id))
