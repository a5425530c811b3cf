"""Everything that can go wrong in the runtime, as one tree.

Each class has a stable `code`, an HTTP `status`, a `title` for people and says whether trying again may help
(`retryable`). Its docstring is its default message. A message may reach the client and the log: it names our objects
and never carries user text, a key, a prompt or a vendor's words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import ClassVar


class SynteraError(Exception):
    """Something went wrong inside the service."""

    code: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, retry_after_seconds: float | None = None) -> None:
        self.message = message or cleandoc(type(self).__doc__ or "")
        self.retry_after_seconds = retry_after_seconds
        """When trying again makes sense; None: not known."""
        super().__init__(self.message)


class ConfigurationError(SynteraError):
    """The process's settings are not usable."""

    code = "configuration-error"
    title = "Configuration error"


# ---- the request ----


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one place of a request."""

    path: str
    """Where, in dots: `body.content`, `query.limit`."""
    message: str
    code: str
    """The kind of fault, from pydantic's list: `missing`, `extra_forbidden`, `string_too_long` ..."""


class InvalidRequest(SynteraError):
    """The request is not valid."""

    code = "invalid-request"
    status = 400
    title = "Invalid request"

    def __init__(self, message: str | None = None, *, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


class MalformedBody(InvalidRequest):
    """The request's body is not valid JSON."""

    code = "malformed-body"
    title = "Malformed body"


class InvalidCursor(InvalidRequest):
    """The cursor is none that this list gave out. Leave it out to begin at the start."""

    code = "invalid-cursor"
    title = "Invalid cursor"


class BodyTooLarge(SynteraError):
    """The request's body is too large."""

    code = "body-too-large"
    status = 413
    title = "Body too large"


class UnsupportedMediaType(SynteraError):
    """The request's body must be `application/json`."""

    code = "unsupported-media-type"
    status = 415
    title = "Unsupported media type"


class NotAcceptable(SynteraError):
    """None of the media types that the request accepts can be produced here."""

    code = "not-acceptable"
    status = 406
    title = "Not acceptable"


class RequestTimeout(SynteraError):
    """The request did not arrive in time."""

    code = "request-timeout"
    status = 408
    title = "Request timeout"
    retryable = True


class RouteNotFound(SynteraError):
    """There is nothing at this path."""

    code = "not-found"
    status = 404
    title = "Not found"


class MethodNotAllowed(SynteraError):
    """This path does not take this method."""

    code = "method-not-allowed"
    status = 405
    title = "Method not allowed"


# ---- who asks ----


class Unauthenticated(SynteraError):
    """The request carries no valid credentials."""

    code = "unauthenticated"
    status = 401
    title = "Not authenticated"


class CredentialsMissing(Unauthenticated):
    """Send an API key in the header `Authorization: Bearer <key>`."""

    code = "credentials-missing"


class CredentialsMalformed(Unauthenticated):
    """The Authorization header holds no well-formed API key."""

    code = "credentials-malformed"


class KeyUnknown(Unauthenticated):
    """This API key does not exist here."""

    code = "key-unknown"


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = "key-expired"


class KeyRevoked(Unauthenticated):
    """This API key was revoked."""

    code = "key-revoked"


class TokenRefused(Unauthenticated):
    """The internal API takes tokens of the operator only."""

    code = "token-refused"


class Forbidden(SynteraError):
    """The credentials do not allow this."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class PublishableKeyRefused(Forbidden):
    """Publishable keys (`syn_pk_...`) cannot be used here; use a secret key from a server of yours."""

    code = "publishable-key-refused"


class ScopeMissing(Forbidden):
    """The API key lacks the scope that this needs."""

    code = "scope-missing"


# ---- what is asked for ----


class AgentNotFound(SynteraError):
    """There is no such agent."""

    code = "agent-not-found"
    status = 404
    title = "Agent not found"


class ConversationNotFound(SynteraError):
    """There is no such conversation."""

    code = "conversation-not-found"
    status = 404
    title = "Conversation not found"


class ConversationBusy(SynteraError):
    """The conversation is still answering an earlier message. Wait for that answer, then send this one again."""

    code = "conversation-busy"
    status = 409
    title = "Conversation busy"
    retryable = True


# ---- a turn ----


class TurnLost(SynteraError):
    """The turn was ended by somebody else, because this process did not renew its lease in time."""

    code = "turn-lost"
    status = 503
    title = "Turn lost"
    retryable = True


class TurnAbandoned(SynteraError):
    """The process that ran this turn ended before the answer did."""

    code = "turn-abandoned"
    status = 503
    title = "Turn abandoned"
    retryable = True


class ShuttingDown(SynteraError):
    """The server was shut down before the answer was complete. Send the message again."""

    code = "shutting-down"
    status = 503
    title = "Shutting down"
    retryable = True


class ClientDisconnected(SynteraError):
    """The client closed the connection before the answer was complete."""

    code = "client-disconnected"
    status = 499
    title = "Client disconnected"


# ---- models ----


class ModelError(SynteraError):
    """The agent's model did not answer."""

    code = "model-error"
    status = 502
    title = "The model did not answer"

    def __init__(
        self, message: str | None = None, *, endpoint: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.endpoint = endpoint
        """The model endpoint's name in the Tenant; for logs and metrics."""


class ModelUnavailable(ModelError):
    """The agent's model cannot be reached, is overloaded, or broke off. Try again later."""

    code = "model-unavailable"
    status = 503
    title = "Model unavailable"
    retryable = True


class ModelTimeout(ModelError):
    """The agent's model did not answer in time. Try again later."""

    code = "model-timeout"
    status = 504
    title = "Model timed out"
    retryable = True


class ModelRefused(ModelError):
    """The agent's model refused the request. The tenant's administrator should check its endpoint and parameters."""

    code = "model-refused"
    status = 502
    title = "Model refused"


class SecretMissing(SynteraError):
    """A Secret that the agent's model needs is not there. The tenant's administrator should create it."""

    code = "secret-missing"
    status = 503
    title = "Secret missing"
    retryable = True


# ---- stores ----


class StoreUnavailable(SynteraError):
    """A store that this needs does not answer. Try again later."""

    code = "store-unavailable"
    status = 503
    title = "Store unavailable"
    retryable = True

    def __init__(self, message: str | None = None, *, store: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.store = store
        """Which: `PostgreSQL`, `Redis`."""
