"""Who is in a conversation, who types there, and how far they have read."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from syntera_runtime.adapters.memory_presence import MemoryPresence
from syntera_runtime.api.sockets import participations, sockets
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.conversations import Side
from syntera_runtime.models.ids import ConversationId
from syntera_runtime.models.presence import Member, MemberId
from syntera_runtime.services import Services
from tests.runtime.builders import TENANT
from tests.runtime.sockets import SocketClient, Told, open_socket

pytestmark = pytest.mark.long

Start = Callable[[str], Awaitable[str]]
Visitor = Callable[[], Awaitable[str]]


def members(*who: str) -> Callable[[Told], bool]:
    """Whether an event says that exactly these are there."""
    return lambda told: told.name == "presence" and {member["memberId"] for member in told.data["members"]} == set(who)


async def join(socket: SocketClient, conversation: str) -> str:
    joined = await socket.ask("conversation.join", conversationId=conversation)
    return str(joined["memberId"])


async def test_members_are_told_who_comes_and_goes(url: str, key: str, visitor: Visitor, start: Start) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, token) as customer:
        one = await join(customer, conversation)
        async with open_socket(url, key) as staff:
            joined = await staff.ask("conversation.join", conversationId=conversation)
            other = joined["memberId"]
            there = {(member["memberId"], member["side"]) for member in joined["presence"]["members"]}
            assert there == {(one, "contact"), (other, "staff")}
            both = await customer.wait_for(members(one, other))
            await staff.ask("conversation.leave", conversationId=conversation)
            gone = await customer.wait_for(
                lambda told: members(one)(told) and told.data["revision"] > both.data["revision"]
            )
            assert gone.data["conversationId"] == conversation
            again = await join(staff, conversation)
            await customer.wait_for(members(one, again))
            seen = len(customer.told)
        await customer.wait_for(lambda told: members(one)(told) and customer.told.index(told) >= seen)


async def test_member_says_nothing_of_who_it_is(url: str, key: str, start: Start) -> None:
    one, other = await start(key), await start(key)
    async with open_socket(url, key) as socket:
        assert await join(socket, one) != await join(socket, other)


async def test_member_of_a_process_that_died_vanishes(
    url: str, key: str, start: Start, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = await start(key)
    dead = Member(MemberId(uuid4()), Side.CONTACT)
    enter = partial(services.presence.enter, TENANT, ConversationId(UUID(conversation)), dead)
    await enter(lease=timedelta(minutes=1))
    monkeypatch.setattr(participations, "RENEW_SECONDS", 0.1)
    async with open_socket(url, key) as socket:
        joined = await socket.ask("conversation.join", conversationId=conversation)
        assert len(joined["presence"]["members"]) == 2
        await enter(lease=timedelta(milliseconds=1))
        await socket.wait_for(members(joined["memberId"]))


async def test_members_come_back_when_the_register_was_lost(
    url: str, key: str, start: Start, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participations, "RENEW_SECONDS", 0.1)
    conversation = await start(key)
    async with open_socket(url, key) as one, open_socket(url, key) as other:
        both = {await join(one, conversation), await join(other, conversation)}
        await one.wait_for(members(*both))
        seen = len(one.told)
        presence = services.presence
        assert isinstance(presence, MemoryPresence)
        presence._until.clear()
        await one.wait_for(lambda _: any(members(*both)(told) for told in one.told[seen:]))


async def test_who_leaves_while_the_renewal_is_on_its_way_does_not_come_back(
    url: str, key: str, start: Start, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(participations, "RENEW_SECONDS", 0.1)
    renew, is_on_its_way, go_on, renewed = services.presence.renew, asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def renew_slowly(*args: Any, **options: Any) -> Any:
        if is_on_its_way.is_set():  # the second time everything of the first is done
            renewed.set()
        is_on_its_way.set()
        await go_on.wait()
        return await renew(*args, **options)

    monkeypatch.setattr(services.presence, "renew", renew_slowly)
    conversation = await start(key)
    async with open_socket(url, key) as watcher, open_socket(url, key) as socket:
        mine, gone = await join(watcher, conversation), await join(socket, conversation)
        await is_on_its_way.wait()
        await socket.ask("conversation.leave", conversationId=conversation)
        await watcher.wait_for(members(mine, gone))
        go_on.set()
        async with asyncio.timeout(30):
            await renewed.wait()
        here = await services.presence.leave(
            TENANT, ConversationId(UUID(conversation)), Member(MemberId(uuid4()), Side.STAFF)
        )
    assert [str(member.id) for member in here.members] == [mine]


async def test_conversation_is_joined_although_nobody_knows_who_is_there(
    url: str, key: str, start: Start, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable(store="Redis")

    for method in ("enter", "leave", "renew"):
        monkeypatch.setattr(services.presence, method, fail)
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        joined = await socket.ask("conversation.join", conversationId=conversation)
        assert joined["presence"] is None
        await socket.ask("message.send", conversationId=conversation, content="Hi")
        await socket.wait_for_event("message.completed")
        await socket.ask("conversation.leave", conversationId=conversation)


async def test_others_are_told_who_types_and_the_one_who_types_is_not(
    url: str, key: str, visitor: Visitor, start: Start
) -> None:
    token = await visitor()
    conversation, elsewhere = await start(token), await start(key)
    async with open_socket(url, token) as customer, open_socket(url, key) as staff, open_socket(url, key) as stranger:
        member = await join(customer, conversation)
        await join(staff, conversation)
        await join(stranger, elsewhere)
        for is_typing in (True, True, False):
            await customer.ask("typing", conversationId=conversation, isTyping=is_typing)
        await staff.wait_for(lambda told: told.name == "typing" and not told.data["isTyping"])
        told = [told.data for told in staff.told if told.name == "typing"]
        assert not [told for told in (*customer.told, *stranger.told) if told.name == "typing"]
    assert told == [
        {"conversationId": conversation, "memberId": member, "side": "contact", "isTyping": is_typing}
        for is_typing in (True, False)
    ]


async def test_nobody_types_for_ever(url: str, key: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(participations, "TYPED_SECONDS", 0.1)
    monkeypatch.setattr(participations, "LOOK_SECONDS", 0.05)
    conversation = await start(key)
    async with open_socket(url, key) as one, open_socket(url, key) as other:
        await join(one, conversation)
        await join(other, conversation)
        await one.ask("typing", conversationId=conversation, isTyping=True)
        await other.wait_for(lambda told: told.name == "typing" and not told.data["isTyping"])


async def test_typing_is_told_so_often_and_no_more(
    url: str, key: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_TYPING", 2)
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        await join(socket, conversation)
        asked = {"conversationId": conversation, "isTyping": True}
        await socket.ask("typing", **asked)
        await socket.ask("typing", conversationId=conversation, isTyping=False)
        problem = await socket.refusal("typing", asked)
    assert problem["code"] == "rate-limited"
    assert 1 <= problem["retryAfterSeconds"] <= 10


async def test_typing_that_tells_nothing_new_counts_too(
    url: str, key: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "MOST_TYPING", 3)
    conversation = await start(key)
    asked = {"conversationId": conversation, "isTyping": True}
    async with open_socket(url, key) as socket:
        assert (await socket.refusal("typing", asked))["code"] == "not-joined"
        await join(socket, conversation)
        for _ in range(2):
            await socket.ask("typing", **asked)
        assert (await socket.refusal("typing", asked))["code"] == "rate-limited"


async def test_who_is_not_in_a_conversation_cannot_type_there(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    async with open_socket(url, key) as socket:
        problem = await socket.refusal("typing", {"conversationId": conversation, "isTyping": True})
        assert problem["code"] == "not-joined"


async def test_others_are_told_how_far_somebody_has_read(url: str, key: str, visitor: Visitor, start: Start) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, token) as customer, open_socket(url, key) as staff:
        await join(staff, conversation)
        sent = await customer.ask("message.send", conversationId=conversation, content="Hi")
        await staff.wait_for_event("message.completed")
        marks = await customer.ask("marks.put", conversationId=conversation, readMessageId=sent["messageId"])
        told = await staff.wait_for_event("marks.changed")
    assert marks["readMessageId"] == sent["messageId"]
    assert told == {"conversationId": conversation, "side": "contact", **marks}


async def test_joins_and_leaves_at_once_leave_nobody_behind(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    asked = {"conversationId": conversation}
    async with open_socket(url, key) as watcher:
        mine = await join(watcher, conversation)
        async with open_socket(url, key) as socket:
            events = ["conversation.join", "conversation.leave"] * 3
            await asyncio.gather(*(socket.try_(event, asked) for event in events))
            await socket.ask("conversation.join", **asked)
            joining = asyncio.create_task(socket.try_("conversation.join", asked))
            await asyncio.sleep(0)
        joining.cancel()
        await watcher.wait_for(lambda _: members(mine)(watcher.told[-1]))
