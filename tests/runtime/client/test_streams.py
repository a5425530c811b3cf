"""Streams that are cut, on real stores: a connection that breaks, a server that falls silent, a pod that is killed."""

import asyncio
import itertools
from contextlib import aclosing

import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.client import (
    Client,
    ConnectionFailed,
    Event,
    MessageCompleted,
    MessageDelta,
    MessageFailed,
    MessageStarted,
    Retries,
    TurnUsage,
    Unauthenticated,
)
from tests.runtime.pods import Site
from tests.runtime.test_dead_pods import LONG, two_pods

from .conftest import Api, Service

pytestmark = pytest.mark.long

IMPATIENT = Retries(attempts=4, first_seconds=0.01, most_seconds=0.05)


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, MessageDelta))


def assert_whole(events: list[Event]) -> None:
    """Each event came once, in order, and the last of the turn is the only one of its kind."""
    numbers = [event.number for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert [type(event) for event in events] == [
        MessageStarted,
        *itertools.repeat(MessageDelta, len(events) - 3),
        TurnUsage,
        MessageCompleted,
    ]


async def test_reply_goes_on_at_another_pod_after_a_cut(api: Api) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", " two", go_on, " three", " four"]]
    service = Service(api.urls)
    async with Client(service, await api.key(Scope.CHAT), retries=IMPATIENT, stream_retries=IMPATIENT) as client:
        conversation = (await client.start("travel")).id
        async with aclosing(client.send(conversation, "Count")) as stream:
            events = [await anext(stream)]
            while "two" not in text_of(events):
                events.append(await anext(stream))
            with api.gates[0].shut():
                reading = asyncio.create_task(anext(stream))
                async with asyncio.timeout(30):
                    while service.place == 0:  # noqa: ASYNC110  # nobody announces it
                        await asyncio.sleep(0.01)
                go_on.set()
                events.append(await reading)
                events += [event async for event in stream]
        assert_whole(events)
        assert text_of(events) == "One two three four"
        contents = [message.content async for message in client.messages(conversation)]
    assert contents[-2:] == ["Count", "One two three four"]
    assert len(api.models.asked) == 1


async def test_message_whose_answer_never_came_is_taken_once(api: Api) -> None:
    """The server is at work when the connection breaks, and the client has heard nothing."""
    go_on = asyncio.Event()
    api.models.scripts = [[go_on, "Hello"]]
    service = Service(api.urls)
    async with Client(service, await api.key(Scope.CHAT), retries=IMPATIENT, stream_retries=IMPATIENT) as client:
        conversation = (await client.start("travel")).id
        with api.gates[0].frozen():
            reading = asyncio.create_task(client.ask(conversation, "Hi"))
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await api.models.begun.wait()
        with api.gates[0].shut():
            go_on.set()
            reply = await reading
        assert reply.message.content == "Hello"
        contents = [message.content async for message in client.messages(conversation)]
    assert contents[-2:] == ["Hi", "Hello"]
    assert len(api.models.asked) == 1


async def test_silent_server_counts_as_a_cut(api: Api) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", go_on, " two"]]
    service = Service(api.urls)
    async with Client(
        service, await api.key(Scope.CHAT), stream_retries=IMPATIENT, silence_seconds=1, request_seconds=20
    ) as client:
        conversation = (await client.start("travel")).id
        async with aclosing(client.send(conversation, "Count")) as stream:
            events = [await anext(stream)]
            while "One" not in text_of(events):
                events.append(await anext(stream))
            with api.gates[0].frozen():
                service.renew()
                go_on.set()
                events += [event async for event in stream]
    assert_whole(events)
    assert text_of(events) == "One two"


async def test_follower_misses_nothing_while_its_connection_is_made_anew(api: Api) -> None:
    service = Service(api.urls)
    key = await api.key(Scope.CHAT)
    async with (
        Client(service, key, retries=IMPATIENT, stream_retries=IMPATIENT) as client,
        Client(api.urls[1], key) as talker,
    ):
        conversation = (await client.start("travel")).id
        heard: list[Event] = []

        async def listen() -> None:
            async with aclosing(client.follow(conversation, after=0)) as followed:
                async for event in followed:
                    heard.append(event)

        async def hear(sent: list[Event]) -> None:
            async with asyncio.timeout(30):
                while len(heard) < len(sent):  # noqa: ASYNC110  # nobody announces it
                    await asyncio.sleep(0.01)
            assert heard == sent
            heard.clear()

        listening = asyncio.create_task(listen())
        await api.open_streams(0, count=1)
        await hear([event async for event in talker.send(conversation, "One")])
        with api.gates[0].shut():
            await api.open_streams(1, count=1)
            await hear([event async for event in talker.send(conversation, "Two")])
        listening.cancel()


async def test_api_that_stays_away_is_given_up(api: Api) -> None:
    async with Client(api.url, await api.key(Scope.CHAT), retries=IMPATIENT, stream_retries=IMPATIENT) as client:
        conversation = (await client.start("travel")).id
        api.models.scripts = [["One", asyncio.Event()]]
        async with aclosing(client.send(conversation, "Count")) as stream:
            assert isinstance(await anext(stream), MessageStarted)
            with api.gates[0].shut(), pytest.raises(ConnectionFailed, match="does not answer"):
                [event async for event in stream]


async def test_stream_ends_with_the_key(api: Api, administrator: Client) -> None:
    made = await administrator.api_keys.create_secret("short-lived", [Scope.CHAT])
    async with Client(api.url, made.key, stream_retries=IMPATIENT) as client:
        conversation = (await client.start("travel")).id
        async with aclosing(client.follow(conversation, after=0)) as followed:
            first = asyncio.create_task(anext(followed))
            await api.open_streams(0, count=1)
            sent = [event async for event in client.send(conversation, "Hi")]
            assert [await first, *[await anext(followed) for _ in sent[1:]]] == sent
            await administrator.api_keys.revoke(made.id)
            with pytest.raises(Unauthenticated) as caught:
                async with asyncio.timeout(30):
                    await anext(followed)
    assert (caught.value.code, caught.value.status) == ("key-revoked", 401)


async def test_leaving_early_does_not_stop_the_turn(api: Api, client: Client) -> None:
    go_on = asyncio.Event()
    api.models.scripts = [["One", go_on, " two"]]
    conversation = (await client.start("travel")).id
    async with aclosing(client.send(conversation, "Count", idempotency_key="once")) as stream:
        await anext(stream)
    go_on.set()
    assert (await client.ask(conversation, "Count", idempotency_key="once")).message.content == "One two"
    assert len(api.models.asked) == 1


async def test_turn_of_a_killed_pod_ends_as_failed_at_the_other(site: Site) -> None:
    async with two_pods(site, lease_seconds=3) as (one, other):
        service = Service([str(one.public.base_url), str(other.public.base_url)])
        key = one.public.headers["Authorization"].removeprefix("Bearer ")
        async with Client(service, key) as client:
            conversation = (await client.start("travel")).id
            events: list[Event] = []
            async with asyncio.timeout(60):
                async for event in client.send(conversation, LONG):
                    events.append(event)
                    if len(events) == 10:
                        await one.kill()
    failed = events[-1]
    assert isinstance(failed, MessageFailed)
    assert failed.error.code == "turn-abandoned"
    assert failed.message is not None
    # What was told in the last moment may not have got into the log.
    assert failed.message.content
    assert text_of(events).startswith(failed.message.content)
    assert [event.number for event in events] == sorted({event.number for event in events})
