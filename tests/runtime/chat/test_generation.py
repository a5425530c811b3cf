"""One answer in the making: what is kept, and how it can end."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from syntera_crds.contract.agent_config import ModelPrice
from syntera_runtime.chat.generation import Generation, LimitedReply, News
from syntera_runtime.errors import ModelRefused, ModelTimeout, ModelUnavailable, ShuttingDown
from syntera_runtime.metrics import Metrics
from syntera_runtime.models.exchange import ModelMessage, ModelRequest, TextDelta
from syntera_runtime.models.files import ModelImage
from syntera_runtime.models.turns import TurnState, Usage
from syntera_runtime.models.usage import Budget, Cost, LimitLevel, LimitMet
from tests.runtime.builders import make_candidate
from tests.runtime.fakes import FakeChatModels, FakeUnfinishedModels


def make_generation(*script: Any, models: Any = None) -> Generation:
    models = FakeChatModels() if models is None else models
    models.scripts = [list(script)]
    return Generation(models, [make_candidate()], ModelRequest(messages=(ModelMessage("user", "Hi"),)))


async def run(generation: Generation, *, seconds: float = 5, metrics: Metrics | None = None) -> list[str]:
    told: list[News] = []
    await generation.run(told.append, seconds=seconds, metrics=metrics or Metrics())
    return [news.text for news in told if isinstance(news, TextDelta)]


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


async def test_answer_that_is_stopped_as_asked_ends_without_an_error() -> None:
    models, metrics = FakeChatModels(), Metrics()
    generation = make_generation("Hel", asyncio.Event(), models=models)
    running = asyncio.create_task(run(generation, metrics=metrics))
    await wait_for_text(generation)
    generation.stop_as_asked()
    generation.stop_as_asked()
    assert await running == ["Hel"]
    assert (generation.error, generation.text, models.closed) == (None, "Hel", 1)
    assert (generation.outcome.state, generation.outcome.failure) == (TurnState.STOPPED, None)
    labels = {"model_endpoint": "stand-in", "outcome": "stopped"}
    assert metrics.registry.get_sample_value("syntera_model_duration_seconds_count", labels) == 1


async def test_answer_that_is_stopped_as_asked_before_its_start_asks_no_model() -> None:
    models = FakeChatModels()
    generation = make_generation("Hel", models=models)
    generation.stop_as_asked()
    assert await run(generation) == []
    assert (models.asked, generation.outcome.state) == ([], TurnState.STOPPED)


async def test_lost_turn_is_no_stopped_one_though_somebody_asked() -> None:
    generation = make_generation("Hel", asyncio.Event())
    running = asyncio.create_task(run(generation))
    await wait_for_text(generation)
    generation.stop_as_asked()
    generation.stop(ShuttingDown())
    await running
    assert generation.outcome.state is TurnState.FAILED


async def test_stop_after_the_end_changes_nothing() -> None:
    generation = make_generation("Hello")
    await run(generation)
    generation.stop(ShuttingDown())
    generation.stop_as_asked()
    assert generation.error is None
    assert generation.outcome.state is TurnState.COMPLETE


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
    labels = {"model_endpoint": "stand-in", "outcome": "complete"}
    assert sample("syntera_model_duration_seconds_count", labels) == 1
    assert sample("syntera_model_first_text_seconds_count", {"model_endpoint": "stand-in"}) == 1
    labels = {"model_endpoint": "backup", "outcome": "model-unavailable"}
    assert sample("syntera_model_duration_seconds_count", labels) == 1


# ---- what it used ----

PRICE = ModelPrice(currency="EUR", input_per_million_tokens="1", output_per_million_tokens="2")
PROMPT = "x" * 30
"""10 tokens, as estimated, and 4 around them."""


def make_priced(*script: Any, models: Any = None) -> Generation:
    models = FakeChatModels() if models is None else models
    models.scripts = [list(script)]
    candidates = [make_candidate(price=PRICE), make_candidate(endpoint="backup", model="other")]
    return Generation(models, candidates, ModelRequest(messages=(ModelMessage("user", PROMPT),)))


async def test_usage_is_what_the_endpoint_says() -> None:
    generation = make_priced("Hello", Usage(3, 2))
    await run(generation)
    outcome = generation.outcome
    assert (outcome.usage, outcome.cost) == (Usage(3, 2), Cost(7000, "EUR"))
    assert (outcome.endpoint, outcome.asked_model, outcome.model) == (
        "stand-in",
        "stand-in-echo",
        "stand-in-echo-dated",
    )


@pytest.mark.parametrize(
    ("script", "usage"),
    [
        (["Hello"], Usage(14, 2, is_estimated=True)),
        (["Hel", ModelUnavailable(endpoint="stand-in")], Usage(14, 1, is_estimated=True)),
        (["Hello", Usage(-1, 2)], Usage(14, 2, is_estimated=True)),
        ([ModelTimeout(endpoint="stand-in")], Usage(14, 0, is_estimated=True)),
    ],
    ids=["not-said", "broken-off", "not-believed", "timed-out"],
)
async def test_usage_is_estimated_when_the_endpoint_does_not_say(script: list[Any], usage: Usage) -> None:
    generation = make_priced(*script)
    await run(generation)
    assert generation.outcome.usage == usage
    assert generation.outcome.cost == Cost(usage.prompt_tokens * 1000 + usage.completion_tokens * 2000, "EUR")


@pytest.mark.parametrize(("takes_images", "tokens"), [(True, 14 + 2 * 1500), (False, 14)])
async def test_images_count_in_an_estimate_where_the_model_takes_them(takes_images: bool, tokens: int) -> None:
    models = FakeChatModels()
    models.scripts = [["Hello"]]
    picture = ModelImage("a.png", "image/png", b"x")
    message = ModelMessage("user", PROMPT, images=(picture, picture))
    generation = Generation(models, [make_candidate(takes_images=takes_images)], ModelRequest(messages=(message,)))
    await run(generation)
    assert generation.used == Usage(tokens, 2, is_estimated=True)


@pytest.mark.parametrize("script", [[ModelUnavailable(endpoint="stand-in")], [ModelRefused(endpoint="stand-in")]])
async def test_nothing_is_used_when_no_model_answers(script: list[Any]) -> None:
    generation = make_priced(*script)
    await run(generation)
    generation.stop(ShuttingDown())  # too late to mean anything
    assert (generation.outcome.usage, generation.outcome.cost, generation.outcome.endpoint) == (None, None, None)


async def test_prompt_is_counted_when_somebody_stops_before_the_first_word() -> None:
    """Else nobody would pay for prompts who always leaves in time."""
    models = FakeChatModels()
    generation = make_priced(asyncio.Event(), models=models)
    running = asyncio.create_task(run(generation))
    await models.begun.wait()
    generation.stop_as_asked()
    await running
    assert generation.outcome.usage == Usage(14, 0, is_estimated=True)
    assert generation.outcome.endpoint == "stand-in"


async def test_nothing_is_used_when_it_was_stopped_before_its_start() -> None:
    generation = make_priced("Hello")
    generation.stop_as_asked()
    await run(generation)
    assert generation.outcome.usage is None


async def test_time_out_is_counted_for_the_model_that_did_not_answer() -> None:
    generation = make_priced(ModelTimeout(endpoint="backup"))
    await run(generation)
    assert (generation.outcome.endpoint, generation.outcome.asked_model, generation.outcome.cost) == (
        "backup",
        "other",
        None,
    )


async def test_limited_reply_says_its_words_and_uses_nothing() -> None:
    limit = LimitMet(Budget.TOKENS_PER_MONTH, LimitLevel.HARD)
    reply = LimitedReply("Come back\0later.", limit)
    assert await run(reply) == ["Come back\ufffdlater."]
    outcome = reply.outcome
    assert (outcome.state, outcome.limit, outcome.usage, outcome.endpoint) == (TurnState.COMPLETE, limit, None, None)


async def test_first_text_gets_to_its_reader_before_more_is_read() -> None:
    generation = make_generation("One", " two", " three")
    said: list[str] = []
    has_begun = asyncio.Event()

    def take(news: News) -> None:
        assert isinstance(news, TextDelta)
        said.append(news.text)
        has_begun.set()

    async def read() -> list[str]:
        await has_begun.wait()
        return list(said)

    reading = asyncio.create_task(read())
    await generation.run(take, seconds=5, metrics=Metrics())
    assert (await reading, said) == (["One"], ["One", " two", " three"])
