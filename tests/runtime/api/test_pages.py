"""Cursors."""

import base64
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.api.pages import (
    make_chunk_cursor,
    make_cursor,
    make_position_cursor,
    read_chunk_cursor,
    read_cursor,
    read_position_cursor,
)
from syntera_runtime.errors import InvalidCursor
from syntera_runtime.knowledge.management import ChunkPosition
from syntera_runtime.models.conversations import ConversationOrder, ListPosition
from syntera_runtime.models.ids import ConversationId


@given(st.uuids())
def test_cursor_reads_back_as_it_was_made(last: UUID) -> None:
    assert read_cursor(make_cursor(last)) == last


@given(st.text(max_size=60))
def test_text_that_is_no_cursor_is_refused_and_never_breaks(text: str) -> None:
    with suppress(InvalidCursor):
        assert make_cursor(read_cursor(text)) == text


@pytest.mark.parametrize("raw", [b"", b"\x01", b"\x02" + b"a" * 16, b"\x01" + b"a" * 17])
def test_cursor_of_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.uuids(), st.datetimes(timezones=st.just(UTC)), st.sampled_from(ConversationOrder))
def test_cursor_of_a_position_reads_back_as_it_was_made(last: UUID, at: datetime, order: ConversationOrder) -> None:
    position = ListPosition(ConversationId(last), at)
    assert read_position_cursor(make_position_cursor(position, order), order) == position


@given(st.binary(min_size=25, max_size=25), st.sampled_from(ConversationOrder))
def test_bytes_that_are_no_position_are_refused_and_never_break(raw: bytes, order: ConversationOrder) -> None:
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    with suppress(InvalidCursor):
        assert make_position_cursor(read_position_cursor(text, order), order) == text


@given(st.integers(min_value=1, max_value=2**32 - 1), st.integers(min_value=0, max_value=2**31 - 1))
def test_cursor_of_a_chunk_reads_back_as_it_was_made(index_number: int, position: int) -> None:
    last = ChunkPosition(index_number, position)
    assert read_chunk_cursor(make_chunk_cursor(last)) == last


@given(st.binary(max_size=12))
def test_bytes_that_are_no_chunk_are_refused_and_never_break(raw: bytes) -> None:
    for begin in (b"", b"\x05"):
        text = base64.urlsafe_b64encode(begin + raw).rstrip(b"=").decode()
        with suppress(InvalidCursor):
            assert make_chunk_cursor(read_chunk_cursor(text)) == text


@pytest.mark.parametrize("raw", [b"\x05" + b"\xff" * 8, b"\x01" + b"\0" * 8, b"\x05" + b"\0" * 7])
def test_cursor_that_no_chunk_has_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidCursor):
        read_chunk_cursor(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())
