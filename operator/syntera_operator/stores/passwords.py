"""Passwords of the stores: where the operator's own come from, how tenants' are made and what of them a server gets to see.

No clear password of a tenant reaches a server in a command, because servers log commands.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path

_SCRAM_ITERATIONS = 4096
"""PostgreSQL's own default. The passwords are random, 256 bits, so that more iterations would only slow logins down."""
_SCRAM_SALT_BYTES = 16


def make_password() -> str:
    """A random password of URL-safe characters."""
    return secrets.token_urlsafe(32)


def password_source(file: Path | None) -> Callable[[], str] | None:
    """A function that reads the password anew for each connection, so that a rotated one takes effect; None without file."""
    if file is None:
        return None
    return lambda: file.read_text().strip()


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores of a password for SCRAM-SHA-256 (RFC 5803); it accepts this in place of a password."""
    salt = secrets.token_bytes(_SCRAM_SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def redis_password_hash(password: str) -> str:
    """What Redis stores of a password; `ACL SETUSER` accepts it behind a `#`."""
    return hashlib.sha256(password.encode()).hexdigest()


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
