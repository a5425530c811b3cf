"""The slow safety net under the watches: every object is looked at now and then, although nothing happened.

First it compares what is in memory with what the API server has. Nothing should be missed; what was is repaired, and when
it happens twice in a row the watch is broken, which `trouble` tells.
"""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

import structlog

from syntera_kube.errors import KubeError

from .causes import Wakeup
from .errors import OperatorError
from .queue import Key

log = structlog.get_logger(__name__)

_SPREAD = 0.2
"""The looks are spread over this part of the time between two of them."""


class Checked(Protocol):
    """The part of the cluster that is needed here."""

    async def check(self) -> int:
        """Compare memory with the API server; gives how many changes had been missed."""

    def all_keys(self) -> Iterable[Key]:
        """Every object."""


class Resync:
    """Looks at everything every `seconds` or so."""

    def __init__(
        self,
        cluster: Checked,
        enqueue: Callable[[Wakeup], None],
        *,
        seconds: float,
        observer: Callable[[int | None], None] | None = None,
    ) -> None:
        """Prepare; nothing is looked at before `run`. `observer` is told of each look: how many changes had been missed,
        None where it was put off."""
        self._cluster = cluster
        self._observer = observer
        self._enqueue = enqueue
        self._seconds = seconds
        self._missed_in_a_row = 0

    def trouble(self) -> str | None:
        """What is wrong with the watches, None if nothing is known to be."""
        return "watches miss changes" if self._missed_in_a_row >= 2 else None

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(self._seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter is no secret
            await self.look()

    async def look(self) -> None:
        """Compare once, and have everything looked at."""
        try:
            missed = await self._cluster.check()
        except (KubeError, OperatorError) as exc:
            log.warning("resync put off", error=str(exc))
            self._tell(None)
            return
        self._missed_in_a_row = self._missed_in_a_row + 1 if missed else 0
        if missed:
            log.warning("changes had been missed", count=missed)
        self._tell(missed)
        for key in self._cluster.all_keys():
            self._enqueue(Wakeup(key, random.uniform(0, self._seconds * _SPREAD)))  # noqa: S311

    def _tell(self, missed: int | None) -> None:
        if self._observer is not None:
            self._observer(missed)
