"""JSON that is deeper than readers go."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_kube.decoding import MAX_DEPTH, cut, decode


def nested(levels: int) -> bytes:
    return b'{"a":[' * (levels // 2) + b"1" + b"]}" * (levels // 2)


def depth_of(value: Any) -> int:
    deepest = 0
    while isinstance(value, dict | list) and value:
        deepest += 1
        value = value["a"] if isinstance(value, dict) else value[0]
    return deepest


@pytest.mark.parametrize("levels", [0, 2, MAX_DEPTH, 500])
def test_what_readers_can_take_is_decoded_whole(levels: int) -> None:
    assert decode(nested(levels)) == orjson.loads(nested(levels))


@pytest.mark.parametrize("levels", [1_100, 9_998, 1_000_000])
def test_what_is_too_deep_is_cut_off_and_the_rest_is_kept(levels: int) -> None:
    text = b'{"items":[{"before":"[{"},%s,{"after":"\\"}]"}]}' % nested(levels)

    found = decode(text)

    assert [found["items"][0], found["items"][2]] == [{"before": "[{"}, {"after": '"}]'}]
    assert depth_of(found["items"][1]) == MAX_DEPTH - 2


def test_every_deep_part_is_cut() -> None:
    text = b'{"one":%s,"two":[%s,2],"three":3}' % (nested(5_000), nested(5_000))

    found = decode(text)

    assert (depth_of(found["one"]), depth_of(found["two"][0]), found["two"][1]) == (MAX_DEPTH - 1, MAX_DEPTH - 2, 2)
    assert found["three"] == 3


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda part: st.lists(part) | st.dictionaries(st.text(), part))
)
def test_cutting_leaves_shallow_text_alone(value: Any) -> None:
    text = json.dumps([value] * 60).encode()

    assert cut(text) is text


def test_what_cutting_leaves_is_read_by_pythons_own_reader() -> None:
    assert json.loads(cut(nested(9_000)))


@pytest.mark.parametrize("text", [b"", b"<html>", b"{", b'{"a":', nested(9_000)[:-1], nested(9_000) + b"}"])
def test_what_is_no_json_is_an_error(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        decode(text)
