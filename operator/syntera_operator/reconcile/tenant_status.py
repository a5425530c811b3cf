"""The status of a Tenant, from what a reconcile or a deletion found out."""

from collections.abc import Mapping
from uuid import UUID

from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.tenant import TenantStatus

from ..causes import namespace_of_tenant
from ..conditions import TENANT_ASPECTS, Check, Problem, build_conditions
from ..manifest import Manifest
from .context import Context
from .report import generation_of, list_news, list_wanted_news, read_status, write_status

_BEING_SET_UP = Problem(Reason.PROGRESSING, "The Tenant is being set up.")


async def report_tenant(
    manifest: Manifest,
    context: Context,
    checks: Mapping[ConditionType, Check],
    *,
    ready: Check = _BEING_SET_UP,
    **fields: str | int | None,
) -> Manifest:
    """Write the Tenant's status and give the Tenant as it is then.

    `fields` are those of `TenantStatus` that are known now; None, or leaving one out, keeps what is there.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    before = read_status(TenantStatus, manifest)
    generation = generation_of(manifest)
    status = before.model_copy(
        update={
            "observed_generation": generation,
            "conditions": build_conditions(
                TENANT_ASPECTS,
                checks,
                ready=ready,
                current=before.conditions,
                generation=generation,
                now=context.now(),
            ),
            "namespace": namespace_of_tenant(manifest),
            **{name: value for name, value in fields.items() if value is not None},
        }
    )
    news = [*list_news(before, status), *list_wanted_news(before, status)]
    return await write_status(manifest, status, cluster=context.cluster, news=news)


def known_id(manifest: Manifest) -> UUID | None:
    """The tenant's identity in the stores, as its status tells it."""
    stored = read_status(TenantStatus, manifest).tenant_id
    try:
        return UUID(stored) if stored else None
    except ValueError:
        return None
