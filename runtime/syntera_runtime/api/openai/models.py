"""The agents as OpenAI's clients list models."""

from fastapi import APIRouter

from ...errors import AgentNotFound
from ..auth import ReaderOfAgents
from ..context import ServicesOfRequest
from ..routing import ApiRoute
from .answers import ModelList, ModelView
from .errors import openai_responses

router = APIRouter(route_class=ApiRoute, tags=["openai"])


@router.get("/v1/models", operation_id="listModels", responses=openai_responses(503))
async def list_models(services: ServicesOfRequest, _: ReaderOfAgents) -> ModelList:
    """All agents, by name."""
    return ModelList(data=[ModelView(id=agent.name) for agent in services.agents.all()])


@router.get("/v1/models/{model}", operation_id="getModel", responses=openai_responses(404, 503))
async def get_model(model: str, services: ServicesOfRequest, _: ReaderOfAgents) -> ModelView:
    """One agent."""
    if services.agents.get(model) is None:
        raise AgentNotFound(f"There is no agent {model!r}.")
    return ModelView(id=model)
