"""PPTX: a page for each slide that is shown, with its title as heading, its texts, tables and notes."""

import io
from collections.abc import Iterable

from pptx import Presentation
from pptx.shapes.base import BaseShape
from pptx.shapes.graphfrm import GraphicFrame
from pptx.shapes.group import GroupShape
from pptx.slide import Slide
from pptx.text.text import TextFrame

from ...models.knowledge import Extracted
from .archives import check_archive, read_properties
from .composition import Composition, build_title, one_line
from .faults import MOST_PAGES, Fault, Unreadable
from .tables import CellCount, build_table

DEEPEST_GROUP = 50


def read_slides(content: bytes) -> Extracted:
    """A presentation."""
    check_archive(content)
    known = read_properties(content)
    slides = Presentation(io.BytesIO(content)).slides
    if len(slides) > MOST_PAGES:
        raise Unreadable(Fault.MANY_PAGES)
    composition = Composition()
    cells = CellCount()
    first: str | None = None
    for number, slide in enumerate(slides, start=1):
        if slide.element.get("show") == "0":
            continue
        composition.begin_page(number)
        title = _read_title(slide)
        first = first or build_title(title)
        composition.add_heading(1, title)
        for shape in _flatten(slide.shapes):
            _add_shape(composition, shape, title_id=_title_id(slide), cells=cells)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            notes = _read_lines(slide.notes_slide.notes_text_frame, is_list=False)
            composition.add_block(f"Notes: {notes}" if notes else "")
    return Extracted(
        composition.text,
        composition.marks,
        title=known.title or first,
        language=known.language,
        modified_at=known.modified_at,
    )


def _add_shape(composition: Composition, shape: BaseShape, *, title_id: int | None, cells: CellCount) -> None:
    if shape.shape_id == title_id:
        return
    if isinstance(shape, GraphicFrame) and shape.has_table:
        rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
        for row in rows:
            cells.take(row)
        composition.add_block(build_table(rows))
    elif shape.has_text_frame:
        composition.add_block(_read_lines(shape.text_frame, is_list=True))  # type: ignore[attr-defined]  # said by has_text_frame


def _flatten(shapes: Iterable[BaseShape], depth: int = 0) -> Iterable[BaseShape]:
    for shape in shapes:
        if isinstance(shape, GroupShape):
            if depth == DEEPEST_GROUP:
                raise Unreadable(Fault.NESTED)
            yield from _flatten(shape.shapes, depth + 1)
        else:
            yield shape


def _read_title(slide: Slide) -> str:
    title = slide.shapes.title
    return "" if title is None or not title.has_text_frame else one_line(title.text_frame.text)


def _title_id(slide: Slide) -> int | None:
    return None if slide.shapes.title is None else slide.shapes.title.shape_id


def _read_lines(frame: TextFrame, *, is_list: bool) -> str:
    """A line for each paragraph; several are items of a list, as deep as the slide has them."""
    lines = [(paragraph.level, one_line(paragraph.text)) for paragraph in frame.paragraphs]
    lines = [(level, line) for level, line in lines if line]
    if not is_list or len(lines) < 2:
        return "\n".join(line for _, line in lines)
    return "\n".join(f"{'  ' * level}- {line}" for level, line in lines)
