"""Knowledge bases, documents, syncs and passages as people read them at a terminal."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from syntera_runtime.client.knowledge_models import (
    Chunk,
    Document,
    KnowledgeBase,
    Passage,
    SearchResult,
    Sync,
)


def render_knowledge_bases(found: Sequence[KnowledgeBase]) -> Iterator[RenderableType]:
    """All knowledge bases, a line each."""
    table = _table("NAME", "INDEXED", "PENDING", "FAILED", "CHUNKS", numbers=4)
    for title in ("MODEL", "LAST SYNC"):
        table.add_column(title, overflow="fold")
    for one in found:
        counts = one.documents
        numbers = (counts.indexed, counts.pending, counts.failed, one.chunks)
        last = "none yet" if one.last_sync is None else f"{one.last_sync.state} {_time(one.last_sync.started_at)}"
        table.add_row(*map(Text, (one.name, *(f"{number:,}" for number in numbers), one.embedding.model, last)))
    yield table


def render_knowledge_base(one: KnowledgeBase) -> Iterator[RenderableType]:
    """One knowledge base in full."""
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(one):
        facts.add_row(Text(name), Text(value))
    yield facts
    yield Text()
    table = _table("SOURCE", "KIND", "AUDIENCE", "TAGS", "LANGUAGE")
    for source in one.sources:
        cells = (source.name, source.kind, ", ".join(source.audience), ", ".join(source.tags), source.language or "")
        table.add_row(*map(Text, cells))
    yield table
    if one.last_sync is not None:
        yield Text()
        yield Text(say_sync(one.last_sync))
        yield from _failures(one.last_sync)


def render_documents(found: Sequence[Document]) -> Iterator[RenderableType]:
    """Documents, a line each, and why some failed."""
    table = _table("ID", "STATE", "SOURCE", "PATH", "TITLE", "AUDIENCE")
    table.add_column("CHUNKS", justify="right")
    for one in found:
        cells = (str(one.id), str(one.state), one.source, one.path, one.title, ", ".join(one.audience))
        table.add_row(*map(Text, (*cells, f"{one.chunks:,}")))
    yield table
    for one in found:
        if one.failure is not None:
            yield Text(f"{one.path}: {one.failure.reason}: {one.failure.message}", style="yellow")


def render_chunks(found: Sequence[Chunk]) -> Iterator[RenderableType]:
    """Chunks with their texts."""
    for one in found:
        place = _place(one.headings, one.page, one.last_page)
        yield Text(f"{one.position}  {one.start}-{one.end}  {one.tokens} tokens  {place}".rstrip(), style="bold")
        yield _indented(one.text)
        yield Text()


def render_syncs(found: Sequence[Sync]) -> Iterator[RenderableType]:
    """Syncs, a line each, and what could not be taken in."""
    table = _table("STARTED", "STATE", "SECONDS", "ADDED", "CHANGED", "UNCHANGED", "REMOVED", "FAILED", "TOKENS")
    for column in table.columns[2:]:
        column.justify = "right"
    for one in found:
        counts = one.counts
        numbers = (counts.added, counts.changed, counts.unchanged, counts.removed, counts.failed)
        cells = (_time(one.started_at), str(one.state), _seconds(one), *(f"{number:,}" for number in numbers))
        table.add_row(*map(Text, (*cells, f"{counts.embedded_tokens:,}")))
    yield table
    for one in found[:1]:
        yield from _failures(one)


def render_result(result: SearchResult) -> Iterator[RenderableType]:
    """Passages with their scores, then the stages."""
    for number, passage in enumerate(result.passages, start=1):
        yield Text.assemble((f"[{number}] {passage.title}", "bold"), f"  {passage.score:.3f}")
        yield Text(_describe(passage), style="dim")
        yield _indented(passage.text)
        yield Text()
    if not result.passages:
        yield Text("Nothing was found.")
    stages = []
    for stage in result.stages:
        failure = "" if stage.failure is None else f" ({stage.failure})"
        stages.append(f"{stage.name} {stage.found} in {stage.seconds * 1000:.0f} ms{failure}")
    yield Text(f"{result.mode}: {', '.join(stages)}; {result.left_out} below the least score", style="dim")


def say_sync(sync: Sync) -> str:
    """A sync in a sentence."""
    counts = sync.counts
    done = (
        f"{counts.added:,} added, {counts.changed:,} changed, {counts.unchanged:,} unchanged, {counts.removed:,} removed, "
        f"{counts.failed:,} failed; {counts.embedded_tokens:,} tokens embedded"
    )
    why = "" if sync.failure is None else f" ({sync.failure}: {sync.message or ''})"
    seconds = _seconds(sync)
    lasted = f" after {seconds} s" if seconds else ""
    return f"Sync of {_time(sync.started_at)}: {sync.state}{lasted}{why}: {done}"


def _facts(one: KnowledgeBase) -> Iterator[tuple[str, str]]:
    yield "Name", one.name
    counts = one.documents
    yield (
        "Documents",
        f"{counts.indexed:,} indexed, {counts.pending:,} pending, {counts.failed:,} failed, {counts.excluded:,} excluded",
    )
    yield "Chunks", f"{one.chunks:,}"
    yield "Model", f"{one.embedding.endpoint}/{one.embedding.model}, {one.embedding.dimensions} dimensions"
    yield "Chunking", f"{one.chunking.target_tokens} tokens, {one.chunking.overlap_tokens} of overlap"
    reranked = ", reranked" if one.retrieval.reranks else ""
    yield "Search", f"{one.retrieval.mode}, {one.retrieval.top_k} passages{reranked}"
    index = one.active_index
    if index is None:
        yield "Index", "none yet: no sync has come to its end"
        return
    state = "" if index.current else ", another one takes its place with the next sync that comes to its end"
    yield "Index", f"{index.number} ({index.storage}), since {_time(index.activated_at or index.created_at)}{state}"


def _failures(sync: Sync) -> Iterator[RenderableType]:
    for failure in sync.failures:
        subject = failure.source if failure.document is None else f"{failure.source}/{failure.document}"
        yield Text(f"{subject}: {failure.reason}: {failure.message}", style="yellow")


def _describe(passage: Passage) -> str:
    place = _place(passage.headings, passage.page, passage.last_page)
    scores = ", ".join(f"{stage} {score:.3f}" for stage, score in passage.scores.items())
    told = (passage.url or f"{passage.source}/{passage.path}", place, f"{passage.start}-{passage.end}", scores)
    return "  ".join(part for part in told if part)


def _place(headings: Sequence[str], page: int | None, last_page: int | None) -> str:
    path = " > ".join(headings)
    if page is None:
        return path
    pages = f"page {page}" if last_page in (None, page) else f"pages {page}-{last_page}"
    return f"{path}, {pages}" if path else pages


def _table(*titles: str, numbers: int = 0) -> Table:
    """A table whose last `numbers` columns hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles[: len(titles) - numbers]:
        table.add_column(title, overflow="fold")
    for title in titles[len(titles) - numbers :]:
        table.add_column(title, justify="right")
    return table


def _indented(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 2), expand=False)


def _seconds(sync: Sync) -> str:
    return "" if sync.ended_at is None else f"{(sync.ended_at - sync.started_at).total_seconds():,.0f}"


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
