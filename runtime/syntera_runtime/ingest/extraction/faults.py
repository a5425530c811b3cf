"""What can be wrong with a document, and what people are told of it.

A child sends the name of a fault and no words: after it has parsed a hostile document, its words may be the document's.
"""

from enum import StrEnum

from ...models.knowledge import Failing


class Fault(StrEnum):
    """Why a document cannot be read."""

    EMPTY = "empty"
    NO_TEXT = "no-text"
    SCANNED = "scanned"
    UNKNOWN_FORMAT = "unknown-format"
    OLD_OFFICE = "old-office"
    NOT_A_DOCUMENT = "not-a-document"
    ENCRYPTED = "encrypted"
    BROKEN = "broken"
    NESTED = "nested"
    FORBIDDEN_XML = "forbidden-xml"
    MANY_BYTES = "many-bytes"
    MANY_PAGES = "many-pages"
    MANY_CELLS = "many-cells"
    MUCH_TEXT = "much-text"
    UNPACKS = "unpacks"
    TIME = "time"
    MEMORY = "memory"
    CRASHED = "crashed"


class Unreadable(Exception):
    """A document cannot be read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


MOST_BYTES = 64 * 1024 * 1024
"""Of a document. Sources have bounds of their own below this one."""
MOST_PAGES = 5_000
"""Pages of a PDF, slides, and sheets: handbooks of processors, among the longest there are, have as many."""
MOST_CELLS = 500_000
"""Of all tables of a spreadsheet, a CSV file or a JSON file."""
MOST_COLUMNS = 1_000
"""Of a row: with more it is data for a program, and no passage can be cut out of it."""
MOST_CHARACTERS = 8_000_000
"""Of the text of a document: more than two million words."""

EXPLANATIONS: dict[Fault, tuple[Failing, str]] = {
    Fault.EMPTY: (Failing.NO_TEXT, "The document is empty."),
    Fault.NO_TEXT: (Failing.NO_TEXT, "The document holds no text."),
    Fault.SCANNED: (
        Failing.NO_TEXT,
        "The pages are pictures without text, as scanners make them. Run text recognition (OCR) on the file and add it again.",
    ),
    Fault.UNKNOWN_FORMAT: (
        Failing.UNSUPPORTED,
        "The content is of no format that is read: PDF, DOCX, PPTX, XLSX, HTML, Markdown, plain text, CSV, JSON.",
    ),
    Fault.OLD_OFFICE: (
        Failing.UNSUPPORTED,
        "The document is of an old binary format of an office program. Save it as DOCX, PPTX, XLSX or PDF.",
    ),
    Fault.NOT_A_DOCUMENT: (
        Failing.UNSUPPORTED,
        "The content is an archive that is no DOCX, PPTX or XLSX. Unpack it and add the documents that it holds.",
    ),
    Fault.ENCRYPTED: (Failing.ENCRYPTED, "The document asks for a password. Save it without one."),
    Fault.BROKEN: (
        Failing.BROKEN,
        "The document is damaged, or is not what its content begins like. Open it in a program of its format and save it anew.",
    ),
    Fault.NESTED: (Failing.BROKEN, "The document's structure is nested too deeply to be read."),
    Fault.FORBIDDEN_XML: (
        Failing.BROKEN,
        "The document declares XML entities, which office documents must not. Open it in an office program and save it anew.",
    ),
    Fault.MANY_BYTES: (Failing.TOO_LARGE, f"The document has more than {MOST_BYTES // 1024**2} MiB. Split it."),
    Fault.MANY_PAGES: (Failing.TOO_LARGE, f"The document has more than {MOST_PAGES} pages. Split it."),
    Fault.MANY_CELLS: (
        Failing.TOO_LARGE,
        f"The document has more than {MOST_CELLS} cells or values, or more than {MOST_COLUMNS} columns. Leave out what nobody asks for.",
    ),
    Fault.MUCH_TEXT: (Failing.TOO_LARGE, f"The document's text has more than {MOST_CHARACTERS} characters. Split it."),
    Fault.UNPACKS: (
        Failing.TOO_LARGE,
        "The document's parts unpack to far more bytes than documents of its kind have.",
    ),
    Fault.TIME: (
        Failing.TOOK_TOO_LONG,
        "Reading the document took longer than it may. Split it, or save it in a simpler format.",
    ),
    Fault.MEMORY: (Failing.TOOK_TOO_LONG, "Reading the document took more memory than it may. Split it."),
    Fault.CRASHED: (
        Failing.BROKEN,
        "Reading the document ended its reader. Open it in a program of its format and save it anew, or split it.",
    ),
}
