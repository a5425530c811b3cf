"""What can go wrong between a program and the API server, as types to catch.

`retryable` says whether the same request may succeed later without anybody changing anything.
"""

from typing import ClassVar


class KubeError(Exception):
    """A request to the API server failed."""

    code: ClassVar[str] = "kube_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        status: int | None = None,
        reason: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").partition("\n")[0]
        self.status = status
        """HTTP status, None where no answer came."""
        self.reason = reason
        """The API server's own word, for example `AlreadyExists`."""
        self.retry_after = retry_after
        """Seconds that the API server asked to wait."""
        super().__init__(self.message)


class BadRequest(KubeError):
    """The API server could not understand the request."""

    code = "bad_request"


class Unauthorized(KubeError):
    """The API server does not accept the credentials."""

    code = "unauthorized"
    retryable = True


class Forbidden(KubeError):
    """The credentials do not allow this, or the namespace is being deleted."""

    code = "forbidden"
    retryable = True


class NotFound(KubeError):
    """The object, its namespace or its kind does not exist."""

    code = "not_found"
    retryable = True


class Conflict(KubeError):
    """The object exists already, changed meanwhile, or another field manager owns a field."""

    code = "conflict"
    retryable = True


class Gone(KubeError):
    """The requested resourceVersion or page is too old: list again."""

    code = "gone"
    retryable = True


class Invalid(KubeError):
    """The API server refuses the object's content."""

    code = "invalid"


class TooManyRequests(KubeError):
    """The API server asks to slow down."""

    code = "too_many_requests"
    retryable = True


class ServerError(KubeError):
    """The API server failed."""

    code = "server_error"
    retryable = True


class Unreachable(KubeError):
    """No answer from the API server: the connection failed or the deadline passed."""

    code = "unreachable"
    retryable = True


_BY_STATUS: dict[int, type[KubeError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    415: BadRequest,
    422: Invalid,
    429: TooManyRequests,
    504: ServerError,
}


def error_from_status(
    status: int, *, reason: str | None = None, message: str = "", retry_after: float | None = None
) -> KubeError:
    """The typed error for an HTTP status (or the code of a `Status` object) of the API server."""
    error = _BY_STATUS.get(status) or (ServerError if status >= 500 else KubeError)
    return error(message or f"HTTP {status}", status=status, reason=reason, retry_after=retry_after)
