"""Files of a git repository: one commit is fetched, without its history, and its wanted files are documents.

Nothing is checked out, no hook and no filter runs, and paths of the repository never become paths of this machine. Symbolic
links and submodules are passed by. The pack is kept in a temporary folder while it is read.
"""

import asyncio
import stat
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from dulwich.lfs import LFSPointer
from dulwich.object_store import ObjectStoreGraphWalker
from dulwich.objects import Commit, ObjectID, Tag, parse_tree
from dulwich.refs import Ref

from syntera_crds.contract.knowledge_config import GitSource, Source

from ...egress.targets import TargetRefused, parse_target
from ...errors import SecretMissing
from ...models.knowledge import DocumentFacts, Failing
from ...ports.configuration import Secrets
from ..items import Fetched, Item, Known, Missed, Same
from .deadline import Deadline
from .git_http import GitMissed, GuardedGitClient, Loop
from .git_pack import Pack, PackBroken, PackTooLarge
from .git_urls import file_url
from .globs import Globs, is_nameable, spell
from .web_http import OpenHttp

_HEAD = Ref(b"HEAD")
_ID_DIGITS = 40
_MOST_ENTRIES = 500_000
"""Of all folders, each counted as often as it can be reached: a few can be nested so that there are more than atoms."""
_MOST_FILES = 50_000
_MOST_FOLDERS_DEEP = 100
_MOST_POINTER_BYTES = 1024
_FILE_SECONDS = 30
"""For unpacking one: it may be told as a long row of differences."""

log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GitLimits:
    """What reading a repository may take."""

    pack_bytes: int = 512 * 1024 * 1024
    """Of everything in the one commit, packed."""
    file_bytes: int = 25 * 1024 * 1024
    seconds: float = 1800.0
    """For fetching and looking through it."""


@dataclass(frozen=True, slots=True)
class _File:
    """A wanted file."""

    path: str
    blob: bytes
    """The id of its content."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A commit, with everything in it."""

    pack: Pack
    ref: str
    """What people call it."""
    committed_at: datetime | None
    files: tuple[_File, ...]
    unnameable: tuple[str, ...]
    """Paths of wanted files that cannot be written, as far as they can."""


class GitFiles:
    """`DocumentSource` of a git source."""

    def __init__(
        self,
        source: Source,
        open_http: OpenHttp,
        secrets: Secrets,
        *,
        folder: Path | None = None,
        limits: GitLimits = GitLimits(),
    ) -> None:
        """Args:
        folder: Where temporary files go; the system's place by default.
        """
        assert source.git is not None
        self._source = source
        self._git = source.git
        self._open_http = open_http
        self._secrets = secrets
        self._folder = folder
        self._limits = limits

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`."""
        with ExitStack() as stack:
            try:
                fetched = await self._fetch(stack)
            except GitMissed as missed:
                yield Missed(None, missed.reason, missed.message[:512])
                return
            except OSError as error:
                log.warning("no room for a repository", source=self._source.name, cause=type(error).__name__)
                yield Missed(None, Failing.TOO_LARGE, "There is no room for the repository on the disk of the sync.")
                return
            for path in fetched.unnameable:
                yield Missed(path, Failing.UNSUPPORTED, "The file's path holds characters that no document's name may.")
            for file in fetched.files:
                before = known.get(file.path)
                if before is not None and before.is_excluded:
                    continue
                if before is not None and before.content_hash and before.validators.get("blob") == file.blob.hex():
                    yield Same(file.path)
                else:
                    yield await asyncio.to_thread(self._read_file, fetched, file, before)

    async def _fetch(self, stack: ExitStack) -> _Fetched:
        """The commit.

        Raises:
            GitMissed: It cannot be had.
        """
        url = _check_url(self._git.url)
        username, password = self._credentials(url)
        loop = Loop(seconds=self._limits.seconds)
        # Credentials are sent, so no public server is asked by http, whatever the URL says.
        named = [url] if url.startswith("https:") else []
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="git-", dir=self._folder)))
        async with (
            self._open_http(named) as http,
            aclosing(GuardedGitClient(url, http, loop, username=username, password=password)) as client,
        ):
            fetching = _Fetching(client, self._git, self._limits, loop.check)
            fetched = await _in_thread(lambda: fetching.fetch(folder / "pack"), loop.stop)
        stack.callback(fetched.pack.close)
        return fetched

    def _credentials(self, url: str) -> tuple[str | None, str | None]:
        git = self._git
        try:
            username = None if git.username is None else self._secrets.value(git.username).strip()
            password = None if git.password is None else self._secrets.value(git.password).strip()
        except SecretMissing as error:
            raise GitMissed(Failing.REFUSED, error.message) from None
        if username is None and password is not None:
            # Hosts take any name beside a token but Bitbucket, which wants this one.
            username = "x-token-auth" if urlsplit(url).hostname == "bitbucket.org" else "oauth2"
        return username, password

    def _read_file(self, fetched: _Fetched, file: _File, before: Known | None) -> Item:
        try:
            deadline = Deadline(_FILE_SECONDS, time.monotonic)
            kind, content = fetched.pack.read(file.blob, check=lambda: _check(deadline))
        except _TookTooLong:
            return Missed(
                file.path, Failing.TOOK_TOO_LONG, f"Unpacking the file takes more than {_FILE_SECONDS} seconds."
            )
        except KeyError:
            return Missed(file.path, Failing.TOO_LARGE, f"The file has more than {self._limits.file_bytes} bytes.")
        except (PackBroken, PackTooLarge):
            return Missed(file.path, Failing.BROKEN, "The file cannot be read from what the git server has sent.")
        if kind != b"blob":
            return Missed(file.path, Failing.BROKEN, "The file cannot be read from what the git server has sent.")
        if len(content) <= _MOST_POINTER_BYTES and LFSPointer.from_bytes(content) is not None:
            return Missed(file.path, Failing.UNSUPPORTED, "The file is kept by Git LFS, which is not read.")
        name = file.path.rpartition("/")[2]
        facts = DocumentFacts(
            title=name,
            url=file_url(self._git.url, fetched.ref, file.path),
            media_type="application/octet-stream",
            language=self._source.language,
            audience=frozenset(self._source.audience),
            tags=frozenset(self._source.tags),
            # The commit is no older than the file's last change. That it is not much younger is known only of files that were
            # another in the last sync.
            modified_at=fetched.committed_at if _has_changed(file, before) else None,
            size=len(content),
        )
        return Fetched(file.path, content, facts, name, {"blob": file.blob.hex()})


class _Fetching:
    """What happens in the thread."""

    def __init__(self, client: GuardedGitClient, git: GitSource, limits: GitLimits, check: Callable[[], None]) -> None:
        self._client = client
        self._git = git
        self._limits = limits
        self._check = check
        self._globs = Globs(git.paths)
        self._wanted: bytes | None = None

    def fetch(self, path: Path) -> _Fetched:
        """The commit; its pack becomes the file.

        Raises:
            GitMissed: It cannot be had.
        """
        try:
            branch = self._receive(path)
            pack = Pack(path, most_object_bytes=self._limits.file_bytes, check=self._check)
        except PackTooLarge:
            raise _too_large() from None
        except PackBroken:
            raise _broken() from None
        try:
            return self._look_through(pack, branch)
        except BaseException:
            pack.close()
            raise

    def _receive(self, path: Path) -> str:
        """Write the pack; what people call its commit."""
        with path.open("wb") as file:
            size = 0

            def take(piece: bytes) -> int:
                nonlocal size
                self._client.count_pack()
                size += len(piece)
                if size > self._limits.pack_bytes:
                    raise _too_large()
                return file.write(piece)

            try:
                result = self._client.fetch_pack(
                    "",
                    self._choose,
                    ObjectStoreGraphWalker([], lambda _: []),
                    take,
                    depth=1,
                    ref_prefix=[name.encode() for name in _names(self._git.ref)],
                    filter_spec=b"blob:limit=%d" % (self._limits.file_bytes + 1),
                )
            except (GitMissed, OSError):
                raise
            except Exception as error:  # noqa: BLE001  # a parser of foreign bytes may raise anything
                log.info("git server was not understood", source=self._git.url, cause=type(error).__name__)
                raise _broken() from None
        head = result.symrefs.get(_HEAD)
        branch = "HEAD" if head is None else head.decode("utf-8", "replace").removeprefix("refs/heads/")
        return self._git.ref or branch

    def _choose(self, refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG002  # given
        """Which commit is wanted, of what the server has."""
        ref = self._git.ref
        found = next((refs[Ref(name.encode())] for name in _names(ref) if refs.get(Ref(name.encode()))), None)
        if found is None and ref is not None and _is_id(ref):
            found = ObjectID(ref.encode())
        if found is None:
            what = "has no commit yet" if ref is None else f"has no branch or tag {ref[:200]!r}"
            raise GitMissed(Failing.NOT_FOUND, f"The repository {what}.")
        if len(found) != _ID_DIGITS:
            raise GitMissed(Failing.UNSUPPORTED, "The repository names its objects by SHA-256, which is not read.")
        self._wanted = found
        return [found]

    def _look_through(self, pack: Pack, ref: str) -> _Fetched:
        try:
            assert self._wanted is not None
            commit = _find_commit(pack, bytes.fromhex(self._wanted.decode()), self._check)
            committed_at = datetime.fromtimestamp(commit.commit_time, UTC)
        except (OverflowError, OSError):
            committed_at = None
        except GitMissed:
            raise
        except Exception as error:  # noqa: BLE001  # a parser of foreign bytes may raise anything
            log.info("git commit was not understood", source=self._git.url, cause=type(error).__name__)
            raise _broken() from None
        files: dict[str, _File] = {}
        unnameable: set[str] = set()
        for path, blob in self._walk(pack, bytes.fromhex(commit.tree.decode())):
            if is_nameable(path):
                files.setdefault(path, _File(path, blob))
            else:
                unnameable.add(spell(path))
            if len(files) + len(unnameable) > _MOST_FILES:
                raise GitMissed(Failing.TOO_LARGE, f"More than {_MOST_FILES} files are wanted: choose them by paths.")
        return _Fetched(pack, ref, committed_at, tuple(files.values()), tuple(sorted(unnameable - files.keys())))

    def _walk(self, pack: Pack, root: bytes) -> Iterator[tuple[str, bytes]]:
        """Paths and contents of the wanted files."""
        waiting, entries = [("", root, 0)], 0
        while waiting:
            folder, tree, depth = waiting.pop()
            for name, mode, object_id in _read_tree(pack, tree, self._check):
                self._check()
                entries += 1
                if entries > _MOST_ENTRIES or depth > _MOST_FOLDERS_DEEP:
                    raise _too_large()
                path = folder + name.decode("utf-8", "replace").replace("/", "\ufffd")
                if stat.S_ISDIR(mode):
                    waiting.append((f"{path}/", object_id, depth + 1))
                elif stat.S_ISREG(mode) and self._globs.has_file(path):
                    yield path, object_id


class _TookTooLong(Exception):
    """One file keeps all others waiting."""


def _check(deadline: Deadline) -> None:
    if deadline.is_over:
        raise _TookTooLong


def _has_changed(file: _File, before: Known | None) -> bool:
    """Whether it was there with another content."""
    return before is not None and before.validators.get("blob") not in (None, file.blob.hex())


def _check_url(url: str) -> str:
    try:
        return parse_target(url).url
    except TargetRefused as error:
        raise GitMissed(Failing.REFUSED, f"The repository's URL {error}.") from None


def _names(ref: str | None) -> list[str]:
    """What a server calls a branch or a tag, the likeliest first."""
    if ref is None:
        return ["HEAD"]
    return [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]


def _is_id(ref: str) -> bool:
    return len(ref) == _ID_DIGITS and not set(ref) - set("0123456789abcdef")


def _find_commit(pack: Pack, object_id: bytes, check: Callable[[], None]) -> Commit:
    """The commit, behind as many tags as stand before it."""
    for _ in range(10):
        kind, content = pack.read(object_id, check=check)
        if kind == b"commit":
            commit = Commit.from_string(content)
            assert isinstance(commit, Commit)
            return commit
        tag = Tag.from_string(content)
        assert isinstance(tag, Tag)
        object_id = bytes.fromhex(tag.object[1].decode())
    raise PackBroken


def _read_tree(pack: Pack, tree: bytes, check: Callable[[], None]) -> list[tuple[bytes, int, bytes]]:
    try:
        kind, content = pack.read(tree, check=check)
        if kind != b"tree":
            raise PackBroken
        return [(name, mode, bytes.fromhex(one.decode())) for name, mode, one in parse_tree(content, 20)]
    except GitMissed:
        raise
    except Exception as error:  # noqa: BLE001  # a parser of foreign bytes may raise anything
        log.info("git tree was not understood", cause=type(error).__name__)
        raise _broken() from None


def _too_large() -> GitMissed:
    return GitMissed(Failing.TOO_LARGE, "The repository holds more than is read, even without its history.")


def _broken() -> GitMissed:
    return GitMissed(Failing.BROKEN, "What the git server has sent is no repository that can be read.")


async def _in_thread(function: Callable[[], T], stop: Callable[[], None]) -> T:
    """What the function returns. Whoever is cancelled meanwhile stops it, and waits for its end."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([work])
        if not work.cancelled():
            work.exception()
        raise
