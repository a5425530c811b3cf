"""Keeps when keys were used last: noted in memory by each request, written together once a minute, in nobody's way."""

import asyncio

import structlog

from ..errors import StoreUnavailable
from ..models.ids import ApiKeyId, TenantId
from ..ports.identity import KeyRegister

WRITE_SECONDS = 60.0

log = structlog.get_logger(__name__)


class KeyUse:
    """The keys of one tenant that were used since the last writing. Somebody must `run` it."""

    def __init__(self, register: KeyRegister, tenant_id: TenantId, *, write_seconds: float = WRITE_SECONDS) -> None:
        self._register = register
        self._tenant_id = tenant_id
        self._write_seconds = write_seconds
        self._used: set[ApiKeyId] = set()

    def note(self, key_id: ApiKeyId) -> None:
        """The key was used just now. Only keys that exist may be noted."""
        self._used.add(key_id)

    async def run(self) -> None:
        """Write until cancelled. Nothing is asked of the store while nobody comes."""
        while True:
            await asyncio.sleep(self._write_seconds)
            await self.write()

    async def write(self) -> None:
        """Write what was noted. While the store is away it is kept for the next time."""
        if not self._used:
            return
        used, self._used = self._used, set()
        try:
            await self._register.note_used(self._tenant_id, sorted(used))
        except StoreUnavailable:
            self._used |= used
            log.warning("use of keys not written", keys=len(self._used))
