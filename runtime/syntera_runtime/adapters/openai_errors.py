"""Turns what can go wrong with the `openai` SDK into our errors: which endpoint, what happened, what to do; never the vendor's words."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable
from typing import TypeVar

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

from syntera_crds.contract.agent_config import ModelAccess, ModelCandidate

from ..errors import ModelError, ModelRefused, ModelTimeout, ModelUnavailable

_T = TypeVar("_T")

_BUSY = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may pass by themselves."""

_CODES = {
    "insufficient_quota": "The account of the model endpoint {endpoint!r} has no quota left.",
}
"""Codes of the protocol that say more than the status."""

_TOO_LONG = "context_length_exceeded"


async def within(deadline: float, model: ModelAccess, work: Awaitable[_T], *, aim: str, seconds: float) -> _T:
    """Await one step of an exchange with a model.

    Args:
        deadline: By the event loop's clock.
        model: Who is asked.
        work: The step.
        aim: What the model did not do if the deadline passes: `embed`.
        seconds: How long it had for that.

    Raises:
        ModelTimeout: The deadline passed.
        ModelUnavailable: The endpoint cannot be reached, is overloaded, broke off, or answered what cannot be read.
        ModelRefused: The endpoint refused the request.
    """
    try:
        async with asyncio.timeout_at(deadline):
            return await work
    except TimeoutError:
        raise ModelTimeout(
            f"The model endpoint {model.endpoint!r} did not {aim} within {seconds:g} seconds.", endpoint=model.endpoint
        ) from None
    except OpenAIError as exc:
        # `from None`: the vendor's exception holds the request's headers and the answer's body.
        raise translate(exc, model) from None
    except ValueError:
        raise unreadable(model) from None


def unreadable(model: ModelAccess) -> ModelUnavailable:
    """The error for an answer that makes no sense."""
    return ModelUnavailable(
        f"The model endpoint {model.endpoint!r} sent an answer that cannot be read.", endpoint=model.endpoint
    )


def translate(exc: OpenAIError, candidate: ModelAccess) -> ModelError:
    """The error of ours that says the same. Raise it `from None`: `exc` holds the request's key and the answer's body."""
    endpoint = candidate.endpoint
    if isinstance(exc, APIStatusError):
        return _translate_status(exc, candidate)
    if isinstance(exc, APITimeoutError):
        message = f"The model endpoint {endpoint!r} did not accept a connection in time."
    elif isinstance(exc, APIConnectionError):
        message = _connection_message(exc, endpoint)
    else:
        message = f"The model endpoint {endpoint!r} reported an error in the middle of its answer."
    return ModelUnavailable(message, endpoint=endpoint)


def _translate_status(exc: APIStatusError, candidate: ModelAccess) -> ModelError:
    endpoint, status = candidate.endpoint, exc.status_code
    if exc.code == _TOO_LONG:
        return ModelRefused(_too_long(candidate), endpoint=endpoint)
    if exc.code in _CODES:
        return ModelRefused(_CODES[exc.code].format(endpoint=endpoint), endpoint=endpoint)
    if status >= 500 or status in _BUSY:
        what = "limits its requests" if status == 429 else "failed"
        return ModelUnavailable(
            f"The model endpoint {endpoint!r} {what} (HTTP {status}). Try again later.",
            endpoint=endpoint,
            retry_after_seconds=_retry_after(exc),
        )
    match status:
        case 401 | 403:
            advice = "refused the credentials (HTTP {status}). Check the API key in its Secret."
        case 404:
            advice = "knows neither the path nor the model {model!r} (HTTP 404). Check the endpoint's baseURL and the model's name."
        case _ if status < 400:
            advice = "answered with a redirect (HTTP {status}). Set its baseURL to the final address."
        case _:
            advice = "refused the request (HTTP {status}). Check the model's name and its parameters."
    text = advice.format(status=status, model=candidate.model)
    return ModelRefused(f"The model endpoint {endpoint!r} {text}", endpoint=endpoint)


def _too_long(candidate: ModelAccess) -> str:
    endpoint = candidate.endpoint
    if isinstance(candidate, ModelCandidate):
        return (
            f"The conversation is too long for the model of endpoint {endpoint!r}. Lower the agent's"
            " memory.historyMessages or its instructions."
        )
    return (
        f"A text is too long for the model of endpoint {endpoint!r}. Lower the knowledge base's chunking.targetTokens."
    )


def _connection_message(exc: APIConnectionError, endpoint: str) -> str:
    causes = _causes(exc)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return f"The certificate of the model endpoint {endpoint!r} is not trusted. Check caBundleConfigMapRef."
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return f"The host name of the model endpoint {endpoint!r} is not known. Check its baseURL."
    return f"The connection to the model endpoint {endpoint!r} failed."


def _causes(exc: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = exc
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def _retry_after(exc: APIStatusError) -> float | None:
    """The header's seconds; its other form, a date, is rare and left alone."""
    try:
        seconds = float(exc.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 86400 else None
