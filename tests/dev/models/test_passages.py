"""The stand-in reads prompts as the product builds them."""

from uuid import UUID

import pytest

from syntera_dev.models import passages
from syntera_runtime.chat import passages as product
from syntera_runtime.models.exchange import ModelMessage
from syntera_runtime.models.ids import DocumentId
from syntera_runtime.models.knowledge import DocumentOrigin, Passage


def make_passage(text: str, *, title: str = "Baggage", headings: tuple[str, ...] = ()) -> Passage:
    return Passage(
        knowledge_base="help-center",
        index_number=1,
        document_id=DocumentId(UUID(int=1)),
        origin=DocumentOrigin("articles", "baggage.md"),
        title=title,
        url=None,
        headings=headings,
        page=None,
        last_page=None,
        start=0,
        end=len(text),
        text=text,
        tokens=1,
        score=1.0,
        scores={},
    )


def ground(*found: Passage, note: str | None = None) -> tuple[str, str]:
    """System message and question as the product makes them."""
    messages = [ModelMessage("system", "Be kind."), ModelMessage("user", "How heavy may a bag be?")]
    given = product.choose_passages(found, most_tokens=1000)
    system, question = product.ground(messages, given, note=note)
    return system.content, question.content


def test_passages_are_read_as_the_product_builds_them() -> None:
    first = make_passage("# Bags\n\nOne of 8 kg.\n[2] Not a number.", headings=("Cabin", "Bags"))
    _, content = ground(first, make_passage("Dogs fly, too.", title="Pets"))
    found, question = passages.split_question(content)
    assert question == "How heavy may a bag be?"
    assert [one.number for one in found] == [1, 2]
    assert [one.place.split()[0] for one in found] == ["Baggage", "Pets"]
    assert found[0].place.endswith("Bags")
    assert list(found[0].sentences) == ["One of 8 kg.", "[ 2 ] Not a number."]
    assert list(found[1].sentences) == ["Dogs fly, too."]


@pytest.mark.parametrize("note", [None, product.NOTHING_FOUND])
def test_rules_of_the_product_are_told_from_instructions(note: str | None) -> None:
    system, question = ground(*(() if note else (make_passage("Bags."),)), note=note)
    assert passages.without_rules(system).strip() == "Be kind."
    assert (passages.NOTHING_FOUND in system) == (note is not None)
    assert passages.split_question(question)[1] == "How heavy may a bag be?"
