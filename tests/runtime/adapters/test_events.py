"""What every event log and register of turns promises; memory and Redis pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from syntera_runtime.adapters.memory_events import MemoryEventLog, MemoryTurnRegister
from syntera_runtime.ids import new_id
from syntera_runtime.models.ids import ConversationId, TenantId, TurnId
from syntera_runtime.models.live_events import EventBatch, EventNews
from syntera_runtime.ports.live_events import EventLog, EventTail
from syntera_runtime.ports.turns import TurnRegister
from tests.runtime.redis import tenant_redis
from tests.support.redis_server import RedisServer

LEASE = timedelta(seconds=15)
CLAIM = timedelta(seconds=10)
GONE = timedelta(seconds=-5)


@dataclass(frozen=True, slots=True)
class Live:
    """What passes quickly, of one tenant."""

    tenant_id: TenantId
    events: EventLog
    register: TurnRegister
    conversation_id: ConversationId


@pytest.fixture
async def live(server: RedisServer | None, tmp_path: Path) -> AsyncIterator[Live]:
    """Each implementation in turn."""
    conversation_id = ConversationId(uuid4())
    if server is None:
        yield Live(TenantId(uuid4()), MemoryEventLog(), MemoryTurnRegister(), conversation_id)
        return
    async with tenant_redis(server, tmp_path, seconds=10) as made:
        yield Live(made.tenant_id, made.events, made.register, conversation_id)


@pytest.fixture
async def tail(live: Live) -> AsyncIterator[EventTail]:
    """A reader of what comes."""
    tail = live.events.tail(live.tenant_id)
    yield tail
    await tail.aclose()


def batch(number: int, previous: int, events: bytes = b"[]") -> EventBatch:
    return EventBatch(number, previous, events)


async def append(live: Live, number: int, previous: int, *, begins: bool = True) -> bool:
    return await live.events.append(live.tenant_id, live.conversation_id, batch(number, previous), begins=begins)


async def read(live: Live, after: int, limit: int | None = None) -> list[int]:
    found = await live.events.read(live.tenant_id, live.conversation_id, after=after, limit=limit)
    return [one.number for one in found]


async def news_of(tail: EventTail) -> EventNews:
    """The next news that are any."""
    async with asyncio.timeout(20):
        while not (news := await tail.next()).batches and not news.stops:
            pass
        return news


# ---- the log ----


async def test_batches_are_read_as_they_were_written(live: Live) -> None:
    written = [batch(3, 0, b'["\xf0\x9f\x9a\x80\\u0000"]'), batch(7, 3), batch(2**40, 7)]
    for one in written:
        assert await live.events.append(live.tenant_id, live.conversation_id, one, begins=one.number == 3)
    assert await live.events.read(live.tenant_id, live.conversation_id, after=0) == written


@pytest.mark.parametrize(
    ("after", "limit", "seen"), [(-1, None, [3, 7]), (2, None, [3, 7]), (3, None, [7]), (0, 1, [3]), (7, None, [])]
)
async def test_what_comes_after_a_number_is_exact(live: Live, after: int, limit: int | None, seen: list[int]) -> None:
    await append(live, 3, 0)
    await append(live, 7, 3)
    assert await read(live, after, limit) == seen


async def test_forgotten_events_are_gone_and_the_conversation_may_go_on(live: Live) -> None:
    await append(live, 3, 0)
    for _ in range(2):
        await live.events.forget(live.tenant_id, live.conversation_id)
    assert await read(live, 0) == []
    assert not await append(live, 4, 3, begins=False)
    await append(live, 5, 4)
    assert await read(live, 0) == [5]


async def test_batch_is_refused_when_its_conversation_has_no_events_any_more(live: Live) -> None:
    assert not await append(live, 3, 0, begins=False)
    assert await read(live, 0) == []


async def test_batch_changes_nothing_when_a_later_one_is_there(live: Live) -> None:
    await append(live, 7, 0)
    for number in (7, 5):
        assert await append(live, number, 3, begins=False)
    assert await read(live, 0) == [7]


async def test_many_batches_are_added_at_once(live: Live) -> None:
    conversations = [ConversationId(uuid4()) for _ in range(600)]
    adding = [
        live.events.append(live.tenant_id, one, batch(number, 0), begins=number % 2 == 0)
        for number, one in enumerate(conversations, start=1)
    ]
    assert await asyncio.gather(*adding) == [number % 2 == 0 for number in range(1, 601)]
    for number, one in enumerate(conversations[:20], start=1):
        found = await live.events.read(live.tenant_id, one, after=0)
        assert [batch.number for batch in found] == ([number] if number % 2 == 0 else [])


async def test_others_are_added_when_one_is_given_up(live: Live) -> None:
    conversations = [ConversationId(uuid4()) for _ in range(20)]
    adding = [
        asyncio.create_task(live.events.append(live.tenant_id, one, batch(1, 0), begins=True)) for one in conversations
    ]
    await asyncio.sleep(0)
    for task in adding[:3]:
        task.cancel()
    results = await asyncio.gather(*adding, return_exceptions=True)
    assert results[3:] == [True] * 17
    for one in conversations[3:]:
        assert len(await live.events.read(live.tenant_id, one, after=0)) == 1


async def test_conversations_are_apart(live: Live) -> None:
    await append(live, 3, 0)
    other = ConversationId(uuid4())
    assert await live.events.read(live.tenant_id, other, after=0) == []


# ---- the tail ----


async def test_tail_tells_first_what_is_there_and_then_what_comes(live: Live, tail: EventTail) -> None:
    await append(live, 3, 0)
    await append(live, 5, 3)
    await tail.follow(live.conversation_id, after=3)
    assert (await news_of(tail)).batches == {live.conversation_id: [batch(5, 3)]}
    reading = asyncio.create_task(news_of(tail))
    await asyncio.sleep(0.05)
    await append(live, 9, 5)
    assert (await reading).batches == {live.conversation_id: [batch(9, 5)]}


async def test_waiting_tail_is_told_of_another_conversation(live: Live, tail: EventTail) -> None:
    await append(live, 3, 0)
    reading = asyncio.create_task(news_of(tail))
    await asyncio.sleep(0.1)
    await tail.follow(live.conversation_id, after=0)
    async with asyncio.timeout(4):  # less than its wait for news takes
        assert (await reading).batches == {live.conversation_id: [batch(3, 0)]}


async def test_tail_goes_back_when_somebody_follows_from_an_earlier_number(live: Live, tail: EventTail) -> None:
    await append(live, 3, 0)
    await append(live, 5, 3)
    await tail.follow(live.conversation_id, after=3)
    await news_of(tail)
    await tail.follow(live.conversation_id, after=0)
    assert (await news_of(tail)).batches == {live.conversation_id: [batch(3, 0), batch(5, 3)]}


async def test_tail_tells_nothing_of_what_nobody_follows(live: Live, tail: EventTail) -> None:
    await tail.follow(live.conversation_id, after=0)
    tail.leave(live.conversation_id)
    await append(live, 3, 0)
    turn_id = TurnId(new_id())
    await tail.next()
    await live.events.ask_stop(live.tenant_id, turn_id)
    assert await news_of(tail) == EventNews({}, [turn_id])


async def test_every_tail_is_told_of_a_stop_once(live: Live, tail: EventTail) -> None:
    before, wanted = TurnId(new_id()), TurnId(new_id())
    await live.events.ask_stop(live.tenant_id, before)
    await append(live, 3, 0)
    late = live.events.tail(live.tenant_id)
    await late.follow(live.conversation_id, after=0)
    assert (await news_of(late)).stops == []  # from here on it is told of stops
    await live.events.ask_stop(live.tenant_id, wanted)
    assert (await news_of(late)).stops == [wanted]
    await late.aclose()


# ---- the register ----


async def test_register_says_once_that_it_knows_nothing_yet(live: Live) -> None:
    assert [(await live.register.take_due(live.tenant_id, claim=CLAIM)).is_whole for _ in range(2)] == [False, True]


async def test_turn_is_due_when_its_lease_has_ended(live: Live) -> None:
    alive, dead = [TurnId(new_id()), TurnId(new_id())], TurnId(new_id())
    await live.register.hold(live.tenant_id, [], lease=LEASE)
    await live.register.hold(live.tenant_id, alive, lease=LEASE)
    await live.register.hold(live.tenant_id, [dead], lease=GONE)
    assert (await live.register.take_due(live.tenant_id, claim=CLAIM)).turn_ids == [dead]


async def test_due_turn_is_given_to_one_when_many_ask(live: Live) -> None:
    dead = TurnId(new_id())
    await live.register.hold(live.tenant_id, [dead], lease=GONE)
    takes = [live.register.take_due(live.tenant_id, claim=CLAIM) for _ in range(4)]
    assert [turn_id for due in await asyncio.gather(*takes) for turn_id in due.turn_ids] == [dead]


async def test_due_turn_is_given_again_when_its_claim_has_passed(live: Live) -> None:
    dead = TurnId(new_id())
    await live.register.hold(live.tenant_id, [dead], lease=GONE)
    short = timedelta(seconds=0.05)
    assert (await live.register.take_due(live.tenant_id, claim=short)).turn_ids == [dead]
    await asyncio.sleep(2 * short.total_seconds())
    assert (await live.register.take_due(live.tenant_id, claim=CLAIM)).turn_ids == [dead]


async def test_released_turn_is_never_due(live: Live) -> None:
    turn_id = TurnId(new_id())
    await live.register.hold(live.tenant_id, [turn_id], lease=GONE)
    await live.register.release(live.tenant_id, [turn_id, TurnId(new_id())])
    await live.register.release(live.tenant_id, [])
    assert (await live.register.take_due(live.tenant_id, claim=CLAIM)).turn_ids == []


async def test_renewed_turn_is_not_due(live: Live) -> None:
    turn_id = TurnId(new_id())
    await live.register.hold(live.tenant_id, [turn_id], lease=GONE)
    await live.register.hold(live.tenant_id, [turn_id], lease=LEASE)
    assert (await live.register.take_due(live.tenant_id, claim=CLAIM)).turn_ids == []
