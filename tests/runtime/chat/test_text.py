"""Text from outside is made fit to be stored."""

import pytest

from syntera_runtime.chat.text import clean


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
