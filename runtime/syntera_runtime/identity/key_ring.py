"""API keys are looked up, compared, and judged fit.

Keys are remembered for a few seconds, so that a request seldom waits for the store, and a revoked key is still refused
within `TTL_SECONDS` on every pod.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from syntera_crds.contract.api_key import ApiKey

from ..errors import KeyExpired, KeyRevoked, KeyUnknown
from ..models.identity import StoredApiKey
from ..models.ids import ApiKeyId, TenantId
from ..ports.identity import ApiKeyStore

TTL_SECONDS = 4.0
"""Below the five seconds in which a revocation must take effect, so that a slow lookup does not exceed them."""
MAX_REMEMBERED = 4096
"""Keys remembered at most, unknown ones included: a flood of invented keys must not grow the process."""


class KeyRing:
    """The live keys of one tenant."""

    def __init__(
        self, keys: ApiKeyStore, tenant_id: TenantId, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._tenant_id = tenant_id
        self._monotonic = monotonic
        self._remembered: OrderedDict[str, tuple[float, StoredApiKey | None]] = OrderedDict()

    async def open(self, key: ApiKey) -> StoredApiKey:
        """What is stored of a key that somebody presents.

        Raises:
            KeyUnknown: The tenant has no such key.
            KeyRevoked: The key was revoked.
            KeyExpired: The key has expired.
            StoreUnavailable: The key cannot be looked up.
        """
        stored = await self._find(key.lookup)
        if stored is None or not key.matches(stored.hash):
            raise KeyUnknown
        return _check_fit(stored)

    async def find(self, lookup: str, key_id: ApiKeyId) -> StoredApiKey:
        """A key that a token of ours names.

        Raises:
            KeyUnknown: The tenant has no such key.
            KeyRevoked: The key was revoked.
            KeyExpired: The key has expired.
            StoreUnavailable: The key cannot be looked up.
        """
        stored = await self._find(lookup)
        if stored is None or stored.id != key_id:
            raise KeyUnknown
        return _check_fit(stored)

    def forget(self, lookup: str) -> None:
        """Look the key up anew when it comes next."""
        self._remembered.pop(lookup, None)

    @property
    def remembered(self) -> int:
        """How many keys are remembered now."""
        return len(self._remembered)

    async def _find(self, lookup: str) -> StoredApiKey | None:
        asked_at = self._monotonic()
        remembered_at, stored = self._remembered.get(lookup, (None, None))
        if remembered_at is not None and asked_at - remembered_at < TTL_SECONDS:
            return stored
        stored = await self._keys.find_api_key(self._tenant_id, lookup)
        self._remembered[lookup] = (asked_at, stored)
        self._remembered.move_to_end(lookup)
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return stored


def _check_fit(stored: StoredApiKey) -> StoredApiKey:
    if stored.revoked_at is not None:
        raise KeyRevoked
    if stored.expires_at is not None and stored.expires_at <= datetime.now(UTC):
        raise KeyExpired
    return stored
