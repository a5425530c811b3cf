"""HTTP to places that somebody else has named. Whatever the runtime fetches or posts by such a URL goes this way.

Every address that a name has is checked, and one of exactly these is connected to: the connector gets its addresses from the
checking resolver and caches none, and whatever it is about to connect to is checked once more when its socket is made. So a
name that answers differently the next time (DNS rebinding) finds no gap. TLS and the header `Host` go by the name. Redirects
are not followed: each would be another URL of somebody else's. Names are asked for without threads: somebody else's name
server that does not answer must not use up those in which the stores' names are looked up. No proxy, cookie or password file of the process is used.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..egress.targets import EgressPolicy, Target, TargetRefused

_CONNECTING: ContextVar[tuple[EgressPolicy, Target]] = ContextVar("connecting")
"""What the request of this task is about; its connection is made by tasks that inherit it."""


class GuardedHttp:
    """Opens connections to checked addresses only."""

    def __init__(
        self,
        policy: Callable[[], EgressPolicy],
        *,
        resolver: AbstractResolver | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        """No connection is made before it is needed; make it where an event loop runs.

        Args:
            policy: What is allowed now.
            resolver: Who knows the addresses of names; by default the servers that the system names.
            trust: Which certificates are believed; the system's by default.
        """
        self._policy = policy
        self._resolver = _CheckingResolver(resolver or aiohttp.AsyncResolver())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,
                socket_factory=_make_checked_socket,
                ssl=trust or ssl.create_default_context(),
                # Connections are not shared between requests: one that was allowed yesterday may be refused today.
                force_close=True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def aclose(self) -> None:
        """Close all connections, and ask for no name any more."""
        await self._session.close()
        await self._resolver.close()  # a connector leaves those alone that it was given

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and yield the answer when its headers are there. Who calls bounds the time and what is read of the body.

        Raises:
            TargetRefused: The URL leads where it must not.
            OSError, aiohttp.ClientError: There is no answer.
        """
        policy = self._policy()
        target = policy.check_url(url)
        token = _CONNECTING.set((policy, target))
        try:
            answer = await self._session.request(
                method, URL(url, encoded=True), data=body, headers=headers, allow_redirects=False
            )
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, _Refused):
                raise TargetRefused(str(error.os_error)) from None
            raise
        finally:
            _CONNECTING.reset(token)
        async with answer:
            yield answer


class _Refused(OSError):
    """A refusal in the only form that the connector passes on."""


class _CheckingResolver(AbstractResolver):
    """Gives a name's addresses if all of them may be reached."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver`.

        Raises:
            OSError: There is no such name, or one of its addresses must not be reached.
        """
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError("the name has no address")
        for one in found:
            _check(one["host"])
        return found

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


def _make_checked_socket(info: tuple[Any, ...]) -> socket.socket:
    """The socket for an address that is connected to in the next moment."""
    family, kind, protocol, _, where = info
    _check(where[0])
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setblocking(False)
    return made


def _check(address: str) -> None:
    policy, target = _CONNECTING.get()
    try:
        policy.check_address(target, ip_address(address))
    except ValueError as error:  # TargetRefused, or no address at all
        raise _Refused(str(error)) from None
