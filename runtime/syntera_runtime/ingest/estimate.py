"""What a rebuild is going to embed, known before it does: all stored texts are cut once for that."""

from collections.abc import Collection
from contextlib import aclosing

from ..models.knowledge import DocumentState
from ..models.tokens import estimate_tokens
from .documents import cut_document
from .extraction_port import ExtractionFailed
from .facts import build_embedded_text
from .failures import BUDGET_EXCEEDED, SyncFailed, killed
from .work import Work

_WITH_TEXT = (DocumentState.INDEXED, DocumentState.PENDING)
"""A pending one may have the text of before, which tells about how long the one to come will be."""


async def estimate_rebuild(work: Work, sources: Collection[str]) -> int:
    """The tokens of the texts that documents of these sources need and that the index has no vector of.

    Documents that no sync has seen yet are not among them.

    Raises:
        SyncFailed: The process is to end.
        StoreUnavailable: Something could not be read.
    """
    counted: set[bytes] = set()
    total = 0
    for source in sources:
        async with aclosing(work.documents(source).pages()) as pages:
            async for page in pages:
                for document in page:
                    if work.stop.is_set():
                        raise killed()
                    if document.state not in _WITH_TEXT or work.holds(document):
                        continue
                    extracted = await work.store.read_text(work.tenant_id, document.id)
                    if extracted is None:
                        continue
                    title = document.facts.title
                    try:
                        chunks = await cut_document(work.config, extracted, title=title)
                    except ExtractionFailed:
                        continue
                    sizes = {
                        indexed.embedded_hash: estimate_tokens(
                            build_embedded_text(work.config.embedding, title=title, chunk=indexed.chunk)
                        )
                        for indexed in chunks
                        if indexed.embedded_hash not in counted
                    }
                    there = await work.known_vectors(list(sizes))
                    total += sum(size for key, size in sizes.items() if key not in there)
                    counted |= sizes.keys()
    return total


def check_budget(work: Work, estimated: int) -> None:
    """Refuse a rebuild that costs more than it may, before anything of it is paid for.

    Raises:
        SyncFailed: It does.
    """
    budget = work.config.budget.max_tokens_per_sync
    if budget is not None and estimated > budget:
        raise SyncFailed(
            BUDGET_EXCEEDED,
            f"The new index needs about {estimated:,} tokens, and budget.maxTokensPerSync is {budget:,}. Nothing was embedded,"
            " and the index before serves on. Raise the budget, or take the change back.",
            is_final=True,
        )
