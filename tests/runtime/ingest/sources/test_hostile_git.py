"""Git servers and repositories that mean no good."""

import asyncio
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import Tree

from syntera_runtime.ingest.sources.git import GitLimits
from syntera_runtime.models.knowledge import Failing
from tests.runtime.ingest.sources.git_server import KINDS, App, Repository, made_repository, make_app, running_app
from tests.runtime.ingest.sources.site import fetched, missed
from tests.runtime.ingest.sources.test_git import make_source, read

MEGABYTE = 1024 * 1024
KIND = KINDS[-1]
REFS, RESULT = "application/x-git-upload-pack-advertisement", "application/x-git-upload-pack-result"
ID = b"a" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with made_repository(tmp_path / "docs.git") as repository:
        yield repository


def packet(content: bytes) -> bytes:
    return b"%04x" % (len(content) + 4) + content


ADVERTISED = (
    packet(b"# service=git-upload-pack\n")
    + b"0000"
    + packet(ID + b" HEAD\x00multi_ack side-band-64k ofs-delta shallow symref=HEAD:refs/heads/main\n")
    + packet(ID + b" refs/heads/main\n")
    + b"0000"
)
BEFORE_PACK = packet(b"shallow " + ID + b"\n") + b"0000" + packet(b"NAK\n")


def saying(refs: Iterable[bytes], pack: Iterable[bytes] = ()) -> App:
    """A server that says just that."""

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        is_first = environ["REQUEST_METHOD"] == "GET"
        start("200 OK", [("Content-Type", REFS if is_first else RESULT)])
        return refs if is_first else pack

    return app


async def read_from(app: App, folder: Path, **options: Any) -> Failing:
    """Why the source as a whole was missed."""
    with running_app(app) as server:
        items = await read(make_source(server.url()), folder, **options)
    assert [item.path for item in items] == [None]
    return missed(items)[None].reason


async def test_file_of_many_zeros_fails_alone(repository: Repository, tmp_path: Path) -> None:
    """Few bytes in the pack, so the bound of the pack says nothing."""
    repository.commit({"a.md": "a", "bomb.md": bytes(200 * MEGABYTE)})
    with running_app(make_app(KIND, repository)) as server:
        tracemalloc.start()
        try:
            items = await read(make_source(server.url()), tmp_path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert set(fetched(items)) == {"a.md"}
    assert missed(items)["bomb.md"].reason is Failing.TOO_LARGE
    # The server of the test may be of this process.
    assert KIND != "git" or peak < 64 * MEGABYTE


async def test_repository_without_an_end_is_left_at_the_bound(tmp_path: Path) -> None:
    sent = 0

    def flood() -> Iterator[bytes]:
        nonlocal sent
        yield BEFORE_PACK
        while sent < 2000:
            sent += 1
            yield packet(b"\x01" + b"x" * 65_000)

    reason = await read_from(saying([ADVERTISED], flood()), tmp_path, limits=GitLimits(pack_bytes=4 * MEGABYTE))
    assert reason is Failing.TOO_LARGE
    assert sent < 500


async def test_branches_without_an_end_are_left_at_the_bound(tmp_path: Path) -> None:
    def flood() -> Iterator[bytes]:
        yield ADVERTISED[:-4]
        for number in range(1_000_000):
            yield packet(ID + b" refs/heads/%d%s\n" % (number, b"x" * 200)) * 100

    assert await read_from(saying(flood()), tmp_path) is Failing.TOO_LARGE


async def test_progress_without_an_end_is_left_at_the_bound(tmp_path: Path) -> None:
    def flood() -> Iterator[bytes]:
        yield BEFORE_PACK
        while True:
            yield packet(b"\x02" + b"x" * 65_000)

    assert await read_from(saying([ADVERTISED], flood()), tmp_path) is Failing.TOO_LARGE


async def test_server_that_drips_is_given_up(tmp_path: Path) -> None:
    def drip() -> Iterator[bytes]:
        import time

        yield BEFORE_PACK
        while True:
            time.sleep(0.02)
            yield packet(b"\x02x")

    async with asyncio.timeout(10):
        reason = await read_from(saying([ADVERTISED], drip()), tmp_path, limits=GitLimits(seconds=0.5))
    assert reason is Failing.TOOK_TOO_LONG


@pytest.mark.parametrize(
    "refs",
    [
        b"",
        b"0000",
        b"<html>",
        b"zzzz",
        b"ffff",
        b"0001",
        packet(b"# service=git-receive-pack\n"),
        packet(b"# service=git-upload-pack\n") + b"0000" + packet(b"ERR no\n"),
        packet(b"version 2\n") + packet(b"fetch=shallow filter\n"),
        packet(b"version 9\n"),
        ADVERTISED[:-30],
        ADVERTISED.replace(ID, b"\xff" * 40),
        ADVERTISED.replace(ID, b"a" * 64),
    ],
)
async def test_server_that_speaks_nonsense_is_told(tmp_path: Path, refs: bytes) -> None:
    async with asyncio.timeout(10):
        reason = await read_from(saying([refs], [b"nonsense"]), tmp_path)
    assert reason in (Failing.BROKEN, Failing.NOT_FOUND, Failing.UNSUPPORTED, Failing.UNAVAILABLE)


@pytest.mark.parametrize(
    "pack",
    [
        b"",
        BEFORE_PACK,
        BEFORE_PACK + b"0000",
        BEFORE_PACK + packet(b"\x01PACK") + b"0000",
        BEFORE_PACK + packet(b"\x03you\x1b[31m fool\n") + b"0000",
        BEFORE_PACK + packet(b"\x09x"),
        packet(b"shallow x") * 5,
        BEFORE_PACK + packet(b"\x01PACK\x00\x00\x00\x02\x00\x00\x00\x00" + bytes(20)) + b"0000",
    ],
)
async def test_pack_that_is_none_is_told(tmp_path: Path, pack: bytes) -> None:
    async with asyncio.timeout(10):
        assert await read_from(saying([ADVERTISED], [pack]), tmp_path) is Failing.BROKEN


async def test_pack_is_fetched_from_nowhere_else(tmp_path: Path) -> None:
    """Protocol 2 lets a server name other places for packs."""
    elsewhere = packet(b"packfile-uris\n") + packet(b"https://169.254.169.254/pack sha1 " + ID + b"\n")
    requests: list[str] = []

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        requests.append(environ["PATH_INFO"])
        if environ["REQUEST_METHOD"] == "GET":
            start("200 OK", [("Content-Type", REFS)])
            return [packet(b"version 2\n"), packet(b"ls-refs\n"), packet(b"fetch=shallow\n"), b"0000"]
        start("200 OK", [("Content-Type", RESULT)])
        if b"ls-refs" in body:
            return [packet(ID + b" HEAD\n"), b"0000"]
        return [packet(b"shallow-info\n"), b"0001", elsewhere, packet(b"packfile\n"), b"0000"]

    assert await read_from(app, tmp_path) is Failing.REFUSED
    assert len(requests) == 3


async def test_website_is_no_git_server(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("Content-Type", "text/html")])
        return [b"<html>"]

    assert await read_from(app, tmp_path) is Failing.UNSUPPORTED


async def test_folders_that_multiply_are_left(repository: Repository, tmp_path: Path) -> None:
    """Ten folders, each with ten times the one below."""
    inner = Tree()
    inner.add(b"a.md", 0o100644, repository.store_blob(b"a"))
    for _ in range(10):
        outer = Tree()
        for number in range(10):
            outer.add(b"%d" % number, 0o040000, repository.store(inner))
        inner = outer
    repository.commit_tree(repository.store(inner))
    with running_app(make_app(KIND, repository)) as server:
        async with asyncio.timeout(60):
            items = await read(make_source(server.url()), tmp_path)
    assert missed(items)[None].reason is Failing.TOO_LARGE


async def test_folders_that_are_too_deep_are_left(repository: Repository, tmp_path: Path) -> None:
    inner = Tree()
    for _ in range(2000):
        outer = Tree()
        outer.add(b"d", 0o040000, repository.store(inner))
        inner = outer
    repository.commit_tree(repository.store(inner))
    with running_app(make_app(KIND, repository)) as server:
        items = await read(make_source(server.url()), tmp_path)
    assert missed(items)[None].reason is Failing.TOO_LARGE


async def test_paths_that_lead_elsewhere_or_are_no_text_fail_alone(repository: Repository, tmp_path: Path) -> None:
    content = repository.store_blob(b"content")
    tree, odd = Tree(), Tree()
    odd.add(b"passwd.md", 0o100644, content)
    names = [
        b"good.md",
        b"\xff.md",
        b"a\nb.md",
        b"a\x00".strip(b"\x00") + b"\x1b[2J.md",
        b"\xc2\x85.md",
        b"x/../../y.md",
    ]
    for name in names:
        tree.add(name, 0o100644, content)
    for name in (b"..", b".", b".git"):
        tree.add(name, 0o040000, repository.store(odd))
    repository.commit_tree(repository.store(tree))
    with running_app(make_app("dulwich", repository)) as server:
        items = await read(make_source(server.url()), tmp_path)
    assert set(fetched(items)) == {"good.md", ".git/passwd.md"}
    assert {one.reason for one in missed(items).values()} == {Failing.UNSUPPORTED}
    told = [path for path in missed(items) if path is not None]
    assert len(told) == 6  # two of them are spelled alike
    assert not any(character < " " for path in told for character in path)


async def test_names_of_documents_are_told_once(repository: Repository, tmp_path: Path) -> None:
    """Names that differ in bytes that are no text are spelled alike."""
    content = repository.store_blob(b"content")
    tree = Tree()
    for name in (b"\xff.md", b"\xfe.md", b"good.md"):
        tree.add(name, 0o100644, content)
    repository.commit_tree(repository.store(tree))
    with running_app(make_app("dulwich", repository)) as server:
        items = await read(make_source(server.url()), tmp_path)
    assert len(items) == 2
