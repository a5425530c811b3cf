"""What counts mean for whoever is limited."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.fair_use.windows import WINDOW_SECONDS, remaining, seconds_until_room, seconds_until_whole
from syntera_runtime.models.limits import Count

COUNTS = st.builds(
    Count, st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1, exclude_max=True, allow_subnormal=False)
)
MOST = st.integers(1, 1000)
A_MOMENT = 0.001


def later(count: Count, seconds: float) -> Count:
    """The same count after so long without a request."""
    passed = count.passed + seconds / WINDOW_SECONDS
    if passed < 1:
        return Count(count.previous, count.current, passed)
    return Count(count.current, 0, passed - 1) if passed < 2 else Count(0, 0, passed % 1)


@pytest.mark.parametrize(
    ("count", "used"),
    [
        (Count(0, 0, 0.5), 0),
        (Count(0, 7, 0.5), 7),
        (Count(10, 0, 0), 10),
        (Count(10, 0, 0.75), 2.5),
        (Count(10, 3, 0.5), 8),
    ],
)
def test_used_when_the_window_before_fades(count: Count, used: float) -> None:
    assert count.used == used


@pytest.mark.parametrize(
    ("count", "left"), [(Count(0, 0, 0), 10), (Count(10, 0, 0.75), 7), (Count(0, 10, 0), 0), (Count(0, 12, 0), 0)]
)
def test_remaining_of_ten(count: Count, left: int) -> None:
    assert remaining(count, 10) == left


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (Count(0, 0, 0.5), 0),
        (Count(0, 9, 0.5), 0),
        (Count(10, 0, 0), 6),
        (Count(10, 5, 0.2), 24),
        (Count(0, 10, 0.5), 36),
        (Count(10, 10, 0.5), 36),
    ],
)
def test_seconds_until_one_more_of_ten_fits(count: Count, seconds: float) -> None:
    assert seconds_until_room(count, 10) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("count", "seconds"), [(Count(0, 0, 0.5), 0), (Count(1, 0, 0.5), 30), (Count(0, 1, 0.5), 90), (Count(9, 9, 0), 120)]
)
def test_seconds_until_all_is_there_again(count: Count, seconds: float) -> None:
    assert seconds_until_whole(count) == pytest.approx(seconds)


@given(COUNTS, MOST)
def test_one_more_fits_when_it_is_said_to_and_not_before(count: Count, most: int) -> None:
    seconds = seconds_until_room(count, most)
    assert later(count, seconds + A_MOMENT).has_room(most)
    if seconds > A_MOMENT:
        assert not later(count, seconds - A_MOMENT).has_room(most)


@given(COUNTS, MOST)
def test_one_more_fits_when_one_remains(count: Count, most: int) -> None:
    assert count.has_room(most) == (remaining(count, most) > 0)


@given(COUNTS)
def test_nothing_is_used_when_all_is_said_to_be_there_again(count: Count) -> None:
    assert later(count, seconds_until_whole(count) + A_MOMENT).used == pytest.approx(0, abs=0.1)
