"""The tenant's namespace, and whether the operator made it or was handed it.

It has no owner reference: no garbage collection may take it. One that the operator made says in an annotation for which
Tenant; only such a one is ever deleted.
"""

from collections.abc import Mapping

from syntera_crds.contract import names

from ..manifest import Manifest, annotations_of
from .metadata import Scope, build_labels

MADE_FOR_ANNOTATION = f"{names.GROUP}/made-for"
"""On a namespace that the operator made: the uid of its Tenant."""

_POD_SECURITY = {
    f"pod-security.kubernetes.io/{mode}{suffix}": value
    for mode in ("enforce", "audit", "warn")
    for suffix, value in (("", "restricted"), ("-version", "latest"))
}


def build_namespace(scope: Scope, *, tenant_uid: str) -> Manifest:
    """A namespace of the operator's own making."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": scope.namespace,
            "labels": {**build_labels(scope), **_POD_SECURITY},
            "annotations": {MADE_FOR_ANNOTATION: tenant_uid},
        },
    }


def build_adopted_namespace(scope: Scope, *, labels: Mapping[str, str]) -> Manifest:
    """What the operator adds to a namespace that its owner handed over: Pod Security where the owner says nothing else.

    `labels` are those that the namespace has. The tenant's label stays its owner's alone, so that it can be withdrawn.
    """
    added = {label: value for label, value in _POD_SECURITY.items() if labels.get(label, value) == value}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": scope.namespace, **({"labels": added} if added else {})},
    }


def is_made_by_operator(namespace: Manifest) -> bool:
    """Whether the operator made the namespace, for this or for an earlier Tenant of the name."""
    return MADE_FOR_ANNOTATION in annotations_of(namespace)
