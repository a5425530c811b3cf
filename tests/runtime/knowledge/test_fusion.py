"""Lists of what several searches found, as one."""

import pytest

from syntera_runtime.knowledge.fusion import fuse_ranks


def test_item_of_both_lists_comes_before_the_first_of_either() -> None:
    assert list(fuse_ranks([(1.0, ["a", "x"]), (1.0, ["b", "x"])])) == ["x", "a", "b"]


def test_rank_is_worth_what_the_formula_says() -> None:
    assert fuse_ranks([(1.0, ["a", "b"]), (2.0, ["b"])]) == pytest.approx({"b": 1 / 12 + 2 / 11, "a": 1 / 11})


def test_heavier_list_decides_where_they_disagree() -> None:
    assert list(fuse_ranks([(1.0, ["a", "b"]), (2.0, ["b", "a"])])) == ["b", "a"]


def test_nothing_comes_of_nothing() -> None:
    assert fuse_ranks([(1.0, list[str]()), (1.0, [])]) == {}
