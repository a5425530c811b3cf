"""A tenant's API keys."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from syntera_crds.contract.api_key import KeyKind, Scope

from .calls import Caller, Request, segment
from .models import ApiKeyInfo, CreatedApiKey, IdentitySecret, Page
from .pages import read_pages

_PATH = "/v1/api-keys"


class ApiKeys:
    """Makes, lists and revokes keys; the credentials need the scope `admin`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def create_secret(
        self, name: str, scopes: Iterable[Scope], *, expires_at: datetime | None = None
    ) -> CreatedApiKey:
        """Make a key for servers. Keep its text: it is shown this once.

        It is not tried again where the first try may have made a key that nobody has seen.
        """
        wanted = {"kind": KeyKind.SECRET, "name": name, "scopes": [str(scope) for scope in scopes]}
        return await self._create(wanted, expires_at)

    async def create_publishable(
        self,
        name: str,
        agents: Iterable[str],
        *,
        allowed_origins: Iterable[str] = (),
        expires_at: datetime | None = None,
    ) -> CreatedApiKey:
        """The same for pages of websites: the key buys tokens for visitors who talk to these agents."""
        wanted = {
            "kind": KeyKind.PUBLISHABLE,
            "name": name,
            "agents": list(agents),
            "allowedOrigins": list(allowed_origins),
        }
        return await self._create(wanted, expires_at)

    def list(self, *, page_size: int = 50) -> AsyncGenerator[ApiKeyInfo, None]:
        """All keys, oldest first, revoked and expired ones too."""
        return read_pages(self._caller, Page[ApiKeyInfo], _PATH, {"limit": page_size})

    async def revoke(self, api_key_id: UUID | str) -> None:
        """Revoke a key, within five seconds everywhere. Doing it again changes nothing.

        Raises:
            NotFound: There is no such key.
        """
        await self._caller.call(Request("DELETE", f"{_PATH}/{segment(api_key_id)}"))

    async def identity_secret(self, api_key_id: UUID | str) -> str:
        """What a site vouches for its users with, beside a publishable key.

        Raises:
            NotFound: There is no such key.
        """
        path = f"{_PATH}/{segment(api_key_id)}/identity-secret"
        return (await self._caller.get(IdentitySecret, Request("GET", path))).secret

    async def _create(self, wanted: dict[str, Any], expires_at: datetime | None) -> CreatedApiKey:
        if expires_at is not None:
            wanted["expiresAt"] = expires_at.isoformat()
        return await self._caller.get(CreatedApiKey, Request("POST", _PATH, body=wanted, is_repeatable=False))
