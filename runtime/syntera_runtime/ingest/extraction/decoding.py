"""Bytes as text, whatever their encoding."""

import codecs
import re

from charset_normalizer import from_bytes

from .faults import Fault, Unreadable

SAMPLE = 64 * 1024
"""Bytes that an encoding is guessed by."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NOT_TEXT = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\ufffd]")
MOST_NOISE = 0.02
"""Of all characters: control characters and what could not be decoded. With more, it is no text."""


def decode(content: bytes) -> str:
    """The text that bytes stand for.

    Raises:
        Unreadable: They stand for none.
    """
    text = _decode(content)
    noise = sum(1 for _ in _NOT_TEXT.finditer(text))
    if noise > MOST_NOISE * len(text):
        raise Unreadable(Fault.UNKNOWN_FORMAT)
    return text


def _decode(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode(_guess_encoding(content), "replace")


def _guess_encoding(content: bytes) -> str:
    sample = content[:SAMPLE]
    if b"\0" in sample:
        # Single-byte encodings have no NUL. Those of wide characters without a mark do not pass for text in files people keep.
        raise Unreadable(Fault.UNKNOWN_FORMAT)
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            best = from_bytes(sample).best()
            return "cp1252" if best is None else best.encoding
    # UTF-8 with a fault further on.
    return "utf-8"
