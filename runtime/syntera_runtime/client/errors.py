"""What can go wrong for a client, as one tree.

What the API refuses is an `ApiError`: a class for each status that callers decide by, and one for each code that carries
something or is decided by on its own. Codes that are not known here keep the class of their status, and their text.
"""

from typing import ClassVar
from uuid import UUID

from .models import Fault, Message, Problem


class ClientError(Exception):
    """The API did not do what it was asked to."""


class ConnectionFailed(ClientError):
    """The API cannot be reached or did not answer in time, and trying again did not help or was not safe."""


class ReplyLost(ClientError):
    """A reply went on, but its events can no longer be had. The list of messages has it."""


class UnexpectedAnswer(ClientError):
    """What answered is no API of this kind."""


class ApiError(ClientError):
    """The API refused the request, or failed."""

    statuses: ClassVar[tuple[int, ...]] = ()
    code_of_class: ClassVar[str | None] = None

    def __init__(
        self, problem: Problem, *, status: int, request_id: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.status = status
        self.code = problem.code
        """Stable; decide by this."""
        self.detail = problem.detail
        self.retryable = problem.retryable
        """Whether the same request may succeed later."""
        self.request_id = problem.request_id or request_id
        """Name it when you ask for help."""
        self.retry_after_seconds = problem.retry_after_seconds if retry_after_seconds is None else retry_after_seconds
        """When trying again makes sense; None: not known."""


class InvalidRequest(ApiError):
    """A field, parameter or id is not valid."""

    statuses = (400, 413, 415, 422)

    @property
    def faults(self) -> list[Fault]:
        """Every fault that was found."""
        return self.problem.errors or []


class Unauthenticated(ApiError):
    """There are no valid credentials."""

    statuses = (401,)


class Forbidden(ApiError):
    """The credentials do not allow this."""

    statuses = (403,)


class NotFound(ApiError):
    """What is asked for does not exist, or not for these credentials."""

    statuses = (404,)


class AgentNotFound(NotFound):
    """There is no such agent."""

    code_of_class = "agent-not-found"


class ConversationNotFound(NotFound):
    """There is no such conversation."""

    code_of_class = "conversation-not-found"


class MessageNotFound(NotFound):
    """There is no such reply in the conversation."""

    code_of_class = "message-not-found"


class Conflict(ApiError):
    """The state of things does not allow this now."""

    statuses = (409,)


class ConversationBusy(Conflict):
    """The agent still replies to an earlier message."""

    code_of_class = "conversation-busy"

    @property
    def turn_id(self) -> UUID | None:
        """The turn that runs."""
        return self.problem.turn_id


class ConversationEnded(Conflict):
    """The conversation is ended or archived."""

    code_of_class = "conversation-ended"


class RevisionMismatch(ApiError):
    """Somebody else has changed the conversation since it was read."""

    statuses = (412,)
    code_of_class = "revision-mismatch"


class RateLimited(ApiError):
    """A limit of the tenant is reached. With the code `insufficient_quota` it is one on tokens, that chat completions met."""

    statuses = (429,)


class ServerError(ApiError):
    """The server, or what it depends on, failed."""

    statuses = (500, 502, 503, 504)


class StoreUnavailable(ServerError):
    """A store of the server does not answer."""

    code_of_class = "store-unavailable"

    @property
    def store(self) -> str | None:
        """Which."""
        return self.problem.store


class ReplyFailed(ClientError):
    """The turn failed. The user's message is stored; say it again if `retryable`."""

    def __init__(self, problem: Problem, *, message: Message | None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.code = problem.code
        """Stable; decide by this."""
        self.retryable = problem.retryable
        self.retry_after_seconds = problem.retry_after_seconds
        """When trying again makes sense; None: not known."""
        self.message = message
        """What had been said until then; None: not even that could be stored."""


def build_api_error(
    problem: Problem, *, status: int, request_id: str | None = None, retry_after_seconds: float | None = None
) -> ApiError:
    """The error of the most fitting class."""
    kind = _find_class(problem.code, status)
    return kind(problem, status=status, request_id=request_id, retry_after_seconds=retry_after_seconds)


def _find_class(code: str, status: int) -> type[ApiError]:
    kinds = [ApiError]
    by_status: type[ApiError] = ServerError if status >= 500 else ApiError
    for kind in kinds:
        if kind.code_of_class == code:
            return kind
        if status in vars(kind).get("statuses", ()):
            by_status = kind
        kinds += kind.__subclasses__()
    return by_status
