"""URLs with somebody's credentials in them."""

import pytest

from syntera_operator.stores.urls import password_in, with_credentials, without_credentials


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://op:pw@db:5432/syntera", "postgresql://t:p@db:5432/syntera"),
        ("postgresql://db/syntera?sslmode=verify-full", "postgresql://t:p@db/syntera?sslmode=verify-full"),
        (
            "postgresql://op@db/syntera?user=op&password=pw&sslmode=require",
            "postgresql://t:p@db/syntera?sslmode=require",
        ),
        ("postgresql://op:pw@one:5432,two:5433/syntera", "postgresql://t:p@one:5432,two:5433/syntera"),
        ("postgresql://op:pw@[2001:db8::1]:5432/syntera", "postgresql://t:p@[2001:db8::1]:5432/syntera"),
        ("rediss://op:pw@cache:6380/0", "rediss://t:p@cache:6380/0"),
    ],
)
def test_credentials_are_replaced_and_the_rest_stays(url: str, expected: str) -> None:
    assert with_credentials(url, user="t", password="p") == expected


@pytest.mark.parametrize("password", ["simple", "a:b@c/d?e#f", "ü%20 +"])
def test_password_comes_back_whatever_characters_it_has(password: str) -> None:
    url = with_credentials("postgresql://db/syntera", user="t/x@", password=password)

    assert password_in(url) == password
    assert without_credentials(url) == "postgresql://db/syntera"


@pytest.mark.parametrize(
    "url", ["postgresql://db/syntera", "postgresql://t@db/syntera", "", "nonsense", "postgresql://[db"]
)
def test_password_is_none_when_there_is_none(url: str) -> None:
    assert password_in(url) is None
