"""What a source hands over, one document at a time."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..models.ids import FileId
from ..models.knowledge import DocumentFacts, Failing, KnownDocument


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a document from before, for conditional requests."""

    content_hash: bytes | None
    """None: its bytes are wanted, whatever is known of them, so a source does not say that they are the same."""
    validators: Mapping[str, str]
    is_excluded: bool = False
    """Somebody has taken it out: nobody wants its bytes, and a source need not name it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document's bytes."""

    path: str
    content: bytes = field(repr=False)
    facts: DocumentFacts
    """What the source knows. Title, language, tags and time of change that the content itself names win, except over the title
    of an inline text."""
    name: str = ""
    """A name whose ending hints at the format, and what the server says; both count only where the bytes fit."""
    validators: Mapping[str, str] = field(default_factory=dict)
    """What makes the next request for it a conditional one. They are in memory for all documents of a source at once."""
    links: Sequence[str] | None = None
    """Where its page leads, to be found by `SourceDocuments.find_links` when the page is not read again. None: nothing is kept."""
    file_id: FileId | None = None


@dataclass(frozen=True, slots=True)
class Same:
    """A document that is as it was, so its bytes were not fetched."""

    path: str
    validators: Mapping[str, str] | None = None
    """None: as before."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Something that could not be fetched this time. What is known of it stays; a whole source that is missed loses nothing."""

    path: str | None
    """None: the source as a whole, from here on."""
    reason: Failing
    message: str
    """A sentence of ours that says what to do. At most 512 characters."""


Item = Fetched | Same | Missed


class SourceDocuments(Protocol):
    """What the store knows of one source's documents. Every method may raise StoreUnavailable."""

    def pages(self) -> AsyncGenerator[Sequence[KnownDocument], None]:
        """All of them, in pages."""
        ...

    async def find(self, path: str) -> KnownDocument | None:
        """One of them, as it is now."""
        ...

    async def find_links(self, path: str) -> Sequence[str] | None:
        """Where its page leads; None: it is not known."""
        ...


class DocumentSource(Protocol):
    """Reads one source of a knowledge base."""

    def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """All its documents, none twice, in any order. Documents of `known` that it does not name are gone, unless it missed
        something as a whole.

        It raises nothing for what lies outside: that is a `Missed`. Closing the generator ends what it does.
        """
        ...
