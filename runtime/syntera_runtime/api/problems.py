"""Errors as HTTP answers: problem details (RFC 9457), and OpenAI's shape where OpenAI's protocol is spoken."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Literal

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from ..errors import (
    AgentNotFound,
    BodyTooLarge,
    BudgetExhausted,
    ConversationBusy,
    CredentialsMissing,
    FieldFault,
    FileTooLarge,
    InvalidRequest,
    RateLimited,
    RequestTimeout,
    ScopeMissing,
    StoreUnavailable,
    SynteraError,
    Unauthenticated,
)
from .context import request_id_of

PROBLEM_MEDIA_TYPE = "application/problem+json"
_MESSAGES = {"extra_forbidden": "There is no such field.", "missing": "This field is required."}
"""In place of pydantic's words, which speak of inputs."""
TEXT_PART = "text-part"
IMAGE_PART = "image-part"
_ALTERNATIVES = frozenset({"sk", "pk", "by-hmac", "by-token", TEXT_PART, IMAGE_PART})
"""Tags of the alternatives of a field, which pydantic takes for steps on the way to a place. No field is called so."""
OPENAI_PATHS = ("/v1/chat/completions", "/v1/models")


class FaultView(BaseModel):
    """What is wrong with one place of a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    path: str
    """Where: `body.content`, `query.limit`."""
    message: str
    code: str
    """The kind of fault, for example `missing` or `extra_forbidden`."""


class Problem(BaseModel):
    """Why a request failed (RFC 9457)."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, use_attribute_docstrings=True)

    type: str
    """A URI for the code; it need not resolve."""
    title: str
    status: int
    detail: str
    """A sentence for people that says what to do."""
    code: str
    """Stable; decide by this."""
    retryable: bool
    """Whether the same request may succeed later."""
    request_id: str
    """Name it when you ask for help."""
    store: str | None = None
    """With `store-unavailable`: which store does not answer."""
    errors: list[FaultView] | None = None
    """With `invalid-request`: every fault that was found."""
    turn_id: str | None = None
    """With a failed turn: its id; the user's message is stored. With `conversation-busy`: the turn that runs."""
    message_id: str | None = None
    """With a failed turn: the id of what the agent had said until then."""
    retry_after_seconds: int | None = None
    """As the header `Retry-After`, which is not there on a socket."""


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a path operation, for the OpenAPI description."""
    listed: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem} for status in sorted({*statuses, 401, 403, 429})
    }
    return {**listed, "default": {"model": Problem, "description": "Another problem."}}


def error_response(request: Request, error: SynteraError, **members: str | None) -> Response:
    """The answer to a request that failed with `error`.

    Args:
        members: Further members of the problem, where they are not None.
    """
    if request.url.path.startswith(OPENAI_PATHS):
        body, media_type = orjson.dumps({"error": openai_error(error)}), "application/json"
    else:
        problem = build_problem(error, request_id=request_id_of(request))
        stated = problem.model_copy(update=members).model_dump_json(by_alias=True, exclude_none=True)
        body, media_type = stated.encode(), PROBLEM_MEDIA_TYPE
    return Response(body, status_code=error.status, media_type=media_type, headers=_headers(error))


def problem_response(error: SynteraError, *, request_id: str) -> Response:
    """The answer, where there is no request that the framework knows, but one that wants a WebSocket."""
    body = build_problem(error, request_id=request_id).model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, status_code=error.status, media_type=PROBLEM_MEDIA_TYPE, headers=_headers(error))


def build_problem(error: SynteraError, *, request_id: str) -> Problem:
    """The problem that states `error`."""
    faults = error.faults if isinstance(error, InvalidRequest) else ()
    return Problem(
        type=f"tag:syntera.io,2026:problems/{error.code}",
        title=error.title,
        status=error.status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        request_id=request_id,
        store=error.store if isinstance(error, StoreUnavailable) else None,
        retry_after_seconds=_retry_after(error),
        turn_id=str(error.turn_id) if isinstance(error, ConversationBusy) and error.turn_id else None,
        errors=[FaultView(path=fault.path, message=fault.message, code=fault.code) for fault in faults] or None,
    )


OpenAIErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "requests",
    "insufficient_quota",
    "server_error",
]
"""`requests`: there were too many. `insufficient_quota`: a budget is used up."""


class OpenAIError(BaseModel):
    """What OpenAI's protocol says of an error."""

    message: str
    type: OpenAIErrorType
    param: str | None
    code: str | None


def openai_error(error: SynteraError) -> dict[str, str | None]:
    """The same error in OpenAI's words; codes that its clients know where there are such."""
    made = OpenAIError(message=error.message, type=_openai_type(error.status), param=None, code=_openai_code(error))
    if isinstance(error, BudgetExhausted):
        made.type = made.code = "insufficient_quota"
    if isinstance(error, AgentNotFound):
        made.param = "model"
    if isinstance(error, InvalidRequest) and error.faults:
        fault = error.faults[0]
        made.param = fault.path.removeprefix("body.")
        made.message = f"{made.param}: {fault.message}"
        made.code = "unsupported_parameter" if fault.code == "unsupported" else made.code
    return made.model_dump()


def describe_location(location: Sequence[int | str]) -> str:
    """A place as `body.messages[0].content`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in location if step not in _ALTERNATIVES]
    return "".join(steps).removeprefix(".")


def build_faults(errors: Sequence[Mapping[str, Any]]) -> list[FieldFault]:
    """Pydantic's errors as ours, without the input."""
    return [
        FieldFault(
            path=describe_location(error["loc"]),
            message=_MESSAGES.get(error["type"], error["msg"]),
            code=error["type"],
        )
        for error in errors
    ]


def _openai_type(status: int) -> OpenAIErrorType:
    if status >= 500:
        return "server_error"
    if status == 401:
        return "authentication_error"
    if status == 429:
        return "requests"
    return "permission_error" if status == 403 else "invalid_request_error"


def _openai_code(error: SynteraError) -> str:
    if isinstance(error, AgentNotFound):
        return "model_not_found"
    if isinstance(error, Unauthenticated):
        return "invalid_api_key"
    if isinstance(error, RateLimited):
        return "rate_limit_exceeded"
    return error.code.replace("-", "_")


def _retry_after(error: SynteraError) -> int | None:
    return None if error.retry_after_seconds is None else max(1, ceil(error.retry_after_seconds))


def _headers(error: SynteraError) -> dict[str, str]:
    headers = {}
    if isinstance(error, CredentialsMissing):
        headers["WWW-Authenticate"] = 'Bearer realm="syntera"'
    elif isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="syntera", error="invalid_token"'
    elif isinstance(error, ScopeMissing):
        headers["WWW-Authenticate"] = 'Bearer realm="syntera", error="insufficient_scope"'
    if (seconds := _retry_after(error)) is not None:
        headers["Retry-After"] = str(seconds)
    if isinstance(error, BudgetExhausted):
        headers["x-should-retry"] = "false"  # OpenAI's clients would try again within seconds
    if isinstance(error, BodyTooLarge | FileTooLarge | RequestTimeout):
        headers["Connection"] = "close"  # the rest of the body is not read
    return headers
