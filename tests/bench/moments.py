"""When Agents came to be as somebody waits for them to be, seen by a mirror that loses nothing when its watch is cut off.

The API server cuts off who is too slow, and in a burst of changes that is everybody now and then.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from syntera_kube import Change, KubeClient, Manifest, Reflector
from syntera_operator.manifest import AGENTS

AgentRef = tuple[str, str]
"""Namespace and name."""


class Moments:
    """For each Agent the newest generation that is as wanted, and when that was seen first."""

    def __init__(self, is_reached: Callable[[Manifest], bool]) -> None:
        self._is_reached = is_reached
        self._reached: dict[AgentRef, tuple[int, float]] = {}
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def of(cls, client: KubeClient, is_reached: Callable[[Manifest], bool]) -> AsyncIterator["Moments"]:
        """Watch all Agents until the block is left; `is_reached` judges what their statuses say of their last generation."""
        moments = cls(is_reached)
        async with asyncio.TaskGroup() as tasks:
            reflector = Reflector(client, AGENTS, on_change=moments._note)
            running = tasks.create_task(reflector.run())
            await reflector.synced.wait()
            yield moments
            running.cancel()

    async def wait(self, agent: AgentRef, generation: int) -> float:
        """When (`time.monotonic`) that generation, or a later one, was as wanted."""
        while True:
            known, since = self._reached.get(agent, (0, 0.0))
            if known >= generation:
                return since
            await self._changed.wait()

    def _note(self, change: Change) -> None:
        if change.new is None or not self._is_reached(change.new):
            return
        metadata = change.new["metadata"]
        agent = (metadata["namespace"], metadata["name"])
        generation = int(change.new["status"]["observedGeneration"])
        if generation > self._reached.get(agent, (0, 0.0))[0]:
            self._reached[agent] = (generation, time.monotonic())
            self._changed.set()
            self._changed = asyncio.Event()
