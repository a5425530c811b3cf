"""The corpus as a sync would have it: documents that were read, cut and embedded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syntera_crds.contract.knowledge_config import Chunking, EmbeddingModel
from syntera_dev.models.e5 import DIMENSIONS, PASSAGE_PREFIX, QUERY_PREFIX
from syntera_dev.models.protocol import REAL_EMBEDDING_MODEL
from syntera_runtime.models.knowledge import Chunk, DocumentFacts, Extracted

from .books import read_pages
from .pages import read_page

MODEL = EmbeddingModel(
    endpoint="here",
    base_url="http://nowhere.invalid",
    timeout_seconds=60,
    model=REAL_EMBEDDING_MODEL,
    dimensions=DIMENSIONS,
    query_prefix=QUERY_PREFIX,
    document_prefix=PASSAGE_PREFIX,
)

EmbeddedText = Callable[[str, Chunk], str]
"""What is embedded of a chunk of a document with that title."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """A page of a book that was read."""

    path: str
    language: str
    extracted: Extracted

    @property
    def facts(self) -> DocumentFacts:
        """What a source would say of it."""
        return DocumentFacts(title=self.extracted.title or self.path, language=self.language, media_type="text/html")


def read_corpus() -> Sequence[CorpusDocument]:
    """All pages of all books."""
    return [
        CorpusDocument(page.path, page.language, read_page(page.content, language=page.language))
        for page in read_pages()
    ]


def count_sections(documents: Sequence[CorpusDocument]) -> int:
    """Headings with text below them."""
    return sum(_count(document.extracted) for document in documents)


def _count(extracted: Extracted) -> int:
    starts = [mark.start for mark in extracted.marks]
    ends = [*starts[1:], len(extracted.text)]
    return sum(
        bool(extracted.text[start:end].partition("\n\n")[2].strip()) for start, end in zip(starts, ends, strict=False)
    )


def describe_chunking(chunking: Chunking) -> str:
    """As it stands in tables."""
    return f"{chunking.target_tokens} / {chunking.overlap_tokens}"
