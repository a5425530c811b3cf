"""Looks after credentials behind what stays open: streams and sockets end within five seconds of their credentials.

Each open session is checked every `CHECK_SECONDS`. That costs a comparison: keys are remembered for `key_ring.TTL_SECONDS`
for all of them together. What cannot be checked, because a store is away, stays open until it can: without that store no key
can be revoked either. Tokens end by the clock, whatever the stores do, and a slow lookup holds up its own key alone.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from ..errors import StoreUnavailable, SynteraError
from ..models.identity import Session
from .authenticator import Authenticator

CHECK_SECONDS = 0.5
"""With the four seconds for which keys are remembered, below the five in which a revocation must take effect."""
ROUND_SECONDS = 0.2
"""How long a round waits for lookups: with the two above still below five."""

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class _Watched:
    session: Session
    on_end: Callable[[SynteraError], None]


class SessionWatch:
    """The open sessions of one process. Somebody must `run` it."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._watched: set[_Watched] = set()
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By the key's lookup: what waits for the store."""

    @contextmanager
    def watch(self, session: Session, on_end: Callable[[SynteraError], None]) -> Iterator[None]:
        """Tell `on_end` once why the session is over, if that happens within the block."""
        watched = _Watched(session, on_end)
        self._watched.add(watched)
        try:
            yield
        finally:
            self._watched.discard(watched)

    async def run(self) -> None:
        """Check until cancelled."""
        try:
            while True:
                await asyncio.sleep(CHECK_SECONDS)
                try:
                    await self._check_all()
                except Exception:
                    log.exception("checking of sessions broke")
        finally:
            for asking in self._asking.values():
                asking.cancel()

    async def _check_all(self) -> None:
        """One round. Tokens come first, without a question; those of one key wait for its lookup together.

        What takes longer than a round goes on beside the next ones, which leave that key alone.
        """
        by_key: dict[str, list[_Watched]] = {}
        for watched in list(self._watched):
            try:
                self._authenticator.check_token(watched.session)
            except SynteraError as error:
                self._end(watched, error)
            else:
                if (lookup := watched.session.lookup) is not None:
                    by_key.setdefault(lookup, []).append(watched)
        for lookup, same_key in by_key.items():
            if lookup not in self._asking:
                self._asking[lookup] = asyncio.create_task(
                    self._check(lookup, same_key), name=f"session-watch-{lookup}"
                )
        if self._asking:
            await asyncio.wait(self._asking.values(), timeout=ROUND_SECONDS)

    async def _check(self, lookup: str, same_key: Sequence[_Watched]) -> None:
        try:
            for watched in same_key:
                try:
                    await self._authenticator.check(watched.session)
                except StoreUnavailable:
                    return
                except SynteraError as error:
                    self._end(watched, error)
        except Exception:
            log.exception("checking of sessions broke")
        finally:
            del self._asking[lookup]

    def _end(self, watched: _Watched, error: SynteraError) -> None:
        if watched in self._watched:
            self._watched.discard(watched)
            watched.on_end(error)
