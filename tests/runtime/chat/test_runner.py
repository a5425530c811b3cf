"""The runner owns turns: leases, shutdown, what is counted."""

import asyncio
from datetime import timedelta

from syntera_runtime.chat.completions import Completion
from syntera_runtime.chat.events import CompletionEnded, CompletionFailed
from syntera_runtime.errors import ModelUnavailable, StoreUnavailable
from syntera_runtime.models import ModelMessage, ModelRequest, TurnStart, TurnState
from syntera_runtime.services import Services
from tests.runtime.builders import TENANT, make_services
from tests.runtime.fakes import FakeChatModels, FakeFailingStore

ASKED = ModelRequest(messages=(ModelMessage("user", "Hi"),))


async def start(services: Services) -> Completion:
    return await services.completions.start(TENANT, agent="travel", request=ASKED)


async def last(completion: Completion) -> CompletionEnded | CompletionFailed:
    async with asyncio.timeout(5):
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
        await store.wait_for_call("renew_lease")
    await store.begin_completion(TENANT, start=TurnStart("travel", 1, timedelta(seconds=30)))  # ends expired turns
    go_on.set()
    assert isinstance(await last(completion), CompletionEnded)


async def test_lease_survives_a_store_that_is_away_for_a_moment(
    models: FakeChatModels, store: FakeFailingStore
) -> None:
    services = make_services(store, models=models, lease_seconds=0.3)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    store.fail("renew_lease", StoreUnavailable(store="PostgreSQL"))
    completion = await start(services)
    await store.wait_for_call("renew_lease")
    await store.wait_for_call("renew_lease")
    go_on.set()
    assert isinstance(await last(completion), CompletionEnded)


async def test_turn_is_stopped_when_somebody_else_has_ended_it(models: FakeChatModels, store: FakeFailingStore) -> None:
    services = make_services(store, models=models, lease_seconds=0.15)
    models.scripts = [["Hel", asyncio.Event()]]
    completion = await start(services)
    store.expire_turns(TENANT)
    await store.begin_completion(TENANT, start=TurnStart("travel", 1, timedelta(seconds=30)))
    failed = await last(completion)
    assert isinstance(failed, CompletionFailed)
    assert failed.error.code == "turn-lost"
    assert store.find_turn(TENANT, completion.turn.id).state is TurnState.FAILED
    assert models.closed == 1


async def test_drain_waits_for_running_turns(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    completion = await start(services)
    draining = asyncio.create_task(services.runner.drain(seconds=5))
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
        draining = asyncio.create_task(services.runner.drain(seconds=5))
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
    labels = {"agent": "travel", "endpoint": "stand-in"}
    assert sample("syntera_tokens_total", {**labels, "direction": "prompt"}) == 7
    assert sample("syntera_tokens_total", {**labels, "direction": "completion"}) == 2
    await services.runner.drain(seconds=1)
    assert sample("syntera_turns_running") == 0
