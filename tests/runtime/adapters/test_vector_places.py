"""Where the vectors of an index are found."""

import dataclasses

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import PineconeIndex
from syntera_runtime.adapters.pinecone_clients import PineconeClients
from syntera_runtime.adapters.vector_places import find_vectors
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.conftest import PostgresqlStores
from tests.runtime.ingest.site import make_config
from tests.runtime.knowledge_stores import make_postgresql_knowledge
from tests.support.pinecone_server_fake import KEY, serve_pinecone_fake

EAST, NORTH = (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0)


async def test_index_is_searched_where_it_is_whatever_is_configured_by_now(postgresql_stores: PostgresqlStores) -> None:
    secret = SecretKey(name="pinecone", key="api-key")
    clients = PineconeClients(FixedSecrets({secret: KEY}))
    knowledge = make_postgresql_knowledge(postgresql_stores)
    base = await knowledge.begin()
    async with serve_pinecone_fake() as fake:
        config = make_config(pinecone=PineconeIndex(index_host=fake.url, api_key=secret))
        for number, (host, configured) in enumerate([(None, config), (None, None), (fake.url, config)]):
            index = await knowledge.open_index(base, f"f{number}", pinecone_host=host)
            vectors = find_vectors(postgresql_stores.pool, clients, configured, index)
            there = dataclasses.replace(knowledge, vectors=vectors)
            await there.put(index, f"{number}.md", "east", "north", vectors=[EAST, NORTH])
            assert await there.near(index, NORTH) == ["north", "east"]
            assert len(fake.namespaces) == (0 if host is None else 1)
        await clients.aclose()
