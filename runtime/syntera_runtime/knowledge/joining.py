"""From found chunks to passages, as pure functions: neighbours in a document become one text, without what they share.

Nothing is told twice: a chunk belongs to the best passage that takes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..models.ids import DocumentId
from ..models.knowledge import FoundChunk, Passage
from ..models.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class Scored:
    """A chunk that was found, with what each stage thinks of it."""

    found: FoundChunk
    score: float
    scores: Mapping[str, float]


Chunks = Mapping[tuple[DocumentId, int], FoundChunk]
"""Chunks by their place: document and position."""


def build_passages(
    found: Sequence[Scored],
    around: Sequence[FoundChunk],
    *,
    knowledge_base: str,
    index_number: int,
    neighbours: int,
    most_tokens: int,
) -> list[Passage]:
    """Passages around the found chunks, the best first.

    Args:
        found: The best first.
        around: Chunks that may be joined to them; what is missing among them ends a passage.
        neighbours: How far a passage reaches on either side of its chunk.
        most_tokens: How large a passage may become, as estimated. A chunk that is larger by itself stays whole.
    """
    chunks = {(one.document_id, one.chunk.position): one for one in (*around, *(each.found for each in found))}
    taken: set[tuple[DocumentId, int]] = set()
    passages = []
    for scored in found:
        if _place(scored.found) in taken:
            continue
        run = _grow(scored.found, chunks, taken, neighbours=neighbours, most_tokens=most_tokens)
        taken.update(_place(one) for one in run)
        passages.append(_build(scored, run, knowledge_base=knowledge_base, index_number=index_number))
    return passages


def _grow(
    seed: FoundChunk, chunks: Chunks, taken: set[tuple[DocumentId, int]], *, neighbours: int, most_tokens: int
) -> list[FoundChunk]:
    """The chunk with its neighbours, by turns one after and one before it, as far as they reach and fit."""
    run = [seed]
    tokens = estimate_tokens(seed.chunk.content)
    open_sides = [1, -1]
    for distance in range(1, neighbours + 1):
        for side in list(open_sides):
            place = (seed.document_id, seed.chunk.position + side * distance)
            neighbour = None if place in taken else chunks.get(place)
            more = 0 if neighbour is None else _new_tokens(neighbour, run, side)
            if neighbour is None or tokens + more > most_tokens:
                open_sides.remove(side)
                continue
            tokens += more
            run.insert(len(run) if side > 0 else 0, neighbour)
    return run


def _new_tokens(neighbour: FoundChunk, run: Sequence[FoundChunk], side: int) -> int:
    chunk = neighbour.chunk
    known = run[-1].chunk.end - chunk.start if side > 0 else chunk.end - run[0].chunk.start
    return estimate_tokens(
        chunk.content[max(known, 0) :] if side > 0 else chunk.content[: len(chunk.content) - max(known, 0)]
    )


def _build(scored: Scored, run: Sequence[FoundChunk], *, knowledge_base: str, index_number: int) -> Passage:
    seed, first = scored.found, run[0].chunk
    text = join_contents(run)
    pages = [page for one in run for page in (one.chunk.page, one.chunk.last_page) if page is not None]
    return Passage(
        knowledge_base=knowledge_base,
        index_number=index_number,
        document_id=seed.document_id,
        origin=seed.origin,
        title=seed.facts.title,
        url=seed.facts.url,
        headings=seed.chunk.headings,
        page=min(pages, default=None),
        last_page=max(pages, default=None),
        start=first.start,
        end=max(one.chunk.end for one in run),
        text=text,
        tokens=estimate_tokens(text),
        score=scored.score,
        scores=dict(scored.scores),
        modified_at=seed.facts.modified_at,
    )


def join_contents(run: Sequence[FoundChunk]) -> str:
    """The text of neighbours, by their positions. What chunks leave out between them is white space, and shows as a break."""
    text = run[0].chunk.content
    end = run[0].chunk.end
    for one in run[1:]:
        chunk = one.chunk
        if chunk.start > end:
            text += "\n\n" if chunk.start - end > 1 else "\n"
        text += chunk.content[max(end - chunk.start, 0) :]
        end = max(end, chunk.end)
    return text


def _place(found: FoundChunk) -> tuple[DocumentId, int]:
    return found.document_id, found.chunk.position
