"""What a Tenant's namespace should hold, and bringing it there.

A child that cannot be written is a problem of its own: the others are written all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from syntera_crds.contract import names
from syntera_crds.v1alpha1 import Tenant
from syntera_crds.v1alpha1.common import Reason
from syntera_kube import resources as kube
from syntera_kube.errors import BadRequest, Forbidden, Invalid, KubeError, NotFound

from ..cluster import Cluster, ObjectRef, Owner
from ..conditions import Outlook, Problem
from ..config import Peer, Settings
from ..desired.access import (
    build_ingestion_account,
    build_operator_binding,
    build_runtime_binding,
    build_runtime_role,
    build_service_account,
)
from ..desired.autoscaler import build_autoscaler
from ..desired.deployment import Image, RuntimePods, build_deployment, build_replicas
from ..desired.destinations import (
    Destination,
    destination_of,
    list_egress,
    list_egress_networks,
    list_public_web,
    list_service_urls,
    list_urls,
    ports_of_store,
)
from ..desired.exposure import build_exposure
from ..desired.metadata import Scope
from ..desired.network_policies import Flows, build_default_deny, build_ingestion_policy, build_runtime_policy
from ..desired.quota import build_limit_range, build_quota
from ..desired.service import build_disruption_budget, build_service
from ..errors import NameTaken
from ..manifest import Manifest, name_of, namespace_of, resource_of

_SCALE_FIELD_MANAGER = f"{names.TENANT_FIELD_MANAGER}-scale"
"""Holds the number of pods while it passes to an autoscaler."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the children depend on beside the Tenant's spec."""

    tenant_id: UUID | None
    """None: the stores have not told it yet, so no pod can be made."""
    secrets: Sequence[Manifest]
    """Those that the operator itself fills."""
    has_credentials: bool
    """Whether `secrets` hold a login for every store."""
    published: Manifest | None
    """The Tenant's configuration; None: it cannot be compiled, and what was published last goes on."""
    usable_secrets: frozenset[str]
    """Names of the Secrets that the runtime may read."""
    api_server: Sequence[tuple[str, int]]
    """Addresses and ports of the API server."""
    sources: Sequence[Destination] | None
    """Where the sources of KnowledgeBases are. None: the namespace has no KnowledgeBase."""


@dataclass(frozen=True, slots=True)
class Children:
    """Everything that the Tenant's namespace should hold, in the order in which it is written."""

    walls: Sequence[Manifest]
    """What must stand before a pod runs: the runtime's rights, and whom its pods may talk to."""
    limits: Sequence[Manifest]
    published: Sequence[Manifest]
    """What the runtime acts by. Empty: what was published last goes on."""
    secrets: Sequence[Manifest]
    front: Sequence[Manifest]
    """What stands around the runtime's pods, whoever they are."""
    pods: Manifest | None
    """None: not to be touched, because something is missing that pods need."""


@dataclass(slots=True)
class Applied:
    """What became of writing the children."""

    namespace_problems: list[Problem] = field(default_factory=list)
    runtime_problems: list[Problem] = field(default_factory=list)
    errors: list[KubeError] = field(default_factory=list)
    """What to raise so that it is tried again."""
    touched_pods: bool = False
    """Whether the Deployment got as far as being looked at."""

    @property
    def is_blocked_by_others(self) -> bool:
        """Whether somebody else's object stands in the way."""
        problems = [*self.namespace_problems, *self.runtime_problems]
        return any(problem.reason is Reason.NAME_TAKEN for problem in problems)


def build_children(scope: Scope, tenant: Tenant, surroundings: Surroundings, settings: Settings) -> Children:
    """Everything that the namespace should hold, the operator's own binding excepted."""
    quota, tenant_id = tenant.spec.quota, surroundings.tenant_id
    return Children(
        walls=_build_walls(scope, tenant, surroundings, settings),
        limits=[] if quota is None else [build_quota(scope, quota), build_limit_range(scope, quota)],
        published=[] if surroundings.published is None else [surroundings.published],
        secrets=surroundings.secrets,
        front=_build_front(scope, tenant),
        pods=_build_pods(scope, tenant, tenant_id, settings) if tenant_id and surroundings.has_credentials else None,
    )


def wanted_replicas(tenant: Tenant) -> int:
    """How many pods there must be at least."""
    runtime = tenant.spec.runtime
    return runtime.autoscaling.min if runtime.autoscaling is not None else runtime.replicas or 1


async def ensure_binding(scope: Scope, *, owner: Owner, settings: Settings, cluster: Cluster) -> None:
    """Give the operator its rights in the namespace.

    Raises:
        NameTaken: somebody else's RoleBinding has the name.
        KubeError: the API server did not answer, or refused.
        LeadershipLost: this process may write no more.
    """
    binding = build_operator_binding(
        scope,
        cluster_role=settings.tenant_cluster_role,
        operator_namespace=settings.operator_namespace,
        service_account=settings.service_account,
    )
    live = cluster.child(kube.ROLE_BINDINGS, scope.namespace, names.OPERATOR_BINDING)
    if live is not None and live.get("roleRef") != binding["roleRef"]:
        # What a binding binds cannot change; the operator was installed anew under another name.
        await cluster.delete_child(kube.ROLE_BINDINGS, scope.namespace, names.OPERATOR_BINDING, owner=owner)
    await cluster.apply(binding, owner=owner, manager=names.TENANT_FIELD_MANAGER)


async def apply_children(scope: Scope, children: Children, *, owner: Owner, cluster: Cluster) -> Applied:
    """Write the children that differ, then delete what is no longer wanted.

    Raises:
        KubeError: the API server did not answer, or is not itself.
        LeadershipLost: this process may write no more.
    """
    applied = Applied()
    for manifest in children.walls:
        await _apply(manifest, applied.namespace_problems, applied, owner=owner, cluster=cluster)
    has_walls = not applied.namespace_problems
    for manifest in (*children.limits, *children.published):
        await _apply(manifest, applied.namespace_problems, applied, owner=owner, cluster=cluster)
    for manifest in children.secrets:
        await _apply(manifest, applied.runtime_problems, applied, owner=owner, cluster=cluster)
    has_secrets = not applied.runtime_problems
    if children.pods is not None and has_walls and has_secrets:
        applied.touched_pods = True
        await _hand_over_replicas(scope, children, cluster=cluster)
        await _apply(children.pods, applied.runtime_problems, applied, owner=owner, cluster=cluster)
    for manifest in children.front:
        await _apply(manifest, applied.runtime_problems, applied, owner=owner, cluster=cluster)
    await cluster.prune(owner, names.TENANT_FIELD_MANAGER, _list_kept(scope, children), namespace=scope.namespace)
    return applied


async def _hand_over_replicas(scope: Scope, children: Children, *, cluster: Cluster) -> None:
    """Let the number of pods stand while it passes from the operator to an autoscaler that is yet to be made.

    Else the API server would set it to one for a moment, and stop all the others.
    """
    autoscaler = next((one for one in children.front if one["kind"] == kube.HORIZONTAL_POD_AUTOSCALERS.kind), None)
    live = cluster.child(kube.DEPLOYMENTS, scope.namespace, names.RUNTIME)
    known = cluster.child(kube.HORIZONTAL_POD_AUTOSCALERS, scope.namespace, names.RUNTIME)
    if autoscaler is None or live is None or known is not None:
        return
    count = max(live["spec"].get("replicas", 1), autoscaler["spec"]["minReplicas"])
    await cluster.share(build_replicas(scope, count), manager=_SCALE_FIELD_MANAGER)


def describe_name_taken(error: NameTaken) -> Problem:
    """Somebody else's object stands where one of ours has to."""
    return Problem(Reason.NAME_TAKEN, f"{error}. Delete or rename it; the operator looks again.", Outlook.STALLED)


async def _apply(
    manifest: Manifest, problems: list[Problem], applied: Applied, *, owner: Owner, cluster: Cluster
) -> None:
    """Write one child; what goes wrong with it alone is added to `problems`."""
    try:
        await cluster.apply(manifest, owner=owner, manager=names.TENANT_FIELD_MANAGER)
    except NameTaken as error:
        problems.append(describe_name_taken(error))
    except (Invalid, BadRequest) as error:
        problems.append(_describe_refused(manifest, error, Outlook.STALLED))
    except NotFound as error:
        if manifest["kind"] != kube.HTTP_ROUTES.kind:
            raise
        message = "The cluster has no Gateway API: install its CRDs, or leave spec.exposure.gatewayRef out."
        problems.append(Problem(Reason.REJECTED, f"{message} ({error.message})", Outlook.STALLED))
    except Forbidden as error:
        # A right that was just given, an admission webhook, a namespace that is being deleted: it may pass.
        problems.append(_describe_refused(manifest, error, Outlook.PASSING))
        applied.errors.append(error)


def _describe_refused(manifest: Manifest, error: KubeError, outlook: Outlook) -> Problem:
    # What is wrong with a Secret could be told with a part of it.
    detail = (error.reason or "no reason given") if manifest["kind"] == kube.SECRETS.kind else error.message
    return Problem(
        Reason.REJECTED, f"The API server refuses {manifest['kind']} {name_of(manifest)!r}: {detail}", outlook
    )


def _build_walls(scope: Scope, tenant: Tenant, surroundings: Surroundings, settings: Settings) -> list[Manifest]:
    flows = Flows(
        api_server=surroundings.api_server,
        store_ports=[*_list_postgresql_ports(settings), *_list_redis_ports(settings)],
        destinations=[
            *(destination_of(url, own_namespace=scope.namespace) for _, url in list_urls(tenant)),
            *(destination for _, destination in list_egress(tenant)),
        ],
        collector_port=settings.collector_port,
        is_exposed=tenant.spec.exposure is not None,
    )
    operator = settings.network.operator or [_default_operator_peer(settings)]
    sources = surroundings.sources
    ingestion = [] if sources is None else _build_ingestion(scope, tenant, sources, settings)
    return [
        build_service_account(scope),
        build_runtime_role(scope, secrets=surroundings.usable_secrets),
        build_runtime_binding(scope),
        build_default_deny(scope),
        build_runtime_policy(scope, settings.network, flows, operator=operator),
        *ingestion,
    ]


def _build_ingestion(
    scope: Scope, tenant: Tenant, sources: Sequence[Destination], settings: Settings
) -> list[Manifest]:
    """Who sync Jobs are, and whom their pods may talk to."""
    flows = Flows(
        store_ports=_list_postgresql_ports(settings),
        destinations=[
            *(destination_of(url, own_namespace=scope.namespace) for _, url in list_service_urls(tenant)),
            *(destination for _, destination in list_egress_networks(tenant)),
            *list_public_web(),
            *sources,
        ],
    )
    return [build_ingestion_account(scope), build_ingestion_policy(scope, settings.network, flows)]


def _build_front(scope: Scope, tenant: Tenant) -> list[Manifest]:
    autoscaling, exposure = tenant.spec.runtime.autoscaling, tenant.spec.exposure
    front = [build_service(scope), build_disruption_budget(scope)]
    if autoscaling is not None and not tenant.spec.suspended:
        front.append(build_autoscaler(scope, autoscaling))
    if exposure is not None:
        front.append(build_exposure(scope, exposure))
    return front


def _build_pods(scope: Scope, tenant: Tenant, tenant_id: UUID, settings: Settings) -> Manifest:
    runtime = tenant.spec.runtime
    replicas = None if runtime.autoscaling is not None else wanted_replicas(tenant)
    pods = RuntimePods(
        tenant_id=tenant_id,
        image=Image(settings.runtime_image, settings.image_pull_policy, tuple(settings.image_pull_secrets)),
        operator_subject=settings.operator_subject,
        replicas=0 if tenant.spec.suspended else replicas,
        resources=runtime.resources,
        tracing=settings.runtime_tracing,
    )
    return build_deployment(scope, pods)


def _list_kept(scope: Scope, children: Children) -> set[ObjectRef]:
    """What must not be pruned: the children, and what is always there even while it cannot be built."""
    manifests = [*children.walls, *children.limits, *children.secrets, *children.front]
    return {
        *(ObjectRef(resource_of(one), namespace_of(one), name_of(one)) for one in manifests),
        ObjectRef(kube.ROLE_BINDINGS, scope.namespace, names.OPERATOR_BINDING),
        ObjectRef(kube.CONFIG_MAPS, scope.namespace, names.TENANT_CONFIG),
        ObjectRef(kube.SECRETS, scope.namespace, names.STORES_SECRET),
        ObjectRef(kube.SECRETS, scope.namespace, names.ADMIN_SECRET),
        ObjectRef(kube.DEPLOYMENTS, scope.namespace, names.RUNTIME),
    }


def _list_postgresql_ports(settings: Settings) -> set[int]:
    return ports_of_store(settings.tenant_postgresql_url or settings.postgresql_url)


def _list_redis_ports(settings: Settings) -> set[int]:
    return ports_of_store(settings.tenant_redis_url or settings.redis_url)


def _default_operator_peer(settings: Settings) -> Peer:
    return Peer(
        namespace_labels={"kubernetes.io/metadata.name": settings.operator_namespace},
        pod_labels={names.COMPONENT_LABEL: "operator"},
    )
