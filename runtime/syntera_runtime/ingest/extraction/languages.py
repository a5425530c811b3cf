"""Which language a text is in."""

import re
from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SAMPLE = 4_000
"""Characters that are looked at, from the middle of a text: its beginning is often a menu, a name, a licence."""
FEWEST_LETTERS = 40
"""With fewer, the answer is a guess."""
LEAST_CERTAIN = 0.8
"""Of the model's confidence. Measured on single sentences, what is below is wrong often, what is above hardly ever."""

_LETTERS = re.compile(r"[^\W\d_]")
_CODE = re.compile(r"```.*?```|`[^`\n]*`|https?://\S+", re.DOTALL)
_DECLARED = re.compile(r"([A-Za-z]{2})(?:[-_][A-Za-z0-9]{1,8}){0,4}")


def read_declared(language: object) -> str | None:
    """ISO 639-1 of what a document says (`de-AT`, `en_US`), or None where it says nothing of use."""
    declared = _DECLARED.fullmatch(language.strip()) if isinstance(language, str) else None
    return None if declared is None else declared[1].lower()


def find_language(text: str) -> str | None:
    """ISO 639-1 of the language that a text is in, where that is sure."""
    middle = max(0, len(text) // 2 - SAMPLE)
    sample = _CODE.sub(" ", text[middle : middle + 2 * SAMPLE])[:SAMPLE]
    if sum(1 for _ in _LETTERS.finditer(sample)) < FEWEST_LETTERS:
        return None
    language, confidence = load_identifier().classify(sample)
    return language if len(language) == 2 and confidence >= LEAST_CERTAIN else None


@cache
def load_identifier() -> LanguageIdentifier:
    """The model, read once in a process."""
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
