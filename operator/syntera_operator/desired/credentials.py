"""The Secrets that the operator makes: store credentials and a signing key for the tenant's pods, the first
administrator's API key.

Their label says that no Tenant or Agent may refer to them.
"""

import base64
from collections.abc import Mapping

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey

from ..manifest import Manifest
from .metadata import Scope, build_object

OWN_SECRETS = frozenset({names.STORES_SECRET, names.SIGNING_SECRET, names.ADMIN_SECRET})
"""Names that no Tenant or Agent may refer to, whatever the Secret's labels say."""
SIGNING_KEY_BYTES = 32


def build_stores_secret(scope: Scope, *, postgresql_url: str | None, redis_url: str | None) -> Manifest:
    """Whole connection URLs of the tenant's own logins; a store that has none yet is left out."""
    entries = {names.POSTGRESQL_URL_KEY: postgresql_url, names.REDIS_URL_KEY: redis_url}
    return _build(scope, names.STORES_SECRET, {key: url for key, url in entries.items() if url is not None})


def build_admin_secret(scope: Scope, *, key: ApiKey) -> Manifest:
    """The API key of the tenant's first administrator."""
    return _build(scope, names.ADMIN_SECRET, {names.ADMIN_API_KEY_KEY: key.text})


def build_signing_secret(scope: Scope, *, key: str) -> Manifest:
    """The key with which the runtime signs, as `is_signing_key` takes it."""
    return _build(scope, names.SIGNING_SECRET, {names.SIGNING_KEY_KEY: key})


def is_signing_key(text: str) -> bool:
    """Whether it is base64 of as many bytes as a signing key has."""
    try:
        return len(base64.b64decode(text, validate=True)) == SIGNING_KEY_BYTES
    except ValueError:
        return False


def _build(scope: Scope, name: str, entries: Mapping[str, str]) -> Manifest:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in sorted(entries.items())}
    secret = build_object("v1", "Secret", name, scope, type="Opaque", data=data)
    secret["metadata"]["labels"][names.USABLE_LABEL] = "false"
    return secret
