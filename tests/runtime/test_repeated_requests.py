"""The same request sent twice at once, and replies of any size, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.api.app import build_public_app
from tests.runtime.builders import make_services, make_stored_key
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.fakes import FakeChatModels


async def test_message_that_is_sent_twice_at_once_is_answered_twice_and_taken_once(
    postgresql_stores: PostgresqlStores,
) -> None:
    models = FakeChatModels()
    async with make_client(postgresql_stores, models) as client:
        for number in range(10):
            path = await start(client)
            headers = {"Idempotency-Key": str(number)}
            answers = await asyncio.gather(
                *(client.post(f"{path}/messages", json={"content": "Hi"}, headers=headers) for _ in range(2))
            )
            assert [answer.status_code for answer in answers] == [200, 200]
            assert answers[0].json() == answers[1].json()
    assert len(models.asked) == 10


async def test_reply_of_any_size_is_stored(postgresql_stores: PostgresqlStores) -> None:
    """A full-text index takes a megabyte of words and no more."""
    models = FakeChatModels()
    models.scripts.append([" ".join(f"word{number}" for number in range(150_000))])
    async with make_client(postgresql_stores, models) as client:
        path = await start(client)
        answer = await client.post(f"{path}/messages", json={"content": "Tell me everything"})
        assert answer.status_code == 200
        assert len(answer.json()["message"]["content"]) > 1_300_000


@asynccontextmanager
async def make_client(made: PostgresqlStores, models: FakeChatModels) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole API on these stores, whose events somebody reads."""
    key, stores = ApiKey.generate(KeyKind.SECRET), made.stores
    await stores.put_api_key(make_stored_key(key))
    services = make_services(
        tenant_id=stores.tenant_id,
        keys=stores.api_keys,
        conversations=stores.conversations,
        turns=stores.turns,
        directory=stores.directory,
        editor=stores.editor,
        models=models,
    )
    reading = asyncio.create_task(services.followers.run())
    transport = httpx.ASGITransport(app=build_public_app(services))
    headers = {"Authorization": f"Bearer {key.text}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://runtime", headers=headers) as client:
        yield client
    reading.cancel()
    await services.runner.aclose()
    await services.writers.aclose()


async def start(client: httpx.AsyncClient) -> str:
    made = (await client.post("/v1/agents/travel/conversations")).json()
    return f"/v1/conversations/{made['id']}"
