"""Plain text: stays as it is."""

from ...models.knowledge import Extracted
from .composition import Composition


def read_plain(text: str) -> Extracted:
    """A text without headings and pages."""
    composition = Composition()
    composition.add_block(text)
    return Extracted(composition.text)
