"""The key with which a tenant's runtime signs: made once, and anew where it was lost or spoilt."""

import base64
import secrets

from syntera_crds.contract import names

from ..cluster import Cluster
from ..desired.credentials import SIGNING_KEY_BYTES, build_signing_secret, is_signing_key
from ..desired.metadata import Scope
from ..manifest import Manifest


async def ensure_signing_key(scope: Scope, *, cluster: Cluster) -> Manifest:
    """The Secret that should be there, with the key that it holds already if that is one.

    Raises:
        NameTaken: the Secret is somebody else's.
        KubeError: the API server did not answer, or refused.
    """
    held = await cluster.own_secret(scope.namespace, names.SIGNING_SECRET) or {}
    key = held.get(names.SIGNING_KEY_KEY, "")
    if not is_signing_key(key):
        key = base64.b64encode(secrets.token_bytes(SIGNING_KEY_BYTES)).decode()
    return build_signing_secret(scope, key=key)
