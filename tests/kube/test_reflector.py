"""The mirror converges through every trouble that an API server can be in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from syntera_kube import Change, KubeClient, Reflector, Selection, WatchEvent
from syntera_kube.errors import NotFound
from syntera_kube.resources import CONFIG_MAPS, Resource
from tests.kube.faulty_server import (
    FaultyServer,
    bookmark,
    dropped,
    event,
    failed,
    make_list,
    make_object,
    ok,
    streamed,
)
from tests.support.apiserver import RunningApiServer


@asynccontextmanager
async def running(reflector: Reflector) -> AsyncIterator[None]:
    task = asyncio.create_task(reflector.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(check: Callable[[], bool], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - the condition is nobody's event
            await asyncio.sleep(0.01)


def forever() -> Awaitable[Any]:
    return asyncio.sleep(60)


def make_reflector(client: KubeClient, **options: Any) -> tuple[Reflector, list[tuple[str, str]]]:
    """A mirror, and what it told: type and name."""
    told: list[tuple[str, str]] = []

    def on_change(change: Change) -> None:
        told.append((change.type, change.object["metadata"]["name"]))

    return Reflector(client, CONFIG_MAPS, on_change=on_change, **options), told


async def test_mirror_is_synced_when_the_list_is_there_and_follows_the_watch(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    events = [event("MODIFIED", make_object("one", version=6)), event("DELETED", make_object("one", version=7))]
    faulty.answers = [ok(make_list(make_object("one", version=5), version=5)), streamed(*events, then=forever)]
    reflector, told = make_reflector(faulty_client)

    async with running(reflector):
        await asyncio.wait_for(reflector.synced.wait(), 30)
        await eventually(lambda: len(told) == 3)

    assert told == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]


async def test_watch_is_resumed_where_it_ended_bookmarks_included(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [ok(make_list(version=5)), streamed(bookmark(42)), streamed(then=forever)]
    reflector, _ = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: len(faulty.requests) == 3)

    assert faulty.requests[2][2]["resourceVersion"] == "42"


async def test_stale_bookmark_does_not_take_the_watch_back(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [ok(make_list(version=50)), streamed(bookmark(8)), streamed(then=forever)]
    reflector, _ = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: len(faulty.requests) == 3)

    assert faulty.requests[2][2]["resourceVersion"] == "50"


async def test_list_is_repeated_and_deletions_told_when_the_watch_is_too_far_behind(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [
        ok(make_list(make_object("one", version=5), make_object("two", version=5), version=5)),
        streamed(event("ERROR", {"kind": "Status", "code": 410})),
        ok(make_list(make_object("two", version=5), version=9)),
        streamed(then=forever),
    ]
    reflector, told = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: len(told) == 3)

    assert told[-1] == ("DELETED", "one")


async def test_stale_list_takes_nothing_back(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [
        ok(make_list(version=5)),
        streamed(event("ADDED", make_object("one", version=9)), event("ERROR", {"kind": "Status", "code": 410})),
        ok(make_list(version=6)),
        streamed(then=forever),
    ]
    reflector, told = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: len(faulty.requests) == 4)

    assert told == [("ADDED", "one")]
    assert reflector.store.get("test", "one") is not None


@pytest.mark.parametrize("trouble", [dropped(), failed(500), failed(429, retry_after=0), failed(403)])
async def test_watch_goes_on_without_a_new_list_when_the_trouble_passes(
    trouble: Any, faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [
        ok(make_list(version=5)),
        trouble,
        streamed(event("ADDED", make_object("one", version=6)), then=forever),
    ]
    reflector, told = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: told == [("ADDED", "one")])

    assert ["watch" in query for _, _, query in faulty.requests] == [False, True, True]
    assert reflector.last_error is None


async def test_trouble_is_told_while_it_lasts(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [failed(403, message="not bound yet")]
    reflector, _ = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: reflector.last_error is not None)

    assert not reflector.synced.is_set()


async def test_watch_that_ends_at_once_is_no_busy_loop(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    faulty.answers = [ok(make_list(version=5)), streamed()]
    reflector, _ = make_reflector(faulty_client)

    async with running(reflector):
        await asyncio.sleep(1)

    assert len(faulty.requests) <= 6


async def test_optional_kind_that_is_not_served_is_an_empty_mirror(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [failed(404)]
    reflector, _ = make_reflector(faulty_client, optional=True)

    async with running(reflector):
        await asyncio.wait_for(reflector.synced.wait(), 30)

    assert len(reflector.store) == 0


async def test_kind_that_went_away_and_came_back_is_listed_anew(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [
        ok(make_list(make_object("one", version=5), version=5)),
        failed(404),
        ok(make_list(version=8)),
        streamed(then=forever),
    ]
    reflector, told = make_reflector(faulty_client)

    async with running(reflector):
        await eventually(lambda: len(told) == 2)

    assert told == [("ADDED", "one"), ("DELETED", "one")]


async def test_check_finds_what_the_watch_lost(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    known, changed, late = (make_object(name, version=5) for name in ("known", "changed", "late"))
    newer = make_object("changed", version=8)
    fresh = make_object("fresh", version=9)
    listing = make_list(known, newer, fresh, version=9)
    faulty.answers = [ok(make_list(known, changed, late, version=5)), ok(listing), ok(newer), ok(fresh), ok(listing)]
    reflector, told = make_reflector(faulty_client)
    await reflector._list()
    told.clear()

    assert await reflector.check() == 3
    assert await reflector.check() == 0

    assert told == [("DELETED", "late"), ("MODIFIED", "changed"), ("ADDED", "fresh")]


async def test_check_does_not_call_missed_what_is_under_way(faulty: FaultyServer, faulty_client: KubeClient) -> None:
    one = make_object("one", version=6)
    faulty.answers = [ok(make_list(version=5)), ok(make_list(one, version=6))]
    reflector, told = make_reflector(faulty_client)
    await reflector._list()

    checking = asyncio.create_task(reflector.check())
    await eventually(lambda: len(faulty.requests) == 2)
    reflector._take(WatchEvent("ADDED", one))

    assert await checking == 0
    assert told == [("ADDED", "one")]


async def test_check_of_a_kind_that_nobody_serves_finds_nothing(
    faulty: FaultyServer, faulty_client: KubeClient
) -> None:
    faulty.answers = [failed(404)]
    optional, _ = make_reflector(faulty_client, optional=True)
    needed, _ = make_reflector(faulty_client)

    assert await optional.check() == 0
    with pytest.raises(NotFound):
        await needed.check()


@pytest.mark.api
async def test_mirror_follows_a_real_api_server(client: KubeClient, api_server: RunningApiServer) -> None:
    namespace = api_server.create_namespace("kube")
    selection = Selection(namespace=namespace, label_selector="seen=yes")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "namespace": namespace}}
    seen = body | {"metadata": {"name": "one", "namespace": namespace, "labels": {"seen": "yes"}}}
    reflector, told = make_reflector(client, selection=selection)

    async with running(reflector):
        await asyncio.wait_for(reflector.synced.wait(), 30)
        await client.apply(CONFIG_MAPS, seen, field_manager="test")
        await eventually(lambda: told == [("ADDED", "one")])
        await client.apply(CONFIG_MAPS, body, field_manager="test")
        await eventually(lambda: told[1:] == [("DELETED", "one")])
        await client.apply(CONFIG_MAPS, seen, field_manager="test")
        await eventually(lambda: len(told) == 3)

    assert told[2] == ("ADDED", "one")


@pytest.mark.api
async def test_mirror_of_a_kind_that_nobody_serves_is_empty(client: KubeClient) -> None:
    reflector = Reflector(client, Resource("nobody.example", "v1", "things", "Thing"), optional=True)

    async with running(reflector):
        await asyncio.wait_for(reflector.synced.wait(), 30)

    assert len(reflector.store) == 0
