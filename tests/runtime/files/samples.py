"""Small files of every kind, made of their signatures: enough to be told apart, and nothing to look at."""

import io
import struct
import zipfile
import zlib


def make_png(width: int = 3, height: int = 4) -> bytes:
    """An image that every reader of PNG takes, black."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    # Of a large one only a few pixels are there: who believes its head without looking is the test's subject.
    rows = zlib.compress((b"\0" + b"\0" * 3 * min(width, 64)) * min(height, 64))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make_archive(*names: str, mimetype: str = "") -> bytes:
    """A ZIP archive, with its type as its first entry where it is given."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        if mimetype:
            archive.writestr(zipfile.ZipInfo("mimetype"), mimetype)
        for name in names:
            archive.writestr(name, "x" * 2000)
    return made.getvalue()


GIF = b"GIF89a" + struct.pack("<HH", 3, 4) + b"\0\0\0;"
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    b"\xff\xe1"
    + struct.pack(">H", 60_002)
    + b"\0" * 60_000  # a thumbnail before the size
    + b"\xff\xc0\x00\x11\x08"
    + struct.pack(">HH", 4, 3)
    + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
)
WEBP = b"RIFF\x1a\0\0\0WEBPVP8L\x0e\0\0\0/" + struct.pack("<I", (3 - 1) | (4 - 1) << 14) + b"\0" * 6
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n"
OOXML = "application/vnd.openxmlformats-officedocument."
ODF = "application/vnd.oasis.opendocument."
