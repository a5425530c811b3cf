"""What a sync asks of whatever reads formats, so that it is tested without any."""

from dataclasses import dataclass
from typing import Protocol

from ..models.knowledge import Extracted, Failing


@dataclass(frozen=True, slots=True)
class Extraction:
    """A document that was read."""

    extracted: Extracted
    media_type: str
    """What the bytes are, whatever name or server said."""


class ExtractionFailed(Exception):
    """A document could not be read. It fails alone."""

    def __init__(self, reason: Failing, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        """A sentence of ours without anything of the document's text, that says what to do. At most 512 characters."""


class Extractor(Protocol):
    """Reads text out of the bytes of a document, in bounded time and memory, whatever they are."""

    async def extract(self, content: bytes, *, name: str, media_type: str | None = None) -> Extraction:
        """The text of a document. Several calls may run at once.

        Args:
            content: All its bytes.
            name: Its ending hints at the format.
            media_type: What the source says, another hint. Both count only where the bytes fit.

        Raises:
            ExtractionFailed: There is no text to be had from it.
        """
        ...
