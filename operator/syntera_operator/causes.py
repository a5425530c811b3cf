"""Which objects to look at again when something changed. Pure: a change and some views in, keys out.

One rule for each kind of change. None of them decides what to do: a key too many costs a look that writes nothing, a key
too few would be a lie that stands until the slow resync.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType
from syntera_crds.v1alpha1.tenant import NAMESPACE_PREFIX
from syntera_kube import Change, Manifest

from .manifest import is_being_deleted, is_pod_ready, labels_of, name_of, namespace_of, uid_of
from .queue import Key

_COUNT_DELAY_SECONDS = 5.0
"""A Tenant counts its Agents at most this long after the first of many was made."""
_OWN_API = f"{names.GROUP}/"
# What an Agent's reconcile reads of its Tenant's status, beside the spec.
_CONDITIONS_FOR_AGENTS = (ConditionType.ACCEPTED, ConditionType.NAMESPACE_READY)
_STATUS_FOR_AGENTS = ("tenantID", "namespace", "endpoint")


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

    def namespace(self, name: str) -> Manifest | None:
        """The Namespace, if it carries the label of a tenant."""


def tenant_key(name: str) -> Key:
    """The key of a Tenant."""
    return Key("Tenant", None, name)


def agent_key(namespace: str, name: str) -> Key:
    """The key of an Agent."""
    return Key("Agent", namespace, name)


def key_of(manifest: Manifest) -> Key:
    """The key of a Tenant or an Agent."""
    namespace = namespace_of(manifest)
    return tenant_key(name_of(manifest)) if namespace is None else agent_key(namespace, name_of(manifest))


def namespace_of_tenant(tenant: Manifest) -> str:
    """The namespace that a Tenant lives in."""
    return str((tenant.get("spec") or {}).get("namespace") or NAMESPACE_PREFIX + name_of(tenant))


def of_tenant(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Tenant itself, and its Agents where they depend on what changed."""
    yield Wakeup(key_of(change.object))
    if change.old is None or change.new is None or _seen_by_agents(change.old) != _seen_by_agents(change.new):
        yield from _agents(namespace_of_tenant(change.object), views)


def of_agent(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Agent itself, and its Tenant, which counts Agents, where there is one more or less."""
    yield Wakeup(key_of(change.object))
    if change.type != "MODIFIED" and (namespace := namespace_of(change.object)):
        yield from _tenant(views.namespace(namespace), after_seconds=_COUNT_DELAY_SECONDS)


def of_child(change: Change, views: Views) -> Iterator[Wakeup]:
    """Whoever owns the object, or owned it before."""
    for manifest in (change.old, change.new):
        if manifest is not None:
            yield from map(Wakeup, _owners(manifest, views))


def of_namespace(change: Change, views: Views) -> Iterator[Wakeup]:
    """The Tenant that the namespace is or was labelled for, and, but for small changes, the Agents in it."""
    for manifest in (change.old, change.new):
        yield from _tenant(manifest)
    if change.old is None or change.new is None or _is_another(change.old, change.new):
        yield from _agents(name_of(change.object), views)


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
    """The Tenants and Agents that own the object.

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
        elif owner["kind"] == "Agent":
            yield agent_key(namespace, owner["name"])


def _seen_by_agents(tenant: Manifest) -> Any:
    status = tenant.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    return (
        uid_of(tenant),
        tenant["metadata"].get("generation"),
        is_being_deleted(tenant),
        [status.get(name) for name in _STATUS_FOR_AGENTS],
        [conditions.get(name) for name in _CONDITIONS_FOR_AGENTS],
    )


def _seen_of_pod(pod: Manifest | None) -> Any:
    return pod is not None and is_pod_ready(pod) and (pod["status"].get("podIP"), uid_of(pod))


def _is_another(old: Manifest, new: Manifest) -> bool:
    return (
        uid_of(old) != uid_of(new)
        or is_being_deleted(old) != is_being_deleted(new)
        or labels_of(old).get(names.TENANT_LABEL) != labels_of(new).get(names.TENANT_LABEL)
    )


def _agents(namespace: str, views: Views) -> Iterator[Wakeup]:
    for agent in views.agents(namespace):
        yield Wakeup(key_of(agent))


def _tenant(namespace: Manifest | None, *, after_seconds: float = 0.0) -> Iterator[Wakeup]:
    if tenant := _tenant_name(namespace):
        yield Wakeup(tenant_key(tenant), after_seconds)


def _tenant_name(namespace: Manifest | None) -> str | None:
    """The Tenant that a namespace is labelled for."""
    return labels_of(namespace).get(names.TENANT_LABEL) if namespace is not None else None
