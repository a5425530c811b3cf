"""The record of administrative acts in memory: for tests and for trying the API without PostgreSQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..models.audit import Act, ActFilter
from ..models.ids import ActId, TenantId


class MemoryAuditLog:
    """`AuditLog` in memory."""

    def __init__(self) -> None:
        self._acts: dict[TenantId, dict[ActId, Act]] = {}

    async def begin_act(self, tenant_id: TenantId, act: Act) -> None:
        """See `AuditLog`."""
        self._acts.setdefault(tenant_id, {})[act.id] = act

    async def end_act(self, tenant_id: TenantId, act_id: ActId, *, status: int, targets: Mapping[str, str]) -> None:
        """See `AuditLog`."""
        act = self._acts.get(tenant_id, {}).get(act_id)
        if act is not None and act.status is None:
            self._acts[tenant_id][act_id] = replace(act, status=status, targets=targets)

    async def list_acts(
        self, tenant_id: TenantId, wanted: ActFilter, *, before: ActId | None, limit: int
    ) -> Sequence[Act]:
        """See `AuditLog`."""
        acts = sorted(self._acts.get(tenant_id, {}).values(), key=lambda act: act.id, reverse=True)
        return [act for act in acts if (before is None or act.id < before) and _is_wanted(act, wanted)][:limit]


def _is_wanted(act: Act, wanted: ActFilter) -> bool:
    return (
        wanted.operation in (None, act.operation)
        and wanted.subject in (None, act.subject)
        and (wanted.at_from is None or act.at >= wanted.at_from)
        and (wanted.at_before is None or act.at < wanted.at_before)
    )
