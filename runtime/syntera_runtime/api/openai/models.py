"""The agents as OpenAI's clients list models."""

from fastapi import APIRouter

from ...chat.agents import agent_to_talk_to, agents_for
from ..auth import Asker
from ..context import ServicesOfRequest
from ..routing import ApiRoute
from .answers import ModelList, ModelView
from .errors import openai_responses

router = APIRouter(route_class=ApiRoute, tags=["openai"])


@router.get("/v1/models", operation_id="listModels", responses=openai_responses(503))
async def list_models(services: ServicesOfRequest, asker: Asker) -> ModelList:
    """The agents that there are to talk to, by name."""
    return ModelList(data=[ModelView(id=agent.name) for agent in agents_for(services.agents, asker)])


@router.get("/v1/models/{model}", operation_id="getModel", responses=openai_responses(404, 503))
async def get_model(model: str, services: ServicesOfRequest, asker: Asker) -> ModelView:
    """One agent."""
    return ModelView(id=agent_to_talk_to(services.agents, asker, model).name)
