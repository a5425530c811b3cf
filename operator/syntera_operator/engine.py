"""The life of one operator process: warm up, stand by, lead, let go.

A standby watches everything and works on nothing, so that it can take over at once. Whatever goes wrong with the watches,
the leadership or kopf ends the process: the kubelet starts a new one, which reads everything anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from syntera_kube.errors import KubeError

from .cache_watch import Cache, watch_cache
from .causes import key_of
from .cluster import Cluster
from .config import Settings
from .errors import LeadershipLost, OperatorError
from .knowledge_requests import KnowledgeRequests
from .leadership import Leadership
from .queue import Reconcile, ReconcileQueue
from .resync import Resync
from .retention import RetentionRounds

log = structlog.get_logger(__name__)

_LOAD_RETRY_SECONDS = 2.0
_GRACE_SECONDS = 0.7
"""How long reconciles that are under way may go on when the process was told to end."""
_CANCEL_SECONDS = 0.3
"""How long they may take to end when cancelled. One that a hanging store keeps longer may do nothing more by then."""
_MAX_SILENCE_SECONDS = 300.0
"""Watches carry a bookmark every minute or so, and are restarted when they do not."""


class Engine:
    """What works while the process lives. `work` in one task; then `let_go`."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        queue: ReconcileQueue,
        leadership: Leadership,
        resync: Resync,
        cache: Cache,
        retention: RetentionRounds,
        requests: KnowledgeRequests,
        reconcile: Reconcile,
        settings: Settings,
        watch_own_kinds: Callable[[], Awaitable[None]],
        migrate: Callable[[], Awaitable[int]],
    ) -> None:
        """Prepare; nothing happens before `work`.

        Args:
            cluster: watched from the beginning.
            queue: worked on while this process leads.
            leadership: whether it does.
            resync: the safety net under the watches.
            cache: asked whether it restarted.
            retention: has old rows deleted while this process leads.
            requests: looks for syncs that somebody has asked for while this process leads.
            reconcile: brings one object to what it should be.
            settings: how many workers, and whether to migrate.
            watch_own_kinds: feeds `cluster` with objects of our kinds; returns only when it cannot go on.
            migrate: brings the database up to date; returns when that is done, with the number of failures before.
        """
        self._cluster = cluster
        self._queue = queue
        self._leadership = leadership
        self._resync = resync
        self._cache = cache
        self._retention = retention
        self._requests = requests
        self._reconcile = reconcile
        self._settings = settings
        self._watch_own_kinds = watch_own_kinds
        self._migrate = migrate
        self._is_loaded = False
        self._leading: asyncio.Task[None] | None = None

    async def work(self) -> None:
        """Warm up, wait for the Lease, then reconcile; returns or raises when this process cannot go on."""
        async with self._cluster.running():
            await self._load()
            async with asyncio.TaskGroup() as tasks:
                self._leading = tasks.create_task(self._lead())
                started = [
                    self._leading,
                    tasks.create_task(self._watch()),
                    tasks.create_task(self._resync.run()),
                ]
                await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
                for task in started:
                    task.cancel()

    async def let_go(self) -> None:
        """Take on nothing more, let what is under way end, and give the Lease back."""
        await self._queue.stop(grace_seconds=_GRACE_SECONDS)
        if self._leading is not None:
            self._leading.cancel()
            await asyncio.wait([self._leading], timeout=_CANCEL_SECONDS)
        await self._leadership.release()

    def unreadiness(self) -> str | None:
        """Why this process could not take over at once, None if it could or leads already."""
        return None if self._is_loaded else "the caches are not loaded"

    def trouble(self) -> str | None:
        """Why the process should be restarted, None if it should not."""
        if self._queue.oldest_wait_seconds() > 2 * self._settings.reconcile_timeout_seconds:
            return "the queue does not move"
        if self._queue.longest_work_seconds() > 2 * self._settings.reconcile_timeout_seconds:
            return "a reconcile hangs"
        if self._cluster.silent_seconds() > _MAX_SILENCE_SECONDS:
            return "a watch is silent"
        if deaf := self._cluster.deaf_to():
            return f"the watch of {deaf[0]} delivers nothing"
        return self._resync.trouble()

    async def _load(self) -> None:
        started = time.monotonic()
        while True:
            try:
                await self._cluster.load()
                break
            except (KubeError, OperatorError) as exc:
                log.warning("cluster could not be read", error=str(exc))
                pause = max(_LOAD_RETRY_SECONDS, getattr(exc, "retry_after", None) or 0.0)
            await asyncio.sleep(pause)
        self._is_loaded = True
        log.info("caches loaded", seconds=round(time.monotonic() - started, 2))

    async def _watch(self) -> None:
        await self._watch_own_kinds()
        log.error("watching of own kinds ended unexpectedly")

    async def _lead(self) -> None:
        await self._leadership.acquire()
        self._queue.open()
        self._look_at_all()
        async with asyncio.TaskGroup() as tasks:
            helpers: list[asyncio.Task[None]] = [
                tasks.create_task(self._queue.run(self._reconcile, workers=self._settings.workers)),
                tasks.create_task(watch_cache(self._cache, self._look_at_tenants)),
                tasks.create_task(self._retention.run()),
                tasks.create_task(self._requests.run()),
            ]
            if self._settings.migrate_on_start:
                helpers.append(tasks.create_task(self._keep_schema()))
            await self._leadership.hold()
            for helper in helpers:
                helper.cancel()
        raise LeadershipLost

    async def _keep_schema(self) -> None:
        failures = await self._migrate()
        if failures:  # else tenants have not waited for it, or not for long
            self._look_at_tenants()

    def _look_at_all(self) -> None:
        for key in self._cluster.all_keys():
            self._queue.add(key)

    def _look_at_tenants(self) -> None:
        for tenant in self._cluster.tenants():
            self._queue.add(key_of(tenant))
