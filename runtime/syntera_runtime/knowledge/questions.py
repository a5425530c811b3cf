"""Vectors of questions, kept for a moment: an agent with several knowledge bases, or a question asked again, pays once.

Those who ask the same at the same time share one request, which nobody of them owns: each waits as long as they can, and it ends with the
last of them.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ..errors import ModelTimeout
from ..models.knowledge import Vector
from ..ports.knowledge import Embedded, Embedder

KEPT_SECONDS = 60.0
MOST_KEPT = 256
"""Of 3,072 numbers each, some 25 MiB."""

_Key = tuple[str, str, str, int, bool, str]


@dataclass(eq=False, slots=True)
class _Request:
    """A question on its way."""

    task: asyncio.Task[Embedded]
    waiting: int = 0
    is_paid: bool = False
    """Somebody was told of the tokens that it used."""


class Questions:
    """Makes vectors of questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._kept: OrderedDict[_Key, tuple[float, Vector]] = OrderedDict()
        """The oldest first, with when (`time.monotonic`) it goes."""
        self._asking: dict[_Key, _Request] = {}

    async def embed(self, model: EmbeddingModel, question: str, *, seconds: float) -> tuple[Vector, int]:
        """The question's vector, and the tokens that were used for it now.

        Raises:
            ModelTimeout: It did not come within `seconds`, or within the model's own time.
            ModelUnavailable, ModelRefused, SecretMissing: As `Embedder.embed`.
        """
        text = model.query_prefix + question
        key = (model.endpoint, model.base_url, model.model, model.dimensions, model.sends_dimensions, text)
        if (kept := self._find(key)) is not None:
            return kept, 0
        request = self._asking.get(key)
        if request is None or request.task.done():
            request = self._asking[key] = _Request(asyncio.create_task(self._ask(key, model, text)))
        embedded = await self._wait(key, request, model, seconds=seconds)
        tokens = 0 if request.is_paid else embedded.tokens
        request.is_paid = True
        return embedded.vectors[0], tokens

    async def _wait(self, key: _Key, request: _Request, model: EmbeddingModel, *, seconds: float) -> Embedded:
        request.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(request.task)  # else whoever stops waiting would stop the others
        except TimeoutError:
            raise ModelTimeout(
                f"The model endpoint {model.endpoint!r} did not embed within {seconds:g} seconds.",
                endpoint=model.endpoint,
            ) from None
        finally:
            request.waiting -= 1
            if not request.waiting:
                if self._asking.get(key) is request:
                    del self._asking[key]
                request.task.cancel()
                await asyncio.gather(request.task, return_exceptions=True)

    async def _ask(self, key: _Key, model: EmbeddingModel, text: str) -> Embedded:
        embedded = await self._embedder.embed(model, [text])
        self._keep(key, embedded.vectors[0])
        return embedded

    def _find(self, key: _Key) -> Vector | None:
        kept = self._kept.get(key)
        return None if kept is None or kept[0] < time.monotonic() else kept[1]

    def _keep(self, key: _Key, vector: Vector) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (time.monotonic() + KEPT_SECONDS, vector)
        while len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[0] < time.monotonic():
            self._kept.popitem(last=False)
