"""One answer in the making: what is kept, and how it can end."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from syntera_runtime.chat.generation import Generation
from syntera_runtime.errors import ModelRefused, ModelUnavailable, ShuttingDown
from syntera_runtime.metrics import Metrics
from syntera_runtime.models import ModelMessage, ModelRequest, TurnState, Usage
from tests.runtime.builders import make_candidate
from tests.runtime.fakes import FakeChatModels, FakeUnfinishedModels


def make_generation(*script: Any, models: Any = None) -> Generation:
    models = FakeChatModels() if models is None else models
    models.scripts = [list(script)]
    return Generation(models, [make_candidate()], ModelRequest(messages=(ModelMessage("user", "Hi"),)))


async def run(generation: Generation, *, seconds: float = 5, metrics: Metrics | None = None) -> list[str]:
    said: list[str] = []
    await generation.run(said.append, seconds=seconds, metrics=metrics or Metrics())
    return said


async def wait_for_text(generation: Generation) -> None:
    while not generation.text:  # noqa: ASYNC110  # a generation announces nothing
        await asyncio.sleep(0)


async def test_whole_answer() -> None:
    generation = make_generation("Hel", "lo", Usage(3, 2))
    assert await run(generation) == ["Hel", "lo"]
    assert generation.text == "Hello"
    assert (generation.endpoint, generation.model) == ("stand-in", "stand-in-echo-dated")
    assert (generation.usage, generation.finish_reason, generation.error) == (Usage(3, 2), "stop", None)
    assert generation.outcome.state is TurnState.COMPLETE


@pytest.mark.parametrize("usage", [Usage(-1, 2), Usage(3, 2**31)])
async def test_usage_that_cannot_be_is_not_believed(usage: Usage) -> None:
    generation = make_generation("Hello", usage)
    await run(generation)
    assert (generation.usage, generation.error) == (None, None)


async def test_text_is_kept_when_the_model_breaks_off() -> None:
    generation = make_generation("Hel", ModelUnavailable(endpoint="stand-in"))
    assert await run(generation) == ["Hel"]
    assert generation.text == "Hel"
    assert generation.outcome.failure is not None
    assert generation.outcome.failure.code == "model-unavailable"


async def test_foreign_exception_says_nothing_of_its_message() -> None:
    generation = make_generation(ValueError("what the user wrote"))
    with capture_logs() as logs:
        await run(generation)
    assert [entry["event"] for entry in logs] == ["generation broke"]
    assert generation.outcome.failure is not None
    assert generation.outcome.failure.code == "internal-error"
    assert "user wrote" not in generation.outcome.failure.detail


async def test_answer_that_ends_without_its_finish_is_broken_off() -> None:
    generation = make_generation("Hel", models=FakeUnfinishedModels())
    await run(generation)
    assert isinstance(generation.error, ModelUnavailable)


async def test_answer_is_timed_out_when_it_takes_too_long() -> None:
    models = FakeChatModels()
    generation = make_generation("Hel", asyncio.Event(), models=models)
    assert await run(generation, seconds=0.05) == ["Hel"]
    assert generation.error is not None
    assert generation.error.code == "model-timeout"
    assert models.closed == 1


async def test_stop_ends_it_with_its_reason_and_closes_the_stream() -> None:
    models = FakeChatModels()
    generation = make_generation("Hel", asyncio.Event(), models=models)
    running = asyncio.create_task(run(generation))
    await wait_for_text(generation)
    generation.stop(ShuttingDown())
    generation.stop(ModelRefused())
    assert await running == ["Hel"]
    assert isinstance(generation.error, ShuttingDown)
    assert models.closed == 1


async def test_stop_before_the_start_asks_no_model() -> None:
    models = FakeChatModels()
    generation = make_generation("Hel", models=models)
    generation.stop(ShuttingDown())
    assert await run(generation) == []
    assert models.asked == []


async def test_stop_after_the_end_changes_nothing() -> None:
    generation = make_generation("Hello")
    await run(generation)
    generation.stop(ShuttingDown())
    assert generation.error is None


async def test_cancellation_of_the_runner_passes_and_closes_the_stream() -> None:
    models = FakeChatModels()
    generation = make_generation("Hel", asyncio.Event(), models=models)
    running = asyncio.create_task(run(generation))
    await wait_for_text(generation)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert models.closed == 1


async def test_times_are_measured_by_endpoint_and_outcome() -> None:
    metrics = Metrics()
    await run(make_generation("Hello"), metrics=metrics)
    await run(make_generation(ModelUnavailable(endpoint="backup")), metrics=metrics)
    sample = metrics.registry.get_sample_value
    labels = {"endpoint": "stand-in", "outcome": "complete"}
    assert sample("syntera_model_duration_seconds_count", labels) == 1
    assert sample("syntera_model_first_text_seconds_count", {"endpoint": "stand-in"}) == 1
    labels = {"endpoint": "backup", "outcome": "model-unavailable"}
    assert sample("syntera_model_duration_seconds_count", labels) == 1
