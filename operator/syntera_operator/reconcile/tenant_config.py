"""Compiles what a Tenant's runtime acts by: either everything is there and fits, or what was published last goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import Reason
from syntera_crds.v1alpha1.tenant import ModelEndpoint

from ..conditions import Outlook, Problem
from ..desired.metadata import Scope
from ..desired.published import MAX_BYTES, build_published_tenant, size_of_published
from ..desired.tenant_config import build_tenant_config
from ..manifest import Manifest
from .references import Resolution, list_references


@dataclass(frozen=True, slots=True)
class CompiledTenant:
    """What to publish, or why there is nothing new to publish."""

    published: Manifest | None
    problems: Sequence[Problem]
    """Empty where there is something to publish."""


def compile_tenant(scope: Scope, tenant: Tenant, *, models: Resolution, issuers: Resolution) -> CompiledTenant:
    """Compile the Tenant; `models` and `issuers` are what became of the references of its model endpoints and of its issuers.

    An endpoint that cannot be reached is left out, and all of them are where their CA bundles let the rest not fit: agents and
    knowledge bases have their own.
    """
    if issuers.problems:
        return CompiledTenant(None, issuers.problems)
    endpoints = [endpoint for endpoint in tenant.spec.models if _is_reachable(endpoint, models)]
    config = build_tenant_config(tenant, {**models.texts, **issuers.texts}, endpoints=endpoints)
    published = build_published_tenant(scope, config)
    if size_of_published(published) > MAX_BYTES:
        published = build_published_tenant(scope, config.model_copy(update={"endpoints": []}))
    if (size := size_of_published(published)) > MAX_BYTES:
        message = (
            f"spec.auth.issuers: with their CA bundles the compiled configuration has {size} bytes, but a ConfigMap takes"
            f" {MAX_BYTES}; shorten the bundles."
        )
        return CompiledTenant(None, [Problem(Reason.TOO_LARGE, message, Outlook.STALLED)])
    return CompiledTenant(published, [])


def _is_reachable(endpoint: ModelEndpoint, models: Resolution) -> bool:
    """Whether the runtime may read what it takes. It would ask for a Secret that it may not read again and again."""
    references = list_references([("", endpoint)])
    return references.bundles.keys() <= models.texts.keys() and models.usable_secrets.issuperset(
        ref.name for ref in references.secrets
    )
