"""Questions with known answers: YAML files of ours, one for each language."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml

_FOLDER = Path(__file__).parent / "questions"
_WORD = re.compile(r"[^\W_]+")


class Kind(StrEnum):
    """What a question is like."""

    FACT = "fact"
    """Asks for one thing: a name, a number, a place."""
    HOWTO = "howto"
    """Asks how something is done."""
    IDENTIFIER = "identifier"
    """Names, or asks for, a command, an option, a file."""
    PARAPHRASE = "paraphrase"
    """Tells what somebody wants in words that the answer does not use."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where an answer stands."""

    document: str
    """Path of the page."""
    phrase: str
    """Words that stand there and nowhere else on the page; whoever reads them knows the answer."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that somebody may ask."""

    text: str
    language: str
    kind: Kind
    answers: Sequence[Answer]
    """Any of them answers it."""

    def is_answered_by(self, document: str, text: str) -> bool:
        """Whether a piece of a document holds an answer."""
        read = words_of(text)
        return any(answer.document == document and words_of(answer.phrase) in read for answer in self.answers)


def read_questions(folder: Path = _FOLDER) -> Sequence[Question]:
    """All questions, by language and as they stand in the files."""
    return [
        Question(
            text=entry["question"],
            language=file.stem,
            kind=Kind(entry["kind"]),
            answers=tuple(Answer(document, phrase) for each in entry["answers"] for document, phrase in each.items()),
        )
        for file in sorted(folder.glob("*.yaml"))
        for entry in yaml.safe_load(file.read_text())
    ]


def split(questions: Sequence[Question]) -> tuple[Sequence[Question], Sequence[Question]]:
    """Two halves, with as many questions of each language and kind, give or take one: defaults are chosen by the first, and what
    is told of the search is measured on the second.

    Chance decides by the hash of a question, so the order of the files and what was found for it do not matter. With another
    question those after it change sides.
    """
    ordered = sorted(questions, key=lambda one: (one.language, one.kind, hashlib.sha256(one.text.encode()).digest()))
    return ordered[::2], ordered[1::2]


def find_unanswered(questions: Sequence[Question], documents: Mapping[str, str]) -> Sequence[str]:
    """What a change of corpus or questions has broken: phrases that do not stand in their document, in a sentence each."""
    words = {path: words_of(text) for path, text in documents.items()}
    return [
        f"{answer.document!r} has no {answer.phrase!r}, which should answer {question.text!r}"
        for question in questions
        for answer in question.answers
        if words_of(answer.phrase) not in words.get(answer.document, "")
    ]


def words_of(text: str) -> str:
    """The words of a text in lower case, with one space before and after each: marks, quotes and line ends do not count."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "
