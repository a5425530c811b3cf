"""Runs kopf inside our event loop, without letting it rule there.

kopf takes over the process's signal handlers, and at its end it cancels every task of the event loop that it does not
know. Here it keeps neither: whoever runs it takes the signals back (`spawned`), and all tasks count as somebody else's.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import kopf


class _EveryTask(Collection[Any]):
    """Contains whatever it is asked for."""

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def run_framework(registry: kopf.OperatorRegistry, *, spawned: Callable[[], None]) -> None:
    """Run the handlers of `registry` until cancelled. Returns or raises only when kopf cannot go on.

    `spawned` is called once kopf has set up its tasks and its signal handlers.
    """
    tasks = await kopf.spawn_tasks(registry=registry, clusterwide=True, standalone=True)
    spawned()
    await kopf.run_tasks(tasks, ignored=_EveryTask())
