"""Forgetting a knowledge base."""

from dataclasses import replace

import pytest

from syntera_runtime.ingest.erasure import erase
from syntera_runtime.ingest.failures import SyncFailed
from syntera_runtime.models.knowledge import IndexStorage
from tests.runtime.ingest.site import NAME, SyncSite, fetched


async def test_everything_goes() -> None:
    site = SyncSite()
    await site.sync(fetched("a.md", "One."))
    index = await site.active()
    assert index is not None
    assert await erase(site.tools, site.config, name=NAME)
    assert await site.knowledge.reader.find_knowledge_base(site.tenant_id, NAME) is None
    assert [page async for page in site.knowledge.vectors.hashes(site.tenant_id, index)] in ([], [[]])
    assert await erase(site.tools, site.config, name=NAME)


async def test_running_sync_is_not_disturbed() -> None:
    site = SyncSite()
    async with site.knowledge.writer.lock(site.tenant_id, NAME):
        assert not await erase(site.tools, site.config, name=NAME)


async def test_vectors_that_cannot_be_reached_are_named() -> None:
    site = SyncSite()
    await site.sync(fetched("a.md", "One."))
    (base,) = site.knowledge.rows.of(site.tenant_id).values()
    for row in base.indexes.values():
        row.index = replace(row.index, storage=IndexStorage.PINECONE)
    tools = replace(site.tools, build_vectors=lambda _: {IndexStorage.COMMON: site.knowledge.vectors})
    with pytest.raises(SyncFailed, match="Pinecone") as caught:
        await erase(tools, site.config, name=NAME)
    assert caught.value.is_final
    assert await site.documents()
