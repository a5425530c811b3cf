"""The agents that a tenant offers."""

from fastapi import APIRouter

from ..errors import AgentNotFound
from .auth import ReaderOfAgents
from .context import ServicesOfRequest
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import AgentList, AgentView

router = APIRouter(route_class=ApiRoute, tags=["agents"])


@router.get("/v1/agents", operation_id="listAgents", responses=problem_responses(503))
async def list_agents(services: ServicesOfRequest, _: ReaderOfAgents) -> AgentList:
    """All agents, by name."""
    return AgentList(items=[AgentView.of(agent) for agent in services.agents.all()])


@router.get("/v1/agents/{agent}", operation_id="getAgent", responses=problem_responses(404, 503))
async def get_agent(agent: str, services: ServicesOfRequest, _: ReaderOfAgents) -> AgentView:
    """One agent."""
    config = services.agents.get(agent)
    if config is None:
        raise AgentNotFound(f"There is no agent {agent!r}.")
    return AgentView.of(config)
