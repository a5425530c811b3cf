"""Who is in which conversation, in memory: for tests and for trying the API without Redis."""

import time
from collections.abc import Collection, Mapping
from datetime import timedelta

from ..models.ids import ConversationId, TenantId
from ..models.presence import MOST_MEMBERS, Member, Presence, Renewal


class MemoryPresence:
    """`PresenceRegister` in memory."""

    def __init__(self) -> None:
        self._until: dict[tuple[TenantId, ConversationId], dict[Member, float]] = {}
        self._revision = 0

    async def enter(
        self, tenant_id: TenantId, conversation_id: ConversationId, member: Member, *, lease: timedelta
    ) -> Presence:
        """See `PresenceRegister`."""
        self._hold(tenant_id, conversation_id, [member], lease)
        self._forget_ended(tenant_id, conversation_id)
        return self._show(tenant_id, conversation_id)

    async def leave(self, tenant_id: TenantId, conversation_id: ConversationId, member: Member) -> Presence:
        """See `PresenceRegister`."""
        self._until.get((tenant_id, conversation_id), {}).pop(member, None)
        self._forget_ended(tenant_id, conversation_id)
        return self._show(tenant_id, conversation_id)

    async def renew(
        self, tenant_id: TenantId, members: Mapping[ConversationId, Collection[Member]], *, lease: timedelta
    ) -> Renewal:
        """See `PresenceRegister`."""
        changed, lost = {}, {}
        for conversation_id, some in members.items():
            held = self._until.get((tenant_id, conversation_id), {})
            if unknown := [member for member in some if member not in held]:
                lost[conversation_id] = unknown
            self._hold(tenant_id, conversation_id, [member for member in some if member in held], lease)
            if self._forget_ended(tenant_id, conversation_id):
                changed[conversation_id] = self._show(tenant_id, conversation_id)
        return Renewal(changed, lost)

    def _hold(
        self, tenant_id: TenantId, conversation_id: ConversationId, members: Collection[Member], lease: timedelta
    ) -> None:
        until = time.monotonic() + lease.total_seconds()
        self._until.setdefault((tenant_id, conversation_id), {}).update(dict.fromkeys(members, until))

    def _forget_ended(self, tenant_id: TenantId, conversation_id: ConversationId) -> int:
        held = self._until.get((tenant_id, conversation_id), {})
        ended = [member for member, until in held.items() if until <= time.monotonic()]
        for member in ended:
            del held[member]
        return len(ended)

    def _show(self, tenant_id: TenantId, conversation_id: ConversationId) -> Presence:
        self._revision += 1
        members = list(self._until.get((tenant_id, conversation_id), {}))
        return Presence(members[:MOST_MEMBERS], self._revision)
