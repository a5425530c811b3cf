"""The process from its start to its end, as the kubelet sees it: real signals, real sockets.

Nothing smaller shows that two servers on one loop end in order.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from syntera_runtime.config import load_settings
from syntera_runtime.errors import ConfigurationError
from syntera_runtime.main import main, run
from tests.runtime.test_config import NEEDED

ROOT = Path(__file__).parents[2]
STREAM = {"Accept": "text/event-stream"}


class Running:
    """A process that serves."""

    def __init__(self, process: Process, key: str, ports: dict[str, int]) -> None:
        self.process = process
        self.public = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports['public_port']}", headers={"Authorization": f"Bearer {key}"}, timeout=20
        )
        self.internal = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['internal_port']}", timeout=20)

    async def start(self) -> str:
        """Begin a conversation and give the path of its messages."""
        made = (await self.public.post("/v1/agents/travel/conversations")).json()
        return f"/v1/conversations/{made['id']}/messages"

    def terminate(self) -> None:
        """As the kubelet does."""
        self.process.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """The process's status, once it has ended."""
        async with asyncio.timeout(20):
            return await self.process.wait()


@asynccontextmanager
async def running(**settings: str) -> AsyncIterator[Running]:
    environment = {**os.environ, **NEEDED, "SYNTERA_HOST": "127.0.0.1", "SYNTERA_PUBLIC_PORT": "0"}
    environment |= {"SYNTERA_INTERNAL_PORT": "0", **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.runtime.fake_process", cwd=ROOT, env=environment, stdout=PIPE
    )
    assert process.stdout is not None
    key = (await process.stdout.readline()).decode().strip()
    serving: dict[str, Any] = json.loads(await process.stdout.readline())
    assert serving["event"] == "serving"
    served = Running(process, key, serving)
    reading = asyncio.create_task(process.stdout.read())  # or its log would block it
    try:
        async with served.public, served.internal:
            await until_ready(served)
            yield served
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def until_ready(served: Running) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await served.internal.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.02)


async def read_events(answer: httpx.Response) -> list[str]:
    return [line.removeprefix("event: ") async for line in answer.aiter_lines() if line.startswith("event: ")]


async def test_process_takes_requests_while_it_leaves_and_finishes_its_answers() -> None:
    async with running(SYNTERA_DRAIN_SECONDS="1", SYNTERA_FINISH_SECONDS="10") as served:
        first, second = await served.start(), await served.start()
        async with served.public.stream("POST", first, json={"content": "60"}, headers=STREAM) as answer:
            served.terminate()
            async with asyncio.timeout(5):
                # The signal is on its way.
                while (await served.internal.get("/readyz")).status_code == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (await served.internal.get("/readyz")).text == "draining"
            assert (await served.internal.get("/healthz")).status_code == 200
            late = await served.public.post(second, json={"content": "1"})
            assert late.status_code == 200
            events = await read_events(answer)
        assert events.count("message.delta") == 60
        assert events[-1] == "message.completed"
        assert await served.wait() == 0


async def test_process_ends_answers_that_take_too_long_and_says_so() -> None:
    async with running(SYNTERA_DRAIN_SECONDS="0", SYNTERA_FINISH_SECONDS="0.5") as served:
        messages = await served.start()
        async with served.public.stream("POST", messages, json={"content": "10000"}, headers=STREAM) as answer:
            served.terminate()
            lines = [line async for line in answer.aiter_lines()]
        failed = json.loads(next(line for line in reversed(lines) if line.startswith("data: ")).removeprefix("data: "))
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
