"""Objects in memory only go forward in time, whatever arrives when."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syntera_kube import ObjectStore
from tests.kube.faulty_server import make_object


def make_owned(name: str, *, version: int, owner: str) -> dict[str, Any]:
    item = make_object(name, version=version)
    item["metadata"]["ownerReferences"] = [{"kind": "Tenant", "name": owner, "uid": owner}]
    return item


def test_put_is_no_news_when_the_version_is_known() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=5, data={"a": "1"}))

    assert store.put(make_object("one", version=5)) is None
    assert store.put(make_object("one", version=4)) is None
    assert store.get("test", "one") == make_object("one", version=5, data={"a": "1"})


def test_put_compares_versions_as_numbers() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=9))

    change = store.put(make_object("one", version=10))

    assert change is not None
    assert (change.type, change.old, change.new) == (
        "MODIFIED",
        make_object("one", version=9),
        make_object("one", version=10),
    )


def test_discard_spares_a_newer_object_of_the_same_name() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=8, uid="second"))

    assert store.discard(make_object("one", version=7, uid="first")) is None
    assert store.get("test", "one") is not None


def test_put_does_not_revive_what_was_deleted() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=5))
    store.discard(make_object("one", version=7))

    assert store.put(make_object("one", version=6)) is None
    assert store.has(make_object("one", version=6))
    assert len(store) == 0


def test_put_takes_back_what_had_left_the_selection() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=5))
    store.discard(make_object("one", version=7))

    assert store.put(make_object("one", version=8)) is not None


def test_put_does_not_revive_what_a_list_no_longer_had() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=5))
    store.replace([], "9")

    assert store.put(make_object("one", version=8)) is None
    assert store.put(make_object("one", version=10)) is not None


def test_deleted_uids_are_forgotten_after_a_while() -> None:
    now = 0.0
    store = ObjectStore(clock=lambda: now)
    store.discard(make_object("one", version=5))
    now = 1000.0
    store.discard(make_object("two", version=6))

    assert store.put(make_object("one", version=4)) is not None
    assert store.put(make_object("two", version=4)) is None


def test_replace_removes_what_is_gone_and_keeps_what_is_newer_than_the_list() -> None:
    store = ObjectStore()
    store.put(make_object("gone", version=3))
    store.put(make_object("newer", version=9))

    changes = store.replace([make_object("listed", version=4)], "5")

    assert [(change.type, change.object["metadata"]["name"]) for change in changes] == [
        ("ADDED", "listed"),
        ("DELETED", "gone"),
    ]
    assert {item["metadata"]["name"] for item in store} == {"listed", "newer"}


def test_transform_slims_what_is_kept() -> None:
    store = ObjectStore(transform=lambda item: {"metadata": item["metadata"]})
    store.put(make_object("one", version=5, data={"a": "1"}))

    assert "data" not in (store.get("test", "one") or {})


def test_owned_by_follows_changes_of_owners() -> None:
    store = ObjectStore()
    store.put(make_owned("one", version=5, owner="a"))
    store.put(make_owned("two", version=5, owner="a"))
    store.put(make_owned("one", version=6, owner="b"))
    store.discard(make_object("two", version=7))

    assert store.owned_by("a") == []
    assert [item["metadata"]["name"] for item in store.owned_by("b")] == ["one"]


def test_clear_forgets_all_and_refuses_nothing() -> None:
    store = ObjectStore()
    store.put(make_object("one", version=5))

    changes = store.clear()

    assert [change.type for change in changes] == ["DELETED"]
    assert store.in_namespace("test") == []
    assert store.put(make_object("one", version=5)) is not None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=12), st.integers())
def test_any_order_of_events_ends_with_the_newest_state(history: list[tuple[str, bool]], seed: int) -> None:
    """A history of objects (made or changed, or deleted) arrives shuffled and doubled, but deletions in any order too."""
    events: list[tuple[bool, dict[str, Any]]] = []
    lives = {"a": 0, "b": 0}
    alive: dict[str, dict[str, Any]] = {}
    for version, (name, deletes) in enumerate(history, start=1):
        item = make_object(name, version=version, uid=f"{name}-{lives[name]}")
        if not deletes:
            alive[name] = item
        elif name in alive:
            del alive[name]
            lives[name] += 1
        else:
            continue
        events.append((deletes, item))
    shuffled = events * 2
    random.Random(seed).shuffle(shuffled)

    store = ObjectStore()
    for deletes, item in shuffled:
        _ = store.discard(item) if deletes else store.put(item)

    assert {item["metadata"]["name"]: item for item in store} == alive
