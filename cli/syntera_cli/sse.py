"""Reads server-sent events from bytes. Lines end at LF, CR LF or CR alone, never at other characters inside of the data."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r(?!$)")
"""A CR at the very end waits: it may be half of a CR LF."""


class Event(NamedTuple):
    """One event."""

    name: str
    data: str


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events of a stream, as soon as each is whole. Comments are passed over; an unfinished event is dropped."""
    name, data = "message", list[str]()
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(name, "\n".join(data))
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = _LINE_END.split(rest + chunk)
        yield from (line.decode(errors="replace") for line in lines)
    if rest.endswith(b"\r"):
        yield rest.removesuffix(b"\r").decode(errors="replace")
