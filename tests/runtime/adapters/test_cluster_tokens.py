"""Which tokens open the internal API, and above all which do not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from syntera_kube import ClusterConfig, Transport
from syntera_runtime.adapters.cluster_tokens import KEYS_SECONDS, REFETCH_SECONDS, RETRY_SECONDS, ClusterTokens
from syntera_runtime.errors import StoreUnavailable, TokenRefused
from syntera_runtime.ports.identity import OperatorTokens
from tests.runtime.adapters.raw_server import RawServer, answered, raw_server

ISSUER = "https://kubernetes.default.svc"
AUDIENCE = "runtime.0190.syntera.io"
SUBJECT = "system:serviceaccount:syntera-system:syntera-operator"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DAY = 86400
"""The tokens below are made when the tests are collected, which may be long before these run."""
EC = ec.generate_private_key(ec.SECP256R1())
KEYS: dict[str, Any] = {"rsa-1": RSA.public_key(), "ec-1": EC.public_key()}


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    made = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + DAY, **changes}
    return {name: value for name, value in made.items() if value is not None}


def sign(key: Any = RSA, *, key_id: str | None = "rsa-1", algorithm: str = "RS256", **changes: object) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": key_id} if key_id else {})


def forge(header: Mapping[str, object], signature: bytes = b"x" * 256) -> str:
    """A token with any header at all."""
    parts = [json.dumps(header).encode(), json.dumps(claims()).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def build_jwks(keys: Mapping[str, Any]) -> dict[str, Any]:
    made = []
    for key_id, key in keys.items():
        algorithm: Any = (
            jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else jwt.algorithms.ECAlgorithm
        )
        name = "RS256" if isinstance(key, rsa.RSAPublicKey) else "ES256"
        made.append({**algorithm.to_jwk(key, as_dict=True), "kid": key_id, "alg": name, "use": "sig"})
    return {"keys": made}


def will_give_keys(server: RawServer, *rounds: Mapping[str, Any]) -> None:
    """Each round of questions is answered with these keys."""
    discovery = answered(200, {"issuer": ISSUER, "jwks_uri": "https://elsewhere/jwks"})
    server.will_answer(*[script for keys in rounds for script in (discovery, answered(200, build_jwks(keys)))])


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async with raw_server() as running:
        will_give_keys(running, *[KEYS] * 3)
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(server: RawServer, clock: Clock) -> AsyncIterator[ClusterTokens]:
    async with Transport(ClusterConfig(server=server.url), component="test") as transport:
        yield ClusterTokens(transport, audience=AUDIENCE, subject=SUBJECT, monotonic=clock)


def public_pem() -> bytes:
    return RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def hmac_with_public_key() -> str:
    """The classic confusion: the public key as the secret of a symmetric signature."""
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa-1","typ":"JWT"}').rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
    signature = hmac.new(public_pem(), head + b"." + body, hashlib.sha256).digest()
    return b".".join([head, body, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def with_changed_payload() -> str:
    head, _, signature = sign().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub="system:serviceaccount:a:b")).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


NOW = int(time.time())
FORGED = {
    "nothing": "",
    "no token": "abc",
    "dots": "..",
    "no base 64": "a.b.c",
    "no JSON": "YWJj.YWJj.YWJj",
    "not ASCII": "ä.ö.ü",
    "unsigned": jwt.encode(claims(), "", algorithm="none", headers={"kid": "rsa-1"}),
    "no algorithm": forge({"kid": "rsa-1"}),
    "algorithm no text": forge({"alg": 5, "kid": "rsa-1"}),
    "symmetric": hmac_with_public_key(),
    "algorithm not allowed": sign(algorithm="RS512"),
    "algorithm of another key": sign(EC, algorithm="ES256", key_id="rsa-1"),
    "another signer": sign(OTHER_RSA),
    "unknown key": sign(OTHER_RSA, key_id="other"),
    "no key id": sign(key_id=None),
    "key id no text": forge({"alg": "RS256", "kid": ["rsa-1"]}),
    "garbage signature": forge({"alg": "RS256", "kid": "rsa-1"}),
    "changed payload": with_changed_payload(),
    "another issuer": sign(iss="https://evil.example"),
    "no issuer": sign(iss=None),
    "another subject": sign(sub="system:serviceaccount:syntera-system:default"),
    "longer subject": sign(sub=SUBJECT + "-2"),
    "no subject": sign(sub=None),
    "another audience": sign(aud=["runtime.0191.syntera.io"]),
    "other audiences too": sign(aud=[AUDIENCE, "https://kubernetes.default.svc"]),
    "no audience": sign(aud=None),
    "empty audience": sign(aud=[]),
    "audience of the API server": sign(aud=[ISSUER]),
    "expired": sign(exp=NOW - 60),
    "no expiry": sign(exp=None),
    "not valid yet": sign(nbf=NOW + DAY / 2),
    "issued in the future": sign(iat=NOW + DAY / 2),
    "no time of issue": sign(iat=None),
    "expiry no number": sign(exp="never"),
}


@pytest.mark.parametrize("name", list(FORGED))
async def test_forged_token_is_refused(tokens: ClusterTokens, name: str) -> None:
    await tokens.verify(sign())
    with pytest.raises(TokenRefused) as caught:
        await tokens.verify(FORGED[name])
    assert caught.value.message == "The internal API takes tokens of the operator only."
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "token",
    [
        sign(),
        sign(EC, key_id="ec-1", algorithm="ES256"),
        sign(aud=AUDIENCE),
        sign(iat=NOW + 5, nbf=NOW + 5),
        sign(extra={"kubernetes.io": {"namespace": "syntera-system"}}),
    ],
)
async def test_operators_token_is_accepted(tokens: ClusterTokens, token: str) -> None:
    port: OperatorTokens = tokens
    await port.verify(token)


async def test_keys_are_fetched_once_and_used_again(tokens: ClusterTokens, server: RawServer) -> None:
    for _ in range(3):
        await tokens.verify(sign())
    assert [seen.target for seen in server.seen] == ["/.well-known/openid-configuration", "/openid/v1/jwks"]


async def test_tokens_that_no_key_could_have_signed_ask_nobody(tokens: ClusterTokens, server: RawServer) -> None:
    for name in ("nothing", "unsigned", "symmetric"):
        with pytest.raises(TokenRefused):
            await tokens.verify(FORGED[name])
    assert server.seen == []


async def test_unknown_keys_are_looked_for_now_and_then_only(
    tokens: ClusterTokens, server: RawServer, clock: Clock
) -> None:
    for number in range(20):
        with pytest.raises(TokenRefused):
            await tokens.verify(sign(OTHER_RSA, key_id=f"invented-{number}"))
    assert len(server.seen) == 2
    clock.now += REFETCH_SECONDS
    with pytest.raises(TokenRefused):
        await tokens.verify(sign(OTHER_RSA, key_id="invented"))
    assert len(server.seen) == 4


async def test_new_key_is_found_when_the_cluster_rotates(
    tokens: ClusterTokens, server: RawServer, clock: Clock
) -> None:
    will_give_keys(server, KEYS, {**KEYS, "rsa-2": OTHER_RSA.public_key()})
    await tokens.verify(sign())
    clock.now += REFETCH_SECONDS
    await tokens.verify(sign(OTHER_RSA, key_id="rsa-2"))
    await tokens.verify(sign())


async def test_withdrawn_key_is_trusted_no_longer_than_the_keys_are_kept(
    tokens: ClusterTokens, server: RawServer, clock: Clock
) -> None:
    will_give_keys(server, KEYS, {"rsa-2": OTHER_RSA.public_key()})
    await tokens.verify(sign())
    clock.now += KEYS_SECONDS
    with pytest.raises(TokenRefused):
        await tokens.verify(sign())


@pytest.mark.parametrize(
    "script",
    [
        answered(403, {"kind": "Status", "code": 403}),
        answered(200, []),
        answered(200, {"keys": []}),
        answered(200, {"issuer": ISSUER}),
        answered(200, None),
    ],
)
async def test_token_cannot_be_checked_without_keys(
    tokens: ClusterTokens, server: RawServer, clock: Clock, script: list[bytes]
) -> None:
    server.will_answer(script)
    with pytest.raises(StoreUnavailable, match="API server"):
        await tokens.verify(sign())
    asked = len(server.seen)
    with pytest.raises(StoreUnavailable):
        await tokens.verify(sign())
    assert len(server.seen) == asked
    will_give_keys(server, KEYS)
    clock.now += RETRY_SECONDS
    await tokens.verify(sign())


async def test_known_keys_go_on_being_trusted_while_the_api_server_is_away(
    tokens: ClusterTokens, server: RawServer, clock: Clock
) -> None:
    await tokens.verify(sign())
    server.will_answer(answered(500))
    clock.now += KEYS_SECONDS
    await tokens.verify(sign())
    with pytest.raises(StoreUnavailable):
        await tokens.verify(sign(OTHER_RSA, key_id="rsa-2"))


async def test_weak_and_symmetric_keys_of_the_cluster_are_not_used(tokens: ClusterTokens, server: RawServer) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    jwks = build_jwks(KEYS)
    jwks["keys"].append({"kty": "oct", "kid": "oct-1", "k": secret, "alg": "HS256"})
    server.will_answer(answered(200, {"issuer": ISSUER}), answered(200, jwks))
    await tokens.verify(sign())
    with pytest.raises(TokenRefused):
        await tokens.verify(jwt.encode(claims(), b"s" * 32, algorithm="HS256", headers={"kid": "oct-1"}))
