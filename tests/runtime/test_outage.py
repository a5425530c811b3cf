"""PostgreSQL goes away in the middle of a turn and comes back: the answer that was paid for is stored."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from syntera_runtime.chat.events import ReplyCompleted
from syntera_runtime.errors import StoreUnavailable
from syntera_runtime.models.identity import Principal
from syntera_runtime.models.ids import ConversationId
from syntera_runtime.services import Services
from tests.runtime.builders import ASKER, make_services
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.fakes import FakeChatModels
from tests.support.postgresql import Database


async def set_login(database: Database, login: str, *, allowed: bool) -> None:
    """Let a tenant log in, or throw it out and keep it out."""
    connection = await asyncpg.connect(database.superuser_dsn)
    try:
        await connection.execute(f"ALTER ROLE {login} {'LOGIN' if allowed else 'NOLOGIN'}")
        if not allowed:
            query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = $1"
            await connection.execute(query, login)
    finally:
        await connection.close()


@pytest.fixture
def models() -> FakeChatModels:
    """The models, scripted."""
    return FakeChatModels()


@pytest.fixture
def services(postgresql_stores: PostgresqlStores, models: FakeChatModels) -> Services:
    """The use cases on a real server."""
    stores = postgresql_stores.stores
    return make_services(
        tenant_id=stores.tenant_id,
        keys=stores.api_keys,
        contacts=stores.contacts,
        conversations=stores.conversations,
        turns=stores.turns,
        models=models,
    )


async def is_stored(services: Services, asker: Principal, conversation_id: ConversationId) -> bool:
    """Whether a conversation can be read; False while the store is away."""
    try:
        await services.conversations.get(asker, conversation_id)
    except StoreUnavailable:
        return False
    return True


async def test_reply_is_stored_when_postgresql_comes_back_in_time(
    postgresql_stores: PostgresqlStores, services: Services, models: FakeChatModels
) -> None:
    stores, database = postgresql_stores.stores, postgresql_stores.database
    login = postgresql_stores.url_file.read_text().split("//")[1].split(":")[0]
    asker = replace(ASKER, tenant_id=stores.tenant_id)
    go_on = asyncio.Event()
    models.scripts = [["Hel", go_on, "lo"]]
    conversation = (await services.conversations.start(asker, agent="travel")).conversation
    feed = await services.conversations.send(asker, conversation.id, content="Hi")

    await set_login(database, login, allowed=False)
    async with asyncio.timeout(60):
        while await is_stored(services, asker, conversation.id):  # until the last connection is known to be cut
            pass
    go_on.set()
    await models.ended.wait()
    await set_login(database, login, allowed=True)

    async with asyncio.timeout(60):
        while not isinstance(event := await feed.next(), ReplyCompleted):
            assert event is not None
    messages = await stores.conversations.list_messages(
        stores.tenant_id, conversation.id, owner=None, after=None, limit=10
    )
    assert [message.content for message in messages] == ["Hi", "Hello"]
