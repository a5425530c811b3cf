"""Vectors in Pinecone: a namespace for each version of an index, and nothing there but hashes and numbers.

Which chunk a vector belongs to, and who may see it, is asked of the store of knowledge each time: so an audience that was
changed counts at once, chunks that share a text share a vector, and Pinecone learns of no document. For the price that more vectors
are asked for than chunks are wanted. Where even ten times as many hold too few that pass a filter, few pass it at all: then their
vectors are fetched and compared here.

Each index says at which host its vectors are; the key is the one of the configuration. So an index outlives a change of the host, as
long as the key opens both. The host comes from a row, so the key goes to none but the configured one and, where that is one of
Pinecone's, others of Pinecone's.

Pinecone shows what was written a little later; a search that follows a sync within seconds may miss what the sync brought.
"""

import asyncio
import dataclasses
import math
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from operator import mul
from typing import Any, TypeVar

from pinecone import AsyncIndex
from pinecone.errors import NotFoundError

from syntera_crds.contract.knowledge_config import PineconeIndex
from syntera_crds.contract.names import pinecone_namespace

from ..errors import SecretMissing, StoreUnavailable
from ..models.ids import TenantId
from ..models.knowledge import Hit, Index, SearchFilter, Vector
from ..ports.knowledge import ChunksOfVectors
from .pinecone_clients import STORE, PineconeClients

SEARCH_SECONDS = 5.0
WRITE_SECONDS = 60.0
"""For a request that writes, reads or deletes many vectors."""
AT_ONCE = 4
"""Requests of one call that run side by side."""

# Pinecone's bounds on one request.
MOST_FOUND = 10_000
MOST_DELETED = 1_000
MOST_WRITTEN = 1_000
MOST_WRITTEN_BYTES = 1_500_000
"""Two megabytes are the bound; a number takes `_BYTES_OF_A_NUMBER`."""
_BYTES_OF_A_NUMBER = 24
MOST_FETCHED = 100
"""They are named in the URL, whose length is bounded before their number is."""
_PAGE = 100

_WIDER = 4
"""How many times as many vectors as chunks are wanted are asked for first."""
_WIDEST = 40
MOST_COMPARED = 1_000
"""Vectors that are fetched to be compared here. Where more pass the filter, they are found among the nearest `MOST_FOUND`."""

_NO_VECTORS = "The index of Pinecone has no vectors of the knowledge base. They were deleted there; another chunking has them made again."
_PINECONE = ".pinecone.io"
_HOST = re.compile(r"(?P<scheme>https?)://(?P<name>[-_.a-zA-Z0-9]+)(:[0-9]+)?")
_OUR_ID = re.compile(r"[0-9a-f]{32}")
_Item = TypeVar("_Item")


class PineconeVectors:
    """`VectorIndex` in Pinecone."""

    def __init__(self, clients: PineconeClients, configured: PineconeIndex | None, chunks: ChunksOfVectors) -> None:
        """
        Args:
            clients: Who connects.
            configured: Whose key is used, where new indexes have their vectors. None: there is no key, which is told when vectors
                are asked for.
            chunks: Who knows what they are of.
        """
        self._clients = clients
        self._configured = configured
        self._chunks = chunks

    async def write(self, tenant_id: TenantId, index: Index, vectors: Mapping[bytes, Vector]) -> None:
        """See `VectorIndex`."""
        records = [{"id": hash.hex(), "values": list(vector)} for hash, vector in vectors.items()]
        size = max(1, min(MOST_WRITTEN, MOST_WRITTEN_BYTES // (_BYTES_OF_A_NUMBER * index.dimensions)))
        namespace = build_namespace(tenant_id, index)

        async def write(batch: Sequence[dict[str, Any]]) -> None:
            async with self._clients.borrow(self._find_target(index), seconds=WRITE_SECONDS) as client:
                await client.upsert(vectors=batch, namespace=namespace)

        await _run_all(write, _batches(records, size))

    async def search(
        self, tenant_id: TenantId, index: Index, vector: Vector, *, filter: SearchFilter, limit: int
    ) -> Sequence[Hit]:
        """See `VectorIndex`."""
        for wider in (_WIDER, _WIDEST):
            hits, is_all = await self._search_nearest(tenant_id, index, vector, filter, limit=limit, top=limit * wider)
            if len(hits) == limit or is_all:
                return hits
        passing = await self._chunks.list_hashes(tenant_id, index, filter=filter, limit=MOST_COMPARED + 1)
        if len(passing) > MOST_COMPARED:
            hits, _ = await self._search_nearest(tenant_id, index, vector, filter, limit=limit, top=MOST_FOUND)
            return hits
        scores = await self.similarities(tenant_id, index, vector, passing)
        return await self._find_chunks(tenant_id, index, scores, filter, limit=limit)

    async def similarities(
        self, tenant_id: TenantId, index: Index, vector: Vector, hashes: Sequence[bytes]
    ) -> Mapping[bytes, float]:
        """See `VectorIndex`."""
        namespace = build_namespace(tenant_id, index)
        found: dict[bytes, float] = {}

        async def fetch(batch: Sequence[bytes]) -> None:
            async with self._clients.borrow(self._find_target(index), seconds=SEARCH_SECONDS) as client:
                fetched = await client.fetch(ids=[hash.hex() for hash in batch], namespace=namespace)
            asked = {hash.hex(): hash for hash in batch}
            found.update(
                {asked[key]: _compare(kept.values, vector) for key, kept in fetched.vectors.items() if key in asked}
            )

        await _run_all(fetch, _batches(hashes, MOST_FETCHED))
        return found

    async def hashes(self, tenant_id: TenantId, index: Index) -> AsyncGenerator[Sequence[bytes], None]:
        """See `VectorIndex`."""
        namespace = build_namespace(tenant_id, index)
        token: str | None = None
        while True:
            async with self._clients.borrow(self._find_target(index), seconds=WRITE_SECONDS) as client:
                page = await client.list_paginated(namespace=namespace, limit=_PAGE, pagination_token=token)
            listed = [hash for item in page.vectors if (hash := _read_id(item.id)) is not None]
            if listed:
                yield listed
            token = None if page.pagination is None else page.pagination.next
            if not token:
                return

    async def delete(self, tenant_id: TenantId, index: Index, hashes: Sequence[bytes]) -> None:
        """See `VectorIndex`."""
        namespace = build_namespace(tenant_id, index)

        async def delete(batch: Sequence[bytes]) -> None:
            async with self._clients.borrow(self._find_target(index), seconds=WRITE_SECONDS) as client:
                await _unless_there_is_none(client.delete(ids=[hash.hex() for hash in batch], namespace=namespace))

        await _run_all(delete, _batches(hashes, MOST_DELETED))

    async def drop(self, tenant_id: TenantId, index: Index) -> None:
        """See `VectorIndex`."""
        async with self._clients.borrow(self._find_target(index), seconds=WRITE_SECONDS) as client:
            await _unless_there_is_none(client.delete_namespace(name=build_namespace(tenant_id, index)))

    def _find_target(self, index: Index) -> PineconeIndex:
        """Where the index's vectors are, with the key to them.

        Raises:
            StoreUnavailable: There is none.
        """
        host = index.pinecone_host
        if host is None:
            raise StoreUnavailable("The index does not say where in Pinecone its vectors are.", store=STORE)
        if self._configured is None:
            message = (
                f"The vectors of index {index.number} are in Pinecone at {host}, and the Tenant's stores.vectors.pinecone names"
                " no key to them. Restore it, or wait until a sync has built the index that takes its place."
            )
            raise StoreUnavailable(message, store=STORE)
        if not may_have_key(host, self._configured.index_host):
            message = (
                f"The vectors of index {index.number} are at {host}, and the key of the Tenant's stores.vectors.pinecone is given"
                f" to no host but {self._configured.index_host}, or Pinecone's where that is one. Name the host of before, or wait"
                " until a sync has built the index that takes its place."
            )
            raise StoreUnavailable(message, store=STORE)
        return PineconeIndex(index_host=host, api_key=self._configured.api_key)

    async def _search_nearest(
        self, tenant_id: TenantId, index: Index, vector: Vector, filter: SearchFilter, *, limit: int, top: int
    ) -> tuple[Sequence[Hit], bool]:
        """Chunks that pass among those of the nearest vectors; and whether these were all that there are."""
        asked = min(top, MOST_FOUND)
        async with self._clients.borrow(self._find_target(index), seconds=SEARCH_SECONDS) as client:
            scores, found = await _query(client, build_namespace(tenant_id, index), vector, asked)
        if not found and await self._chunks.list_hashes(tenant_id, index, filter=filter, limit=1):
            raise StoreUnavailable(_NO_VECTORS, store=STORE)
        hits = await self._find_chunks(tenant_id, index, scores, filter, limit=limit)
        return hits, found < asked

    async def _find_chunks(
        self, tenant_id: TenantId, index: Index, scores: Mapping[bytes, float], filter: SearchFilter, *, limit: int
    ) -> Sequence[Hit]:
        if not scores:
            return []
        found = await self._chunks.find_chunks(tenant_id, index, list(scores), filter=filter)
        hits = [dataclasses.replace(hit, score=scores[hit.embedded_hash]) for hit in found]
        return sorted(hits, key=lambda hit: (-hit.score, hit.document_id, hit.position))[:limit]


def build_namespace(tenant_id: TenantId, index: Index) -> str:
    """Where the vectors of an index are: no two tenants, knowledge bases or versions share one."""
    return pinecone_namespace(tenant_id, index.knowledge_base_id, index.number)


def may_have_key(host: str, configured: str) -> bool:
    """Whether what a row calls a host may be sent the key to the configured one: it is the same, at whatever port, or both are Pinecone's.

    Whoever writes the tenant's rows could otherwise have its key sent to a server of their own. No other domain is known to be
    somebody's alone.
    """
    if host == configured:
        return True
    found, wanted = _HOST.fullmatch(host), _HOST.fullmatch(configured)
    if found is None or wanted is None or found["scheme"] != wanted["scheme"]:
        return False
    names = found["name"].lower(), wanted["name"].lower()
    return names[0] == names[1] or all(name.endswith(_PINECONE) for name in names)


async def _query(client: AsyncIndex, namespace: str, vector: Vector, top: int) -> tuple[dict[bytes, float], int]:
    """Similarities of the nearest vectors, and how many were found, those of others included."""
    answer = await client.query(vector=list(vector), top_k=top, namespace=namespace)
    scores = {hash: match.score for match in answer.matches if (hash := _read_id(match.id)) is not None}
    return scores, len(answer.matches)


def _read_id(name: str | None) -> bytes | None:
    """The hash that a vector has as its name; None: it is none of ours."""
    return bytes.fromhex(name) if name is not None and _OUR_ID.fullmatch(name) else None


async def _unless_there_is_none(deletion: Awaitable[None]) -> None:
    """A namespace that nothing was written to does not exist."""
    try:
        await deletion
    except NotFoundError:
        return


async def _run_all(work: Callable[[Sequence[_Item]], Awaitable[None]], batches: Iterable[Sequence[_Item]]) -> None:
    """Do the work for every batch, some side by side.

    Raises:
        StoreUnavailable: A batch failed; the others were ended.
    """
    places = asyncio.Semaphore(AT_ONCE)

    async def run(batch: Sequence[_Item]) -> None:
        async with places:
            await work(batch)

    try:
        async with asyncio.TaskGroup() as group:
            for batch in batches:
                group.create_task(run(batch))
    except* (StoreUnavailable, SecretMissing) as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _batches(items: Sequence[_Item], size: int) -> Iterable[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _compare(kept: Sequence[float], vector: Vector) -> float:
    lengths = math.hypot(*kept) * math.hypot(*vector)
    return sum(map(mul, kept, vector)) / lengths if lengths else 0.0
