"""What the runtime counts and measures, for Prometheus.

Labels come from closed or administrator-made sets (routes, agents, endpoints, codes), never from what users send.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a cached read to the longest answer."""


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = Counter(
            "syntera_http_requests",
            "Requests answered, by route template.",
            ["port", "method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "syntera_http_request_duration_seconds",
            "From the request's arrival to the end of its answer, streams included.",
            ["port", "method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.turns = Counter(
            "syntera_turns",
            "Turns ended, by outcome: `complete` or the code of the failure.",
            ["agent", "kind", "outcome"],
            registry=self.registry,
        )
        self.turns_running = Gauge("syntera_turns_running", "Turns that this process runs now.", registry=self.registry)
        self.model_first_text_seconds = Histogram(
            "syntera_model_first_text_seconds",
            "From asking a model to its first text, fallbacks included.",
            ["endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.model_seconds = Histogram(
            "syntera_model_duration_seconds",
            "From asking a model to the end of its answer, by outcome: `complete` or the code of the failure.",
            ["endpoint", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "syntera_tokens",
            "Tokens that the endpoints reported.",
            ["agent", "endpoint", "direction"],
            registry=self.registry,
        )
        self.store_unavailable = Counter(
            "syntera_store_unavailable",
            "Requests and turns that failed because a store was away.",
            ["store"],
            registry=self.registry,
        )

    def render(self) -> bytes:
        """All values, in Prometheus' text format."""
        return generate_latest(self.registry)
