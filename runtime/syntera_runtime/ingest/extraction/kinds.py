"""What format a document is of: told by its content; name and media type choose only among formats that are text alike."""

import io
import re
import zipfile
from enum import StrEnum

import orjson

from .faults import Fault, Unreadable

_OOXML = "application/vnd.openxmlformats-officedocument."


class Kind(StrEnum):
    """The formats that are read, by their media types."""

    PDF = "application/pdf"
    DOCX = f"{_OOXML}wordprocessingml.document"
    PPTX = f"{_OOXML}presentationml.presentation"
    XLSX = f"{_OOXML}spreadsheetml.sheet"
    HTML = "text/html"
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"
    CSV = "text/csv"
    JSON = "application/json"
    JSON_LINES = "application/jsonl"


_MAIN_PARTS = {"word/document.xml": Kind.DOCX, "ppt/presentation.xml": Kind.PPTX, "xl/workbook.xml": Kind.XLSX}
_BY_ENDING = {
    "htm": Kind.HTML,
    "html": Kind.HTML,
    "xhtml": Kind.HTML,
    "md": Kind.MARKDOWN,
    "mdx": Kind.MARKDOWN,
    "markdown": Kind.MARKDOWN,
    "csv": Kind.CSV,
    "tsv": Kind.CSV,
    "json": Kind.JSON,
    "jsonl": Kind.JSON_LINES,
    "ndjson": Kind.JSON_LINES,
    "txt": Kind.TEXT,
    "text": Kind.TEXT,
}
ENDINGS = frozenset({"pdf", "docx", "pptx", "xlsx", "log", "rst", "adoc", *_BY_ENDING})
"""Endings of names that documents of these formats have, in small letters."""
_BY_MEDIA_TYPE = {
    **{kind.value: kind for kind in (Kind.HTML, Kind.MARKDOWN, Kind.CSV, Kind.JSON, Kind.JSON_LINES)},
    "application/xhtml+xml": Kind.HTML,
    "text/x-markdown": Kind.MARKDOWN,
    "text/tab-separated-values": Kind.CSV,
    "application/x-ndjson": Kind.JSON_LINES,
}
"""`text/plain` is not among them: servers say it of anything."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_LOOKED_AT = 4096
"""Characters of a text by which it is known."""
_HTML = re.compile(
    r"\s*(?:<\?xml[^<>]*>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)
_XML = re.compile(r"\s*<(?:\?xml|!DOCTYPE|svg)\b", re.IGNORECASE)
_TAG = re.compile(r"<(?:p|div|h[1-6]|table|ul|ol|section|article|main|span|a|br)\b[^<>]{0,500}>", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6} \S.*$|\A---\n", re.MULTILINE)


def find_binary_kind(content: bytes) -> Kind | None:
    """The kind of a document that is no text; None: it is text, or nothing that is read, as decoding it will show.

    Raises:
        Unreadable: It is certainly of no format that is read.
    """
    if b"%PDF-" in content[:1024]:
        return Kind.PDF
    if content.startswith(b"PK\x03\x04"):
        return _find_kind_of_archive(content)
    if content.startswith(_OLE):
        raise Unreadable(Fault.ENCRYPTED if _ENCRYPTED_OFFICE in content else Fault.OLD_OFFICE)
    return None


def find_text_kind(text: str, *, name: str, media_type: str | None) -> Kind:
    """The kind of a document that is text.

    Raises:
        Unreadable: It is XML of a kind that is not read.
    """
    hint = _read_hint(name, media_type)
    head = text[:_LOOKED_AT]
    if hint not in (Kind.MARKDOWN, Kind.TEXT) and _HTML.match(head):
        return Kind.HTML
    if hint not in (Kind.TEXT, Kind.HTML) and _XML.match(head):
        raise Unreadable(Fault.UNKNOWN_FORMAT)
    if hint is Kind.HTML:
        return Kind.HTML if _TAG.search(head) else Kind.TEXT
    if hint is None and head.lstrip()[:1] in ("{", "[") and _is_json(text):
        return Kind.JSON
    if hint is None and _HEADING.search(head):
        return Kind.MARKDOWN
    return hint or Kind.TEXT


def _read_hint(name: str, media_type: str | None) -> Kind | None:
    ending = name.rpartition(".")[2].lower()
    said = (media_type or "").partition(";")[0].strip().lower()
    if said == "text/plain" and ending not in _BY_ENDING and "." in name.rpartition("/")[2]:
        return Kind.TEXT
    return _BY_ENDING.get(ending) or _BY_MEDIA_TYPE.get(said)


def _find_kind_of_archive(content: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.NameToInfo
            found = [kind for part, kind in _MAIN_PARTS.items() if part in names]
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise Unreadable(Fault.BROKEN) from error
    if len(found) != 1:
        raise Unreadable(Fault.NOT_A_DOCUMENT)
    return found[0]


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True
