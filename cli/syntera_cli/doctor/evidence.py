"""Gathers what the doctor judges: of the cluster, of its operators, of a Tenant. No value of a Secret leaves this module."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syntera_crds.contract import names
from syntera_crds.v1alpha1 import KINDS, Agent, KnowledgeBase, Tenant

from .judge_operator import OperatorEvidence, is_operator
from .judge_references import OWN_SECRETS, SeenOutline, list_references, outline
from .judge_tenant import namespace_name
from .looking import Lookout, path_of
from .manifests import Hidden, Manifest, Seen, SeenAll, name_of, namespace_of

_CRDS = ("apiextensions.k8s.io/v1", "customresourcedefinitions")
_DEPLOYMENTS = ("apps/v1", "deployments")
_ADMISSION = "admissionregistration.k8s.io/v1"
_WARNINGS = "type=Warning"


@dataclass(frozen=True, slots=True)
class TenantEvidence:
    """What there is in a Tenant's namespace."""

    outlines: Mapping[tuple[str, str], SeenOutline]
    """The Secrets and ConfigMaps that it needs, without their values, by kind and name."""
    deployment: Seen
    pods: SeenAll
    quotas: SeenAll
    events: SeenAll


def find_kinds(lookout: Lookout) -> tuple[dict[str, Seen], dict[str, bool]]:
    """The CRDs of our kinds, and whether discovery lists each, which everybody may see.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    discovered = lookout.get(f"/apis/{names.API_VERSION}", "discover kinds")
    resources = () if discovered is None or isinstance(discovered, Hidden) else discovered.get("resources") or ()
    served = {str(resource["name"]) for resource in resources}
    crds = {
        kind: lookout.get(path_of(*_CRDS, name=f"{model.info.plural}.{names.GROUP}"), "read CustomResourceDefinitions")
        for kind, model in KINDS.items()
    }
    return crds, {kind: model.info.plural in served for kind, model in KINDS.items()}


def find_operators(lookout: Lookout, *, named: str) -> SeenAll:
    """The operators' Deployments: the one that the user named, or those of all namespaces that the chart made.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    if named:
        namespace, _, name = named.partition("/")
        action = f"read Deployments in namespace {namespace!r}"
        found = lookout.get(path_of(*_DEPLOYMENTS, namespace=namespace, name=name), action)
        return found if isinstance(found, Hidden) else [] if found is None else [found]
    labels = f"{names.COMPONENT_LABEL}=operator"
    everywhere = lookout.list(path_of(*_DEPLOYMENTS), "list Deployments in all namespaces", labels=labels)
    return everywhere if isinstance(everywhere, Hidden) else [one for one in everywhere if is_operator(one)]


def look_at_operator(lookout: Lookout, deployment: Manifest) -> OperatorEvidence:
    """Everything that belongs to an operator.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    namespace = namespace_of(deployment)
    where = f"in namespace {namespace!r}"
    selector = deployment["spec"]["selector"].get("matchLabels") or {}
    return OperatorEvidence(
        deployment=deployment,
        pods=_list_pods(lookout, namespace, selector),
        events=lookout.list(path_of("v1", "events", namespace=namespace), f"list Events {where}", fields=_WARNINGS),
        lease=lookout.get(
            path_of("coordination.k8s.io/v1", "leases", namespace=namespace, name=names.LEASE_NAME),
            f"read Leases {where}",
        ),
        policies=lookout.list(path_of(_ADMISSION, "validatingadmissionpolicies"), "list ValidatingAdmissionPolicies"),
        bindings=lookout.list(
            path_of(_ADMISSION, "validatingadmissionpolicybindings"), "list ValidatingAdmissionPolicyBindings"
        ),
    )


def find_tenants(lookout: Lookout) -> SeenAll:
    """All Tenants.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    return lookout.list(path_of(names.API_VERSION, Tenant.info.plural), "list Tenants")


def find_tenant(lookout: Lookout, name: str) -> Seen:
    """One Tenant.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    return lookout.get(path_of(names.API_VERSION, Tenant.info.plural, name=name), "read Tenants")


def find_agents(lookout: Lookout, namespace: str = "") -> SeenAll:
    """The Agents of a namespace, or all of them.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    where = f"in namespace {namespace!r}" if namespace else "in all namespaces"
    return lookout.list(path_of(names.API_VERSION, Agent.info.plural, namespace=namespace), f"list Agents {where}")


def find_knowledge_bases(lookout: Lookout, namespace: str = "") -> SeenAll:
    """The KnowledgeBases of a namespace, or all of them.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    where = f"in namespace {namespace!r}" if namespace else "in all namespaces"
    path = path_of(names.API_VERSION, KnowledgeBase.info.plural, namespace=namespace)
    return lookout.list(path, f"list KnowledgeBases {where}")


def find_sync_pods(lookout: Lookout, tenant: Manifest) -> SeenAll:
    """The pods that fill or empty KnowledgeBases of a Tenant.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    selector = {names.NAME_LABEL: names.INGESTION, names.TENANT_LABEL: name_of(tenant)}
    return _list_pods(lookout, namespace_name(tenant), selector)


def find_namespace(lookout: Lookout, tenant: Manifest) -> Seen:
    """The Tenant's namespace.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    name = namespace_name(tenant)
    return lookout.get(path_of("v1", "namespaces", name=name), f"read the namespace {name!r}")


def look_at_tenant(lookout: Lookout, tenant: Manifest) -> TenantEvidence:
    """Everything in the Tenant's namespace that matters, but its Agents and KnowledgeBases.

    Raises:
        ClusterUnusable: The API server cannot be asked.
    """
    place = namespace_name(tenant)
    where = f"in namespace {place!r}"
    selector = {names.NAME_LABEL: names.RUNTIME, names.TENANT_LABEL: name_of(tenant)}
    return TenantEvidence(
        outlines=_outline_all(lookout, tenant),
        deployment=lookout.get(
            path_of(*_DEPLOYMENTS, namespace=place, name=names.RUNTIME), f"read Deployments {where}"
        ),
        pods=_list_pods(lookout, place, selector),
        quotas=lookout.list(path_of("v1", "resourcequotas", namespace=place), f"list ResourceQuotas {where}"),
        events=lookout.list(path_of("v1", "events", namespace=place), f"list Events {where}", fields=_WARNINGS),
    )


def _outline_all(lookout: Lookout, tenant: Manifest) -> dict[tuple[str, str], SeenOutline]:
    """What the Tenant refers to and what the operator keeps for it, each object once and without its values."""
    wanted: Sequence[tuple[str, str]] = [
        *(("Secret", name) for name in OWN_SECRETS),
        *((reference.kind, reference.name) for reference in list_references(tenant)),
    ]
    return {(kind, name): _outline(lookout, namespace_name(tenant), kind, name) for kind, name in dict.fromkeys(wanted)}


def _outline(lookout: Lookout, namespace: str, kind: str, name: str) -> SeenOutline:
    path = path_of("v1", f"{kind.lower()}s", namespace=namespace, name=name)
    found = lookout.get(path, f"read the {kind} {name!r} in namespace {namespace!r}")
    return found if found is None or isinstance(found, Hidden) else outline(found)


def _list_pods(lookout: Lookout, namespace: str, labels: Mapping[str, str]) -> SeenAll:
    selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
    return lookout.list(
        path_of("v1", "pods", namespace=namespace), f"list pods in namespace {namespace!r}", labels=selector
    )
