"""Two pods of a tenant on a real PostgreSQL and a real Redis: readers, stops and dead turns across them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis.asyncio

from syntera_runtime.adapters.redis.keys import events_key
from syntera_runtime.chat.events import (
    ReplyCompleted,
    ReplyDelta,
    ReplyFailed,
    ReplySnapshot,
    ReplyStarted,
    ReplyStopped,
    ReplyUsed,
    TurnEvent,
)
from syntera_runtime.errors import ConversationNotFound
from syntera_runtime.ids import new_id
from syntera_runtime.models.conversations import MessageState
from syntera_runtime.models.ids import ConversationId
from tests.runtime.fakes import FakeChatModels
from tests.runtime.pods import Pod, Site, make_site, next_event, open_pod, read_turn
from tests.runtime.promises import promised_time
from tests.runtime.redis import ensure_user
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.long


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, which it may stop."""
    server = RedisServer(RedisServer.default_binary())
    server.start()
    yield server
    server.remove()


@pytest.fixture
def site(database: Database, own_redis: RedisServer, tmp_path: Path) -> Site:
    """A tenant."""
    return asyncio.run(make_site(database, own_redis, tmp_path))


@pytest.fixture
def models() -> FakeChatModels:
    """The models that the first pod asks."""
    return FakeChatModels()


@pytest.fixture
async def one(site: Site, models: FakeChatModels) -> AsyncIterator[Pod]:
    """The pod that runs the turns."""
    async with open_pod(site.tenant_id, site.stores_dir, models=models) as pod:
        yield pod


@pytest.fixture
async def other(site: Site) -> AsyncIterator[Pod]:
    """Another one."""
    async with open_pod(site.tenant_id, site.stores_dir) as pod:
        yield pod


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods look after what is silent more often than they would."""
    monkeypatch.setattr("syntera_runtime.chat.followers.WATCH_SECONDS", 0.2)
    monkeypatch.setattr("syntera_runtime.chat.followers.RETRY_SECONDS", 0.1)
    monkeypatch.setattr("syntera_runtime.chat.sweeper.LOOK_SECONDS", 0.2)


def plain(events: list[TurnEvent]) -> list[object]:
    """Events that can be compared; errors are equal by code."""
    return [
        SimpleNamespace(number=event.number, ended=event.ended, code=event.error.code)
        if isinstance(event, ReplyFailed)
        else event
        for event in events
    ]


def text_of(events: list[TurnEvent]) -> str:
    """What a client shows that takes the events one by one."""
    text = ""
    for event in events:
        match event:
            case ReplyStarted():
                text = ""
            case ReplyDelta():
                text += event.text
            case ReplySnapshot():
                text = event.text
            case ReplyCompleted(ended=ended) | ReplyStopped(ended=ended):
                text = ended.reply.content
    return text


async def lose_events(pod: Pod, conversation_id: ConversationId) -> None:
    async with pod.redis.operation("test") as redis:
        assert await redis.unlink(events_key(pod.tenant_id, conversation_id)) == 1


async def wait_for_events(pod: Pod, conversation_id: ConversationId, number: int) -> None:
    """Until the log has the event of that number."""
    async with asyncio.timeout(30):
        while not await pod.services.conversations._events.read(  # noqa: ASYNC110  # nobody announces it
            pod.tenant_id, conversation_id, after=number - 1
        ):
            await asyncio.sleep(0.01)


async def wait_for_redis(pod: Pod) -> None:
    """Until a pod reads the log again."""
    async with asyncio.timeout(30):
        while pod.services.followers._is_away:  # noqa: ASYNC110  # nobody announces it
            await asyncio.sleep(0.02)


# ---- resuming ----


async def test_reader_resumes_in_the_middle_on_another_pod(one: Pod, other: Pod, models: FakeChatModels) -> None:
    go_on = asyncio.Event()
    models.scripts = [["Hel", "lo", go_on, " wor", "ld"]]
    conversation_id = await one.start()
    feed = await one.send(conversation_id)
    seen = [await next_event(feed) for _ in range(2)]
    resumed = await other.follow(conversation_id, after=seen[-1].number)
    assert await next_event(resumed) == ReplyDelta(3, seen[0].message_id, "lo")  # type: ignore[union-attr]
    go_on.set()
    rest = await read_turn(feed)
    assert [event.number for event in rest] == [3, 4, 5, 6, 7]
    assert plain(await read_turn(resumed)) == plain(rest[1:])


async def test_reader_without_a_number_begins_with_the_running_turn(
    one: Pod, other: Pod, models: FakeChatModels
) -> None:
    go_on = asyncio.Event()
    models.scripts = [["first"], ["Hel", go_on, "lo"]]
    conversation_id = await one.start()
    await read_turn(await one.send(conversation_id))
    feed = await one.send(conversation_id)
    followed = await other.follow(conversation_id)
    await next_event(followed)
    go_on.set()
    assert plain([*(await read_turn(feed))[1:]]) == plain(await read_turn(followed))


async def test_reader_without_a_number_waits_for_the_next_turn_when_none_runs(one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    await read_turn(await one.send(conversation_id))
    followed = await other.follow(conversation_id)
    for _ in range(2):
        assert plain(await read_turn(await one.send(conversation_id))) == plain(await read_turn(followed))


async def test_reader_gets_the_rest_though_the_turn_has_ended(one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    events = await read_turn(await one.send(conversation_id))
    await wait_for_events(one, conversation_id, events[-1].number)
    assert plain(await read_turn(await other.follow(conversation_id, after=0))) == plain(events)
    assert plain(await read_turn(await other.follow(conversation_id, after=2))) == plain(events[2:])


async def test_reader_who_knows_all_is_told_nothing_twice(one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    last = (await read_turn(await one.send(conversation_id)))[-1]
    followed = await other.follow(conversation_id, after=last.number)
    await asyncio.sleep(0.2)
    assert followed.backlog == 0


async def test_several_readers_of_one_conversation_each_get_what_they_miss(one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    events = await read_turn(await one.send(conversation_id))
    await wait_for_events(one, conversation_id, events[-1].number)
    feeds = [await other.follow(conversation_id, after=after) for after in (3, 0, 1)]
    assert [len(await read_turn(feed)) for feed in feeds] == [2, 5, 4]


async def test_failure_of_the_model_is_told_on_another_pod(one: Pod, other: Pod, models: FakeChatModels) -> None:
    models.scripts = [["Hel", ValueError("secret words")]]
    conversation_id = await one.start()
    followed = await other.follow(conversation_id)
    events = await read_turn(await one.send(conversation_id))
    assert plain(await read_turn(followed)) == plain(events)


async def test_unknown_conversation_has_no_events(other: Pod) -> None:
    with pytest.raises(ConversationNotFound):
        await other.follow(ConversationId(new_id()))


# ---- events that are lost ----


async def test_reader_gets_the_stored_ends_of_turns_when_their_events_are_gone(
    one: Pod, other: Pod, models: FakeChatModels
) -> None:
    models.scripts = [["one"], ["two", ValueError()], ["three"]]
    conversation_id = await one.start()
    turns = [await read_turn(await one.send(conversation_id)) for _ in range(3)]
    await wait_for_events(one, conversation_id, turns[-1][-1].number)
    await lose_events(one, conversation_id)
    followed = await other.follow(conversation_id, after=2)
    stored = [await next_event(followed) for _ in range(3)]
    assert plain(stored) == plain([turn[-1] for turn in turns])
    assert plain(await read_turn(await one.send(conversation_id))) == plain(await read_turn(followed))


async def test_reader_gets_a_snapshot_when_the_running_turn_lost_its_events(
    one: Pod, other: Pod, models: FakeChatModels
) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    models.scripts = [["Hel", first, "lo", second, "!"]]
    conversation_id = await one.start()
    feed = await one.send(conversation_id)
    await wait_for_events(one, conversation_id, 2)
    await lose_events(one, conversation_id)
    followed = await other.follow(conversation_id)
    started = await next_event(followed)
    assert isinstance(started, ReplyStarted)
    first.set()
    snapshot = await next_event(followed)
    assert isinstance(snapshot, ReplySnapshot)
    assert (snapshot.number, snapshot.text) == (3, "Hello")
    second.set()
    assert plain(await read_turn(followed)) == plain((await read_turn(feed))[3:])


@pytest.mark.usefixtures("impatience")
async def test_readers_end_up_with_the_whole_text_when_redis_is_restarted_in_the_middle(
    site: Site, one: Pod, other: Pod, models: FakeChatModels
) -> None:
    before, during = asyncio.Event(), asyncio.Event()
    models.scripts = [["Hel", before, "lo", during, " world"]]
    conversation_id = await one.start()
    followed = await other.follow(conversation_id)
    feed = await one.send(conversation_id)
    seen = [await next_event(followed) for _ in range(2)]
    site.redis_server.stop()
    before.set()
    assert [await next_event(feed) for _ in range(3)][-1] == ReplyDelta(3, seen[0].message_id, "lo")  # type: ignore[union-attr]
    await asyncio.to_thread(site.redis_server.start)
    during.set()
    whole = await read_turn(feed)
    assert isinstance(whole[-1], ReplyCompleted)
    events = seen + await read_turn(followed)
    assert text_of(events) == "Hello world"
    assert [event.number for event in events] == sorted({event.number for event in events})
    await wait_for_redis(other)
    await one.services.writers.drain(seconds=30)
    again = await read_turn(await one.send(conversation_id))
    assert plain(await read_turn(followed)) == plain(again)


@pytest.mark.usefixtures("impatience")
async def test_turns_run_and_readers_get_stored_replies_when_redis_is_away(site: Site, one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    earlier = await read_turn(await one.send(conversation_id))
    site.redis_server.stop()
    followed = await other.follow(conversation_id, after=0)
    assert plain([await next_event(followed)]) == plain(earlier[-1:])
    events = await read_turn(await one.send(conversation_id))
    assert [type(event) for event in events] == [ReplyStarted, ReplyDelta, ReplyDelta, ReplyUsed, ReplyCompleted]
    assert plain((await read_turn(followed))[-1:]) == plain(events[-1:])
    assert [message.content for message in await other.read(conversation_id)] == ["Hi", "Hello world"] * 2


@pytest.mark.usefixtures("impatience")
async def test_turns_run_and_readers_get_stored_replies_when_redis_is_full(site: Site, one: Pod, other: Pod) -> None:
    conversation_id = await one.start()
    async with redis.asyncio.Redis.from_url(site.redis_server.url) as administrator:
        await administrator.config_set("maxmemory", 1)
        followed = await other.follow(conversation_id)
        events = await read_turn(await one.send(conversation_id))
        assert isinstance(events[-1], ReplyCompleted)
        labels = {"store": "Redis", "operation": "append_events", "outcome": "store-unavailable"}
        refusals = partial(one.redis._metrics.registry.get_sample_value, "syntera_store_requests_total", labels)
        async with asyncio.timeout(30):
            while not refusals():  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
        await administrator.config_set("maxmemory", 0)
    assert text_of(await read_turn(followed)) == "Hello world"
    assert plain(await read_turn(await one.send(conversation_id))) == plain(await read_turn(followed))


@pytest.mark.usefixtures("impatience")
async def test_pods_start_and_serve_though_redis_has_no_user_for_them_yet(site: Site, one: Pod, other: Pod) -> None:
    url_file = site.stores_dir / "redis-url"
    url_file.unlink()  # a test's own file
    async with open_pod(site.tenant_id, site.stores_dir) as pod:
        conversation_id = await pod.start()
        followed = await pod.follow(conversation_id)
        events = await read_turn(await pod.send(conversation_id))
        assert plain((await read_turn(followed))[-1:]) == plain(events[-1:])
        await ensure_user(site.redis_server, site.tenant_id, url_file)
        await wait_for_redis(pod)
        events = await read_turn(await pod.send(conversation_id))
        assert plain(await read_turn(followed)) == plain(events)


# ---- stopping ----


async def test_turn_is_stopped_from_another_pod_within_a_second(one: Pod, other: Pod, models: FakeChatModels) -> None:
    models.scripts = [["Hel", asyncio.Event(), "lo"]]
    conversation_id = await one.start()
    feed, followed = await one.send(conversation_id), await other.follow(conversation_id)
    started = await next_event(feed)
    assert isinstance(started, ReplyStarted)
    await next_event(feed)
    conversations = other.services.conversations
    assert await conversations.stop(other.asker, conversation_id) == started.turn.id
    async with promised_time() as taken:
        assert await conversations.stop(other.asker, conversation_id, turn_id=started.turn.id) in (
            started.turn.id,
            None,
        )
        used, stopped = await read_turn(feed)
        assert taken.seconds < 1
    assert isinstance(used, ReplyUsed)
    assert used.usage.is_estimated
    assert isinstance(stopped, ReplyStopped)
    assert plain((await read_turn(followed))[-1:]) == plain([stopped])
    reply = (await other.read(conversation_id))[-1]
    assert (reply.state, reply.content, reply.failure) == (MessageState.STOPPED, "Hel", None)
    assert await conversations.stop(other.asker, conversation_id) is None


async def test_turn_is_stopped_at_its_next_renewal_when_redis_is_away(
    site: Site, one: Pod, other: Pod, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", asyncio.Event(), "lo"]]
    conversation_id = await one.start()
    feed = await one.send(conversation_id)
    site.redis_server.stop()
    assert await other.services.conversations.stop(other.asker, conversation_id) is not None
    assert isinstance((await read_turn(feed))[-1], ReplyStopped)


async def test_conversation_goes_on_with_what_the_stopped_turn_had_said(
    one: Pod, other: Pod, models: FakeChatModels
) -> None:
    models.scripts = [["Hel", asyncio.Event()]]
    conversation_id = await one.start()
    feed = await one.send(conversation_id, "one")
    await next_event(feed)
    await next_event(feed)
    await other.services.conversations.stop(other.asker, conversation_id)
    await read_turn(feed)
    await read_turn(await one.send(conversation_id, "two"))
    said = [(message.role, message.content) for message in models.last_request.messages[1:]]
    assert said == [("user", "one"), ("assistant", "Hel"), ("user", "two")]


async def test_nothing_else_is_stopped_when_another_turn_is_named(one: Pod, other: Pod, models: FakeChatModels) -> None:
    go_on = asyncio.Event()
    models.scripts = [["earlier"], ["Hel", go_on, "lo"]]
    conversation_id = await one.start()
    earlier = (await read_turn(await one.send(conversation_id)))[0]
    assert isinstance(earlier, ReplyStarted)
    feed = await one.send(conversation_id)
    assert await other.services.conversations.stop(other.asker, conversation_id, turn_id=earlier.turn.id) is None
    go_on.set()
    assert isinstance((await read_turn(feed))[-1], ReplyCompleted)
