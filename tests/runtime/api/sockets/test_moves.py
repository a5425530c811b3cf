"""Conversations that are there no more for whoever has joined them: they became another contact's, or were deleted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from syntera_runtime.api.sockets import participations
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.ids import ConversationId
from tests.runtime.builders import TENANT, put_publishable_key
from tests.runtime.fakes import FakeFailingStore
from tests.runtime.identity.issuer import sign
from tests.runtime.sockets import SocketClient, Told, open_socket

Start = Callable[[str], Awaitable[str]]
Visitor = Callable[[], Awaitable[str]]


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked more often than it would be."""
    monkeypatch.setattr(participations, "ASK_SECONDS", 0.1)
    monkeypatch.setattr(participations, "LOOK_SECONDS", 0.05)


async def move(store: FakeFailingStore, conversation: str) -> None:
    """Give a conversation to somebody else, as another process would."""
    found = await store.find_conversation(TENANT, ConversationId(UUID(conversation)), owner=None)
    assert found is not None
    assert found.contact_id is not None
    somebody = await store.identify_contact(TENANT, "somebody-else")
    assert await store.move_conversations(TENANT, source=found.contact_id, target=somebody.id) == 1


async def join(socket: SocketClient, conversation: str) -> Any:
    return await socket.ask("conversation.join", conversationId=conversation)


async def has_ended(socket: SocketClient, conversation: str) -> None:
    """Return when the socket was told that it is in the conversation no more, and is not."""
    told = await socket.wait_for_event("participation.ended")
    assert (told["conversationId"], told["error"]["code"]) == (conversation, "conversation-not-found")
    typing = {"conversationId": conversation, "isTyping": True}
    assert (await socket.refusal("typing", typing))["code"] == "not-joined"
    assert not socket.disconnected


async def test_nothing_is_heard_that_is_said_after_the_conversation_became_another_s(
    url: str, key: str, visitor: Visitor, start: Start, store: FakeFailingStore
) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, token) as customer, open_socket(url, key) as staff:
        await join(customer, conversation)
        member = (await join(staff, conversation))["memberId"]
        await move(store, conversation)
        await staff.ask("message.send", conversationId=conversation, content="A secret of the other")
        await has_ended(customer, conversation)
        await staff.wait_for_event("message.completed")
        await staff.wait_for(lambda told: _is_alone(told, member))
        await staff.ask("typing", conversationId=conversation, isTyping=True)
        refused = await customer.refusal("conversation.join", {"conversationId": conversation})
        assert refused["code"] == "conversation-not-found"
        assert customer.of_turns(conversation) == []
        assert "typing" not in [told.name for told in customer.told]


def _is_alone(told: Told, member: str) -> bool:
    return told.name == "presence" and [one["memberId"] for one in told.data["members"]] == [member]


@pytest.mark.usefixtures("impatience")
async def test_silent_conversation_that_became_another_s_is_left(
    url: str, visitor: Visitor, start: Start, store: FakeFailingStore
) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, token) as customer:
        await join(customer, conversation)
        await move(store, conversation)
        await has_ended(customer, conversation)


async def test_visitor_who_is_identified_is_told_at_once(url: str, store: FakeFailingStore, start: Start) -> None:
    publishable = put_publishable_key(store)
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {publishable}"}) as client:
        token = (await client.post("/v1/visitor-tokens")).json()["visitorToken"]
        conversation = await start(token)
        async with open_socket(url, token) as customer:
            await join(customer, conversation)
            identity = {"identityToken": sign()}
            answer = await client.post("/v1/visitor-tokens", json={"visitorToken": token, "identity": identity})
            assert answer.status_code == 201, answer.text
            await has_ended(customer, conversation)
        async with open_socket(url, answer.json()["visitorToken"]) as person:
            await join(person, conversation)


async def test_deleted_conversation_is_left_at_once_by_everybody(
    url: str, key: str, visitor: Visitor, start: Start
) -> None:
    token = await visitor()
    conversation = await start(token)
    async with (
        open_socket(url, token) as customer,
        open_socket(url, key) as staff,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        await join(customer, conversation)
        await join(staff, conversation)
        assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 204
        await has_ended(customer, conversation)
        await has_ended(staff, conversation)


@pytest.mark.usefixtures("impatience")
async def test_everybody_stays_while_nobody_knows(
    url: str, visitor: Visitor, start: Start, store: FakeFailingStore
) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, token) as customer:
        await join(customer, conversation)
        before = store.calls_of("find_position")
        store.fail("find_position", *[StoreUnavailable(store="PostgreSQL")] * 3)
        async with asyncio.timeout(30):
            while store.calls_of("find_position") < before + 5:  # noqa: ASYNC110  # nobody announces it
                await asyncio.sleep(0.01)
        assert "participation.ended" not in [told.name for told in customer.told]
        await customer.ask("message.send", conversationId=conversation, content="Hi")
        await customer.wait_for_event("message.completed")
