"""Has models judge passages by `POST {base_url}/rerank`, as Cohere, Jina, vLLM, LiteLLM and others speak it.

The request goes through the same client as those to embedding models, so keys, headers, certificates and errors are the same. It is
not tried again: a search has no time for it, and goes on without a judge.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from syntera_crds.contract.knowledge_config import RerankModel

from ..metrics import Metrics
from ..ports.configuration import Secrets
from ..tracing import NO_TRACER, Tracer
from .model_calls import ModelCalls
from .openai_clients import ClientPool, EndpointClient, resolve
from .openai_errors import unreadable, within

STEEPEST = 700.0
"""Beyond this the exponential function overflows, and a sigmoid is 0 or 1."""


class HttpReranker:
    """The port `Reranker` over HTTP."""

    def __init__(
        self,
        secrets: Secrets,
        *,
        clients: ClientPool | None = None,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            secrets: Where keys are looked up, for each request anew.
            clients: Those to share; they are closed with this.
            metrics: Where requests are counted.
            tracer: Where they are traced.
        """
        self._secrets = secrets
        self._calls = ModelCalls(metrics or Metrics(), tracer)
        self._clients = clients or ClientPool()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._clients.aclose()

    async def rerank(
        self, model: RerankModel, question: str, passages: Sequence[str], *, seconds: float
    ) -> Sequence[float]:
        """See `Reranker`."""
        if not passages:
            return []
        bound = min(seconds, model.timeout_seconds)
        deadline = asyncio.get_running_loop().time() + bound
        with self._calls.record(model, operation="rerank"):
            settings = resolve(model, self._secrets)
            async with self._clients.borrow(settings, endpoint=model.endpoint) as client:
                work = _post(client, model, question, passages)
                answer = await within(deadline, model, work, aim="judge passages", seconds=bound)
            return _read_scores(answer, model, count=len(passages))


async def _post(client: EndpointClient, model: RerankModel, question: str, passages: Sequence[str]) -> object:
    return await client.openai.post(
        "/rerank",
        body={"model": model.model, "query": question, "documents": list(passages), "top_n": len(passages)},
        options={"headers": client.headers, "security": {"bearer_auth": True}},
        cast_to=object,
    )


def _read_scores(answer: Any, model: RerankModel, *, count: int) -> Sequence[float]:
    """A score for each passage, in the passages' order; 0 for one that the server left out.

    Raises:
        ModelUnavailable: The answer cannot be read.
    """
    try:
        scores = {int(result["index"]): float(result["relevance_score"]) for result in answer["results"]}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise unreadable(model) from None
    if not scores or not all(0 <= index < count and math.isfinite(score) for index, score in scores.items()):
        raise unreadable(model)
    if any(not 0 <= score <= 1 for score in scores.values()):
        # Some servers answer with what the model computes before it becomes a probability.
        scores = {index: _squash(score) for index, score in scores.items()}
    return [scores.get(index, 0.0) for index in range(count)]


def _squash(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-STEEPEST, min(logit, STEEPEST))))
