"""What the state of the runtime's Deployment and pods means. Pure."""

from collections.abc import Sequence
from typing import Any

from syntera_crds.v1alpha1.common import Reason

from ..conditions import Check, Good, Outlook, Problem
from ..manifest import Manifest, is_pod_ready


def check_runtime(deployment: Manifest | None, *, wanted: int) -> Check:
    """Whether all of at least `wanted` pods are of the newest kind and take requests."""
    if deployment is None:
        return Problem(Reason.PROGRESSING, "The runtime is being started.")
    status: dict[str, Any] = deployment.get("status") or {}
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return Problem(Reason.PROGRESSING, "The runtime is being changed.")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    old = status.get("replicas", 0) - updated
    if available >= wanted and updated >= wanted and old <= 0:
        return Good(Reason.UP_TO_DATE, f"{available} of {max(wanted, updated)} runtime pods are ready.")
    problem = f"{min(available, updated)} of {wanted} runtime pods are ready."
    if failure := _find_failure(status):
        return failure
    if updated < wanted or old > 0:
        return Problem(Reason.PROGRESSING, f"The runtime is being rolled out: {problem}")
    return Problem(Reason.PODS_NOT_READY, problem)


def check_suspended(deployment: Manifest | None) -> Problem:
    """Whether all pods are gone, as a suspended Tenant wants it."""
    status = (deployment or {}).get("status") or {}
    left = status.get("replicas", 0)
    if left:
        return Problem(Reason.SUSPENDED, f"The Tenant is suspended; {left} runtime pods are on their way out.")
    return Problem(
        Reason.SUSPENDED,
        "The Tenant is suspended: no pod runs, nothing is lost. Set spec.suspended to false to go on.",
        Outlook.WANTED,
    )


def list_ready_pods(pods: Sequence[Manifest]) -> list[Manifest]:
    """The pods that take requests, and where."""
    return [pod for pod in pods if is_pod_ready(pod) and (pod.get("status") or {}).get("podIP")]


def _find_failure(status: dict[str, Any]) -> Problem | None:
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    failure = conditions.get("ReplicaFailure") or {}
    if failure.get("status") == "True":
        return Problem(Reason.PODS_NOT_READY, f"Kubernetes cannot make the runtime's pods: {failure.get('message')}")
    if (conditions.get("Progressing") or {}).get("reason") == "ProgressDeadlineExceeded":
        return Problem(
            Reason.PODS_NOT_READY,
            "The runtime's pods do not become ready; look at them with kubectl describe and kubectl logs.",
            Outlook.STALLED,
        )
    return None
