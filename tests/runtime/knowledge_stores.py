"""Knowledge stores for tests, and short ways to fill them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syntera_runtime.adapters.memory_files import MemoryFiles
from syntera_runtime.adapters.memory_knowledge import MemoryKnowledge
from syntera_runtime.adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.adapters.postgresql.knowledge_writer import PostgresqlKnowledgeWriter
from syntera_runtime.ids import new_id
from syntera_runtime.models.files import FileContent, NewFile, Storage
from syntera_runtime.models.ids import ChunkId, DocumentId, FileId, KnowledgeBaseId, TenantId
from syntera_runtime.models.knowledge import (
    Chunk,
    DocumentFacts,
    DocumentOrigin,
    Extracted,
    Hit,
    Index,
    IndexedChunk,
    KnowledgeBase,
    KnownDocument,
    SearchFilter,
    Vector,
)
from syntera_runtime.ports.files import FileStore
from syntera_runtime.ports.knowledge import KnowledgeEditor, KnowledgeReader, KnowledgeWriter, VectorIndex
from tests.runtime.conftest import PostgresqlStores

PUBLIC = SearchFilter(audience=frozenset({"public"}))
DIMENSIONS = 4


@dataclass(frozen=True, slots=True)
class KnowledgeStores:
    """All stores of knowledge of one tenant."""

    tenant_id: TenantId
    reader: KnowledgeReader
    editor: KnowledgeEditor
    writer: KnowledgeWriter
    vectors: VectorIndex
    files: FileStore
    pinecone_host: str | None = None
    """Of the indexes that are opened."""

    async def begin(self, name: str = "handbook") -> KnowledgeBase:
        """A knowledge base of that name, made known."""
        async with self.writer.lock(self.tenant_id, name) as found:
            assert found is not None
            return found

    async def open_index(self, base: KnowledgeBase, fingerprint: str = "f1", **changes: Any) -> Index:
        """An index as a sync opens it."""
        fields = {"dimensions": DIMENSIONS, "pinecone_host": self.pinecone_host, **changes}
        return await self.writer.open_index(self.tenant_id, base.id, fingerprint=fingerprint, **fields)

    async def put(
        self,
        index: Index,
        path: str,
        *texts: str,
        document: KnownDocument | None = None,
        source: str = "docs",
        vectors: Sequence[Vector] = (),
        reader: str = "r1",
        validators: Mapping[str, str] = {},
        headings: tuple[str, ...] = (),
        is_pending: bool = False,
        links: Sequence[str] | None = None,
        **facts: Any,
    ) -> DocumentId:
        """A document with a chunk of each text, with these vectors, else with none."""
        chunks = make_chunks(texts, headings=headings)
        vectors_by_hash = dict(zip((chunk.embedded_hash for chunk in chunks), vectors, strict=False))
        if vectors_by_hash:
            await self.vectors.write(self.tenant_id, index, vectors_by_hash)
        text = "".join(texts)
        return await self.writer.put_document(
            self.tenant_id,
            index,
            document=document,
            origin=DocumentOrigin(source, path),
            facts=make_facts(**facts),
            content_hash=content_hash(text),
            validators=validators,
            extracted=Extracted(text),
            chunks=chunks,
            reader=reader,
            is_pending=is_pending,
            links=links,
        )

    async def publish(self, index: Index) -> Index:
        """The index as it is once it is whole and active."""
        await self.writer.finish_index(self.tenant_id, index)
        await self.writer.activate_index(self.tenant_id, index)
        return next(
            found
            for found in await self.writer.list_indexes(self.tenant_id, index.knowledge_base_id)
            if found.id == index.id
        )

    async def known(self, index: Index, source: str = "docs") -> list[KnownDocument]:
        """All documents of a source, as a sync sees them."""
        pages = self.writer.known_documents(self.tenant_id, index.knowledge_base_id, index.id, source=source)
        return [document async for page in pages for document in page]

    async def chunks_of(self, index: Index, document_id: DocumentId) -> list[str]:
        """The texts of a document's chunks in an index."""
        found = await self.editor.list_chunks(self.tenant_id, index, document_id, limit=100)
        return [chunk.chunk.content for chunk in found]

    async def contents(self, index: Index, hits: Sequence[Hit]) -> list[str]:
        """The texts of what was found, in that order."""
        found = await self.reader.read_chunks(self.tenant_id, index, [hit.chunk_id for hit in hits])
        by_id = {chunk.id: chunk.chunk.content for chunk in found}
        return [by_id[hit.chunk_id] for hit in hits]

    async def near(self, index: Index, vector: Vector, filter: SearchFilter = PUBLIC, *, limit: int = 10) -> list[str]:
        """The texts of the nearest chunks."""
        hits = await self.vectors.search(self.tenant_id, index, vector, filter=filter, limit=limit)
        return await self.contents(index, hits)

    async def with_words(
        self, index: Index, words: str, filter: SearchFilter = PUBLIC, *, limit: int = 10
    ) -> list[str]:
        """The texts of the chunks with these words."""
        hits = await self.reader.search_words(self.tenant_id, index, words, filter=filter, limit=limit)
        return await self.contents(index, hits)

    async def add_file(self, content: bytes = b"Some text") -> FileId:
        """A file that is there in full."""
        new = NewFile(FileId(new_id()), "guide.txt", Storage.POSTGRESQL)
        await self.files.add_file(self.tenant_id, new, owner=None)
        what = FileContent("text/plain", len(content), content_hash(content.decode()))
        await self.files.complete_file(self.tenant_id, new.id, what)
        return new.id

    async def doomed(self) -> set[FileId]:
        """Files whose bytes are to go."""
        found = await self.files.list_doomed(self.tenant_id, Storage.POSTGRESQL, limit=100)
        return {blob.file_id for blob in found}

    async def upload(
        self,
        base_id: KnowledgeBaseId,
        name: str = "guide.txt",
        text: str = "Some text",
        *,
        reach: frozenset[str] | None = None,
        **facts: Any,
    ) -> tuple[DocumentId, FileId]:
        """An uploaded document that no sync has got to yet, and the file that was uploaded."""
        file_id = await self.add_file(text.encode())
        made = await self.editor.add_upload(
            self.tenant_id,
            base_id,
            origin=DocumentOrigin("uploads", name),
            facts=make_facts(**{"title": name, **facts}),
            content_hash=content_hash(text),
            file_id=file_id,
            reach=reach,
        )
        return made.id, file_id


def make_memory_knowledge(tenant_id: TenantId | None = None) -> KnowledgeStores:
    """A tenant in memory, a new one unless it is said which."""
    files = MemoryFiles(lambda _tenant_id, _conversation_id: None)
    made = MemoryKnowledge(files)
    return KnowledgeStores(tenant_id or TenantId(new_id()), made.reader, made.editor, made.writer, made.vectors, files)


def make_postgresql_knowledge(made: PostgresqlStores) -> KnowledgeStores:
    """Those of a tenant on a real server."""
    return KnowledgeStores(
        made.stores.tenant_id,
        PostgresqlKnowledgeReader(made.pool),
        PostgresqlKnowledgeEditor(made.pool),
        PostgresqlKnowledgeWriter(made.pool),
        PostgresqlVectors(made.pool),
        made.stores.files,
    )


def make_facts(**changes: Any) -> DocumentFacts:
    """Facts of a document for everybody, without a language."""
    fields: dict[str, Any] = {"title": "Guide", **changes}
    for name in ("audience", "tags"):
        if name in fields:
            fields[name] = frozenset(fields[name])
    return DocumentFacts(**fields)


def make_chunks(texts: Iterable[str], *, headings: tuple[str, ...] = ()) -> list[IndexedChunk]:
    """A chunk of each text, one after another."""
    chunks: list[IndexedChunk] = []
    start = 0
    for position, text in enumerate(texts):
        chunk = Chunk(position, start, start + len(text), text, headings=headings, tokens=len(text) // 4 + 1)
        chunks.append(IndexedChunk(ChunkId(new_id()), chunk, embedded_hash(text)))
        start += len(text)
    return chunks


def embedded_hash(text: str) -> bytes:
    """What finds the vector of a text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:16]


def content_hash(text: str) -> bytes:
    """What tells one content of a document from another."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
