"""Looks a question up in all knowledge bases of an agent at once, and says of each how that went.

A knowledge base that fails takes nothing from what the others bring.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from syntera_crds.contract.agent_config import AgentKnowledge

from ..errors import SynteraError
from ..models.ids import TenantId
from ..models.knowledge import KnowledgeSearch, Passage, SearchFilter, SearchRequest, SearchResult
from .fusion import fuse_ranks
from .search import Searcher

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What all of them have on a question."""

    passages: Sequence[Passage]
    """The best first."""
    searches: Sequence[KnowledgeSearch]

    @property
    def failure(self) -> str | None:
        """Code of why nothing was found that might be there; None: there is something, or nobody failed to look."""
        if self.passages:
            return None
        return next((one.failure for one in self.searches if one.failure is not None), None)


class Lookup:
    """Searches knowledge bases for agents."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher

    async def look_up(
        self,
        tenant_id: TenantId,
        knowledge: Sequence[AgentKnowledge],
        question: str,
        *,
        audience: frozenset[str],
        seconds: float,
    ) -> Found:
        """What there is on the question for the audience. Failures are told, not raised."""
        if not question:
            return Found((), [KnowledgeSearch(one.name, 0, 0.0) for one in knowledge])

        async def search(one: AgentKnowledge) -> tuple[SearchResult | None, KnowledgeSearch]:
            started, result, failure = time.monotonic(), None, None
            request = SearchRequest(
                question=question,
                filter=SearchFilter(audience=audience),
                top_k=one.top_k,
                min_score=one.min_score,
                seconds=seconds,
            )
            try:
                result = await self._searcher.search(tenant_id, one.name, request)
                failure = result.failure
            except SynteraError as error:
                log.warning("knowledge not searched", knowledge_base=one.name, reason=error.code)
                failure = error.code
            except Exception:  # the agent has a rule for what it does not know
                log.exception("search broke", knowledge_base=one.name)
                failure = SynteraError.code
            found = 0 if result is None else len(result.passages)
            return result, KnowledgeSearch(one.name, found, time.monotonic() - started, failure)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(search(one)) for one in knowledge]
        done = [task.result() for task in tasks]
        return Found(merge_results([result for result, _ in done if result is not None]), [told for _, told in done])


def merge_results(results: Sequence[SearchResult]) -> list[Passage]:
    """The passages of several searches as one list, the best first.

    Each keeps its place among those of its own search. Where the scores of all can be compared, because they were made by the same
    model, they count as much; else the best of each search come first, then the second ones, and so on.
    """
    ranked = [list(result.passages) for result in results if result.passages]
    if len(ranked) < 2:
        return ranked[0] if ranked else []
    passages = [passage for one in ranked for passage in one]
    lists = [[id(passage) for passage in one] for one in ranked]
    if all(result.scored_by is not None for result in results) and len({result.scored_by for result in results}) == 1:
        lists.append([id(passage) for passage in sorted(passages, key=lambda one: one.score, reverse=True)])
    by_id = {id(passage): passage for passage in passages}
    return [by_id[key] for key in fuse_ranks((1.0, one) for one in lists)]
