import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.ingest.extraction.composition import Composition, clean, is_clean
from syntera_runtime.ingest.extraction.markdown import mark_headings, read_markdown

TEXTS = st.text(alphabet=st.characters(), max_size=200)
MARKDOWN = st.lists(
    st.sampled_from(["# a", "## b", "a", "===", "---", "```", "- a", "> # q", "", "    # c", "#", "# e\u0301"]),
    max_size=20,
)


@given(TEXTS)
def test_clean_text_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert is_clean(once)
    assert clean(once) == once
    assert once == unicodedata.normalize("NFC", once)


@given(st.lists(st.tuples(st.integers(0, 7), TEXTS), max_size=20))
def test_marks_stand_where_what_they_mark_begins(parts: list[tuple[int, str]]) -> None:
    composition = Composition()
    for number, (level, text) in enumerate(parts, start=1):
        if level == 7:
            composition.begin_page(number)
        if level in (0, 7):
            composition.add_block(text)
        else:
            composition.add_heading(level, text)
    text, marks = composition.text, composition.marks
    assert is_clean(text)
    starts = [mark.start for mark in marks]
    assert starts == sorted(set(starts))
    assert all(start < len(text) for start in starts)
    for before, mark in zip((None, *marks), marks, strict=False):
        if before is None or before.headings != mark.headings:
            assert not mark.headings or mark.headings[-1] in text[mark.start :].split("\n")[0]


@given(MARKDOWN)
def test_headings_of_markdown_stand_where_their_marks_say(lines: list[str]) -> None:
    text, marks = mark_headings(clean("\n".join(lines)))
    for mark in marks:
        assert text[mark.start :].lstrip(" ").startswith("#")
        assert mark.start == 0 or text[mark.start - 1] == "\n"


@given(TEXTS)
def test_any_text_is_markdown(text: str) -> None:
    assert is_clean(read_markdown(text).text)
