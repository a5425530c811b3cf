"""Who may send which event, and which conversations are there for whom."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.api.permissions import PERMISSIONS
from syntera_runtime.api.sockets.operations import EVENTS, OPERATIONS, RENEW
from tests.runtime.builders import put_key
from tests.runtime.identity.issuer import sign
from tests.runtime.sockets import open_socket

Start = Callable[[str], Awaitable[str]]
Visitor = Callable[[], Awaitable[str]]

SOME_ID = str(uuid4())
SENT: dict[str, Any] = {
    "conversation.join": {"conversationId": SOME_ID},
    "conversation.leave": {"conversationId": SOME_ID},
    "message.send": {"conversationId": SOME_ID, "content": "Hi"},
    "turn.stop": {"conversationId": SOME_ID},
    "typing": {"conversationId": SOME_ID, "isTyping": True},
    "marks.put": {"conversationId": SOME_ID},
}
READ = {"conversation.join", "conversation.leave"}
ALL = READ | {"message.send", "turn.stop", "typing", "marks.put"}
OPEN = {
    "secret key: chat": ALL,
    "secret key: conversations:read": READ,
    "secret key: admin": ALL,
    "visitor": ALL,
    "signed-in customer": ALL,
    "anonymous at the issuer": ALL,
    "role: member": ALL,
    "role: owner": ALL,
}
"""Whoever gets a socket, and the events that are open to them."""


async def credentials(who: str, store: MemoryStore, visitor: Visitor) -> str:
    """What `who` presents."""
    kind, _, detail = who.partition(": ")
    if kind == "visitor":
        return await visitor()
    if kind == "secret key":
        return put_key(store, scopes=frozenset({detail}))
    if kind == "role":
        return sign(app_metadata={"role": detail})
    return sign(is_anonymous=kind.startswith("anonymous"))


@pytest.mark.parametrize("who", OPEN)
async def test_event_is_open_to_whom_it_is_for(url: str, store: MemoryStore, visitor: Visitor, who: str) -> None:
    async with open_socket(url, await credentials(who, store, visitor)) as socket:
        for event, data in SENT.items():
            code = (await socket.try_(event, data)).get("error", {}).get("code")
            assert (code not in ("scope-missing", "customer-refused")) == (event in OPEN[who]), (event, code)
            # Decided before the event is read.
            unread = (await socket.try_(event, {"nonsense": 1}))["error"]["code"]
            assert unread == ("invalid-request" if event in OPEN[who] else code)


def test_matrix_knows_every_event() -> None:
    assert set(SENT) == set(OPERATIONS) == ALL
    assert {*SENT, RENEW} == EVENTS
    assert {operation.requires for operation in OPERATIONS.values()} <= PERMISSIONS.keys()


@pytest.mark.parametrize("stranger", ["visitor", "user"])
async def test_conversation_of_somebody_else_is_not_there(
    url: str, key: str, visitor: Visitor, start: Start, stranger: str
) -> None:
    theirs = await start(await visitor())
    token = await visitor() if stranger == "visitor" else sign()
    async with open_socket(url, token) as socket:
        for event in ("conversation.join", "message.send", "turn.stop", "marks.put"):
            problem = await socket.refusal(event, {**SENT[event], "conversationId": theirs})
            assert problem["code"] == "conversation-not-found"
        problem = await socket.refusal("typing", {"conversationId": theirs, "isTyping": True})
        assert problem["code"] == "not-joined"


async def test_staff_joins_a_customer_s_conversation(url: str, key: str, visitor: Visitor, start: Start) -> None:
    token = await visitor()
    conversation = await start(token)
    async with open_socket(url, key) as staff, open_socket(url, token) as customer:
        for socket in (staff, customer):
            await socket.ask("conversation.join", conversationId=conversation)
        await customer.ask("message.send", conversationId=conversation, content="Hi")
        await staff.wait_for_event("message.completed")
        await customer.wait_for_event("message.completed")
        assert staff.of_turns(conversation) == customer.of_turns(conversation)
