"""The tree of errors: what clients may rely on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from syntera_runtime.errors import ConfigurationError, StoreUnavailable, SynteraError, restore_error

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"


def each_class(parent: type[SynteraError] = SynteraError) -> Iterator[type[SynteraError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from each_class(child)


ALL = list(each_class())


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_says_for_people_what_it_is(kind: type[SynteraError]) -> None:
    assert kind.__doc__
    error = kind(store="PostgreSQL") if issubclass(kind, StoreUnavailable) else kind()
    assert error.message == str(error)
    assert error.message.endswith(".")
    assert 400 <= error.status < 600


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in ALL]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "kind", [kind for kind in ALL if kind is not ConfigurationError], ids=lambda kind: kind.__name__
)
def test_every_code_is_documented(kind: type[SynteraError]) -> None:
    assert f"| `{kind.code}` | {kind.status} |" in REFERENCE.read_text()


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not StoreUnavailable], ids=lambda kind: kind.__name__)
def test_error_is_restored_from_its_code(kind: type[SynteraError]) -> None:
    error = restore_error(kind.code, "What happened.")
    assert (type(error), error.message) == (kind, "What happened.")


def test_error_of_another_release_is_an_internal_one() -> None:
    error = restore_error("of-another-release", "What happened.")
    assert (type(error), error.message) == (SynteraError, "What happened.")
