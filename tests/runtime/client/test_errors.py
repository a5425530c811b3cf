"""Refusals as classes: each code of the API is one of its status, and unknown ones survive."""

from typing import TypeVar

import pytest

from syntera_runtime.client import ApiError, ConversationBusy, Forbidden, ServerError
from syntera_runtime.client.errors import build_api_error
from syntera_runtime.client.models import Problem
from syntera_runtime.errors import SynteraError

Kind = TypeVar("Kind")


def all_kinds(kind: type[Kind]) -> list[type[Kind]]:
    return [kind, *(inner for child in kind.__subclasses__() for inner in all_kinds(child))]


RAISED = {kind.code: kind for kind in all_kinds(SynteraError) if kind.status != 499}


def build(code: str, status: int) -> ApiError:
    return build_api_error(Problem(code=code, detail="So it is.", status=status), status=status)


@pytest.mark.parametrize("code", RAISED)
def test_every_status_that_the_api_answers_has_a_class(code: str) -> None:
    kind = RAISED[code]
    error = build(code, kind.status)
    assert error.code == code
    if kind.status not in (404, 405, 406, 408):
        assert type(error) is not ApiError


@pytest.mark.parametrize("kind", all_kinds(ApiError), ids=lambda kind: kind.__name__)
def test_classes_are_for_codes_and_statuses_that_there_are(kind: type[ApiError]) -> None:
    if kind.code_of_class is not None:
        assert kind.code_of_class in RAISED
    assert set(vars(kind).get("statuses", ())) <= {raised.status for raised in RAISED.values()}


@pytest.mark.parametrize(("status", "kind"), [(403, Forbidden), (507, ServerError), (418, ApiError)])
def test_unknown_codes_survive(status: int, kind: type[ApiError]) -> None:
    error = build("from-the-future", status)
    assert (type(error), error.code, error.status) == (kind, "from-the-future", status)


def test_code_decides_before_the_status() -> None:
    assert isinstance(build("conversation-busy", 400), ConversationBusy)
