"""Websites, repositories and buckets in whole syncs: what is there is taken in, what is as it was is not touched, what is gone goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import GitSource, S3Source, Source, WebSource
from syntera_runtime.adapters.s3_blobs import build_store
from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.ingest.sources.build import SourceTools
from syntera_runtime.models.files import Storage
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.ingest.site import SyncSite, make_config
from tests.runtime.ingest.sources.git_server import (
    GitServer,
    Repository,
    made_repository,
    make_app,
    running_app,
)
from tests.runtime.ingest.sources.site import HTML, Page, opening, running_site
from tests.runtime.ingest.test_sync import watch_writes
from tests.support.s3_server import REGION, S3Server

KEY_ID, SECRET = SecretKey(name="bucket", key="id"), SecretKey(name="bucket", key="secret")


def make_sync(folder: Path, source: Source, secrets: FixedSecrets | None = None) -> SyncSite:
    site = SyncSite(config=make_config(source))
    policy = EgressPolicy(networks=[ip_network("127.0.0.0/8")], never=())
    site.build_source = SourceTools(
        site.tenant_id,
        folder,
        site.files,
        {Storage.POSTGRESQL: site.blobs},
        secrets or FixedSecrets(),
        opening(policy=policy),
        build_store,
    ).build
    return site


async def test_website_in_syncs(tmp_path: Path) -> None:
    tagged = {"Content-Type": HTML, "ETag": '"1"'}
    async with running_site() as website:
        website.pages = {
            "/": Page("<title>Start</title><a href=/a>a</a><a href=/b>b</a> Welcome", 200, tagged),
            "/a": Page("<p>What A says", 200, tagged),
            "/b": Page("<p>What B says"),
        }
        source = Source(name="site", web=WebSource(urls=[website.url()], requests_per_second=1000))
        site = make_sync(tmp_path, source)
        assert (await site.sync()).counts.added == 3
        assert set(await site.contents()) == {website.url(path) for path in ("/", "/a", "/b")}
        embedded = len(site.embedder.texts)

        website.pages |= {"/": Page("", 304), "/a": Page("", 304)}
        writes = watch_writes(site)
        counts = (await site.sync()).counts
        assert (counts.documents, counts.unchanged, counts.removed, counts.failed) == (3, 3, 0, 0)
        assert writes == []
        assert len(site.embedder.texts) == embedded

        website.pages |= {"/a": Page("", 500)}
        counts = (await site.sync()).counts
        assert (counts.removed, counts.failed) == (0, 1)
        website.pages |= {"/a": Page("", 404)}
        assert (await site.sync()).counts.removed == 1
        website.pages |= {"/": Page("", 500)}
        assert (await site.sync()).counts.removed == 0
        assert set(await site.contents()) == {website.url("/"), website.url("/b")}


async def test_another_reader_has_pages_sent_anew_and_follows_links_that_are_known(tmp_path: Path) -> None:
    async with running_site() as website:
        website.pages = {
            "/": Page("<a href=/hub>hub</a> Welcome"),
            "/hub": Page("<a href=/a>a</a> Hub", 200, {"Content-Type": HTML, "ETag": '"1"'}),
            "/a": Page("<p>What A says"),
        }
        source = Source(name="site", web=WebSource(urls=[website.url()], requests_per_second=1000))
        site = make_sync(tmp_path, source)
        await site.sync()
        site.reader = "r2"
        website.pages["/hub"] = Page("", 500)
        counts = (await site.sync()).counts
        assert (counts.removed, counts.failed) == (0, 1)
        assert website.url("/a") in await site.contents()


@contextmanager
def git(folder: Path) -> Iterator[tuple[Repository, GitServer]]:
    with made_repository(folder / "docs.git") as repository, running_app(make_app("dulwich", repository)) as server:
        yield repository, server


async def test_repository_in_syncs(tmp_path: Path) -> None:
    with git(tmp_path) as (repository, server):
        repository.commit({"a.md": "What A says", "docs/b.md": "What B says", "c.md": "What C says"})
        site = make_sync(tmp_path, Source(name="git", git=GitSource(url=server.url())))
        assert (await site.sync()).counts.added == 3
        embedded = len(site.embedder.texts)

        writes = watch_writes(site)
        counts = (await site.sync()).counts
        assert (counts.unchanged, counts.fetched_bytes) == (3, 0)
        assert writes == []
        assert len(site.embedder.texts) == embedded

        repository.commit({"a.md": "What A says now", "docs/b.md": "What B says"})
        counts = (await site.sync()).counts
        assert (counts.unchanged, counts.changed, counts.removed) == (1, 1, 1)
        assert (await site.contents())["a.md"] == ["What A says now"]
    assert (await site.sync()).counts.removed == 0  # the server is gone
    assert set(await site.contents()) == {"a.md", "docs/b.md"}


async def test_bucket_in_syncs(tmp_path: Path, s3_server: S3Server) -> None:
    s3_server.make_bucket("in-syncs")
    keys = {"key_id": s3_server.access_key_id, "secret": s3_server.secret_access_key}
    store = build_store("in-syncs", prefix="", endpoint=s3_server.url, region=REGION, **keys)
    for name in ("a.md", "b.md", "c.md"):
        await store.put_async(name, f"What {name} says".encode())
    s3 = S3Source(
        endpoint=s3_server.url, region=REGION, bucket="in-syncs", access_key_id=KEY_ID, secret_access_key=SECRET
    )
    secrets = FixedSecrets({KEY_ID: keys["key_id"], SECRET: keys["secret"]})
    site = make_sync(tmp_path, Source(name="files", s3=s3), secrets)
    assert (await site.sync()).counts.added == 3
    embedded = len(site.embedder.texts)

    writes = watch_writes(site)
    counts = (await site.sync()).counts
    assert (counts.unchanged, counts.fetched_bytes) == (3, 0)
    assert writes == []
    assert len(site.embedder.texts) == embedded

    await store.put_async("a.md", b"What a says now")
    await store.delete_async("c.md")
    counts = (await site.sync()).counts
    assert (counts.unchanged, counts.changed, counts.removed) == (1, 1, 1)
    secrets.values[SECRET] = "rotated, and not told"
    assert (await site.sync()).counts.removed == 0
    assert set(await site.contents()) == {"a.md", "b.md"}
