"""The first half of the way of documents: one source is read, and what has changed is extracted and cut.

What a source hands over is compared with what is known of it: a document that is as it was costs no write, but for what the source
or the configuration says anew of it. One whose content is as it was and that the index lacks is cut from its stored text.

Of all documents of the source only outlines are in memory. Everything else that is known of one is read when its turn comes, and
shows whether somebody has deleted it meanwhile or asked to take it in anew: then it is left to the sync that was asked for with that.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import structlog

from syntera_crds.contract.knowledge_config import Source

from ..models.ids import DocumentId
from ..models.knowledge import (
    DocumentChange,
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    Failing,
    IndexedChunk,
    KnownDocument,
)
from .documents import PreparedDocument, cut_document
from .extraction_port import ExtractionFailed
from .facts import (
    SourceSettings,
    has_same_facts,
    has_same_settings,
    mark,
    merge_facts,
    renew_facts,
    replace_validators,
)
from .items import DocumentSource, Fetched, Item, Missed, Same, SourceDocuments
from .outlines import Outline, build_outline, is_current
from .room import Room
from .work import Work

EXTRACTIONS_AT_ONCE = 4
FRESH = timedelta(hours=1)
"""Longer than a configuration takes to reach a sync that begins."""
STEP = 100
"""Documents that are touched or removed in one go."""
MOST_PATH = 2048

log = structlog.get_logger(__name__)


class SourcePass:
    """One reading of one source."""

    def __init__(
        self,
        work: Work,
        source: Source,
        reader: DocumentSource,
        *,
        documents: SourceDocuments,
        queue: "asyncio.Queue[PreparedDocument | None]",
        room: Room,
    ) -> None:
        """Prepare.

        Args:
            work: The sync.
            source: What is configured.
            reader: What reads it.
            documents: What is known of its documents.
            queue: Where documents go on.
            room: What each of them takes before it does.
        """
        self._work = work
        self._source = source
        self._settings = SourceSettings.of(source)
        self._reader = reader
        self._documents = documents
        self._queue = queue
        self._room = room
        self._extractions = asyncio.Semaphore(EXTRACTIONS_AT_ONCE)
        self._cutting = asyncio.Lock()
        self._known: dict[str, Outline] = {}
        self._seen: set[str] = set()
        self._touched: dict[DocumentId, DocumentChange] = {}
        self._is_missed = False

    async def run(self) -> None:
        """Read the source; every document of it has gone on, or has failed, or is forgotten, once this returns.

        Raises:
            StoreUnavailable: Something could not be read or written.
        """
        await self._load_known()
        async with (
            asyncio.TaskGroup() as group,
            aclosing(self._reader.read(self._known)) as items,
        ):
            async for item in items:
                await self._take(item, group)
        if self._is_missed:
            await self._carry_rest()
        else:
            await self._remove_rest()
        await self._touch(at_least=1)

    async def _load_known(self) -> None:
        """Note what is known. Uploads, and what was read elsewhere, are no documents of a source that has become one of the other kind:
        nothing would be said of them any more, and nobody would be asked for whom they are."""
        of_others: list[DocumentId] = []
        async with aclosing(self._documents.pages()) as pages:
            async for page in pages:
                for document in page:
                    if (document.file_id is None) == (self._source.upload is None):
                        outline = build_outline(document, self._work, self._settings)
                        self._known[document.origin.path] = outline
                    elif not has_just_come(document):
                        of_others.append(document.id)
        await remove_documents(self._work, of_others)

    async def _take(self, item: Item, group: asyncio.TaskGroup) -> None:
        if item.path is None:
            assert isinstance(item, Missed)
            self._is_missed = True
            self._work.progress.fail(self._source.name, None, item.reason, item.message)
            return
        outline = self._known.get(item.path)
        if item.path in self._seen or (outline is not None and outline.is_excluded):
            self._seen.add(item.path)
            return
        self._seen.add(item.path)
        match item:
            case Missed(path=path, reason=reason, message=message):
                self._work.progress.fail(self._source.name, path, reason, message)
                if outline is not None:
                    await self._carry(item.path, outline)
            case Same():
                await self._take_same(item, outline)
            case Fetched():
                await self._take_fetched(item, outline, group)

    async def _take_same(self, item: Same, outline: Outline | None) -> None:
        if outline is None or outline.content_hash is None:
            log.warning("source calls an unknown document unchanged", source=self._source.name)
        elif outline.is_settled and item.validators is None:
            self._work.progress.count(documents=1, unchanged=1)
        elif (known := await self._find(item.path, outline)) is not None:
            await self._keep(item, known)

    async def _take_fetched(self, item: Fetched, outline: Outline | None, group: asyncio.TaskGroup) -> None:
        if outline is None:
            await self._examine(item, None, group)
        elif (known := await self._find(item.path, outline)) is not None:
            await self._examine(item, known, group)

    async def _find(self, path: str, outline: Outline) -> KnownDocument | None:
        """All that is known of a document. None: since the reading began somebody has deleted it, or asked to take it in anew,
        which is for the next sync."""
        known = await self._documents.find(path)
        if known is None or known.state is DocumentState.EXCLUDED:
            # Somebody has deleted it since it was listed.
            log.info("document gone meanwhile", source=self._source.name, document_id=str(outline.id))
            return None
        if known.state is DocumentState.PENDING and known.updated_at != outline.updated_at:
            await self._carry_pending(known)
            return None
        return known

    async def _examine(self, item: Fetched, known: KnownDocument | None, group: asyncio.TaskGroup) -> None:
        self._work.progress.count(fetched_bytes=len(item.content))
        if len(item.path) > MOST_PATH:
            failure = DocumentFailure(
                Failing.UNSUPPORTED, f"Its path has more than {MOST_PATH:,} characters. Shorten it."
            )
            self._work.progress.fail(self._source.name, item.path[:MOST_PATH], failure.reason, failure.message)
            return
        content_hash = hashlib.sha256(item.content).digest()
        if known is not None and is_current(known, self._work) and known.content_hash == content_hash:
            await self._keep(item, known)
            return
        weight = max(1, len(item.content))
        await self._room.enter(weight)
        await self._extractions.acquire()
        group.create_task(self._extract(item, known, content_hash=content_hash, weight=weight))

    # A document that is as it was ----------------------------------------------------------------------------------

    async def _keep(self, item: Same | Fetched, known: KnownDocument) -> None:
        self._work.progress.count(documents=1)
        said, links = (item.facts, item.links) if isinstance(item, Fetched) else (None, None)
        validators = mark(replace_validators(known.validators, item.validators), self._settings, said)
        is_same = has_same_settings(known.validators, self._settings) and (
            said is None or has_same_facts(known.validators, said)
        )
        if is_same and self._work.holds(known):
            self._work.progress.count(unchanged=1)
            if validators != known.validators:
                self._touched[known.id] = DocumentChange(known.facts, validators, links)
                await self._touch(at_least=STEP)
            return
        extracted = await self._read_text(known)
        if extracted is None:
            return
        facts = self._merge(known, said, extracted)
        is_found_alike = (facts.title, facts.language) == (known.facts.title, known.facts.language)
        if is_found_alike and self._work.holds(known):
            self._work.progress.count(unchanged=1)
            self._touched[known.id] = DocumentChange(facts, validators, links)
            await self._touch(at_least=STEP)
        else:
            await self._cut_again(known, extracted, DocumentChange(facts, validators, links))

    def _merge(self, known: KnownDocument, said: DocumentFacts | None, extracted: Extracted) -> DocumentFacts:
        if said is None:
            return renew_facts(known.facts, self._settings, extracted, validators=known.validators)
        return merge_facts(said, self._settings, extracted, media_type=known.facts.media_type, size=known.facts.size)

    async def _carry(self, path: str, outline: Outline) -> None:
        """Have a document that was not read this time in the index as it is known."""
        if outline.is_settled:
            self._work.progress.count(documents=1, unchanged=1)
            return
        known = await self._documents.find(path)
        if known is not None and known.state is DocumentState.INDEXED:
            await self._keep(Same(path), known)
        elif known is not None and known.state is DocumentState.PENDING:
            await self._carry_pending(known)

    async def _carry_pending(self, known: KnownDocument) -> None:
        """Have it with its text of before, if there is one, until it can be taken in anew."""
        work = self._work
        if known.indexed_hash is not None:
            work.progress.count(documents=1, unchanged=1)
        elif (extracted := await work.store.read_text(work.tenant_id, known.id)) is not None:
            work.progress.count(documents=1)
            await self._cut_again(known, extracted, DocumentChange(known.facts, known.validators))

    async def _read_text(self, known: KnownDocument) -> Extracted | None:
        extracted = await self._work.store.read_text(self._work.tenant_id, known.id)
        if extracted is None:
            # Somebody has deleted it since it was listed.
            log.info("document gone meanwhile", source=self._source.name, document_id=str(known.id))
        return extracted

    async def _cut_again(self, known: KnownDocument, extracted: Extracted, change: DocumentChange) -> None:
        try:
            chunks = await self._cut(extracted, change.facts.title)
        except ExtractionFailed as failure:
            told = DocumentFailure(failure.reason, failure.message)
            await self._fail(known.origin, change.facts, told, known)
            return
        weight = max(1, len(extracted.text))
        await self._room.enter(weight)
        await self._queue.put(
            PreparedDocument(
                known.origin,
                known,
                change.facts,
                # Of the bytes that a pending one was read from nobody knows the hash any more.
                known.content_hash or hashlib.sha256(extracted.text.encode()).digest(),
                change.validators,
                change.links,
                extracted,
                chunks,
                reader=known.reader,
                is_carried=True,
                is_pending=known.state is DocumentState.PENDING,
                weight=weight,
            )
        )

    async def _cut(self, extracted: Extracted, title: str) -> Sequence[IndexedChunk]:
        """One after the other: pieces of a long text take some memory."""
        async with self._cutting:
            return await cut_document(self._work.config, extracted, title=title)

    # A document that is new or has changed ----------------------------------------------------------------------------

    async def _extract(self, item: Fetched, known: KnownDocument | None, *, content_hash: bytes, weight: int) -> None:
        """Extract one document and hand it on. Its turn ends when it was handed on, so that no more wait for that than have a turn."""
        self._work.progress.count(documents=1)
        try:
            prepared = await self._prepare(item, known, content_hash=content_hash, weight=weight)
            await self._queue.put(prepared)
        except ExtractionFailed as failure:
            facts = merge_facts(
                item.facts, self._settings, Extracted(""), media_type=item.facts.media_type, size=len(item.content)
            )
            origin = DocumentOrigin(self._source.name, item.path)
            await self._fail(origin, facts, DocumentFailure(failure.reason, failure.message[:512]), known)
            await self._room.leave(weight)
        finally:
            self._extractions.release()

    async def _prepare(
        self, item: Fetched, known: KnownDocument | None, *, content_hash: bytes, weight: int
    ) -> PreparedDocument:
        extraction = await self._work.extractor.extract(
            item.content, name=item.name or item.path, media_type=item.facts.media_type
        )
        extracted = _check(extraction.extracted)
        facts = merge_facts(
            item.facts, self._settings, extracted, media_type=extraction.media_type, size=len(item.content)
        )
        return PreparedDocument(
            DocumentOrigin(self._source.name, item.path),
            known,
            facts,
            content_hash,
            mark(item.validators, self._settings, item.facts),
            item.links,
            extracted,
            await self._cut(extracted, facts.title),
            reader=self._work.reader,
            is_carried=False,
            is_pending=False,
            weight=weight,
        )

    async def _fail(
        self, origin: DocumentOrigin, facts: DocumentFacts, failure: DocumentFailure, known: KnownDocument | None
    ) -> None:
        work = self._work
        work.progress.fail(origin.source, origin.path, failure.reason, failure.message)
        if known is not None and known.failure == failure and known.facts == facts:
            return
        work.progress.has_changed = True
        await work.store.fail_document(
            work.tenant_id,
            work.knowledge_base_id,
            work.index,
            document=known,
            origin=origin,
            facts=facts,
            failure=failure,
        )

    # What the source did not name --------------------------------------------------------------------------------------

    async def _carry_rest(self) -> None:
        for path, outline in self._known.items():
            if path not in self._seen and not outline.is_excluded:
                await self._carry(path, outline)

    async def _remove_rest(self) -> None:
        """Documents that are excluded stay known: one that comes back shall be left out then, too."""
        gone = [
            outline.id for path, outline in self._known.items() if path not in self._seen and not outline.is_excluded
        ]
        await remove_documents(self._work, gone)

    async def _touch(self, *, at_least: int) -> None:
        if len(self._touched) >= at_least:
            touched, self._touched = self._touched, {}
            await self._work.store.touch_documents(self._work.tenant_id, touched)


def has_just_come(document: KnownDocument) -> bool:
    """Whether somebody has uploaded it a moment ago. The source that it is for may be one of a newer configuration than this sync has
    read, so it is not to be removed for want of that source."""
    is_waiting = document.file_id is not None and document.state is DocumentState.PENDING
    return is_waiting and datetime.now(UTC) - document.updated_at < FRESH


async def remove_documents(work: Work, document_ids: list[DocumentId]) -> None:
    """Forget documents, step by step."""
    for start in range(0, len(document_ids), STEP):
        step = document_ids[start : start + STEP]
        await work.store.remove_documents(work.tenant_id, step)
        work.progress.count(removed=len(step))
        work.progress.has_changed = True


def _check(extracted: Extracted) -> Extracted:
    """Refuse what no store keeps.

    Raises:
        ExtractionFailed: The text holds a NUL, or half a character.
    """
    if "\0" in extracted.text or not _is_unicode(extracted.text):
        raise ExtractionFailed(Failing.BROKEN, "Its text holds characters that do not exist. Save it as UTF-8.")
    return extracted


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
