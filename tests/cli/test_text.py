"""Text from elsewhere must not drive the terminal."""

import pytest

from syntera_cli.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext, ünï 😀", "plain\n\ttext, ünï 😀"),
        ("\x1b[2Jgone", "[2Jgone"),
        ("\x1b]0;title\x07", "]0;title"),
        ("\x9b31mred", "31mred"),
        ("over\rwritten\x08", "overwritten"),
        ("\x7f\x00", ""),
    ],
)
def test_control_characters_are_removed(text: str, shown: str) -> None:
    assert printable(text) == shown
