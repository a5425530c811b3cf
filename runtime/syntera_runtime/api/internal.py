"""The internal API: what this process serves, told to the operator. See `syntera_crds.contract.internal_api`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from syntera_crds.contract.internal_api import AGENT_PATH, MAX_WAIT_SECONDS, LoadedAgent

from ..errors import AgentNotFound, TokenRefused
from .context import ServicesOfRequest


async def require_operator(request: Request, services: ServicesOfRequest) -> None:
    """Let the operator in and nobody else.

    Raises:
        TokenRefused: There is no token of the operator.
        StoreUnavailable: The token cannot be checked now.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise TokenRefused
    await services.operator_tokens.verify(token.strip())


router = APIRouter(dependencies=[Depends(require_operator)])


@router.get(AGENT_PATH)
async def read_agent(
    agent: str,
    services: ServicesOfRequest,
    digest: str,
    wait_seconds: Annotated[float, Query(alias="waitSeconds", ge=0, allow_inf_nan=False)] = 0,
) -> LoadedAgent:
    """What is served for an agent as soon as it is `digest`, else what is served after `waitSeconds`.

    Raises:
        AgentNotFound: Nothing is served for the agent, or a Secret that it needs is missing.
    """
    loaded = await services.loaded_agents.wait_loaded(agent, digest=digest, seconds=min(wait_seconds, MAX_WAIT_SECONDS))
    if loaded is None:
        raise AgentNotFound(f"The agent {agent!r} is not loaded.")
    return loaded
