"""Server-sent events from bytes."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_cli.sse import Event, read_events

STREAM = (
    'id: 1\nevent: message.started\ndata: {"a": 1}\n\n'
    ": ping\n\n"
    "event:message.delta\r\ndata: one\r\ndata:  two\u2028\x85\x0b\r\n\r\n"
    "data: ünï\r\rretry: 5\n\n"
).encode()
EVENTS = [
    Event("message.started", '{"a": 1}'),
    Event("message.delta", "one\n two\u2028\x85\x0b"),
    Event("message", "ünï"),
]


def test_events_are_read() -> None:
    assert list(read_events([STREAM])) == EVENTS


@given(st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=20))
def test_chunks_make_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(edges)]
    assert list(read_events(chunks)) == EVENTS


def test_event_comes_as_soon_as_it_is_whole() -> None:
    def stream() -> Iterator[bytes]:
        yield b"data: x\n\n"
        raise AssertionError("the second chunk was asked for too early")

    assert next(read_events(stream())) == Event("message", "x")


@pytest.mark.parametrize("end", [b"data: half", b"data: half\n", b"event: x\n\n", b""])
def test_unfinished_and_empty_events_are_dropped(end: bytes) -> None:
    assert list(read_events([b"data: whole\n\n", end])) == [Event("message", "whole")]
