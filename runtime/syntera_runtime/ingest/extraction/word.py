"""DOCX: headings, paragraphs, lists, tables and footnotes, as its styles say. What was deleted or commented is left out."""

import io

import mammoth

from ...models.knowledge import Extracted
from .archives import check_archive, read_properties
from .markdown import find_title
from .web_pages import compose_html, parse_html

_STYLES = """
p[style-name='Title'] => h1:fresh
p[style-name='Subtitle'] => p:fresh
r[style-name='Strong'] => strong
"""


def read_word(content: bytes) -> Extracted:
    """A Word document."""
    check_archive(content)
    known = read_properties(content)
    converted = mammoth.convert_to_html(
        io.BytesIO(content),
        style_map=_STYLES,
        convert_image=lambda _: [],
        external_file_access=False,
    )
    tree = parse_html(converted.value)
    if tree is None:
        return known
    composition = compose_html(tree)
    text, marks = composition.text, composition.marks
    return Extracted(
        text,
        marks,
        title=known.title or find_title(text, marks),
        language=known.language,
        modified_at=known.modified_at,
    )
