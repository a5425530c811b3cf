"""Git's protocol over the guarded HTTP of everything else: dulwich speaks it in a thread, each request is made by the loop.

So the addresses of names are checked as everywhere, and exactly these are connected to. The repository's own server is the only
one that is asked, and the only one that sees the credentials: redirects are followed on it alone, and packs are fetched from
nowhere else.
"""

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from dulwich.client import AbstractHttpGitClient, default_user_agent_string

from ...egress.targets import TargetRefused
from ...models.knowledge import Failing
from .web_http import Http
from .web_urls import normalize, origin_of

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 3
_MOST_TALK = 16 * 1024 * 1024
"""Bytes that the server may say before, between and after pieces of the pack: its branches and its progress."""
_PATIENCE_SECONDS = 60
"""For the next bytes."""

T = TypeVar("T")


class GitMissed(Exception):
    """The repository cannot be read this time."""

    def __init__(self, reason: Failing, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Loop:
    """The event loop, for a thread: it waits there for what the loop does, until it is stopped or the time is over."""

    def __init__(self, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Make it where the loop runs."""
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._ends_at = clock() + seconds
        self._is_stopped = False
        self._waited_for: Future[Any] | None = None

    def stop(self) -> None:
        """End what is waited for, and everything after it. Called from the loop."""
        self._is_stopped = True
        if self._waited_for is not None:
            self._waited_for.cancel()

    def check(self) -> None:
        """Raises:
        GitMissed: It was stopped, or the time is over.
        """
        if self._is_stopped or self._clock() >= self._ends_at:
            raise GitMissed(Failing.TOOK_TOO_LONG, "Reading the repository takes too long: choose a smaller one.")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the loop makes of it.

        Raises:
            GitMissed: It was stopped, or the time is over.
        """
        self._waited_for = future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        if self._is_stopped:
            future.cancel()
        try:
            return future.result(timeout=max(0.0, self._ends_at - self._clock()))
        except (CancelledError, TimeoutError):
            future.cancel()
            self.check()
            raise GitMissed(Failing.UNAVAILABLE, "The git server does not answer in time.") from None


@dataclass(slots=True)
class _Reply:
    """As much of an answer as dulwich wants to know."""

    content_type: str
    redirect_location: str

    def close(self) -> None:
        """The client closes all answers in the end."""


class GuardedGitClient(AbstractHttpGitClient):
    """Speaks with one server. Its calls block, and are made in a thread."""

    def __init__(self, url: str, http: Http, loop: Loop, *, username: str | None, password: str | None) -> None:
        # Dulwich's own server talks to nobody without thin packs. Who has nothing gets none.
        super().__init__(url, thin_packs=True, quiet=True)
        self._http = http
        self._runner = loop
        self._origin = origin_of(url)
        self._talk = 0
        self._answers = AsyncExitStack()
        self._credentials: dict[str, str] = {}
        if username is not None:
            pair = b64encode(f"{username}:{password or ''}".encode()).decode()
            self._credentials = {"Authorization": f"Basic {pair}"}

    async def aclose(self) -> None:
        """Let go of all answers. Called from the loop, when the thread asks no more."""
        await self._answers.aclose()

    def count_pack(self) -> None:
        """A piece of the pack has come: somebody else counts these."""
        self._talk = 0

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: ARG002  # part of the signature; errors are raised always
    ) -> tuple[Any, Callable[[int], bytes]]:
        """See `AbstractHttpGitClient`: what subclasses are to provide.

        Raises:
            GitMissed: There is no answer of a git server.
        """
        body = data if data is None or isinstance(data, bytes) else b"".join(data)
        at = url
        for _ in range(_MOST_HOPS):
            self._check_origin(at)
            response = self._runner.run(self._ask(at, body, headers or {}))
            if response.status not in _REDIRECTS or body is not None:
                break
            at = normalize(response.headers.get("Location", ""), base=at) or ""
        else:
            raise GitMissed(Failing.REFUSED, "The git server redirects too often.")
        content_type = _judge(response, has_credentials=bool(self._credentials))
        return _Reply(content_type, at if at != url else ""), _Reader(self, response).read

    def _check_origin(self, url: str) -> None:
        if not url or origin_of(url) != self._origin:
            raise GitMissed(
                Failing.REFUSED,
                f"The git server leads to another one, {url[:200]!r}: if the repository has moved, write its new URL.",
            )

    async def _ask(self, url: str, body: bytes | None, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
        """The answer to one request, when its head is there."""
        ours = {
            "User-Agent": default_user_agent_string(),
            "Accept-Encoding": "identity",
            "Pragma": "no-cache",
            **self._credentials,
        }
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                asked = self._http.request(
                    "GET" if body is None else "POST", url, body=body, headers={**headers, **ours}
                )
                return await self._answers.enter_async_context(asked)
        except TargetRefused as error:
            raise GitMissed(Failing.REFUSED, f"The git server must not be asked: {error}.") from None
        except aiohttp.ClientConnectorCertificateError:
            raise GitMissed(Failing.REFUSED, "The git server's certificate is not one that can be trusted.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise GitMissed(Failing.UNAVAILABLE, "The git server does not answer, or not by HTTP.") from None

    async def read_some(self, response: aiohttp.ClientResponse) -> bytes:
        """The next bytes of a body; none: it has ended."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                piece = await response.content.readany()
        except aiohttp.ClientError:
            raise GitMissed(Failing.UNAVAILABLE, "The git server has broken off its answer.") from None
        self._talk += len(piece)
        if self._talk > _MOST_TALK:
            raise GitMissed(Failing.TOO_LARGE, "The git server names more branches and tags than are read.")
        return piece

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """See `Loop.run`."""
        return self._runner.run(coroutine)


class _Reader:
    """A body as a file."""

    def __init__(self, client: GuardedGitClient, response: aiohttp.ClientResponse) -> None:
        self._client = client
        self._response = response
        self._rest = b""

    def read(self, size: int) -> bytes:
        """That many bytes; fewer at the end."""
        pieces = [self._rest[:size]]
        self._rest = self._rest[size:]
        lacking = size - len(pieces[0])
        while lacking > 0 and (came := self._client.wait_for(self._client.read_some(self._response))):
            pieces.append(came[:lacking])
            self._rest = came[lacking:]
            lacking -= len(pieces[-1])
        return b"".join(pieces)


def _judge(response: aiohttp.ClientResponse, *, has_credentials: bool) -> str:
    """The type of what a git server answers.

    Raises:
        GitMissed: It is none, or it refuses.
    """
    status = response.status
    if status in (401, 403):
        hint = "its credentials are not taken" if has_credentials else "it wants credentials"
        raise GitMissed(Failing.REFUSED, f"The git server refuses the repository with status {status}: {hint}.")
    if status in (404, 410):
        raise GitMissed(
            Failing.NOT_FOUND, "There is no such repository on the git server, or it wants credentials to show it."
        )
    content_type = response.headers.get("Content-Type", "")
    if status != 200:
        raise GitMissed(Failing.UNAVAILABLE, f"The git server answers with status {status}.")
    if not content_type.startswith("application/x-git-") or response.headers.get("Content-Encoding"):
        raise GitMissed(Failing.UNSUPPORTED, "The server at this URL does not speak git's smart protocol.")
    return content_type
