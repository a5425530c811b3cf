"""Use cases of API keys: make one, list them, revoke one, and show what a site vouches for its users with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope

from ..errors import ApiKeyNotFound, ApiKeyProtected, ScopeNotHeld
from ..ids import new_id
from ..models.identity import KeyMaker, KeyRecord, NewApiKey, Principal, StoredApiKey
from ..models.ids import ApiKeyId, TenantId
from ..ports.identity import KeyRegister
from .derived_keys import DerivedKeys
from .key_ring import KeyRing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WantedKey:
    """What a new key shall be."""

    kind: KeyKind
    name: str
    scopes: frozenset[Scope] = frozenset()
    """Of a secret key."""
    agents: frozenset[str] | None = None
    """Of a publishable key: whom its holders may talk to. They need not exist yet."""
    allowed_origins: frozenset[str] = frozenset()
    expires_at: datetime | None = None


class KeyManagement:
    """What can be done with the keys of one tenant."""

    def __init__(self, register: KeyRegister, ring: KeyRing, derived: DerivedKeys) -> None:
        self._register = register
        self._ring = ring
        self._derived = derived

    async def create(self, principal: Principal, wanted: WantedKey) -> tuple[ApiKey, KeyRecord]:
        """Make a key. Its text is nowhere but in what is returned.

        Raises:
            ScopeNotHeld: The key would get scopes that the principal does not hold.
            StoreUnavailable: Nothing was stored.
        """
        missing = sorted(scope for scope in wanted.scopes if not principal.may(scope))
        if missing:
            raise ScopeNotHeld(f"You do not hold the scopes {', '.join(missing)} yourself.")
        key = ApiKey.generate(wanted.kind)
        stored = StoredApiKey(
            id=ApiKeyId(new_id()),
            kind=wanted.kind,
            lookup=key.lookup,
            hash=key.hash,
            scopes=frozenset(str(scope) for scope in wanted.scopes),
            expires_at=wanted.expires_at,
            agents=wanted.agents,
            allowed_origins=wanted.allowed_origins,
        )
        new = NewApiKey(key=stored, name=wanted.name, created_by=principal.subject)
        record = await self._register.add_api_key(principal.tenant_id, new)
        self._ring.forget(key.lookup)
        log.info("api key created", created_key_id=str(stored.id), kind=str(wanted.kind))
        return key, record

    async def list(self, tenant_id: TenantId, *, after: ApiKeyId | None, limit: int) -> Sequence[KeyRecord]:
        """At most `limit` keys that follow `after`, or the first ones; oldest first.

        Raises:
            StoreUnavailable: They cannot be read.
        """
        return await self._register.list_api_keys(tenant_id, after=after, limit=limit)

    async def revoke(self, tenant_id: TenantId, key_id: ApiKeyId) -> None:
        """Revoke a key; doing it again changes nothing. Here it is refused at once, elsewhere within five seconds.

        Raises:
            ApiKeyNotFound: There is none with that id.
            ApiKeyProtected: The operator made it.
            StoreUnavailable: It may not be revoked.
        """
        record = await self._find(tenant_id, key_id)
        if record.made_by is KeyMaker.OPERATOR:
            raise ApiKeyProtected
        await self._register.revoke_api_key(tenant_id, key_id)
        self._ring.forget(record.key.lookup)
        log.info("api key revoked", revoked_key_id=str(key_id))

    async def identity_secret(self, tenant_id: TenantId, key_id: ApiKeyId) -> str:
        """What a site vouches for its users with, beside a publishable key.

        Raises:
            ApiKeyNotFound: There is no publishable key with that id.
            SigningKeyMissing: There is nothing to derive it from.
            StoreUnavailable: The key cannot be looked up.
        """
        record = await self._find(tenant_id, key_id)
        if record.key.kind is not KeyKind.PUBLISHABLE:
            raise ApiKeyNotFound("Only publishable keys have an identity secret.")
        return self._derived.of_identities(key_id)

    async def _find(self, tenant_id: TenantId, key_id: ApiKeyId) -> KeyRecord:
        record = await self._register.find_key_record(tenant_id, key_id)
        if record is None:
            raise ApiKeyNotFound
        return record
