"""The questions, and how an answer is recognised."""

from collections import Counter

import pytest

from .questions import Answer, Kind, Question, find_unanswered, read_questions, split, words_of


def make_question(*answers: tuple[str, str]) -> Question:
    return Question("Which?", "en", Kind.FACT, [Answer(*answer) for answer in answers])


@pytest.mark.parametrize(
    "text", ["… run **“apt-get update”** first", "Run\napt-get\n  update, then", "| run | apt-get `update` |"]
)
def test_answer_is_recognised_whatever_marks_are_around_it(text: str) -> None:
    assert make_question(("a", "run apt-get update")).is_answered_by("a", text)


@pytest.mark.parametrize(("document", "text"), [("b", "run apt-get update"), ("a", "run apt-get updates")])
def test_other_document_or_other_words_are_no_answer(document: str, text: str) -> None:
    assert not make_question(("a", "run apt-get update")).is_answered_by(document, text)


def test_any_of_several_answers_counts() -> None:
    question = make_question(("a", "one"), ("b", "two"))
    assert question.is_answered_by("b", "it is two")
    assert not question.is_answered_by("b", "it is one")


def test_broken_answers_are_named() -> None:
    found = find_unanswered([make_question(("a", "gone"), ("b", "there"))], {"a": "nothing", "b": "it is there"})
    assert found == ["'a' has no 'gone', which should answer 'Which?'"]


def test_words_of_nothing_are_found_nowhere() -> None:
    assert words_of("—") not in words_of("some words")


def test_questions_are_as_many_as_the_figures_need() -> None:
    questions = read_questions()
    languages = Counter(question.language for question in questions)
    assert languages["en"] >= 150
    assert sum(number for language, number in languages.items() if language != "en") >= 40
    assert len({question.text for question in questions}) == len(questions)
    assert all(count >= 20 for count in Counter(question.kind for question in questions).values())


def test_halves_hold_all_questions_alike() -> None:
    questions = read_questions()
    halves = split(questions)
    assert sorted(map(str, questions)) == sorted(map(str, [*halves[0], *halves[1]]))
    counts = [Counter((question.language, question.kind) for question in half) for half in halves]
    assert all(abs(counts[0][group] - counts[1][group]) <= 1 for group in counts[0] | counts[1])
    assert abs(len(halves[0]) - len(halves[1])) <= 1


def test_halves_are_the_same_in_whatever_order_questions_are_read() -> None:
    questions = read_questions()
    assert split(questions[::-1]) == split(questions)


def test_no_question_repeats_its_answer() -> None:
    """Words that were copied would flatter the search by words."""
    for question in read_questions():
        asked = words_of(question.text)
        assert not any(words_of(answer.phrase) in asked for answer in question.answers), question.text
