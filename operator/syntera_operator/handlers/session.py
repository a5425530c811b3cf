"""kopf's HTTP session, which hands on no event that kopf should not see.

* No object that is nested too deep for kopf's reader of JSON: one that anybody made would end the watch of all, and with it
  the operator; see `syntera_kube.decoding`.
* No change that is known already. Half of all events are echoes of what the operator wrote itself, and an event costs kopf
  as much time as everything else costs the operator's two writes.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import aiohttp
import orjson

from syntera_kube import ClusterConfig
from syntera_kube.decoding import cut, decode

from ..manifest import Manifest

IsKnown = Callable[[Manifest], bool]
"""Whether a Tenant or Agent is known in that or a newer version."""


def open_session(config: ClusterConfig, *, is_known: IsKnown) -> aiohttp.ClientSession:
    """A session with the same API server and identity that our own client uses; for one life of the token."""

    class Response(_Response):
        """aiohttp makes its answers itself, from their class alone."""

        drops = staticmethod(is_known)

    token = config.token_file.read_text().strip() if config.token_file else config.token
    context = config.ssl_context()
    return aiohttp.ClientSession(
        # Each watch holds a connection.
        connector=aiohttp.TCPConnector(limit=0, ssl=True if context is None else context),
        headers={"Authorization": f"Bearer {token}"} if token else None,
        response_class=Response,
    )


_CHANGE = b'{"type":"MODIFIED",'
"""How the API server begins the line of a change."""


class _Response(aiohttp.ClientResponse):
    """An answer as kopf reads it: whole, or line by line."""

    drops: IsKnown

    async def start(self, connection: Any) -> Self:
        await super().start(connection)
        self.content = _Lines(self.content, self.drops)  # type: ignore[assignment]  # it passes on all that it does not do itself
        return self

    async def json(self, **_: Any) -> Any:
        return decode(await self.read())


class _Lines:
    """The stream of a watch in which each line is shallow enough and news."""

    def __init__(self, content: aiohttp.StreamReader, drops: IsKnown) -> None:
        self._content = content
        self._drops = drops

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Whole lines, each with its end."""
        rest = b""
        async for chunk in self._content.iter_chunked(size):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in map(cut, lines):
                if not self._is_old(line):
                    yield line + b"\n"
        if rest:
            yield cut(rest)

    def _is_old(self, line: bytes) -> bool:
        # Nothing but changes: a bookmark or an error is kopf's, and a deletion is never known before.
        if not line.startswith(_CHANGE):
            return False
        return self._drops(orjson.loads(line)["object"])
