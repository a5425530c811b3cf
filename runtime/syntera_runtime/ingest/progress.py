"""How far a sync is, told to whoever watches it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, replace

import structlog

from ..errors import StoreUnavailable
from ..models.ids import TenantId
from ..models.knowledge import Failing, Sync, SyncCounts, SyncFailure
from ..ports.knowledge import KnowledgeWriter

REPORT_SECONDS = 3.0
MOST_FAILURES = 10

log = structlog.get_logger(__name__)


class Progress:
    """What one sync has done so far."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._counts = asdict(sync.counts)
        self._failures: list[SyncFailure] = []
        self.has_changed = False
        """Whether the index holds something else than before."""
        self.unembedded = 0
        """Documents that the model endpoint did not embed in full."""
        self.spared: set[bytes] = set()
        """Hashes of the texts of these: what was embedded of them is kept for the next try."""

    @property
    def sync(self) -> Sync:
        """The sync as it is now."""
        return replace(self._sync, counts=SyncCounts(**self._counts), failures=tuple(self._failures))

    def count(self, **numbers: int) -> None:
        """Add to counts, by the names that `SyncCounts` has for them."""
        for name, number in numbers.items():
            self._counts[name] += number

    def fail(self, source: str, document: str | None, reason: Failing, message: str) -> None:
        """Note what could not be taken in. A document, unlike a source as a whole, counts."""
        log.info("document failed" if document else "source failed", source=source, reason=reason.value)
        if document is not None:
            self._counts["failed"] += 1
        if len(self._failures) < MOST_FAILURES:
            self._failures.append(SyncFailure(source, document, reason, message[:512]))

    def fills(self, index_number: int) -> None:
        """Note the index."""
        self._sync = replace(self._sync, index_number=index_number)

    def will_embed(self, tokens: int) -> None:
        """Note what a rebuild is going to embed."""
        self._sync = replace(self._sync, estimated_tokens=tokens)


@contextlib.asynccontextmanager
async def reported(progress: Progress, store: KnowledgeWriter, tenant_id: TenantId) -> AsyncIterator[None]:
    """Report every few seconds while the block runs, where there is something new."""
    task = asyncio.create_task(_report(progress, store, tenant_id), name="progress of the sync")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _report(progress: Progress, store: KnowledgeWriter, tenant_id: TenantId) -> None:
    told = progress.sync
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        if (now := progress.sync) != told:
            # What matters is written by the sync itself, which notices on its own if the store is away.
            with contextlib.suppress(StoreUnavailable):
                await store.report_sync(tenant_id, now)
                told = now
