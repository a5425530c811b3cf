"""Where the record of administrative acts is kept."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from syntera_runtime.models.audit import Act, ActFilter
from syntera_runtime.models.ids import ActId, TenantId


class AuditLog(Protocol):
    """The record of a tenant's administrative acts. Every method may raise StoreUnavailable."""

    async def begin_act(self, tenant_id: TenantId, act: Act) -> None:
        """Write an act before it is done."""
        ...

    async def end_act(self, tenant_id: TenantId, act_id: ActId, *, status: int, targets: Mapping[str, str]) -> None:
        """Write how an act ended, once: what was written before stays as it is."""
        ...

    async def list_acts(
        self, tenant_id: TenantId, wanted: ActFilter, *, before: ActId | None, limit: int
    ) -> Sequence[Act]:
        """At most `limit` acts that were written before `before`, or the last ones; newest first."""
        ...
