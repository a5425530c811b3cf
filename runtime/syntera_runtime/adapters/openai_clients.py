"""HTTP clients for model endpoints: one per distinct set of settings, made when first needed, closed when out of use.

The settings hold the resolved key and headers, so a rotated Secret gives another client with the next request, and
requests that run keep theirs. Nothing of the process's environment is used: no key, organisation or proxy slips in.
It must not interpret answers; that is `openai_models`.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from httpx2 import InvalidURL
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Omit, Timeout

from syntera_crds.contract.agent_config import ModelAccess, SecretKey

from ..errors import ModelRefused
from ..ports.configuration import Secrets
from .public_trust import public_trust

CONNECT_TIMEOUT_SECONDS = 5.0
IDLE_SECONDS = 120.0
"""A client that was not used for this long is closed when another one is asked for."""

# No time limit on reading: the caller holds the deadline of the whole answer.
_TIMEOUT = Timeout(None, connect=CONNECT_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Everything that makes two clients differ. Its repr shows no secret."""

    base_url: str
    api_key: str | None = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    ca_bundle: str | None = field(repr=False)
    proxy_url: str | None = field(repr=False)


@dataclass(slots=True)
class EndpointClient:
    """A client and what has been learnt about its server."""

    openai: AsyncOpenAI
    headers: Mapping[str, str | Omit]
    """To be sent with every request; `Omit` takes away what the SDK would send."""
    knows_stream_options: bool = True
    """False once the server refused a request for its `stream_options`."""
    knows_encoding: bool = True
    """False once it refused one for its `encoding_format`."""
    users: int = 0
    last_used: float = 0.0


def resolve(candidate: ModelAccess, secrets: Secrets) -> ClientSettings:
    """Put the values of the Secrets where the candidate names them. Space around a value is not part of it.

    Raises:
        SecretMissing: A Secret or its entry is not there.
        ModelRefused: A value cannot stand in an HTTP header.
    """
    headers = dict(candidate.headers)
    for header in candidate.headers_from:
        headers[header.name] = _header_value(candidate, header.secret, secrets)
    return ClientSettings(
        base_url=candidate.base_url,
        api_key=_header_value(candidate, candidate.api_key, secrets) if candidate.api_key else None,
        headers=tuple(sorted(headers.items())),
        ca_bundle=candidate.ca_bundle,
        proxy_url=candidate.proxy_url,
    )


def _header_value(candidate: ModelAccess, ref: SecretKey, secrets: Secrets) -> str:
    value = secrets.value(ref).strip()
    if not value or not value.isascii() or not value.isprintable():
        raise ModelRefused(
            f"The entry {ref.key!r} of the Secret {ref.name!r} is empty or holds characters that an HTTP header cannot"
            " carry. Write the plain key into it.",
            endpoint=candidate.endpoint,
        )
    return value


class ClientPool:
    """The clients of this process."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._clients: dict[ClientSettings, EndpointClient] = {}

    @contextlib.asynccontextmanager
    async def borrow(self, settings: ClientSettings, *, endpoint: str) -> AsyncIterator[EndpointClient]:
        """A client with these settings; it is not closed while it is borrowed.

        Raises:
            ModelRefused: No client can be made of the settings.
        """
        client = self._clients.get(settings)
        if client is None:
            client = self._clients[settings] = _build(settings, endpoint=endpoint)
        client.users += 1
        try:
            await self._close_idle()
            yield client
        finally:
            client.users -= 1
            client.last_used = time.monotonic()

    async def aclose(self) -> None:
        """Close every client; requests that still run fail."""
        clients, self._clients = self._clients, {}
        async with asyncio.TaskGroup() as group:
            for client in clients.values():
                group.create_task(client.openai.close())

    async def _close_idle(self) -> None:
        limit = time.monotonic() - self._idle_seconds
        idle = [s for s, client in self._clients.items() if not client.users and client.last_used <= limit]
        for client in [self._clients.pop(settings) for settings in idle]:
            await client.openai.close()


def _build(settings: ClientSettings, *, endpoint: str) -> EndpointClient:
    try:
        for address in (settings.base_url, settings.proxy_url or ""):
            _ = urlsplit(address).port  # raises what the HTTP client would only find out when it connects
        http = DefaultAsyncHttpxClient(
            verify=_trust(settings.ca_bundle, endpoint=endpoint),
            proxy=settings.proxy_url,
            timeout=_TIMEOUT,
            follow_redirects=False,  # it would carry secret headers to a host that nobody named
            trust_env=False,
        )
        openai = AsyncOpenAI(
            base_url=settings.base_url,
            api_key=settings.api_key or "none",  # it insists on one; the headers take it away
            max_retries=0,
            timeout=_TIMEOUT,
            http_client=http,
        )
    except (InvalidURL, ValueError):
        raise ModelRefused(
            f"The address of the model endpoint {endpoint!r} is not usable. Check its baseURL and proxyURL.",
            endpoint=endpoint,
        ) from None
    return EndpointClient(openai, _headers(settings))


def _headers(settings: ClientSettings) -> dict[str, str | Omit]:
    # The SDK takes organisation and project from the environment.
    headers: dict[str, str | Omit] = {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}
    if settings.api_key is None:
        headers["Authorization"] = Omit()
    # Spelt as the SDK spells its own: it takes names that differ in case for different headers and sends both.
    return headers | {name.title(): value for name, value in settings.headers}


def _trust(ca_bundle: str | None, *, endpoint: str) -> ssl.SSLContext:
    if ca_bundle is None:
        return public_trust()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=ca_bundle)
    except (ssl.SSLError, ValueError, TypeError):
        raise ModelRefused(
            f"The CA bundle of the model endpoint {endpoint!r} holds no valid certificate in PEM.", endpoint=endpoint
        ) from None
    return context
