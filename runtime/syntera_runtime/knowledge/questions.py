"""Vectors of questions, kept for a moment: an agent with several knowledge bases, or a question asked again, pays once."""

import asyncio
import time
from collections import OrderedDict

from syntera_crds.contract.knowledge_config import EmbeddingModel

from ..errors import ModelError, SecretMissing
from ..models.knowledge import Vector
from ..ports.knowledge import Embedder

KEPT_SECONDS = 60.0
MOST_KEPT = 256
"""Of 3,072 numbers each, some 25 MiB."""

_Key = tuple[str, str, str, int, bool, str]
_Outcome = Vector | ModelError | SecretMissing | None


class Questions:
    """Makes vectors of questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._kept: OrderedDict[_Key, tuple[float, Vector]] = OrderedDict()
        """The oldest first, with when (`time.monotonic`) it goes."""
        self._asking: dict[_Key, asyncio.Future[_Outcome]] = {}
        """What becomes of the questions that are being asked now. None: whoever asked was stopped."""

    async def embed(self, model: EmbeddingModel, question: str, *, seconds: float) -> tuple[Vector, int]:
        """The question's vector, and the tokens that were used for it now. Who asks the same at the same time shares the answer.

        Raises:
            ModelUnavailable, ModelTimeout, ModelRefused, SecretMissing: As `Embedder.embed`.
        """
        text = model.query_prefix + question
        key = (model.endpoint, model.base_url, model.model, model.dimensions, model.sends_dimensions, text)
        while (asking := self._asking.get(key)) is not None:
            outcome = await asyncio.shield(asking)  # else whoever stops waiting would stop the others
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is not None:
                return outcome, 0
        if (kept := self._find(key)) is not None:
            return kept, 0
        return await self._ask(key, model, text, seconds=seconds)

    async def _ask(self, key: _Key, model: EmbeddingModel, text: str, *, seconds: float) -> tuple[Vector, int]:
        asking = self._asking[key] = asyncio.get_running_loop().create_future()
        outcome: _Outcome = None
        try:
            embedded = await self._embedder.embed(model, [text], seconds=seconds)
            outcome = embedded.vectors[0]
            self._keep(key, outcome)
        except (ModelError, SecretMissing) as error:
            outcome = error
            raise
        finally:
            del self._asking[key]
            asking.set_result(outcome)
        return outcome, embedded.tokens

    def _find(self, key: _Key) -> Vector | None:
        kept = self._kept.get(key)
        return None if kept is None or kept[0] < time.monotonic() else kept[1]

    def _keep(self, key: _Key, vector: Vector) -> None:
        self._kept.pop(key, None)
        self._kept[key] = (time.monotonic() + KEPT_SECONDS, vector)
        while len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[0] < time.monotonic():
            self._kept.popitem(last=False)
