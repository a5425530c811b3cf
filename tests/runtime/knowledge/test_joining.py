"""From chunks to passages."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.ids import new_id
from syntera_runtime.knowledge.joining import Scored, build_passages
from syntera_runtime.models.ids import ChunkId, DocumentId
from syntera_runtime.models.knowledge import Chunk, DocumentOrigin, FoundChunk, Passage
from syntera_runtime.models.tokens import estimate_tokens
from tests.runtime.knowledge_stores import make_facts

DOCUMENT = DocumentId(new_id())
TEXT = "First the desk opens. Then people queue. Later it closes. At night nobody comes."


def make_found(position: int, start: int, end: int, *, text: str = TEXT, **changes: Any) -> FoundChunk:
    """A chunk of the text."""
    document_id = changes.pop("document_id", DOCUMENT)
    chunk = Chunk(position, start, end, text[start:end], **changes)
    return FoundChunk(ChunkId(new_id()), chunk, document_id, DocumentOrigin("docs", "guide.md"), make_facts())


def build(
    found: list[FoundChunk], around: list[FoundChunk], *, neighbours: int = 1, most_tokens: int = 600
) -> list[Passage]:
    return build_passages(
        [Scored(one, 1.0 - index / 10, {"fused": 0.1}) for index, one in enumerate(found)],
        around,
        knowledge_base="handbook",
        index_number=2,
        neighbours=neighbours,
        most_tokens=most_tokens,
    )


OPENS = make_found(0, 0, 21, headings=("Desk",), page=1, last_page=1)
QUEUE = make_found(1, 11, 40, headings=("Desk", "Queue"), page=1, last_page=2)
CLOSES = make_found(2, 41, 57, headings=("Desk",), page=2, last_page=2)
NIGHT = make_found(3, 58, 80, headings=("Desk",), page=3, last_page=3)
ALL = [OPENS, QUEUE, CLOSES, NIGHT]


def test_neighbours_become_one_text_without_what_they_share() -> None:
    (passage,) = build([QUEUE], ALL)
    assert (passage.start, passage.end) == (0, 57)
    assert passage.text == "First the desk opens. Then people queue.\nLater it closes."
    assert (passage.headings, passage.page, passage.last_page) == (("Desk", "Queue"), 1, 2)
    assert (passage.index_number, passage.knowledge_base, passage.title) == (2, "handbook", "Guide")


def test_found_neighbour_is_not_told_twice() -> None:
    (passage,) = build([QUEUE, OPENS], ALL)
    assert passage.score == 1.0
    assert passage.text.count("desk opens") == 1


def test_neighbours_are_shared_by_no_two_passages() -> None:
    first, second = build([OPENS, NIGHT], ALL, neighbours=2)
    assert (first.start, first.end) == (0, 57)
    assert (second.start, second.end, second.text) == (58, 80, "At night nobody comes.")


def test_passage_ends_where_the_budget_does() -> None:
    room = estimate_tokens(QUEUE.chunk.content) + estimate_tokens("Later it closes.")
    (passage,) = build([QUEUE], ALL, most_tokens=room)
    assert (passage.start, passage.end) == (11, 57)


def test_chunk_that_is_larger_than_the_budget_stays_whole() -> None:
    (passage,) = build([QUEUE], ALL, most_tokens=1)
    assert passage.text == QUEUE.chunk.content


def test_no_neighbours_are_joined_when_none_are_wanted() -> None:
    (passage,) = build([QUEUE], ALL, neighbours=0)
    assert passage.text == QUEUE.chunk.content


def test_missing_neighbour_ends_the_passage() -> None:
    (passage,) = build([OPENS], [CLOSES, NIGHT], neighbours=3)
    assert passage.text == OPENS.chunk.content


def test_chunks_of_other_documents_are_not_joined() -> None:
    other = make_found(1, 22, 40, document_id=DocumentId(new_id()))
    passages = build([OPENS, other], [])
    assert [passage.text for passage in passages] == [OPENS.chunk.content, other.chunk.content]


@given(st.data())
def test_text_of_passages_is_the_document_between_their_ends(data: st.DataObject) -> None:
    """Cut without gaps, with any overlap: nothing is lost, and nothing told twice."""
    text = data.draw(st.text(alphabet="abc é.", min_size=1, max_size=60))
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=6))})
    chunks = []
    for position, (start, end) in enumerate(itertools.pairwise(cuts)):
        begin = data.draw(st.integers(cuts[max(position - 1, 0)], start))
        chunks.append(make_found(position, begin, end, text=text))
    found = data.draw(st.lists(st.sampled_from(chunks), min_size=1, unique_by=lambda one: one.id))
    passages = build(found, chunks, neighbours=data.draw(st.integers(0, 3)), most_tokens=data.draw(st.integers(1, 30)))
    assert passages
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert passage.tokens == estimate_tokens(passage.text)
