"""Ranks of answers, and the tables that are made of them."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from syntera_runtime.models.ids import DocumentId
from syntera_runtime.models.knowledge import DocumentOrigin, Passage

from .metrics import Rank
from .questions import Answer, Kind, Question
from .report import render_chunkings, render_gains, render_grid, render_groups, render_variants, render_ways
from .searching import WAYS, Found, find_rank

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


def make_found(*ranks: Rank, way: int = 1, questions: Sequence[Question] | None = None) -> Found:
    return Found(
        WAYS[way],
        questions or [replace(QUESTION, text=f"Question {number}") for number in range(len(ranks))],
        ranks,
        [1000.0 * number for number, _ in enumerate(ranks)],
        [1.0 + number for number, _ in enumerate(ranks)],
    )


def test_tables_are_markdown() -> None:
    assert render_gains(make_found(*[1] * 9, way=2), [make_found(*[None] * 9)]) == (
        "| hybrid beside | recall@5 | MRR@10 | nDCG@10 |\n| --- | --- | --- | --- |\n"
        "| vector | +1.000 (+1.000 to +1.000) | +1.000 (+1.000 to +1.000) | +1.000 (+1.000 to +1.000) |"
    )


def test_way_shows_median_and_tail_of_its_times() -> None:
    row = render_ways([make_found(*[None] * 20)]).splitlines()[2]
    assert (
        row
        == "| vector | 0.000 (0.00 to 0.00) | 0.000 (0.00 to 0.00) | 0.000 (0.00 to 0.00) | 9,500 | 10.0 ms | 19.0 ms |"
    )


def test_variants_are_put_beside_the_default() -> None:
    better, default = make_found(*[1] * 9, way=2), make_found(*[None] * 9)
    assert [row.split(" | ")[-1] for row in render_variants([better, default], default).splitlines()[2:]] == [
        "+1.000 (+1.000 to +1.000) |",
        " |",
    ]


def test_grid_has_a_row_and_a_column_for_each_constant() -> None:
    found = {(5, 0.5): make_found(1), (5, 1.0): make_found(None), (60, 0.5): make_found(3), (60, 1.0): make_found(6)}
    assert render_grid(found, (5, 60), (0.5, 1.0), heading="k").splitlines() == [
        "| k | 0.5 | 1 |",
        "| --- | --- | --- |",
        "| 5 | 1.000 (1.000) | 0.000 (0.000) |",
        "| 60 | 0.500 (1.000) | 0.356 (0.000) |",
    ]


def test_chunking_has_a_row_with_all_ways() -> None:
    row = render_chunkings({"350 / 50": (1129, [make_found(1), make_found(3), make_found(None)])}).splitlines()[2]
    assert row == "| 350 / 50 | 1,129 | 1.000, 1.000 | 0.500, 1.000 | 0.000, 0.000 |"


def test_some_questions_have_their_own_figures_alone() -> None:
    found = make_found(1, None, 3)
    some = found.among([found.questions[2], found.questions[0]])
    assert [question.text for question in some.questions] == ["Question 0", "Question 2"]
    assert (some.ranks, some.shown_tokens, some.milliseconds) == ([1, 3], [0, 2000], [1, 3])


def test_groups_hold_their_questions_alone() -> None:
    other = Question("Wie schwer?", "de", Kind.HOWTO, [Answer("bags", "8 kg")])
    third = Question("Combien ?", "fr", Kind.FACT, [Answer("bags", "8 kg")])
    asked = [QUESTION, other, third]
    lines = render_groups([make_found(1, None, 1, questions=asked)], asked).splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| English", "1", "1.000 (1.00 to 1.00) |"],
        ["| German", "1", "0.000 (0.00 to 0.00) |"],
        ["| French", "1", "1.000 (1.00 to 1.00) |"],
        ["| fact", "2", "1.000 (1.00 to 1.00) |"],
        ["| howto", "1", "0.000 (0.00 to 0.00) |"],
    ]
