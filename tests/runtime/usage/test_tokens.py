"""The estimate of tokens: known texts, and rather too many than too few."""

import pytest

from syntera_runtime.models.tokens import estimate_prompt, estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("Grüße", 3), ("维也纳", 3), ("😀", 2), ("\ud83d", 1)],
)
def test_text_has_a_token_for_every_three_bytes(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        # Counted with tiktoken's o200k_base.
        ("Hello, I would like to change my booking to Vienna.", 12),
        ("Guten Tag, ich möchte meine Buchung nach Wien ändern.", 13),
        ("我想把我的预订改到维也纳", 11),
    ],
)
def test_estimate_is_no_less_than_what_a_tokenizer_counts(text: str, counted: int) -> None:
    assert counted <= estimate_tokens(text) <= 2 * counted


def test_prompt_has_tokens_around_each_message() -> None:
    assert estimate_prompt(["abc", "abcdef", ""]) == 3 + 3 * 4
    assert estimate_prompt([]) == 0
