"""Markdown: stays as it is, but for what stands before it and underlined headings; and headings found in any Markdown."""

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ...models.knowledge import Extracted, Mark
from .composition import LONGEST_HEADING, LONGEST_TAG, MOST_TAGS, build_title, clean, one_line
from .dates import read_date
from .faults import MOST_CHARACTERS, Fault, Unreadable
from .languages import read_declared

LONGEST_FRONT_MATTER = 16 * 1024

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)^\1[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_UNDERLINES = frozenset("=-")
# Pictures that stand in the text itself are no text. No part of it can match in two ways, so that it takes linear time.
_EMBEDDED = re.compile(r"\(data:[^()\s]{64,}\)")
_LINKS = re.compile(r"!?\[([^\[\]]{0,300})\](?:\([^()\s]{0,500}[^()]{0,200}\)|\[[^\[\]]{0,100}\])")
_ATTRIBUTES = re.compile(r"\s*\{[#.:][^{}]{0,100}\}\s*$")
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")
_TITLES = ("title",)
_LANGUAGES = ("language", "lang", "locale")
_DATES = ("updated", "last_updated", "lastmod", "last_modified", "modified", "date")
_TAGS = ("tags", "keywords")


def read_markdown(text: str) -> Extracted:
    """A Markdown document. What its front matter says of it is read, and is no part of its text."""
    text = _EMBEDDED.sub("()", clean(text))
    known, text = _split_front_matter(text)
    text, marks = mark_headings(text)
    title = build_title(_first(known, _TITLES)) or find_title(text, marks)
    return Extracted(
        text,
        marks,
        title=title,
        language=read_declared(_first(known, _LANGUAGES)),
        modified_at=_read_first_date(known),
        tags=_read_tags(_first(known, _TAGS)),
    )


def mark_headings(text: str) -> tuple[str, tuple[Mark, ...]]:
    """Clean Markdown with every heading on one line that begins with `#`, and where the headings begin."""
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(Fault.MUCH_TEXT)
    lines = text.split("\n")
    begun: dict[int, tuple[int, str]] = {}
    for token, title in _find_headings(text):
        first, end = token.map or (0, 0)
        level = int(token.tag[1:])
        if token.markup[:1] in _UNDERLINES:
            lines[first:end] = [f"{'#' * level} {one_line(title)}", *[""] * (end - first - 1)]
        begun[first] = (level, title)
    return _trim(lines, begun)


def find_title(text: str, marks: tuple[Mark, ...]) -> str | None:
    """The heading that a text begins with."""
    if not marks or text[: marks[0].start].strip() or not marks[0].headings:
        return None
    return build_title(marks[0].headings[-1])


def _trim(lines: list[str], begun: Mapping[int, tuple[int, str]]) -> tuple[str, tuple[Mark, ...]]:
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    marks: list[Mark] = []
    path: list[tuple[int, str]] = []
    start = 0
    for number, line in enumerate(lines[first:], start=first):
        if number in begun:
            level, title = begun[number]
            path = [*(entry for entry in path if entry[0] < level), (level, _build_heading(title))]
            marks.append(Mark(start, tuple(name for _, name in path if name)))
        start += len(line) + 1
    return "\n".join(lines[first:]).rstrip(), tuple(marks)


def _find_headings(text: str) -> list[tuple[Token, str]]:
    """Headings that stand in no list and no quotation, with their Markdown."""
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    tokens = parser.parse(text)
    return [
        (token, following.content)
        for token, following in pairwise(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def _build_heading(markdown: str) -> str:
    text = one_line(markdown[:1000])
    text = _ATTRIBUTES.sub("", _LINKS.sub(r"\1", text))
    return _EMPHASIS.sub("", text).strip()[:LONGEST_HEADING]


def _split_front_matter(text: str) -> tuple[Mapping[object, object], str]:
    found = _FRONT_MATTER.match(text[:LONGEST_FRONT_MATTER])
    if found is None:
        return {}, text
    read = _read_toml if found[1] == "+++" else _read_yaml
    known = read(found[2])
    # Text between two rules is no front matter.
    return ({}, text) if known is None else (known, text[found.end() :])


def _read_yaml(text: str) -> Mapping[object, object] | None:
    try:
        known = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None


def _read_toml(text: str) -> Mapping[object, object] | None:
    known: dict[object, object] = {}
    try:
        known.update(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return known


def _first(known: Mapping[object, object], names: tuple[str, ...]) -> object:
    return next((known[name] for name in names if name in known), None)


def _read_first_date(known: Mapping[object, object]) -> datetime | None:
    dates = (read_date(known[name]) for name in _DATES if name in known)
    return next((found for found in dates if found is not None), None)


def _read_tags(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list):
        return ()
    tags = (
        one_line(str(tag)[: 4 * LONGEST_TAG])[:LONGEST_TAG] for tag in listed[:MOST_TAGS] if isinstance(tag, str | int)
    )
    return tuple(dict.fromkeys(tag for tag in tags if tag))
