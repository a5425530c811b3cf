"""Where it is kept who is in which conversation."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Protocol

from syntera_runtime.models.ids import ConversationId, TenantId
from syntera_runtime.models.presence import Member, Presence, Renewal


class PresenceRegister(Protocol):
    """Knows the members of conversations, for all processes together. Losing it means that nobody is anywhere.

    Every method may raise StoreUnavailable.
    """

    async def enter(
        self, tenant_id: TenantId, conversation_id: ConversationId, member: Member, *, lease: timedelta
    ) -> Presence:
        """Put a member into a conversation until `lease` has passed; gives who is there then."""
        ...

    async def leave(self, tenant_id: TenantId, conversation_id: ConversationId, member: Member) -> Presence:
        """Take a member out, who may have gone already; gives who is there then."""
        ...

    async def renew(
        self, tenant_id: TenantId, members: Mapping[ConversationId, Collection[Member]], *, lease: timedelta
    ) -> Renewal:
        """Keep members for `lease` from now on, where they are there: one that has left meanwhile does not come back."""
        ...
