"""Forgetting a knowledge base."""

from syntera_runtime.ingest.erasure import erase
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
