"""A tenant's API as the chat uses it: agents, conversations, streamed answers. Knows neither terminals nor Kubernetes."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from .errors import AgentUnavailable, AnswerFailed, RequestRefused, RuntimeUnreachable
from .sse import Event, read_events
from .text import printable

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""The server gives a sign of life every 10 seconds while an answer is on its way."""


class Connection(Protocol):
    """A way to a tenant's API that may have to be made anew."""

    def url(self) -> str:
        """Where the API is now, without a slash at the end.

        Raises:
            RuntimeUnreachable: It cannot be reached.
        """
        ...

    def renew(self) -> bool:
        """Make the way anew after a request could not be sent. False: there is nothing to be made anew."""
        ...


_Text = Annotated[str, AfterValidator(printable)]


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class AgentInfo(_Answer):
    """An agent as its users see it."""

    name: _Text
    display_name: _Text
    description: _Text = ""
    suggestions: list[_Text] = []


class _Message(_Answer):
    content: _Text


class Conversation(_Answer):
    """A thread with an agent."""

    id: _Text
    messages: list[_Message] = []

    @property
    def greeting(self) -> str | None:
        """What the agent says first."""
        return self.messages[0].content if self.messages else None


class _Agents(_Answer):
    items: list[AgentInfo]


class _Delta(_Answer):
    text: _Text


class _Completed(_Answer):
    message: _Message


class _Problem(_Answer):
    detail: _Text
    code: str | None = None


class _Failed(_Answer):
    error: _Problem


_Model = TypeVar("_Model", bound=_Answer)


@dataclass(frozen=True, slots=True)
class Piece:
    """The next piece of an answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Whole:
    """The answer is complete and stored."""

    text: str


class TenantClient:
    """The API of one tenant, with one of its keys."""

    def __init__(self, connection: Connection, key: str) -> None:
        """Nothing is sent before the first call."""
        self._connection = connection
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not _is_local(connection),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def agent(self, name: str) -> AgentInfo:
        """One agent.

        Raises:
            AgentUnavailable: There is none of that name; the message lists those that there are.
            RequestRefused: The API refused the key or failed.
            RuntimeUnreachable: The API does not answer.
        """
        try:
            return _parse(AgentInfo, self._call("GET", f"/v1/agents/{quote(name, safe='')}"))
        except RequestRefused as exc:
            if exc.status != 404:
                raise
        names = ", ".join(agent.name for agent in self.agents()) or "none"
        raise AgentUnavailable(f"There is no agent {name!r} here. Agents: {names}.")

    def agents(self) -> list[AgentInfo]:
        """All agents, by name.

        Raises:
            RequestRefused: The API refused the key or failed.
            RuntimeUnreachable: The API does not answer.
        """
        return _parse(_Agents, self._call("GET", "/v1/agents")).items

    def start(self, agent: str) -> Conversation:
        """Begin a conversation.

        Raises:
            RequestRefused: The API refused it.
            RuntimeUnreachable: The API does not answer.
        """
        return _parse(Conversation, self._call("POST", f"/v1/agents/{quote(agent, safe='')}/conversations"))

    def send(self, conversation: str, content: str) -> Generator[Piece | Whole, None, None]:
        """Say something and hear the answer, piece by piece, the whole at the end.

        Raises:
            AnswerFailed: The answer broke off.
            RequestRefused: The API refused the message.
            RuntimeUnreachable: The API does not answer.
        """
        with self._open(
            "POST",
            f"/v1/conversations/{conversation}/messages",
            json={"content": content},
            headers={"Accept": "text/event-stream"},
        ) as response:
            try:
                for event in read_events(response.iter_bytes()):
                    told = _tell(event)
                    if told is not None:
                        yield told
                    if isinstance(told, Whole):
                        return
            except httpx.HTTPError:
                raise AnswerFailed("The connection was lost before the answer was complete; ask again.") from None
        raise AnswerFailed("The answer ended before it was complete; ask again.")

    def _call(self, method: str, path: str) -> bytes:
        with self._open(method, path) as response:
            try:
                return response.read()
            except httpx.HTTPError as exc:
                raise self._unreachable(exc) from None

    @contextlib.contextmanager
    def _open(self, method: str, path: str, **content: Any) -> Iterator[httpx.Response]:
        """Send a request and read the head of the answer."""
        response = self._send(method, path, **content)
        try:
            if not response.is_success:
                raise _refusal(response)
            yield response
        finally:
            response.close()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send once, and once more over a new connection if the first try reached nobody."""
        try:
            return self._send_once(method, path, **content)
        except httpx.ConnectError as exc:
            if not self._connection.renew():
                raise self._unreachable(exc) from None
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from None
        try:
            return self._send_once(method, path, **content)
        except httpx.HTTPError as exc:
            raise self._unreachable(exc) from None

    def _send_once(self, method: str, path: str, **content: Any) -> httpx.Response:
        request = self._http.build_request(method, self._connection.url() + path, **content)
        return self._http.send(request, stream=True)

    def _unreachable(self, exc: httpx.HTTPError) -> RuntimeUnreachable:
        reason = printable(str(exc)) or type(exc).__name__
        return RuntimeUnreachable(f"The tenant's API at {self._connection.url()} does not answer: {reason}.")


def _is_local(connection: Connection) -> bool:
    """Forwarded ports are on loopback, where no proxy of the environment belongs."""
    return httpx.URL(connection.url()).host in {"127.0.0.1", "localhost", "::1"}


def _tell(event: Event) -> Piece | Whole | None:
    match event.name:
        case "message.delta":
            return Piece(_parse(_Delta, event.data).text)
        case "message.completed":
            return Whole(_parse(_Completed, event.data).message.content)
        case "message.failed":
            raise AnswerFailed(_parse(_Failed, event.data).error.detail)
        case _:  # other releases know other events
            return None


def _refusal(response: httpx.Response) -> RequestRefused:
    try:
        problem = _Problem.model_validate_json(response.read())
    except (ValidationError, httpx.HTTPError):
        return RequestRefused(
            f"{response.url.host} answered HTTP {response.status_code}; is this a tenant's API?",
            status=response.status_code,
            code=None,
        )
    return RequestRefused(problem.detail, status=response.status_code, code=problem.code)


def _parse(model: type[_Model], data: str | bytes) -> _Model:
    try:
        return model.model_validate_json(data)
    except ValidationError:
        raise RuntimeUnreachable("The server's answers are not those of a tenant's API; is the URL right?") from None
