"""The second half of the way of documents: what lacks a vector is embedded, then each document is stored as a whole.

Documents wait until there are enough for a batch, or nothing came for a moment. While one batch is embedded, the documents of the one
before are stored. So wherever the process dies, every document is in the index either as it was or as it is now.
"""

import asyncio
from collections.abc import Sequence

from ..models.knowledge import DocumentFailure, Failing
from ..models.tokens import estimate_tokens
from .documents import PreparedDocument, build_texts
from .embedding import BATCH_TEXTS, Embedding
from .failures import BUDGET_EXCEEDED, SyncFailed
from .room import Room
from .work import Work

STORED_AT_ONCE = 3
"""Documents, each in a transaction of its own: most of one is waiting for the store."""
QUIET_SECONDS = 2.0
"""After so long without a further document, what there is is embedded."""
_NOT_EMBEDDED = DocumentFailure(
    Failing.EMBEDDING_FAILED, "The model endpoint does not embed one of its texts. The next sync tries again."
)

Documents = Sequence[PreparedDocument]
_Embedded = tuple[Documents, frozenset[bytes]]
"""Documents whose texts were sent, with the hashes of those that were not embedded."""


class Intake:
    """Takes prepared documents in, for one sync."""

    def __init__(self, work: Work, embedding: Embedding, room: Room) -> None:
        """Prepare.

        Args:
            work: The sync.
            embedding: What embeds.
            room: What documents under way take; each gives its part back.
        """
        self._work = work
        self._embedding = embedding
        self._room = room
        self._storing = asyncio.Semaphore(STORED_AT_ONCE)
        self._planned_tokens = 0

    async def run(self, queue: "asyncio.Queue[PreparedDocument | None]") -> None:
        """Take in what comes, until None comes.

        Raises:
            SyncFailed: No more may be embedded, or nothing can be.
            StoreUnavailable: Something could not be stored.
        """
        embedded: asyncio.Queue[_Embedded | None] = asyncio.Queue(maxsize=1)
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store_all(embedded))
            try:
                while (batch := await _collect(queue)) is not None:
                    await self._embed(batch, embedded)
            except (SyncFailed, ExceptionGroup) as error:
                # What was embedded before is stored nevertheless.
                failure = error
            await embedded.put(None)
        if failure is not None:
            raise failure

    async def _embed(self, batch: Documents, embedded: "asyncio.Queue[_Embedded | None]") -> None:
        work = self._work
        hashes = list({chunk.embedded_hash for document in batch for chunk in document.chunks})
        there = await work.known_vectors(hashes)
        taken, texts, is_over = self._plan(batch, there)
        failed = await self._embedding.embed(texts)
        await embedded.put((taken, failed))
        if is_over is not None:
            raise is_over

    def _plan(self, batch: Documents, there: frozenset[bytes]) -> tuple[Documents, dict[bytes, str], SyncFailed | None]:
        """The documents that the budget allows, and what is to be embedded for them."""
        texts: dict[bytes, str] = {}
        for number, document in enumerate(batch):
            lacking = {
                key: text
                for key, text in build_texts(self._work.config, document).items()
                if key not in there and key not in texts
            }
            tokens = sum(map(estimate_tokens, lacking.values()))
            budget = self._work.config.budget.max_tokens_per_sync
            if budget is not None and tokens and self._planned_tokens + tokens > budget:
                return batch[:number], texts, _exceeded(budget, self._planned_tokens + tokens)
            self._planned_tokens += tokens
            texts |= lacking
        return batch, texts, None

    async def _store_all(self, queue: "asyncio.Queue[_Embedded | None]") -> None:
        while (embedded := await queue.get()) is not None:
            documents, failed = embedded
            async with asyncio.TaskGroup() as group:
                for document in documents:
                    group.create_task(self._settle(document, failed))

    async def _settle(self, document: PreparedDocument, failed: frozenset[bytes]) -> None:
        async with self._storing:
            if failed and any(chunk.embedded_hash in failed for chunk in document.chunks):
                await self._give_up(document)
            else:
                await self._store(document)
        await self._room.leave(document.weight)

    async def _store(self, document: PreparedDocument) -> None:
        work = self._work
        await work.store.put_document(
            work.tenant_id,
            work.index,
            document=document.known,
            origin=document.origin,
            facts=document.facts,
            content_hash=document.content_hash,
            validators=document.validators,
            links=document.links,
            extracted=document.extracted,
            chunks=document.chunks,
            reader=document.reader,
            is_pending=document.is_pending,
        )
        work.progress.has_changed = True
        work.progress.count(chunks_written=len(document.chunks))
        if document.is_carried:
            work.progress.count(unchanged=1)
        elif document.known is None or not document.known.reader:
            work.progress.count(added=1)
        else:
            work.progress.count(changed=1)

    async def _give_up(self, document: PreparedDocument) -> None:
        """A document that the index has stays there as it was; only one that it has not fails for good."""
        work, known = self._work, document.known
        work.progress.unembedded += 1
        work.progress.spared |= {chunk.embedded_hash for chunk in document.chunks}
        work.progress.fail(document.origin.source, document.origin.path, _NOT_EMBEDDED.reason, _NOT_EMBEDDED.message)
        if known is not None and (known.indexed_hash is not None or known.failure == _NOT_EMBEDDED):
            return
        await work.store.fail_document(
            work.tenant_id,
            work.knowledge_base_id,
            work.index,
            document=known,
            origin=document.origin,
            facts=document.facts,
            failure=_NOT_EMBEDDED,
        )


async def _collect(queue: "asyncio.Queue[PreparedDocument | None]") -> Documents | None:
    """Documents for one batch; None: all have come."""
    first = await queue.get()
    if first is None:
        return None
    batch, chunks = [first], len(first.chunks)
    while chunks < BATCH_TEXTS:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                following = await queue.get()
        except TimeoutError:
            break
        if following is None:
            queue.put_nowait(None)  # for whoever asks next; there was room for it a moment ago
            break
        batch.append(following)
        chunks += len(following.chunks)
    return batch


def _exceeded(budget: int, needed: int) -> SyncFailed:
    return SyncFailed(
        BUDGET_EXCEEDED,
        f"The next document would bring this sync to about {needed:,} tokens, and budget.maxTokensPerSync is {budget:,}. What"
        " was embedded is kept; the next sync goes on from here. Raise the budget to have all at once.",
        is_final=True,
    )
