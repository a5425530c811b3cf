"""Makes the cluster and the stores be as a Tenant says: gather, build, apply, report.

A Tenant that is not accepted changes nothing but its own conditions: what its last sound spec made goes on serving.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from syntera_crds.contract import names
from syntera_crds.errors import InvalidResource
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import ConditionType, Reason
from syntera_crds.v1alpha1.tenant import TenantStatus
from syntera_crds.validation import load_as
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden

from ..causes import tenant_key
from ..cluster import Owner
from ..conditions import Check, Good, Outlook, Problem, join_problems
from ..desired.destinations import destination_of, list_egress, list_urls
from ..desired.exposure import build_endpoint
from ..desired.metadata import Scope
from ..errors import NameTaken
from ..manifest import Manifest, is_being_deleted
from ..queue import Outcome
from .children import (
    Applied,
    Surroundings,
    apply_children,
    build_children,
    describe_name_taken,
    ensure_binding,
    wanted_replicas,
)
from .claim import Claim, ensure_namespace, examine_namespace
from .context import Context
from .deletion import delete_tenant
from .identity import ensure_identity
from .knowledge_compiling import list_source_destinations
from .readiness import check_runtime, check_suspended
from .references import Resolution, check_of, list_issuer_references, list_references, list_service_references, resolve
from .report import read_status
from .signing import ensure_signing_key
from .tenant_config import CompiledTenant, compile_tenant
from .tenant_status import known_id, report_tenant

_LOOK_AGAIN_SECONDS = 15.0
"""Where something that nobody watches, such as a stranger's object, stands in the way."""
_ACCEPTED = Good(Reason.ACCEPTED, "The spec is sound.")


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A Tenant that may have what it asks for."""

    tenant: Tenant
    claim: Claim


async def reconcile_tenant(name: str, context: Context) -> Outcome:
    """Bring one Tenant to what its spec says, as far as it goes now.

    Raises:
        KubeError: the API server did not answer, or refused.
        StoreUnavailable: a store does not answer; the Tenant's conditions say so.
        StoreRefused: a store refused; the Tenant's conditions say so.
        LeadershipLost: this process may write no more.
    """
    manifest = context.cluster.tenant(name)
    if manifest is None:
        context.cluster.set_references(tenant_key(name), set())
        return Outcome()
    if is_being_deleted(manifest):
        return await delete_tenant(manifest, context)
    accepted = await _accept(manifest, context)
    if isinstance(accepted, Problem):
        await report_tenant(manifest, context, {ConditionType.ACCEPTED: accepted})
        return Outcome(_LOOK_AGAIN_SECONDS if accepted.reason is Reason.NAMESPACE_TAKEN else None)
    manifest = await _begin(manifest, context)
    checks: dict[ConditionType, Check] = {ConditionType.ACCEPTED: _ACCEPTED}
    try:
        return await _provide(manifest, accepted, checks, context)
    except NameTaken as error:
        checks[ConditionType.NAMESPACE_READY] = describe_name_taken(error)
        await report_tenant(manifest, context, checks)
        return Outcome(_LOOK_AGAIN_SECONDS)
    except Forbidden as error:
        problem = Problem(Reason.UNAVAILABLE, f"The operator may not work in the namespace yet: {error.message}")
        checks[ConditionType.NAMESPACE_READY] = problem
        await report_tenant(manifest, context, checks)
        raise


async def _accept(manifest: Manifest, context: Context) -> _Accepted | Problem:
    """Find out whether the spec is sound and the namespace free."""
    try:
        tenant = load_as(Tenant, {**manifest, "status": {}})
    except InvalidResource as error:
        return Problem(Reason.INVALID, "; ".join(map(str, error.faults)) + ".", Outlook.STALLED)
    for field, url in list_urls(tenant):
        try:
            destination_of(url, own_namespace=tenant.namespace)
        except ValueError as error:
            return Problem(Reason.INVALID, f"{field}: {error}.", Outlook.STALLED)
    try:
        list(list_egress(tenant))
    except ValueError as error:
        return Problem(Reason.INVALID, f"{error}.", Outlook.STALLED)
    claim = await examine_namespace(
        manifest, cluster=context.cluster, operator_namespace=context.settings.operator_namespace
    )
    return claim if isinstance(claim, Problem) else _Accepted(tenant, claim)


async def _begin(manifest: Manifest, context: Context) -> Manifest:
    """Take the Tenant in charge before anything is made for it, and say so on the first visit."""
    finalizers = manifest["metadata"].get("finalizers") or []
    if names.TENANT_FINALIZER not in finalizers:
        await context.cluster.set_finalizers(manifest, [*finalizers, names.TENANT_FINALIZER])
    if read_status(TenantStatus, manifest).observed_generation is not None:
        return manifest
    return await report_tenant(manifest, context, {ConditionType.ACCEPTED: _ACCEPTED})


async def _provide(
    manifest: Manifest, accepted: _Accepted, checks: dict[ConditionType, Check], context: Context
) -> Outcome:
    """Make everything that the Tenant needs; what was found out on the way goes into `checks`."""
    tenant, cluster = accepted.tenant, context.cluster
    scope, owner = Scope(tenant=tenant.metadata.name, namespace=tenant.namespace), Owner.of(manifest)
    blocked = await ensure_namespace(scope, accepted.claim, tenant_uid=owner.uid, cluster=cluster)
    if blocked is not None:
        await report_tenant(manifest, context, checks | {ConditionType.NAMESPACE_READY: blocked})
        return Outcome(_LOOK_AGAIN_SECONDS)
    await ensure_binding(scope, owner=owner, settings=context.settings, cluster=cluster)

    identity = await ensure_identity(scope, tenant_uid=owner.uid, known_id=known_id(manifest), context=context)
    signing = await ensure_signing_key(scope, cluster=cluster)
    models, issuers, services = await _resolve(tenant, context)
    compiled = compile_tenant(scope, tenant, models=models, issuers=issuers)
    surroundings = Surroundings(
        tenant_id=identity.tenant_id,
        secrets=[*identity.secrets, signing],
        has_credentials=identity.is_complete,
        published=compiled.published,
        usable_secrets=models.usable_secrets | services.usable_secrets,
        api_server=cluster.api_server_addresses(),
        sources=list_source_destinations(cluster.knowledge_bases(tenant.namespace), tenant),
    )
    children = build_children(scope, tenant, surroundings, context.settings)
    applied = await apply_children(scope, children, owner=owner, cluster=cluster)

    checks |= identity.checks
    checks[ConditionType.RESOLVED_REFS] = _check_references(
        scope, [*models.problems, *services.problems], compiled, context
    )
    checks[ConditionType.NAMESPACE_READY] = join_problems(
        applied.namespace_problems,
        good=Good(Reason.UP_TO_DATE, f"Namespace {scope.namespace!r} holds what it should."),
    )
    checks[ConditionType.RUNTIME_READY] = _check_runtime(tenant, applied, context)
    endpoint = build_endpoint(scope, tenant.spec.exposure)
    await report_tenant(
        manifest,
        context,
        checks,
        ready=Good(Reason.SERVING, f"The Tenant serves at {endpoint}."),
        tenant_id=None if identity.tenant_id is None else str(identity.tenant_id),
        endpoint=endpoint,
        agents=len(cluster.agents(scope.namespace)),
        knowledge_bases=len(cluster.knowledge_bases(scope.namespace)),
    )
    errors = [*applied.errors, *([identity.error] if identity.error else ())]
    if errors:
        raise errors[0]
    return Outcome(_LOOK_AGAIN_SECONDS if applied.is_blocked_by_others else None)


async def _resolve(tenant: Tenant, context: Context) -> tuple[Resolution, Resolution, Resolution]:
    """Look up what the model endpoints, the issuers, the challenge and the store of files refer to, now and whenever it changes."""
    cluster, namespace = context.cluster, tenant.namespace
    endpoints = ((f"spec.models[{index}].", endpoint) for index, endpoint in enumerate(tenant.spec.models))
    models, issuers = list_references(endpoints), list_issuer_references(tenant.spec.auth.issuers)
    services = list_service_references(tenant.spec)
    causes = models.causes(namespace) | issuers.causes(namespace) | services.causes(namespace)
    cluster.set_references(tenant_key(tenant.metadata.name), causes)
    return (
        await resolve(models, namespace=namespace, cluster=cluster),
        await resolve(issuers, namespace=namespace, cluster=cluster),
        await resolve(services, namespace=namespace, cluster=cluster),
    )


def _check_references(scope: Scope, problems: Sequence[Problem], compiled: CompiledTenant, context: Context) -> Check:
    """Whether everything was found; where nothing new could be published, that what was published before goes on."""
    check = check_of([*problems, *compiled.problems])
    has_published = context.cluster.child(kube.CONFIG_MAPS, scope.namespace, names.TENANT_CONFIG) is not None
    if isinstance(check, Good) or compiled.published is not None or not has_published:
        return check
    return replace(check, message=f"{check.message} The issuers and origins that were published last stay in force.")


def _check_runtime(tenant: Tenant, applied: Applied, context: Context) -> Check:
    """Whether the runtime runs as the spec says."""
    if applied.runtime_problems:
        return join_problems(applied.runtime_problems, good=_ACCEPTED)
    if not applied.touched_pods:
        return Problem(Reason.PENDING, "The runtime waits for what its pods need; see the other conditions.")
    deployment = context.cluster.child(kube.DEPLOYMENTS, tenant.namespace, names.RUNTIME)
    if tenant.spec.suspended:
        return check_suspended(deployment)
    return check_runtime(deployment, wanted=wanted_replicas(tenant))
