"""How much of documents is in memory at once."""

import asyncio

from syntera_runtime.ingest.room import Room


async def test_who_does_not_fit_waits() -> None:
    room = Room(10)
    await room.enter(6)
    await room.enter(4)
    waiting = asyncio.create_task(room.enter(5))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await room.leave(6)
    await waiting


async def test_what_is_larger_than_the_room_passes_alone() -> None:
    room = Room(10)
    await room.enter(100)
    waiting = asyncio.create_task(room.enter(1))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await room.leave(100)
    await waiting
