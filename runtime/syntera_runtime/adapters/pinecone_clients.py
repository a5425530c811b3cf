"""Clients of Pinecone's indexes: one per host and key, made when first needed, closed when out of use.

A rotated key gives another client with the next request, and requests that run keep theirs. What the vendor's client raises is
turned into errors of ours here; it must not know what is kept in an index. It tries again by itself, up to three times and within a
budget for each host; nobody above does, and whoever asks bounds the time of all tries together.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pinecone import AsyncIndex
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


@dataclass(frozen=True, slots=True)
class _Settings:
    host: str
    api_key: str = field(repr=False)


@dataclass(slots=True)
class _Client:
    index: AsyncIndex
    users: int = 0
    last_used: float = 0.0


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
        await self._close_idle(kept=settings)
        client = self._clients.get(settings) or self._open(settings)
        client.users += 1
        try:
            async with asyncio.timeout(seconds):
                yield client.index
        except (PineconeTimeoutError, TimeoutError):
            raise StoreUnavailable(
                f"Pinecone at {target.index_host} did not answer within {seconds:g} seconds.", store=STORE
            ) from None
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
            await client.index.close()

    def _open(self, settings: _Settings) -> _Client:
        try:
            if not settings.api_key:
                raise ValueError("the vendor's client would look for a key in the environment")
            client = _Client(AsyncIndex(host=settings.host, api_key=settings.api_key))
        except ValueError:
            message = (
                f"The address {settings.host} or the API key is not usable with Pinecone. Check the Tenant's"
                " stores.vectors.pinecone and the Secret that it names."
            )
            raise StoreUnavailable(message, store=STORE) from None
        self._clients[settings] = client
        return client

    async def _close_idle(self, *, kept: _Settings) -> None:
        limit = time.monotonic() - self._idle_seconds
        idle = [
            s for s, client in self._clients.items() if not client.users and client.last_used <= limit and s != kept
        ]
        for client in [self._clients.pop(settings) for settings in idle]:
            await client.index.close()


def _translate(error: PineconeError, target: PineconeIndex) -> StoreUnavailable:
    host, key = target.index_host, f"the entry {target.api_key.key!r} of the Secret {target.api_key.name!r}"
    seconds: float | None = None
    match error:
        case UnauthorizedError() | ForbiddenError():
            message = f"Pinecone at {host} refused the API key (HTTP {error.status_code}). Check {key}."
        case NotFoundError():
            message = f"Pinecone knows no index at {host}. Check indexHost in the Tenant's stores.vectors.pinecone."
        case RateLimitError(retry_after=seconds):
            message = "Pinecone limits its requests (HTTP 429). Try again later."
        case ApiError(status_code=400):
            message = (
                "Pinecone refused the request (HTTP 400). Check that the index of the Tenant's stores.vectors.pinecone takes dense"
                " vectors of as many dimensions as the KnowledgeBase's embedding model makes."
            )
        case ApiError():
            message = f"Pinecone answered with an error (HTTP {error.status_code}). Try again later."
        case _:
            message = (
                f"The connection to Pinecone at {host} failed. Check indexHost in the Tenant's stores.vectors.pinecone."
            )
    return StoreUnavailable(message, store=STORE, retry_after_seconds=seconds)
