"""Knowledge bases: what they are, how syncs went, and how they are searched."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from .auth import Asker
from .context import ServicesOfRequest
from .knowledge_schemas import KnowledgeBaseList, KnowledgeBaseView, SyncQuery, SyncRequested, SyncView
from .pages import make_newest_cursor
from .problems import problem_responses
from .routing import ApiRoute
from .schemas import Page
from .search_schemas import SearchInput, SearchView

router = APIRouter(route_class=ApiRoute, tags=["knowledge-bases"])

KnowledgeBaseInPath = Annotated[str, Path(alias="knowledgeBase")]


@router.get("/v1/knowledge-bases", operation_id="listKnowledgeBases", responses=problem_responses(503))
async def list_knowledge_bases(services: ServicesOfRequest, asker: Asker) -> KnowledgeBaseList:
    """All knowledge bases, by name."""
    found = await services.knowledge.list(asker)
    return KnowledgeBaseList(items=[KnowledgeBaseView.of(one) for one in found])


@router.get(
    "/v1/knowledge-bases/{knowledgeBase}", operation_id="getKnowledgeBase", responses=problem_responses(404, 503)
)
async def get_knowledge_base(
    knowledge_base: KnowledgeBaseInPath, services: ServicesOfRequest, asker: Asker
) -> KnowledgeBaseView:
    """One knowledge base: how it is configured, and what is in it."""
    return KnowledgeBaseView.of(await services.knowledge.find(asker, knowledge_base))


@router.get(
    "/v1/knowledge-bases/{knowledgeBase}/syncs",
    operation_id="listSyncs",
    responses=problem_responses(400, 404, 503),
)
async def list_syncs(
    knowledge_base: KnowledgeBaseInPath,
    query: Annotated[SyncQuery, Query()],
    services: ServicesOfRequest,
    asker: Asker,
) -> Page[SyncView]:
    """The syncs, newest first. Of those that ended the last 50 are kept."""
    found = await services.knowledge.syncs(asker, knowledge_base, before=query.before, limit=query.limit + 1)
    items = found[: query.limit]
    return Page(
        items=[SyncView.of(sync) for sync in items],
        next_cursor=make_newest_cursor(items[-1].id) if len(found) > query.limit else None,
    )


@router.post(
    "/v1/knowledge-bases/{knowledgeBase}/syncs",
    operation_id="requestSync",
    status_code=status.HTTP_202_ACCEPTED,
    responses=problem_responses(404, 408, 409, 413, 415, 503),
)
async def request_sync(knowledge_base: KnowledgeBaseInPath, services: ServicesOfRequest, asker: Asker) -> SyncRequested:
    """Have the knowledge base synced soon. One that waits already is enough: asking again changes nothing."""
    await services.knowledge.request_sync(asker.tenant_id, knowledge_base)
    return SyncRequested(knowledge_base=knowledge_base)


@router.post(
    "/v1/knowledge-bases/{knowledgeBase}/search",
    operation_id="searchKnowledgeBase",
    responses=problem_responses(400, 404, 408, 409, 413, 415, 502, 503, 504),
)
async def search_knowledge_base(
    knowledge_base: KnowledgeBaseInPath, wanted: SearchInput, services: ServicesOfRequest, asker: Asker
) -> SearchView:
    """Find passages as an agent would, with the scores and the time of each stage. Nothing of it is kept."""
    return SearchView.of(await services.knowledge.search(asker, knowledge_base, wanted.to_model()))
