"""What the runtime counts and measures, for Prometheus.

Labels come from closed or administrator-made sets (routes, agents, endpoints, codes), never from what users send. None is
called as Prometheus calls what it knows of a target itself (`endpoint`, `pod`, ...): it would rename ours.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from syntera_kube.transport import Request

from .errors import StoreUnavailable

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""From a cached read to the longest answer."""
_QUICK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""What should take milliseconds."""


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        # For the whole process: else each counter and histogram has a twin that tells when it was made, and nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its author left it untyped
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self.requests = self._count(
            "syntera_http_requests", "Requests answered, by route template.", "port", "method", "route", "status"
        )
        self.request_seconds = self._measure(
            "syntera_http_request_duration_seconds",
            "From the request's arrival to the end of its answer, streams included.",
            "port",
            "method",
            "route",
        )
        self.streams_open = self._gauge("syntera_streams_open", "Answers that are being streamed to a client now.")
        self.sockets_open = self._gauge("syntera_sockets_open", "Socket.IO connections that are open now.")
        self.socket_connections = self._count(
            "syntera_socket_connections",
            "Tries to open a Socket.IO connection by outcome: `success` or the code of the refusal.",
            "outcome",
        )
        self.socket_events = self._count(
            "syntera_socket_events",
            "Events that Socket.IO clients sent, by outcome: `success` or the code of the problem.",
            "event",
            "outcome",
        )
        self.socket_events_sent = self._count(
            "syntera_socket_events_sent", "Events of conversations that were sent to Socket.IO clients.", "event"
        )
        self.rate_limited = self._count(
            "syntera_rate_limited",
            "Requests refused because a limit was reached: `tenant`, `key`, `user`, `address`, `streams` or `user-streams`.",
            "limit",
        )
        self.rate_limits_unchecked = self._count(
            "syntera_rate_limits_unchecked",
            "Requests and streams that passed unchecked, because Redis did not answer in time.",
        )
        self.challenges = self._count(
            "syntera_challenges",
            "New visitors that a challenge was asked of, by outcome: `success` or the code of the refusal.",
            "outcome",
        )
        self.turns = self._count(
            "syntera_turns",
            "Turns ended, by outcome: `complete`, `stopped` or the code of the failure.",
            "agent",
            "kind",
            "outcome",
        )
        self.turns_running = self._gauge("syntera_turns_running", "Turns that this process runs now.")
        self.model_first_text_seconds = self._measure(
            "syntera_model_first_text_seconds",
            "From asking a model to its first text, fallbacks included.",
            "model_endpoint",
        )
        self.model_seconds = self._measure(
            "syntera_model_duration_seconds",
            "From asking a model to the end of its answer, fallbacks included, by outcome: `complete`, `stopped` or the code "
            "of the failure.",
            "model_endpoint",
            "outcome",
        )
        self.model_requests = self._count(
            "syntera_model_requests",
            "Single requests to model endpoints, each try and each fallback by itself, by outcome: `complete` or the code "
            "of the failure.",
            "model_endpoint",
            "outcome",
        )
        self.model_retries = self._count(
            "syntera_model_retries", "Requests that were tried once more at the same endpoint.", "model_endpoint"
        )
        self.model_fallbacks = self._count(
            "syntera_model_fallbacks",
            "Answers for which another model was asked after this endpoint.",
            "model_endpoint",
        )
        self.tokens = self._count(
            "syntera_tokens", "Tokens that the endpoints reported.", "agent", "model_endpoint", "direction"
        )
        self.tokens_estimated = self._count(
            "syntera_tokens_estimated",
            "Tokens of answers whose endpoint did not report them, as estimated; without those of turns whose pod died.",
            "agent",
            "model_endpoint",
            "direction",
        )
        self.cost = self._count(
            "syntera_cost",
            "What answers cost by the Tenant's prices, in units of the currency.",
            "agent",
            "model_endpoint",
            "currency",
        )
        self.turns_limited = self._count(
            "syntera_turns_limited",
            "Turns that met a limit on tokens or turns: `soft`, it was near; `hard`, it was reached, and no model was asked.",
            "agent",
            "limit",
            "level",
        )
        self.month_tokens_used = self._gauge(
            "syntera_month_tokens_used",
            "Tokens that the tenant has used in this month (UTC), as the last turn here found.",
        )
        self.month_tokens_limit = self._gauge(
            "syntera_month_tokens_limit", "Tokens that the tenant may use in a month, as then; 0: any number."
        )
        self.searches = self._count(
            "syntera_knowledge_searches",
            "Searches of a knowledge base by outcome: `success` or the code of the failure.",
            "knowledge_base",
            "outcome",
        )
        self.search_stage_seconds = self._measure(
            "syntera_knowledge_search_stage_duration_seconds",
            "Time of one stage of a search: `embed`, `vector`, `keyword`, `fuse`, `read`, `rerank`, `join`.",
            "stage",
            quick=True,
        )
        self.search_stage_failures = self._count(
            "syntera_knowledge_search_stage_failures",
            "Stages that a search went on without, by the code of the failure.",
            "stage",
            "reason",
        )
        self.question_tokens = self._count(
            "syntera_knowledge_question_tokens",
            "Tokens of questions that were embedded, as the endpoint said or as estimated. They count for no budget.",
            "knowledge_base",
        )
        self.passages_given = self._count(
            "syntera_knowledge_passages_given", "Passages that models were given to answer from.", "agent"
        )
        self.retrievals = self._count(
            "syntera_knowledge_retrievals",
            "Turns for which knowledge was looked up, by outcome: `found`, `nothing-found` or the code of the failure.",
            "agent",
            "outcome",
        )
        self.grounded_replies = self._count(
            "syntera_knowledge_replies",
            "Replies of agents with knowledge by what came of it: `cited`, `uncited`, or why it was refused.",
            "agent",
            "outcome",
        )
        self.store_unavailable = self._count(
            "syntera_store_unavailable", "Requests and turns that failed because a store was away.", "store"
        )
        self.store_requests = self._count(
            "syntera_store_requests",
            "Uses of a store by operation and outcome: `success` or the code of the failure.",
            "store",
            "operation",
            "outcome",
        )
        self.store_seconds = self._measure(
            "syntera_store_request_duration_seconds",
            "Time of one use of a store, waiting for a connection included.",
            "store",
            quick=True,
        )
        self.store_wait_seconds = self._measure(
            "syntera_store_wait_seconds", "Time until a connection to the store was free or made.", "store", quick=True
        )
        self.webhook_deliveries = self._count(
            "syntera_webhook_deliveries",
            "Tries to tell an endpoint something, by outcome: `delivered` or the kind of the failure.",
            "outcome",
        )
        self.webhook_dead_letters = self._count(
            "syntera_webhook_dead_letters", "Deliveries that were given up after their last try, or because of a 410."
        )
        self.webhook_backlog_seconds = self._gauge(
            "syntera_webhook_backlog_seconds",
            "For how long the delivery that waits longest has been pending, as this process saw it last.",
        )
        self._kubernetes_requests = self._count(
            "syntera_kubernetes_requests",
            "Requests to the API server by verb and HTTP status (0: no answer). A watch counts when it is opened.",
            "verb",
            "status",
        )

    def watch(self, *, agents: Callable[[], int], connections: Callable[[], int], idle: Callable[[], int]) -> None:
        """Show what is, read at each scrape: agents served, open connections to PostgreSQL, and the idle ones of these."""
        self._gauge("syntera_agents_loaded", "Agents that this process serves.").set_function(agents)
        self._gauge("syntera_store_connections", "Open connections to PostgreSQL.").set_function(connections)
        self._gauge("syntera_store_connections_idle", "Open connections to PostgreSQL that nobody uses.").set_function(
            idle
        )

    @contextmanager
    def use_of_store(self, store: str, operation: str, *, is_timed: bool = True) -> Iterator[None]:
        """Count a use of a store by how it ended, and note how long it took."""
        started, outcome = time.monotonic(), "success"
        try:
            yield
        except StoreUnavailable as error:
            outcome = error.code
            raise
        finally:
            self.store_requests.labels(store, operation, outcome).inc()
            if is_timed:
                self.store_seconds.labels(store).observe(time.monotonic() - started)

    def asked_kubernetes(self, request: Request, status: int, seconds: float) -> None:
        """The API server was asked something."""
        del seconds
        self._kubernetes_requests.labels("WATCH" if request.is_watch else request.method, str(status)).inc()

    def render(self) -> bytes:
        """All values, in Prometheus' text format."""
        return generate_latest(self.registry)

    def _count(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(name, help_text, registry=self.registry)

    def _measure(self, name: str, help_text: str, *labels: str, quick: bool = False) -> Histogram:
        buckets = _QUICK_SECONDS if quick else _SECONDS
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)
