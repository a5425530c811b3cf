"""CSV and JSON: data that people read as tables and lists of fields."""

import csv
import io
from collections.abc import Iterator

import orjson

from ...models.knowledge import Extracted
from .composition import Composition, clean
from .faults import MOST_CELLS, MOST_CHARACTERS, Fault, Unreadable
from .tables import CellCount, build_table

DELIMITERS = ",;\t|"
SAMPLE_LINES = 20
SAMPLE_CHARACTERS = 64 * 1024
LONG_VALUE = 120
"""Characters from which on a value stands below its name instead of behind it."""


def read_csv(text: str) -> Extracted:
    """A table, its first row the head."""
    text = clean(text)
    csv.field_size_limit(MOST_CHARACTERS)
    cells = CellCount()
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=find_delimiter(text)):
            cells.take(row)
            rows.append(row)
    except csv.Error as error:
        raise Unreadable(Fault.BROKEN) from error
    composition = Composition()
    composition.add_block(build_table(rows))
    return Extracted(composition.text)


def find_delimiter(text: str) -> str:
    """What stands between the cells: the delimiter that the first rows have equally often, more than once if several do."""
    lines = text[:SAMPLE_CHARACTERS].split("\n")[:SAMPLE_LINES]

    def rate(delimiter: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            return (0.0, 0)
        usual = max(set(widths), key=widths.count, default=1)
        return (widths.count(usual) / len(widths) if usual > 1 else 0.0, usual)

    return max(DELIMITERS, key=rate)


def read_json(text: str) -> Extracted:
    """A line for each value, behind the path that leads to it; what the outermost list or object holds stands apart."""
    composition = Composition()
    fields = _Fields()
    value = _parse(text)
    match value:
        case list():
            for index, item in enumerate(value):
                composition.add_block(fields.describe(f"[{index}]", item))
        case dict():
            _add_object(composition, fields, value)
        case _:
            composition.add_block(fields.describe("", value))
    return Extracted(composition.text)


def read_json_lines(text: str) -> Extracted:
    """The value of each line, as of JSON."""
    composition = Composition()
    fields = _Fields()
    for line in text.split("\n"):
        if line.strip():
            composition.add_block(fields.describe("", _parse(line)))
    return Extracted(composition.text)


def _add_object(composition: Composition, fields: "_Fields", value: dict[str, object]) -> None:
    plain = {name: entry for name, entry in value.items() if not isinstance(entry, dict | list)}
    composition.add_block(fields.describe("", plain))
    for name, entry in value.items():
        if isinstance(entry, list) and any(isinstance(item, dict | list) for item in entry):
            for index, item in enumerate(entry):
                composition.add_block(fields.describe(f"{name}[{index}]", item))
        elif name not in plain:
            composition.add_block(fields.describe(name, entry))


class _Fields:
    """Writes values as lines, and counts them."""

    def __init__(self) -> None:
        self._left = MOST_CELLS
        self._characters = MOST_CHARACTERS

    def describe(self, path: str, value: object) -> str:
        """The lines of a value.

        Raises:
            Unreadable: The document has more values, or longer paths, than are read.
        """
        lines: list[str] = []
        for name, leaf in self._walk(path, value):
            line = _build_line(name, leaf)
            self._characters -= len(line)
            if self._characters < 0:
                raise Unreadable(Fault.MUCH_TEXT)
            lines.append(line)
        return "\n".join(line for line in lines if line)

    def _walk(self, path: str, value: object) -> Iterator[tuple[str, object]]:
        # orjson reads no deeper than 1,024, but that many levels are too many for Python's stack.
        waiting: list[tuple[str, object]] = [(path, value)]
        while waiting:
            name, current = waiting.pop()
            self._left -= 1
            if self._left < 0:
                raise Unreadable(Fault.MANY_CELLS)
            if isinstance(current, dict):
                inner = [(f"{name}.{key}" if name else str(key), entry) for key, entry in current.items()]
                waiting += reversed(inner)
            elif isinstance(current, list) and any(isinstance(item, dict | list) for item in current):
                waiting += reversed([(f"{name}[{index}]", item) for index, item in enumerate(current)])
            elif isinstance(current, list):
                yield name, ", ".join(text for item in current if (text := _build_value(item)))
            else:
                yield name, _build_value(current)


def _build_line(name: str, text: object) -> str:
    value = str(text).strip()
    if not value or not name:
        return value
    return f"{name}:\n{value}" if len(value) > LONG_VALUE or "\n" in value else f"{name}: {value}"


def _build_value(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def _parse(text: str) -> object:
    try:
        return orjson.loads(text.encode("utf-8", "replace"))
    except ValueError as error:
        raise Unreadable(Fault.BROKEN) from error
