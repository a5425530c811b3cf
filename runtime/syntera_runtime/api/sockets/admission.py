"""Who may open a socket, and how much may come through it: the same credentials, rights and limits as for requests."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.datastructures import Headers

from ...errors import CredentialsMissing, InvalidRequest, OriginNotAllowed, SubjectChanged, SynteraError
from ...fair_use.addresses import client_address
from ...fair_use.rate_limiter import Caller, Verdict
from ...models.identity import Session
from ...services import Services
from ..limits import caller_of
from ..permissions import requirement_of
from ..problems import build_faults
from ..schemas import Input
from .catalogue import Credentials
from .operations import Operation
from .sockets import Socket

OPENING = requirement_of("followConversation")
"""What opens a socket: whoever can follow no conversation has no use for one."""

Asked = TypeVar("Asked", bound=Input)


async def admit_socket(services: Services, scope: Mapping[str, Any], auth: object) -> tuple[Session, str | None]:
    """Whose socket is opened, and from which address.

    Raises:
        OriginNotAllowed: Pages of its site may not use the API.
        CredentialsMissing, InvalidRequest: It does not say whose.
        Unauthenticated: There are no valid credentials.
        Forbidden: They do not allow this.
        RateLimited: It is one too many.
        IssuerUnavailable, SigningKeyMissing, StoreUnavailable: They cannot be checked.
    """
    headers, limiter = Headers(raw=scope["headers"]), services.rate_limiter
    origin = headers.get("origin")
    await _check_origin(services, origin)
    address = client_address(
        (scope.get("client") or (None,))[0], headers.getlist("x-forwarded-for"), limiter.trusted_proxies
    )
    unknown = Caller(address)
    is_suspect = limiter.is_suspect(unknown)
    if is_suspect:
        _raise(await limiter.admit_address(unknown))
    try:
        session = await services.authenticator.authenticate(_token(auth), origin=origin)
        OPENING.check(session.principal)
    except SynteraError:
        if not is_suspect:
            limiter.suspect(unknown)
            _raise(await limiter.admit_address(unknown))
        raise
    caller = caller_of(session.principal, address)
    _raise(await limiter.admit(caller, is_message=False, is_address_counted=is_suspect))
    return session, address


async def admit_event(services: Services, socket: Socket, operation: Operation[Any]) -> None:
    """Return if whoever holds the socket may do that now.

    Raises:
        Unauthenticated, OriginNotAllowed: The socket's credentials have ended.
        Forbidden: They do not allow this.
        RateLimited: It is one too many.
        StoreUnavailable: They cannot be checked.
    """
    await services.authenticator.check(socket.session)
    requirement_of(operation.requires).check(socket.principal)
    if operation.is_counted:
        await count_event(services, socket, is_message=operation.is_message)
    else:
        socket.count_typing()


async def count_event(services: Services, socket: Socket, *, is_message: bool = False) -> None:
    """Count an event as a request.

    Raises:
        RateLimited: It is one too many.
    """
    caller = caller_of(socket.principal, socket.address)
    _raise(await services.rate_limiter.admit(caller, is_message=is_message, is_address_counted=False))


async def renew_session(services: Services, socket: Socket, token: str) -> Session:
    """What newer credentials open for whoever holds the socket.

    Raises:
        SubjectChanged: They are somebody else's.
        Unauthenticated, Forbidden: They open nothing.
        IssuerUnavailable, SigningKeyMissing, StoreUnavailable: They cannot be checked.
    """
    session = await services.authenticator.authenticate(token, origin=socket.origin)
    OPENING.check(session.principal)
    before, now = socket.principal, session.principal
    if (before.tenant_id, before.subject, before.contact_id) != (now.tenant_id, now.subject, now.contact_id):
        raise SubjectChanged
    return session


def read(kind: type[Asked], data: Sequence[object]) -> Asked:
    """What an event says.

    Raises:
        InvalidRequest: It says something else.
    """
    if len(data) != 1:
        raise InvalidRequest("The event takes one object.")
    try:
        return kind.model_validate(data[0])
    except ValidationError as error:
        faults = build_faults(error.errors(include_url=False, include_context=False, include_input=False))
        message = "; ".join(f"{fault.path}: {fault.message}" for fault in faults)
        raise InvalidRequest(f"The event is not valid: {message}", faults=faults) from None


async def _check_origin(services: Services, origin: str | None) -> None:
    """Browsers let every page open a WebSocket, and say which one it is."""
    if origin is not None:
        await services.origins.refresh(origin)
        if not services.origins.allows(origin):
            raise OriginNotAllowed


def _token(auth: object) -> str:
    if not isinstance(auth, dict) or "token" not in auth:
        raise CredentialsMissing('Give an API key or a token as the option `auth: {token: "..."}` of the connection.')
    return read(Credentials, [auth]).token


def _raise(verdict: Verdict) -> None:
    if verdict.refusal is not None:
        raise verdict.refusal
