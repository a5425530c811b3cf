"""A tenant's API as the commands use it: the API's own client, one step at a time, its texts safe to print and its failures ours.

Knows neither terminals nor Kubernetes.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol, Self, TypeVar, cast

from syntera_crds.contract.api_key import Scope
from syntera_runtime.client import (
    ApiError,
    Client,
    ConnectionFailed,
    Event,
    KnowledgeBases,
    Location,
    MessageCompleted,
    MessageDelta,
    MessageFailed,
    MessageSnapshot,
    MessageStopped,
    ReplyLost,
    Retries,
    UnexpectedAnswer,
)
from syntera_runtime.client.models import Agent, Answer, ApiKeyInfo, Citation, CreatedApiKey, StartedConversation
from syntera_runtime.client.usage_models import UsageReport

from .errors import AgentUnavailable, AnswerFailed, RequestRefused, RuntimeUnreachable
from .text import printable

KEYS_OF_A_PAGE = 200
"""As many as the server gives at once."""
_REQUESTS = Retries(attempts=2)
"""Somebody waits for each of them."""
_STREAMS = Retries(attempts=6)
"""Some seconds: as long as a forwarded port takes to be made anew."""


class Connection(Location, Protocol):
    """A way to a tenant's API that may have to be made anew. `url` raises RuntimeUnreachable."""

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine's loopback, where no proxy of the environment belongs."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """All of an answer until now, in place of the pieces of before."""

    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """What a number in an answer stands for."""

    number: int
    title: str
    """With the headings and the pages of what is cited."""
    place: str
    """URL of the document, else its path."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The answer is complete and stored."""

    text: str
    sources: tuple[Source, ...] = ()


Told = Piece | Restarted | Whole
_Given = TypeVar("_Given")


class TenantClient:
    """The API of one tenant, with one of its keys. Not for more than one thread."""

    def __init__(self, connection: Connection, key: str) -> None:
        """Nothing is sent before the first call."""
        self._runner = asyncio.Runner()
        self._client = Client(
            connection,
            key,
            retries=_REQUESTS,
            stream_retries=_STREAMS,
            trust_env=not connection.is_local,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def agent(self, name: str) -> Agent:
        """One agent.

        Raises:
            AgentUnavailable: There is none of that name; the message lists those that there are.
            RequestRefused: The API refused the key or failed.
            RuntimeUnreachable: The API does not answer.
        """
        try:
            return self.do(self._client.agent(name))
        except RequestRefused as exc:
            if exc.status != 404:
                raise
        names = ", ".join(agent.name for agent in self.agents()) or "none"
        raise AgentUnavailable(f"There is no agent {name!r} here. Agents: {names}.")

    def agents(self) -> list[Agent]:
        """All agents, by name.

        Raises:
            RequestRefused: The API refused the key or failed.
            RuntimeUnreachable: The API does not answer.
        """
        return self.do(self._client.agents())

    def start(self, agent: str) -> StartedConversation:
        """Begin a conversation.

        Raises:
            RequestRefused: The API refused it.
            RuntimeUnreachable: The API does not answer.
        """
        return self.do(self._client.start(agent))

    def send(self, conversation: str, content: str) -> Generator[Told, None, None]:
        """Say something and hear the answer, piece by piece, the whole at the end. A lost connection is made anew.

        Raises:
            AnswerFailed: The answer broke off.
            RequestRefused: The API refused the message.
            RuntimeUnreachable: The API does not answer.
        """
        for event in self.each(self._client.send(conversation, content)):
            told = _tell(event)
            if told is not None:
                yield told

    def complete(self, agent: str, content: str) -> Generator[str, None, None]:
        """Ask something and hear the answer, piece by piece. The server keeps nothing of either text.

        Raises:
            AnswerFailed: The answer broke off.
            RequestRefused: The API refused the question, or no model could answer; the code is one of `openai.md`.
            RuntimeUnreachable: The API does not answer.
        """
        for text in self.each(self._client.completions.stream(agent, content)):
            yield printable(text)

    def create_secret_key(self, name: str, scopes: Iterable[Scope], *, expires_at: datetime | None) -> CreatedApiKey:
        """Make an API key for servers.

        Raises:
            RequestRefused: The API refused it.
            RuntimeUnreachable: The API does not answer.
        """
        return self.do(self._client.api_keys.create_secret(name, scopes, expires_at=expires_at))

    def create_publishable_key(
        self, name: str, agents: Iterable[str], *, allowed_origins: Iterable[str], expires_at: datetime | None
    ) -> CreatedApiKey:
        """Make an API key for pages of websites.

        Raises:
            RequestRefused: The API refused it.
            RuntimeUnreachable: The API does not answer.
        """
        making = self._client.api_keys.create_publishable(
            name, agents, allowed_origins=allowed_origins, expires_at=expires_at
        )
        return self.do(making)

    def api_keys(self) -> Iterator[ApiKeyInfo]:
        """All API keys, oldest first.

        Raises:
            RequestRefused: The API refused the key or failed.
            RuntimeUnreachable: The API does not answer.
        """
        for key in self.each(self._client.api_keys.list(page_size=KEYS_OF_A_PAGE)):
            yield _clean(key)

    def revoke_api_key(self, key_id: str) -> None:
        """Revoke an API key.

        Raises:
            RequestRefused: The API refused it.
            RuntimeUnreachable: The API does not answer.
        """
        self.do(self._client.api_keys.revoke(key_id))

    def usage(self, *, by: str, since: date | None, until: date | None) -> UsageReport:
        """What was used from one day to another, by `agent`, `model` or `day`. None: the month until today.

        Raises:
            RequestRefused: The API refused the key or the days, or failed.
            RuntimeUnreachable: The API does not answer.
        """
        return self.do(self._client.usage.report(since=since, until=until, group_by=by))

    @property
    def knowledge_bases(self) -> KnowledgeBases:
        """The tenant's knowledge bases; `do` and `all` run what is called."""
        return self._client.knowledge_bases

    def do(self, call: Coroutine[Any, Any, _Given]) -> _Given:
        """What a call of the API's client answers, its texts safe to print.

        Raises:
            RequestRefused: The API refused it or failed.
            RuntimeUnreachable: The API does not answer.
        """
        with _our_failures():
            return _clean(self._runner.run(call))

    def all(self, items: AsyncGenerator[_Given, None]) -> list[_Given]:
        """All of a list that comes in pages, its texts safe to print.

        Raises:
            AnswerFailed: It broke off.
            RequestRefused: The API refused it or failed.
            RuntimeUnreachable: The API does not answer.
        """
        return [_clean(item) for item in self.each(items)]

    def each(self, items: AsyncGenerator[_Given, None]) -> Generator[_Given, None, None]:
        """What comes, one step of the event loop's at a time: the terminal is between them.

        Raises:
            AnswerFailed: It broke off.
            RequestRefused: The API refused it or failed.
            RuntimeUnreachable: The API does not answer.
        """

        async def step() -> _Given:
            return await anext(items)

        began = False
        try:
            while True:
                with _our_failures(has_begun=began):
                    try:
                        item = self._runner.run(step())
                    except StopAsyncIteration:
                        return
                began = True
                yield item
        finally:
            self._runner.run(_close(items))


@contextlib.contextmanager
def _our_failures(*, has_begun: bool = False) -> Iterator[None]:
    """Say the client's failures as ours.

    Args:
        has_begun: An answer was on its way.
    """
    try:
        yield
    except ApiError as exc:
        if has_begun:
            raise AnswerFailed(printable(exc.detail), code=exc.code or None) from None
        raise RequestRefused(printable(exc.detail), status=exc.status, code=exc.code or None) from None
    except ConnectionFailed as exc:
        if has_begun:
            raise AnswerFailed(f"{printable(str(exc))} Ask again.") from None
        raise RuntimeUnreachable(printable(str(exc))) from None
    except ReplyLost as exc:
        raise AnswerFailed(str(exc)) from None
    except UnexpectedAnswer as exc:
        raise RuntimeUnreachable(printable(str(exc))) from None


def _name_source(citation: Citation) -> Source:
    repeats = citation.headings[:1] == [citation.title]  # many a document begins with its title as a heading
    title = " > ".join((citation.title, *citation.headings[repeats:]))
    if citation.page is not None:
        title += f", page {citation.page}"
    return Source(citation.number, printable(title), printable(citation.url or citation.path))


def _tell(event: Event) -> Told | None:
    match event:
        case MessageDelta(text=text):
            return Piece(printable(text))
        case MessageSnapshot(text=text):
            return Restarted(printable(text))
        case MessageCompleted(message=message) | MessageStopped(message=message):
            return Whole(printable(message.content), tuple(_name_source(one) for one in message.citations))
        case MessageFailed(error=problem):
            raise AnswerFailed(printable(problem.detail), code=problem.code)
        case _:
            return None


def _clean(answer: _Given) -> _Given:
    """The same with texts that are safe to print."""
    if isinstance(answer, list):
        return cast("_Given", [_clean(item) for item in answer])
    if isinstance(answer, Answer):
        return cast("_Given", type(answer).model_validate(_printable(answer.model_dump())))
    return answer


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {name: _printable(inner) for name, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()
