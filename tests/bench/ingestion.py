"""A sync of a thousand Markdown pages as its Job runs it, with an embedding endpoint that answers at once; then the same again."""

import asyncio
import contextlib
import random
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.runtime.ingest.job import SyncJobs
from tests.support.embedding_server import embedding_server
from tests.support.postgresql import PostgresqlServer

from .figures import Figure
from .processes import children_of, share_mebibytes

_PAGES = 1000
_WORDS = 4000
"""Different ones."""
_LOOK_SECONDS = 0.1

_TABLES = (
    "knowledge_bases",
    "knowledge_indexes",
    "knowledge_documents",
    "knowledge_texts",
    "knowledge_index_documents",
    "knowledge_chunks",
    "knowledge_vectors",
    "knowledge_words",
)


def measure() -> list[Figure]:
    """Everything."""
    server = PostgresqlServer.start(18, {"log_statement": "none", "shared_buffers": "128MB"})
    try:
        return asyncio.run(_measure(server))
    finally:
        server.stop()


async def _measure(server: PostgresqlServer) -> list[Figure]:
    database = await server.create_ready_database()
    with tempfile.TemporaryDirectory() as folder, embedding_server() as endpoint:
        jobs = SyncJobs(database, await database.make_tenant(), Path(folder), endpoint.base_url)
        pages = make_pages()
        jobs.mount(pages)
        endpoint.take_counts()
        whole, memory, computed = _run(jobs)
        counts = endpoint.take_counts()
        seconds = await _sync_seconds(jobs)
        before = await _rows(jobs)
        again, _, _ = _run(jobs)
        unchanged = endpoint.take_counts()
        written = len(before ^ await _rows(jobs))
        chunks = await jobs.count("knowledge_chunks")
    size = sum(len(text.encode()) for text in pages.values()) / len(pages) / 1024
    what = f"sync of {_PAGES:,} Markdown pages of {size:.1f} KiB"
    return [
        Figure(
            f"{what}, the endpoint's {counts.seconds:.1f} s excluded",
            _PAGES / (seconds - counts.seconds),
            "pages/s",
            at_least=60,
        ),
        Figure(f"{what}, from the process's start to its end", whole, "s"),
        Figure(
            f"{what}: most memory of all its processes (RSS, what they share counted once)", memory, "MiB", at_most=400
        ),
        Figure(f"{what}: processor time of all its processes", computed, "s"),
        Figure(f"{what}: chunks", chunks, "chunks"),
        Figure(f"{what}: texts embedded", counts.texts, "texts"),
        Figure("the same again, unchanged: the whole process", again, "s", at_most=10),
        Figure("the same again: texts embedded", unchanged.texts, "texts", at_most=0, at_least=0),
        Figure("the same again: rows written, but for its own", written, "rows", at_most=0, at_least=0),
    ]


def make_pages() -> Mapping[str, str]:
    """Pages as a handbook has them: headings, paragraphs, lists, tables and code of words as often as in real text."""
    chance = random.Random(6)
    letters = "abcdefghijklmnoprstuvwz"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(_WORDS)]
    weights = [1 / rank for rank in range(1, _WORDS + 1)]

    def said(number: int) -> str:
        return " ".join(chance.choices(words, weights, k=number)).capitalize()

    def section(number: int) -> str:
        paragraphs = "\n\n".join(
            " ".join(f"{said(chance.randint(6, 18))}." for _ in range(chance.randint(2, 5))) for _ in range(2)
        )
        items = "\n".join(f"- {said(8)}" for _ in range(4))
        rows = "\n".join(f"| {said(2)} | {said(3)} |" for _ in range(4))
        code = f"```sh\n{said(4)} --{said(1)}\n```"
        extra = (items, f"| what | how |\n|---|---|\n{rows}", code)[number % 3]
        return f"## {said(4)}\n\n{paragraphs}\n\n{extra}"

    return {
        f"page-{page:04}.md": f"# {said(5)}\n\n" + "\n\n".join(section(number) for number in range(5))
        for page in range(_PAGES)
    }


def _run(jobs: SyncJobs) -> tuple[float, float, float]:
    """Seconds from the start of a sync's process to its end; the most memory and the processor time of it and its children."""
    started, before = time.monotonic(), _children_seconds()
    process = jobs.start()
    most = 0.0
    while process.poll() is None:
        most = max(most, _memory(process))
        time.sleep(_LOOK_SECONDS)
    assert process.returncode == 0, jobs.log
    return time.monotonic() - started, most, _children_seconds() - before


def _children_seconds() -> float:
    """Processor time of all that we have started and waited for, and of what that has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(process: "subprocess.Popen[bytes]") -> float:
    total = 0.0
    for pid in (process.pid, *children_of(process.pid)):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            total += share_mebibytes(pid)
    return total


async def _sync_seconds(jobs: SyncJobs) -> float:
    connection = await jobs.database.connect()
    try:
        found = await connection.fetchval(
            "SELECT extract(epoch FROM max(ended_at - started_at)) FROM syntera.knowledge_syncs WHERE tenant_id = $1",
            jobs.login.tenant_id,
        )
    finally:
        await connection.close()
    return float(found)


async def _rows(jobs: SyncJobs) -> frozenset[Sequence[object]]:
    """Every row of the tenant's as it was written last."""
    connection = await jobs.database.connect()
    try:
        rows: list[Sequence[object]] = []
        for table in _TABLES:
            found = await connection.fetch(
                f"SELECT ctid::text, xmin::text FROM syntera.{table} WHERE tenant_id = $1", jobs.login.tenant_id
            )
            rows += [(table, *row) for row in found]
    finally:
        await connection.close()
    return frozenset(rows)
