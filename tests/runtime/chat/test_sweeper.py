"""Turns of dead processes are found and ended, and the store is left alone while nothing is due."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from syntera_runtime.adapters.memory_events import MemoryTurnRegister
from syntera_runtime.chat.event_batches import decode_events
from syntera_runtime.chat.events import ReplyFailed
from syntera_runtime.chat.sweeper import ENDED_AT_ONCE, Sweeper
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.conversations import ConversationStart
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.live_events import DueTurns
from syntera_runtime.models.turns import EVENTS_OF_A_TURN, BegunTurn, TurnStart, TurnState
from tests.runtime.builders import TENANT
from tests.runtime.fakes import FakeAbsentEventLog, FakeFailingStore

GONE = timedelta(seconds=-1)


class FakeAbsentRegister(MemoryTurnRegister):
    """A register that is away for as long as a test says."""

    is_away = False

    async def take_due(self, tenant_id: TenantId, *, claim: timedelta) -> DueTurns:
        """See `TurnRegister`."""
        if self.is_away:
            raise StoreUnavailable(store="Redis")
        return await super().take_due(tenant_id, claim=claim)


class CountingStore(FakeFailingStore):
    """Counts how often it is asked for dead turns."""

    asked = 0

    async def find_expired(self, *args: Any, **options: Any) -> Any:
        """See `TurnStore`."""
        self.asked += 1
        self._maybe_fail("find_expired")
        return await super().find_expired(*args, **options)


@pytest.fixture
def store() -> CountingStore:
    """The store."""
    return CountingStore()


@pytest.fixture
def events() -> FakeAbsentEventLog:
    """The log."""
    return FakeAbsentEventLog()


@pytest.fixture
def register() -> FakeAbsentRegister:
    """The register."""
    return FakeAbsentRegister()


@pytest.fixture
def metrics() -> Metrics:
    """What is counted."""
    return Metrics()


@pytest.fixture
def sweeper(
    store: CountingStore, events: FakeAbsentEventLog, register: FakeAbsentRegister, metrics: Metrics
) -> Sweeper:
    """The sweeper."""
    return Sweeper(store, register, events, metrics=metrics)


async def begin(store: CountingStore, register: MemoryTurnRegister, lease: timedelta = GONE) -> BegunTurn:
    """A turn of another process."""
    made = await store.add_conversation(TENANT, ConversationStart(agent="travel"), owner=None)
    start = TurnStart("travel", 3, lease)
    begun = await store.begin_turn(TENANT, made.conversation.id, owner=None, start=start, content="Hi", history=0)
    await register.hold(TENANT, [begun.turn.id], lease=lease)
    return begun


async def test_store_is_left_alone_while_nothing_is_due(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper
) -> None:
    await register.take_due(TENANT, claim=GONE)  # a register that is known to be whole
    await begin(store, register, lease=timedelta(seconds=15))
    for _ in range(3):
        await sweeper.look(TENANT)
    assert store.asked == 0


async def test_due_turn_is_ended_once_and_told(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, events: FakeAbsentEventLog, metrics: Metrics
) -> None:
    begun = await begin(store, register)
    with capture_logs() as logs:
        await sweeper.look(TENANT)
        await sweeper.look(TENANT)
    [batch] = await events.read(TENANT, begun.user_message.conversation_id, after=0)
    [event] = decode_events(batch)
    assert isinstance(event, ReplyFailed)
    assert (batch.number, batch.previous, event.error.code) == (EVENTS_OF_A_TURN, 0, "turn-abandoned")
    assert [entry["event"] for entry in logs] == ["turn abandoned"]
    labels = {"agent": "travel", "kind": "conversation", "outcome": "turn-abandoned"}
    assert metrics.registry.get_sample_value("syntera_turns_total", labels) == 1
    assert (await register.take_due(TENANT, claim=GONE)).turn_ids == []


async def test_many_are_ended_side_by_side(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, the thousandth would wait longer than was promised."""
    turns = [await begin(store, register) for _ in range(ENDED_AT_ONCE + 1)]
    abandon, entered, all_in = store.abandon_turn, 0, asyncio.Event()

    async def abandon_together(*args: Any, **options: Any) -> Any:
        nonlocal entered
        entered += 1
        if entered == ENDED_AT_ONCE:
            all_in.set()
        await all_in.wait()
        return await abandon(*args, **options)

    monkeypatch.setattr(store, "abandon_turn", abandon_together)
    async with asyncio.timeout(10):
        assert await sweeper.sweep(TENANT)
    assert entered == len(turns)
    assert await store.find_expired(TENANT) == []


async def test_completion_is_ended_too(store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper) -> None:
    turn = (await store.begin_completion(TENANT, start=TurnStart("travel", 3, GONE))).turn
    await register.hold(TENANT, [turn.id], lease=GONE)
    await sweeper.look(TENANT)
    failure = store.find_turn(TENANT, turn.id).failure
    assert failure is not None
    assert failure.code == "turn-abandoned"


async def test_turn_that_was_renewed_in_the_store_alone_goes_on(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper
) -> None:
    begun = await begin(store, register)
    await store.renew_leases(TENANT, [begun.turn.id], lease=timedelta(seconds=15))
    await sweeper.look(TENANT)
    await store.renew_leases(TENANT, [begun.turn.id], lease=timedelta(seconds=15))


async def test_due_turn_stays_due_when_the_store_is_away(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.sweeper.CLAIM", timedelta())
    begun = await begin(store, register)
    store.fail("find_expired", StoreUnavailable(store="PostgreSQL"))
    with pytest.raises(StoreUnavailable):
        await sweeper.look(TENANT)
    await sweeper.look(TENANT)
    assert store.find_turn(TENANT, begun.turn.id).failure is not None


async def test_store_is_searched_when_the_register_does_not_know_the_turn(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A register that was lost is new to whoever looks first; so is that of a tenant whose pods have all been away."""
    begun = await begin(store, MemoryTurnRegister())
    await sweeper.look(TENANT)
    assert store.find_turn(TENANT, begun.turn.id).failure is not None
    for _ in range(3):
        await sweeper.look(TENANT)
    assert store.asked == 1
    monkeypatch.setattr("syntera_runtime.chat.sweeper.STORE_LOOK_SECONDS", 0.0)
    again = await begin(store, MemoryTurnRegister())  # it had not been due when the register was new
    await sweeper.look(TENANT)
    assert store.find_turn(TENANT, again.turn.id).failure is not None


async def test_store_is_searched_now_and_then_while_the_register_is_away(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper
) -> None:
    begun = await begin(store, register)
    register.is_away = True
    for _ in range(3):
        await sweeper.look(TENANT)
    assert store.asked == 1
    assert store.find_turn(TENANT, begun.turn.id).failure is not None


async def test_turn_is_ended_without_its_text_when_the_log_is_away(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, events: FakeAbsentEventLog
) -> None:
    begun = await begin(store, register)
    events.fail(1)
    await sweeper.look(TENANT)
    reply = (await store.list_messages(TENANT, begun.user_message.conversation_id, owner=None, after=None, limit=10))[
        -1
    ]
    assert (reply.content, reply.state) == ("", "failed")


async def test_sweeper_goes_on_when_a_look_breaks(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.sweeper.LOOK_SECONDS", 0.001)
    monkeypatch.setattr("syntera_runtime.chat.sweeper.CLAIM", timedelta())
    begun = await begin(store, register)
    store.fail("find_expired", ValueError("secret"), StoreUnavailable(store="PostgreSQL"))
    with capture_logs() as logs:
        running = asyncio.create_task(sweeper.run(TENANT))
        async with asyncio.timeout(10):
            while store.find_turn(TENANT, begun.turn.id).failure is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        running.cancel()
    assert [entry["event"] for entry in logs][:2] == ["look for dead turns broke", "dead turns not looked for"]


async def test_turn_that_cannot_be_ended_keeps_no_other_from_its_end(
    store: CountingStore, register: FakeAbsentRegister, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = await begin(store, register), await begin(store, register)
    abandon = store.abandon_turn

    async def maybe_break(tenant_id: Any, expired: Any, **options: Any) -> Any:
        if expired.id == broken.turn.id:
            raise RuntimeError
        return await abandon(tenant_id, expired, **options)

    monkeypatch.setattr(store, "abandon_turn", maybe_break)
    with capture_logs() as logs:
        await sweeper.look(TENANT)
    assert store.find_turn(TENANT, other.turn.id).state is TurnState.FAILED
    assert store.find_turn(TENANT, broken.turn.id).state is TurnState.RUNNING
    assert "dead turn not ended" in [entry["event"] for entry in logs]
