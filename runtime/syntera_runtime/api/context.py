"""What operations find in a request: the services, its own id, what its path names."""

from typing import Annotated, cast
from uuid import UUID

from fastapi import Depends, Path, Request

from ..services import Services


def services_of(request: Request) -> Services:
    """The services of the app that answers `request`."""
    return cast("Services", request.app.state.services)


def request_id_of(request: Request) -> str:
    """The id that the request goes by in logs and in its answer."""
    return cast("str", request.state.request_id)


async def _give_services(request: Request) -> Services:
    """Asynchronous, because FastAPI runs plain functions in threads."""
    return services_of(request)


ServicesOfRequest = Annotated[Services, Depends(_give_services)]
"""A parameter of a path operation that gets the services."""

ConversationInPath = Annotated[UUID, Path(alias="conversationId")]
"""The conversation that a path names."""
