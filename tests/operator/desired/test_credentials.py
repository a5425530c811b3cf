"""The operator's own Secrets."""

import base64

import pytest

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_operator.desired.credentials import (
    build_admin_secret,
    build_signing_secret,
    build_stores_secret,
    is_signing_key,
)
from syntera_operator.desired.metadata import Scope
from tests.support.golden import Golden

KEY = ApiKey(kind=KeyKind.SECRET, text="syn_sk_not-a-real-key")


def test_secrets(scope: Scope, golden: Golden) -> None:
    golden.check_manifests(
        "desired/secrets.yaml",
        build_stores_secret(scope, postgresql_url="postgresql://t:p@db/syntera", redis_url="redis://t:p@cache"),
        build_signing_secret(scope, key="bm90LWEtcmVhbC1rZXk="),
        build_admin_secret(scope, key=KEY),
    )


def test_stores_secret_when_one_store_has_no_login_yet(scope: Scope) -> None:
    built = build_stores_secret(scope, postgresql_url="postgresql://t:p@db/syntera", redis_url=None)
    assert list(built["data"]) == ["postgresql-url"]


def test_signing_key_is_base64_of_32_bytes() -> None:
    assert is_signing_key(base64.b64encode(bytes(32)).decode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64",
        "ä" * 44,
        base64.b64encode(bytes(31)).decode(),
        base64.b64encode(bytes(33)).decode(),
        base64.b64encode(bytes(32)).decode() + "\n",
        base64.b64encode(bytes(32)).decode().rstrip("="),
    ],
)
def test_signing_key_that_is_anything_else_is_none(text: str) -> None:
    assert not is_signing_key(text)
