"""What a file is, told by its bytes while they pass: its media type, size, hash, and the size of an image.

Only what is on the list is taken. What the sender says, in a header or by the ending of the name, counts for nothing.
Only the first `HEAD_BYTES` are kept.
"""

import codecs
import hashlib
import io
import re

import imagesize
import puremagic

from ..errors import FileTooLarge, FileTypeRefused
from ..models.files import IMAGES, PLAIN_TEXT, FileContent

HEAD_BYTES = 256 * 1024
"""Where an image says its size, thumbnails and colour profiles before it included."""
MOST_PIXELS = 50_000_000
"""Of an image: a few bytes can claim to be a picture that fills the memory of whoever unpacks it."""
LONGEST_SIDE = 16_384

_BY_SIGNATURE = IMAGES | {"application/pdf"}
_OOXML = "application/vnd.openxmlformats-officedocument."
_OFFICE_FOLDERS = {
    b"word": f"{_OOXML}wordprocessingml.document",
    b"xl": f"{_OOXML}spreadsheetml.sheet",
    b"ppt": f"{_OOXML}presentationml.presentation",
}
_OPEN_DOCUMENTS = frozenset(
    f"application/vnd.oasis.opendocument.{kind}" for kind in ("text", "spreadsheet", "presentation")
)
_ZIP = b"PK\x03\x04"
# Of a local header: what comes before the length of the name, that length, that of the extra field, and the name.
_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)..([!-~]{1,255})", re.DOTALL)
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
"""Control characters that no text holds; tabs, line and form feeds are no such."""

MEDIA_TYPES = frozenset(_BY_SIGNATURE | _OPEN_DOCUMENTS | {*_OFFICE_FOLDERS.values(), PLAIN_TEXT})
"""Everything that is taken as a file of a conversation."""
DOCUMENTS = frozenset({"application/pdf", PLAIN_TEXT, *_OFFICE_FOLDERS.values()})
"""What knowledge is read out of. HTML, Markdown, CSV and JSON are plain text here: which of them a text is shows when it is read."""
_BOM_BYTES = 2
"""Of UTF-16."""


class Examination:
    """Looks at the bytes of one file as they come."""

    def __init__(
        self, *, most_bytes: int, taken: frozenset[str] = MEDIA_TYPES, takes_any_encoding: bool = False
    ) -> None:
        """Nothing is looked at yet.

        Args:
            taken: Media types that are taken; a part of `MEDIA_TYPES`.
            takes_any_encoding: Text may be in another encoding than UTF-8: whoever reads the file finds out in which.
        """
        self._most = most_bytes
        self._taken = taken
        self._takes_any_encoding = takes_any_encoding
        self._size = 0
        self._hash = hashlib.sha256()
        self._head = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None
        self._begun = b""
        self._is_text = True

    def take(self, piece: bytes) -> None:
        """Look at the next bytes.

        Raises:
            FileTooLarge: There are more than may be.
        """
        self._size += len(piece)
        if self._size > self._most:
            raise FileTooLarge(f"A file may have at most {self._most} bytes.")
        self._hash.update(piece)
        self._head += piece[: HEAD_BYTES - len(self._head)]
        self._look_for_text(piece, is_last=False)

    def end(self) -> FileContent:
        """What it is.

        Raises:
            FileTypeRefused: Files of this kind are not taken, or it is empty or broken.
            FileTooLarge: It is an image with too many pixels.
        """
        if self._size == 0:
            raise FileTypeRefused("The file is empty.")
        self._look_for_text(b"", is_last=True)
        media_type = _find_type(bytes(self._head), is_text=self._is_text)
        if media_type not in self._taken:
            raise FileTypeRefused
        width, height = _measure(bytes(self._head)) if media_type in IMAGES else (None, None)
        return FileContent(media_type, self._size, self._hash.digest(), width, height)

    def _look_for_text(self, piece: bytes, *, is_last: bool) -> None:
        if not self._is_text:
            return
        if self._decoder is None:
            piece = self._begun + piece
            if len(piece) < _BOM_BYTES and not is_last:
                self._begun = piece
                return
            self._decoder = self._choose_decoder(piece)
        try:
            text = self._decoder.decode(piece, final=is_last)
        except UnicodeDecodeError:
            self._is_text = False
            return
        self._is_text = _NOT_TEXT.search(text) is None

    def _choose_decoder(self, begin: bytes) -> codecs.IncrementalDecoder:
        """What reads the text. Where every encoding will do, control characters alone tell it from other bytes: those of Latin-1
        are the bytes themselves."""
        if not self._takes_any_encoding:
            return codecs.getincrementaldecoder("utf-8")()
        is_utf_16 = begin[:_BOM_BYTES] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        return codecs.getincrementaldecoder("utf-16" if is_utf_16 else "latin-1")()


def _find_type(head: bytes, *, is_text: bool) -> str:
    if head.startswith(_ZIP):
        return _find_type_in_archive(head)
    signatures = _match_signatures(head)
    for media_type in sorted(_BY_SIGNATURE):
        if media_type in signatures:
            return media_type
    if is_text:
        return PLAIN_TEXT
    raise FileTypeRefused


def _match_signatures(head: bytes) -> frozenset[str]:
    """The types whose signature fits best."""
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return frozenset()
    best = max(match.confidence for match in matches)
    return frozenset(match.mime_type for match in matches if match.confidence == best)


def _find_type_in_archive(head: bytes) -> str:
    """Office documents are archives: OpenDocument says its type first, the others tell it by their folders."""
    declared = re.match(rb"PK\x03\x04.{26}mimetype([!-~]{1,100}?)PK\x03\x04", head, re.DOTALL)
    if declared is not None and declared[1].decode() in _OPEN_DOCUMENTS:
        return declared[1].decode()
    for entry in _ENTRY.finditer(head):
        name = entry[2][: int.from_bytes(entry[1], "little")]
        folder, _, rest = name.partition(b"/")
        if rest and folder in _OFFICE_FOLDERS:
            return _OFFICE_FOLDERS[folder]
    raise FileTypeRefused


def _measure(head: bytes) -> tuple[int, int]:
    """Width and height of an image, from its head alone: nothing is unpacked."""
    try:
        width, height = imagesize.get(io.BytesIO(head))
    except Exception:  # noqa: BLE001  # a parser of foreign bytes may raise anything; none of it makes an image
        width, height = -1, -1
    if width <= 0 or height <= 0:
        raise FileTypeRefused("The image is broken: it does not say its size.")
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise FileTooLarge(
            f"An image may have at most {MOST_PIXELS} pixels, and {LONGEST_SIDE} on each side; this one says that it has"
            f" {width} by {height}."
        )
    return width, height
