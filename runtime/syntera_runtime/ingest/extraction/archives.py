"""Office documents are zip archives of XML: what is checked before a library unpacks one, and what their properties say."""

import io
import re
import zipfile
from datetime import UTC, datetime
from pathlib import PurePosixPath

from lxml import etree

from ...models.knowledge import Extracted
from .composition import build_title
from .dates import read_date
from .faults import Fault, Unreadable
from .languages import read_declared

MOST_PARTS = 20_000
MOST_UNPACKED = 256 * 1024 * 1024
"""Bytes of all parts together, pictures included."""
MOST_XML = 128 * 1024 * 1024
"""Bytes of all XML parts together."""
SUSPECT_BYTES = 4 * 1024 * 1024
MOST_RATIO = 250
"""How many times as large a part may be as it is packed, once it has `SUSPECT_BYTES`: XML of real documents has 10 to 60,
deflate can reach 1,032."""

_XML_ENDINGS = frozenset({".xml", ".rels", ".vml"})
_DECLARATIONS = (b"<!DOCTYPE", b"<!ENTITY")
_LOOKED_AT = 4096
"""Bytes of a part in which a document type would be declared; it comes before the first element."""
_NO_TITLE = re.compile(
    r"(?:untitled|document|dokument|presentation|präsentation|titel|title|slide|folie)\W*\d*"
    r"|(?:microsoft )?(?:powerpoint|word|excel)\b.{0,20}"
    r"|microsoft (?:word|powerpoint|excel) - .*|.*\.(?:docx?|xlsx?|pptx?|pdf|rtf|odt|indd|tex|dvi|qxd)"
    r"|présentation powerpoint",
    re.IGNORECASE,
)
"""What programs put where nobody gave a title."""
_CORE = "docProps/core.xml"
_DUBLIN = "{http://purl.org/dc/elements/1.1/}"
_TERMS = "{http://purl.org/dc/terms/}"


def check_archive(content: bytes) -> None:
    """Look at the parts of an archive without unpacking more than the beginning of each that is XML.

    Raises:
        Unreadable: It is damaged or encrypted, unpacks to too much, or declares what office documents must not.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            _check_sizes(parts)
            for part in parts:
                if PurePosixPath(part.filename).suffix.lower() in _XML_ENDINGS:
                    with archive.open(part) as opened:
                        _check_head(opened.read(_LOOKED_AT))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
        raise Unreadable(Fault.BROKEN) from error


def read_properties(content: bytes) -> Extracted:
    """Title, language and time of change, as the document's properties say; without text."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            core = archive.read(_CORE)
        root = etree.fromstring(core, etree.XMLParser(resolve_entities=False, no_network=True))
    except (KeyError, etree.XMLSyntaxError):
        return Extracted("")
    return Extracted(
        "",
        title=read_title(root.findtext(f"{_DUBLIN}title")),
        language=read_declared(root.findtext(f"{_DUBLIN}language")),
        modified_at=_read_time(root.findtext(f"{_TERMS}modified")),
    )


def read_title(title: str | None) -> str | None:
    """A title of properties, unless a program put it there that had none."""
    built = build_title(title)
    return None if built is None or _NO_TITLE.fullmatch(built) else built


def _check_sizes(parts: list[zipfile.ZipInfo]) -> None:
    if any(part.flag_bits & 0x1 for part in parts):
        raise Unreadable(Fault.ENCRYPTED)
    unpacked = sum(part.file_size for part in parts)
    xml = sum(part.file_size for part in parts if PurePosixPath(part.filename).suffix.lower() in _XML_ENDINGS)
    if len(parts) > MOST_PARTS or unpacked > MOST_UNPACKED or xml > MOST_XML:
        raise Unreadable(Fault.UNPACKS)
    for part in parts:
        if part.file_size > SUSPECT_BYTES and part.file_size > MOST_RATIO * max(1, part.compress_size):
            raise Unreadable(Fault.UNPACKS)


def _check_head(head: bytes) -> None:
    # UTF-16 is the other encoding that XML readers must know; without its NULs the ASCII of it is left.
    if any(declaration in head.replace(b"\0", b"") for declaration in _DECLARATIONS):
        raise Unreadable(Fault.FORBIDDEN_XML)


def _read_time(text: str | None) -> datetime | None:
    # Files that LibreOffice and others make without a clock say the beginning of an epoch.
    found = read_date(text)
    return None if found is None or found < datetime(1990, 1, 1, tzinfo=UTC) else found
