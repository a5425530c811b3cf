"""Passwords: what servers get to see of them."""

import base64
import hashlib
import hmac
from pathlib import Path

from syntera_operator.stores.passwords import make_password, password_source, redis_password_hash, scram_verifier


def test_scram_verifier_proves_the_password_when_it_is_computed_anew() -> None:
    scheme, numbers, keys = scram_verifier("pencil").split("$")
    iterations, salt = numbers.split(":")
    stored_key, server_key = (base64.b64decode(key) for key in keys.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode(salt), int(iterations))

    assert scheme == "SCRAM-SHA-256"
    assert hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest() == stored_key
    assert hmac.digest(salted, b"Server Key", "sha256") == server_key


def test_verifier_of_the_same_password_differs_each_time() -> None:
    assert scram_verifier("pencil") != scram_verifier("pencil")


def test_redis_password_hash_is_sha256_in_hexadecimal() -> None:
    assert redis_password_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_passwords_need_no_quoting_in_a_url() -> None:
    made = {make_password() for _ in range(50)}

    assert len(made) == 50
    assert all(password.replace("-", "").replace("_", "").isalnum() and len(password) >= 43 for password in made)


def test_password_is_read_anew_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    read = password_source(file)
    assert read is not None
    assert read() == "first"

    file.write_text("second")

    assert read() == "second"
    assert password_source(None) is None
