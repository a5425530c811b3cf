"""What the record of administrative acts says, for administrators."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import AfterValidator, Field

from ..models.audit import Act, ActFilter
from ..models.ids import ActId
from ..views.base import View
from .auth import Asker
from .context import ServicesOfRequest
from .pages import PartQuery, make_newest_cursor, read_newest_cursor
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import Instant, Page, check_characters

router = APIRouter(route_class=ApiRoute, tags=["audit-log"])


class ActQuery(PartQuery):
    """Which acts are wanted."""

    operation: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_characters)] | None = None
    """Those of one operation, by its `operationId`."""
    subject: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(check_characters)] | None = None
    """Those of one key or person."""
    at_from: Instant | None = None
    """Done then or later."""
    at_before: Instant | None = None
    """Done before that."""

    @property
    def wanted(self) -> ActFilter:
        """The filter that the query describes."""
        return ActFilter(self.operation, self.subject, self.at_from, self.at_before)


class ActView(View):
    """One administrative act."""

    id: UUID
    at: datetime
    operation: str
    """The `operationId` of what was asked for."""
    subject: str
    """Who asked: `key:<id>` or `user:<issuer>|<subject>`."""
    targets: dict[str, str]
    """What it was done to, by the names that stand in paths: `apiKeyId`, `conversationId`, `webhookId`."""
    request_id: str
    address: str | None
    """Where the request came from."""
    status: int | None
    """Status of the answer; null: the process ended before there was one, and the act may have been done or not."""

    @classmethod
    def of(cls, act: Act) -> Self:
        """The view of an act."""
        return cls(
            id=act.id,
            at=act.at,
            operation=act.operation,
            subject=act.subject,
            targets=dict(act.targets),
            request_id=act.request_id,
            address=act.address,
            status=act.status,
        )


@router.get("/v1/audit-log", operation_id="listActs", responses=problem_responses(400, 503))
async def list_acts(query: Annotated[ActQuery, Query()], services: ServicesOfRequest, asker: Asker) -> Page[ActView]:
    """Who has done what with keys, settings and other people's conversations, newest first.

    Each act was written before it was done; those that were refused because of what they asked for are here too, with
    the status that they got.
    """
    before = None if query.cursor is None else ActId(read_newest_cursor(query.cursor))
    found = await services.audit.list_acts(asker.tenant_id, query.wanted, before=before, limit=query.limit + 1)
    items = found[: query.limit]
    return Page(
        items=[ActView.of(act) for act in items],
        next_cursor=make_newest_cursor(items[-1].id) if len(found) > query.limit else None,
    )
