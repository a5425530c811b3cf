"""Pods that die or stand still in the middle of a turn: processes on a real PostgreSQL and a real Redis.

Nothing smaller than a process can be killed by the kernel, or frozen and come back without knowing it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from tests.runtime.builders import make_stored_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.events import Sent, SentEvents
from tests.runtime.pods import Site, make_site
from tests.runtime.processes import Running, running
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.long

STREAM = {"Accept": "text/event-stream"}
ENDS = ("message.completed", "message.failed", "message.stopped")
LONG = "600"
"""Words that a turn takes half a minute for."""


@pytest.fixture
def site(database: Database, redis_server: RedisServer, tmp_path: Path) -> Site:
    """A tenant."""
    return asyncio.run(make_site(database, redis_server, tmp_path))


@asynccontextmanager
async def two_pods(site: Site, *, lease_seconds: float, **of_key: object) -> AsyncIterator[tuple[Running, Running]]:
    """Two processes of the tenant, and clients with a key that is otherwise as usual."""
    key = ApiKey.generate(KeyKind.SECRET)
    await insert_api_key(site.database, site.tenant_id, make_stored_key(key, **of_key))
    settings = {
        "SYNTERA_TENANT_ID": str(site.tenant_id),
        "SYNTERA_STORES_DIR": str(site.stores_dir),
        "SYNTERA_LEASE_SECONDS": str(lease_seconds),
        "SYNTERA_DRAIN_SECONDS": "0",
    }
    async with (
        running("pod_process", key.text, **settings) as one,
        running("pod_process", key.text, **settings) as other,
    ):
        yield one, other


def text_of(events: list[Sent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "message.delta")


async def test_turn_of_a_killed_pod_fails_with_what_it_had_said_and_readers_are_told(site: Site) -> None:
    """At the lease that pods have, because the time is what is promised."""
    async with two_pods(site, lease_seconds=15) as (one, other):
        messages = await one.start()
        events = messages.replace("/messages", "/events")
        async with (
            other.public.stream("GET", events, timeout=60) as following,
            one.public.stream("POST", messages, json={"content": LONG}, headers=STREAM) as told,
        ):
            followed = SentEvents(following)
            seen = await followed.take(21)
            assert seen[0].name == "message.started"
            await one.kill()
            killed_at = time.monotonic()
            with pytest.raises(httpx.TransportError):
                [_ async for _ in told.aiter_bytes()]
            async with asyncio.timeout(30):
                rest = await followed.until(*ENDS)
        assert time.monotonic() - killed_at < 30
        failed = rest[-1]
        assert (failed.name, failed.data["error"]["code"]) == ("message.failed", "turn-abandoned")
        said = text_of([*seen, *rest])
        assert failed.data["message"]["content"] == said
        assert said.startswith("word " * 20)
        assert failed.data["message"]["id"] == seen[0].data["messageId"]
        stored = (await other.public.get(messages)).json()["items"][-1]
        assert (stored["state"], stored["content"], stored["error"]["code"]) == ("failed", said, "turn-abandoned")
        last_seen = {"Last-Event-ID": str(seen[10].number)}
        async with other.public.stream("GET", events, headers=last_seen, timeout=60) as resumed:
            assert await SentEvents(resumed).until(*ENDS) == [*seen[11:], *rest]
        again = await other.public.post(messages, json={"content": "1"})
        assert again.status_code == 200


async def test_next_message_ends_a_dead_turn_without_waiting_for_the_sweep(site: Site) -> None:
    async with two_pods(site, lease_seconds=3) as (one, other):
        messages = await one.start()
        events = messages.replace("/messages", "/events")
        async with (
            other.public.stream("GET", events) as following,
            one.public.stream("POST", messages, json={"content": LONG}, headers=STREAM),
        ):
            await SentEvents(following).take(11)  # what the other pod tells is in the log
            await one.kill()
        async with asyncio.timeout(30):
            while (answer := await other.public.post(messages, json={"content": "1"})).status_code == 409:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert answer.status_code == 200
        _, reply, *_ = (await other.public.get(messages)).json()["items"]
        assert reply["state"] == "failed"
        assert reply["content"].startswith("word " * 10)


async def test_frozen_pod_that_comes_back_writes_nothing(site: Site) -> None:
    async with two_pods(site, lease_seconds=3) as (one, other):
        messages = await one.start()
        events = messages.replace("/messages", "/events")
        async with (
            other.public.stream("GET", events, timeout=60) as following,
            one.public.stream("POST", messages, json={"content": LONG}, headers=STREAM, timeout=60) as telling,
        ):
            followed, told = SentEvents(following), SentEvents(telling)
            seen = await followed.take(11)
            one.freeze()
            async with asyncio.timeout(60):
                rest = await followed.until(*ENDS)
            assert rest[-1].data["error"]["code"] == "turn-abandoned"
            one.thaw()
            async with asyncio.timeout(60):
                its_own = await told.until(*ENDS)
            assert (its_own[-1].data["error"]["code"], its_own[-1].data["message"]) == ("turn-lost", None)
        said = text_of([*seen, *rest])
        async with other.public.stream("GET", events, params={"after": 0}, timeout=60) as resumed:
            replayed = await SentEvents(resumed).until(*ENDS)
        assert (text_of(replayed), replayed[-1]) == (said, rest[-1])
        items = (await one.public.get(messages)).json()["items"]
        assert [(item["state"], item["content"]) for item in items] == [("complete", LONG), ("failed", said)]
        answer = await one.public.post(messages, json={"content": "1"})
        assert answer.status_code == 200
        async with other.public.stream("GET", events, params={"after": rest[-1].number}, timeout=60) as resumed:
            assert [event.name for event in await SentEvents(resumed).until(*ENDS)] == [
                "message.started",
                "message.delta",
                "usage",
                "message.completed",
            ]


async def test_pod_that_leaves_sends_its_readers_elsewhere_and_they_miss_nothing(site: Site) -> None:
    async with two_pods(site, lease_seconds=15) as (one, other):
        messages = await one.start()
        events = messages.replace("/messages", "/events")
        async with (
            one.public.stream("GET", events, timeout=60) as following,
            one.public.stream("POST", messages, json={"content": "60"}, headers=STREAM) as telling,
        ):
            followed, told = SentEvents(following), SentEvents(telling)
            seen = await followed.take(5)
            one.terminate()
            seen += [event async for event in followed]
            last_seen = {"Last-Event-ID": str(seen[-1].number)}
            async with other.public.stream("GET", events, headers=last_seen, timeout=60) as resumed:
                rest = await SentEvents(resumed).until(*ENDS)
            whole = await told.until(*ENDS)
        assert [*seen, *rest] == whole
        assert await one.wait() == 0
