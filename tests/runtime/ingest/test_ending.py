"""How the process ends."""

import asyncio
from pathlib import Path

import pytest

from syntera_runtime.errors import ConfigurationError, SecretMissing, StoreUnavailable
from syntera_runtime.ingest.ending import MOST_BYTES, Status, leave_message, status_of
from syntera_runtime.ingest.failures import SyncFailed, explain, killed


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (StoreUnavailable(store="PostgreSQL"), "store-unavailable", Status.TRY_AGAIN),
        (SecretMissing(), "secret-missing", Status.TRY_AGAIN),
        (ConfigurationError(), "configuration-error", Status.FINAL),
        (SyncFailed("budget-exceeded", "Raise it.", is_final=True), "budget-exceeded", Status.FINAL),
        (asyncio.CancelledError(), "killed", Status.TRY_AGAIN),
        (killed(), "killed", Status.TRY_AGAIN),
        (RuntimeError("secret words"), "internal-error", Status.TRY_AGAIN),
        (
            ExceptionGroup("", [RuntimeError("x"), ExceptionGroup("", [StoreUnavailable(store="S3")])]),
            "store-unavailable",
            1,
        ),
        (
            ExceptionGroup(
                "", [StoreUnavailable(store="S3"), SyncFailed("budget-exceeded", "Raise it.", is_final=True)]
            ),
            "budget-exceeded",
            Status.FINAL,
        ),
    ],
)
def test_every_error_has_a_code_and_a_status(error: BaseException, code: str, status: Status) -> None:
    failure = explain(error)
    assert (failure.code, status_of(failure)) == (code, status)
    assert "secret words" not in failure.message


def test_message_is_left_where_somebody_looks_for_it(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    leave_message(file, "nobody looks")
    assert not file.exists()
    file.touch()
    leave_message(file, "ä" * 5000)
    assert len(file.read_bytes()) == MOST_BYTES
