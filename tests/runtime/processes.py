"""Runtime processes for tests: real signals, real sockets."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.runtime.test_config import NEEDED

ROOT = Path(__file__).parents[2]


class Running:
    """A process that serves."""

    def __init__(self, process: Process, key: str, ports: dict[str, int]) -> None:
        self.process = process
        self.public = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{ports['public_port']}", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )
        self.internal = httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['internal_port']}", timeout=60)

    async def start(self) -> str:
        """Begin a conversation and give the path of its messages."""
        made = (await self.public.post("/v1/agents/travel/conversations")).json()
        return f"/v1/conversations/{made['id']}/messages"

    def freeze(self) -> None:
        """Let it stand still, as a node does that is short of everything."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it at once; it can do nothing about it."""
        self.process.kill()
        await self.process.wait()

    def terminate(self) -> None:
        """As the kubelet does."""
        self.process.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """The process's status, once it has ended."""
        async with asyncio.timeout(60):
            return await self.process.wait()


@asynccontextmanager
async def running(program: str = "fake_process", key: str | None = None, **settings: str) -> AsyncIterator[Running]:
    """A process that serves, with these settings. Without a key, the process makes one and says it first."""
    environment = {**os.environ, **NEEDED, "SYNTERA_HOST": "127.0.0.1", "SYNTERA_PUBLIC_PORT": "0"}
    environment |= {"SYNTERA_INTERNAL_PORT": "0", **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.runtime.{program}", cwd=ROOT, env=environment, stdout=PIPE
    )
    assert process.stdout is not None
    if key is None:
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
    """Return when it takes requests."""
    async with asyncio.timeout(60):
        while True:
            with suppress(httpx.TransportError):
                if (await served.internal.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)
