"""Runs kopf inside our event loop, without letting it rule there.

kopf takes over the process's signal handlers, and at its end it cancels every task of the event loop that it does not
know. Here it keeps neither: whoever runs it takes the signals back (`spawned`), and all tasks count as somebody else's.

It asks once which kinds there are. One that is not served at that moment it would never watch, and only warn of it.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from typing import Any

import kopf
from kopf._cogs.structs.references import Insights  # kopf takes one, and gives its class no public name

from ..errors import CustomResourcesMissing


class _EveryTask(Collection[Any]):
    """Contains whatever it is asked for."""

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


async def run_framework(registry: kopf.OperatorRegistry, *, kinds: int, spawned: Callable[[], None]) -> None:
    """Run the handlers of `registry`, which are for that many kinds, until cancelled; `spawned` is called once kopf has set
    up its tasks and its signal handlers.

    Raises:
        CustomResourcesMissing: one of the kinds was not served when kopf looked.
        Exception: kopf cannot go on.
    """
    insights = Insights()
    tasks = await kopf.spawn_tasks(registry=registry, clusterwide=True, standalone=True, insights=insights)
    spawned()
    running = asyncio.create_task(kopf.run_tasks(tasks, ignored=_EveryTask()))
    looked = asyncio.create_task(insights.ready_resources.wait())
    try:
        await asyncio.wait({running, looked}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and len(insights.watched_resources) < kinds:
            raise CustomResourcesMissing("the API server did not serve all of our kinds when kopf looked for them")
        await running
    finally:
        looked.cancel()
        running.cancel()
        await asyncio.wait({running})
