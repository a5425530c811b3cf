"""Where limits meet requests: who is counted, what the answer says of it, and how a stream gets its place."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from typing import Annotated, cast

from fastapi import Depends, Request

from ..errors import SynteraError
from ..fair_use.addresses import client_address, exact_address
from ..fair_use.rate_limiter import Allowance, Caller, Verdict
from ..models.identity import Principal, StoredApiKey
from .auth import Asker
from .context import ServicesOfRequest, services_of

MESSAGES = frozenset({"sendMessage", "createChatCompletion", "searchKnowledgeBase"})
"""Operations that ask a model: an agent's, or one that embeds what is searched for."""
LIMIT_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
"""What an answer says of the limit of which least is left: its size, what is left, and when there is more."""


@asynccontextmanager
async def limited(request: Request, operation_id: str | None) -> AsyncIterator[None]:
    """Count a request; the block finds out who asks.

    Raises:
        RateLimited: It is one too many.
    """
    limiter = services_of(request).rate_limiter
    unknown = Caller(address_of(request))
    is_suspect = limiter.is_suspect(unknown)
    if is_suspect:
        _apply(request, await limiter.admit_address(unknown))
    try:
        yield
    except SynteraError:
        if not is_suspect:
            limiter.suspect(unknown)
            _apply(request, await limiter.admit_address(unknown))
        raise
    caller = _caller_of(request, unknown.address)
    verdict = await limiter.admit(caller, is_message=operation_id in MESSAGES, is_address_counted=is_suspect)
    _apply(request, verdict)


async def _give_stream_slot(services: ServicesOfRequest, asker: Asker) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    async with AsyncExitStack() as held:

        async def take() -> None:
            await held.enter_async_context(services.stream_slots.hold(asker.person))

        yield take


StreamSlot = Annotated[Callable[[], Awaitable[None]], Depends(_give_stream_slot)]
"""A parameter of a path operation that is called before something begins that will be streamed: it raises RateLimited where
too many streams are open, of whoever asks or in all, and counts one until the answer has been sent."""


def _caller_of(request: Request, address: str | None) -> Caller:
    if (key := getattr(request.state, "publishable_key", None)) is not None:
        return Caller(address, key=str(cast("StoredApiKey", key).id))
    if not hasattr(request.state, "principal"):  # whoever follows a signed address
        return Caller(address)
    return caller_of(cast("Principal", request.state.principal), address)


def caller_of(principal: Principal, address: str | None) -> Caller:
    """Whom to count what `principal` asks for from that address."""
    key_id = None if principal.key_id is None else str(principal.key_id)
    return Caller(address, key=key_id, user=principal.person)


def address_of(request: Request) -> str | None:
    """Where a request comes from, behind the proxies that are believed, as limits tell addresses apart; None: not known."""
    return client_address(*_hops_of(request))


def exact_address_of(request: Request) -> str | None:
    """The same to the last bit, for whoever has to be told; None: not known."""
    return exact_address(*_hops_of(request))


def _hops_of(request: Request) -> tuple[str | None, Sequence[str], Sequence[str]]:
    peer = None if request.client is None else request.client.host
    forwarded = request.headers.getlist("x-forwarded-for")
    return peer, forwarded, services_of(request).rate_limiter.trusted_proxies


def _apply(request: Request, verdict: Verdict) -> None:
    """Let the answer say what is left, or raise the refusal."""
    told = (verdict.allowance, getattr(request.state, "allowance", None))
    nearest = min(filter(None, told), key=lambda allowance: allowance.remaining, default=None)
    if nearest is not None:
        request.state.allowance = nearest
        request.state.limit_headers = _headers(nearest)
    if verdict.refusal is not None:
        raise verdict.refusal


def _headers(allowance: Allowance) -> dict[str, str]:
    values = (allowance.most, allowance.remaining, ceil(allowance.reset_seconds))
    return dict(zip(LIMIT_HEADERS, map(str, values), strict=True))
