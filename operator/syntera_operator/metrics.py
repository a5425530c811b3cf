"""What Prometheus may know of the operator, after controller-runtime's pattern. No name of a tenant or object is a label.

The registry is a value, not the process-wide default, so that tests have one each. What the operator does is counted as it
happens; what is (the queue, the watches, the objects' conditions) is read at each scrape.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from syntera_kube.transport import Request

from .errors import code_of
from .manifest import Manifest
from .object_metrics import ObjectCollector
from .queue import Key, ReconcileQueue, Result

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Watched(Protocol):
    """The part of the cluster that is read at each scrape."""

    def all_objects(self) -> Iterable[Manifest]:
        """Every Tenant and Agent, as last seen."""

    def silent_seconds(self) -> float:
        """For how long the most silent watch has told nothing."""

    def broken_watches(self) -> int:
        """How many watches know of trouble."""


class Waiting(Protocol):
    """The part of the retention that is read at each scrape."""

    def longest_wait_seconds(self) -> float:
        """For how long the tenant that waits longest has seen no success."""


class Metrics:
    """The operator's metrics; `QueueObserver` for the queue, and an observer each for the clients, the resync and the
    retention."""

    def __init__(self) -> None:
        # For the whole process: else each counter and histogram has a twin that tells when it was made, and nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its author left it untyped
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles = self._count("syntera_reconcile", "Reconciles by kind and result.", "kind", "result")
        self._reconcile_errors = self._count(
            "syntera_reconcile_errors", "Reconciles that failed, by kind and the code of the error.", "kind", "code"
        )
        self._reconcile_seconds = self._measure("syntera_reconcile_time_seconds", "Time of one reconcile.", "kind")
        self._wait_seconds = self._measure(
            "syntera_queue_wait_seconds", "Time that an object waited for a worker.", "kind"
        )
        self._requests = self._count(
            "syntera_kubernetes_requests",
            "Requests to the API server by verb and HTTP status (0: no answer). A watch counts when it is opened.",
            "verb",
            "status",
        )
        self._request_seconds = self._measure(
            "syntera_kubernetes_request_duration_seconds",
            "Time until the API server had answered, or begun to answer a watch.",
            "verb",
        )
        self._store_requests = self._count(
            "syntera_store_requests", "Uses of a store by outcome: `success` or the error's code.", "store", "outcome"
        )
        self._store_seconds = self._measure(
            "syntera_store_request_duration_seconds", "Time of one use of a store.", "store"
        )
        self._asks = self._count(
            "syntera_runtime_requests",
            "Questions to runtime pods, whether they serve what was published, by HTTP status (0: no answer).",
            "status",
        )
        self._ask_seconds = self._measure(
            "syntera_runtime_request_duration_seconds",
            "Time until a runtime pod had answered, the time that it was given to load included.",
        )
        self._resyncs = self._count("syntera_resyncs", "Comparisons of memory with the API server by result.", "result")
        self._missed = self._count(
            "syntera_missed_changes", "Changes that no watch had told of, found by a comparison and made good."
        )
        self._expired_rows = self._count(
            "syntera_retention_rows", "Rows deleted because a Tenant's `spec.retention` says so, by table.", "table"
        )
        self._retentions = self._count(
            "syntera_retention",
            "Tenants gone through for their retention by outcome: `success` or the error's code.",
            "outcome",
        )
        self._retention_seconds = self._measure(
            "syntera_retention_time_seconds", "Time to go through one tenant for its retention."
        )

    def watch(
        self, queue: ReconcileQueue, cluster: Watched, retention: Waiting, *, is_leader: Callable[[], bool]
    ) -> None:
        """Show the state of the queue, of the cluster, of the retention and of the leadership, read at each scrape."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "syntera_queue_depth": ("Objects that wait for a worker.", lambda: queue.depth),
            "syntera_queue_oldest_wait_seconds": (
                "For how long the object that waits longest has waited for a worker; failing ones have workers of their own.",
                queue.oldest_wait_seconds,
            ),
            "syntera_queue_delayed": ("Objects that wait for their time.", lambda: queue.delayed),
            "syntera_queue_failing": ("Objects that failed when last reconciled.", lambda: queue.failing),
            "syntera_queue_active": ("Objects that are being reconciled.", lambda: queue.active),
            "syntera_queue_active_limit": ("Objects that may be reconciled at once.", lambda: queue.limit),
            "syntera_queue_longest_running_seconds": (
                "For how long the longest of the running reconciles has been running.",
                queue.longest_work_seconds,
            ),
            "syntera_watches_broken": ("Watches that know of trouble.", cluster.broken_watches),
            "syntera_watch_silence_seconds": (
                "For how long the most silent of the sound watches has told nothing, bookmarks included.",
                cluster.silent_seconds,
            ),
            "syntera_retention_longest_wait_seconds": (
                "For how long the tenant that waits longest for its retention has seen no success, as this process knows; 0 where"
                " none asks for any.",
                retention.longest_wait_seconds,
            ),
            "syntera_leader": ("1 if this replica holds the Lease.", is_leader),
        }
        for name, (help_text, read) in gauges.items():
            Gauge(name, help_text, registry=self.registry).set_function(read)
        self.registry.register(ObjectCollector(cluster.all_objects))

    def started(self, key: Key, *, waited_seconds: float) -> None:
        """A worker took `key`."""
        self._wait_seconds.labels(key.kind).observe(waited_seconds)

    def finished(self, key: Key, *, result: Result, error: Exception | None, seconds: float) -> None:
        """A worker is done with `key`."""
        self._reconciles.labels(key.kind, result).inc()
        self._reconcile_seconds.labels(key.kind).observe(seconds)
        if result == "error":
            self._reconcile_errors.labels(key.kind, "cancelled" if error is None else code_of(error)).inc()

    def requested(self, request: Request, status: int, seconds: float) -> None:
        """The API server was asked something."""
        verb = "WATCH" if request.is_watch else request.method
        self._requests.labels(verb, str(status)).inc()
        self._request_seconds.labels(verb).observe(seconds)

    def used_store(self, store: str, code: str | None, seconds: float) -> None:
        """A store was used; `code` is the error's."""
        self._store_requests.labels(store, code or "success").inc()
        self._store_seconds.labels(store).observe(seconds)

    def asked_runtime(self, status: int, seconds: float) -> None:
        """A runtime pod was asked what it serves."""
        self._asks.labels(str(status)).inc()
        self._ask_seconds.observe(seconds)

    def compared(self, missed: int | None) -> None:
        """Memory was compared with the API server; None: that was put off."""
        self._resyncs.labels("put_off" if missed is None else "complete").inc()
        self._missed.inc(missed or 0)

    def expired(self, rows: Mapping[str, int]) -> None:
        """Rows of each table were deleted because their time was up."""
        for table, number in rows.items():
            self._expired_rows.labels(table).inc(number)

    def kept_retention(self, code: str | None, seconds: float) -> None:
        """A tenant was gone through for its retention; `code` is the error's."""
        self._retentions.labels(code or "success").inc()
        self._retention_seconds.observe(seconds)

    def _count(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _measure(self, name: str, help_text: str, *labels: str) -> Histogram:
        return Histogram(name, help_text, labels, buckets=_SECONDS, registry=self.registry)
