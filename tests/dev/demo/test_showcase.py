"""What the demo prints."""

from typing import Any

import pytest

from syntera_dev.demo.showcase import describe_citation


def make_citation(**changes: Any) -> dict[str, Any]:
    citation = {"number": 1, "title": "Baggage", "headings": [], "source": "articles", "path": "baggage.md"}
    return citation | changes


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "[1] Baggage (articles: baggage.md)"),
        ({"number": 2, "headings": ["Baggage", "Cabin bags"]}, "[2] Baggage > Cabin bags (articles: baggage.md)"),
    ],
)
def test_citation_is_shown_on_one_line(changes: dict[str, Any], shown: str) -> None:
    assert describe_citation(make_citation(**changes)) == shown
