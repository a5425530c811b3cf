"""What is known for a while."""

from syntera_runtime.fair_use.remembered import MAX_REMEMBERED, Remembered
from tests.runtime.fair_use.clock import Clock


def test_key_is_forgotten_when_its_time_is_over() -> None:
    clock = Clock()
    remembered = Remembered(clock)
    remembered.put("a", seconds=10)
    assert remembered.seconds_left("a") == 10
    clock.now += 4
    assert remembered.seconds_left("a") == 6
    clock.now += 6
    assert remembered.seconds_left("a") == 0


def test_unknown_key_has_no_time_left() -> None:
    assert Remembered(Clock()).seconds_left("a") == 0


def test_oldest_make_room_when_there_are_too_many() -> None:
    remembered = Remembered(Clock())
    remembered.put("first", seconds=10)
    remembered.put("second", seconds=10)
    remembered.put("first", seconds=10)
    for number in range(MAX_REMEMBERED - 1):
        remembered.put(number, seconds=10)
    assert remembered.seconds_left("second") == 0
    assert remembered.seconds_left("first") == 10
