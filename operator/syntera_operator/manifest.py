"""Kubernetes objects as plain dictionaries, and the little that everybody asks of them. Pure; imports no client.

Manifests travel from `desired/` to `cluster`, and from the caches to `reconcile/`. One from a cache is shared: it must
not be changed by whoever reads it.
"""

from typing import Any

from syntera_crds.contract import names
from syntera_kube.resources import BUILT_IN, Resource

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""

TENANTS = Resource(names.GROUP, names.VERSION, "tenants", "Tenant", namespaced=False)
AGENTS = Resource(names.GROUP, names.VERSION, "agents", "Agent")
KNOWLEDGE_BASES = Resource(names.GROUP, names.VERSION, "knowledgebases", "KnowledgeBase")
OWN_KINDS = (TENANTS, AGENTS, KNOWLEDGE_BASES)


_BY_KIND = {(resource.api_version, resource.kind): resource for resource in (*BUILT_IN, *OWN_KINDS)}


def resource_of(manifest: Manifest) -> Resource:
    """Which kind the object is of.

    Raises:
        KeyError: the operator knows no such kind.
    """
    return _BY_KIND[manifest["apiVersion"], manifest["kind"]]


def name_of(manifest: Manifest) -> str:
    """The object's name."""
    return str(manifest["metadata"]["name"])


def namespace_of(manifest: Manifest) -> str | None:
    """The object's namespace, None where its kind has none."""
    namespace = manifest["metadata"].get("namespace")
    return None if namespace is None else str(namespace)


def uid_of(manifest: Manifest) -> str:
    """The object's uid, empty where it was never stored."""
    return str(manifest["metadata"].get("uid", ""))


def labels_of(manifest: Manifest) -> dict[str, str]:
    """The object's labels."""
    return manifest["metadata"].get("labels") or {}


def annotations_of(manifest: Manifest) -> dict[str, str]:
    """The object's annotations."""
    return manifest["metadata"].get("annotations") or {}


def owner_uids(manifest: Manifest) -> list[str]:
    """The uids of the object's owners."""
    return [str(owner.get("uid", "")) for owner in manifest["metadata"].get("ownerReferences") or ()]


def managers(manifest: Manifest) -> frozenset[str]:
    """The field managers that wrote the object."""
    return frozenset(str(entry.get("manager", "")) for entry in manifest["metadata"].get("managedFields") or ())


def is_being_deleted(manifest: Manifest) -> bool:
    """Whether somebody has asked for the object's deletion."""
    return "deletionTimestamp" in manifest["metadata"]


def is_pod_ready(pod: Manifest) -> bool:
    """Whether the pod takes requests: its condition Ready is True and it is not on its way out."""
    if is_being_deleted(pod):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)
