"""When an object is as it should be; pure."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syntera_crds.contract import names
from syntera_operator.cluster import Owner
from syntera_operator.cluster.compare import applied_hash, complete, digest, is_subset, project

OWNER = Owner("syntera.io/v1alpha1", "Tenant", "acme", "uid")
DESIRED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("desired", "live", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}, True),
        ({"a": {"b": 1}}, {"a": "text"}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([1], [1, 2], False),
        ([{"a": 1}], [{"a": 1, "default": True}], True),
        ([1], None, False),
        ({"a": []}, {}, True),
        ({"a": {}}, {}, True),
        ({"a": ""}, {}, True),
        ({"a": None}, {}, True),
        ({"a": 0}, {}, False),
        ({"a": False}, {}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": "1"}, {"a": 1}, False),
    ],
)
def test_subset_is_what_the_api_server_may_add_to(desired: Any, live: Any, expected: bool) -> None:
    assert is_subset(desired, live) is expected


@given(JSON)
def test_everything_is_a_subset_of_itself(value: Any) -> None:
    assert is_subset(value, value)
    assert project(value, value) == value


@example([False], [0])
@given(JSON, JSON)
def test_projection_shows_every_difference(desired: Any, live: Any) -> None:
    """Two live objects that differ where something is desired are told apart."""
    if not is_subset(desired, live) and is_subset(desired, desired):
        # As JSON, like the digests that are compared: to Python, false equals zero.
        assert json.dumps(project(desired, live), sort_keys=True) != json.dumps(desired, sort_keys=True)


def test_complete_adds_owner_label_and_hash_and_leaves_its_argument_alone() -> None:
    made = complete(DESIRED, OWNER)

    assert made["metadata"]["labels"] == {names.MANAGED_BY_LABEL: names.MANAGED_BY}
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "syntera.io/v1alpha1", "kind": "Tenant", "name": "acme", "uid": "uid", "controller": True}
    ]
    assert applied_hash(made) is not None
    assert DESIRED["metadata"] == {"name": "one"}


def test_complete_without_an_owner_has_none() -> None:
    assert "ownerReferences" not in complete(DESIRED, None)["metadata"]


def test_hash_changes_with_content_and_owner_alone() -> None:
    other = Owner("syntera.io/v1alpha1", "Tenant", "acme", "another")
    hashes = {applied_hash(complete(DESIRED, OWNER)), applied_hash(complete(dict(reversed(DESIRED.items())), OWNER))}

    assert len(hashes) == 1
    assert applied_hash(complete(DESIRED, other)) not in hashes
    assert applied_hash(complete({**DESIRED, "data": {"a": "2"}}, OWNER)) not in hashes


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
