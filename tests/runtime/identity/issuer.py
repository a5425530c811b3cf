"""An issuer of tokens, as tests need it: keys, key sets, right tokens and wrong ones."""

import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from syntera_crds.contract.tenant_config import TenantConfig, TokenIssuer

ISSUER = "https://id.example/auth/v1"
AUDIENCE = "authenticated"
JWKS_URL = "https://id.example/auth/v1/jwks.json"
DAY = 86400
"""Some tokens are made when the tests are collected, which may be long before these run."""

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
KEYS: Mapping[str, Any] = {"rsa-1": RSA, "ec-1": EC, "ed-1": ED}


def make_issuer(**changes: Any) -> TokenIssuer:
    """The issuer, as a Tenant names it."""
    fields: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "jwks_url": JWKS_URL,
        "algorithms": ["RS256", "ES256", "EdDSA"],
        "role_claim": "app_metadata.role",
    }
    return TokenIssuer(**{**fields, **changes})


def make_tenant(*issuers: TokenIssuer, **changes: Any) -> TenantConfig:
    """A tenant that trusts the issuer, or those that are named."""
    return TenantConfig(name="acme", display_name="Acme", issuers=list(issuers) or [make_issuer()], **changes)


def make_claims(**changes: object) -> dict[str, object]:
    """The claims of a customer; None takes one away."""
    now = int(time.time())
    made = {"iss": ISSUER, "sub": "user-7", "aud": AUDIENCE, "iat": now, "exp": now + DAY, **changes}
    return {name: value for name, value in made.items() if value is not None}


def sign(
    key: Any = RSA,
    *,
    algorithm: str = "RS256",
    key_id: str | None = "rsa-1",
    header: Mapping[str, object] | None = None,
    **claims: object,
) -> str:
    """A token."""
    named = {} if key_id is None else {"kid": key_id}
    return jwt.encode(make_claims(**claims), key, algorithm=algorithm, headers={**named, **(header or {})})


def forge(
    header: Mapping[str, object], *, payload: bytes | None = None, signature: bytes = b"x" * 256, **claims: object
) -> str:
    """A token with any header, any payload and any signature at all."""
    parts = [json.dumps(header).encode(), payload or json.dumps(make_claims(**claims)).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def public_jwk(key: Any, **members: object) -> dict[str, Any]:
    """The public half of a key as issuers publish it."""
    kinds = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    algorithm: Any = next(made for kind, made in kinds.items() if isinstance(key, kind))
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "use": "sig", **members}


def key_set(keys: Mapping[str, Any] = KEYS) -> bytes:
    """A JSON Web Key Set of the public halves."""
    return json.dumps({"keys": [public_jwk(key, kid=key_id) for key_id, key in keys.items()]}).encode()
