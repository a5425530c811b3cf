"""How the tenant's keys are called."""

from hashlib import blake2b
from uuid import UUID

from syntera_crds.contract.names import redis_key_prefix

from ...models.ids import ConversationId, TenantId
from ...models.limits import Charge


def events_key(tenant_id: TenantId, conversation_id: ConversationId) -> str:
    """Stream: the batches of events of a conversation, each under the number of its last event."""
    return f"{redis_key_prefix(tenant_id)}events:{conversation_id.hex}"


def stops_key(tenant_id: TenantId) -> str:
    """Stream: turns that somebody wants stopped."""
    return f"{redis_key_prefix(tenant_id)}stops"


def wake_key(tenant_id: TenantId, reader: UUID) -> str:
    """Stream: ends the waiting of one reader, who has something else to wait for."""
    return f"{redis_key_prefix(tenant_id)}wake:{reader.hex}"


def turns_key(tenant_id: TenantId) -> str:
    """Sorted set: running turns by the end of their leases, in milliseconds."""
    return f"{redis_key_prefix(tenant_id)}turns"


def limit_key(tenant_id: TenantId, charge: Charge) -> str:
    """Hash: what was counted for one limit. Whose requests they are cannot be read from the name."""
    return f"{redis_key_prefix(tenant_id)}limit:{charge.limit}:{_digest(charge.subject)}"


def streams_key(tenant_id: TenantId, person: str = "") -> str:
    """Sorted set: open streams by the end of their leases, in milliseconds. Which person's cannot be read from the name; empty:
    everybody's."""
    everybody = f"{redis_key_prefix(tenant_id)}streams"
    return f"{everybody}:{_digest(person)}" if person else everybody


def presence_key(tenant_id: TenantId, conversation_id: ConversationId) -> str:
    """Sorted set: who is in a conversation, by the ends of their leases, in milliseconds."""
    return f"{redis_key_prefix(tenant_id)}presence:{conversation_id.hex}"


def sockets_channel(tenant_id: TenantId) -> str:
    """Channel: what the tenant's processes have their sockets told."""
    return f"{redis_key_prefix(tenant_id)}sockets"


def _digest(subject: str) -> str:
    return blake2b(subject.encode(), digest_size=16).hexdigest()
