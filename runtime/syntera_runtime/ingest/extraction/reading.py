"""Reads a document of any format. Runs in a child process: what it calls parses bytes that anybody may have made."""

import dataclasses
import warnings
from collections.abc import Callable

from ...models.knowledge import Extracted
from ..extraction_port import Extraction
from .decoding import decode
from .faults import MOST_BYTES, Fault, Unreadable
from .kinds import Kind, find_binary_kind, find_text_kind
from .languages import find_language
from .markdown import read_markdown
from .pdf import read_pdf
from .plain import read_plain
from .records import read_csv, read_json, read_json_lines
from .sheets import read_sheets
from .slides import read_slides
from .web_pages import read_web_page
from .word import read_word

_OF_BYTES: dict[Kind, Callable[[bytes], Extracted]] = {
    Kind.PDF: read_pdf,
    Kind.DOCX: read_word,
    Kind.PPTX: read_slides,
    Kind.XLSX: read_sheets,
}
_OF_TEXT: dict[Kind, Callable[[str], Extracted]] = {
    Kind.HTML: read_web_page,
    Kind.MARKDOWN: read_markdown,
    Kind.TEXT: read_plain,
    Kind.CSV: read_csv,
    Kind.JSON: read_json,
    Kind.JSON_LINES: read_json_lines,
}


_SAFE = frozenset({Kind.MARKDOWN, Kind.TEXT, Kind.CSV, Kind.JSON, Kind.JSON_LINES})
"""Kinds that are read by Python and Rust alone."""


class NeedsReaderOfItsOwn(Exception):
    """The document's format is read by code that a hostile document may take over."""


def read_document(content: bytes, *, name: str, media_type: str | None = None, reads_any: bool = True) -> Extraction:
    """The text of a document.

    Raises:
        Unreadable: There is none to be had.
        NeedsReaderOfItsOwn: It is of another format than those whose readers keep to their memory, and `reads_any` is not set.
    """
    if not content:
        raise Unreadable(Fault.EMPTY)
    if len(content) > MOST_BYTES:
        raise Unreadable(Fault.MANY_BYTES)
    kind, extracted = _read(content, name=name, media_type=media_type, reads_any=reads_any)
    if not extracted.text.strip():
        raise Unreadable(Fault.NO_TEXT)
    language = extracted.language or find_language(extracted.text)
    return Extraction(dataclasses.replace(extracted, language=language), kind.value)


def _read(content: bytes, *, name: str, media_type: str | None, reads_any: bool) -> tuple[Kind, Extracted]:
    with warnings.catch_warnings():
        # Parsers warn of what is odd about a document; nobody would read it.
        warnings.simplefilter("ignore")
        try:
            kind = find_binary_kind(content)
            if kind is not None:
                _check_reader(kind, reads_any=reads_any)
                return kind, _OF_BYTES[kind](content)
            text = decode(content)
            kind = find_text_kind(text, name=name, media_type=media_type)
            _check_reader(kind, reads_any=reads_any)
            return kind, _OF_TEXT[kind](text)
        except (Unreadable, NeedsReaderOfItsOwn):
            raise
        except MemoryError as error:
            raise Unreadable(Fault.MEMORY) from error
        except RecursionError as error:
            raise Unreadable(Fault.NESTED) from error
        except (
            Exception
        ) as error:  # a parser of foreign bytes may raise anything, and all of it means that it cannot read them
            raise Unreadable(Fault.BROKEN) from error


def _check_reader(kind: Kind, *, reads_any: bool) -> None:
    if not reads_any and kind not in _SAFE:
        raise NeedsReaderOfItsOwn
