"""Bytes of files in a bucket, by the S3 protocol.

The Tenant says which; its keys are read again for each use, so a rotated Secret needs no restart. Of a large file a few
pieces are in memory at a time. A write that breaks off may leave an unfinished
upload in the bucket, which no listing shows: a rule of the bucket removes such.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import S3Store

from syntera_crds.contract.tenant_config import S3Config

from ..errors import FileNotFound, SecretMissing, StoreUnavailable
from ..metrics import Metrics
from ..models.ids import FileId, TenantId
from ..ports.configuration import Secrets, TenantCatalogue
from ..tracing import NO_TRACER, Tracer

STORE = "S3"
PIECE_BYTES = 5 * 1024 * 1024
"""The least that the protocol takes as one of several parts of an object."""
_RANGE_BYTES = 2 * 1024 * 1024
"""What one request reads, so that a slow reader of a large file meets no deadline: that is one of a whole request."""
_READ_BYTES = 256 * 1024
_PARTS_AT_ONCE = 2
_CONNECT_SECONDS = 5
_REQUEST_SECONDS = 60
_RETRY_SECONDS = 10

log = structlog.get_logger(__name__)


class _Access(NamedTuple):
    """Everything that makes two clients differ."""

    config: S3Config
    key_id: str
    secret: str


class S3Blobs:
    """`BlobStore` on a server that speaks the S3 protocol."""

    def __init__(
        self,
        catalogue: TenantCatalogue,
        secrets: Secrets,
        *,
        metrics: Metrics | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._catalogue = catalogue
        self._secrets = secrets
        self._metrics = metrics or Metrics()
        self._tracer = tracer
        self._client: tuple[_Access, S3Store] | None = None

    async def write(self, tenant_id: TenantId, file_id: FileId, content: AsyncIterator[bytes]) -> None:
        """See `BlobStore`."""
        broken: list[BaseException] = []

        async def watched() -> AsyncIterator[bytes]:
            try:
                async for piece in content:
                    yield piece
            except BaseException as error:
                broken.append(error)
                raise

        with self._use("write_object"):
            try:
                await self._store().put_async(
                    _path(tenant_id, file_id), watched(), chunk_size=PIECE_BYTES, max_concurrency=_PARTS_AT_ONCE
                )
            except Exception:
                if broken:  # the sender's fault, which the client would wrap in one of its own
                    raise broken[0] from None
                raise

    async def read(self, tenant_id: TenantId, file_id: FileId) -> AsyncGenerator[bytes, None]:
        """See `BlobStore`."""
        start, size = 0, 1
        while start < size:
            content, size = await self._read_range(_path(tenant_id, file_id), start)
            for position in range(0, len(content), _READ_BYTES):
                yield content[position : position + _READ_BYTES]
            start += len(content)

    async def _read_range(self, path: str, start: int) -> tuple[bytes, int]:
        """Some bytes of an object from that position on, and the size of all of it."""
        with self._use("read_object"):
            try:
                found = await self._store().get_async(path, options={"range": (start, start + _RANGE_BYTES)})
                content = bytes(await found.bytes_async())
            except (NotFoundError, FileNotFoundError):
                raise FileNotFound from None
            if not content:
                raise OSError("the server sent nothing")
            return content, found.meta["size"]

    async def delete(self, tenant_id: TenantId, file_id: FileId) -> None:
        """See `BlobStore`."""
        with self._use("delete_object"):
            try:
                await self._store().delete_async(_path(tenant_id, file_id))
            except (NotFoundError, FileNotFoundError):
                return

    @contextmanager
    def _use(self, operation: str) -> Iterator[None]:
        """Around one use."""
        with (
            self._metrics.use_of_store(STORE, operation),
            self._tracer.call(operation, {"rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": operation}),
            _translated(operation),
        ):
            yield

    def _store(self) -> S3Store:
        access = self._access()
        if self._client is None or self._client[0] != access:
            self._client = (access, _build(access))
        return self._client[1]

    def _access(self) -> _Access:
        tenant = self._catalogue.tenant()
        config = None if tenant is None else tenant.files.s3
        if config is None:
            raise StoreUnavailable("The Tenant names no bucket for files any more.", store=STORE)
        try:
            return _Access(
                config,
                self._secrets.value(config.access_key_id).strip(),
                self._secrets.value(config.secret_access_key).strip(),
            )
        except SecretMissing as error:
            raise StoreUnavailable(error.message, store=STORE) from None


@contextmanager
def _translated(operation: str) -> Iterator[None]:
    """The client's own errors say too much: they hold bodies of the server's answers."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        log.warning("bucket does not serve", operation=operation, cause=type(error).__name__)
        raise StoreUnavailable("The bucket for files does not answer. Try again later.", store=STORE) from None


def _build(access: _Access) -> S3Store:
    config = access.config
    return build_store(
        config.bucket,
        prefix=config.prefix,
        endpoint=config.endpoint,
        region=config.region,
        key_id=access.key_id,
        secret=access.secret,
    )


def build_store(bucket: str, *, prefix: str, endpoint: str, region: str, key_id: str, secret: str) -> S3Store:
    """A client for a bucket, or for what is below a prefix there. Nothing is asked yet."""
    return S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=endpoint,
        region=region,
        access_key_id=key_id,
        secret_access_key=secret,
        virtual_hosted_style_request=False,
        client_options={
            "allow_http": True,
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "timeout": timedelta(seconds=_REQUEST_SECONDS),
            "user_agent": "syntera",
        },
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=_RETRY_SECONDS)},
    )


def _path(tenant_id: TenantId, file_id: FileId) -> str:
    return f"{tenant_id}/{file_id}"
