"""Bodies of answers: bounded while they come, whatever their packing says."""

import codecs
import zlib
from collections.abc import AsyncIterator

_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_HEADER = 47
"""Of zlib: it finds out whether a stream begins as its own or as gzip's do."""
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE_BYTES = 256 * 1024
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class BodyTooLarge(Exception):
    """A body has more bytes than are read."""


class BodyBroken(Exception):
    """A body is not packed as it says."""


async def read_body(pieces: AsyncIterator[bytes], *, packing: str, most_bytes: int, is_cut: bool = False) -> bytes:
    """All of a body, unpacked.

    Args:
        pieces: As they come.
        packing: The header `Content-Encoding`; empty: none.
        most_bytes: Of the body, packed and unpacked.
        is_cut: Whether the beginning does of a body that has more.

    Raises:
        BodyTooLarge: There are more, and it is not cut.
        BodyBroken: It is packed in another way.
    """
    packing = packing.strip().lower()
    if packing not in _PACKED and packing not in ("", "identity"):
        raise BodyBroken
    unpacked = _Unpacked(most_bytes) if packing in _PACKED else None
    body, came = bytearray(), 0
    async for piece in pieces:
        came += len(piece)
        body += piece if unpacked is None else unpacked.take(piece)
        if max(came, len(body)) > most_bytes:
            if is_cut:
                return bytes(body[:most_bytes])
            raise BodyTooLarge
    if unpacked is not None and not unpacked.is_whole:
        raise BodyBroken
    return bytes(body)


def unpack_gzip(content: bytes, *, most_bytes: int) -> bytes:
    """The content of a gzip file, or what is none as it is.

    Raises:
        BodyTooLarge: It unpacks to more.
        BodyBroken: It cannot be unpacked.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content
    unpacked = _Unpacked(most_bytes)
    whole = unpacked.take(content)
    if len(whole) > most_bytes:
        raise BodyTooLarge
    if not unpacked.is_whole:
        raise BodyBroken
    return whole


def to_unicode(content: bytes, charset: str | None) -> bytes:
    """The text in UTF-8 with a byte order mark, which tells every reader so: what the server says of the encoding wins over what
    stands in the text. As it is, where the server says nothing or nothing true."""
    if charset is None or content.startswith(_BOMS):
        return content
    try:
        name = codecs.lookup(charset).name
        if name == "iso8859-1":  # as browsers do: whoever says Latin-1 means Windows' version of it
            name = "cp1252"
        text = content.decode(name)  # text encodings alone: others of Python's codecs raise LookupError here
    except (LookupError, ValueError):
        return content
    return codecs.BOM_UTF8 + text.encode("utf-8", "replace")


class _Unpacked:
    """Unpacks piece by piece, and hardly more than may be."""

    def __init__(self, most_bytes: int) -> None:
        self._unpack = zlib.decompressobj(_ANY_HEADER)
        self._left = most_bytes

    @property
    def is_whole(self) -> bool:
        """Whether its end has come."""
        return self._unpack.eof

    def take(self, piece: bytes) -> bytes:
        """What one piece unpacks to, or as much of it as shows that it is more than may be. What follows the end counts for
        nothing.

        Raises:
            BodyBroken: It cannot be unpacked.
        """
        out = bytearray()
        try:
            while piece and not self._unpack.eof and self._left >= 0:
                some = self._unpack.decompress(piece, min(self._left, _PIECE_BYTES) + 1)
                piece = self._unpack.unconsumed_tail
                self._left -= len(some)
                out += some
        except zlib.error:
            raise BodyBroken from None
        return bytes(out)
