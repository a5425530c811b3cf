"""The operator's own errors. Those of the Kubernetes client are in `syntera_kube.errors`.

`retryable` tells the queue whether trying the same again may help; if not, the object rests until something it depends
on changes or the slow resync comes by.
"""

import asyncio
from typing import ClassVar

from syntera_kube.errors import KubeError


class OperatorError(Exception):
    """The operator could not do its work."""

    code: ClassVar[str] = "operator_error"
    retryable: ClassVar[bool] = True

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").partition("\n")[0])


class NameTaken(OperatorError):
    """An object that the operator needs exists already and belongs to somebody else."""

    code = "name_taken"
    retryable = False


class RuntimeUnreachable(OperatorError):
    """A runtime pod did not answer over its internal port."""

    code = "runtime_unreachable"


class StoreUnavailable(OperatorError):
    """A store does not answer."""

    code = "store_unavailable"

    def __init__(self, message: str = "", *, store: str) -> None:
        self.store = store
        """`PostgreSQL` or `Redis`."""
        super().__init__(message or f"{store} does not answer; it is tried again")


class StoreRefused(OperatorError):
    """A store answered and refused."""

    code = "store_refused"
    retryable = False

    def __init__(self, message: str = "", *, store: str) -> None:
        self.store = store
        """`PostgreSQL` or `Redis`."""
        super().__init__(message or f"{store} refused")


class LeadershipLost(OperatorError):
    """Another replica may lead by now; this process must write nothing more and end."""

    code = "leadership_lost"
    retryable = False


class CustomResourcesMissing(OperatorError):
    """The API server does not serve the kinds of syntera.io: install the CRDs."""

    code = "custom_resources_missing"


def code_of(error: BaseException) -> str:
    """A word of a closed list for what went wrong, for metrics and traces: messages may hold what should not get there."""
    if isinstance(error, OperatorError | KubeError):
        return error.code
    if isinstance(error, TimeoutError):
        return "timeout"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "unexpected"
