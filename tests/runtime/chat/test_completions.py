"""Chat completions: nothing of the text is kept, the turn always is."""

import asyncio

import pytest

from syntera_runtime.chat.completions import Completion
from syntera_runtime.chat.events import CompletionDelta, CompletionEnded, CompletionEvent, CompletionFailed
from syntera_runtime.errors import AgentNotFound, ModelUnavailable, ShuttingDown, StoreUnavailable, TurnLost
from syntera_runtime.models.exchange import ModelMessage, ModelRequest
from syntera_runtime.models.turns import Turn, TurnState, Usage
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, TENANT
from tests.runtime.fakes import FakeChatModels, FakeFailingStore

ASKED = ModelRequest(messages=(ModelMessage("user", "Hi"),), temperature=0.5, stop=("END",), extra={"seed": 1})


async def start(services: Services) -> Completion:
    return await services.completions.start(ASKER, agent="travel", request=ASKED)


async def drain(completion: Completion) -> list[CompletionEvent]:
    events = []
    async with asyncio.timeout(10):
        while (event := await completion.feed.next()) is not None:
            events.append(event)
    return events


async def stored(services: Services, store: FakeFailingStore, completion: Completion) -> Turn:
    """The turn after everything that runs has ended."""
    await services.runner.drain(seconds=10)
    return store.find_turn(TENANT, completion.turn.id)


async def test_answer_comes_piece_by_piece_with_its_usage(services: Services, store: FakeFailingStore) -> None:
    completion = await start(services)
    *deltas, ended = await drain(completion)
    assert deltas == [CompletionDelta("Hello"), CompletionDelta(" world")]
    assert isinstance(ended, CompletionEnded)
    assert (ended.text, ended.finish_reason, ended.turn.usage) == ("Hello world", "stop", Usage(7, 2))
    assert await stored(services, store, completion) == ended.turn


async def test_clients_parameters_reach_the_model(services: Services, models: FakeChatModels) -> None:
    await drain(await start(services))
    asked = models.last_request
    assert (asked.temperature, asked.stop, asked.extra) == (0.5, ("END",), {"seed": 1})
    assert [message.role for message in asked.messages] == ["system", "user"]


async def test_failed_answer_leaves_a_failed_turn(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    models.scripts = [["Hel", ModelUnavailable(endpoint="stand-in")]]
    completion = await start(services)
    assert isinstance((await drain(completion))[-1], CompletionFailed)
    turn = await stored(services, store, completion)
    assert turn.failure is not None
    assert (turn.state, turn.failure.code) == (TurnState.FAILED, "model-unavailable")


async def test_answer_stops_when_its_reader_leaves(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    completion = await start(services)
    await completion.feed.next()
    completion.abandon()
    turn = await stored(services, store, completion)
    assert turn.failure is not None
    assert turn.failure.code == "client-disconnected"
    assert models.closed == 1
    assert turn.usage is not None  # what it had used until then
    assert turn.usage.is_estimated


async def test_unknown_agent_is_refused(services: Services) -> None:
    with pytest.raises(AgentNotFound):
        await services.completions.start(ASKER, agent="nobody", request=ASKED)


async def test_no_model_is_asked_when_the_turn_cannot_be_stored(
    services: Services, models: FakeChatModels, store: FakeFailingStore
) -> None:
    store.fail("begin_completion", StoreUnavailable(store="PostgreSQL"))
    with pytest.raises(StoreUnavailable):
        await start(services)
    assert models.asked == []


async def test_answer_is_given_even_if_its_usage_cannot_be_stored(
    services: Services, store: FakeFailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syntera_runtime.chat.runner.STORE_SECONDS", 0.0)
    store.fail("end_completion", *(StoreUnavailable(store="PostgreSQL") for _ in range(3)))
    ended = (await drain(await start(services)))[-1]
    assert isinstance(ended, CompletionEnded)
    assert (ended.text, ended.turn.usage) == ("Hello world", Usage(7, 2))


async def test_answer_is_not_given_when_its_turn_was_lost(services: Services, store: FakeFailingStore) -> None:
    store.fail("end_completion", TurnLost())
    failed = (await drain(await start(services)))[-1]
    assert isinstance(failed, CompletionFailed)
    assert failed.error.code == "turn-lost"


async def test_no_answer_is_begun_after_the_drain(services: Services) -> None:
    await services.runner.drain(seconds=0)
    with pytest.raises(ShuttingDown):
        await start(services)
