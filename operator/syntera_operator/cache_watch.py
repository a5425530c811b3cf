"""Notices a Redis that restarted: its users may be gone with it, and no Kubernetes event tells."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

import structlog

from .errors import OperatorError

log = structlog.get_logger(__name__)

_POLL_SECONDS = 3.0


class Cache(Protocol):
    """The part of the stores that is needed here."""

    async def cache_run_id(self) -> str:
        """Names this life of the server.

        Raises:
            StoreUnavailable, StoreRefused: it does not answer, or refuses.
        """


async def watch_cache(cache: Cache, restarted: Callable[[], None], *, poll_seconds: float = _POLL_SECONDS) -> NoReturn:
    """Ask until cancelled; `restarted` is called when the answer is another than before."""
    known: str | None = None
    is_away = False
    while True:
        try:
            found = await cache.cache_run_id()
        except OperatorError as exc:
            if not is_away:
                log.warning("cache does not answer", error=str(exc))
            is_away = True
        else:
            if known not in (None, found):
                log.warning("cache restarted")
                restarted()
            known, is_away = found, False
        await asyncio.sleep(poll_seconds)
