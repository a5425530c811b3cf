"""Who is told that a list of conversations is different."""

from collections.abc import Awaitable, Callable

import httpx

from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from tests.runtime.builders import put_key
from tests.runtime.sockets import SocketClient, open_socket

Start = Callable[[str], Awaitable[str]]
Visitor = Callable[[], Awaitable[str]]


def changes(socket: SocketClient) -> list[tuple[str, str]]:
    return [
        (told.data["conversationId"], told.data["change"])
        for told in socket.told
        if told.name == "conversations.changed"
    ]


async def changed(socket: SocketClient, change: str, count: int = 1) -> None:
    await socket.wait_for(lambda _: [kind for _, kind in changes(socket)].count(change) >= count)


async def test_staff_and_the_customer_are_told_of_all_that_happens(
    url: str, key: str, visitor: Visitor, start: Start
) -> None:
    token = await visitor()
    async with (
        open_socket(url, key) as staff,
        open_socket(url, token) as customer,
        open_socket(url, await visitor()) as other,
        httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}) as client,
    ):
        conversation = await start(token)
        await customer.ask("message.send", conversationId=conversation, content="Hi")
        await changed(customer, "message", 2)
        path = f"/v1/conversations/{conversation}"
        assert (await client.patch(path, json={"title": "Trip"})).status_code == 200
        assert (await client.delete(path)).status_code == 204
        for socket in (staff, customer):
            await changed(socket, "deleted")
            assert changes(socket) == [
                (conversation, kind) for kind in ("created", "message", "message", "updated", "deleted")
            ]
        assert changes(other) == []


async def test_conversation_of_a_program_is_told_to_staff_alone(
    url: str, key: str, visitor: Visitor, start: Start
) -> None:
    async with open_socket(url, key) as staff, open_socket(url, await visitor()) as customer:
        conversation = await start(key)
        await changed(staff, "created")
        assert changes(staff) == [(conversation, "created")]
        assert changes(customer) == []


async def test_who_may_not_list_conversations_is_told_of_none(
    url: str, key: str, store: MemoryStore, start: Start
) -> None:
    chatting = put_key(store, scopes=frozenset({Scope.CHAT}))
    async with open_socket(url, key) as staff, open_socket(url, chatting) as program:
        await start(chatting)
        await changed(staff, "created")
        assert changes(program) == []


async def test_change_that_was_not_made_is_not_told(url: str, key: str, start: Start) -> None:
    conversation = await start(key)
    headers = {"Authorization": f"Bearer {key}", "If-Match": '"7"'}
    async with (
        open_socket(url, key) as staff,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
    ):
        assert (await client.patch(f"/v1/conversations/{conversation}", json={"title": "x"})).status_code == 412
        await start(key)
        await changed(staff, "created")
        assert [kind for _, kind in changes(staff)] == ["created"]
