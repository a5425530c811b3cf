"""Answers from knowledge on real stores, also where the pod that answers is killed.

Nothing smaller than a process can be killed by the kernel.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_runtime.adapters.postgresql.files import PostgresqlFiles
from syntera_runtime.adapters.postgresql.knowledge_editor import PostgresqlKnowledgeEditor
from syntera_runtime.adapters.postgresql.knowledge_reader import PostgresqlKnowledgeReader
from syntera_runtime.adapters.postgresql.knowledge_vectors import PostgresqlVectors
from syntera_runtime.adapters.postgresql.knowledge_writer import PostgresqlKnowledgeWriter
from syntera_runtime.adapters.postgresql.pool import Pool
from tests.runtime.builders import make_stored_key
from tests.runtime.conftest import insert_api_key
from tests.runtime.events import SentEvents
from tests.runtime.knowledge_fakes import KnowledgeSite, make_config
from tests.runtime.knowledge_fakes import make_site as make_knowledge
from tests.runtime.knowledge_stores import KnowledgeStores
from tests.runtime.pods import Site, make_site
from tests.runtime.processes import Running, running
from tests.support.postgresql import Database
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.long

STREAM = {"Accept": "text/event-stream"}
ENDS = ("message.completed", "message.failed", "message.stopped")
DESK = "The desk opens at nine every morning."
QUESTION = "When does the desk open every morning? In words:"


@pytest.fixture
def site(database: Database, redis_server: RedisServer, tmp_path: Path) -> Site:
    """A tenant."""
    return asyncio.run(make_site(database, redis_server, tmp_path))


@asynccontextmanager
async def knowledge_of(site: Site) -> AsyncIterator[KnowledgeSite]:
    """What the tenant's PostgreSQL knows."""
    async with Pool(site.stores_dir / names.POSTGRESQL_URL_KEY, connections=2, seconds=20, application="test") as pool:
        made = make_knowledge(site.tenant_id)
        made.stores = KnowledgeStores(
            site.tenant_id,
            PostgresqlKnowledgeReader(pool),
            PostgresqlKnowledgeEditor(pool),
            PostgresqlKnowledgeWriter(pool),
            PostgresqlVectors(pool),
            PostgresqlFiles(pool),
        )
        yield made


@asynccontextmanager
async def two_pods(site: Site) -> AsyncIterator[tuple[Running, Running]]:
    """Two processes of the tenant."""
    key = ApiKey.generate(KeyKind.SECRET)
    await insert_api_key(site.database, site.tenant_id, make_stored_key(key))
    settings = {
        "SYNTERA_TENANT_ID": str(site.tenant_id),
        "SYNTERA_STORES_DIR": str(site.stores_dir),
        "SYNTERA_LEASE_SECONDS": "3",
        "SYNTERA_DRAIN_SECONDS": "0",
    }
    async with (
        running("knowledge_pod_process", key.text, **settings) as one,
        running("knowledge_pod_process", key.text, **settings) as other,
    ):
        yield one, other


async def test_answer_of_a_killed_pod_keeps_what_it_cited(site: Site) -> None:
    async with knowledge_of(site) as knowledge:
        await knowledge.fill(make_config(), {"desk.md": [DESK]}, url="https://docs.example/desk")
    async with two_pods(site) as (one, other):
        messages = await one.start()
        events = messages.replace("/messages", "/events")
        async with (
            other.public.stream("GET", events, timeout=60) as following,
            one.public.stream("POST", messages, json={"content": f"{QUESTION} 600"}, headers=STREAM),
        ):
            followed = SentEvents(following)
            seen = await followed.take(8)
            assert [event.name for event in seen[:4]] == ["message.started", "retrieval", "message.delta", "citation"]
            await one.kill()
            async with asyncio.timeout(30):
                failed = (await followed.until(*ENDS))[-1]
        citation = seen[3].data["citation"]
        assert (citation["path"], citation["start"], citation["end"]) == ("desk.md", 0, len(DESK))
        assert failed.data["error"]["code"] == "turn-abandoned"
        assert failed.data["message"]["parts"][1:] == [{"type": "citation", "citation": citation}]
        stored = (await other.public.get(messages)).json()["items"][-1]
        assert stored == failed.data["message"]
        async with other.public.stream(
            "GET", events, headers={"Last-Event-ID": str(seen[0].number)}, timeout=60
        ) as resumed:
            again = await SentEvents(resumed).until(*ENDS)
        assert [event for event in again if event.name in ("retrieval", "citation")] == [seen[1], seen[3]]


async def test_knowledge_base_that_is_erased_between_turns_is_missed(site: Site) -> None:
    async with knowledge_of(site) as knowledge, two_pods(site) as (one, _):
        await knowledge.fill(make_config(), {"desk.md": [DESK]})
        messages = await one.start()
        answered = (await one.public.post(messages, json={"content": f"{QUESTION} 1"})).json()
        assert answered["message"]["refused"] is None
        assert [part["type"] for part in answered["message"]["parts"]] == ["text", "citation"]
        async with knowledge.stores.writer.lock(site.tenant_id, "handbook") as base:
            assert base is not None
            for index in await knowledge.stores.writer.list_indexes(site.tenant_id, base.id):
                await knowledge.stores.vectors.drop(site.tenant_id, index)
            while await knowledge.stores.writer.erase(site.tenant_id, "handbook"):
                pass
        missed: httpx.Response = await one.public.post(messages, json={"content": f"{QUESTION} 1"})
        assert missed.json()["message"]["refused"] == "knowledge-unavailable"
        items = (await one.public.get(messages)).json()["items"]
        assert items[1] == answered["message"]
