"""How a request becomes its principal: `ApiRoute` asks here before anything of the request is read.

Which operations are open to whom is in `permissions`.
"""

from typing import Annotated, cast

import structlog
from fastapi import Depends, Request

from ..errors import CredentialsMalformed, CredentialsMissing
from ..models.identity import Principal, Session, StoredApiKey
from .context import services_of
from .links import read_link
from .permissions import Requirement


async def authorise(request: Request, requirement: Requirement) -> None:
    """Find out who asks and whether they may, and leave it in the request's state.

    Raises:
        Unauthenticated: There are no valid credentials.
        Forbidden: They do not allow this.
        IssuerUnavailable, SigningKeyMissing, StoreUnavailable: They cannot be checked.
    """
    if requirement.is_signed:
        services_of(request).file_links.check(read_link(request))
        return
    authenticator = services_of(request).authenticator
    text, origin = _bearer_token(request), request.headers.get("origin")
    if not requirement.scopes:
        key = await authenticator.open_publishable_key(text, origin=origin)
        structlog.contextvars.bind_contextvars(key_id=str(key.id))
        request.state.publishable_key = key
        return
    session = await authenticator.authenticate(text, origin=origin)
    structlog.contextvars.bind_contextvars(**describe(session.principal))
    requirement.check(session.principal)
    request.state.principal = session.principal
    request.state.session = session


def describe(principal: Principal) -> dict[str, str]:
    """Who asks, for the log: ids of ours alone, because issuers put addresses into theirs."""
    ids = {"key_id": principal.key_id, "contact_id": principal.contact_id}
    return {name: str(value) for name, value in ids.items() if value is not None}


async def _principal_of(request: Request) -> Principal:
    return cast("Principal", request.state.principal)


async def _session_of(request: Request) -> Session:
    return cast("Session", request.state.session)


async def _publishable_key_of(request: Request) -> StoredApiKey:
    return cast("StoredApiKey", request.state.publishable_key)


Asker = Annotated[Principal, Depends(_principal_of)]
"""A parameter of a path operation that gets who asks."""
AskerSession = Annotated[Session, Depends(_session_of)]
"""The same, with what ends the credentials: for answers that outlive the moment."""
PublishableKey = Annotated[StoredApiKey, Depends(_publishable_key_of)]
"""A parameter of a path operation that takes a publishable key."""


def _bearer_token(request: Request) -> str:
    header = request.headers.get("authorization")
    if header is None:
        raise CredentialsMissing
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise CredentialsMalformed
    return token.strip()
