"""Bytes as text, whatever their encoding."""

import codecs
import contextlib
import re

from charset_normalizer import from_bytes

from .faults import Fault, Unreadable

DECLARED_WITHIN = 1024
"""Bytes at the beginning of a page in which it has to say its encoding, by the standard."""
SAMPLE = 64 * 1024
"""Bytes that an encoding is guessed by."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Python has encodings that are none of text, or take long.
_DECLARED = re.compile(
    r"""charset\s*=\s*["']?((?:utf-(?:8|16|32)|iso-8859-|windows-|cp|koi8-|mac-|shift_?jis|euc-|gb|big5|iso-2022-|tis-)[\w-]{0,20})""",
    re.IGNORECASE,
)
_NOT_TEXT = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\ufffd]")
MOST_NOISE = 0.02
"""Of all characters: control characters and what could not be decoded. With more, it is no text."""


def decode(content: bytes, *, media_type: str | None = None) -> str:
    """The text that bytes stand for.

    Args:
        content: All of them.
        media_type: As somebody says; an encoding that it names is believed where the bytes fit.

    Raises:
        Unreadable: They stand for none.
    """
    text = _decode(content, media_type or "")
    noise = sum(1 for _ in _NOT_TEXT.finditer(text))
    if noise > MOST_NOISE * len(text):
        raise Unreadable(Fault.UNKNOWN_FORMAT)
    return text


def _decode(content: bytes, media_type: str) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    head = content[:DECLARED_WITHIN].decode("latin-1")
    for likely in ("utf-8", _find_declared(media_type), _find_declared(head)):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            return content.decode(likely or "utf-8")
    return content.decode(_guess_encoding(content), "replace")


def _find_declared(text: str) -> str | None:
    """The encoding that a header or a page names, if it is one that texts are in."""
    found = _DECLARED.search(text)
    return None if found is None else found[1]


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
