"""Whether a Tenant may have the namespace that it names, and how it comes to it.

One that does not exist is made; one that does must carry the Tenant's label, which only its owner can give it. Of several
Tenants for one namespace the label decides, and where there is no namespace yet, age.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import Reason

from ..causes import namespace_of_tenant
from ..cluster import Cluster
from ..conditions import Outlook, Problem
from ..desired.metadata import Scope
from ..desired.namespace import build_adopted_namespace, build_namespace, is_made_by_operator
from ..errors import NameTaken
from ..manifest import Manifest, is_being_deleted, labels_of, name_of


@dataclass(frozen=True, slots=True)
class Claim:
    """A namespace that the Tenant may have."""

    namespace: Manifest | None
    """None: it has to be made."""


def is_namespace_of(namespace: Manifest, tenant: str) -> bool:
    """Whether the namespace's owner gave it to the Tenant of that name."""
    return labels_of(namespace).get(names.TENANT_LABEL) == tenant


async def examine_namespace(tenant: Manifest, *, cluster: Cluster, operator_namespace: str) -> Claim | Problem:
    """Find out whether the Tenant may have its namespace.

    Raises:
        KubeError: the API server did not answer, or refused.
    """
    name, wanted = name_of(tenant), namespace_of_tenant(tenant)
    if wanted in ("default", operator_namespace) or wanted.startswith("kube-"):
        return Problem(
            Reason.NAMESPACE_RESERVED,
            f"Namespace {wanted!r} belongs to Kubernetes or to the operator; name another one in spec.namespace.",
            Outlook.STALLED,
        )
    namespace = await find_namespace(name, wanted, cluster=cluster)
    if namespace is not None:
        return Claim(namespace) if is_namespace_of(namespace, name) else _describe_taken(name, namespace, cluster)
    rival = _find_older_rival(tenant, wanted, cluster.tenants())
    if rival is not None:
        return Problem(
            Reason.NAMESPACE_TAKEN,
            f"Tenant {rival!r} is older and names namespace {wanted!r} too; name another one in spec.namespace.",
            Outlook.STALLED,
        )
    return Claim(None)


async def ensure_namespace(scope: Scope, claim: Claim, *, tenant_uid: str, cluster: Cluster) -> Problem | None:
    """Make the namespace, or make it be as it should; what is in the way, if something is.

    Raises:
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    found = claim.namespace
    if found is not None and is_being_deleted(found):
        return Problem(
            Reason.PROGRESSING, f"Namespace {scope.namespace!r} is being deleted; it is made anew once it is gone."
        )
    is_adopted = found is not None and not is_made_by_operator(found)
    if found is not None and is_adopted:
        desired = build_adopted_namespace(scope, labels=labels_of(found))
    else:
        desired = build_namespace(scope, tenant_uid=tenant_uid)
    try:
        await cluster.apply(desired, owner=None, manager=names.TENANT_FIELD_MANAGER, adopt=is_adopted)
    except NameTaken:
        return Problem(Reason.PROGRESSING, f"Namespace {scope.namespace!r} was made by somebody else this very moment.")
    return None


async def find_namespace(tenant: str, name: str, *, cluster: Cluster) -> Manifest | None:
    """The namespace: from memory if it is the Tenant's there, else as the API server has it now.

    Raises:
        KubeError: the API server did not answer, or refused.
    """
    namespace = cluster.namespace(name)
    if namespace is not None and is_namespace_of(namespace, tenant):
        return namespace
    return await cluster.read_namespace(name)


def _describe_taken(tenant: str, namespace: Manifest, cluster: Cluster) -> Problem:
    """Who has it, and how it may be had; a namespace that a living Tenant has is not offered."""
    name, owner = name_of(namespace), labels_of(namespace).get(names.TENANT_LABEL)
    command = f"kubectl label namespace {name} {names.TENANT_LABEL}={tenant}"
    if owner and cluster.tenant(owner) is not None:
        message = f"Namespace {name!r} belongs to Tenant {owner!r}; name another one in spec.namespace."
    elif owner:
        message = (
            f"Namespace {name!r} belonged to Tenant {owner!r}, which is gone; name another one in spec.namespace, or, if"
            f" nothing in it is needed any more, hand it over: {command} --overwrite"
        )
    else:
        message = f"Namespace {name!r} exists already; if this Tenant is to have it, hand it over: {command}"
    return Problem(Reason.NAMESPACE_TAKEN, message, Outlook.STALLED)


def _find_older_rival(tenant: Manifest, namespace: str, tenants: Iterable[Manifest]) -> str | None:
    rivals = [other for other in tenants if namespace_of_tenant(other) == namespace]
    oldest = min([tenant, *rivals], key=_age)
    return None if name_of(oldest) == name_of(tenant) else name_of(oldest)


def _age(tenant: Manifest) -> tuple[str, str]:
    return str(tenant["metadata"].get("creationTimestamp", "")), name_of(tenant)
