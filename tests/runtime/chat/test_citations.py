"""Numbers in brackets, wherever the pieces of an answer are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.chat.citations import MarkerScanner, drop_markers, find_markers


def numbers(text: str) -> list[int]:
    return [number for marker in find_markers(text) for number in marker.numbers]


@pytest.mark.parametrize(
    ("text", "cited"),
    [
        ("It opens at nine [1].", [1]),
        ("It opens at nine.[1][12]", [1, 12]),
        ("It opens [1, 3] and closes [2 ,4].", [1, 3, 2, 4]),
        ("[1]", [1]),
        ("Nothing [] here [a] or [1a] or [-1] or [1-2] or [ 1 ].", []),
        ("[1234]", []),
        ("See [1](https://example.com)", [1]),
        ("`items[1]` is the second, they say [2].", [2]),
        ("A lone ` does not open code [1].", [1]),
        ("A lone ` does not open code [1].\nNor here [2].", [1, 2]),
        ("Before\n```python\nitems[1]\n```\nafter [2]", [2]),
        ("~~~\n[1]\n~~~", []),
        ("```\n[1] of a block that never ends", []),
        ("بالفعل [١]", [1]),  # noqa: RUF001  # Arabic digits are meant
    ],
)
def test_markers_outside_of_code_are_found(text: str, cited: list[int]) -> None:
    assert numbers(text) == cited


def test_marker_tells_where_it_stands() -> None:
    text = "Line `one`\nopens [2] at nine"
    (marker,) = find_markers(text)
    assert text[marker.start : marker.end] == "[2]"


def test_marker_is_found_as_soon_as_it_is_whole() -> None:
    scanner = MarkerScanner()
    assert [scanner.feed(piece) for piece in ("Nine [", "1", "2")] == [[], [], []]
    assert [marker.numbers for marker in scanner.feed("] o'clock")] == [(12,)]


@given(st.text(alphabet="a 1,[]`~\n", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_cuts_change_nothing(text: str, cuts: list[int]) -> None:
    scanner, found, start = MarkerScanner(), [], 0
    for cut in (*sorted(cuts), len(text)):
        found += scanner.feed(text[start:cut])
        start = max(cut, start)
    found += scanner.flush()
    assert sorted(found, key=lambda marker: marker.start) == find_markers(text)


def test_endless_line_is_read_in_reasonable_time() -> None:
    scanner = MarkerScanner()
    for _ in range(20_000):
        scanner.feed("[[[1 ")
    assert scanner.flush() == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("At nine [1].", "At nine."),
        ("At nine [1, 2] or ten [3].", "At nine or ten [3]."),
        ("At nine [1, 3].", "At nine [1, 3]."),
        ("`items[1]`", "`items`"),
    ],
)
def test_markers_of_these_numbers_are_dropped(text: str, rest: str) -> None:
    assert drop_markers(text, {1, 2}) == rest


def test_nothing_is_dropped_when_nothing_was_cited() -> None:
    assert drop_markers("See [1].", ()) == "See [1]."


def test_spaces_without_an_end_are_passed_by_once() -> None:
    text = "It opens at nine." + " \t" * 200_000 + "."
    assert drop_markers(text + " [1]", {1}) == text
