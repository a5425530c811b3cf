"""Looks, while this process leads, for what tenants ask of their knowledge bases through the API, and has large indexes built.

A runtime cannot make Jobs: it writes what somebody asks for into PostgreSQL. One cheap query for all tenants finds it; the
KnowledgeBase's reconcile does the rest.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn, Protocol
from uuid import UUID

import structlog

from .causes import Wakeup, key_of, namespace_of_tenant
from .errors import LeadershipLost, OperatorError
from .manifest import Manifest
from .stores.knowledge_summary import PendingSync, StuckIndex

log = structlog.get_logger(__name__)

_POLL_SECONDS = 5.0
_AGAIN_SECONDS = 60.0
"""How long a request that nobody could begin, because another sync runs or the Tenant is suspended, is not told again."""
_INDEX_SECONDS = 60.0


class Objects(Protocol):
    """The part of the cluster that is needed here."""

    def tenant(self, name: str) -> Manifest | None:
        """The Tenant of that name."""

    def knowledge_base(self, namespace: str, name: str) -> Manifest | None:
        """The KnowledgeBase of that name."""

    async def event(self, obj: Manifest, *, type: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Tell people of it."""


class Requests(Protocol):
    """The part of the stores that is needed here; all raise `StoreUnavailable` and `StoreRefused`."""

    async def pending(self) -> Sequence[PendingSync]:
        """Syncs that somebody has asked for, and that were not begun yet."""

    async def promote_large_indexes(self) -> Sequence[StuckIndex]:
        """Give indexes that have grown large a table of their own, and drop what is no longer wanted.

        Gives those for which it failed, each once until it succeeds.
        """


class KnowledgeRequests:
    """Polls for requests, and now and then for indexes that have grown large."""

    def __init__(
        self,
        cluster: Objects,
        stores: Requests,
        enqueue: Callable[[Wakeup], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; nothing is looked at before `run`."""
        self._cluster = cluster
        self._stores = stores
        self._enqueue = enqueue
        self._clock = clock
        self._told: dict[UUID, float] = {}

    async def run(self) -> NoReturn:
        """Look until cancelled.

        Raises:
            LeadershipLost: this process may do nothing more.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_indexes())
            while True:
                await self.look()
                await asyncio.sleep(_POLL_SECONDS)

    async def look(self) -> None:
        """Look once, and have the KnowledgeBases looked at for which something is asked."""
        try:
            pending = await self._stores.pending()
        except LeadershipLost:
            raise
        except OperatorError as error:
            log.warning("requests for syncs could not be read", error=str(error))
            return
        now = self._clock()
        self._told = {one.request_id: self._told.get(one.request_id, float("-inf")) for one in pending}
        for request in pending:
            if now - self._told[request.request_id] >= _AGAIN_SECONDS and self._tell(request):
                self._told[request.request_id] = now

    async def look_after_indexes(self) -> None:
        """Have large indexes moved once, and tell people where that failed for the first time."""
        try:
            stuck = await self._stores.promote_large_indexes()
        except LeadershipLost:
            raise
        except OperatorError as error:
            log.warning("large indexes could not be looked after", error=str(error))
            return
        for index in stuck:
            manifest = self._find(index.tenant_name, index.knowledge_base)
            if manifest is not None:
                self._enqueue(Wakeup(key_of(manifest)))
                await self._cluster.event(manifest, type="Warning", reason="LargeIndexFailed", message=_describe(index))

    def _tell(self, request: PendingSync) -> bool:
        manifest = self._find(request.tenant_name, request.knowledge_base)
        if manifest is None:
            return False
        self._enqueue(Wakeup(key_of(manifest)))
        return True

    def _find(self, tenant_name: str, name: str) -> Manifest | None:
        tenant = self._cluster.tenant(tenant_name)
        return None if tenant is None else self._cluster.knowledge_base(namespace_of_tenant(tenant), name)

    async def _keep_indexes(self) -> NoReturn:
        while True:
            await asyncio.sleep(_INDEX_SECONDS)
            await self.look_after_indexes()


def _describe(index: StuckIndex) -> str:
    return (
        "The index has grown large, and a table of its own could not be made for it, so it is searched more slowly:"
        f" {index.message}. It is tried again, in some hours at most."
    )
