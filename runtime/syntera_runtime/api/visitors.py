"""Tokens for the visitors of the tenant's websites."""

from fastapi import APIRouter, Request, status

from ..chat.changes import ConversationsMoved
from ..identity.challenges import Attempt
from .auth import PublishableKey
from .context import ServicesOfRequest
from .identity_schemas import VisitorTokenInput, VisitorTokenView
from .limits import exact_address_of
from .problems import problem_responses
from .routing import ApiRoute

router = APIRouter(route_class=ApiRoute, tags=["visitors"])


@router.post(
    "/v1/visitor-tokens",
    operation_id="createVisitorToken",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(400, 408, 413, 415, 503),
)
async def create_visitor_token(
    request: Request, services: ServicesOfRequest, key: PublishableKey, known: VisitorTokenInput | None = None
) -> VisitorTokenView:
    """Buy a token for a visitor with a publishable key: a new one, or one more for a visitor who has had one.

    With `identity` the visitor becomes the contact that somebody vouches for, on any device; what they began without it,
    and bring along as `visitorToken`, becomes that contact's. Who is new and comes without `identity` may have a challenge to
    solve.
    """
    known = known or VisitorTokenInput()
    attempt = Attempt(known.challenge_response, exact_address_of(request))
    bought = await services.visitors.buy(key, previous=known.visitor_token, proof=known.proof, attempt=attempt)
    if bought.moved_from is not None:
        services.changes.tell(ConversationsMoved(bought.moved_from))
    return VisitorTokenView.of(bought)
