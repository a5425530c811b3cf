"""Whether an object in the cluster is as it should be. Pure.

It is if it carries the hash of what is desired and holds every desired value: fields that others own, or that the API
server fills in, do not count. Lists are compared whole, by position.
"""

import hashlib
from typing import Any

import orjson

from syntera_crds.contract import names

from ..manifest import Manifest, annotations_of
from .model import Owner


def complete(desired: Manifest, owner: Owner | None) -> Manifest:
    """`desired` as it is sent: with owner reference, label, and the hash of all of it."""
    metadata = dict(desired["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), names.MANAGED_BY_LABEL: names.MANAGED_BY}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
            }
        ]
    hashed = {**desired, "metadata": metadata}
    annotations = {**(metadata.get("annotations") or {}), names.APPLIED_HASH_ANNOTATION: digest(hashed)}
    return {**hashed, "metadata": {**metadata, "annotations": annotations}}


def applied_hash(manifest: Manifest) -> str | None:
    """The hash that `complete` gave the object."""
    return annotations_of(manifest).get(names.APPLIED_HASH_ANNOTATION)


def digest(value: Any) -> str:
    """Equal values have equal digests, whatever the order of their keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def is_subset(desired: Any, live: Any) -> bool:
    """Whether `live` holds every value of `desired`. The API server drops empty lists and maps; that is no difference."""
    if live is None and desired in (None, {}, [], ""):
        return True
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(is_subset(value, live.get(key)) for key, value in desired.items())
    if isinstance(desired, list):
        return (
            isinstance(live, list)
            and len(desired) == len(live)
            and all(is_subset(one, other) for one, other in zip(desired, live, strict=True))
        )
    return bool(desired == live) and isinstance(desired, bool) == isinstance(live, bool)


def project(desired: Any, live: Any) -> Any:
    """What `live` says where `desired` says something."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return {key: project(value, live.get(key)) for key, value in desired.items()}
    if isinstance(desired, list) and isinstance(live, list) and len(desired) == len(live):
        return [project(one, other) for one, other in zip(desired, live, strict=True)]
    return live
