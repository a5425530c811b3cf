"""A knowledge base in memory with sources, an extractor and an embedder that tests have in hand."""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from syntera_crds.contract.knowledge_config import EmbeddingModel, KnowledgeBaseConfig, Source
from syntera_runtime.adapters.memory_files import MemoryBlobs, MemoryFiles
from syntera_runtime.adapters.memory_knowledge import MemoryKnowledge
from syntera_runtime.ids import new_id
from syntera_runtime.ingest.extraction_port import Extraction, ExtractionFailed
from syntera_runtime.ingest.items import DocumentSource, Fetched, Item, Known, SourceDocuments
from syntera_runtime.ingest.sync import SyncTools, synchronise
from syntera_runtime.ingest.throttle import Throttle
from syntera_runtime.models.ids import TenantId
from syntera_runtime.models.knowledge import (
    Document,
    DocumentFacts,
    Extracted,
    Failing,
    Index,
    Mark,
    Sync,
    Vector,
)
from syntera_runtime.models.tokens import estimate_tokens
from syntera_runtime.ports.knowledge import VectorsOf

NAME = "handbook"
DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class FakeEmbedded:
    """What the fake embedder answers."""

    vectors: Sequence[Vector]
    tokens: int
    is_estimated: bool = True


class FakeEmbedder:
    """Makes vectors of hashes, and counts. A test may have it fail."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        """All that were embedded."""
        self.requests = 0
        self.begun = asyncio.Event()
        """Set when the first request comes."""
        self.fail: Callable[[Sequence[str]], Exception | None] = lambda texts: None
        """Given the texts of a request, why it fails."""
        self.wait: asyncio.Event | None = None

    async def embed(self, model: EmbeddingModel, texts: Sequence[str], *, seconds: float | None = None) -> FakeEmbedded:
        """See `Embedder`."""
        self.requests += 1
        self.begun.set()
        if self.wait is not None:
            await self.wait.wait()
        await asyncio.sleep(0)
        if (failure := self.fail(texts)) is not None:
            raise failure
        self.texts += texts
        return FakeEmbedded([vector_of(text) for text in texts], sum(map(estimate_tokens, texts)))


def vector_of(text: str) -> Vector:
    """A vector of length one that belongs to a text."""
    numbers = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
    length = math.hypot(*numbers)
    return [number / length for number in numbers]


class PlainTextExtractor:
    """Reads UTF-8, takes lines with `#` for headings, and counts."""

    def __init__(self) -> None:
        self.extracted: list[str] = []

    async def extract(self, content: bytes, *, name: str, media_type: str | None = None) -> Extraction:
        """See `Extractor`."""
        self.extracted.append(name)
        await asyncio.sleep(0)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ExtractionFailed(Failing.BROKEN, "It is no text. Save it as UTF-8.") from None
        marks, title, start = [], None, 0
        for line in text.splitlines(keepends=True):
            if line.startswith("# "):
                title = title or line[2:].strip()
                marks.append(Mark(start, (line[2:].strip(),)))
            start += len(line)
        return Extraction(Extracted(text, tuple(marks), title=title), "text/plain")


class ListedSource:
    """Hands over what a test lists; a string is the text of a document. `Same` where a test wants conditional requests."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.known: Mapping[str, Known] = {}

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`."""
        self.known = known
        for item in self.items:
            await asyncio.sleep(0)
            yield item


class MeddledSource:
    """A source with which something happens after the sync has looked at what is known, and before any document comes."""

    def __init__(self, source: DocumentSource, meddle: Callable[[], Awaitable[None]]) -> None:
        self._source = source
        self._meddle = meddle

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`."""
        await self._meddle()
        async with aclosing(self._source.read(known)) as items:
            async for item in items:
                yield item


def fetched(path: str, text: str | bytes, **changes: Any) -> Fetched:
    """A document as a source hands it over."""
    fields: dict[str, Any] = {"facts": DocumentFacts(title=path), "name": path, **changes}
    return Fetched(path, text if isinstance(text, bytes) else text.encode(), **fields)


def make_source(name: str = "docs", **fields: Any) -> Source:
    """A source of some kind; what it hands over the site says."""
    return Source.model_validate({"name": name, "config_map": {"name": name}, **fields})


def make_config(*sources: Source, **fields: Any) -> KnowledgeBaseConfig:
    """A configuration; a test names only what it is about."""
    embedding = EmbeddingModel(
        endpoint="main", base_url="http://models.example", model="e-1", timeout_seconds=5, dimensions=DIMENSIONS
    )
    return KnowledgeBaseConfig.model_validate(
        {
            "name": NAME,
            "uid": "uid-1",
            "revision": 1,
            "sources": [source.model_dump() for source in sources or (make_source(),)],
            "embedding": embedding,
            **fields,
        }
    )


@dataclass(slots=True)
class SyncSite:
    """Everything for syncs of one knowledge base in memory."""

    config: KnowledgeBaseConfig = field(default_factory=make_config)
    items: dict[str, Sequence[Item]] = field(default_factory=dict)
    """What each source hands over."""
    tenant_id: TenantId = field(default_factory=lambda: TenantId(new_id()))
    files: MemoryFiles = field(default_factory=lambda: MemoryFiles(lambda *_: None))
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    knowledge: MemoryKnowledge = field(init=False)
    embedder: FakeEmbedder = field(default_factory=FakeEmbedder)
    extractor: PlainTextExtractor = field(default_factory=PlainTextExtractor)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reader: str = "r1"
    build_source: Callable[[Source, SourceDocuments], DocumentSource] | None = None
    """In place of `items`."""
    find_vectors: VectorsOf | None = None
    """In place of vectors in memory."""
    sources: dict[str, ListedSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.knowledge = MemoryKnowledge(self.files)

    @property
    def tools(self) -> SyncTools:
        """What a sync is given."""
        return SyncTools(
            tenant_id=self.tenant_id,
            store=self.knowledge.writer,
            history=self.knowledge.editor,
            vectors_of=self.find_vectors or (lambda _config, _index: self.knowledge.vectors),
            embedder=self.embedder,
            extractor=self.extractor,
            reader=self.reader,
            build_source=self.build_source or self._build,
            stop=self.stop,
            make_throttle=lambda: Throttle(pause_seconds=0.001, longest_seconds=0.002),
        )

    def _build(self, source: Source, documents: SourceDocuments) -> DocumentSource:
        made = self.sources[source.name] = ListedSource(self.items.get(source.name, ()))
        return made

    async def sync(self, *items: Item, trigger: str = "request") -> Sync:
        """Run one sync; `items` are what the source `docs` hands over from now on."""
        if items:
            self.items["docs"] = items
        ended = await synchronise(self.tools, lambda: self.config, name=NAME, trigger=trigger, waits=False)
        assert ended is not None
        return ended

    async def documents(self) -> dict[str, Document]:
        """All documents, by path."""
        base = await self._base()
        found = await self.knowledge.editor.list_documents(self.tenant_id, base, limit=1000)
        return {document.origin.path: document for document in found}

    async def active(self) -> Index | None:
        """The index that is searched."""
        base = await self.knowledge.reader.find_knowledge_base(self.tenant_id, NAME)
        return None if base is None else base.active

    async def contents(self) -> dict[str, list[str]]:
        """The chunks of each document in the active index, by path."""
        index = await self.active()
        assert index is not None
        found = {}
        for path, document in (await self.documents()).items():
            chunks = await self.knowledge.editor.list_chunks(self.tenant_id, index, document.id, limit=1000)
            if chunks:
                found[path] = [chunk.chunk.content for chunk in chunks]
        return found

    async def hashes(self) -> set[bytes]:
        """Of all vectors of the active index."""
        index = await self.active()
        assert index is not None
        return {key async for page in self.knowledge.vectors.hashes(self.tenant_id, index) for key in page}

    async def syncs(self) -> Sequence[Sync]:
        """All syncs, the newest first."""
        return await self.knowledge.editor.list_syncs(self.tenant_id, await self._base(), limit=100)

    async def _base(self) -> Any:
        base = await self.knowledge.reader.find_knowledge_base(self.tenant_id, NAME)
        assert base is not None
        return base.id
