"""Asks runtime pods what they serve, over their internal port.

The bearer token is one of the operator's own ServiceAccount, made for the one tenant (its audience), so that a runtime that
leaks it gives away nothing but itself. A pod is not trusted: its answer is bounded and checked.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self
from uuid import UUID

import aiohttp
from pydantic import ValidationError

from syntera_crds.contract import names
from syntera_crds.contract.internal_api import AGENT_PATH, MAX_WAIT_SECONDS, LoadedAgent
from syntera_kube import KubeClient

from .errors import RuntimeUnreachable
from .tracing import NO_TRACER, Attributes, Tracer

_TOKEN_SECONDS = 3600
_TOKEN_USE = 0.8
"""A token is used for this part of its life."""
_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 5.0
"""On top of what the pod was asked to wait."""
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    use_until: float


class Runtimes:
    """The internal API of all tenants' runtimes. Make it inside a running event loop; close it with `aclose`."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        service_account: str,
        port: int = names.INTERNAL_PORT,
        observer: Callable[[int, float], None] | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Prepare; nothing is asked for yet.

        Args:
            client: makes the tokens.
            namespace: the operator's.
            service_account: the operator's.
            port: where pods serve the internal API.
            observer: told of each answer: its HTTP status (0: there was none) and the seconds until it was there.
            tracer: told of each question; the pod goes on with its trace.
        """
        self._observer = observer
        self._tracer = tracer
        self._client = client
        self._namespace = namespace
        self._service_account = service_account
        self._port = port
        self._tokens: dict[UUID, _Token] = {}
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MAX_CONNECTIONS, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "syntera-operator", "Accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def loaded(
        self, pod_ip: str, tenant_id: UUID, agent: str, *, digest: str, wait_seconds: float
    ) -> LoadedAgent | None:
        """What a pod serves for an agent, as soon as it is `digest`, else after `wait_seconds`; None: it serves none.

        Raises:
            RuntimeUnreachable: the pod did not answer, or not as agreed.
            KubeError: no token could be had.
        """
        for attempt in (1, 2):
            token = await self._token(tenant_id)
            status, body = await self._observed_ask(pod_ip, token, agent, digest=digest, wait_seconds=wait_seconds)
            if status == 401 and attempt == 1:  # the cluster's signing key was replaced
                self._tokens.pop(tenant_id, None)
                continue
            break
        if status == 404:
            return None
        if status != 200:
            raise RuntimeUnreachable(f"the runtime pod at {pod_ip} answered with HTTP status {status}")
        try:
            return LoadedAgent.model_validate_json(body)
        except ValidationError:
            raise RuntimeUnreachable(f"the runtime pod at {pod_ip} answered with something else than agreed") from None

    async def _observed_ask(
        self, pod_ip: str, token: str, agent: str, *, digest: str, wait_seconds: float
    ) -> tuple[int, bytes]:
        described: Attributes = {
            "http.request.method": "GET",
            "url.template": AGENT_PATH,
            "server.address": pod_ip,
            "server.port": self._port,
            "syntera.agent": agent,
        }
        started, status = time.monotonic(), 0
        with self._tracer.call(f"GET {AGENT_PATH}", described) as span:
            headers = {"Authorization": f"Bearer {token}", **span.headers()}
            try:
                status, body = await self._ask(pod_ip, headers, agent, digest=digest, wait_seconds=wait_seconds)
            finally:
                if self._observer is not None:
                    self._observer(status, time.monotonic() - started)
            span.set({"http.response.status_code": status})
            return status, body

    async def _ask(
        self, pod_ip: str, headers: dict[str, str], agent: str, *, digest: str, wait_seconds: float
    ) -> tuple[int, bytes]:
        host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
        wait = max(0.0, min(wait_seconds, MAX_WAIT_SECONDS))
        try:
            async with self._session.get(
                f"http://{host}:{self._port}{AGENT_PATH.format(agent=agent)}",
                params={"digest": digest, "waitSeconds": f"{wait:g}"},
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=wait + _ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
            ) as response:
                body = b""
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > _MAX_ANSWER_BYTES:
                        raise RuntimeUnreachable(f"the runtime pod at {pod_ip} answered with far too much")
                return response.status, body
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            raise RuntimeUnreachable(f"the runtime pod at {pod_ip} does not answer: {str(exc) or 'too slow'}") from exc

    async def _token(self, tenant_id: UUID) -> str:
        # One request for a token, however many agents of the tenant are asked for at once.
        async with self._locks.setdefault(tenant_id, asyncio.Lock()):
            known = self._tokens.get(tenant_id)
            if known is None or time.monotonic() >= known.use_until:
                known = self._tokens[tenant_id] = await self._new_token(tenant_id)
            return known.text

    async def _new_token(self, tenant_id: UUID) -> _Token:
        asked_at = time.monotonic()
        made = await self._client.create_token(
            self._namespace,
            self._service_account,
            audiences=[names.internal_audience(tenant_id)],
            expiration_seconds=_TOKEN_SECONDS,
        )
        return _Token(made.token, asked_at + made.expires_in_seconds * _TOKEN_USE)
