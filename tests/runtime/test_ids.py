"""Ids grow, whatever the clock does."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from syntera_runtime.ids import first_id_at, new_id, next_id, time_of


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


def test_next_id_lies_between_one_and_all_that_are_made_later() -> None:
    made = new_id()
    follower = next_id(made)
    assert made < follower < new_id(after=follower)
    assert follower.version == 7


def test_first_id_of_a_time_lies_between_those_before_and_those_after() -> None:
    before = datetime.now(UTC)
    made = new_id()
    after = datetime.now(UTC) + timedelta(milliseconds=1)
    assert first_id_at(before) <= made < first_id_at(after)
    assert first_id_at(datetime(1900, 1, 1, tzinfo=UTC)) == UUID(int=0)


def test_time_of_an_id_is_the_first_at_which_ids_like_it_are_made() -> None:
    before = datetime.now(UTC)
    made = new_id()
    assert before - timedelta(milliseconds=1) < time_of(made) <= datetime.now(UTC)
    assert first_id_at(time_of(made)) <= made < first_id_at(time_of(made) + timedelta(milliseconds=1))
