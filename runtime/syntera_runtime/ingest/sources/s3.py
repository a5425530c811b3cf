"""Objects of a bucket, by the S3 protocol.

The client looks the server's name up itself, so what it may reach is decided by the NetworkPolicy of sync Jobs, as it is for the
bucket of files. One request through the guard goes before it, so an address that nobody may reach is refused where no
NetworkPolicy is enforced, too; a name that changes its address after that is left to the network. Names and sizes come from the listing; what is as it was by its
ETag is not read.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import aiohttp
import structlog
from obstore.exceptions import BaseError, InvalidPathError, NotFoundError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from syntera_crds.contract.knowledge_config import Source

from ...egress.targets import TargetRefused, parse_target
from ...errors import SecretMissing
from ...models.knowledge import DocumentFacts, Failing
from ...ports.configuration import Secrets
from ..items import Fetched, Item, Known, Missed, Same
from .deadline import Deadline
from .globs import Globs, is_nameable, spell
from .web_http import OpenHttp

if TYPE_CHECKING:
    from obstore import ObjectMeta

_MOST_OBJECTS = 50_000
_MOST_LISTED = 1_000_000
_LISTED_AT_ONCE = 1000
"""As the protocol has it."""
_MOST_TAG = 512
_CHECK_SECONDS = 10
_STATUS = re.compile(r"status code: ([0-9]{3})")
_BUCKET = re.compile(r"[-._a-zA-Z0-9]{1,255}")

log = structlog.get_logger(__name__)


class OpenBucket(Protocol):
    """Makes a client for a bucket; nothing is asked yet."""

    def __call__(
        self, bucket: str, *, prefix: str, endpoint: str, region: str, key_id: str, secret: str
    ) -> S3Store: ...


@dataclass(frozen=True, slots=True)
class S3Limits:
    """What reading a bucket may take."""

    object_bytes: int = 25 * 1024 * 1024
    seconds: float = 3600.0
    """For the whole source."""


class S3Objects:
    """`DocumentSource` of an S3 source."""

    def __init__(
        self,
        source: Source,
        open_http: OpenHttp,
        secrets: Secrets,
        *,
        open_bucket: OpenBucket,
        limits: S3Limits = S3Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert source.s3 is not None
        self._source = source
        self._s3 = source.s3
        self._open_http = open_http
        self._secrets = secrets
        self._open_bucket = open_bucket
        self._limits = limits
        self._clock = clock
        self._folder = f"{source.s3.prefix.strip('/')}/".lstrip("/")
        """What the names of all wanted objects begin with."""
        self._globs = Globs(source.s3.include)

    async def read(self, known: Mapping[str, Known]) -> AsyncGenerator[Item, None]:
        """See `DocumentSource`."""
        deadline = Deadline(self._limits.seconds, self._clock)
        named = set[str]()
        try:
            store = await self._open()
            async with aclosing(self._list(store, deadline)) as wanted:
                async for listed in wanted:
                    before = known.get(listed["path"])
                    if before is not None and before.is_excluded:
                        continue
                    if len(named) >= _MOST_OBJECTS:
                        raise _Missed(Failing.TOO_LARGE, f"More than {_MOST_OBJECTS} objects are wanted: choose fewer.")
                    item = await self._read(store, listed, before, deadline)
                    if item.path is not None and item.path not in named:  # `/a` and `a` are one path to the client
                        named.add(item.path)
                        with deadline.paused():
                            yield item
        except _Missed as missed:
            yield Missed(None, missed.reason, missed.message)

    async def _open(self) -> S3Store:
        s3 = self._s3
        try:
            # The client panics at some endpoints that are no URL.
            parse_target(s3.endpoint)
            if _BUCKET.fullmatch(s3.bucket) is None:
                raise _Missed(Failing.REFUSED, "The name of the bucket is none.")
            key_id, secret = (self._secrets.value(key).strip() for key in (s3.access_key_id, s3.secret_access_key))
            await self._check_server()
            return self._open_bucket(
                s3.bucket, prefix="", endpoint=s3.endpoint, region=s3.region, key_id=key_id, secret=secret
            )
        except SecretMissing as error:
            raise _Missed(Failing.REFUSED, error.message) from None
        except TargetRefused as error:
            raise _Missed(Failing.REFUSED, f"The endpoint must not be asked: {error}.") from None
        except (BaseError, ValueError) as error:
            raise _judge(error) from None

    async def _check_server(self) -> None:
        """Raises:
        TargetRefused: It has an address that must not be reached.
        """
        async with self._open_http([self._s3.endpoint]) as http:
            with suppress(aiohttp.ClientError, OSError):  # that it does not answer, the client finds out
                async with asyncio.timeout(_CHECK_SECONDS), http.request("HEAD", self._s3.endpoint):
                    pass

    async def _list(self, store: S3Store, deadline: Deadline) -> AsyncGenerator["ObjectMeta", None]:
        """Wanted objects.

        Raises:
            _Missed: They cannot be listed any further.
        """
        listed = 0
        pages = store.list(self._folder.rstrip("/") or None, chunk_size=_LISTED_AT_ONCE).__aiter__()
        while page := await self._next_page(pages, deadline):
            for one in page:
                if self._is_wanted(one["path"]):
                    yield one
            listed += len(page)
            if listed > _MOST_LISTED:
                raise _Missed(Failing.TOO_LARGE, f"The bucket has more than {_MOST_LISTED} objects: choose a prefix.")

    async def _next_page(
        self, pages: "AsyncIterator[Sequence[ObjectMeta]]", deadline: Deadline
    ) -> "Sequence[ObjectMeta]":
        """The next of them; none: that was all."""
        try:
            async with asyncio.timeout(deadline.left()):
                return await anext(pages)
        except StopAsyncIteration:
            return []
        except TimeoutError:
            raise _Missed(Failing.TOOK_TOO_LONG, "Reading the bucket takes too long: choose fewer objects.") from None
        except (BaseError, OSError, ValueError) as error:
            raise _judge(error) from None

    def _is_wanted(self, name: str) -> bool:
        return name.startswith(self._folder) and self._globs.has_file(name.removeprefix(self._folder))

    async def _read(self, store: S3Store, listed: "ObjectMeta", known: Known | None, deadline: Deadline) -> Item:
        path = listed["path"]
        if not is_nameable(path):
            return Missed(spell(path), Failing.UNSUPPORTED, "The object's name is none that a document may have.")
        validators = _make_validators(listed)
        if known is not None and known.content_hash and validators and known.validators == validators:
            return Same(path)
        try:
            self._check_size(listed["size"])
            return await self._fetch(store, path, deadline)
        except _Missed as missed:
            return Missed(path, missed.reason, missed.message)

    async def _fetch(self, store: S3Store, path: str, deadline: Deadline) -> Fetched:
        content = bytearray()
        try:
            async with asyncio.timeout(deadline.left()):
                found = await store.get_async(path)
                async for piece in found.stream():
                    content += bytes(piece)
                    self._check_size(len(content))
        except (NotFoundError, FileNotFoundError):
            raise _Missed(Failing.NOT_FOUND, "The object was listed, but is not there any more.") from None
        except TimeoutError:
            raise _Missed(Failing.TOOK_TOO_LONG, "The time for the whole source is over.") from None
        except (BaseError, OSError, ValueError) as error:
            raise _judge(error) from None
        return self._make_document(path, bytes(content), found.meta)

    def _check_size(self, size: int) -> None:
        if size > self._limits.object_bytes:
            raise _Missed(Failing.TOO_LARGE, f"The object has more than {self._limits.object_bytes} bytes.")

    def _make_document(self, path: str, content: bytes, meta: "ObjectMeta") -> Fetched:
        name = path.rpartition("/")[2]
        facts = DocumentFacts(
            title=name,
            media_type="application/octet-stream",
            language=self._source.language,
            audience=frozenset(self._source.audience),
            tags=frozenset(self._source.tags),
            modified_at=meta["last_modified"],
            size=len(content),
        )
        return Fetched(path, content, facts, name, _make_validators(meta))


class _Missed(Exception):
    """The bucket cannot be read this time, or no further."""

    def __init__(self, reason: Failing, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def _make_validators(meta: "ObjectMeta") -> dict[str, str]:
    tag = meta["e_tag"]
    return {"etag": tag} if tag and tag.isprintable() and len(tag) <= _MOST_TAG else {}


def _judge(error: Exception) -> _Missed:
    """The client's own errors say too much: they hold bodies of the server's answers."""
    log.info("bucket does not serve", cause=type(error).__name__)
    # Of a listing that fails the client tells the status in its text alone, everything else being a `GenericError`.
    found = _STATUS.search(str(error))
    status = None if found is None else int(found[1])
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or status in (401, 403):
        return _Missed(
            Failing.REFUSED, "The server refuses the bucket: its keys may be wrong, or may not list and read."
        )
    if isinstance(error, NotFoundError | FileNotFoundError) or status == 404:
        return _Missed(Failing.NOT_FOUND, "There is no such bucket.")
    if isinstance(error, InvalidPathError):
        return _Missed(
            Failing.BROKEN,
            "An object has a name that is no path: with control characters, an empty part, `.` or `..`. Rename it, or choose a"
            " prefix without it.",
        )
    return _Missed(Failing.UNAVAILABLE, "The server of the bucket does not answer, or not by the S3 protocol.")
