"""What the product puts before a question: numbered passages of documents, as the stand-in reads them again.

A model understands any prompt; the stand-in knows how this one is built. A test compares it with the product's own.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

BEGINNING = "[Passages from documents]"
END = "[End of the passages]"
RULES = "Before the newest message of the user stand passages"
"""How the rules begin that follow an agent's instructions."""
NOTHING_FOUND = "Your knowledge bases were searched for the newest message of the user, and hold nothing on it."
"""Stands there in place of the rules."""

_NUMBER = re.compile(r"\[(\d+)\]")
_BLOCK_MARK = re.compile(r"(?:[-*+]|\d+[.)])\s+|\|")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_TABLE_RULE = re.compile(r"[\s|:-]+")


@dataclass(frozen=True, slots=True)
class GivenPassage:
    """A passage of the prompt."""

    number: int
    place: str
    """Its document's title and its headings."""
    sentences: Sequence[str]


def split_question(content: str) -> tuple[Sequence[GivenPassage], str]:
    """The passages before a question, and the question."""
    if not content.startswith(BEGINNING):
        return (), content
    block, _, question = content.removeprefix(BEGINNING).partition(f"\n{END}")
    return _read_block(block), question.strip()


def without_rules(instructions: str) -> str:
    """What the agent itself was told."""
    return instructions.partition(RULES)[0].partition(NOTHING_FOUND)[0]


def _read_block(block: str) -> Sequence[GivenPassage]:
    quoted: dict[int, list[str]] = {}
    number = 0
    for line in block.splitlines():
        head = _NUMBER.fullmatch(line)
        if head is not None:
            number = int(head.group(1))
        elif line.startswith(">"):
            quoted.setdefault(number, []).append(line.removeprefix(">").strip())
    return [GivenPassage(number, lines[0], _sentences(lines[1:])) for number, lines in quoted.items()]


def _sentences(lines: Sequence[str]) -> Sequence[str]:
    """Sentences of paragraphs, items and rows. What stands on one line after the other is one paragraph; headings say nothing."""
    paragraphs: list[str] = [""]
    for line in lines:
        if not line or line.startswith("#") or _TABLE_RULE.fullmatch(line):
            paragraphs.append("")
        elif _BLOCK_MARK.match(line):
            paragraphs.append(line)
        else:
            paragraphs[-1] = f"{paragraphs[-1]} {line}"
    found = (_BLOCK_MARK.sub("", paragraph.strip(), count=1).strip(" |") for paragraph in paragraphs)
    return [sentence.strip() for paragraph in found for sentence in _SENTENCE_END.split(paragraph) if sentence.strip()]
