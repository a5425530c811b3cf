"""A runtime's metrics to which a little of everything has happened."""

from syntera_kube.transport import Request
from syntera_runtime.metrics import Metrics


def make_observed_metrics() -> Metrics:
    """Every metric with a value."""
    metrics = Metrics()
    metrics.watch(agents=lambda: 2, connections=lambda: 3, idle=lambda: 1)
    metrics.requests.labels("public", "GET", "/v1/agents", "200").inc()
    metrics.request_seconds.labels("public", "GET", "/v1/agents").observe(0.02)
    metrics.streams_open.inc()
    metrics.sockets_open.inc()
    metrics.socket_connections.labels("key-revoked").inc()
    metrics.socket_events.labels("message.send", "success").inc()
    metrics.socket_events_sent.labels("message.delta").inc()
    metrics.rate_limited.labels("tenant").inc()
    metrics.rate_limits_unchecked.inc()
    metrics.challenges.labels("challenge-failed").inc()
    metrics.turns.labels("travel", "conversation", "complete").inc()
    metrics.turns_running.set(1)
    metrics.model_first_text_seconds.labels("openai").observe(0.4)
    metrics.model_seconds.labels("openai", "complete").observe(3)
    metrics.model_requests.labels("openai", "model-unavailable").inc()
    metrics.model_retries.labels("openai").inc()
    metrics.model_fallbacks.labels("openai").inc()
    metrics.tokens.labels("travel", "openai", "prompt").inc(120)
    metrics.tokens_estimated.labels("travel", "openai", "completion").inc(40)
    metrics.cost.labels("travel", "openai", "EUR").inc(0.000018)
    metrics.turns_limited.labels("travel", "tokensPerMonth", "soft").inc()
    metrics.month_tokens_used.set(4_100_000)
    metrics.month_tokens_limit.set(5_000_000)
    metrics.searches.labels("handbook", "success").inc()
    metrics.search_stage_seconds.labels("vector").observe(0.003)
    metrics.search_stage_failures.labels("embed", "model-unavailable").inc()
    metrics.question_tokens.labels("handbook").inc(12)
    metrics.passages_given.labels("travel").inc(5)
    metrics.retrievals.labels("travel", "found").inc()
    metrics.grounded_replies.labels("travel", "cited").inc()
    metrics.store_unavailable.labels("PostgreSQL").inc()
    metrics.store_requests.labels("PostgreSQL", "begin_turn", "success").inc()
    metrics.store_seconds.labels("PostgreSQL").observe(0.004)
    metrics.store_wait_seconds.labels("PostgreSQL").observe(0.001)
    metrics.webhook_deliveries.labels("delivered").inc()
    metrics.webhook_dead_letters.inc()
    metrics.webhook_backlog_seconds.set(2)
    metrics.asked_kubernetes(Request("POST", "/apis/authentication.k8s.io/v1/tokenreviews"), 201, 0.01)
    return metrics
