"""What is known of a document, put together."""

from datetime import UTC, datetime
from typing import Any

import pytest

from syntera_crds.contract.knowledge_config import Source
from syntera_runtime.ingest.facts import (
    MOST_TITLE,
    SourceSettings,
    build_embedded_text,
    clean_title,
    has_same_facts,
    has_same_settings,
    mark,
    merge_facts,
    replace_validators,
    without_ours,
)
from syntera_runtime.models.knowledge import Chunk, DocumentFacts, Extracted
from tests.runtime.ingest.site import make_config

THEN, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def settings(**fields: Any) -> SourceSettings:
    return SourceSettings.of(Source.model_validate({"name": "docs", **fields}))


def test_content_wins_over_what_the_source_says() -> None:
    said = DocumentFacts(title="a.pdf", language="de", tags=frozenset({"x"}), modified_at=THEN)
    extracted = Extracted("", title="Terms", language="en", tags=("y",), modified_at=LATER)
    merged = merge_facts(said, settings(tags=["z"]), extracted, media_type="application/pdf", size=7)
    assert (merged.title, merged.language, merged.modified_at) == ("Terms", "en", LATER)
    assert merged.tags == {"x", "y", "z"}
    assert (merged.media_type, merged.size) == ("application/pdf", 7)


def test_what_the_content_does_not_say_the_source_does() -> None:
    said = DocumentFacts(title="a.pdf", language="de", modified_at=THEN)
    merged = merge_facts(said, settings(), Extracted(""), media_type="text/plain", size=0)
    assert (merged.title, merged.language, merged.modified_at) == ("a.pdf", "de", THEN)


def test_configuration_wins_over_the_language_of_the_content() -> None:
    merged = merge_facts(
        DocumentFacts(title="a"), settings(language="pl"), Extracted("", language="en"), media_type="text/plain", size=0
    )
    assert merged.language == "pl"


def test_marks_tell_changes_and_stay_with_us() -> None:
    said = DocumentFacts(title="a", size=1)
    marked = mark({"etag": "1"}, settings(audience=["member"]), said)
    assert has_same_settings(marked, settings(audience=["member"]))
    assert not has_same_settings(marked, settings(audience=["public"]))
    assert has_same_facts(marked, DocumentFacts(title="a", size=2))
    assert not has_same_facts(marked, DocumentFacts(title="b"))
    assert without_ours(marked) == {"etag": "1"}
    assert without_ours(replace_validators(marked, {"etag": "2"})) == {"etag": "2"}
    assert replace_validators(marked, None) == marked
    assert has_same_facts(replace_validators(marked, {"etag": "2"}), said)


@pytest.mark.parametrize(
    ("title", "cleaned"),
    [
        (" A\n\ttitle  here ", "A title here"),
        ("nul\0l", "nul l"),
        ("half \ud800", "half"),
        ("", "Untitled"),
        ("\x07", "Untitled"),
        ("x" * 10_000, "x" * MOST_TITLE),
    ],
)
def test_titles_are_one_line(title: str, cleaned: str) -> None:
    assert clean_title(title) == cleaned


@pytest.mark.parametrize(
    ("headings", "place"),
    [((), "Guide"), (("Guide",), "Guide"), (("Guide", "Refunds"), "Guide > Refunds"), (("Other",), "Guide > Other")],
)
def test_embedded_text_names_each_place_once(headings: tuple[str, ...], place: str) -> None:
    chunk = Chunk(0, 0, 3, "abc", headings=headings)
    assert build_embedded_text(make_config().embedding, title="Guide", chunk=chunk) == f"{place}\n\nabc"
