"""Vectors of questions, kept for a moment: an agent with several knowledge bases, or a question asked again, pays once."""

import asyncio
import time
from collections import OrderedDict
from weakref import WeakValueDictionary

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ..models.knowledge import Vector
from ..ports.knowledge import Embedder

KEPT_SECONDS = 60.0
MOST_KEPT = 256
"""Of 3,072 numbers each, some 25 MiB."""

_Key = tuple[str, str, str, int, bool, str]


class Questions:
    """Makes vectors of questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._kept: OrderedDict[_Key, tuple[float, Vector]] = OrderedDict()
        """The oldest first, with when (`time.monotonic`) it goes."""
        self._asking: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def embed(self, model: EmbeddingModel, question: str, *, seconds: float) -> tuple[Vector, int]:
        """The question's vector, and the tokens that were used for it now.

        Raises:
            ModelUnavailable, ModelTimeout, ModelRefused, SecretMissing: As `Embedder.embed`.
        """
        text = model.query_prefix + question
        key = (model.endpoint, model.base_url, model.model, model.dimensions, model.sends_dimensions, text)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:  # who asks the same at the same time waits for the one answer
            if (kept := self._find(key)) is not None:
                return kept, 0
            embedded = await self._embedder.embed(model, [text], seconds=seconds)
            self._keep(key, embedded.vectors[0])
            return embedded.vectors[0], embedded.tokens

    def _find(self, key: _Key) -> Vector | None:
        kept = self._kept.get(key)
        return None if kept is None or kept[0] < time.monotonic() else kept[1]

    def _keep(self, key: _Key, vector: Vector) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (time.monotonic() + KEPT_SECONDS, vector)
        while len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[0] < time.monotonic():
            self._kept.popitem(last=False)
