"""Reads the API server's JSON, however deep it is.

The API server takes objects that are nested up to 10,000 levels: whoever may write any object can make one, in
`metadata.managedFields` of a ConfigMap for example. orjson reads 1,024, Python's own reader fewer than a thousand, and one
such object in a list would keep the reader from all the others. So what is nested deeper than anything real is cut off.
"""

import re
from typing import Any

import orjson

MAX_DEPTH = 128
"""Levels of an answer that are kept where one goes too deep. No object of ours comes near it."""

# Strings are one token each, so that a bracket inside of one does not count.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|[\]}]', re.DOTALL)


def decode(text: bytes) -> Any:
    """The value that JSON text stands for, without what is nested too deep.

    Raises:
        orjson.JSONDecodeError: it is no JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        shallow = cut(text)
        if shallow is text:
            raise
        return orjson.loads(shallow)


def cut(text: bytes) -> bytes:
    """The text with every list and object below `MAX_DEPTH` replaced by null; the very same text where there is none."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return text
    kept: list[bytes] = []
    depth = begin = 0
    for token in _TOKEN.finditer(text):
        if token[1]:
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [text[begin : token.start()], b"null"]
        elif token[0] in b"]}":
            if depth == MAX_DEPTH + 1:
                begin = token.end()
            depth -= 1
    return b"".join([*kept, text[begin:]]) if kept else text
