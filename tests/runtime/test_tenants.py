"""Two tenants on one database, each behind its own login: blind to each other, through the whole API."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind, Scope
from syntera_runtime.api.app import build_public_app
from syntera_runtime.models.conversations import ConversationStart
from syntera_runtime.models.ids import ConversationId
from tests.runtime.builders import make_services, make_stored_key
from tests.runtime.conftest import PostgresqlStores, make_postgresql_stores
from tests.support.postgresql import Database


class Tenant:
    """A tenant with its API."""

    def __init__(self, made: PostgresqlStores, client: httpx.AsyncClient) -> None:
        self.made = made
        self.client = client

    @property
    def key(self) -> str:
        """The header of its key."""
        return self.client.headers["Authorization"]

    async def start(self) -> str:
        """Begin a conversation, say something, and give the conversation's path."""
        made = (await self.client.post("/v1/agents/travel/conversations")).json()
        path = f"/v1/conversations/{made['id']}"
        answer = await self.client.post(f"{path}/messages", json={"content": "tell nobody"})
        assert answer.status_code == 200, answer.text
        return path


@pytest.fixture
async def tenants(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Tenant, Tenant]]:
    """Two tenants."""
    async with AsyncExitStack() as stack:

        async def make() -> Tenant:
            made = await make_postgresql_stores(database, tmp_path)
            await stack.enter_async_context(made.pool)
            key = ApiKey.generate(KeyKind.SECRET)
            await made.stores.put_api_key(make_stored_key(key, scopes=frozenset(Scope)))
            services = make_services(
                tenant_id=made.stores.tenant_id,
                keys=made.stores.api_keys,
                contacts=made.stores.contacts,
                conversations=made.stores.conversations,
                turns=made.stores.turns,
                directory=made.stores.directory,
                editor=made.stores.editor,
            )
            client = httpx.AsyncClient(
                transport=httpx.ASGITransport(app=build_public_app(services)),
                base_url="http://runtime",
                headers={"Authorization": f"Bearer {key.text}"},
            )
            return Tenant(made, await stack.enter_async_context(client))

        yield await make(), await make()


async def test_conversation_goes_through_the_whole_path(tenants: tuple[Tenant, Tenant]) -> None:
    tenant, _ = tenants
    path = await tenant.start()
    items = (await tenant.client.get(f"{path}/messages")).json()["items"]
    assert [(item["role"], item["content"]) for item in items] == [
        ("user", "tell nobody"),
        ("assistant", "Hello world"),
    ]
    asked = {"model": "travel", "messages": [{"role": "user", "content": "Hi"}]}
    assert (await tenant.client.post("/v1/chat/completions", json=asked)).status_code == 200


async def test_conversation_of_another_tenant_does_not_exist(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    path = await theirs.start()
    for answer in (
        await ours.client.get(path),
        await ours.client.get(f"{path}/messages"),
        await ours.client.post(f"{path}/messages", json={"content": "Hi"}),
        await ours.client.post(f"{path}/messages", json={"content": "Hi"}, headers={"Accept": "text/event-stream"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "conversation-not-found")
    assert len((await theirs.client.get(f"{path}/messages")).json()["items"]) == 2


async def test_nothing_of_another_tenants_conversation_can_be_listed_found_changed_or_deleted(
    tenants: tuple[Tenant, Tenant],
) -> None:
    ours, theirs = tenants
    path = await theirs.start()
    said = (await theirs.client.get(f"{path}/messages")).json()["items"]
    feedback = f"{path}/messages/{said[1]['id']}/feedback"
    for answer, code in (
        (await ours.client.patch(path, json={"state": "archived"}), "conversation-not-found"),
        (await ours.client.delete(path), "conversation-not-found"),
        (await ours.client.get(f"{path}/export"), "conversation-not-found"),
        (await ours.client.put(f"{path}/marks", json={"readMessageId": said[1]["id"]}), "conversation-not-found"),
        (await ours.client.put(feedback, json={"rating": "down"}), "conversation-not-found"),
        (await ours.client.delete(feedback), "conversation-not-found"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, code)
    for query in ("", "?q=nobody", "?order=activity"):
        assert (await ours.client.get(f"/v1/conversations{query}")).json()["items"] == []
    [item] = (await theirs.client.get("/v1/conversations?q=nobody")).json()["items"]
    assert (item["state"], item["unread"]) == ("active", 1)


async def test_key_of_another_tenant_is_unknown(tenants: tuple[Tenant, Tenant]) -> None:
    ours, theirs = tenants
    answer = await ours.client.get("/v1/agents", headers={"Authorization": theirs.key})
    assert (answer.status_code, answer.json()["code"]) == (401, "key-unknown")


async def test_wall_holds_even_if_our_code_asks_for_another_tenant(tenants: tuple[Tenant, Tenant]) -> None:
    """The queries name the tenant; row-level security would stop them if they named a wrong one."""
    ours, theirs = tenants
    path = await theirs.start()
    conversation_id = ConversationId(UUID(path.rpartition("/")[2]))
    foreign = theirs.made.stores.tenant_id
    conversations = ours.made.stores.conversations
    assert await conversations.find_conversation(foreign, conversation_id, owner=None) is None
    assert await conversations.list_messages(foreign, conversation_id, owner=None, after=None, limit=10) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await conversations.add_conversation(foreign, ConversationStart(agent="travel"), owner=None)


async def test_rows_carry_their_tenant(tenants: tuple[Tenant, Tenant], database: Database) -> None:
    ours, theirs = tenants
    await ours.start()
    await theirs.start()
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        for tenant in tenants:
            for table, count in (("conversations", 1), ("turns", 1), ("messages", 2)):
                query = f"SELECT count(*) FROM syntera.{table} WHERE tenant_id = $1"
                assert await connection.fetchval(query, tenant.made.stores.tenant_id) == count
    finally:
        await connection.close()
