"""An operator's metrics to which a little of everything has happened."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from syntera_kube.transport import Request
from syntera_operator.errors import RuntimeUnreachable
from syntera_operator.manifest import Manifest
from syntera_operator.metrics import Metrics
from syntera_operator.queue import Key, ReconcileQueue
from tests.support.make import make_agent_manifest, make_tenant_manifest

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FixedCluster:
    """Caches that hold what they are given."""

    def __init__(self, *objects: Manifest) -> None:
        self.objects = objects

    def all_objects(self) -> Iterable[Manifest]:
        return self.objects

    def silent_seconds(self) -> float:
        return 12.5

    def broken_watches(self) -> int:
        return 1


class FixedRetention:
    """A tenant waits."""

    def longest_wait_seconds(self) -> float:
        return 1800


def at(seconds: float) -> str:
    """A time before `NOW`, as the API server writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(type_: str, status: str, reason: str, *, since: float = 60) -> dict[str, Any]:
    """A condition that has been so for `since` seconds."""
    return {"type": type_, "status": status, "reason": reason, "message": "…", "lastTransitionTime": at(since)}


def make_observed_metrics() -> Metrics:
    """Needs a running event loop, whose time the queue tells."""
    metrics, queue = Metrics(), ReconcileQueue()
    ready = {"conditions": [condition("Ready", "True", "Serving")]}
    metrics.watch(
        queue,
        FixedCluster(make_tenant_manifest(status=ready), make_agent_manifest(status=ready)),
        FixedRetention(),
        is_leader=lambda: True,
    )
    queue.open()
    queue.add(Key("Tenant", None, "acme"))
    agent = Key("Agent", "acme", "travel")
    metrics.started(agent, waited_seconds=0.2)
    metrics.finished(agent, result="success", error=None, seconds=0.02)
    metrics.finished(agent, result="error", error=RuntimeUnreachable(), seconds=3)
    metrics.requested(Request("PATCH", "/api/v1/namespaces/acme/configmaps/agent-travel"), 200, 0.01)
    metrics.requested(Request("GET", "/api/v1/pods", params={"watch": "true"}), 0, 0.2)
    metrics.used_store("PostgreSQL", None, 0.004)
    metrics.used_store("Redis", "store_unavailable", 10)
    metrics.asked_runtime(200, 0.3)
    metrics.compared(2)
    metrics.compared(None)
    metrics.expired({"turns": 3, "messages": 6})
    metrics.kept_retention(None, 0.4)
    metrics.kept_retention("store_unavailable", 10)
    return metrics
