"""The Tenant that an Agent or a KnowledgeBase belongs to: the one that has its namespace."""

from dataclasses import dataclass
from uuid import UUID

from syntera_crds.contract import names
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import ConditionStatus, ConditionType, Reason
from syntera_crds.validation import load_as

from ..causes import namespace_of_tenant
from ..cluster import Cluster
from ..conditions import Problem
from ..desired.metadata import Scope
from ..manifest import Manifest, is_being_deleted, labels_of
from .tenant_status import known_id


@dataclass(frozen=True, slots=True)
class Host:
    """A Tenant that something can be made for in its namespace."""

    tenant: Tenant
    tenant_id: UUID | None
    """Its identity in the stores, None while it has none."""

    @property
    def scope(self) -> Scope:
        """Where what is made goes."""
        return Scope(tenant=self.tenant.metadata.name, namespace=self.tenant.namespace)


def find_host(namespace: str, *, kind: str, cluster: Cluster) -> Host | Problem:
    """The Tenant of a namespace, from memory, or why there is none that anything can be made for now."""
    labelled = cluster.namespace(namespace)
    name = labels_of(labelled).get(names.TENANT_LABEL, "") if labelled is not None else ""
    manifest = cluster.tenant(name) if name else None
    if manifest is None or namespace_of_tenant(manifest) != namespace:
        return Problem(
            Reason.TENANT_NOT_FOUND,
            f"Namespace {namespace!r} belongs to no Tenant; create a Tenant for it, or move the {kind} to the namespace of"
            " one.",
        )
    if is_being_deleted(manifest):
        return Problem(Reason.DELETING, f"Tenant {name!r} is being deleted.")
    if _status_of(manifest, ConditionType.ACCEPTED) != ConditionStatus.TRUE:
        return _describe_not_accepted(name)
    try:
        tenant = load_as(Tenant, {**manifest, "status": {}})
    except InvalidResource:
        return _describe_not_accepted(name)
    if _status_of(manifest, ConditionType.NAMESPACE_READY) not in (ConditionStatus.TRUE, ConditionStatus.FALSE):
        return Problem(Reason.PENDING, f"Namespace {namespace!r} of Tenant {name!r} is being set up.")
    return Host(tenant, known_id(manifest))


def _status_of(manifest: Manifest, type_: ConditionType) -> str | None:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return next((one.get("status") for one in conditions if one.get("type") == type_), None)


def _describe_not_accepted(name: str) -> Problem:
    return Problem(
        Reason.TENANT_NOT_ACCEPTED, f"Tenant {name!r} is not accepted; its own conditions tell why and what to do."
    )
