"""Searches texts for secrets that must not be in them: as they are, base64-encoded, URL-encoded, escaped as in JSON.

What is searched is called a haystack: texts by where they are from. A search that finds nothing says little if it looked
at nothing, so `Haystack` refuses empty texts where something had to be.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

MIN_LENGTH = 8
"""Anything shorter is found by chance."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret where it must not be."""

    secret: str
    """What it is; never its value."""
    form: str
    """How it is written there."""
    place: str
    """Where the text is from."""
    context: str
    """What stands around it, without it."""


@dataclass(slots=True)
class Haystack:
    """Texts by where they are from."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, place: str, text: str) -> None:
        """Add a text that must not be empty.

        Raises:
            ValueError: It is empty, so that a search in it would prove nothing.
        """
        if not text.strip():
            raise ValueError(f"there is nothing in {place}")
        self.add_if_any(place, text)

    def add_if_any(self, place: str, text: str) -> None:
        """Add a text that may be empty, such as the log of a container that never ended."""
        self.texts[place] = self.texts.get(place, "") + text

    def search(self, secrets: Mapping[str, str]) -> list[Leak]:
        """Every leak of `secrets`, which are values by what they are.

        Raises:
            ValueError: A value is too short to be told from chance.
        """
        return [leak for what, value in secrets.items() for leak in self._search_one(what, value)]

    def _search_one(self, what: str, value: str) -> Iterator[Leak]:
        for form, text in list_forms(value).items():
            for place, haystack in self.texts.items():
                position = haystack.find(text)
                if position >= 0:
                    before = haystack[max(0, position - _SHOWN) : position]
                    after = haystack[position + len(text) : position + len(text) + _SHOWN]
                    yield Leak(what, form, place, f"{before}<{what}>{after}")


def list_forms(value: str) -> dict[str, str]:
    """The ways in which a value may be written, by name; equal ones once.

    Raises:
        ValueError: The value is too short to be told from chance.
    """
    if len(value) < MIN_LENGTH:
        raise ValueError(f"a secret of {len(value)} characters would be found by chance")
    forms = {
        "plain": value,
        "URL-encoded": quote(value, safe=""),
        "URL-encoded, as in forms": quote_plus(value),
        "escaped, as in JSON": json.dumps(value)[1:-1],
        "escaped, as by repr": repr(value)[1:-1],
    }
    for shift in range(3):
        core = _base64_core(value.encode(), shift)
        forms[f"base64, {shift} bytes in"] = core
        forms[f"base64 for URLs, {shift} bytes in"] = core.replace("+", "-").replace("/", "_")
    once: dict[str, str] = {}
    for name, form in forms.items():
        if form not in once.values():
            once[name] = form
    return once


def _base64_core(value: bytes, shift: int) -> str:
    """What is the same in the encoding of every longer text that has the value `shift` bytes after a multiple of three."""
    encoded = base64.b64encode(b"\0" * shift + value).decode()
    # The first characters depend on what stands before, the last on what follows.
    return encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
