"""Where knowledge is kept and how it becomes findable. Every method of a store may raise StoreUnavailable.

How a document changes without a search ever seeing half of it: its vectors are written first, where nobody looks for them yet;
then `put_document` replaces the document with all its chunks in one transaction; vectors that no chunk of the index
refers to any more are dropped at the end of a sync.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Protocol

from syntera_crds.contract.knowledge_config import EmbeddingModel, KnowledgeBaseConfig, RerankModel
from syntera_runtime.models.ids import ChunkId, DocumentId, FileId, IndexId, KnowledgeBaseId, SyncId, TenantId
from syntera_runtime.models.knowledge import (
    Document,
    DocumentChange,
    DocumentFacts,
    DocumentFailure,
    DocumentOrigin,
    DocumentState,
    Extracted,
    FoundChunk,
    Hit,
    Index,
    IndexedChunk,
    IndexModel,
    KnowledgeBase,
    KnownDocument,
    SearchFilter,
    Sync,
    Vector,
)


class KnowledgeBases(Protocol):
    """The knowledge bases that this process searches, as last published. No I/O."""

    def knowledge_base(self, name: str) -> KnowledgeBaseConfig | None:
        """The configuration of that name, or None if there is none."""
        ...

    def all_knowledge_bases(self) -> Sequence[KnowledgeBaseConfig]:
        """All of them, by name."""
        ...


class KnowledgeReader(Protocol):
    """What a search asks of the store. Each search reads the index anew: it may have been replaced, or its vectors moved."""

    async def find_knowledge_base(self, tenant_id: TenantId, name: str) -> KnowledgeBase | None:
        """The knowledge base with its active index; counts are not read. None: no sync has begun yet."""
        ...

    async def search_words(
        self, tenant_id: TenantId, index: Index, words: str, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """The chunks that hold words of the question, the best first.

        Ranked by how rare each word is in the index and how often it stands in the chunk; a chunk need not hold all. Words are
        parsed in every language of the index. Empty where no word is of use.
        """
        ...

    async def read_chunks(
        self, tenant_id: TenantId, index: Index, chunk_ids: Sequence[ChunkId], *, neighbours: int = 0
    ) -> Sequence[FoundChunk]:
        """Chunks that are there still, with as many before and after each in its document; in no order, none twice."""
        ...


class KnowledgeEditor(Protocol):
    """What people ask of documents and syncs."""

    async def describe_knowledge_bases(self, tenant_id: TenantId, names: Sequence[str]) -> Sequence[KnowledgeBase]:
        """Those of the knowledge bases that are known, in any order, with their counts and last syncs."""
        ...

    async def list_documents(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        source: str | None = None,
        state: DocumentState | None = None,
        words: str | None = None,
        after: DocumentId | None = None,
        limit: int,
    ) -> Sequence[Document]:
        """Documents, by id. `words`: part of the title or the path, whatever the case."""
        ...

    async def find_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> Document | None:
        """A document."""
        ...

    async def list_chunks(
        self, tenant_id: TenantId, index: Index, document_id: DocumentId, *, after: int | None = None, limit: int
    ) -> Sequence[FoundChunk]:
        """The chunks of a document in an index, by position."""
        ...

    async def add_upload(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        file_id: FileId,
        reach: frozenset[str] | None = None,
    ) -> Document:
        """Note an uploaded file as a document that is to be taken in, in place of one with the same origin.

        Where an uploaded document with these bytes is there, for one of the audiences of `reach` (None: for anybody), this is that
        document as it is, and the file stays nobody's. Two that come at the same time make no second document either.

        The file must be there in full; from now on it is the document's: nobody sweeps it, and it is found by `find_files` alone.
        The file of the document that it replaces is doomed. What is indexed of that one stays until the next sync, unless the new
        one is for more people than it was: they must not find what was not for them.

        Raises:
            KnowledgeBaseNotFound: It is not known, or has been erased.
            AudienceNotHeld: The document that it would replace is for none of `reach`.
            FileNotFound: The file is not there in full.
            FileAttached: It belongs to a message or a document already.
        """
        ...

    async def find_upload(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, content_hash: bytes, file_id: FileId
    ) -> Document | None:
        """The document that is the file, which has these bytes."""
        ...

    async def exclude_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """Take a document out of every index, with its text. An uploaded one is gone, its file doomed; any other stays known as
        excluded, so that no sync brings it back. False: there is none."""
        ...

    async def renew_document(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, document_id: DocumentId
    ) -> bool:
        """Have the next sync take a document in anew, whatever it knows of it; an excluded one is excluded no more.

        What is indexed of it stays until then. False: there is none.
        """
        ...

    async def request_sync(self, tenant_id: TenantId, name: str) -> None:
        """Ask the operator to start a sync soon. Makes the knowledge base known if it is not yet.

        Raises:
            TooManyKnowledgeBases: It is not known, and there is no room for another one.
        """
        ...

    async def list_syncs(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, before: SyncId | None = None, limit: int
    ) -> Sequence[Sync]:
        """Syncs, the newest first."""
        ...


class KnowledgeWriter(Protocol):
    """What a sync asks of the store. Only who holds the lock of a knowledge base writes."""

    def lock(self, tenant_id: TenantId, name: str) -> AbstractAsyncContextManager[KnowledgeBase | None]:
        """Hold the knowledge base for one sync, making it known if it is new; None: another sync has it.

        The lock lives as long as the connection that took it: it ends with the process, however that ends. Once the connection is
        lost, whoever held the lock can write nothing more: every method raises StoreUnavailable.

        Raises:
            TooManyKnowledgeBases: It is new, and there is no room for another one.
        """
        ...

    async def begin_sync(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, trigger: str, revision: int
    ) -> Sync:
        """Note that a sync runs. Syncs that are noted as running although nobody holds the lock have been killed: they fail as
        `killed`. Of those that ended the newest 50 are kept."""
        ...

    async def report_sync(self, tenant_id: TenantId, sync: Sync) -> None:
        """Write how far the sync is, or how it ended."""
        ...

    async def open_index(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        *,
        fingerprint: str,
        dimensions: int,
        pinecone_host: str | None = None,
        embedding: IndexModel | None = None,
    ) -> Index:
        """The active index if it has that fingerprint, else the one that is being built with it, else a new one.

        Indexes that were being built with other fingerprints are retired. One that was active before and is still kept is taken up
        again where the fingerprint is its own: then its documents are brought in step like those of any other.

        A new index keeps where its vectors are, in Pinecone at that host or in PostgreSQL (None), so that they are found after the
        configuration has changed. Which model they are made with is noted of any index, so that they are compared with questions then:
        with the same fingerprint, the model may be at another endpoint than it was.
        """
        ...

    def known_documents(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, source: str
    ) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """All documents of a source, in pages, in no order, excluded ones too. Memory is bounded by a page.

        Of a pending one nothing is told that would spare work: no hash of its content, no validators.
        """
        ...

    async def find_known(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, index_id: IndexId, *, origin: DocumentOrigin
    ) -> KnownDocument | None:
        """One of them, as it is now."""
        ...

    async def find_links(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, origin: DocumentOrigin
    ) -> Sequence[str] | None:
        """Where a document's page leads, as it was kept with it. None: nothing was, or it has been taken out since."""
        ...

    async def read_text(self, tenant_id: TenantId, document_id: DocumentId) -> Extracted | None:
        """The text of a document as it was extracted, to cut it for another index without fetching it."""
        ...

    async def known_vectors(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Those of the embedded texts whose vectors the index has.

        Of an index in Pinecone, those that its chunks refer to: vectors are written before the chunks that need them.
        """
        ...

    async def put_document(
        self,
        tenant_id: TenantId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        content_hash: bytes,
        validators: Mapping[str, str],
        extracted: Extracted,
        chunks: Sequence[IndexedChunk],
        reader: str,
        links: Sequence[str] | None = None,
        is_pending: bool = False,
    ) -> DocumentId:
        """Store a document with its text and, in the index, all its chunks in place of those before: in one transaction.

        While another index than `index` is active, that one keeps what it has until the switch. `document` is the one as it was
        found; None: a new one. Nothing is written where somebody has excluded, deleted or replaced it since, or uploaded a new one.

        `links`: where its page leads, for syncs that do not read it again; None: as before.

        `is_pending`: this is what was known of it, and it is still to be taken in anew. So it is where somebody has asked for that
        since it was found.
        """
        ...

    async def touch_documents(self, tenant_id: TenantId, changes: Mapping[DocumentId, DocumentChange]) -> None:
        """Write what is new of documents whose content is as it was. Pending and excluded ones stay as they are: somebody has asked
        for that, or uploaded another file, since they were found.

        Nobody calls it for documents without a change.
        """
        ...

    async def set_audience(
        self, tenant_id: TenantId, document_ids: Sequence[DocumentId], audience: frozenset[str]
    ) -> None:
        """Have documents be for these from now on, pending ones too, but none whose upload says for whom it is."""
        ...

    async def fail_document(
        self,
        tenant_id: TenantId,
        knowledge_base_id: KnowledgeBaseId,
        index: Index,
        *,
        document: KnownDocument | None,
        origin: DocumentOrigin,
        facts: DocumentFacts,
        failure: DocumentFailure,
    ) -> None:
        """Note that a document could not be taken in, and take what the index has of it out.

        `document` is the one as it was found; None: a new one. Nothing is written where somebody has excluded, deleted or replaced it
        since, or asked to take it in anew.

        Not for a document that could not be fetched this time: that one stays as it is.
        """
        ...

    async def remove_documents(self, tenant_id: TenantId, document_ids: Sequence[DocumentId]) -> None:
        """Forget documents that their source has no more, with their texts and chunks in every index; uploaded files are doomed."""
        ...

    async def list_sources(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> frozenset[str]:
        """Names of the sources that documents are known of."""
        ...

    async def finish_index(self, tenant_id: TenantId, index: Index) -> None:
        """Bring what ranks words (`search_words`) up to date and note the index's languages, after documents changed."""
        ...

    async def activate_index(self, tenant_id: TenantId, index: Index) -> None:
        """Search this index from now on, in one transaction; the one before is retired."""
        ...

    async def list_expired_indexes(
        self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId, *, kept: timedelta
    ) -> Sequence[Index]:
        """Retired indexes that were replaced longer ago than `kept`, and those whose building was given up.

        They are to be dropped: from now on `open_index` takes none of them up again, and each is listed until it is gone.
        """
        ...

    async def drop_index(self, tenant_id: TenantId, index: Index) -> None:
        """Forget an index with its chunks, in steps that hold no lock for long. Its vectors are dropped first, by `VectorIndex`."""
        ...

    async def used_hashes(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Those of the embedded texts that chunks of the index refer to."""
        ...

    async def erase(self, tenant_id: TenantId, name: str) -> bool:
        """Forget a step's worth of everything of a knowledge base; True: there is more. Its vectors were dropped before."""
        ...

    async def list_indexes(self, tenant_id: TenantId, knowledge_base_id: KnowledgeBaseId) -> Sequence[Index]:
        """All indexes of the knowledge base, whatever their state."""
        ...


class ChunksOfVectors(Protocol):
    """What an index of vectors that is outside of the store asks the store: whose its vectors are."""

    async def find_chunks(
        self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes], *, filter: SearchFilter
    ) -> Sequence[Hit]:
        """The chunks that passed the filter among those with these hashes, in no order and without a score."""
        ...

    async def list_hashes(
        self, tenant_id: TenantId, index: Index, *, filter: SearchFilter, limit: int
    ) -> Sequence[bytes]:
        """Hashes of the chunks that pass the filter, none twice, as many at most."""
        ...


class VectorIndex(Protocol):
    """Vectors of an index, by the hash of the text that was embedded (16 bytes)."""

    async def write(self, tenant_id: TenantId, index: Index, vectors: Mapping[bytes, Vector]) -> None:
        """Keep vectors; those that are there are replaced."""
        ...

    async def search(
        self, tenant_id: TenantId, index: Index, vector: Vector, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """The chunks nearest to a vector, the nearest first, with the cosine similarity as score.

        Chunks that share a vector are all found. Vectors that no chunk refers to are not.
        """
        ...

    async def similarities(
        self, tenant_id: TenantId, index: Index, vector: Vector, hashes: Sequence[bytes]
    ) -> Mapping[bytes, float]:
        """Cosine similarity of each of these to a vector; those that are not there are left out."""
        ...

    def hashes(self, tenant_id: TenantId, index: Index) -> AsyncGenerator[Sequence[bytes], None]:
        """All that are there, in pages, to find those that no chunk needs."""
        ...

    async def delete(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> None:
        """Forget these. They may not be there."""
        ...

    async def drop(self, tenant_id: TenantId, index: Index) -> None:
        """Forget all of them."""
        ...


VectorsOf = Callable[[KnowledgeBaseConfig | None, Index], VectorIndex]
"""Where the vectors of an index of a knowledge base are, as the index itself says; the configuration has the key. What is lacking to
reach them shows when they are used."""


class Embedded(Protocol):
    """What an embedding request answered."""

    @property
    def vectors(self) -> Sequence[Vector]:
        """One for each text, in their order, of length one."""
        ...

    @property
    def tokens(self) -> int:
        """What the endpoint counted, else an estimate."""
        ...

    @property
    def is_estimated(self) -> bool:
        """The endpoint did not say."""
        ...


class Embedder(Protocol):
    """Makes vectors of texts."""

    async def embed(self, model: EmbeddingModel, texts: Sequence[str], *, seconds: float | None = None) -> Embedded:
        """The vectors of texts that already have their prefix, in one request. A request that may go well later is tried once more.

        Raises:
            ModelUnavailable: The endpoint could not be reached or is overloaded; `retry_after_seconds` says when to come again.
            ModelTimeout: It did not answer in time: that of the model, or `seconds` where that is less.
            ModelRefused: It refused the credentials or the request, or answered with vectors of other dimensions than configured.
            SecretMissing: It needs a Secret that is not there.
        """
        ...


class Reranker(Protocol):
    """Judges passages."""

    async def rerank(
        self, model: RerankModel, question: str, passages: Sequence[str], *, seconds: float
    ) -> Sequence[float]:
        """How well each passage answers the question, from 0 to 1.

        Raises:
            ModelUnavailable, ModelTimeout, ModelRefused, SecretMissing: As `Embedder.embed`.
        """
        ...
