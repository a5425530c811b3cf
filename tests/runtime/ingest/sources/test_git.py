"""Files of git repositories, from real servers."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from dulwich.objects import Tag
from dulwich.refs import Ref

from syntera_crds.contract.agent_config import SecretKey
from syntera_crds.contract.knowledge_config import GitSource, Source
from syntera_runtime.egress.targets import EgressPolicy
from syntera_runtime.ingest.items import Item, Known, Same
from syntera_runtime.ingest.sources.git import GitFiles, GitLimits
from syntera_runtime.ingest.sources.git_urls import file_url
from syntera_runtime.models.knowledge import Failing
from tests.runtime.adapters.fixed_secrets import FixedSecrets
from tests.runtime.ingest.sources.git_server import (
    KINDS,
    NAME,
    App,
    GitServer,
    Repository,
    made_repository,
    make_app,
    running_app,
)
from tests.runtime.ingest.sources.site import BAD, GOOD, NamedResolver, fetched, missed, opening, remember, same
from tests.support.certificates import make_certificate

USERNAME, PASSWORD = SecretKey(name="git", key="username"), SecretKey(name="git", key="password")
SECRETS = FixedSecrets({USERNAME: "reader\n", PASSWORD: "token\n"})


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Repository]:
    with made_repository(tmp_path / "docs.git") as repository:
        yield repository


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, repository: Repository) -> Iterator[GitServer]:
    with running_app(make_app(request.param, repository)) as server:
        yield server


def make_source(url: str, **git: object) -> Source:
    return Source(name="git", git=GitSource.model_validate({"url": url, **git}))


@contextmanager
def opened(
    source: Source,
    folder: Path,
    *,
    limits: GitLimits | None = None,
    resolver: NamedResolver | None = None,
    policy: EgressPolicy | None = None,
    trust: ssl.SSLContext | None = None,
) -> Iterator[GitFiles]:
    place = folder / "temporary"
    place.mkdir(exist_ok=True)
    open_http = opening(resolver=resolver, policy=policy, trust=trust)
    yield GitFiles(source, open_http, SECRETS, folder=place, limits=limits or GitLimits())
    assert list(place.iterdir()) == []


async def read(source: Source, folder: Path, *, known: Mapping[str, Known] | None = None, **options: Any) -> list[Item]:
    """Everything that the source says, each path once; nothing of it is left on the disk."""
    with opened(source, folder, **options) as files:
        async with asyncio.timeout(60):
            items = [item async for item in files.read(known or {})]
    paths = [item.path for item in items]
    assert len(paths) == len(set(paths))
    return items


async def test_wanted_files_are_documents(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    repository.commit({"README.md": "# Old", "docs/a.md": "old"})
    repository.commit(
        {
            "README.md": "# Docs",
            "docs/a.md": "a" * 5000,
            "docs/deep/ä b.txt": "b",
            "docs/image.png": b"\x89PNG",
            "src/main.py": "print()",
        },
        links={"docs/link.md": "/etc/passwd"},
        submodules=["docs/module.md"],
    )
    items = await read(make_source(server.url()), tmp_path)
    assert {path: one.content for path, one in fetched(items).items()} == {
        "README.md": b"# Docs",
        "docs/a.md": b"a" * 5000,
        "docs/deep/ä b.txt": b"b",
    }
    assert not missed(items)
    found = fetched(items)["docs/deep/ä b.txt"]
    assert (found.name, found.facts.title, found.facts.size, found.facts.url) == ("ä b.txt", "ä b.txt", 1, None)
    assert found.facts.modified_at is None
    globs = await read(make_source(server.url(), paths=["docs/*.md", "src/**/*.py"]), tmp_path)
    assert set(fetched(globs)) == {"docs/a.md", "src/main.py"}


async def test_history_is_not_fetched(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    old = "".join(str(number * number) for number in range(200_000))
    repository.commit({"old.txt": old})
    repository.commit({"new.txt": "new"})
    items = await read(make_source(server.url()), tmp_path, limits=GitLimits(pack_bytes=10_000))
    assert set(fetched(items)) == {"new.txt"}


async def test_files_that_are_as_they_were_are_not_read(
    repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    repository.commit({"a.md": "a", "b.md": "b", "c.md": "c"})
    source = make_source(server.url())
    known = remember(await read(source, tmp_path))
    repository.commit({"a.md": "a", "b.md": "changed", "new.md": "new"}, commit_time=1_710_000_000)
    items = await read(source, tmp_path, known=known)
    assert same(items) == {"a.md"}
    assert {path: one.facts.modified_at for path, one in fetched(items).items()} == {
        "b.md": datetime.fromtimestamp(1_710_000_000, UTC),
        "new.md": None,
    }
    assert {item.path for item in items} == {"a.md", "b.md", "new.md"}
    assert Same("a.md") in items


async def test_file_that_was_taken_out_is_not_read(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    repository.commit({"a.md": "a", "b.md": "b"})
    items = await read(make_source(server.url()), tmp_path, known={"a.md": Known(None, {}, is_excluded=True)})
    assert [item.path for item in items] == ["b.md"]


async def test_branch_tag_or_commit_is_read(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    first = repository.commit({"a.md": "first"})
    repository.commit({"a.md": "on a branch"}, branch="release/1.0")
    repository.commit({"a.md": "newest"})
    tag = Tag()
    tag.name, tag.tagger, tag.message = b"v1", b"A <a@example.com>", b"a tag"
    tag.tag_time, tag.tag_timezone = 1_700_000_000, 0
    tag.object = (type(repository.repo[first.encode()]), first.encode())
    repository.repo.object_store.add_object(tag)
    repository.repo.refs[Ref(b"refs/tags/v1")] = tag.id
    repository.repo.refs[Ref(b"refs/tags/light")] = first.encode()  # type: ignore[assignment]
    expected = {
        None: b"newest",
        "main": b"newest",
        "release/1.0": b"on a branch",
        "refs/heads/release/1.0": b"on a branch",
        "v1": b"first",
        "light": b"first",
    }
    for ref, content in expected.items():
        items = await read(make_source(server.url(), ref=ref), tmp_path)
        assert [one.content for one in fetched(items).values()] == [content], (ref, items)
    for ref in ("none", "mai", "release", "a b\n"):
        [only] = missed(await read(make_source(server.url(), ref=ref), tmp_path)).values()
        assert (only.path, only.reason) == (None, Failing.NOT_FOUND)


@pytest.mark.skipif("git" not in KINDS, reason="needs git's own server, which is asked for any commit")
async def test_commit_is_read_by_its_id(repository: Repository, tmp_path: Path) -> None:
    first = repository.commit({"a.md": "first"})
    repository.commit({"a.md": "newest"})
    with running_app(make_app("git", repository)) as server:
        items = await read(make_source(server.url(), ref=first), tmp_path)
    assert [one.content for one in fetched(items).values()] == [b"first"]


async def test_repository_without_a_commit_is_told(server: GitServer, tmp_path: Path) -> None:
    [only] = await read(make_source(server.url()), tmp_path)
    assert missed([only])[None].reason is Failing.NOT_FOUND


async def test_repository_that_is_not_there_is_told(server: GitServer, tmp_path: Path) -> None:
    [only] = await read(make_source(server.url("/none.git")), tmp_path)
    assert missed([only])[None].reason is Failing.NOT_FOUND


async def test_large_files_and_pointers_fail_alone(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 12345\n"
    repository.commit({"a.md": "a", "large.md": bytes(3_000_000), "lfs.pdf": pointer})
    items = await read(make_source(server.url()), tmp_path, limits=GitLimits(file_bytes=1_000_000))
    assert set(fetched(items)) == {"a.md"}
    assert {path: one.reason for path, one in missed(items).items()} == {
        "large.md": Failing.TOO_LARGE,
        "lfs.pdf": Failing.UNSUPPORTED,
    }


async def test_differences_between_objects_are_understood(
    repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    text = "\n".join(f"line {number} of the text" for number in range(5000))
    files = {f"{number}.md": text.replace(f"line {number} ", "another line ") for number in range(30)}
    repository.commit(files)
    from dulwich.porcelain import repack

    repack(str(repository.path))
    items = await read(make_source(server.url()), tmp_path)
    assert {path: one.content.decode() for path, one in fetched(items).items()} == files


def guarding(app: App, *, expected: str) -> App:
    """The app for whoever brings these credentials."""

    def guarded(environ: dict[str, Any], start: Any) -> Any:
        wanted = "Basic " + b64encode(expected.encode()).decode()
        if environ.get("HTTP_AUTHORIZATION") == wanted:
            return app(environ, start)
        start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
        return [b""]

    return guarded


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"username": USERNAME, "password": PASSWORD}, "reader:token"),
        ({"password": PASSWORD}, "oauth2:token"),
        ({}, None),
        ({"password": SecretKey(name="git", key="none")}, None),
    ],
)
async def test_credentials_are_sent(
    repository: Repository, tmp_path: Path, keys: dict[str, SecretKey], expected: str | None
) -> None:
    repository.commit({"a.md": "a"})
    with running_app(guarding(make_app("dulwich", repository), expected=expected or "x:y")) as server:
        items = await read(make_source(server.url(), **keys), tmp_path)
    if expected is None:
        assert missed(items)[None].reason is Failing.REFUSED
        assert "token" not in missed(items)[None].message
    else:
        assert set(fetched(items)) == {"a.md"}


async def test_certificate_must_be_that_of_the_server(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.md": "a"})
    certificate = make_certificate()
    for file, text in zip(("cert.pem", "key.pem"), certificate, strict=True):
        (tmp_path / file).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    trust = ssl.create_default_context(cadata=certificate[0])
    with running_app(make_app("dulwich", repository), context) as server:
        items = await read(make_source(server.url(host="localhost")), tmp_path, trust=trust)
        assert set(fetched(items)) == {"a.md"}
        items = await read(make_source(server.url(host="git.example")), tmp_path, trust=trust)
        assert missed(items)[None].reason is Failing.REFUSED


async def test_private_address_is_refused(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    repository.commit({"a.md": "a"})
    items = await read(make_source(server.url()), tmp_path, resolver=NamedResolver(git=[[BAD]]))
    assert missed(items)[None].reason is Failing.REFUSED
    assert server.requests == []


async def test_public_server_is_not_asked_by_http(server: GitServer, tmp_path: Path) -> None:
    items = await read(make_source("http://git.example/docs.git"), tmp_path, policy=EgressPolicy())
    assert missed(items)[None].reason is Failing.REFUSED


async def test_server_whose_name_changes_its_address_is_not_asked_again(
    repository: Repository, server: GitServer, tmp_path: Path
) -> None:
    repository.commit({"a.md": "a"})
    items = await read(make_source(server.url()), tmp_path, resolver=NamedResolver(git=[[GOOD], [BAD]]))
    assert missed(items)[None].reason is Failing.REFUSED
    assert len(server.requests) == 1


async def test_redirect_on_the_same_server_is_followed(repository: Repository, tmp_path: Path) -> None:
    repository.commit({"a.md": "a"})
    app = make_app("dulwich", repository)

    def moved(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"].startswith("/old"):
            path = environ["PATH_INFO"].replace("/old", NAME, 1)
            start("301 Moved", [("Location", f"{path}?{environ['QUERY_STRING']}")])
            return [b""]
        return app(environ, start)

    with running_app(moved) as server:
        items = await read(make_source(server.url("/old")), tmp_path)
    assert set(fetched(items)) == {"a.md"}


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/info/refs?service=git-upload-pack", "https://elsewhere.example/", "file:///etc", ""],
)
async def test_redirect_to_another_server_is_refused(tmp_path: Path, location: str) -> None:
    def app(environ: dict[str, Any], start: Any) -> Any:
        start("302 Found", [("Location", location)])
        return [b""]

    with running_app(app) as server:
        items = await read(make_source(server.url(), password=PASSWORD), tmp_path)
        assert missed(items)[None].reason is Failing.REFUSED
        assert len(server.requests) <= 3  # nothing at all is the same place again


@pytest.mark.parametrize("url", ["ssh://git.example/x", "git@github.com:a/b.git", "https://u:p@git.example/", "/etc"])
async def test_url_that_is_none_is_told(tmp_path: Path, url: str) -> None:
    [only] = await read(make_source(url), tmp_path)
    assert missed([only])[None].reason is Failing.REFUSED


async def test_disk_without_room_is_told(repository: Repository, server: GitServer, tmp_path: Path) -> None:
    repository.commit({"a.md": "a"})
    files = GitFiles(make_source(server.url()), opening(), SECRETS, folder=tmp_path / "none")
    [only] = [item async for item in files.read({})]
    assert missed([only])[None].reason is Failing.TOO_LARGE


async def test_who_is_cancelled_leaves_nothing_running(tmp_path: Path) -> None:
    """The server answers after a while only; nobody waits for that."""
    asked, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def app(environ: dict[str, Any], start: Any) -> Any:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result()
        start("404 Not Found", [])
        return [b""]

    with running_app(app) as server:
        try:
            with opened(make_source(server.url()), tmp_path) as files:
                reading = asyncio.ensure_future(anext(files.read({})))
                await asyncio.wait_for(asked.wait(), 10)
                reading.cancel()
                async with asyncio.timeout(5):
                    with pytest.raises(asyncio.CancelledError):
                        await reading
        finally:
            answer.set()
            await asyncio.sleep(0)
            await asyncio.to_thread(lambda: None)


@pytest.mark.parametrize(
    ("repository", "page"),
    [
        ("https://github.com/a/b.git", "https://github.com/a/b/blob/main/docs/%C3%A4%20b.md"),
        ("https://github.com/a/b/", "https://github.com/a/b/blob/main/docs/%C3%A4%20b.md"),
        ("https://gitlab.com/a/b/c.git", "https://gitlab.com/a/b/c/-/blob/main/docs/%C3%A4%20b.md"),
        ("https://gitlab.acme.example/a/b", "https://gitlab.acme.example/a/b/-/blob/main/docs/%C3%A4%20b.md"),
        ("https://bitbucket.org/a/b.git", "https://bitbucket.org/a/b/src/main/docs/%C3%A4%20b.md"),
        ("https://git.acme.example/a/b.git", None),
    ],
)
def test_page_of_a_file_is_told_where_it_is_known(repository: str, page: str | None) -> None:
    assert file_url(repository, "main", "docs/ä b.md") == page
