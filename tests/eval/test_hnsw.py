"""How much of what is nearest HNSW finds."""

import pytest

from syntera_runtime.models.knowledge import Extracted

from .corpus import CorpusDocument
from .hnsw import hold_out, measure_recall


def make_hashes(*numbers: int) -> list[bytes]:
    return [bytes([number]) for number in numbers]


def test_recall_is_of_the_ten_nearest_in_any_order() -> None:
    exact = make_hashes(*range(20))
    assert measure_recall([exact[::-1][10:]], [exact]) == 1
    assert measure_recall([make_hashes(0, 1, 2, 30, 31, 32, 33, 34, 35, 36, 3)], [exact]) == 0.3


def test_recall_counts_what_there_is() -> None:
    exact = [make_hashes(1, 2, 3), make_hashes(4)]
    assert measure_recall([make_hashes(1, 2), make_hashes(4)], exact) == pytest.approx(3 / 4)


def test_held_out_texts_are_the_same_each_time() -> None:
    paragraphs = "\n\n".join(f"Paragraph {number} tells {'something ' * 30}." for number in range(300))
    documents = [
        CorpusDocument(path, "en", Extracted(text=f"{path}{paragraphs}", marks=(), title=None, language="en"))
        for path in ("a", "b")
    ]
    assert len(hold_out(documents)) == 250
    assert hold_out(documents[::-1]) == hold_out(documents)
