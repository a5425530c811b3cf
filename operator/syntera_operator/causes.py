"""Which objects to look at again when something changed. Pure: a change and some views in, keys out.

One rule for each kind of change. None of them decides what to do: a key too many costs a look that writes nothing, a key
too few would be a lie that stands until the slow resync.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType
from syntera_crds.v1alpha1.tenant import NAMESPACE_PREFIX
from syntera_kube import Change, Manifest

from .manifest import (
    AGENTS,
    KNOWLEDGE_BASES,
    TENANTS,
    is_being_deleted,
    is_pod_ready,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from .queue import Key

_COUNT_DELAY_SECONDS = 5.0
"""A Tenant counts its Agents at most this long after the first of many was made."""
_OWN_API = f"{names.GROUP}/"
# What the reconcile of an Agent or a KnowledgeBase reads of its Tenant's status, beside the spec.
_CONDITIONS_FOR_MEMBERS = (ConditionType.ACCEPTED, ConditionType.NAMESPACE_READY)
_STATUS_FOR_MEMBERS = ("tenantID", "namespace", "endpoint")


class Wakeup(NamedTuple):
    """A key to look at, and when."""

    key: Key
    after_seconds: float = 0.0


class Views(Protocol):
    """What the rules must know of the rest of the cluster."""

    def tenants(self) -> Iterable[Manifest]:
        """All Tenants."""

    def agents(self, namespace: str) -> Iterable[Manifest]:
        """All Agents of a namespace."""

    def knowledge_bases(self, namespace: str) -> Iterable[Manifest]:
        """All KnowledgeBases of a namespace."""

    def namespace(self, name: str) -> Manifest | None:
        """The Namespace, if it carries the label of a tenant."""


def tenant_key(name: str) -> Key:
    """The key of a Tenant."""
    return Key("Tenant", None, name)


def agent_key(namespace: str, name: str) -> Key:
    """The key of an Agent."""
    return Key("Agent", namespace, name)


def knowledge_base_key(namespace: str, name: str) -> Key:
    """The key of a KnowledgeBase."""
    return Key("KnowledgeBase", namespace, name)


def key_of(manifest: Manifest) -> Key:
    """The key of an object of one of our kinds."""
    return key_by_kind(manifest["kind"], namespace_of(manifest), name_of(manifest))


def key_by_kind(kind: str, namespace: str | None, name: str) -> Key:
    """The key of an object of a kind of ours.

    Raises:
        KeyError: the kind is none of ours.
    """
    return _KEYS[kind](namespace or "", name)


_KEYS: dict[str, Callable[[str, str], Key]] = {
    TENANTS.kind: lambda _, name: tenant_key(name),
    AGENTS.kind: agent_key,
    KNOWLEDGE_BASES.kind: knowledge_base_key,
}


def namespace_of_tenant(tenant: Manifest) -> str:
    """The namespace that a Tenant lives in."""
    return str((tenant.get("spec") or {}).get("namespace") or NAMESPACE_PREFIX + name_of(tenant))


def of_tenant(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Tenant itself, and what lives in its namespace where that depends on what changed."""
    yield Wakeup(key_of(change.object))
    if change.old is None or change.new is None or _seen_by_members(change.old) != _seen_by_members(change.new):
        yield from _members(namespace_of_tenant(change.object), views)


def of_agent(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Agent itself, and its Tenant, which counts Agents, where there is one more or less."""
    yield Wakeup(key_of(change.object))
    if change.type != "MODIFIED" and (namespace := namespace_of(change.object)):
        yield from _tenant(views.namespace(namespace), after_seconds=_COUNT_DELAY_SECONDS)


def of_knowledge_base(change: Change, views: Views) -> Iterator[Wakeup]:
    """The KnowledgeBase itself, and where its spec changed its Tenant, whose network policies let its syncs through."""
    yield Wakeup(key_of(change.object))
    is_another = change.old is None or change.new is None or _generation(change.old) != _generation(change.new)
    if is_another and (namespace := namespace_of(change.object)):
        yield from _tenant(views.namespace(namespace))


def of_job(change: Change, views: Views) -> Iterator[Wakeup]:
    """The KnowledgeBase that a Job works for, whoever made the Job: those of a CronJob have that for an owner."""
    yield from of_child(change, views)
    namespace, name = namespace_of(change.object), labels_of(change.object).get(names.KNOWLEDGE_BASE_LABEL)
    if namespace and name:
        yield Wakeup(knowledge_base_key(namespace, name))


def of_child(change: Change, views: Views) -> Iterator[Wakeup]:
    """Whoever owns the object, or owned it before."""
    for manifest in (change.old, change.new):
        if manifest is not None:
            yield from map(Wakeup, _owners(manifest, views))


def of_namespace(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Tenant that the namespace is or was labelled for, and, but for small changes, what lives in it."""
    for manifest in (change.old, change.new):
        yield from _tenant(manifest)
    if change.old is None or change.new is None or _is_another(change.old, change.new):
        yield from _members(name_of(change.object), views)


def of_runtime_pod(change: Change, views: Views) -> Iterator[Wakeup]:
    """All in the namespace where a pod came, went, or began or ceased to be ready; the Tenant where it has news of it."""
    namespace = namespace_of(change.object)
    if namespace is None:
        return
    yield from _tenant(views.namespace(namespace))
    if _seen_of_pod(change.old) != _seen_of_pod(change.new):
        yield from _agents(namespace, views)


def of_api_server(change: Change, views: Views) -> Iterator[Wakeup]:
    """All Tenants, whose network policies name the API server's addresses, where these changed."""
    old, new = ({} if manifest is None else manifest for manifest in (change.old, change.new))
    if any(old.get(part) != new.get(part) for part in ("endpoints", "ports")):
        yield from (Wakeup(key_of(tenant)) for tenant in views.tenants())


def _owners(manifest: Manifest, views: Views) -> Iterator[Key]:
    """The objects of ours that own the object.

    Whoever may write an object may name any owner; a Tenant owns nothing outside of its namespace.
    """
    namespace = namespace_of(manifest)
    if namespace is None:
        return
    for owner in manifest["metadata"].get("ownerReferences") or ():
        if not str(owner.get("apiVersion", "")).startswith(_OWN_API):
            continue
        if owner["kind"] == "Tenant" and owner["name"] == _tenant_name(views.namespace(namespace)):
            yield tenant_key(owner["name"])
        elif owner["kind"] in (AGENTS.kind, KNOWLEDGE_BASES.kind):
            yield key_by_kind(owner["kind"], namespace, owner["name"])


def _generation(manifest: Manifest) -> Any:
    return manifest["metadata"].get("generation")


def _seen_by_members(tenant: Manifest) -> Any:
    status = tenant.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return (
        uid_of(tenant),
        tenant["metadata"].get("generation"),
        is_being_deleted(tenant),
        [status.get(name) for name in _STATUS_FOR_MEMBERS],
        [conditions.get(name) for name in _CONDITIONS_FOR_MEMBERS],
    )


def _seen_of_pod(pod: Manifest | None) -> Any:
    return pod is not None and is_pod_ready(pod) and (pod["status"].get("podIP"), uid_of(pod))


def _is_another(old: Manifest, new: Manifest) -> bool:
    return (
        uid_of(old) != uid_of(new)
        or is_being_deleted(old) != is_being_deleted(new)
        or labels_of(old).get(names.TENANT_LABEL) != labels_of(new).get(names.TENANT_LABEL)
    )


def _members(namespace: str, views: Views) -> Iterator[Wakeup]:
    yield from _agents(namespace, views)
    for knowledge_base in views.knowledge_bases(namespace):
        yield Wakeup(key_of(knowledge_base))


def _agents(namespace: str, views: Views) -> Iterator[Wakeup]:
    for agent in views.agents(namespace):
        yield Wakeup(key_of(agent))


def _tenant(namespace: Manifest | None, *, after_seconds: float = 0.0) -> Iterator[Wakeup]:
    if tenant := _tenant_name(namespace):
        yield Wakeup(tenant_key(tenant), after_seconds)


def _tenant_name(namespace: Manifest | None) -> str | None:
    """The Tenant that a namespace is labelled for."""
    return labels_of(namespace).get(names.TENANT_LABEL) if namespace is not None else None
