"""Clients of Pinecone's indexes: one per host and key, made when first needed, closed when out of use.

A rotated key gives another client with the next request, and requests that run keep theirs. What the vendor's client raises is
turned into errors of ours here; it must not know what is kept in an index.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pinecone import AsyncIndex, AsyncPinecone, RetryConfig
from pinecone.errors import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    PineconeError,
    PineconeTimeoutError,
    RateLimitError,
    UnauthorizedError,
)

from syntera_crds.contract.knowledge_config import PineconeIndex

from ..errors import StoreUnavailable
from ..ports.configuration import Secrets

STORE = "Pinecone"
IDLE_SECONDS = 120.0
"""A client that was not used for this long is closed when another one is asked for."""
_RETRIES = RetryConfig(max_retries=1, backoff_factor=0.2, max_wait=2.0)
"""Searches have a second or two, and a sync tries documents again by itself: more tries here would only make storms."""


@dataclass(frozen=True, slots=True)
class _Settings:
    host: str
    api_key: str = field(repr=False)


@dataclass(slots=True)
class _Client:
    account: AsyncPinecone
    index: AsyncIndex
    users: int = 0
    last_used: float = 0.0

    async def aclose(self) -> None:
        await self.index.close()
        await self.account.close()


class PineconeClients:
    """The clients of this process."""

    def __init__(self, secrets: Secrets, *, idle_seconds: float = IDLE_SECONDS) -> None:
        """Prepare; nothing is connected to.

        Args:
            secrets: Where keys are looked up, for each request anew.
            idle_seconds: When a client that nobody uses is closed.
        """
        self._secrets = secrets
        self._idle_seconds = idle_seconds
        self._clients: dict[_Settings, _Client] = {}

    @contextlib.asynccontextmanager
    async def borrow(self, target: PineconeIndex, *, seconds: float) -> AsyncIterator[AsyncIndex]:
        """An index's client, for as long at most.

        Raises:
            StoreUnavailable: Pinecone does not answer, refuses, or answers with an error.
            SecretMissing: Its key is not there.
        """
        settings = _Settings(target.index_host, self._secrets.value(target.api_key).strip())
        client = self._clients.get(settings) or await self._open(settings)
        client.users += 1
        try:
            async with asyncio.timeout(seconds):
                yield client.index
        except (PineconeTimeoutError, TimeoutError):
            raise StoreUnavailable(f"Pinecone did not answer within {seconds:g} seconds.", store=STORE) from None
        except PineconeError as error:
            # `from None`: the vendor's exception holds the answer's headers and body.
            raise _translate(error, target) from None
        finally:
            client.users -= 1
            client.last_used = time.monotonic()

    async def aclose(self) -> None:
        """Close every client; requests that still run fail."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _open(self, settings: _Settings) -> _Client:
        await self._close_idle()
        try:
            account = AsyncPinecone(api_key=settings.api_key, retry_config=_RETRIES)
            client = _Client(account, await account.index(host=settings.host))
        except (PineconeError, ValueError):
            message = (
                "The address of the Pinecone index or its API key is not usable. Check vectors.pinecone.indexHost and"
                " the Secret that apiKeySecretRef names."
            )
            raise StoreUnavailable(message, store=STORE) from None
        # Another task may have made one meanwhile: the last one stays, and both work.
        return self._clients.setdefault(settings, client)

    async def _close_idle(self) -> None:
        limit = time.monotonic() - self._idle_seconds
        idle = [s for s, client in self._clients.items() if not client.users and client.last_used <= limit]
        for client in [self._clients.pop(settings) for settings in idle]:
            await client.aclose()


def _translate(error: PineconeError, target: PineconeIndex) -> StoreUnavailable:
    key = f"the entry {target.api_key.key!r} of the Secret {target.api_key.name!r}"
    seconds: float | None = None
    match error:
        case UnauthorizedError() | ForbiddenError():
            message = f"Pinecone refused the API key (HTTP {error.status_code}). Check {key}."
        case NotFoundError():
            message = "Pinecone knows no such index. Check vectors.pinecone.indexHost."
        case RateLimitError(retry_after=seconds):
            message = "Pinecone limits its requests (HTTP 429). Try again later."
        case ApiError():
            message = f"Pinecone answered with an error (HTTP {error.status_code}). Try again later."
        case _:
            message = "The connection to Pinecone failed. Check vectors.pinecone.indexHost."
    return StoreUnavailable(message, store=STORE, retry_after_seconds=seconds)
