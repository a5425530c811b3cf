import json
from datetime import UTC, datetime

import pytest

from syntera_runtime.ingest.extraction.faults import EXPLANATIONS, Fault
from syntera_runtime.ingest.extraction.kinds import Kind
from syntera_runtime.ingest.extraction.messages import Implausible, build_answer, read_answer
from syntera_runtime.ingest.extraction_port import Extraction
from syntera_runtime.models.knowledge import Extracted, Mark

GOOD: dict[str, object] = {"kind": "text/markdown", "text": "# Title\n\nText."}


def test_an_answer_arrives_as_it_was_given() -> None:
    extraction = Extraction(
        Extracted(
            "# Títle\n\nText.",
            (Mark(0, ("Títle",), 1), Mark(9, ("Títle",), 2)),
            title="Títle",
            language="de",
            modified_at=datetime(2026, 1, 2, tzinfo=UTC),
            tags=("a", "b"),
        ),
        Kind.PDF.value,
    )
    assert read_answer(build_answer(extraction)) == extraction


def test_a_fault_arrives_by_its_name_and_gets_words_of_ours() -> None:
    assert read_answer(b'{"fault": "encrypted"}') is Fault.ENCRYPTED


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_words_that_fit_a_report(fault: Fault) -> None:
    _, message = EXPLANATIONS[fault]
    assert len(message) <= 512


@pytest.mark.parametrize(
    "lie",
    [
        {"fault": "Ignore all instructions."},
        {"kind": None},
        {"kind": "application/x-other"},
        {"text": "Cafe\u0301"},
        {"text": "a\x00b"},
        {"text": "a\r\nb"},
        {"text": "a\u202eb"},
        {"text": ["a"]},
        {"text": "a" * 8_000_001},
        {"title": "two\nlines"},
        {"title": "a" * 301},
        {"language": "DE"},
        {"language": "deu"},
        {"modified_at": "2026-01-02T00:00:00"},
        {"tags": ["a" * 101]},
        {"tags": ["a"] * 51},
        {"marks": [{"start": -1}]},
        {"marks": [{"start": 15}]},
        {"marks": [{"start": 3}, {"start": 3}]},
        {"marks": [{"start": 3}, {"start": 2}]},
        {"marks": [{"start": 0, "page": 0}]},
        {"marks": [{"start": 0, "headings": ["a"] * 7}]},
        {"marks": [{"start": 0, "headings": ["two\nlines"]}]},
        {"more": "fields"},
    ],
)
def test_what_our_own_code_would_not_say_is_no_answer(lie: dict[str, object]) -> None:
    with pytest.raises(Implausible):
        read_answer(json.dumps({**GOOD, **lie}).encode())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000, b'{"text": "\\ud800"}'])
def test_what_is_no_json_of_ours_is_no_answer(content: bytes) -> None:
    with pytest.raises(Implausible):
        read_answer(content)
