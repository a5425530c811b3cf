"""Who may call what: the bearer key of a request becomes its principal, and each operation names the scopes it takes.

Every operation is closed unless its key may do it: `ApiRoute` authenticates before anything of the request is read.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

import structlog
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from syntera_crds.contract.api_key import Scope

from ..errors import CredentialsMalformed, CredentialsMissing, ScopeMissing
from ..models import Principal
from .context import services_of

_described = HTTPBearer(
    scheme_name="apiKey",
    bearerFormat="syn_sk_...",
    description="A secret API key of the tenant, as `Authorization: Bearer <key>`.",
    auto_error=False,
)
"""Only describes the scheme in OpenAPI."""


async def authenticate(request: Request) -> None:
    """Find out who asks, and leave it in the request's state.

    Raises:
        Unauthenticated: There are no valid credentials.
        PublishableKeyRefused: The key is a publishable one.
        StoreUnavailable: The key cannot be looked up.
    """
    principal = await services_of(request).authenticator.authenticate(_bearer_token(request))
    structlog.contextvars.bind_contextvars(key_id=str(principal.key_id))
    request.state.principal = principal


def require(*scopes: Scope) -> Callable[..., Awaitable[Principal]]:
    """A dependency that gives the principal if it holds any of `scopes`.

    Raises:
        ScopeMissing: It holds none.
    """

    async def principal_of(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Security(_described)],
    ) -> Principal:
        principal = cast("Principal", request.state.principal)
        if not any(principal.may(scope) for scope in scopes):
            raise ScopeMissing(f"This needs an API key with the scope {' or '.join(repr(str(s)) for s in scopes)}.")
        return principal

    return principal_of


ReaderOfAgents = Annotated[Principal, Depends(require(Scope.AGENTS_READ, Scope.CHAT))]
"""Who may talk to agents may see which there are."""
Talker = Annotated[Principal, Depends(require(Scope.CHAT))]


def _bearer_token(request: Request) -> str:
    header = request.headers.get("authorization")
    if header is None:
        raise CredentialsMissing
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise CredentialsMalformed
    return token.strip()
