"""What `kubectl`-like tools that know kstatus think of a custom resource: Flux, kpt, Helm's wait, Config Sync.

Written from the rules that kubernetes-sigs/cli-utils publishes for kinds that it does not know:
https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus
"""

from enum import Enum
from typing import Any


class Kstatus(Enum):
    """The one word for an object's state."""

    TERMINATING = "Terminating"
    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"


def compute(manifest: dict[str, Any]) -> Kstatus:
    """The state of an object as a client reads it: deletion, then generation, then conditions in their order."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return Kstatus.TERMINATING
    observed = status.get("observedGeneration")
    if observed is not None and observed != metadata.get("generation", observed):
        return Kstatus.IN_PROGRESS
    conditions = [(condition["type"], condition["status"]) for condition in status.get("conditions") or ()]
    for condition in conditions:
        if condition == ("Reconciling", "True"):
            return Kstatus.IN_PROGRESS
        if condition == ("Stalled", "True"):
            return Kstatus.FAILED
    for type_, state in conditions:
        if type_ == "Ready":
            return Kstatus.CURRENT if state == "True" else Kstatus.IN_PROGRESS
    return Kstatus.CURRENT


def is_condition_met(manifest: dict[str, Any], type_: str, status: str = "True") -> bool:
    """Whether `kubectl wait --for=condition=<type>=<status>` would return: an older generation's condition does not count."""
    generation = manifest["metadata"].get("generation", 0)
    for condition in (manifest.get("status") or {}).get("conditions") or ():
        if condition["type"] == type_:
            return bool(condition["status"] == status and condition.get("observedGeneration", generation) >= generation)
    return False
