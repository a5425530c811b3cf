"""Chunks: whole, in order, within bounds, and cut where a reader would."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syntera_crds.contract.knowledge_config import Chunking
from syntera_runtime.knowledge import chunking
from syntera_runtime.knowledge.chunking import TooManyChunks, cut
from syntera_runtime.models.knowledge import Chunk, Extracted, Mark
from syntera_runtime.models.tokens import estimate_tokens

SMALL = Chunking(target_tokens=64, overlap_tokens=20)

LINES = st.one_of(
    st.sampled_from(
        [
            "# One",
            "## Two",
            "### Three",
            "",
            "",
            "| a | b |",
            "|---|---|",
            "- item",
            "1. first",
            "```",
            "~~~",
            "   ",
            "> said",
        ]
    ),
    st.text(max_size=400),
    st.lists(
        st.sampled_from(["This is so.", "Why?", "e.g. that", "3.5 metres", "最後です。", "Ende!"]), max_size=40
    ).map(" ".join),
    st.text(alphabet="ab .!?\t`|#-", max_size=300),
)
TEXTS = st.one_of(st.text(max_size=3000), st.lists(LINES, max_size=60).map("\n".join))


@st.composite
def documents(draw: st.DrawFn) -> Extracted:
    text = draw(TEXTS)
    starts = sorted(draw(st.sets(st.integers(0, max(0, len(text) - 1)), max_size=12)))
    path = st.lists(st.sampled_from("ABC"), max_size=3).map(tuple)
    pages = sorted(draw(st.lists(st.integers(1, 9), min_size=len(starts), max_size=len(starts))))
    return Extracted(text, tuple(Mark(start, draw(path), page) for start, page in zip(starts, pages, strict=True)))


CHUNKINGS = st.integers(64, 400).flatmap(
    lambda target: st.integers(0, target // 2 - 1).map(
        lambda overlap: Chunking(target_tokens=target, overlap_tokens=overlap)
    )
)


@given(documents(), CHUNKINGS)
@example(Extracted("word " * 2000), SMALL)
@example(Extracted("x" * 5000), SMALL)
@example(Extracted("e\u0301" * 2000), SMALL)
@example(Extracted("\U0001f469\u200d\U0001f467" * 500), SMALL)
@example(Extracted("\ud800" * 3000), SMALL)
@example(Extracted(" " * 5000 + "a" + " " * 5000 + "b."), SMALL)
@settings(max_examples=150, deadline=None)
def test_chunks_cover_the_text_in_order_within_bounds(extracted: Extracted, chunking: Chunking) -> None:
    chunks = cut(extracted, chunking)
    text = extracted.text
    covered = bytearray(len(text))
    for number, chunk in enumerate(chunks):
        assert chunk.position == number
        assert chunk.content == text[chunk.start : chunk.end]
        assert chunk.content == chunk.content.strip() != ""
        assert chunk.tokens == estimate_tokens(chunk.content) <= 2 * chunking.target_tokens
        covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
    assert all(covered[place] or character.isspace() for place, character in enumerate(text))
    for before, chunk in itertools.pairwise(chunks):
        assert before.start < chunk.start
        assert before.end < chunk.end
        assert chunk.overlap == max(0, before.end - chunk.start) < len(chunk.content)
        assert estimate_tokens(chunk.content[: chunk.overlap]) <= chunking.overlap_tokens
    if chunks:
        assert chunks[0].overlap == 0


@given(documents(), CHUNKINGS)
@settings(max_examples=50, deadline=None)
def test_chunks_are_on_the_pages_where_they_begin_and_end(extracted: Extracted, chunking: Chunking) -> None:
    def page_at(position: int) -> int | None:
        return next((mark.page for mark in reversed(extracted.marks) if mark.start <= position), None)

    for chunk in cut(extracted, chunking):
        assert (chunk.page, chunk.last_page) == (page_at(chunk.start), page_at(chunk.end - 1))


def make_document(*sections: tuple[tuple[str, ...], str]) -> Extracted:
    """Each section is a path of headings and what stands below."""
    text, marks = "", []
    for headings, body in sections:
        marks.append(Mark(len(text), headings))
        text += f"{'#' * len(headings)} {headings[-1]}\n\n{body}\n\n" if headings else f"{body}\n\n"
    return Extracted(text, tuple(marks))


def sentences(number: int, word: str = "word") -> str:
    return " ".join(f"This sentence has the number {place} and the {word}." for place in range(number))


def contents(chunks: tuple[Chunk, ...]) -> list[str]:
    return [chunk.content for chunk in chunks]


def test_a_small_document_is_one_chunk() -> None:
    (chunk,) = cut(make_document((("Refunds",), "You get it back.")), Chunking())
    assert (chunk.content, chunk.headings) == ("# Refunds\n\nYou get it back.", ("Refunds",))


def test_sections_are_not_mixed() -> None:
    long = sentences(12)
    chunks = cut(make_document((("A", "One"), long), (("A", "Two"), long)), SMALL)
    assert {chunk.headings for chunk in chunks} == {("A", "One"), ("A", "Two")}
    for chunk in chunks:
        assert ("## Two" in chunk.content) <= (chunk.headings == ("A", "Two"))


def test_a_section_begins_without_overlap_and_goes_on_with_one() -> None:
    first, *others = cut(make_document((("A",), sentences(12))), SMALL)
    assert first.overlap == 0
    assert others
    for chunk in others:
        assert chunk.overlap > 0
        assert chunk.content.startswith("This sentence")


def test_sentences_are_not_cut() -> None:
    for chunk in cut(Extracted(sentences(40)), SMALL):
        assert chunk.content.startswith("This")
        assert chunk.content.endswith(".")


@pytest.mark.parametrize(
    "said", ["Ask Dr. Brown. ", "It is 3.5 m, e.g. here. ", "See p. 12 there. ", "z. B. hier. ", "J. S. Bach wrote. "]
)
def test_abbreviations_and_numbers_end_no_sentence(said: str) -> None:
    for chunk in cut(Extracted(said * 60), SMALL):
        assert chunk.content.startswith(said[:6])
        assert chunk.content.endswith(said.strip()[-4:])


def test_sentences_without_spaces_are_told_apart() -> None:
    for chunk in cut(Extracted("これは文です。" * 100), SMALL):
        assert chunk.content.endswith("。")


def test_rows_of_tables_are_not_cut() -> None:
    rows = [f"| {number} | the cell of the row with this number | and one more |" for number in range(40)]
    for chunk in cut(Extracted("\n".join(rows)), SMALL):
        assert set(chunk.content.splitlines()) <= set(rows)


def test_items_of_lists_are_not_cut() -> None:
    items = [f"- item {number} that is longer. It has two\n  sentences and two lines" for number in range(30)]
    for chunk in cut(Extracted("\n".join(items)), SMALL):
        assert chunk.content.startswith("- item")
        assert chunk.content.endswith("two lines")


def test_lines_of_code_are_not_cut() -> None:
    lines = [f"call_{number}(first. Second, # not a heading | no row)" for number in range(40)]
    chunks = cut(Extracted("```python\n" + "\n\n".join(lines) + "\n```\n\nDone."), SMALL)
    whole = {"```python", "```", "Done.", "", *lines}
    assert all(set(chunk.content.splitlines()) <= whole for chunk in chunks)


def test_a_table_that_fits_is_kept_whole() -> None:
    table = "\n".join(f"| {number} | cell |" for number in range(8))
    text = f"{sentences(4)}\n\n{table}"
    assert any(table in content for content in contents(cut(Extracted(text), SMALL)))


def test_tiny_sections_of_one_parent_are_joined() -> None:
    chunks = cut(make_document((("A", "One"), "Yes."), (("A", "Two"), "No."), (("B",), sentences(12))), SMALL)
    assert chunks[0].headings == ("A",)
    assert chunks[0].content == "## One\n\nYes.\n\n## Two\n\nNo."
    assert all("Yes" not in content for content in contents(chunks)[1:])


def test_a_heading_goes_with_what_is_below() -> None:
    chunks = cut(make_document((("A",), ""), (("A", "One"), "Something is said here.")), SMALL)
    assert [(chunk.headings, chunk.content) for chunk in chunks] == [
        (("A", "One"), "# A\n\n\n\n## One\n\nSomething is said here.")
    ]


def test_headings_without_marks_are_not_left_behind() -> None:
    text = "\n\n".join(f"## Part {number}\n\n{sentences(3)}" for number in range(6))
    for content in contents(cut(Extracted(text), SMALL)):
        assert not content.splitlines()[-1].startswith("#")


def test_document_of_too_many_chunks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    extracted = Extracted(sentences(12))
    number = len(cut(extracted, SMALL))
    monkeypatch.setattr(chunking, "MOST_CHUNKS", number)
    assert len(cut(extracted, SMALL)) == number
    monkeypatch.setattr(chunking, "MOST_CHUNKS", number - 1)
    with pytest.raises(TooManyChunks):
        cut(extracted, SMALL)


@pytest.mark.parametrize("text", ["", " \n\t\u00a0\n"])
def test_no_text_gives_no_chunk(text: str) -> None:
    assert cut(Extracted(text), SMALL) == ()


@pytest.mark.parametrize(
    "text",
    [
        "." * 1_000_000,
        "a." * 500_000,
        ".)" * 500_000,
        "。」" * 500_000,
        "a" * 1_000_000,
        " " * 1_000_000 + "x",
        "# a\n" * 250_000,
        "```\n" * 250_000,
        "`" * 1_000_000,
        "- a\n" * 250_000,
        "|" * 1_000_000,
        "1" * 1_000_000 + ". x",
        "a. " * 300_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_a_hostile_text_takes_time_in_proportion(text: str) -> None:
    assert cut(Extracted(text), SMALL)  # in a second or two; a quadratic way would meet the time limit of tests
