"""The runner owns turns: leases, shutdown, what is counted."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest

from syntera_runtime.adapters.memory_events import MemoryTurnRegister
from syntera_runtime.chat.completions import Completion
from syntera_runtime.chat.events import CompletionEnded, CompletionFailed
from syntera_runtime.chat.generation import Generation
from syntera_runtime.errors import ModelUnavailable, StoreUnavailable
from syntera_runtime.models.exchange import ModelMessage, ModelRequest
from syntera_runtime.models.ids import TenantId, TurnId
from syntera_runtime.models.turns import Said, TurnStart, TurnState
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, TENANT, make_candidate, make_services
from tests.runtime.fakes import FakeChatModels, FakeFailingStore

ASKED = ModelRequest(messages=(ModelMessage("user", "Hi"),))


async def start(services: Services) -> Completion:
    return await services.completions.start(ASKER, agent="travel", request=ASKED)


async def last(completion: Completion) -> CompletionEnded | CompletionFailed:
    async with asyncio.timeout(10):
        while True:
            event = await completion.feed.next()
            if isinstance(event, CompletionEnded | CompletionFailed):
                return event


async def test_lease_is_renewed_while_a_turn_runs(models: FakeChatModels, store: FakeFailingStore) -> None:
    services = make_services(store, models=models, lease_seconds=0.6)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    completion = await start(services)
    for _ in range(4):  # longer than the lease
        await store.wait_for_call("renew_leases")
    await store.begin_completion(TENANT, start=TurnStart("travel", 1, timedelta(seconds=30)))  # ends expired turns
    go_on.set()
    assert isinstance(await last(completion), CompletionEnded)


async def test_leases_of_all_turns_are_renewed_together(models: FakeChatModels, store: FakeFailingStore) -> None:
    """A thousand turns of one pod are one statement, not a thousand."""
    services = make_services(store, models=models, lease_seconds=0.6)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"] for _ in range(3)]
    completions = [await start(services) for _ in range(3)]
    renewed: list[int] = []
    renew = store.renew_leases

    async def count(tenant_id: TenantId, turn_ids: Sequence[TurnId], *, lease: timedelta) -> Mapping[TurnId, bool]:
        renewed.append(len(turn_ids))
        return await renew(tenant_id, turn_ids, lease=lease)

    store.renew_leases = count  # type: ignore[method-assign]
    async with asyncio.timeout(10):
        while len(renewed) < 2:  # noqa: ASYNC110 - the store is asked when the leases want it
            await asyncio.sleep(0.01)
    assert renewed[:2] == [3, 3]
    go_on.set()
    for completion in completions:
        assert isinstance(await last(completion), CompletionEnded)


async def test_lease_survives_a_store_that_is_away_for_a_moment(
    models: FakeChatModels, store: FakeFailingStore
) -> None:
    services = make_services(store, models=models, lease_seconds=0.3)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    store.fail("renew_leases", StoreUnavailable(store="PostgreSQL"))
    completion = await start(services)
    await store.wait_for_call("renew_leases")
    await store.wait_for_call("renew_leases")
    go_on.set()
    assert isinstance(await last(completion), CompletionEnded)


async def test_turn_is_stopped_when_somebody_else_has_ended_it(models: FakeChatModels, store: FakeFailingStore) -> None:
    services = make_services(store, models=models, lease_seconds=0.15)
    models.scripts = [["Hel", asyncio.Event()]]
    completion = await start(services)
    store.expire_turns(TENANT)
    for expired in await store.find_expired(TENANT):
        await store.abandon_turn(TENANT, expired, said=Said())
    failed = await last(completion)
    assert isinstance(failed, CompletionFailed)
    assert failed.error.code == "turn-lost"
    assert store.find_turn(TENANT, completion.turn.id).state is TurnState.FAILED
    assert models.closed == 1


async def test_running_turns_are_in_the_register_until_they_end(models: FakeChatModels) -> None:
    register = MemoryTurnRegister()
    services = make_services(models=models, register=register, lease_seconds=-1)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on]]
    completion = await start(services)
    await models.begun.wait()
    due = await register.take_due(TENANT, claim=timedelta(seconds=-1))
    assert due.turn_ids == [completion.turn.id]
    go_on.set()
    await last(completion)
    await services.runner.drain(seconds=10)
    assert (await register.take_due(TENANT, claim=timedelta())).turn_ids == []


@pytest.mark.parametrize("error", [StoreUnavailable(store="PostgreSQL"), RuntimeError("a fault of ours")])
async def test_turn_whose_end_is_not_stored_stays_in_the_register(
    models: FakeChatModels, store: FakeFailingStore, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.runner.STORE_SECONDS", 0.0)
    register = MemoryTurnRegister()
    services = make_services(store, models=models, register=register, lease_seconds=-1)
    store.fail("end_completion", *(error for _ in range(3)))
    completion = await start(services)
    await services.runner.drain(seconds=10)
    assert (await register.take_due(TENANT, claim=timedelta())).turn_ids == [completion.turn.id]


async def test_stop_of_a_turn_that_is_about_to_start_is_not_lost(
    models: FakeChatModels, store: FakeFailingStore
) -> None:
    services = make_services(store, models=models)
    turn = (await store.begin_completion(TENANT, start=TurnStart("travel", 1, timedelta(seconds=30)))).turn
    generation = Generation(models, [make_candidate()], ASKED)
    ended: list[object] = []
    assert not services.runner.stop(turn.id)
    services.runner.start(
        TENANT,
        turn,
        generation,
        on_news=lambda news: None,
        store_end=lambda: store.end_completion(TENANT, turn.id, outcome=generation.outcome),
        on_end=ended.append,
    )
    await services.runner.drain(seconds=10)
    assert store.find_turn(TENANT, turn.id).state is TurnState.STOPPED
    assert (
        services.metrics.registry.get_sample_value(
            "syntera_turns_total", {"agent": "travel", "kind": "completion", "outcome": "stopped"}
        )
        == 1
    )


async def test_turn_whose_end_cannot_be_told_is_held_no_more(
    models: FakeChatModels, store: FakeFailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    register = MemoryTurnRegister()
    services = make_services(store, models=models, register=register)
    monkeypatch.setattr(Completion, "end", fail)
    completion = await start(services)
    await services.runner.drain(seconds=10)
    assert store.find_turn(TENANT, completion.turn.id).state is TurnState.COMPLETE
    assert not services.runner.holds(completion.turn.id)
    assert (await register.take_due(TENANT, claim=timedelta())).turn_ids == []


async def test_drain_waits_for_running_turns(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    completion = await start(services)
    draining = asyncio.create_task(services.runner.drain(seconds=10))
    await asyncio.sleep(0.01)
    assert not draining.done()
    go_on.set()
    await draining
    assert store.find_turn(TENANT, completion.turn.id).state is TurnState.COMPLETE


async def test_drain_stops_and_stores_what_does_not_end_in_time(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    completion = await start(services)
    await services.runner.drain(seconds=0.05)
    turn = store.find_turn(TENANT, completion.turn.id)
    assert turn.failure is not None
    assert turn.failure.code == "shutting-down"


async def test_drain_waits_for_turns_that_were_admitted_before(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    with services.runner.admission():
        draining = asyncio.create_task(services.runner.drain(seconds=10))
        await asyncio.sleep(0.01)
        assert not draining.done()
    await draining


async def test_drain_twice_is_as_good_as_once(services: Services) -> None:
    await services.runner.drain(seconds=1)
    await services.runner.drain(seconds=1)
    await services.runner.aclose()


async def test_reader_is_released_when_the_runner_is_closed_at_once(services: Services, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    completion = await start(services)
    await completion.feed.peek()
    await services.runner.aclose()
    failed = await last(completion)
    assert isinstance(failed, CompletionFailed)
    assert failed.error.code == "shutting-down"


async def test_turns_and_tokens_are_counted(services: Services, models: FakeChatModels) -> None:
    await last(await start(services))
    models.scripts = [[ModelUnavailable()]]
    await last(await start(services))
    sample = services.metrics.registry.get_sample_value
    labels = {"agent": "travel", "kind": "completion"}
    assert sample("syntera_turns_total", {**labels, "outcome": "complete"}) == 1
    assert sample("syntera_turns_total", {**labels, "outcome": "model-unavailable"}) == 1
    labels = {"agent": "travel", "model_endpoint": "stand-in"}
    assert sample("syntera_tokens_total", {**labels, "direction": "prompt"}) == 7
    assert sample("syntera_tokens_total", {**labels, "direction": "completion"}) == 2
    await services.runner.drain(seconds=1)
    assert sample("syntera_turns_running") == 0
