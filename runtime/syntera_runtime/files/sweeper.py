"""Removes files that nobody needs any more: those that no message got within a day, those that never came in full, and those
of conversations that were deleted.

Every pod does it: doing it twice changes nothing, and whatever one leaves behind the next one finds.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog

from ..errors import StoreUnavailable
from ..models.files import Storage, StoredBlob
from ..models.ids import FileId, TenantId
from ..ports.files import FileStore
from .service import Files

log = structlog.get_logger(__name__)

UNATTACHED_LIFE = timedelta(hours=24)
LOOK_SECONDS = 300.0
_LOOKS_PER_THOROUGH_ONE = 12
"""About once an hour every file is looked at."""
_AT_ONCE = 100


class FileSweeper:
    """Looks for files to remove."""

    def __init__(self, files: Files, store: FileStore) -> None:
        self._files = files
        self._store = store

    async def run(self, tenant_id: TenantId) -> None:
        """Look for them until cancelled."""
        for number in itertools.count():
            # First the pause: pods that start together do not all do the same.
            await asyncio.sleep(random.uniform(0.5, 1.0) * LOOK_SECONDS)  # noqa: S311  # jitter, no secret
            try:
                await self.sweep(tenant_id, is_thorough=number % _LOOKS_PER_THOROUGH_ONE == 0)
            except StoreUnavailable as error:
                log.info("files not swept", store=error.store)
            except Exception:
                log.exception("sweep of files broke")

    async def sweep(self, tenant_id: TenantId, *, is_thorough: bool = False) -> int:
        """Remove what is to go; gives how many files went.

        Args:
            is_thorough: Look for files of conversations that were deleted by who knew no files, too.

        Raises:
            StoreUnavailable: Something could not be removed; it goes next time. All else was tried.
        """
        await self._store.doom_left_files(tenant_id, unattached=UNATTACHED_LIFE)
        if is_thorough:
            await self._store.doom_orphaned_files(tenant_id)
        removed, away = 0, None
        for storage in Storage:
            async for blob in self._list_doomed(tenant_id, storage):
                try:
                    await self._files.remove(tenant_id, blob)
                    removed += 1
                except StoreUnavailable as error:  # others need not wait for it
                    away = error
        if removed:
            log.info("files removed", number=removed)
        if away is not None:
            raise away
        return removed

    async def _list_doomed(self, tenant_id: TenantId, storage: Storage) -> AsyncIterator[StoredBlob]:
        after: FileId | None = None
        while doomed := await self._store.list_doomed(tenant_id, storage, limit=_AT_ONCE, after=after):
            for blob in doomed:
                yield blob
            after = doomed[-1].file_id
