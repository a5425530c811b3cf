"""Text from outside is made fit to be stored."""

import pytest

from syntera_runtime.chat.text import build_title, clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("Grüß dich 👩\u200d🚀", "Grüß dich 👩\u200d🚀"),
        ("a\0b", "a\ufffdb"),
        ("ü\0", "ü\ufffd"),
        ("half \ud83d", "half \ufffd"),
        ("\ude00 half", "\ufffd half"),
        ("whole \ud83d\ude00", "whole 😀"),
    ],
)
def test_clean(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned
    clean(text).encode()


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("Where is my booking?", "Where is my booking?"),
        ("  two\nlines\tand\x00more  ", "two lines and more"),
        ("word " * 30, "word " * 15 + "word…"),
        ("x" * 100, "x" * 79 + "…"),
        ("a " + "x" * 100, "a " + "x" * 77 + "…"),
        ("\u200b\u2028", None),
        ("\u202eevil", "evil"),
    ],
)
def test_title_is_the_first_words_on_one_line(content: str, title: str | None) -> None:
    made = build_title(content)
    assert made == title
    assert made is None or len(made) <= 80
