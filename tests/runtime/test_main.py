"""The process from its start to its end, as the kubelet sees it: real signals, real sockets.

Nothing smaller shows that two servers on one loop end in order.
"""

import asyncio

import httpx
import pytest

from syntera_runtime.config import load_settings
from syntera_runtime.errors import ConfigurationError
from syntera_runtime.main import main, run
from tests.runtime.events import SentEvents
from tests.runtime.processes import running
from tests.runtime.test_config import NEEDED

pytestmark = pytest.mark.long

STREAM = {"Accept": "text/event-stream"}


async def read_events(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("event: ") async for line in answer.aiter_lines() if line.startswith("event: ")]


async def test_process_takes_requests_while_it_leaves_and_finishes_its_answers() -> None:
    async with running(SYNTERA_DRAIN_SECONDS="3", SYNTERA_FINISH_SECONDS="60") as served:
        first, second = await served.start(), await served.start()
        async with served.public.stream("POST", first, json={"content": "120"}, headers=STREAM) as answer:
            served.terminate()
            async with asyncio.timeout(20):
                # The signal is on its way.
                while (await served.internal.get("/readyz")).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (await served.internal.get("/readyz")).text == "draining"
            assert (await served.internal.get("/healthz")).status_code == 200
            late = await served.public.post(second, json={"content": "1"})
            assert late.status_code == 200
            events = await read_events(answer)
        assert events.count("message.delta") == 120
        assert events[-1] == "message.completed"
        assert await served.wait() == 0


async def test_process_ends_answers_that_take_too_long_and_says_so() -> None:
    async with running(SYNTERA_DRAIN_SECONDS="0", SYNTERA_FINISH_SECONDS="0.5") as served:
        messages = await served.start()
        async with served.public.stream("POST", messages, json={"content": "10000"}, headers=STREAM) as answer:
            events = SentEvents(answer)
            assert [event.name for event in await events.take(3)] == ["message.started", *["message.delta"] * 2]
            served.terminate()
            failed = (await events.until("message.failed"))[-1].data
        assert failed["error"]["code"] == "shutting-down"
        assert failed["message"]["content"].startswith("word word")
        assert await served.wait() == 0


async def test_idle_process_ends_at_once_however_often_it_is_told() -> None:
    async with running(SYNTERA_DRAIN_SECONDS="0", SYNTERA_FINISH_SECONDS="60") as served:
        served.terminate()
        served.terminate()
        assert await served.wait() == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SYNTERA_TENANT_ID", "x", "SYNTERA_TENANT_ID: "),
        ("SYNTERA_DRIAN_SECONDS", "1", "SYNTERA_DRIAN_SECONDS is no setting, perhaps SYNTERA_DRAIN_SECONDS"),
    ],
)
def test_process_says_what_is_wrong_with_its_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    for known, fit in {**NEEDED, name: value}.items():
        monkeypatch.setenv(known, fit)
    with pytest.raises(SystemExit, match=f"^syntera-runtime: {message}"):
        main()


async def test_process_says_when_there_is_no_way_to_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**NEEDED, "KUBECONFIG": "/nowhere"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="Kubernetes API cannot be reached"):
        await run(load_settings())
