"""The event log: a stream per conversation, and one that tells of turns to be stopped.

A batch stands in its stream under the number of its last event, so what comes after a number is what Redis gives after it,
and a number that is not greater than all before is refused by the server. Streams outlive their last batch by
`KEPT_SECONDS` and hold `MOST_BATCHES` at most: more than the longest turn writes.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError
from redis.typing import KeyT, StreamIdT

from ...errors import StoreUnavailable
from ...ids import new_id
from ...models.ids import ConversationId, TenantId, TurnId
from ...models.live_events import EventBatch, EventNews
from .client import RedisClient, WaitingClient, refused
from .keys import events_key, stops_key, wake_key
from .scripts import APPEND

KEPT_SECONDS = 900
MOST_BATCHES = 32_768
MOST_STOPS = 1_000
STOPS_KEPT_SECONDS = 60
WAIT_SECONDS = 5.0
"""How long a question for news waits in Redis; a connection that died without a word is noticed this much later."""
MOST_AT_ONCE = 256
"""Batches of one conversation in one answer."""

_APPEND_SHA = sha1(APPEND.encode(), usedforsecurity=False).hexdigest()

_Entries = Sequence[tuple[bytes, dict[bytes, bytes]]]


@dataclass(eq=False, slots=True)
class _Append:
    """A batch that waits to be added."""

    arguments: tuple[str | bytes | int, ...]
    """The script's key and arguments."""
    outcome: bool | StoreUnavailable | None = None
    """None: it waits."""


class RedisEventLog:
    """`EventLog` on Redis. Batches of many turns that come while others are being written go together, over one connection."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._waiting: list[_Append] = []
        self._appending = asyncio.Lock()

    async def append(
        self, tenant_id: TenantId, conversation_id: ConversationId, batch: EventBatch, *, begins: bool
    ) -> bool:
        """See `EventLog`."""
        key, kept_ms = events_key(tenant_id, conversation_id), KEPT_SECONDS * 1000
        append = _Append((key, batch.number, batch.previous, batch.events, int(begins), MOST_BATCHES, kept_ms))
        self._waiting.append(append)
        try:
            async with self._appending:
                while append.outcome is None:
                    await self._append_waiting()
        except asyncio.CancelledError:
            if append in self._waiting:
                self._waiting.remove(append)
            raise
        if isinstance(append.outcome, StoreUnavailable):
            raise append.outcome
        return append.outcome

    async def _append_waiting(self) -> None:
        """Add what waits, for whoever waits. Who is cut off leaves it to the next: a batch that is there already is not added."""
        taken, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
        try:
            async with self._client.operation("append_events", is_traced=False) as redis:
                results = await _run_appends(redis, taken)
                if isinstance(results[0], RedisError) and len({type(result) for result in results}) == 1:
                    raise results[0]
        except StoreUnavailable as error:
            for append in taken:
                append.outcome = error
        except BaseException:
            self._waiting = taken + self._waiting
            raise
        else:
            for append, result in zip(taken, results, strict=True):
                append.outcome = refused(result) if isinstance(result, RedisError) else bool(result)

    async def read(
        self, tenant_id: TenantId, conversation_id: ConversationId, *, after: int, limit: int | None = None
    ) -> Sequence[EventBatch]:
        """See `EventLog`."""
        begin = f"{max(after, 0) + 1}-0"
        async with self._client.operation("read_events") as redis:
            entries = cast(
                "_Entries", await redis.xrange(events_key(tenant_id, conversation_id), min=begin, count=limit)
            )
        return [_read_batch(*entry) for entry in entries]

    async def forget(self, tenant_id: TenantId, conversation_id: ConversationId) -> None:
        """See `EventLog`."""
        async with self._client.operation("forget_events") as redis:
            await redis.unlink(events_key(tenant_id, conversation_id))

    async def ask_stop(self, tenant_id: TenantId, turn_id: TurnId) -> None:
        """See `EventLog`."""
        key = stops_key(tenant_id)
        async with self._client.operation("ask_stop") as redis, redis.pipeline(transaction=False) as pipeline:
            pipeline.xadd(key, {"turn": turn_id.hex}, maxlen=MOST_STOPS)
            pipeline.expire(key, STOPS_KEPT_SECONDS)
            await pipeline.execute()

    def tail(self, tenant_id: TenantId) -> "RedisEventTail":
        """See `EventLog`."""
        return RedisEventTail(self._client, tenant_id)


class RedisEventTail:
    """`EventTail` on Redis: one blocking XREAD of all streams, woken by a stream of its own when there are more."""

    def __init__(self, client: RedisClient, tenant_id: TenantId) -> None:
        self._client = client
        self._waiting: WaitingClient = client.open_waiting(seconds=WAIT_SECONDS)
        self._tenant_id = tenant_id
        self._stops = stops_key(tenant_id)
        self._wake = wake_key(tenant_id, new_id())
        self._stops_after: str | None = None
        self._woken_after = "0-0"
        self._positions: dict[ConversationId, int] = {}
        self._is_waiting = False
        self._was_away = False

    async def follow(self, conversation_id: ConversationId, *, after: int) -> None:
        """See `EventTail`."""
        self._positions[conversation_id] = min(after, self._positions.get(conversation_id, after))
        if self._is_waiting:
            try:
                async with (
                    self._client.operation("wake_reader") as redis,
                    redis.pipeline(transaction=False) as pipeline,
                ):
                    pipeline.xadd(self._wake, {"": ""}, maxlen=1, approximate=False)
                    pipeline.expire(self._wake, STOPS_KEPT_SECONDS)
                    await pipeline.execute()
            except StoreUnavailable:
                return  # then the reader is not waiting either, or finds out after its wait

    def leave(self, conversation_id: ConversationId) -> None:
        """See `EventTail`."""
        self._positions.pop(conversation_id, None)

    async def next(self) -> EventNews:
        """See `EventTail`."""
        try:
            news = await self._read()
        except StoreUnavailable:
            self._was_away = True
            raise
        self._was_away = False
        return news

    async def aclose(self) -> None:
        """See `EventTail`."""
        await self._waiting.aclose()

    async def _read(self) -> EventNews:
        async with self._waiting.operation("tail_events") as redis:
            if self._stops_after is None:
                newest = cast("_Entries", await redis.xrevrange(self._stops, count=1))
                self._stops_after = newest[0][0].decode() if newest else "0-0"
            asked = dict(self._positions)
            streams: dict[KeyT, StreamIdT] = {self._wake: self._woken_after, self._stops: self._stops_after}
            by_key = {events_key(self._tenant_id, one): one for one in asked}
            streams |= {key: f"{asked[one]}-0" for key, one in by_key.items()}
            # Right after an outage the first answer comes at once: who waits wants to know that it is over.
            block = 1 if self._was_away else int(WAIT_SECONDS * 1000)
            self._is_waiting = True
            try:
                found = cast(
                    "Sequence[tuple[bytes, _Entries]] | None",
                    await redis.xread(streams, count=MOST_AT_ONCE, block=block),
                )
            finally:
                self._is_waiting = False
        return self._sort(asked, by_key, {name.decode(): entries for name, entries in found or ()})

    def _sort(
        self,
        asked: dict[ConversationId, int],
        by_key: dict[str, ConversationId],
        found: dict[str, _Entries],
    ) -> EventNews:
        """Note how far everything is, and tell what is what."""
        if woken := found.pop(self._wake, None):
            self._woken_after = woken[-1][0].decode()
        stops = found.pop(self._stops, ())
        if stops:
            self._stops_after = stops[-1][0].decode()
        batches = {by_key[key]: [_read_batch(*entry) for entry in entries] for key, entries in found.items()}
        for conversation_id, read in batches.items():
            # Another one may have begun to follow from an earlier number meanwhile, or nobody follows any more.
            if self._positions.get(conversation_id) == asked[conversation_id]:
                self._positions[conversation_id] = read[-1].number
        return EventNews(batches, [TurnId(UUID(fields[b"turn"].decode())) for _, fields in stops])


async def _run_appends(redis: Redis, appends: Sequence[_Append]) -> list[object]:
    """What the script says of each, or the error that Redis answers."""
    results = await _ask(redis, appends)
    if any(isinstance(result, NoScriptError) for result in results):
        # Nothing of such a batch was done; what was done of others is not done again.
        await redis.script_load(APPEND)
        results = await _ask(redis, appends)
    return results


async def _ask(redis: Redis, appends: Sequence[_Append]) -> list[object]:
    async with redis.pipeline(transaction=False) as pipeline:
        for append in appends:
            pipeline.evalsha(_APPEND_SHA, 1, *append.arguments)
        results: list[object] = await pipeline.execute(raise_on_error=False)
    return results


def _read_batch(entry_id: bytes, fields: dict[bytes, bytes]) -> EventBatch:
    return EventBatch(
        number=int(entry_id.partition(b"-")[0]), previous=int(fields[b"previous"]), events=fields[b"events"]
    )
