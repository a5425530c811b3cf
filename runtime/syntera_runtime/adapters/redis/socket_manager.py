"""What sockets of a tenant's processes are told together: publish/subscribe on the tenant's own channel.

python-socketio's own Redis manager speaks the same messages. It is not used, because it reads the URL once, lets whoever
emits wait for a Redis that is away, and takes a connection that died without a word for a quiet one.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import structlog
from redis.exceptions import RedisError
from socketio.async_pubsub_manager import AsyncPubSubManager

from ...errors import StoreUnavailable
from ...models.ids import TenantId
from .client import RedisClient
from .keys import sockets_channel

QUIET_SECONDS = 5.0
"""After so long without a message the server is asked whether it is still there."""
LOST_SECONDS = 15.0
"""After so long without a word the connection is given up."""
RETRY_SECONDS = 1.0
MOST_OUTGOING = 10_000
"""Messages that wait for Redis. What comes then is told to this process's sockets alone."""

log = structlog.get_logger(__name__)

_NO_LOG = logging.Logger("socketio", logging.CRITICAL)
"""The library logs what it sends."""


class RedisSocketManager(AsyncPubSubManager):  # type: ignore[misc]  # the library ships no types
    """For one Socket.IO server. Nobody who emits waits for Redis; what is emitted while it is away stays in this process."""

    def __init__(self, client: RedisClient, tenant_id: TenantId) -> None:
        super().__init__(channel=sockets_channel(tenant_id), logger=_NO_LOG)
        self._client = client
        self._outgoing: asyncio.Queue[str] = asyncio.Queue(MOST_OUTGOING)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_away = False

    def initialize(self) -> None:
        """See `AsyncManager`; called by the server."""
        self._tasks = [asyncio.create_task(self._thread()), asyncio.create_task(self._send())]

    async def aclose(self) -> None:
        """Send and hear no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish(self, data: dict[str, Any]) -> None:
        """See `AsyncPubSubManager`."""
        if not self._outgoing.full():
            self._outgoing.put_nowait(self.json.dumps(data))

    async def _send(self) -> None:
        while True:
            message = await self._outgoing.get()
            try:
                async with self._client.operation("tell_sockets", is_traced=False) as redis:
                    await redis.publish(self.channel, message)
            except StoreUnavailable:
                self._note(is_away=True)
            else:
                self._note(is_away=False)

    async def _listen(self) -> AsyncIterator[bytes]:
        """See `AsyncPubSubManager`. Never ends."""
        while True:
            try:
                async with aclosing(self._subscribe()) as messages:
                    async for message in messages:
                        yield message
            except (OSError, RedisError, StoreUnavailable):
                await asyncio.sleep(random.uniform(0.5, 1.0) * RETRY_SECONDS)  # noqa: S311  # jitter, no secret

    async def _subscribe(self) -> AsyncGenerator[bytes, None]:
        async with self._client.open_subscribing() as redis, redis.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(self.channel)
            heard_at = time.monotonic()
            while True:
                message = await heard.get_message(timeout=QUIET_SECONDS)
                if message is not None:
                    heard_at = time.monotonic()
                    if message["type"] == "message":
                        yield message["data"]
                elif time.monotonic() - heard_at > LOST_SECONDS:
                    raise TimeoutError
                else:
                    await heard.ping()

    def _note(self, *, is_away: bool) -> None:
        if is_away != self._is_away:
            self._is_away = is_away
            log.info("sockets of other processes back" if not is_away else "sockets of other processes not told")
