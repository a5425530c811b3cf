"""Compiles what a Tenant's runtime acts by: either everything is there and fits, or what was published last goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import Reason

from ..conditions import Outlook, Problem
from ..desired.metadata import Scope
from ..desired.published import MAX_BYTES, build_published_tenant, size_of_published
from ..desired.tenant_config import build_tenant_config
from ..manifest import Manifest
from .references import Resolution


@dataclass(frozen=True, slots=True)
class CompiledTenant:
    """What to publish, or why there is nothing new to publish."""

    published: Manifest | None
    problems: Sequence[Problem]
    """Empty where there is something to publish."""


def compile_tenant(scope: Scope, tenant: Tenant, issuers: Resolution) -> CompiledTenant:
    """Compile the Tenant; `issuers` is what became of the references of its issuers."""
    if issuers.problems:
        return CompiledTenant(None, issuers.problems)
    published = build_published_tenant(scope, build_tenant_config(tenant, issuers.texts))
    if (size := size_of_published(published)) > MAX_BYTES:
        message = (
            f"spec.auth.issuers: with their CA bundles the compiled configuration has {size} bytes, but a ConfigMap takes"
            f" {MAX_BYTES}; shorten the bundles."
        )
        return CompiledTenant(None, [Problem(Reason.TOO_LARGE, message, Outlook.STALLED)])
    return CompiledTenant(published, [])
