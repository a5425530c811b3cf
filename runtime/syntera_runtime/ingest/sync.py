"""Brings one knowledge base in step with its sources, once.

The order makes every moment one in which the process may die: documents change one by one, each in a transaction; vectors are there
before the chunks that need them; an index that is being built is searched by nobody until it is whole. What is
left over (vectors without chunks, statistics of words) is put right by the next sync, which knows from the history of syncs that
this one did not come to its end.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig, Source

from ..errors import SecretMissing, StoreUnavailable, SynteraError, TooManyKnowledgeBases
from ..models.ids import DocumentId, KnowledgeBaseId, SyncId, TenantId
from ..models.knowledge import Index, IndexModel, IndexState, IndexStorage, KnowledgeBase, Sync, SyncState
from ..ports.knowledge import Embedder, KnowledgeWriter, VectorIndex, VectorsOf
from .audiences import apply_audiences
from .documents import PreparedDocument
from .embedding import Embedding
from .estimate import check_budget, estimate_rebuild
from .extraction_port import Extractor
from .failures import EMBEDDING_FAILED, SyncFailed, explain, killed
from .intake import Intake
from .progress import Progress, reported
from .room import Room
from .source_pass import SourcePass, has_just_come, remove_documents
from .throttle import Throttle
from .work import BuildSource, Work

BUSY_SECONDS = 5.0
"""How often a sync that waits for another one looks whether that has ended."""
LAST_WORD_SECONDS = 10.0
"""How long writing down the end may take once the process is to end."""
MOST_UNEMBEDDED = 0.1
"""Part of all documents that an index may lack because the model does not take their texts, and replace another one all the same."""
UNDER_WAY = timedelta(minutes=1)
"""How long an index is kept that was replaced, whatever is configured: searches that began before the switch still read it."""
_SCHEDULE = "schedule"
"""The trigger of syncs that nobody asked for."""
_QUEUED = 8
"""Documents between the two halves of their way."""

log = structlog.get_logger(__name__)


class SyncHistory(Protocol):
    """The syncs of before."""

    async def list_syncs(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, before: SyncId | None = None, limit: int
    ) -> Sequence[Sync]:
        """See `KnowledgeEditor`."""
        ...


@dataclass(frozen=True, slots=True)
class SyncTools:
    """What syncs work with."""

    tenant_id: TenantId
    store: KnowledgeWriter
    history: SyncHistory
    vectors_of: VectorsOf
    embedder: Embedder
    """It tries once."""
    extractor: Extractor
    reader: str
    build_source: BuildSource
    stop: asyncio.Event
    """Set where the process is to end."""
    make_throttle: Callable[[], Throttle] = Throttle


async def synchronise(
    tools: SyncTools,
    read_config: Callable[[], KnowledgeBaseConfig],
    *,
    name: str,
    trigger: str,
    waits: bool,
) -> Sync | None:
    """Run one sync.

    Args:
        tools: What it works with.
        read_config: Reads the configuration, which is done once nobody else fills the knowledge base.
        name: The knowledge base's.
        trigger: What began the sync.
        waits: Where another sync runs, wait for its end; else leave it at that.

    Returns:
        How it ended; None: another sync runs.

    Raises:
        SyncFailed: It did not come to its end.
        ConfigurationError: The configuration cannot be read.
    """
    while not tools.stop.is_set():
        try:
            async with tools.store.lock(tools.tenant_id, name) as knowledge_base:
                if knowledge_base is not None:
                    return await _Synchronisation(tools, read_config(), knowledge_base).run(trigger)
        except (StoreUnavailable, TooManyKnowledgeBases) as error:
            raise explain(error) from error
        if not waits:
            return None
        with suppress(TimeoutError):
            async with asyncio.timeout(BUSY_SECONDS):
                await tools.stop.wait()
    raise explain(asyncio.CancelledError())


class _Synchronisation:
    def __init__(self, tools: SyncTools, config: KnowledgeBaseConfig, knowledge_base: KnowledgeBase) -> None:
        self._tools = tools
        self._tenant_id = tools.tenant_id
        self._store = tools.store
        self._config = config
        self._knowledge_base = knowledge_base

    async def run(self, trigger: str) -> Sync:
        was_cut_off = await self._was_cut_off()
        begun = await self._store.begin_sync(
            self._tenant_id, self._knowledge_base.id, trigger=trigger, revision=self._config.revision
        )
        progress = Progress(begun)
        progress.has_changed = was_cut_off
        log.info("sync began", sync_id=str(begun.id), trigger=trigger, revision=self._config.revision)
        try:
            async with reported(progress, self._store, self._tenant_id):
                await self._bring_in_step(progress, was_cut_off=was_cut_off)
                await self._tidy_up(progress, is_asked_for=trigger != _SCHEDULE)
        except BaseException as error:
            failure = explain(error)
            await self._end(progress, SyncState.FAILED, failure=failure)
            if not isinstance(error, Exception):
                raise
            if failure.code == SynteraError.code:
                log.error("sync met a fault of ours", exc_info=error)
            raise failure from error
        return await self._end(progress, SyncState.COMPLETE)

    async def _was_cut_off(self) -> bool:
        """Whether the sync before left something to be put right."""
        syncs = await self._tools.history.list_syncs(self._tenant_id, self._knowledge_base.id, limit=1)
        return any(sync.state is not SyncState.COMPLETE for sync in syncs)

    async def _end(self, progress: Progress, state: SyncState, *, failure: SyncFailed | None = None) -> Sync:
        ended = replace(progress.sync, state=state, ended_at=datetime.now(UTC))
        if failure is not None:
            ended = replace(ended, failure=failure.code, message=failure.message)
        counts = progress.sync.counts
        log.info(
            "sync ended",
            sync_id=str(ended.id),
            state=state.value,
            failure=ended.failure,
            documents=counts.documents,
            failed=counts.failed,
            embedded_tokens=counts.embedded_tokens,
        )
        if failure is None:
            await self._store.report_sync(self._tenant_id, ended)
            return ended
        # A store that is away cannot be told; the next sync finds that this one was killed.
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(LAST_WORD_SECONDS):
                await asyncio.shield(self._store.report_sync(self._tenant_id, ended))
        return ended

    async def _bring_in_step(self, progress: Progress, *, was_cut_off: bool) -> None:
        index = await self._open_index()
        progress.fills(index.number)
        vectors = self._vectors_of(index)
        work = Work(
            self._tenant_id,
            self._knowledge_base.id,
            self._config,
            index,
            self._store,
            vectors,
            self._tools.extractor,
            self._tools.reader,
            progress,
            self._tools.stop,
            await self._find_vectors(index, vectors) if was_cut_off else frozenset(),
        )
        await apply_audiences(work)
        is_building = index.state is not IndexState.ACTIVE
        if is_building:
            estimated = await estimate_rebuild(work, [source.name for source in self._config.sources])
            progress.will_embed(estimated)
            await self._store.report_sync(self._tenant_id, progress.sync)
            check_budget(work, estimated)
        await self._forget_sources(work)
        await self._read_sources(work)
        if is_building and self._knowledge_base.active is not None:
            _check_whole(progress)
        if is_building or progress.has_changed:
            await self._store.finish_index(self._tenant_id, index)
        if is_building:
            await self._store.activate_index(self._tenant_id, index)
            log.info("index activated", index=index.number)

    async def _open_index(self) -> Index:
        return await self._store.open_index(
            self._tenant_id,
            self._knowledge_base.id,
            fingerprint=self._config.fingerprint(),
            dimensions=self._config.embedding.dimensions,
            pinecone_host=self._configured_host,
            embedding=IndexModel.of(self._config.embedding),
        )

    async def _find_vectors(self, index: Index, vectors: VectorIndex) -> frozenset[bytes]:
        """What a sync that broke off has paid for and stored no chunks of, where the store of chunks cannot tell."""
        if index.storage is not IndexStorage.PINECONE:
            return frozenset()
        async with aclosing(vectors.hashes(self._tenant_id, index)) as pages:
            return frozenset([key async for page in pages for key in page])

    async def _forget_sources(self, work: Work) -> None:
        """Remove the documents of sources that are configured no more."""
        known = await self._store.list_sources(self._tenant_id, self._knowledge_base.id)
        for source in sorted(known - {source.name for source in self._config.sources}):
            gone: list[DocumentId] = []
            async with aclosing(work.documents(source).pages()) as pages:
                async for page in pages:
                    gone += [document.id for document in page if not has_just_come(document)]
            await remove_documents(work, gone)

    async def _read_sources(self, work: Work) -> None:
        """One source after the other; their documents are embedded and stored while further ones are read."""
        queue: asyncio.Queue[PreparedDocument | None] = asyncio.Queue(maxsize=_QUEUED)
        room = Room()
        embedding = Embedding(
            self._tools.embedder,
            self._config.embedding,
            work.vectors,
            tenant_id=self._tenant_id,
            index=work.index,
            progress=work.progress,
            stop=work.stop,
            throttle=self._tools.make_throttle(),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(Intake(work, embedding, room).run(queue), name="intake")
            await self._read_until_stopped(work, queue, room)
            await queue.put(None)
        if work.stop.is_set():
            raise killed()

    async def _read_until_stopped(
        self, work: Work, queue: "asyncio.Queue[PreparedDocument | None]", room: Room
    ) -> None:
        """Nothing is lost where reading breaks off; what was sent to be embedded is waited for by whoever sent it."""

        async def read_all() -> None:
            for source in self._config.sources:
                await self._read_source(work, source, queue, room)

        reading = asyncio.create_task(read_all(), name="reading of sources")
        stopping = asyncio.create_task(work.stop.wait(), name="stop")
        try:
            await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading
        finally:
            reading.cancel()
            stopping.cancel()
            await asyncio.wait((reading, stopping))

    async def _read_source(
        self, work: Work, source: Source, queue: "asyncio.Queue[PreparedDocument | None]", room: Room
    ) -> None:
        documents = work.documents(source.name)
        reader = self._tools.build_source(source, documents)
        await SourcePass(work, source, reader, documents=documents, queue=queue, room=room).run()
        log.info("source read", source=source.name)

    async def _drop_expired(self) -> None:
        kept = max(timedelta(hours=self._config.rollback_hours), UNDER_WAY)
        expired = await self._store.list_expired_indexes(self._tenant_id, self._knowledge_base.id, kept=kept)
        for index in expired:
            await self._drop(index)

    async def _drop(self, index: Index) -> None:
        # Its rows go last: while its vectors are somewhere, they say where, and the next sync tries again.
        with self._spared(index):
            await self._vectors_of(index).drop(self._tenant_id, index)
            await self._store.drop_index(self._tenant_id, index)
            log.info("index dropped", index=index.number)

    async def _tidy_up(self, progress: Progress, *, is_asked_for: bool) -> None:
        """Drop what nobody needs any more. Where somebody asked for the sync, documents may have been taken out before of which
        the sources tell nothing; their vectors are also in what is kept to go back to."""
        await self._drop_expired()
        if not (progress.has_changed or is_asked_for):
            return
        for index in await self._store.list_indexes(self._tenant_id, self._knowledge_base.id):
            is_swept = index.state is IndexState.ACTIVE or (is_asked_for and index.state is IndexState.RETIRED)
            if is_swept:
                with self._spared(index):
                    await self._sweep(index, spared=progress.spared)

    async def _sweep(self, index: Index, *, spared: Collection[bytes]) -> None:
        """Delete the vectors that no chunk of an index needs any more."""
        vectors = self._vectors_of(index)
        async with aclosing(vectors.hashes(self._tenant_id, index)) as pages:
            async for page in pages:
                used = await self._store.used_hashes(self._tenant_id, index, page)
                left = [key for key in page if key not in used and key not in spared]
                if left:
                    await vectors.delete(self._tenant_id, index, left)

    @contextmanager
    def _spared(self, index: Index) -> Iterator[None]:
        """Leave an index as it is whose vectors are where the configuration leads no more, if they cannot be reached there."""
        try:
            yield
        except (StoreUnavailable, SecretMissing) as error:
            if index.pinecone_host in (None, self._configured_host):
                raise
            log.warning("vectors out of reach", index=index.number, host=index.pinecone_host, reason=error.message)

    def _vectors_of(self, index: Index) -> VectorIndex:
        return self._tools.vectors_of(self._config, index)

    @property
    def _configured_host(self) -> str | None:
        """Where in Pinecone new indexes have their vectors; None: in PostgreSQL."""
        return None if self._config.pinecone is None else self._config.pinecone.index_host


def _check_whole(progress: Progress) -> None:
    """Refuse to have an index searched in place of another one while it lacks too much.

    Raises:
        SyncFailed: It does.
    """
    if progress.unembedded > MOST_UNEMBEDDED * progress.sync.counts.documents:
        raise SyncFailed(
            EMBEDDING_FAILED,
            f"{progress.unembedded} documents were not embedded, so the new index is not searched; the one before serves on. See"
            " whether the model takes texts of chunking.targetTokens.",
            is_final=False,
        )
