"""The operator's own Secrets."""

from syntera_crds.contract.api_key import ApiKey, KeyKind
from syntera_operator.desired.credentials import build_admin_secret, build_stores_secret
from syntera_operator.desired.metadata import Scope
from tests.support.golden import Golden

KEY = ApiKey(kind=KeyKind.SECRET, text="syn_sk_not-a-real-key")


def test_secrets(scope: Scope, golden: Golden) -> None:
    golden.check_manifests(
        "desired/secrets.yaml",
        build_stores_secret(scope, postgresql_url="postgresql://t:p@db/syntera", redis_url="redis://t:p@cache"),
        build_admin_secret(scope, key=KEY),
    )


def test_stores_secret_when_one_store_has_no_login_yet(scope: Scope) -> None:
    built = build_stores_secret(scope, postgresql_url="postgresql://t:p@db/syntera", redis_url=None)
    assert list(built["data"]) == ["postgresql-url"]
