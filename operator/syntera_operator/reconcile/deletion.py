"""The end of a Tenant: its Agents and KnowledgeBases where its data goes too, then its stores, then what runs, then the namespace.

The finalizer is taken away last, when all of that is provably done. A store that is away holds it; an annotation lets an
administrator give the store up.
"""

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.knowledge_base import KnowledgeBaseStatus
from syntera_crds.v1alpha1.tenant import DeletionPolicy
from syntera_kube import resources as kube

from ..causes import namespace_of_tenant, tenant_key
from ..cluster import ObjectRef, Owner
from ..conditions import Check, Problem
from ..desired.metadata import Scope
from ..desired.namespace import is_made_by_operator
from ..errors import StoreRefused, StoreUnavailable
from ..manifest import Manifest, annotations_of, is_being_deleted, name_of, resource_of, uid_of
from ..queue import Outcome
from ..stores.erasure import Receipt
from .children import ensure_binding
from .claim import find_namespace, is_namespace_of
from .context import Context
from .identity import StoreError, describe_store_error
from .knowledge_jobs import end_syncs
from .report import find_condition, read_status
from .tenant_status import report_tenant
from .vector_places import describe_left

_LOOK_AGAIN_SECONDS = 2.0
"""While Kubernetes is at work; its watches usually tell sooner."""
_CONDITIONS = {"PostgreSQL": ConditionType.DATABASE_READY, "Redis": ConditionType.CACHE_READY}


async def delete_tenant(manifest: Manifest, context: Context) -> Outcome:
    """Take the next steps of a Tenant's end.

    Raises:
        KubeError: the API server did not answer, or refused.
        StoreUnavailable: a store does not answer; the Tenant's conditions say so.
        StoreRefused: a store refused; the Tenant's conditions say so.
        LeadershipLost: this process may write no more.
    """
    cluster, owner = context.cluster, Owner.of(manifest)
    finalizers = manifest["metadata"].get("finalizers") or []
    if names.TENANT_FINALIZER not in finalizers:
        return Outcome()
    namespace = await _find_own_namespace(manifest, context)
    is_whole = namespace is not None and not is_being_deleted(namespace)
    if is_whole:
        scope = Scope(tenant=owner.name, namespace=namespace_of_tenant(manifest))
        await ensure_binding(scope, owner=owner, settings=context.settings, cluster=cluster)
    erases = _erases(manifest)
    if erases and namespace is not None and (left := await _delete_members(name_of(namespace), context)):
        return await _wait(manifest, context, f"{left} are being deleted.{_describe_held(name_of(namespace), context)}")
    if is_whole and namespace is not None and (running := await _end_syncs(name_of(namespace), context)):
        return await _wait(manifest, context, f"{running} Jobs of KnowledgeBases are being ended.")
    await _leave_stores(manifest, context, erases=erases)
    if namespace is not None and is_whole:
        await _delete_children(name_of(namespace), owner, context)
    if erases and namespace is not None and is_made_by_operator(namespace):
        if is_whole:
            await cluster.delete(kube.NAMESPACES, None, name_of(namespace), uid=uid_of(namespace))
        return await _wait(manifest, context, f"Namespace {name_of(namespace)!r} is being deleted.")
    if namespace is not None and is_whole:
        await cluster.delete_child(kube.ROLE_BINDINGS, name_of(namespace), names.OPERATOR_BINDING, owner=owner)
    cluster.set_references(tenant_key(owner.name), set())
    await cluster.set_finalizers(manifest, [one for one in finalizers if one != names.TENANT_FINALIZER])
    return Outcome()


def _erases(manifest: Manifest) -> bool:
    """Whether the data goes too. Only the exact word does it: a spec that is not sound keeps everything."""
    return (manifest.get("spec") or {}).get("deletionPolicy") == DeletionPolicy.DELETE


async def _find_own_namespace(manifest: Manifest, context: Context) -> Manifest | None:
    """The namespace, if it is there and this Tenant's."""
    name, wanted = name_of(manifest), namespace_of_tenant(manifest)
    found = await find_namespace(name, wanted, cluster=context.cluster)
    return found if found is not None and is_namespace_of(found, name) else None


async def _delete_members(namespace: str, context: Context) -> str:
    """Ask for the deletion of what lives in the namespace; what is left, empty where nothing is."""
    agents, knowledge_bases = context.cluster.agents(namespace), context.cluster.knowledge_bases(namespace)
    for member in (*agents, *knowledge_bases):
        if not is_being_deleted(member):
            await context.cluster.delete(resource_of(member), namespace, name_of(member), uid=uid_of(member))
    counted = ((len(agents), "Agents"), (len(knowledge_bases), "KnowledgeBases"))
    return " and ".join(f"{count} {kind}" for count, kind in counted if count)


def _describe_held(namespace: str, context: Context) -> str:
    """What the first of the KnowledgeBases waits for that cannot go yet; empty: none says so."""
    for member in context.cluster.knowledge_bases(namespace):
        ready = find_condition(read_status(KnowledgeBaseStatus, member), ConditionType.READY)
        if ready is not None and ready.reason == Reason.DELETING:
            return f" KnowledgeBase {name_of(member)!r}: {ready.message}"
    return ""


async def _end_syncs(namespace: str, context: Context) -> int:
    """End the syncs of KnowledgeBases that stay: nobody could log in for them. How many Jobs are left."""
    return sum([await end_syncs(one, context) for one in context.cluster.knowledge_bases(namespace)])


async def _delete_children(namespace: str, owner: Owner, context: Context) -> None:
    """Delete what was made for the Tenant, but for the right to do so."""
    binding = ObjectRef(kube.ROLE_BINDINGS, namespace, names.OPERATOR_BINDING)
    await context.cluster.prune(owner, names.TENANT_FIELD_MANAGER, {binding}, namespace=namespace)


async def _leave_stores(manifest: Manifest, context: Context, *, erases: bool) -> None:
    """Erase the tenant from the stores, or shut them to it; a store that is given up is left as it is."""
    try:
        tenant_id = await context.stores.find(name_of(manifest))
        if tenant_id is None:
            return
        if erases:
            left = await context.knowledge.list_vectors(tenant_id)
            receipt = await context.stores.erase(tenant_id)
            await context.cluster.event(manifest, type="Normal", reason="Erased", message=_describe_receipt(receipt))
            if left:
                await context.cluster.event(manifest, type="Warning", reason="VectorsLeft", message=describe_left(left))
        else:
            await context.stores.release(tenant_id)
    except (StoreUnavailable, StoreRefused) as error:
        if annotations_of(manifest).get(names.ABANDON_STORES_ANNOTATION) != "true":
            await _report_held(manifest, error, context)
            raise
        message = f"The tenant's data and logins may still be there, and nobody looks after them any more: {error}"
        await context.cluster.event(manifest, type="Warning", reason="StoresAbandoned", message=message)


async def _report_held(manifest: Manifest, error: StoreError, context: Context) -> None:
    """Say which store holds the deletion, and how to give it up."""
    name = name_of(manifest)
    held = Problem(
        Reason.DELETING,
        f"{describe_store_error(error)} Deletion waits for it. To leave the tenant's data and logins there and go on:"
        f" kubectl annotate tenant {name} {names.ABANDON_STORES_ANNOTATION}=true",
    )
    checks: dict[ConditionType, Check] = {_CONDITIONS[error.store]: Problem(Reason.UNAVAILABLE, held.message)}
    await report_tenant(manifest, context, checks, ready=held)


async def _wait(manifest: Manifest, context: Context, progress: str) -> Outcome:
    await report_tenant(manifest, context, {}, ready=Problem(Reason.DELETING, progress))
    return Outcome(_LOOK_AGAIN_SECONDS)


def _describe_receipt(receipt: Receipt) -> str:
    rows = ", ".join(f"{count} {table}" for table, count in sorted(receipt.rows.items()) if count) or "nothing"
    return f"Erased from the stores: {rows}. Receipt {receipt.id}."
