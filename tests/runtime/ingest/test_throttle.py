"""How many requests run at once."""

import asyncio

from syntera_runtime.ingest.throttle import FIRST_AT_ONCE, MOST_AT_ONCE, Throttle
from tests.support.virtual_time import virtual_time


@virtual_time
async def test_limit_grows_with_answers_and_halves_with_failures() -> None:
    throttle = Throttle()
    assert throttle.limit == FIRST_AT_ONCE
    for _ in range(100):
        throttle.succeeded()
    assert throttle.limit == MOST_AT_ONCE
    throttle.failed(None)
    assert throttle.limit == MOST_AT_ONCE // 2
    for _ in range(10):
        throttle.failed(None)
    assert throttle.limit == 1


@virtual_time
async def test_no_more_run_than_the_limit() -> None:
    throttle = Throttle(most=2)
    running = most = 0

    async def request() -> None:
        nonlocal running, most
        async with throttle.slot():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(request() for _ in range(20)))
    assert most == 2


@virtual_time
async def test_pause_that_was_asked_for_is_kept() -> None:
    throttle = Throttle()
    throttle.failed(10)
    clock = asyncio.get_running_loop().time
    started = clock()
    async with throttle.slot():
        assert 10 <= clock() - started <= 11.5


@virtual_time
async def test_pauses_grow_up_to_a_bound() -> None:
    throttle = Throttle(pause_seconds=1, longest_seconds=8)
    clock = asyncio.get_running_loop().time
    pauses = []
    for _ in range(8):
        throttle.failed(None)
        started = clock()
        async with throttle.slot():
            pauses.append(clock() - started)
    assert pauses[0] <= 2
    assert max(pauses) <= 12.5
    assert pauses[-1] >= 4
