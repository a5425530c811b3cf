"""Names that people and programs make up, and what is left of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntera_runtime.api.files import write_disposition
from syntera_runtime.files.links import Disposition
from syntera_runtime.files.names import clean_name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("beach.png", "beach.png"),
        ("Strand im Süden.png", "Strand im Süden.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\Anna\\beach.png", "beach.png"),
        ("beach\r\nSet-Cookie: a=b.png", "beachSet-Cookie: a=b.png"),
        ("a\u202egnp.exe", "agnp.exe"),
        ("  a   b  ", "a b"),
        ("...", "file"),
        ("/", "file"),
        ("\u200b", "file"),
        ("a" * 300 + ".png", "a" * 146 + ".png"),
        ("a" * 300, "a" * 150),
        ("a." + "b" * 300, "a." + "b" * 148),
    ],
)
def test_name_is_made_fit(given_name: str, name: str) -> None:
    assert clean_name(given_name) == name


@given(st.text(min_size=1, max_size=300))
def test_any_name_becomes_one_that_is_safe_and_stays_so(text: str) -> None:
    name = clean_name(text)
    assert 1 <= len(name) <= 150
    assert not set(name) & set("/\\\r\n\0")
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("beach.png", "inline; filename=\"beach.png\"; filename*=UTF-8''beach.png"),
        ('a"b\\c.png', "inline; filename=\"a_b_c.png\"; filename*=UTF-8''a%22b%5Cc.png"),
        ("Süd 100%.png", "inline; filename=\"S_d 100_.png\"; filename*=UTF-8''S%C3%BCd%20100%25.png"),
    ],
)
def test_name_in_the_header_is_read_by_every_client(name: str, header: str) -> None:
    assert write_disposition(Disposition.INLINE, name) == header
