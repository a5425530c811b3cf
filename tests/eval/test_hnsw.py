"""How much of what is nearest HNSW finds."""

import pytest

from syntera_runtime.models.knowledge import Extracted

from .corpus import CorpusDocument
from .hnsw import draw, measure_recall


def make_hashes(*numbers: int) -> list[bytes]:
    return [bytes([number]) for number in numbers]


def test_recall_is_of_the_ten_nearest_in_any_order() -> None:
    exact = make_hashes(*range(20))
    assert measure_recall([exact[::-1][10:]], [exact]) == 1
    assert measure_recall([make_hashes(0, 1, 2, 30, 31, 32, 33, 34, 35, 36, 3)], [exact]) == 0.3


def test_recall_counts_what_there_is() -> None:
    exact = [make_hashes(1, 2, 3), make_hashes(4)]
    assert measure_recall([make_hashes(1, 2), make_hashes(4)], exact) == pytest.approx(3 / 4)


def test_texts_that_are_held_out_are_not_stored() -> None:
    paragraphs = "\n\n".join(f"Paragraph {number} tells {'something ' * 30}." for number in range(300))
    documents = [
        CorpusDocument(path, "en", Extracted(text=f"{path}{paragraphs}", marks=(), title=None, language="en"))
        for path in ("a", "b")
    ]
    stored, held_out = draw(documents)
    assert len(held_out) == len(set(held_out)) == 250
    assert stored
    assert stored.isdisjoint(held_out)
    assert draw(documents[::-1]) == (stored, held_out)
