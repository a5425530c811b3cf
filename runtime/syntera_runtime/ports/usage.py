"""Where it is kept what was used. It is counted by the store of the turns, when a turn ends and in the same transaction."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from syntera_runtime.models.ids import ConversationId, TenantId
from syntera_runtime.models.usage import UsageCount, UsageGroup, UsageLine


class UsageStore(Protocol):
    """Reads the counts. They outlive conversations, messages and turns. Every method may raise StoreUnavailable."""

    async def list_usage(
        self, tenant_id: TenantId, *, since: date, until: date, group: UsageGroup
    ) -> Sequence[UsageLine]:
        """What was used from one day (UTC) to another, both included, by group and in its order."""
        ...

    async def month_tokens(self, tenant_id: TenantId) -> int:
        """Tokens that were used in this month (UTC)."""
        ...

    async def conversation_usage(self, tenant_id: TenantId, conversation_id: ConversationId) -> UsageCount | None:
        """What a conversation used, be it deleted or not. None: no turn of it has ended."""
        ...
