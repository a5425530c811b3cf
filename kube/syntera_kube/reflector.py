"""Mirrors a selection of objects into memory, for as long as it runs.

List, then watch from there. A watch that ends or breaks is resumed from the last resourceVersion; one that is too far
behind (410 Gone) leads to a new list, whose differences to what is known arrive as changes, deletions included. Failures
back off with jitter, as long as the server asks. A silent stream is noticed by the missing bookmarks.

`on_change` is called for each change, in order, and must neither block nor raise.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import NoReturn

from .client import KubeClient
from .comparison import find_missed
from .errors import Gone, KubeError, NotFound
from .model import EVERYTHING, Manifest, Selection, WatchEvent
from .resources import Resource
from .store import Change, ObjectStore

_FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 15.0
_QUICK_SECONDS = 1.0
"""A watch that ends sooner, without an event, counts as a failure: else it would be a busy loop."""
_MISSING_KIND_SECONDS = 60.0


class Reflector:
    """One selection of one kind. `run` it in a task of your own; read `store`, wait for `synced`."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        selection: Selection = EVERYTHING,
        *,
        store: ObjectStore | None = None,
        transform: Callable[[Manifest], Manifest] | None = None,
        on_change: Callable[[Change], None] | None = None,
        optional: bool = False,
        page_size: int = 500,
        max_delay_seconds: float = MAX_DELAY_SECONDS,
    ) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            client: what to list and watch with.
            resource: the kind.
            selection: which objects of it.
            store: where to keep them; by default a new one with `transform`.
            transform: slims an object before it is kept.
            on_change: told of every change.
            optional: the API server may not know the kind; then the mirror is empty and looks again now and then.
            page_size: objects per page of a list.
            max_delay_seconds: longest pause after failures in a row.
        """
        self.resource = resource
        self.selection = selection
        self.store = store if store is not None else ObjectStore(transform=transform)
        self.synced = asyncio.Event()
        """Set once the first list is in `store`, and never cleared."""
        self.last_event = time.monotonic()
        """When the server last said something, bookmarks included (`time.monotonic`)."""
        self.last_error: KubeError | None = None
        """Why the mirror is behind; None while all is well."""
        self._client = client
        self._on_change = on_change
        self._optional = optional
        self._page_size = page_size
        self._max_delay_seconds = max_delay_seconds
        self._resource_version: str | None = None
        self._failures = 0

    async def run(self) -> NoReturn:
        """Mirror until cancelled."""
        while True:
            try:
                if self._resource_version is None:
                    await self._list()
                await self._watch()
            except Gone as exc:
                self._resource_version = None
                await self._back_off(exc)
            except KubeError as exc:
                await self._back_off(exc)

    async def check(self) -> int:
        """Compare with what the API server has and take over what was missed; gives how much that was.

        Raises:
            KubeError: the server refused, or did not answer.
        """
        try:
            changes = await find_missed(self._client, self.resource, self.selection, self.store)
        except NotFound:
            if self._optional:
                return 0
            raise
        self._tell(changes)
        return len(changes)

    async def _list(self) -> None:
        try:
            listed = await self._client.list(self.resource, self.selection, page_size=self._page_size)
        except NotFound as exc:
            if self._optional:
                self._tell(self.store.clear())
                self.synced.set()
                exc.retry_after = _MISSING_KIND_SECONDS
            raise
        self._tell(self.store.replace(listed.items, listed.resource_version))
        self._resource_version = listed.resource_version
        self._heard()
        self.synced.set()

    async def _watch(self) -> None:
        """One stream, from where the last one ended."""
        assert self._resource_version is not None
        started = time.monotonic()
        heard_something = False
        events = self._client.watch(self.resource, self.selection, resource_version=self._resource_version)
        async with aclosing(events):
            async for event in events:
                heard_something = True
                self._heard()
                self._take(event)
        if not heard_something and time.monotonic() - started < _QUICK_SECONDS:
            raise KubeError(f"the watch of {self.resource} ended at once")

    def _take(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            change = self.store.discard(event.object)
        elif event.type == "BOOKMARK":
            change = None
        else:
            change = self.store.put(event.object)
        reached = event.object["metadata"]["resourceVersion"]
        if int(reached) > int(self._resource_version or 0):
            self._resource_version = reached
        if change:
            self._tell([change])

    def _tell(self, changes: list[Change]) -> None:
        if self._on_change:
            for change in changes:
                self._on_change(change)

    def _heard(self) -> None:
        self.last_event = time.monotonic()
        self.last_error = None
        self._failures = 0

    async def _back_off(self, error: KubeError) -> None:
        if isinstance(error, NotFound):  # the kind may come back with another history
            self._resource_version = None
        self.last_error = error
        self._failures += 1
        backoff = min(self._max_delay_seconds, _FIRST_DELAY_SECONDS * 2 ** min(self._failures - 1, 10))
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - jitter is no secret
        await asyncio.sleep(max(jittered, error.retry_after or 0.0))
