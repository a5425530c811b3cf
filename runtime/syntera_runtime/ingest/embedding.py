"""Has texts embedded and their vectors kept: in batches that are split into requests at once, patient with busy endpoints.

Vectors are written as each request is answered, so of what is paid for at most the requests under way are lost with the process. One
batch runs at a time, which bounds what they can hold.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import structlog

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ..errors import ModelError, ModelRefused, ModelTimeout, ModelUnavailable, SecretMissing
from ..models.ids import TenantId
from ..models.knowledge import Index
from ..models.tokens import estimate_tokens
from ..ports.knowledge import Embedded, Embedder, VectorIndex
from .failures import EMBEDDING_FAILED, SyncFailed, killed
from .progress import Progress
from .throttle import Throttle

BATCH_TEXTS = 256
REQUEST_TEXTS = 16
REQUEST_TOKENS = 4000
"""As estimated. Small enough for models on processors, which embed some hundred tokens a second, to answer within a minute."""
TRIES = 4
"""Of one request, before it is looked into whether it is the endpoint or one of its texts."""
PROBES = 5
"""Without an answer to any of them the endpoint counts as away: with the pauses between, after some two minutes."""
_PROBE = "test"

_Text = tuple[bytes, str]

log = structlog.get_logger(__name__)


class Embedding:
    """Fills the vectors of one index during one sync."""

    def __init__(
        self,
        embedder: Embedder,
        model: EmbeddingModel,
        vectors: VectorIndex,
        *,
        tenant_id: TenantId,
        index: Index,
        progress: Progress,
        stop: asyncio.Event,
        throttle: Throttle,
    ) -> None:
        """Prepare.

        Args:
            embedder: One that tries once: trying again happens here.
            model: Which model.
            vectors: Where vectors go.
            tenant_id: Whose.
            index: Which index.
            progress: Where texts and tokens are counted.
            stop: Set where no further batch may begin.
            throttle: How many requests at once.
        """
        self._embedder = embedder
        self._model = model
        self._vectors = vectors
        self._tenant_id = tenant_id
        self._index = index
        self._progress = progress
        self._stop = stop
        self._throttle = throttle
        self._probing = asyncio.Lock()

    async def embed(self, texts: Mapping[bytes, str]) -> frozenset[bytes]:
        """Embed texts, by their hashes, and keep the vectors.

        Returns:
            Those that the endpoint did not embed.

        Raises:
            SyncFailed: The endpoint refuses whatever it is sent, or is away; or the process is to end.
            StoreUnavailable: Vectors could not be kept.
        """
        failed: frozenset[bytes] = frozenset()
        for batch in _batches(texts):
            if self._stop.is_set():
                raise killed()
            failed |= await self._gather(_requests(batch))
        return failed

    async def _gather(self, requests: Iterator[Sequence[_Text]]) -> frozenset[bytes]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._request(request)) for request in requests]
        return frozenset().union(*(task.result() for task in tasks))

    async def _request(self, texts: Sequence[_Text]) -> frozenset[bytes]:
        """Embed the texts of one request, in smaller ones where it is too much. Those that did not go are returned."""
        for number in range(TRIES):
            if number and self._stop.is_set():
                raise killed()
            try:
                embedded = await self._ask([text for _, text in texts])
            except ModelTimeout:
                if len(texts) > 1:
                    return await self._gather(_halves(texts))
            except ModelUnavailable:
                pass
            except ModelRefused:
                break
            else:
                vectors = {key: vector for (key, _), vector in zip(texts, embedded.vectors, strict=True)}
                await self._vectors.write(self._tenant_id, self._index, vectors)
                self._progress.count(embedded_chunks=len(texts), embedded_tokens=embedded.tokens)
                return frozenset()
        return await self._find_refused(texts)

    async def _find_refused(self, texts: Sequence[_Text]) -> frozenset[bytes]:
        """One text that the model cannot take has a whole request refused: find it, unless all is refused."""
        async with self._probing:
            await self._probe()
        if len(texts) == 1:
            return frozenset({texts[0][0]})
        return await self._gather(_halves(texts))

    async def _probe(self) -> None:
        """Tell a text that is not taken from an endpoint that takes none.

        Raises:
            SyncFailed: Nothing is taken, or nobody answers.
        """
        for _ in range(PROBES):
            if self._stop.is_set():
                raise killed()
            try:
                await self._ask([_PROBE])
            except ModelRefused as refusal:
                raise SyncFailed(refusal.code, refusal.message, is_final=True) from None
            except (ModelUnavailable, ModelTimeout):
                continue
            return
        raise SyncFailed(
            EMBEDDING_FAILED,
            f"The model endpoint {self._model.endpoint!r} does not embed. What was embedded is kept; the next sync goes on"
            " from here.",
            is_final=False,
        )

    async def _ask(self, texts: Sequence[str]) -> Embedded:
        async with self._throttle.slot():
            try:
                embedded = await self._embedder.embed(self._model, texts)
            except (ModelUnavailable, ModelTimeout) as failure:
                self._throttle.failed(failure.retry_after_seconds)
                log.warning("texts not embedded", code=failure.code, texts=len(texts), at_once=self._throttle.limit)
                raise
            except ModelRefused as failure:
                log.warning("texts not embedded", code=failure.code, texts=len(texts))
                raise
            except (ModelError, SecretMissing) as failure:
                raise SyncFailed(failure.code, failure.message, is_final=not failure.retryable) from None
            self._throttle.succeeded()
            return embedded


def _batches(texts: Mapping[bytes, str]) -> Iterator[Sequence[_Text]]:
    items = iter(texts.items())
    while batch := list(islice(items, BATCH_TEXTS)):
        yield batch


def _requests(batch: Sequence[_Text]) -> Iterator[Sequence[_Text]]:
    request: list[_Text] = []
    tokens = 0
    for key, text in batch:
        size = estimate_tokens(text)
        if request and (len(request) >= REQUEST_TEXTS or tokens + size > REQUEST_TOKENS):
            yield request
            request, tokens = [], 0
        request.append((key, text))
        tokens += size
    if request:
        yield request


def _halves(texts: Sequence[_Text]) -> Iterator[Sequence[_Text]]:
    middle = len(texts) // 2
    return iter((texts[:middle], texts[middle:]))
