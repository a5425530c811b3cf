"""XLSX: a page for each sheet that is shown, rows as pipe tables, with the values that were last calculated."""

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Protocol

import openpyxl
from openpyxl.worksheet._read_only import ReadOnlyWorksheet

from ...models.knowledge import Extracted
from .archives import check_archive, read_properties
from .composition import Composition
from .faults import MOST_PAGES, Fault, Unreadable
from .tables import CellCount, build_table

MOST_ROWS = 1_048_576
"""Of a sheet, the empty ones included: as many as Excel has."""


class _Cell(Protocol):
    @property
    def value(self) -> object: ...
    @property
    def number_format(self) -> str | None: ...


def read_sheets(content: bytes) -> Extracted:
    """A workbook."""
    check_archive(content)
    known = read_properties(content)
    workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    if len(workbook.sheetnames) > MOST_PAGES:
        raise Unreadable(Fault.MANY_PAGES)
    composition = Composition()
    cells = CellCount()
    for number, sheet in enumerate(workbook.worksheets, start=1):
        if sheet.sheet_state != "visible":
            continue
        tables = [table for rows in _split_tables(_read_rows(sheet, cells)) if (table := build_table(rows))]
        if tables:
            composition.begin_page(number)
            composition.add_heading(1, sheet.title)
        for table in tables:
            composition.add_block(table)
    return Extracted(
        composition.text,
        composition.marks,
        title=known.title,
        language=known.language,
        modified_at=known.modified_at,
    )


def _read_rows(sheet: ReadOnlyWorksheet, cells: CellCount) -> Iterator[list[str]]:
    # The size that a sheet claims may be wrong, and large.
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.rows):
        if number == MOST_ROWS:
            raise Unreadable(Fault.MANY_CELLS)
        texts = _build_texts(row)
        if texts:
            cells.take(texts)
        yield texts


def _split_tables(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Rows without an empty one between them."""
    table: list[list[str]] = []
    for row in rows:
        if row:
            table.append(row)
        elif table:
            yield table
            table = []
    yield table


def _build_texts(row: Sequence[_Cell]) -> list[str]:
    texts = [_build_text(cell) for cell in row]
    while texts and not texts[-1].strip():
        texts.pop()
    return texts


def _build_text(cell: _Cell) -> str:
    value = cell.value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        is_percentage = (cell.number_format or "").endswith("%")
        return f"{value * 100:.10g}%" if is_percentage else f"{value:.15g}"
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return "" if value is None else str(value)
