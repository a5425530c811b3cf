"""What parent and child say to one another through the child's pipes.

A request is a header of JSON and the document's bytes, each behind its length; an answer is JSON behind its length. The parent
takes an answer for what it is: words of a process that may be in the hands of whoever wrote the document. So it is bounded before it
is read, checked field by field, and turned into values of our own.
"""

import struct
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Annotated, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...models.knowledge import Extracted, Mark
from ..extraction_port import Extraction
from .composition import DEEPEST, LONGEST_HEADING, LONGEST_TAG, LONGEST_TITLE, MOST_TAGS, is_clean
from .faults import MOST_CHARACTERS, MOST_PAGES, Fault
from .kinds import Kind

MOST_ANSWER = 12 * MOST_CHARACTERS
"""Bytes: a character has four at most, an escaped one six, and marks come on top."""
MOST_MARKS = 500_000

REQUEST = struct.Struct(">II")
"""Lengths of the header and of the document."""
ANSWER = struct.Struct(">IB")
"""Length of the answer, and the signal that ended who gave it, or one of the next two, or 0."""
EXHAUSTED = 0xFE
"""In place of a signal: the reader had too little memory left to say so."""
SILENT = 0xFF
"""In place of a signal: it ended by itself, or said what is no answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """A document that is to be read."""

    hints: bytes
    """JSON of `Hints`."""
    content: bytes = field(repr=False)


class Implausible(Exception):
    """What came from a child is no answer."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Hints(_Message):
    """What is known of a document before it is read."""

    name: str
    media_type: str | None = None


class MarkMessage(_Message):
    """A mark, told to the parent."""

    start: Annotated[int, Field(ge=0)]
    headings: Annotated[tuple[Annotated[str, Field(max_length=LONGEST_HEADING)], ...], Field(max_length=DEEPEST)] = ()
    page: Annotated[int, Field(ge=1, le=MOST_PAGES)] | None = None


class Answer(_Message):
    """A text, or why there is none."""

    fault: Fault | None = None
    kind: Kind | None = None
    text: Annotated[str, Field(max_length=MOST_CHARACTERS)] = ""
    marks: Annotated[tuple[MarkMessage, ...], Field(max_length=MOST_MARKS)] = ()
    title: Annotated[str, Field(max_length=LONGEST_TITLE)] | None = None
    language: Annotated[str, Field(pattern="^[a-z]{2}$")] | None = None
    modified_at: datetime | None = None
    tags: Annotated[tuple[Annotated[str, Field(max_length=LONGEST_TAG)], ...], Field(max_length=MOST_TAGS)] = ()


def build_answer(extraction: Extraction) -> bytes:
    """What a child answers when it has read a document."""
    extracted = extraction.extracted
    answer = Answer(
        kind=Kind(extraction.media_type),
        text=extracted.text,
        marks=tuple(MarkMessage(start=mark.start, headings=mark.headings, page=mark.page) for mark in extracted.marks),
        title=extracted.title,
        language=extracted.language,
        modified_at=extracted.modified_at,
        tags=extracted.tags,
    )
    return answer.model_dump_json(exclude_defaults=True).encode()


def read_answer(content: bytes) -> Extraction | Fault:
    """What a child has read, or why it could not.

    Raises:
        Implausible: It is no answer that our own code gives.
    """
    try:
        answer = Answer.model_validate_json(content)
    except (ValidationError, RecursionError):
        # The error would repeat what the child said.
        raise Implausible from None
    if answer.fault is not None:
        return answer.fault
    marks = tuple(Mark(mark.start, mark.headings, mark.page) for mark in answer.marks)
    if answer.kind is None or not _is_plausible(answer, marks):
        raise Implausible
    extracted = Extracted(
        answer.text,
        marks,
        title=answer.title,
        language=answer.language,
        modified_at=answer.modified_at,
        tags=answer.tags,
    )
    return Extraction(extracted, answer.kind.value)


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """As many bytes of a stream.

    Raises:
        EOFError: It ended before.
    """
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _is_plausible(answer: Answer, marks: tuple[Mark, ...]) -> bool:
    """Whether it keeps what `Extracted` promises."""
    starts = [mark.start for mark in marks]
    short = [*(heading for mark in marks for heading in mark.headings), *answer.tags, answer.title or ""]
    return (
        all(before < after for before, after in pairwise(starts))
        and (not starts or starts[-1] < len(answer.text))
        and is_clean(answer.text)
        and all(is_clean(text) and "\n" not in text for text in short)
        and (answer.modified_at is None or answer.modified_at.tzinfo is not None)
    )
