"""Which websites may use the API from a browser.

Those that the Tenant allows may always; a publishable key may allow more, for its own holders. A browser asks before it
sends (preflight) without saying who it is, so there the origins of all live keys count. Origins are compared exactly.
"""

import asyncio
import re
import time
from collections.abc import Callable

import structlog

from ..errors import OriginNotAllowed, StoreUnavailable
from ..models.identity import StoredApiKey
from ..models.ids import TenantId
from ..ports.configuration import TenantCatalogue
from ..ports.identity import KeyRegister

TTL_SECONDS = 4.0
"""A new origin opens, and a revoked key's closes, within five seconds."""
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ORIGIN = re.compile(rf"(?:(https)://{_LABEL}(?:\.{_LABEL})*|(http)://localhost)(?::([1-9][0-9]{{0,4}}))?")

log = structlog.get_logger(__name__)


def is_origin(text: str) -> bool:
    """Whether it is an origin as browsers write it: in lower case, without a path or the port that goes without saying.

    Plain http is for development, on the machine itself. Tenants name theirs by the same rule.
    """
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return False
    usual = "443" if found[1] else "80"
    return found[3] is None or (found[3] != usual and int(found[3]) <= 65535)


class Origins:
    """The origins of one tenant."""

    def __init__(
        self,
        catalogue: TenantCatalogue,
        keys: KeyRegister,
        tenant_id: TenantId,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._keys = keys
        self._tenant_id = tenant_id
        self._monotonic = monotonic
        self._of_keys: frozenset[str] = frozenset()
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    def check(self, origin: str | None, key: StoredApiKey) -> None:
        """Whether a page of `origin` may use `key`, or a token that it bought. None: no browser, or the API's own page.

        Raises:
            OriginNotAllowed: It may not.
        """
        if origin is not None and origin not in key.allowed_origins and not self._is_of_tenant(origin):
            raise OriginNotAllowed

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin` may read answers, as far as is known since `refresh`."""
        return self._is_of_tenant(origin) or origin in self._of_keys

    async def refresh(self, origin: str) -> None:
        """Learn what `allows` needs to know of `origin`. A store that is away leaves what was known before."""
        if self._is_of_tenant(origin):
            return
        async with self._reading:
            if self._read_at is not None and self._monotonic() - self._read_at < TTL_SECONDS:
                return
            try:
                self._of_keys = await self._keys.list_origins(self._tenant_id)
            except StoreUnavailable:
                log.warning("origins of publishable keys not read")
            self._read_at = self._monotonic()

    def _is_of_tenant(self, origin: str) -> bool:
        tenant = self._catalogue.tenant()
        return tenant is not None and origin in tenant.allowed_origins
