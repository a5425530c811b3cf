"""Tables as Markdown writes them."""

import re
from collections.abc import Iterable, Sequence

from .composition import one_line
from .faults import MOST_CELLS, MOST_COLUMNS, Fault, Unreadable

_BARS = re.compile(r"(?<!\\)\|")


class CellCount:
    """Counts the cells of a document."""

    def __init__(self) -> None:
        self._left = MOST_CELLS

    def take(self, row: Sequence[object]) -> None:
        """Count a row.

        Raises:
            Unreadable: There are more cells than are read.
        """
        self._left -= max(1, len(row))
        if self._left < 0 or len(row) > MOST_COLUMNS:
            raise Unreadable(Fault.MANY_CELLS)


def build_table(rows: Iterable[Sequence[str]]) -> str:
    """A pipe table, the first row its head; rows and columns without text are left out."""
    filled = [[_build_cell(cell) for cell in row] for row in rows]
    filled = [row for row in filled if any(row)]
    if not filled:
        return ""
    width = max(len(row) for row in filled)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in filled)]
    lines = [_build_row([row[column] if column < len(row) else "" for column in used]) for row in filled]
    lines.insert(1, _build_row(["---"] * len(used)))
    return "\n".join(lines)


def _build_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _build_cell(text: str) -> str:
    return _BARS.sub(r"\\|", one_line(text))
