"""Hard limits of the tenant's namespace, and the defaults that containers without figures of their own then need."""

from collections.abc import Mapping

from syntera_crds.contract import names
from syntera_crds.v1alpha1.quantity import Quantity

from ..manifest import Manifest
from .metadata import Scope, build_object
from .quantities import canonical_quantity

_DEFAULT_REQUESTS = {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "128Mi"}
_DEFAULT_LIMITS = {"cpu": "1", "memory": "512Mi", "ephemeral-storage": "1Gi"}
_ALWAYS = "memory"
"""A container without a bound on its memory endangers its node, so this one has a default in any case."""


def build_quota(scope: Scope, hard: Mapping[str, Quantity]) -> Manifest:
    """The Tenant's hard limits."""
    return build_object(
        "v1",
        "ResourceQuota",
        names.QUOTA,
        scope,
        spec={"hard": {name: canonical_quantity(hard[name]) for name in sorted(hard)}},
    )


def build_limit_range(scope: Scope, hard: Mapping[str, Quantity]) -> Manifest:
    """Defaults for containers: where a quota counts a resource, the API server refuses pods that do not state it."""
    requests = {
        name: amount
        for name, amount in _DEFAULT_REQUESTS.items()
        if name == _ALWAYS or not {name, f"requests.{name}"}.isdisjoint(hard)
    }
    limits = {name: amount for name, amount in _DEFAULT_LIMITS.items() if name == _ALWAYS or f"limits.{name}" in hard}
    return build_object(
        "v1",
        "LimitRange",
        names.QUOTA,
        scope,
        spec={"limits": [{"type": "Container", "default": limits, "defaultRequest": requests}]},
    )
