"""Rules and lists told apart by a field, without any kind."""

import re
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from syntera_crds.v1alpha1.common import Model, Ruled
from syntera_crds.v1alpha1.rules import Rule, UniqueBy, matching


class Pair(Model):
    rules = (
        Rule("self.low <= self.high", "must not exceed high", holds=lambda pair: pair.low <= pair.high, field=".low"),
    )

    low: int
    high: int


def test_rule_of_a_model_is_checked_after_its_fields() -> None:
    assert Pair(low=1, high=1).low == 1
    with pytest.raises(ValidationError) as caught:
        Pair(low=2, high=1)
    (error,) = caught.value.errors()
    assert (error["type"], error["msg"], error["ctx"]["field"]) == ("rule", "must not exceed high", ".low")


def test_rule_of_a_value_is_checked_where_it_stands() -> None:
    even = TypeAdapter(list[Annotated[int, Rule("self % 2 == 0", "must be even", holds=lambda one: one % 2 == 0)]])
    assert even.validate_python([2, 4]) == [2, 4]
    with pytest.raises(ValidationError) as caught:
        even.validate_python([2, 3])
    assert [(error["loc"], error["msg"]) for error in caught.value.errors()] == [((1,), "must be even")]


def test_rule_without_a_python_twin_lets_everything_pass() -> None:
    class Frozen(Ruled):
        rules = (Rule("self == oldSelf", "cannot change", holds=None),)

    assert Frozen() == Frozen()


def test_message_may_hold_braces() -> None:
    rule = Rule("false", "write {{tenant.name}}", holds=lambda _: False)
    with pytest.raises(ValidationError, match=re.escape("write {{tenant.name}}")):
        TypeAdapter(Annotated[int, rule]).validate_python(1)


def test_cel_of_a_rule_leaves_out_what_is_not_set() -> None:
    assert Rule("a", "b", holds=None).to_cel() == {"rule": "a", "message": "b"}
    assert Rule("a", "b", holds=None, field=".c", reason="FieldValueForbidden").to_cel() == {
        "rule": "a",
        "message": "b",
        "fieldPath": ".c",
        "reason": "FieldValueForbidden",
    }


@pytest.mark.parametrize(("text", "fits"), [("ab", True), ("ab\n", False), ("xab", False), ("abx", False)])
def test_matching_takes_the_whole_text(text: str, fits: bool) -> None:
    rule = matching("^ab$", "must be ab")
    assert rule.holds is not None
    assert rule.holds(text) == fits


def test_matching_reads_classes_as_ascii_like_the_api_server() -> None:
    rule = matching(r"^\w\d\s$", "must be such")
    assert rule.holds is not None
    assert rule.holds("a1 ")
    assert not rule.holds("ä١\u00a0")


class Entry(Model):
    name: str


ENTRIES = TypeAdapter(Annotated[list[Entry], UniqueBy("name")])


def test_unique_by_takes_entries_that_differ() -> None:
    assert len(ENTRIES.validate_python([{"name": "a"}, {"name": "b"}])) == 2


def test_unique_by_names_the_entry_that_stands_again() -> None:
    with pytest.raises(ValidationError) as caught:
        ENTRIES.validate_python([{"name": "a"}, {"name": "b"}, {"name": "a"}])
    (error,) = caught.value.errors()
    assert error["ctx"]["field"] == "[2]"
