"""A feed carries events to a reader who may leave."""

import asyncio

import pytest

from syntera_runtime.chat.feed import Feed


async def test_events_arrive_in_order_and_then_the_end() -> None:
    feed: Feed[int] = Feed()
    feed.publish(1)
    feed.publish(2)
    feed.end()
    assert [await feed.next() for _ in range(4)] == [1, 2, None, None]


async def test_reader_waits_when_there_is_nothing_yet() -> None:
    feed: Feed[int] = Feed()
    reading = asyncio.create_task(feed.next())
    await asyncio.sleep(0)
    assert not reading.done()
    feed.publish(1)
    assert await reading == 1


async def test_waiting_reader_is_told_of_the_end() -> None:
    feed: Feed[int] = Feed()
    reading = asyncio.create_task(feed.next())
    await asyncio.sleep(0)
    feed.end()
    assert await reading is None


async def test_peeked_event_stays_the_next() -> None:
    feed: Feed[int] = Feed()
    feed.publish(1)
    assert await feed.peek() == 1
    assert await feed.next() == 1


async def test_cancelled_read_loses_nothing() -> None:
    feed: Feed[int] = Feed()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await feed.next()
    feed.publish(1)
    assert await feed.next() == 1


async def test_nothing_is_kept_when_the_reader_left() -> None:
    feed: Feed[int] = Feed()
    feed.publish(1)
    feed.leave()
    feed.publish(2)
    feed.end()
    assert await feed.next() is None


async def test_backlog_is_what_the_reader_has_not_read() -> None:
    feed: Feed[int] = Feed()
    for event in range(3):
        feed.publish(event)
    await feed.next()
    assert feed.backlog == 2


async def test_what_is_there_is_taken_without_waiting() -> None:
    feed: Feed[int] = Feed()
    assert feed.take_ready(2) == []
    for number in range(3):
        feed.publish(number)
    feed.end()
    assert (feed.take_ready(2), feed.take_ready(2), await feed.next()) == ([0, 1], [2], None)
