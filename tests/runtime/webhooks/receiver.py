"""An endpoint of somebody's on a real socket: it keeps what comes, and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from standardwebhooks import Webhook as Verifier

from tests.runtime.serving import served


@dataclass(slots=True)
class Received:
    """One delivery as it came in."""

    headers: dict[str, str]
    body: bytes

    def verify(self, secret: str) -> dict[str, Any]:
        """What it says, if it is signed with that secret.

        Raises:
            WebhookVerificationError: It is not.
        """
        said: dict[str, Any] = Verifier(secret).verify(self.body, self.headers)
        return said


@dataclass(slots=True)
class Receiver:
    """What has come, and what is answered."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    """Of the next answers; the last one for ever."""
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    answering: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared: it takes what comes and says nothing."""
    under_way: int = 0
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, request: Request) -> Response:
        """See FastAPI."""
        body = await request.body()
        async with self._news:
            self.received.append(Received(dict(request.headers), body))
            self.under_way += 1
            self._news.notify_all()
        await self.answering.wait()
        self.under_way -= 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response(b"", status_code=status, headers=self.headers)

    async def wait_for(self, number: int) -> list[Received]:
        """What has come, as soon as it is so many."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.received) >= number)
        return self.received


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """An endpoint that answers at once."""
    receiver = Receiver()
    receiver.answering.set()
    app = FastAPI()
    app.add_api_route("/hook", receiver.take, methods=["POST"])
    async with served(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver
        receiver.answering.set()
