"""Searches through the API while indexes are built anew and take over: does one fail, and does one mix what two indexes hold?

Each build cuts the documents otherwise, so that whatever a passage begins and ends with tells of which index it is.
"""

import asyncio
import contextlib
import random
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import uvloop

from syntera_crds.contract.knowledge_config import Chunking
from syntera_operator.desired.metadata import Scope
from syntera_operator.desired.published import build_published
from syntera_operator.stores.knowledge_indexes import LargeIndexes
from syntera_operator.stores.postgresql import Postgresql, PostgresqlSettings
from tests.runtime.ingest.job import NAME, SyncJobs
from tests.support.embedding_server import embedding_server

from .chat_site import ChatSite, Served, open_chat_site
from .figures import Figure, percentile
from .ingestion import make_pages

_CONCURRENT = 8
_REST_SECONDS = 5.0
"""How long searches go on before the first build and after each."""
_BUILDS = (350, 200, 300, 250)
"""Tokens of a chunk, by index: all but the first have so many that the operator moves them."""
_WORDS = 8
"""Of a question."""
_LOOK_SECONDS = 1.0
"""Between two looks of the operator for large indexes; it takes more time in production."""

_Bounds = dict[int, tuple[set[tuple[UUID, int]], set[tuple[UUID, int]]]]
"""By number of the index: where in which documents its chunks begin, and where they end."""


@dataclass(slots=True)
class _Searches:
    """What clients were answered, one after the other each."""

    site: ChatSite
    runtime: Served
    questions: Sequence[str]
    is_building: bool = False
    has_ended: bool = False
    resting: list[float] = field(default_factory=list)
    """Milliseconds of searches that began while no index was built."""
    building: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    found: list[list[dict[str, Any]]] = field(default_factory=list)
    """Passages of each."""

    async def run(self, session: aiohttp.ClientSession, chance: random.Random) -> None:
        """Search until it has ended."""
        url = f"{self.runtime.url}/v1/knowledge-bases/{NAME}/search"
        while not self.has_ended:
            times = self.building if self.is_building else self.resting
            started = time.monotonic()
            body = {"question": chance.choice(self.questions)}
            async with session.post(url, json=body, headers=self.site.headers) as response:
                answer = await response.json()
            times.append((time.monotonic() - started) * 1000)
            if response.status != 200 or not answer["passages"]:
                self.failed.append(f"{response.status}: {answer}")
            elif broken := [stage for stage in answer["stages"] if stage["failure"] is not None]:
                self.failed.append(str(broken))
            else:
                self.found.append(answer["passages"])

    def count_mixed(self, bounds: _Bounds) -> int:
        """Searches with passages of two indexes, or with one that the index which it names does not hold."""
        return sum(not _are_of_one_index(passages, bounds) for passages in self.found)

    def indexes(self) -> set[int]:
        """The indexes that answered."""
        return {passages[0]["indexNumber"] for passages in self.found}


def _are_of_one_index(passages: Sequence[dict[str, Any]], bounds: _Bounds) -> bool:
    number, *others = {int(passage["indexNumber"]) for passage in passages}
    begins, ends = bounds[number]
    return not others and all(
        (document_id := UUID(passage["documentId"]), passage["start"]) in begins
        and (document_id, passage["end"]) in ends
        for passage in passages
    )


def measure() -> list[Figure]:
    """Everything."""
    with open_chat_site() as site, embedding_server() as endpoint:
        pages = make_pages()
        jobs = SyncJobs(site.database, site.login, site.folder / "job", endpoint.base_url)
        jobs.mount(pages)
        _configure(site, jobs, _BUILDS[0])
        process = jobs.start()
        assert process.wait(timeout=300) == 0, jobs.log
        chance = random.Random(3)
        texts = list(pages.values())
        questions = [" ".join(chance.sample(chance.choice(texts).split(), _WORDS)) for _ in range(500)]
        with site.runtime("bench-0").running() as runtime:
            return uvloop.run(_measure(site, jobs, _Searches(site, runtime, questions)))


def _configure(site: ChatSite, jobs: SyncJobs, tokens: int) -> None:
    """Publish a knowledge base whose chunks are that long, to Jobs and to the runtime."""
    jobs.configure(chunking=Chunking(target_tokens=tokens, overlap_tokens=tokens // 7))
    scope = Scope(tenant=site.login.name, namespace=site.namespace)
    manifest = build_published(scope, jobs.config, digest=jobs.config.digest())
    path = f"/api/v1/namespaces/{site.namespace}/configmaps/{manifest['metadata']['name']}"
    site.server.apply(path, manifest)


async def _measure(site: ChatSite, jobs: SyncJobs, searches: _Searches) -> list[Figure]:
    async with aiohttp.ClientSession() as session, _moving(site), asyncio.TaskGroup() as clients:
        for number in range(_CONCURRENT):
            clients.create_task(searches.run(session, random.Random(number)))
        await asyncio.sleep(_REST_SECONDS)
        for tokens in _BUILDS[1:]:
            searches.is_building = True
            _configure(site, jobs, tokens)
            await _sync(jobs)
            searches.is_building = False
            await asyncio.sleep(_REST_SECONDS)
        searches.has_ended = True
    mixed = searches.count_mixed(await _read_bounds(jobs))
    number = len(searches.found) + len(searches.failed)
    switches = len(searches.indexes()) - 1
    what = f"{number:,} searches, {_CONCURRENT} at a time, during {len(_BUILDS) - 1} rebuilds"
    return [
        Figure(f"{what}: switches seen", switches, "", at_least=len(_BUILDS) - 1, at_most=len(_BUILDS) - 1),
        Figure(f"{what}: failed", len(searches.failed), "", at_least=0, at_most=0),
        Figure(f"{what}: of two indexes", mixed, "", at_least=0, at_most=0),
        Figure(
            "a search while an index is built on the same processors, p95",
            percentile(searches.building, 95),
            "ms",
            reference=percentile(searches.resting, 95),
            compared_with="while none is",
        ),
    ]


@contextlib.asynccontextmanager
async def _moving(site: ChatSite) -> AsyncIterator[None]:
    """Large indexes are moved to tables of their own meanwhile, as the operator does."""
    postgresql = Postgresql(PostgresqlSettings(url=site.database.operator_dsn))
    large = LargeIndexes(postgresql)

    async def look() -> None:
        while True:
            await large.look_after()
            await asyncio.sleep(_LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        await postgresql.aclose()


async def _sync(jobs: SyncJobs) -> None:
    process: subprocess.Popen[bytes] = jobs.start()
    status = await asyncio.to_thread(process.wait, timeout=300)
    assert status == 0, jobs.log


async def _read_bounds(jobs: SyncJobs) -> _Bounds:
    """Of all indexes that are kept, which are all that were built."""
    connection = await jobs.database.connect()
    try:
        rows = await connection.fetch(
            "SELECT i.number, c.document_id, c.starts, c.ends FROM syntera.knowledge_chunks AS c"
            " JOIN syntera.knowledge_indexes AS i ON i.tenant_id = c.tenant_id AND i.id = c.index_id"
            " WHERE c.tenant_id = $1",
            jobs.login.tenant_id,
        )
    finally:
        await connection.close()
    bounds: _Bounds = {}
    for row in rows:
        begins, ends = bounds.setdefault(row["number"], (set(), set()))
        begins.add((row["document_id"], row["starts"]))
        ends.add((row["document_id"], row["ends"]))
    return bounds
