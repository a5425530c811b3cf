"""The agents that a tenant offers."""

from fastapi import APIRouter

from ..chat.agents import agent_to_talk_to, agents_for
from .auth import Asker
from .context import ServicesOfRequest
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import AgentList, AgentView

router = APIRouter(route_class=ApiRoute, tags=["agents"])


@router.get("/v1/agents", operation_id="listAgents", responses=problem_responses(503))
async def list_agents(services: ServicesOfRequest, asker: Asker) -> AgentList:
    """The agents that there are to talk to, by name."""
    return AgentList(items=[AgentView.of(agent) for agent in agents_for(services.agents, asker)])


@router.get("/v1/agents/{agent}", operation_id="getAgent", responses=problem_responses(404, 503))
async def get_agent(agent: str, services: ServicesOfRequest, asker: Asker) -> AgentView:
    """One agent."""
    return AgentView.of(agent_to_talk_to(services.agents, asker, agent))
