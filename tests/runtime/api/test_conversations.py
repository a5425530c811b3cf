"""Conversations through the API."""

import asyncio
from uuid import UUID, uuid4

import httpx
import pytest

from syntera_crds.contract.api_key import Scope
from syntera_runtime.adapters.memory import MemoryStore
from syntera_runtime.adapters.memory_events import MemoryEventLog
from syntera_runtime.api.app import build_public_app
from syntera_runtime.models.ids import ConversationId
from tests.runtime.builders import TENANT, make_agent, make_services, put_key
from tests.runtime.fakes import FakeCatalogue, FakeChatModels


async def test_conversation_is_made_with_its_greeting(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(greeting="Welcome"))
    answer = await client.post("/v1/agents/travel/conversations")
    assert answer.status_code == 201
    made = answer.json()
    assert made["agent"] == "travel"
    (greeting,) = made["messages"]
    assert greeting == {
        "id": greeting["id"],
        "conversationId": made["id"],
        "turnId": None,
        "role": "assistant",
        "state": "complete",
        "content": "Welcome",
        "parts": [{"type": "text", "text": "Welcome"}],
        "createdAt": made["createdAt"],
        "error": None,
        "limitedBy": None,
        "refused": None,
        "retrieval": None,
    }
    assert made["createdAt"].endswith("Z")


async def test_conversation_is_empty_without_a_greeting(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/agents/travel/conversations")).json()["messages"] == []


async def test_body_may_be_an_empty_object(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/agents/travel/conversations", json={})).status_code == 201


async def test_unknown_field_is_refused_with_its_path(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/agents/travel/conversations", json={"titel": "x"})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"path": "body.titel", "message": "There is no such field.", "code": "extra_forbidden"}
    ]


async def test_conversation_with_an_unknown_agent_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/agents/nobody/conversations")
    assert (answer.status_code, answer.json()["code"]) == (404, "agent-not-found")


async def test_conversation_is_read_as_it_was_made(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    answer = await client.get(f"/v1/conversations/{made['id']}")
    assert answer.status_code == 200
    assert answer.json() == {key: value for key, value in made.items() if key != "messages"}
    assert answer.headers["ETag"] == '"1"'


async def test_unknown_conversation_is_a_problem(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"/v1/conversations/{uuid4()}")
    assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


@pytest.mark.parametrize("conversation", ["x", "01890a5d", "1" * 1000])
async def test_id_that_is_none_is_refused_with_its_path(client: httpx.AsyncClient, conversation: str) -> None:
    answer = await client.get(f"/v1/conversations/{conversation}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "path.conversationId"


async def test_conversation_keeps_what_it_was_begun_with(client: httpx.AsyncClient) -> None:
    start = {"channel": "email", "title": "Lost luggage", "metadata": {"order": "4711"}}
    made = (await client.post("/v1/agents/travel/conversations", json=start)).json()
    assert {key: made[key] for key in start} == start
    assert (made["state"], made["revision"]) == ("active", 1)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"channel": "pigeon"}, "body.channel"),
        ({"title": ""}, "body.title"),
        ({"title": "two\nlines"}, "body.title"),
        ({"title": "x" * 201}, "body.title"),
        ({"metadata": {"k": 1}}, "body.metadata.k"),
        ({"metadata": {"k": "x" * 513}}, "body.metadata.k"),
        ({"metadata": {"": "x"}}, "body.metadata."),
        ({"metadata": {str(number): "" for number in range(51)}}, "body.metadata"),
    ],
)
async def test_start_that_is_not_valid_is_refused_with_its_path(
    client: httpx.AsyncClient, body: dict[str, object], path: str
) -> None:
    answer = await client.post("/v1/agents/travel/conversations", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"].startswith(path)


# ---- changes ----


async def start(client: httpx.AsyncClient, **body: object) -> str:
    made = (await client.post("/v1/agents/travel/conversations", json=body)).json()
    return f"/v1/conversations/{made['id']}"


async def test_change_alters_what_it_names_and_nothing_else(client: httpx.AsyncClient) -> None:
    path = await start(client, title="Old", metadata={"a": "1"})
    answer = await client.patch(path, json={"title": "New"})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["title"], changed["metadata"], changed["state"], changed["revision"]) == (
        "New",
        {"a": "1"},
        "active",
        2,
    )
    assert answer.headers["ETag"] == '"2"'
    await client.patch(path, json={"metadata": {}})
    assert (await client.get(path)).json()["metadata"] == {}


async def test_change_is_refused_when_somebody_else_was_faster(client: httpx.AsyncClient) -> None:
    path = await start(client)
    read = (await client.get(path)).headers["ETag"]
    await client.patch(path, json={"title": "Theirs"})
    answer = await client.patch(path, json={"title": "Ours"}, headers={"If-Match": read})
    assert (answer.status_code, answer.json()["code"]) == (412, "revision-mismatch")
    assert (await client.get(path)).json()["title"] == "Theirs"
    newer = (await client.get(path)).headers["ETag"]
    assert (await client.patch(path, json={"title": "Ours"}, headers={"If-Match": newer})).status_code == 200


@pytest.mark.parametrize("etag", ["", "1", '"', '""', '"x"', 'W/"1"', '"1", "2"', f'"{10**20}"'])
async def test_condition_that_is_no_etag_is_refused(client: httpx.AsyncClient, etag: str) -> None:
    answer = await client.patch(await start(client), json={"title": "x"}, headers={"If-Match": etag})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "header.If-Match"


@pytest.mark.parametrize("state", ["ended", "archived"])
async def test_message_is_refused_until_an_ended_conversation_is_active_again(
    client: httpx.AsyncClient, state: str
) -> None:
    path = await start(client)
    await client.patch(path, json={"state": state})
    answer = await client.post(f"{path}/messages", json={"content": "Hi"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conversation-ended")
    await client.patch(path, json={"state": "active"})
    assert (await client.post(f"{path}/messages", json={"content": "Hi"})).status_code == 200


async def test_deleted_conversation_is_gone_with_its_messages(client: httpx.AsyncClient) -> None:
    path = await start(client)
    await client.post(f"{path}/messages", json={"content": "Hi"})
    assert (await client.delete(path)).status_code == 204
    for answer in (await client.get(path), await client.get(f"{path}/messages"), await client.delete(path)):
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")


async def test_nothing_that_was_said_stays_in_the_event_log_of_a_deleted_conversation(
    store: MemoryStore, models: FakeChatModels
) -> None:
    events = MemoryEventLog()
    services = make_services(store, models=models, events=events)
    scopes = frozenset({Scope.CHAT, Scope.CONVERSATIONS_WRITE})
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {put_key(store, scopes=scopes)}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        path = await start(client)
        await client.post(f"{path}/messages", json={"content": "Hi"})
        conversation_id = ConversationId(UUID(path.rpartition("/")[2]))
        async with asyncio.timeout(10):
            while not await events.read(TENANT, conversation_id, after=0):  # noqa: ASYNC110 - written behind the turn's back
                await asyncio.sleep(0.01)
        await services.writers.drain(seconds=10)
        await client.delete(path)
        assert not await events.read(TENANT, conversation_id, after=0)


async def test_conversation_is_not_deleted_while_the_agent_replies(
    client: httpx.AsyncClient, models: FakeChatModels
) -> None:
    path = await start(client)
    go_on = asyncio.Event()
    models.scripts.append(["Hel", go_on, "lo"])
    reply = asyncio.create_task(client.post(f"{path}/messages", json={"content": "Hi"}))
    await models.begun.wait()
    answer = await client.delete(path)
    assert (answer.status_code, answer.json()["code"]) == (409, "conversation-busy")
    go_on.set()
    assert (await reply).json()["message"]["content"] == "Hello"
    assert (await client.delete(path)).status_code == 204


# ---- lists ----


async def listed(client: httpx.AsyncClient, query: str = "") -> list[str]:
    answer = await client.get(f"/v1/conversations{query}")
    assert answer.status_code == 200, answer.text
    return [f"/v1/conversations/{item['id']}" for item in answer.json()["items"]]


async def test_list_shows_what_was_said_last_and_what_is_unread(client: httpx.AsyncClient) -> None:
    path = await start(client)
    said = (await client.post(f"{path}/messages", json={"content": "Hi"})).json()
    [item] = (await client.get("/v1/conversations")).json()["items"]
    assert item["lastMessage"]["content"] == "Hello world"
    assert item["unread"] == 1
    await client.put(f"{path}/marks", json={"readMessageId": said["message"]["id"]})
    [item] = (await client.get("/v1/conversations")).json()["items"]
    assert item["unread"] == 0


async def test_list_is_filtered(client: httpx.AsyncClient, agents: FakeCatalogue) -> None:
    agents.put(make_agent(name="sales"))
    mail = await start(client, channel="email")
    other = f"/v1/conversations/{(await client.post('/v1/agents/sales/conversations')).json()['id']}"
    archived = await start(client)
    await client.patch(archived, json={"state": "archived"})
    assert await listed(client) == [other, mail]
    assert await listed(client, "?agent=sales") == [other]
    assert await listed(client, "?channel=email") == [mail]
    assert await listed(client, "?state=archived") == [archived]
    assert await listed(client, "?state=archived&state=active") == [archived, other, mail]
    began = (await client.get(other)).json()["createdAt"]
    assert await listed(client, f"?createdBefore={began}") == [mail]
    assert await listed(client, f"?createdFrom={began}") == [other]


async def test_list_comes_in_pages_in_either_order(client: httpx.AsyncClient) -> None:
    paths = [await start(client) for _ in range(5)]
    await client.post(f"{paths[0]}/messages", json={"content": "Hi"})
    for order, expected in (("created", paths[::-1]), ("activity", [paths[0], *paths[:0:-1]])):
        seen: list[str] = []
        query = f"?order={order}&limit=2"
        while True:
            page = (await client.get(f"/v1/conversations{query}")).json()
            seen += [f"/v1/conversations/{item['id']}" for item in page["items"]]
            if page["nextCursor"] is None:
                break
            await start(client, title="between")
            query = f"?order={order}&limit=2&cursor={page['nextCursor']}"
        assert seen == expected
        for path in await listed(client, "?q=between"):
            await client.delete(path)


async def test_cursor_of_another_order_is_refused(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        await start(client)
    cursor = (await client.get("/v1/conversations?limit=1")).json()["nextCursor"]
    answer = await client.get(f"/v1/conversations?limit=1&order=activity&cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-cursor")


@pytest.mark.parametrize(
    "query",
    ["?state=lost", "?order=best", "?createdFrom=2026-01-01", "?q=", "?q=%00", "?agent=%00", "?limit=0", "?colour=red"],
)
async def test_list_with_a_query_that_is_not_valid_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/v1/conversations{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


# ---- export ----


async def test_export_holds_everything(client: httpx.AsyncClient) -> None:
    path = await start(client, title="Lost luggage")
    said = (await client.post(f"{path}/messages", json={"content": "Hi"})).json()
    await client.put(f"{path}/messages/{said['message']['id']}/feedback", json={"rating": "up"})
    exported = (await client.get(f"{path}/export")).json()
    assert exported["conversation"]["title"] == "Lost luggage"
    assert exported["messages"] == [said["userMessage"], said["message"]]
    assert [feedback["rating"] for feedback in exported["feedback"]] == ["up"]


async def test_export_for_people_is_markdown(client: httpx.AsyncClient) -> None:
    path = await start(client, title="Lost luggage")
    await client.post(f"{path}/messages", json={"content": "Hi"})
    answer = await client.get(f"{path}/export?format=markdown")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.text.startswith("# Lost luggage\n")
    assert "> Hi\n" in answer.text
    assert "> Hello world\n" in answer.text


async def test_export_in_another_format_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{await start(client)}/export?format=pdf")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
