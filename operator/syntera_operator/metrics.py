"""What Prometheus may know of the operator, after controller-runtime's pattern. No name of a tenant or object is a label.

The registry is a value, not the process-wide default, so that tests have one each.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

from .queue import Key, ReconcileQueue, Result

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The operator's metrics; `QueueObserver` for the queue, an observer of requests for the client."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reconciles = Counter(
            "syntera_reconcile", "Reconciles by kind and result.", ["kind", "result"], registry=self.registry
        )
        self._reconcile_seconds = Histogram(
            "syntera_reconcile_time_seconds",
            "Time of one reconcile.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._wait_seconds = Histogram(
            "syntera_queue_wait_seconds",
            "Time that an object waited for a worker.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests = Counter(
            "syntera_kubernetes_requests",
            "Requests to the API server by verb and HTTP status (0: no answer).",
            ["verb", "status"],
            registry=self.registry,
        )

    def watch(self, queue: ReconcileQueue, *, is_leader: Callable[[], bool]) -> None:
        """Show the state of the queue and of the leadership, read at each scrape."""
        gauges: dict[str, tuple[str, Callable[[], float]]] = {
            "syntera_queue_depth": ("Objects that wait for a worker.", lambda: queue.depth),
            "syntera_queue_delayed": ("Objects that wait for their time.", lambda: queue.delayed),
            "syntera_queue_active": ("Objects that are being reconciled.", lambda: queue.active),
            "syntera_leader": ("1 if this replica holds the Lease.", is_leader),
        }
        for name, (help_text, read) in gauges.items():
            Gauge(name, help_text, registry=self.registry).set_function(read)

    def started(self, key: Key, *, waited_seconds: float) -> None:
        """A worker took `key`."""
        self._wait_seconds.labels(key.kind).observe(waited_seconds)

    def finished(self, key: Key, *, result: Result, seconds: float) -> None:
        """A worker is done with `key`."""
        self._reconciles.labels(key.kind, result).inc()
        self._reconcile_seconds.labels(key.kind).observe(seconds)

    def requested(self, verb: str, status: int, seconds: float) -> None:
        """The API server was asked something."""
        del seconds
        self._requests.labels(verb, str(status)).inc()
