"""Objects of a bucket: of a real server, and of one that means no good."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import S3Source, Source
from syntera_runtime.adapters.s3_blobs import build_store
from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.ingest.items import Item, Known
from syntera_runtime.ingest.sources.s3 import S3Limits, S3Objects
from syntera_runtime.models.knowledge import Failing
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.ingest.sources.site import Page, Site, fetched, missed, opening, remember, running_site, same
from tests.support.s3_server import REGION, S3Server
from tests.support.servers import free_port

KEY_ID, SECRET = SecretKey(name="bucket", key="id"), SecretKey(name="bucket", key="secret")


@dataclass(slots=True)
class Bucket:
    """One of the session's server."""

    server: S3Server
    name: str
    folder: Path

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Objects."""
        server = self.server
        store = build_store(
            self.name,
            prefix="",
            endpoint=server.url,
            region=REGION,
            key_id=server.access_key_id,
            secret=server.secret_access_key,
        )
        for name, content in files.items():
            await store.put_async(name, content)

    async def read(
        self, *, known: Mapping[str, Known] | None = None, limits: S3Limits | None = None, **s3: object
    ) -> list[Item]:
        """Everything that a source of it says."""
        told = {"endpoint": self.server.url, "bucket": self.name, **s3}
        secrets = FixedSecrets({KEY_ID: self.server.access_key_id, SECRET: f"{self.server.secret_access_key}\n"})
        return await read_source(make_source(**told), secrets, known=known, limits=limits)


def make_source(**s3: object) -> Source:
    told = {"region": REGION, "access_key_id": KEY_ID, "secret_access_key": SECRET, **s3}
    return Source(name="files", audience=["authenticated"], s3=S3Source.model_validate(told))


async def read_source(
    source: Source,
    secrets: FixedSecrets,
    *,
    known: Mapping[str, Known] | None = None,
    limits: S3Limits | None = None,
    policy: EgressPolicy | None = None,
) -> list[Item]:
    async with asyncio.timeout(60):
        policy = policy or EgressPolicy(networks=[ip_network("127.0.0.0/8")], never=())
        open_http = opening(policy=policy)
        objects = S3Objects(source, open_http, secrets, open_bucket=build_store, limits=limits or S3Limits())
        items = [item async for item in objects.read(known or {})]
    paths = [item.path for item in items]
    assert len(paths) == len(set(paths))
    return items


@pytest.fixture
def bucket(s3_server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    name = f"sources-{abs(hash(request.node.name))}"
    return Bucket(s3_server, name, s3_server.make_bucket(name))


async def test_objects_of_known_formats_are_documents(bucket: Bucket) -> None:
    await bucket.put(
        {
            "a.md": b"# A",
            "deep/er/b.txt": b"b" * 3_000_000,
            "image.png": b"\x89PNG",
            "none": b"",
            "ä b+c&d.html": b"<p>",
        }
    )
    items = await bucket.read()
    assert {path: one.content for path, one in fetched(items).items()} == {
        "a.md": b"# A",
        "deep/er/b.txt": b"b" * 3_000_000,
        "ä b+c&d.html": b"<p>",
    }
    assert not missed(items)
    found = fetched(items)["deep/er/b.txt"]
    assert (found.name, found.facts.title, found.facts.url, found.facts.size) == ("b.txt", "b.txt", None, 3_000_000)
    assert found.facts.audience == {"authenticated"}
    assert found.facts.modified_at is not None
    assert abs(found.facts.modified_at - datetime.now(UTC)) < timedelta(hours=1)


async def test_prefix_and_globs_choose_objects(bucket: Bucket) -> None:
    names = ("docs/a.md", "docs/old/b.md", "docs/c.py", "docsold/d.md", "e.md")
    await bucket.put(dict.fromkeys(names, b"x"))
    assert set(fetched(await bucket.read(prefix="docs"))) == {"docs/a.md", "docs/old/b.md"}
    assert set(fetched(await bucket.read(prefix="/docs/"))) == {"docs/a.md", "docs/old/b.md"}
    assert set(fetched(await bucket.read(prefix="docs", include=["*.md", "*.py"]))) == {"docs/a.md", "docs/c.py"}
    assert set(fetched(await bucket.read(include=["*/old/**"]))) == {"docs/old/b.md"}
    assert await bucket.read(prefix="none") == []


async def test_objects_that_are_as_they_were_are_not_read(bucket: Bucket) -> None:
    await bucket.put({"a.md": b"a", "b.md": b"b"})
    known = remember(await bucket.read())
    (bucket.folder / "b.md").unlink()
    await bucket.put({"c.md": b"c"})
    items = await bucket.read(known=known)
    assert same(items) == {"a.md"}
    assert set(fetched(items)) == {"c.md"}
    assert len(items) == 2


async def test_object_that_was_taken_out_is_not_read(bucket: Bucket) -> None:
    await bucket.put({"a.md": b"a", "b.md": b"b"})
    items = await bucket.read(known={"a.md": Known(None, {}, is_excluded=True)})
    assert [item.path for item in items] == ["b.md"]


async def test_large_object_fails_alone(bucket: Bucket) -> None:
    await bucket.put({"a.md": b"a", "b.md": b"b" * 2000})
    items = await bucket.read(limits=S3Limits(object_bytes=1000))
    assert set(fetched(items)) == {"a.md"}
    assert missed(items)["b.md"].reason is Failing.TOO_LARGE


async def test_bucket_that_is_not_there_is_told(bucket: Bucket) -> None:
    [only] = await bucket.read(bucket="no-such-bucket")
    assert missed([only])[None].reason is Failing.NOT_FOUND


async def test_keys_that_are_wrong_are_told(bucket: Bucket) -> None:
    wrong = FixedSecrets({KEY_ID: bucket.server.access_key_id, SECRET: "wrong"})
    missing = FixedSecrets({KEY_ID: bucket.server.access_key_id})
    for secrets in (wrong, missing):
        [only] = await read_source(make_source(endpoint=bucket.server.url, bucket=bucket.name), secrets)
        assert missed([only])[None].reason is Failing.REFUSED
        assert bucket.server.access_key_id not in missed([only])[None].message


async def test_server_that_is_not_there_is_told(bucket: Bucket) -> None:
    [only] = await bucket.read(endpoint=f"http://127.0.0.1:{free_port()}")
    assert missed([only])[None].reason is Failing.UNAVAILABLE
    for endpoint in ("nonsense", "ftp://x", "http://[::1", "http://a b/"):
        [only] = await bucket.read(endpoint=endpoint)
        assert missed([only])[None].reason is Failing.REFUSED
    [only] = await bucket.read(bucket="a/../b")
    assert missed([only])[None].reason is Failing.REFUSED


async def test_server_that_nobody_may_reach_is_not_asked() -> None:
    secrets = FixedSecrets({KEY_ID: "id", SECRET: "secret"})
    async with running_site() as site:
        for policy in (EgressPolicy(), EgressPolicy.of(["private.example"], ["127.0.0.0/8"])):
            for host in (f"127.0.0.2:{site.port}", f"private.example:{site.port}"):
                source = make_source(endpoint=f"http://{host}", bucket="bucket")
                [only] = await read_source(source, secrets, policy=policy)
                assert missed([only])[None].reason is Failing.REFUSED
        assert site.requests == []


# --- a server that means no good ---


@dataclass(slots=True)
class Listing:
    """What it says of its objects."""

    names: list[str] = field(default_factory=list)
    size: int = 5

    def page(self, *, token: str = "") -> Page:
        """One page of the list; with a token there is another one."""
        entries = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{number}&quot;</ETag><Size>{self.size}</Size></Contents>"
            for number, name in enumerate(self.names)
        )
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>" if token else ""
        return Page(
            f'<?xml version="1.0"?><ListBucketResult><Name>b</Name><KeyCount>1</KeyCount>{more}{entries}</ListBucketResult>',
            headers={"Content-Type": "application/xml"},
        )


@asynccontextmanager
async def hostile(listing: Callable[[str], Page], content: Page) -> AsyncIterator[Site]:
    async with running_site() as site:
        site.make = lambda path: listing(path) if "list-type" in path else content
        yield site


def object_page(body: object = b"hello", **headers: str) -> Page:
    said = {"ETag": '"1"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Length": "5", **headers}
    return Page(body, headers=said)  # type: ignore[arg-type]


async def read_hostile(listing: Callable[[str], Page], content: Page | None = None, **options: object) -> list[Item]:
    secrets = FixedSecrets({KEY_ID: "id", SECRET: "secret"})
    async with hostile(listing, content or object_page()) as site:
        source = make_source(endpoint=f"http://127.0.0.2:{site.port}", bucket="b")
        return await read_source(source, secrets, **options)  # type: ignore[arg-type]


async def test_names_that_no_document_may_have_fail_alone() -> None:
    names = ["good.md", "\x85.md", "x" * 2050 + ".md"]
    items = await read_hostile(lambda _: Listing(names).page())
    assert set(fetched(items)) == {"good.md"}
    assert {one.reason for one in missed(items).values()} == {Failing.UNSUPPORTED}
    assert len(items) == 3


@pytest.mark.parametrize("name", ["../../etc/passwd.md", "a//b.md", "./a.md", "a\tb.md"])
async def test_name_that_is_no_path_is_told_and_nothing_is_lost(name: str) -> None:
    items = await read_hostile(lambda _: Listing(["a.md", name]).page())
    assert {path: one.reason for path, one in missed(items).items()} == {None: Failing.BROKEN}


async def test_names_that_are_one_path_to_the_client_are_one_document() -> None:
    items = await read_hostile(lambda _: Listing(["a.md", "/a.md"]).page())
    assert [item.path for item in items] == ["a.md"]


async def test_object_that_is_larger_than_it_says_is_left_at_the_bound() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(500):
            writer.write(b"x" * 1024 * 1024)
            sent += 1
            await writer.drain()

    content = object_page(flood, **{"Content-Length": str(500 * 1024 * 1024)})
    items = await read_hostile(lambda _: Listing(["a.md"]).page(), content)
    assert missed(items)["a.md"].reason is Failing.TOO_LARGE
    assert sent < 100


async def test_list_without_an_end_is_left_when_the_time_is_over() -> None:
    items = await read_hostile(lambda _: Listing(["a.png"]).page(token="more"), limits=S3Limits(seconds=0.5))
    assert missed(items)[None].reason is Failing.TOOK_TOO_LONG


async def test_list_that_is_none_is_told() -> None:
    for body in ("<html>", "", "<ListBucketResult>", '<!DOCTYPE x [<!ENTITY a "b">]><ListBucketResult>&a;'):
        items = await read_hostile(lambda _, body=body: Page(body))  # type: ignore[misc]
        assert set(missed(items)) <= {None}
        assert not fetched(items)
