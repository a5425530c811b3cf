"""What credentials are checked with, and where keys and contacts are kept."""

from collections.abc import Sequence
from typing import Protocol

from syntera_runtime.models.identity import ChallengeVerdict, Contact, KeyRecord, NewApiKey, StoredApiKey
from syntera_runtime.models.ids import ApiKeyId, ContactId, TenantId


class OperatorTokens(Protocol):
    """Tells the operator from everybody else on the internal port."""

    async def verify(self, token: str) -> None:
        """Return if `token` is a valid token of the operator for this tenant's internal API.

        Raises:
            TokenRefused: It is not.
        """
        ...


class SigningKey(Protocol):
    """The tenant's secret that other keys are derived from."""

    def secret(self) -> bytes:
        """At least 32 bytes, the same in every process of the tenant.

        Raises:
            SigningKeyMissing: There is none, or it is none.
        """
        ...


class KeySets(Protocol):
    """Where the issuers of tokens publish their keys."""

    async def fetch(self, url: str, *, ca_bundle: str | None) -> bytes:
        """What is at `url`, of a bounded size, and from there alone: redirects are not followed.

        Raises:
            IssuerUnavailable: It cannot be had.
        """
        ...


class ChallengeVerifier(Protocol):
    """The providers of challenges that tell browsers of people from programs."""

    async def verify(self, url: str, *, secret: str, response: str, address: str | None) -> ChallengeVerdict:
        """What the provider at `url` says of a response, soon; redirects are not followed.

        Raises:
            ChallengeUnavailable: It says nothing, or nothing of the response.
        """
        ...


class ApiKeyStore(Protocol):
    """The tenant's API keys. Every method may raise StoreUnavailable."""

    async def find_api_key(self, tenant_id: TenantId, lookup: str) -> StoredApiKey | None:
        """The key with that lookup part, or None."""
        ...


class KeyRegister(Protocol):
    """The same keys for those who administer them. Every method may raise StoreUnavailable."""

    async def add_api_key(self, tenant_id: TenantId, new: NewApiKey) -> KeyRecord:
        """Store a key that is the tenant's own."""
        ...

    async def list_api_keys(self, tenant_id: TenantId, *, after: ApiKeyId | None, limit: int) -> Sequence[KeyRecord]:
        """At most `limit` keys that follow `after`, or the first ones; oldest first, revoked and expired ones too."""
        ...

    async def find_key_record(self, tenant_id: TenantId, key_id: ApiKeyId) -> KeyRecord | None:
        """The key with that id, or None."""
        ...

    async def revoke_api_key(self, tenant_id: TenantId, key_id: ApiKeyId) -> None:
        """Revoke a key of the tenant's own. Of any other, and of one that was revoked before, nothing changes."""
        ...

    async def note_used(self, tenant_id: TenantId, key_ids: Sequence[ApiKeyId]) -> None:
        """Keep that these keys were used just now."""
        ...

    async def list_origins(self, tenant_id: TenantId) -> frozenset[str]:
        """The origins that the tenant's live publishable keys allow."""
        ...


class ContactStore(Protocol):
    """The tenant's customers. Every method may raise StoreUnavailable."""

    async def identify_contact(
        self, tenant_id: TenantId, external_id: str, *, name: str | None = None, email: str | None = None
    ) -> Contact:
        """The contact with that external id, seen now; made if there is none. None leaves name and email as they are."""
        ...

    async def move_conversations(self, tenant_id: TenantId, *, source: ContactId, target: ContactId) -> int:
        """Give all conversations of a contact whom nobody knows to another, and the files that no message has yet; how many
        conversations there were. A known one keeps theirs."""
        ...
