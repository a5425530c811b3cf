"""Ids grow, whatever the clock does."""

from uuid import UUID

from syntera_runtime.ids import new_id


def test_ids_are_of_version_7_and_grow() -> None:
    made = [new_id() for _ in range(1000)]
    assert {one.version for one in made} == {7}
    assert made == sorted(set(made))


def test_id_follows_one_from_a_clock_ahead() -> None:
    ahead = UUID(int=new_id().int + (60_000 << 80))
    follower = new_id(after=ahead)
    assert follower > ahead
    assert follower.version == 7


def test_id_is_new_when_the_other_is_older() -> None:
    older = new_id()
    assert new_id(after=older).int > older.int + 1
