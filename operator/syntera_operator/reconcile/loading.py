"""Whether the runtime's pods serve what was published: nothing is assumed, every ready pod is asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ..errors import RuntimeUnreachable
from ..manifest import Manifest
from ..runtimes import Runtimes

_AT_ONCE = 16
"""Pods of one tenant that are asked at the same time."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the pods said."""

    asked: int
    serving: int
    """How many serve what was published."""
    error: RuntimeUnreachable | None
    """Why a pod said nothing, one reason of several."""


async def ask_pods(
    pods: Sequence[Manifest], *, tenant_id: UUID, agent: str, digest: str, wait_seconds: float, runtimes: Runtimes
) -> Loaded:
    """Ask each pod whether it serves `digest`, giving it some time to load it.

    Raises:
        KubeError: no token for the pods could be had.
    """
    turns = asyncio.Semaphore(_AT_ONCE)

    async def ask(pod: Manifest) -> bool | RuntimeUnreachable:
        async with turns:
            try:
                loaded = await runtimes.loaded(
                    pod["status"]["podIP"], tenant_id, agent, digest=digest, wait_seconds=wait_seconds
                )
            except RuntimeUnreachable as error:
                return error
            return loaded is not None and loaded.digest == digest

    answers = await asyncio.gather(*(ask(pod) for pod in pods))
    return Loaded(
        asked=len(pods),
        serving=sum(answer is True for answer in answers),
        error=next((answer for answer in answers if isinstance(answer, RuntimeUnreachable)), None),
    )
