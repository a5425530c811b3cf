"""Which paths are taken: globs, and the endings of formats that are read.

A glob is matched without regular expressions, in time that grows with the product of the two lengths at most: the paths are
somebody else's.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

KNOWN_ENDINGS = frozenset(
    {
        *(
            "adoc",
            "asciidoc",
            "csv",
            "docx",
            "htm",
            "html",
            "json",
            "jsonl",
            "log",
            "markdown",
            "md",
            "mdx",
            "ndjson",
            "org",
        ),
        *("pdf", "pptx", "rst", "text", "tsv", "txt", "xhtml", "xlsx"),
    }
)
"""Of names whose format is read."""

_MOST_PATH = 2048
_UNREADABLE = "\ufffd"
"""Stands for bytes that are no text."""


@dataclass(frozen=True, slots=True)
class Globs:
    """Paths that are wanted: `*` is any run of characters within a segment, `?` one of them, the segment `**` any number of
    segments, none included. A glob stands for a whole path; a slash at its beginning means nothing."""

    include: Sequence[str] = ()
    """Empty: all."""
    exclude: Sequence[str] = ()

    def has(self, path: str) -> bool:
        """Whether the path is wanted."""
        if any(is_match(glob, path) for glob in self.exclude):
            return False
        return not self.include or any(is_match(glob, path) for glob in self.include)

    def has_file(self, path: str) -> bool:
        """Whether the file is wanted: its ending must be known, unless a glob names its kind (`src/**/*.py`)."""
        if not self.has(path):
            return False
        if has_known_ending(path):
            return True
        return any(is_match(glob, path) for glob in self.include if set(glob.rpartition("/")[2]) != {"*"})


def has_known_ending(path: str) -> bool:
    """Whether the ending of a name is that of a format that is read."""
    return path.rpartition("/")[2].rpartition(".")[2].lower() in KNOWN_ENDINGS and "." in path


def is_nameable(path: str) -> bool:
    """Whether a document may have the path: text of a bounded length, and no way to other folders."""
    return (
        0 < len(path) <= _MOST_PATH
        and not any(_is_control(one) for one in path)
        and not {"", ".", ".."} & set(path.split("/"))
    )


def spell(path: str) -> str:
    """How a path that no document may have stands in reports."""
    return "".join(_UNREADABLE if _is_control(one) else one for one in path)[:_MOST_PATH]


def is_match(glob: str, path: str) -> bool:
    """Whether the glob stands for the path."""
    wanted, found = glob.lstrip("/").split("/"), path.lstrip("/").split("/")
    reached = _skip_any({0}, wanted)
    for segment in found:
        reached = _skip_any(set(_step(reached, wanted, segment)), wanted)
        if not reached:
            return False
    return len(wanted) in reached


def _is_control(character: str) -> bool:
    return character == _UNREADABLE or unicodedata.category(character) in ("Cc", "Cs")


def _step(reached: set[int], wanted: list[str], segment: str) -> list[int]:
    """Where in the glob one may be after one more segment of the path."""
    after = []
    for position in reached:
        if position == len(wanted):
            continue
        if wanted[position] == "**":
            after.append(position)
        elif _is_segment(wanted[position], segment):
            after.append(position + 1)
    return after


def _skip_any(reached: set[int], wanted: list[str]) -> set[int]:
    """With the positions behind each `**`, which may stand for nothing."""
    all_reached = set(reached)
    for first in reached:
        position = first
        while position < len(wanted) and wanted[position] == "**":
            position += 1
            all_reached.add(position)
    return all_reached


def _is_segment(glob: str, segment: str) -> bool:
    """Two fingers, and one mark to return to: the last asterisk."""
    at, position, star, mark = 0, 0, -1, 0
    while position < len(segment):
        if at < len(glob) and glob[at] == "*":
            star, mark = at, position
            at += 1
        elif at < len(glob) and glob[at] in ("?", segment[position]):
            at += 1
            position += 1
        elif star >= 0:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not glob[at:].strip("*")
