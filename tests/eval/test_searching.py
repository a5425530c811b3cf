"""Ranks of answers, and what a sweep fuses."""

from uuid import UUID

from syntera_runtime.models.ids import ChunkId, DocumentId
from syntera_runtime.models.knowledge import DocumentOrigin, Passage

from .questions import Answer, Kind, Question
from .report import render_gains, render_groups, render_variants
from .searching import WAYS, Found, find_rank
from .sweep import Hits, fuse

QUESTION = Question("How heavy?", "en", Kind.FACT, [Answer("bags", "8 kg"), Answer("faq", "eight kilos")])


def make_passage(path: str, text: str) -> Passage:
    return Passage(
        knowledge_base="books",
        index_number=1,
        document_id=DocumentId(UUID(int=1)),
        origin=DocumentOrigin("books", path),
        title=path,
        url=None,
        headings=(),
        page=None,
        last_page=None,
        start=0,
        end=len(text),
        text=text,
        tokens=1,
        score=1.0,
        scores={},
    )


def test_rank_is_that_of_the_first_passage_with_an_answer() -> None:
    passages = [make_passage("pets", "8 kg"), make_passage("faq", "Eight kilos."), make_passage("bags", "8 kg")]
    assert find_rank(QUESTION, passages) == 2
    assert find_rank(QUESTION, passages[:1]) is None


def test_fusion_prefers_what_both_have_found() -> None:
    one, two, three = (ChunkId(UUID(int=number)) for number in (1, 2, 3))
    assert fuse(Hits([one, two], [three, two]), constant=60, weight=1)[0] == two
    assert list(fuse(Hits([one, two], [three]), constant=60, weight=0.5)) == [one, two, three]
    assert list(fuse(Hits([one, two], [three]), constant=5, weight=1.5)) == [three, one, two]


def test_tables_are_markdown() -> None:
    better, other = (Found(WAYS[index], ranks, 100, 1.5) for index, ranks in ((2, [1] * 9), (1, [None] * 9)))
    assert render_gains(better, [other]) == (
        "| hybrid beside | recall@5 | MRR@10 | nDCG@10 |\n| --- | --- | --- | --- |\n"
        "| vector | +1.000 (+1.000 to +1.000) | +1.000 (+1.000 to +1.000) | +1.000 (+1.000 to +1.000) |"
    )
    assert render_variants([("k", [None])], heading="fusion").splitlines()[2] == (
        "| k | 0.000 (0.00 to 0.00) | 0.000 (0.00 to 0.00) | 0.000 (0.00 to 0.00) |"
    )


def test_groups_hold_their_questions_alone() -> None:
    other = Question("Wie schwer?", "de", Kind.HOWTO, [Answer("bags", "8 kg")])
    third = Question("Combien ?", "fr", Kind.FACT, [Answer("bags", "8 kg")])
    lines = render_groups([Found(WAYS[1], [1, None, 1], 100, 1.5)], [QUESTION, other, third]).splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| English", "1", "1.000 (1.00 to 1.00) |"],
        ["| German", "1", "0.000 (0.00 to 0.00) |"],
        ["| French", "1", "1.000 (1.00 to 1.00) |"],
        ["| fact", "2", "1.000 (1.00 to 1.00) |"],
        ["| howto", "1", "0.000 (0.00 to 0.00) |"],
    ]
