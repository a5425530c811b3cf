"""What the metadata of all children of a Tenant have in common."""

from dataclasses import dataclass
from typing import Any

from syntera_crds.contract import names

from ..manifest import Manifest

_PRODUCT = "syntera"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose children are built, and where they go."""

    tenant: str
    """Name of the Tenant."""
    namespace: str
    """Its namespace."""


def build_object(api_version: str, kind: str, name: str, scope: Scope, **content: Any) -> Manifest:
    """An object in the tenant's namespace; `content` are its top-level fields beside the metadata."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": scope.namespace, "labels": build_labels(scope)},
        **content,
    }


def build_labels(scope: Scope) -> dict[str, str]:
    """Labels of everything that the operator makes in the tenant's namespace."""
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        names.PART_OF_LABEL: _PRODUCT,
        names.TENANT_LABEL: scope.tenant,
    }


def build_runtime_selector(scope: Scope) -> dict[str, str]:
    """Labels that tell the runtime's pods from all others of the namespace; a Deployment's selector cannot change."""
    return {names.NAME_LABEL: names.RUNTIME, names.TENANT_LABEL: scope.tenant}


def build_runtime_labels(scope: Scope) -> dict[str, str]:
    """Labels of the runtime's pods."""
    return {
        **build_labels(scope),
        **build_runtime_selector(scope),
        names.COMPONENT_LABEL: names.RUNTIME_COMPONENT,
    }
