"""A text that stands in the KnowledgeBase itself."""

from collections.abc import AsyncGenerator, Mapping

from syntera_crds.contract.knowledge_config import InlineSource

from ...models.knowledge import DocumentFacts
from ..items import Fetched, Item, Known

PATH = "text"


class InlineText:
    """`DocumentSource` of one document."""

    def __init__(self, source: InlineSource) -> None:
        self._source = source

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:  # noqa: ARG002  # it costs nothing to say again
        """See `DocumentSource`."""
        facts = DocumentFacts(title=self._source.title, media_type="text/markdown")
        yield Fetched(PATH, self._source.text.encode(), facts, name="text.md")
