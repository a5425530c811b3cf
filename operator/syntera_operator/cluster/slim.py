"""What of a watched object is kept in memory. Pure.

Field managers are kept by name alone, and what `kubectl apply` stores in an annotation not at all: together they are half of
most objects. Of Secrets no value is kept.
"""

import hashlib
import sys
from functools import lru_cache
from typing import Any

from syntera_crds.contract import names

from ..manifest import Manifest, labels_of

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_POD_METADATA = ("name", "namespace", "uid", "resourceVersion", "labels", "deletionTimestamp", "creationTimestamp")
_POD_STATUS = ("phase", "podIP", "conditions", "containerStatuses")
_REFERENCE_METADATA = ("name", "namespace", "uid", "resourceVersion")


def slim(item: Manifest) -> Manifest:
    """Any object."""
    metadata = dict(item["metadata"])
    if "managedFields" in metadata:
        metadata["managedFields"] = _managers(metadata["managedFields"])
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {key: value for key, value in annotations.items() if key != _LAST_APPLIED}
    if "namespace" in metadata:
        metadata["namespace"] = sys.intern(metadata["namespace"])
    return {**item, "metadata": metadata}


def slim_pod(item: Manifest) -> Manifest:
    """A runtime pod: whether it is ready, where it is and why not."""
    return {
        "apiVersion": item["apiVersion"],
        "kind": item["kind"],
        "metadata": _only(item["metadata"], _POD_METADATA),
        "status": _only(item.get("status") or {}, _POD_STATUS),
    }


def slim_job(item: Manifest) -> Manifest:
    """A Job: of its pods nothing, which no Job changes once it is made."""
    slimmed = slim(item)
    return {**slimmed, "spec": {key: value for key, value in item.get("spec", {}).items() if key != "template"}}


def slim_secret(item: Manifest) -> Manifest:
    """A Secret: of the operator's own the digest of each value, of others the keys alone."""
    slimmed = slim(item)
    is_own = labels_of(item).get(names.USABLE_LABEL) == "false"
    data = item.get("data") or {}
    return {**slimmed, "data": digest_values(data) if is_own else dict.fromkeys(data, "")}


def slim_reference(item: Manifest) -> Manifest:
    """An object of which only the existence and the version matter."""
    return {"metadata": _only(item["metadata"], _REFERENCE_METADATA)}


def digest_values(data: dict[str, str]) -> dict[str, str]:
    """What is kept of values that are long and random, so that a change of them shows."""
    return {key: hashlib.sha256(value.encode()).hexdigest() for key, value in data.items()}


def _managers(entries: list[Manifest]) -> list[Manifest]:
    return [_manager(name) for name in sorted({str(entry.get("manager", "")) for entry in entries})]


@lru_cache(maxsize=256)
def _manager(name: str) -> Manifest:
    # Few names on very many objects: one shared entry for each.
    return {"manager": name}


def _only(source: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: source[key] for key in keys if key in source}
