"""What answers stand on: passages of documents, and how they were looked up."""

from typing import Self
from uuid import UUID

from ..models.knowledge import Citation, KnowledgeSearch, Retrieval
from .base import View


class CitationView(View):
    """What a number in an answer stands for: a passage that the model was given."""

    number: int
    """As it stands in the text: `[1]`."""
    knowledge_base: str
    document_id: UUID
    title: str
    source: str
    """Name of the knowledge base's source that the document comes from."""
    path: str
    """Of the document in its source."""
    url: str | None
    """Where people can read the document."""
    headings: list[str]
    """Of the section that the passage was found in, the outermost first."""
    page: int | None
    """On which it begins, from 1; of slides and sheets their numbers. None: the format has none."""
    last_page: int | None
    start: int
    """Characters of the document's text, as it was extracted, before the passage."""
    end: int
    """Characters before what follows the passage."""
    quote: str
    """The passage's beginning."""

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """The view of `citation`."""
        return cls(
            number=citation.number,
            knowledge_base=citation.knowledge_base,
            document_id=citation.document_id,
            title=citation.title,
            source=citation.source,
            path=citation.path,
            url=citation.url,
            headings=list(citation.headings),
            page=citation.page,
            last_page=citation.last_page,
            start=citation.start,
            end=citation.end,
            quote=citation.quote,
        )


class KnowledgeSearchView(View):
    """How one knowledge base was searched."""

    knowledge_base: str
    passages: int
    """That were found in it."""
    milliseconds: int
    failure: str | None
    """Code of why it brought nothing, or less than there may be."""

    @classmethod
    def of(cls, search: KnowledgeSearch) -> Self:
        """The view of `search`."""
        return cls(
            knowledge_base=search.knowledge_base,
            passages=search.passages,
            milliseconds=round(search.seconds * 1000),
            failure=search.failure,
        )


class KnowledgeRetrievalView(View):
    """What was looked up before an answer."""

    searches: list[KnowledgeSearchView]
    passages: int
    """That the model was given."""
    milliseconds: int
    failure: str | None
    """Code of why there are none, where that is not because the knowledge bases hold nothing on the question."""

    @classmethod
    def of(cls, retrieval: Retrieval) -> Self:
        """The view of `retrieval`."""
        return cls(
            searches=[KnowledgeSearchView.of(search) for search in retrieval.searches],
            passages=retrieval.passages,
            milliseconds=round(retrieval.seconds * 1000),
            failure=retrieval.failure,
        )
