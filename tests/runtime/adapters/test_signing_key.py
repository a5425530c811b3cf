"""The signing key in its file, which may come late, change, and be broken."""

import base64
from pathlib import Path

import pytest

from syntera_runtime.adapters.signing_key import RELOAD_SECONDS, SigningKeyFile
from syntera_runtime.errors import SigningKeyMissing
from tests.runtime.identity.clock import Clock

ONE, OTHER = base64.b64encode(b"1" * 32), base64.b64encode(b"2" * 32) + b"\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "signing-key"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def key(file: Path, clock: Clock) -> SigningKeyFile:
    return SigningKeyFile(file, monotonic=clock)


def test_key_is_read_when_it_comes(key: SigningKeyFile, file: Path) -> None:
    with pytest.raises(SigningKeyMissing):
        key.secret()
    file.write_bytes(ONE)
    assert key.secret() == b"1" * 32


def test_key_is_read_again_after_a_while(key: SigningKeyFile, file: Path, clock: Clock) -> None:
    file.write_bytes(ONE)
    assert key.secret() == b"1" * 32
    file.write_bytes(OTHER)
    assert key.secret() == b"1" * 32
    clock.now += RELOAD_SECONDS
    assert key.secret() == b"2" * 32


def test_key_that_is_taken_away_is_missing(key: SigningKeyFile, file: Path, clock: Clock) -> None:
    file.write_bytes(ONE)
    key.secret()
    file.unlink()
    clock.now += RELOAD_SECONDS
    for _ in range(2):
        with pytest.raises(SigningKeyMissing):
            key.secret()


@pytest.mark.parametrize("content", [b"", b"\n", b"!", b"\xff", "ä".encode(), base64.b64encode(b"short")])
def test_key_that_is_none_is_missing(key: SigningKeyFile, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SigningKeyMissing):
        key.secret()
