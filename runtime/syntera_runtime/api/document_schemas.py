"""The JSON of documents of knowledge bases."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, AnyHttpUrl, Field, TypeAdapter

from syntera_crds.contract.knowledge_config import Audience

from ..knowledge.uploads import Upload
from ..models.ids import DocumentId
from ..models.knowledge import Document, DocumentState, Failing, FoundChunk
from ..views.base import View
from .pages import PartQuery, read_cursor
from .schemas import Input, Title, check_characters

_URL = TypeAdapter(AnyHttpUrl)


def _check_url(url: str) -> str:
    _URL.validate_python(url)
    return url


Tag = Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)]


class UploadQuery(Input):
    """What a file is called, and what is to be said of it. What is left out is as the source says."""

    # Query parameters arrive as text, so the strictness of JSON does not apply.
    model_config = {"strict": False}

    name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(check_characters)]
    """What the file is called. Folders and characters that no name should have are taken out of it. A file of the same name
    replaces the one before."""
    source: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)] | None = None
    """Name of the source that it is for. Left out: the first one that takes uploads."""
    title: Title | None = None
    """What citations call it, unless its content names a title. Left out: its name."""
    url: Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_check_url)] | None = None
    """Where people can read it; citations link there."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2}$")] | None = None
    """ISO 639-1. Left out: found out from its text."""
    audience: Annotated[list[Audience], Field(max_length=len(Audience))] = []
    """Whom it is for, several times for several."""
    tags: Annotated[list[Tag], Field(max_length=20)] = []
    """Beside those of the source; several times for several."""

    def to_model(self) -> Upload:
        """What is wanted."""
        return Upload(
            name=self.name,
            title=self.title,
            url=self.url,
            language=self.language,
            audience=frozenset(one.value for one in self.audience),
            tags=frozenset(self.tags),
        )


class DocumentQuery(PartQuery):
    """Which documents are listed, and which part of the list."""

    source: Annotated[str, Field(min_length=1, max_length=63), AfterValidator(check_characters)] | None = None
    """Only documents of this source."""
    state: DocumentState | None = None
    """Only documents in this state."""
    q: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_characters)] | None = None
    """Only documents that have this in their title or path, in any case."""

    @property
    def after(self) -> DocumentId | None:
        """The id that the page begins behind.

        Raises:
            InvalidCursor: The cursor is none of ours.
        """
        return None if self.cursor is None else DocumentId(read_cursor(self.cursor))


class DocumentFailureView(View):
    """Why a document was not taken in."""

    reason: Failing
    message: str
    """What to do."""


class DocumentView(View):
    """A document of a knowledge base."""

    id: UUID
    source: str
    path: str
    """Within the source: a URL, a path in a repository, an object's name, a file's name."""
    title: str
    url: str | None
    """Where people can read it."""
    state: DocumentState
    """`pending`: the next sync takes it in; `failed`: see `failure`; `excluded`: somebody deleted it, and syncs leave it out."""
    failure: DocumentFailureView | None
    media_type: str
    language: str | None
    """ISO 639-1; null: unknown."""
    audience: list[str]
    """Whom it is for."""
    tags: list[str]
    bytes: int
    sha256: str | None
    """SHA-256 of its bytes, in hexadecimal digits; null: none were fetched yet."""
    characters: int
    """Of its text."""
    chunks: int
    """In the active index."""
    modified_at: datetime | None
    """When it was changed last, as far as anybody says."""
    created_at: datetime
    updated_at: datetime
    """When its content, or what is known of it, changed last."""
    checked_at: datetime | None
    """When a sync last took it in, or saw that it is as it was."""

    @classmethod
    def of(cls, document: Document) -> Self:
        """The view of `document`."""
        facts, failure = document.facts, document.failure
        return cls(
            id=document.id,
            source=document.origin.source,
            path=document.origin.path,
            title=facts.title,
            url=facts.url,
            state=document.state,
            failure=None if failure is None else DocumentFailureView(reason=failure.reason, message=failure.message),
            media_type=facts.media_type,
            language=facts.language,
            audience=sorted(facts.audience),
            tags=sorted(facts.tags),
            bytes=facts.size,
            sha256=None if document.content_hash is None else document.content_hash.hex(),
            characters=document.characters,
            chunks=document.chunks,
            modified_at=facts.modified_at,
            created_at=document.created_at,
            updated_at=document.updated_at,
            checked_at=document.checked_at,
        )


class ChunkView(View):
    """A piece of a document, as it is indexed."""

    id: UUID
    position: int
    """Among the chunks of the document, from 0."""
    start: int
    end: int
    """`start` and `end` count characters in the document's text."""
    overlap: int
    """How many of its first characters the chunk before has too."""
    headings: list[str]
    """The path of headings that it stands below, the outermost first."""
    page: int | None
    """The page, slide or sheet on which it begins, from 1; null: the format has none."""
    last_page: int | None
    tokens: int
    """As estimated."""
    text: str

    @classmethod
    def of(cls, found: FoundChunk) -> Self:
        """The view of `found`."""
        chunk = found.chunk
        return cls(
            id=found.id,
            position=chunk.position,
            start=chunk.start,
            end=chunk.end,
            overlap=chunk.overlap,
            headings=list(chunk.headings),
            page=chunk.page,
            last_page=chunk.last_page,
            tokens=chunk.tokens,
            text=chunk.content,
        )
