"""Manifests as a cluster gives them, all well by default; a test names only what is wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from syntera_crds.contract import names
from syntera_crds.v1alpha1.common import ConditionType
from tests.support.make import make_agent_manifest, make_tenant_manifest

Json = dict[str, Any]

NOW = datetime(2026, 1, 1, 3, 0, 0, tzinfo=UTC)
"""Three in the morning."""

GOOD: Mapping[str, tuple[str, str, str]] = {
    ConditionType.ACCEPTED: ("True", "Accepted", "The spec is sound."),
    ConditionType.RESOLVED_REFS: ("True", "Resolved", "Everything exists."),
    ConditionType.NAMESPACE_READY: ("True", "UpToDate", "It holds what it should."),
    ConditionType.DATABASE_READY: ("True", "UpToDate", "The login works."),
    ConditionType.CACHE_READY: ("True", "UpToDate", "The user works."),
    ConditionType.RUNTIME_READY: ("True", "UpToDate", "1 of 1 runtime pods are ready."),
    ConditionType.READY: ("True", "Serving", "It serves."),
}


def ago(seconds: float) -> str:
    """A time before now, as Kubernetes writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def make_conditions(generation: int = 1, **changes: tuple[str, str, str]) -> list[Json]:
    """A Tenant's conditions, as `Type=(status, reason, message)`."""
    return [
        {
            "type": str(type_),
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": ago(600),
        }
        for type_, (status, reason, message) in {**GOOD, **changes}.items()
    ]


def make_tenant(
    *,
    generation: int = 1,
    observed: int = 1,
    conditions: list[Json] | None = None,
    deleted: str | None = None,
    **spec: Any,
) -> Json:
    """A Tenant that the operator found good."""
    status = {"observedGeneration": observed, "conditions": make_conditions() if conditions is None else conditions}
    finalizers = spec.pop("finalizers", (names.TENANT_FINALIZER,))
    return make_tenant_manifest(
        "acme", generation=generation, deleted=deleted, finalizers=finalizers, status=status, **spec
    )


def make_agent(
    name: str = "travel",
    *,
    generation: int = 1,
    observed: int = 1,
    ready: tuple[str, str, str] = ("True", "Serving", "Revision 3 is served by every ready runtime pod."),
    revision: int | None = 3,
) -> Json:
    """An Agent that is served."""
    status, reason, message = ready
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    told: Json = {"observedGeneration": observed, "conditions": [condition]}
    if revision is not None:
        told["revision"] = revision
    return make_agent_manifest(name, generation=generation, status=told)


def make_namespace(*, tenant: str | None = "acme", deleted: str | None = None, left: str = "") -> Json:
    """The tenant's namespace."""
    metadata: Json = {"name": "acme", "labels": {names.TENANT_LABEL: tenant} if tenant else {}}
    if deleted:
        metadata["deletionTimestamp"] = deleted
    told = [{"type": "NamespaceContentRemaining", "status": "True", "message": left}] if left else []
    return {"metadata": metadata, "status": {"conditions": told}}


def make_deployment(
    name: str = "syntera-runtime",
    namespace: str = "acme",
    *,
    wanted: int = 1,
    available: int | None = None,
    updated: int | None = None,
    generation: int = 1,
    failure: str = "",
    labels: Mapping[str, str] | None = None,
) -> Json:
    """A Deployment all of whose pods are ready."""
    available = wanted if available is None else available
    status: Json = {
        "observedGeneration": 1,
        "replicas": wanted,
        "updatedReplicas": wanted if updated is None else updated,
        "availableReplicas": available,
    }
    if failure:
        status["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": failure}]
    metadata = {"name": name, "namespace": namespace, "generation": generation, "labels": dict(labels or {})}
    return {"metadata": metadata, "spec": {"replicas": wanted}, "status": status}


def make_pod(
    name: str = "syntera-runtime-1",
    namespace: str = "acme",
    *,
    ready: bool = True,
    started: float = 600,
    container: Json | None = None,
    phase: str = "Running",
    unscheduled: str = "",
    deleted: str | None = None,
    init: Json | None = None,
    **status: Any,
) -> Json:
    """A pod that takes requests; `container` changes its container's status."""
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    conditions.append({"type": "PodScheduled", "status": "False" if unscheduled else "True", "message": unscheduled})
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    if deleted:
        metadata["deletionTimestamp"] = deleted
    told = {"name": "runtime", "image": "syntera/runtime:1", "restartCount": 0, "state": {"running": {}}}
    limits = {"resources": {"limits": {"memory": "512Mi"}}}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "runtime", **limits}]},
        "status": {
            "phase": phase,
            "startTime": ago(started),
            "conditions": conditions,
            "containerStatuses": [] if unscheduled else [told | (container or {})],
            "initContainerStatuses": [init] if init else [],
            **status,
        },
    }


def make_event(
    reason: str, message: str, *, kind: str = "Pod", name: str = "syntera-runtime-1", seconds: float = 30, **fields: Any
) -> Json:
    """A warning of the last minute."""
    about = {"kind": kind, "name": name, "uid": f"uid-{name}", "namespace": "acme"}
    return {
        "metadata": {"name": f"{name}.1", "namespace": "acme"},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": about,
        "lastTimestamp": ago(seconds),
        **fields,
    }


def make_operator(**fields: Any) -> Json:
    """The operator's Deployment, as the chart makes it."""
    labels = {
        names.NAME_LABEL: "syntera",
        names.COMPONENT_LABEL: "operator",
        "helm.sh/chart": "syntera-0.1.0",
    }
    made = make_deployment(
        "syntera-operator", "syntera-system", wanted=fields.pop("wanted", 2), labels=labels, **fields
    )
    made["spec"]["selector"] = {"matchLabels": {names.COMPONENT_LABEL: "operator"}}
    return made


def make_lease(holder: str = "operator-0_1a2b3c4d", *, renewed: float | None = 1) -> Json:
    """A Lease that was renewed a second ago."""
    spec: Json = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    if renewed is not None:
        spec["renewTime"] = ago(renewed)
    return {"metadata": {"name": names.LEASE_NAME}, "spec": spec}


def make_policies(*, without: str = "", warned: str = "") -> list[Json]:
    """The chart's four policies."""
    checked = {"typeChecking": {"expressionWarnings": [{"warning": warned}]}} if warned else {}
    ends = [end for end in ("tenants", "namespaces", "rolebindings", "children") if end != without]
    return [
        {"metadata": {"name": f"syntera-operator-{end}"}, "status": checked if end == "tenants" else {}} for end in ends
    ]


def make_bindings(*, auditing: str = "") -> list[Json]:
    """Their bindings."""
    return [
        {
            "metadata": {"name": f"syntera-operator-{end}"},
            "spec": {
                "policyName": f"syntera-operator-{end}",
                "validationActions": ["Audit"] if end == auditing else ["Deny"],
            },
        }
        for end in ("tenants", "namespaces", "rolebindings", "children")
    ]


def make_quota(*, used: str = "3", hard: str = "10") -> Json:
    """A quota on pods."""
    return {
        "metadata": {"name": "syntera", "namespace": "acme"},
        "status": {"used": {"pods": used}, "hard": {"pods": hard}},
    }
