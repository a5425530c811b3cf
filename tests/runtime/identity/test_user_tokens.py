"""Which tokens of issuers are believed, and above all which are not."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from syntera_runtime.errors import IssuerUnavailable, Unauthenticated
from syntera_runtime.identity.issuer_keys import IssuerKeys
from syntera_runtime.identity.roles import Role
from syntera_runtime.identity.user_tokens import MAX_LENGTH, UserTokens
from tests.runtime.fakes import FakeCatalogue, FakeKeySets
from tests.runtime.identity.issuer import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    JWKS_URL,
    KEYS,
    OTHER_RSA,
    RSA,
    forge,
    key_set,
    make_claims,
    make_issuer,
    make_tenant,
    public_jwk,
    sign,
)

NOW = int(time.time())
DAY = 86400
WEAK_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P384 = ec.generate_private_key(ec.SECP384R1())


@pytest.fixture
def key_sets() -> FakeKeySets:
    """What issuers publish."""
    made = FakeKeySets()
    extra = [
        public_jwk(WEAK_RSA, kid="weak"),
        public_jwk(OTHER_RSA, kid="for-encryption", use="enc"),
        public_jwk(OTHER_RSA, kid="for-signing", key_ops=["sign"]),
        public_jwk(OTHER_RSA, kid="of-another-algorithm", alg="RS512"),
        public_jwk(P384, kid="p-384"),
        {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(b"s" * 32).decode().rstrip("="), "alg": "HS256"},
        {**jwt.algorithms.RSAAlgorithm.to_jwk(OTHER_RSA, as_dict=True), "kid": "private"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "bare"},
    ]
    published = json.loads(key_set())
    made.published[JWKS_URL] = json.dumps({"keys": [*published["keys"], *extra, "no key", 7]}).encode()
    return made


@pytest.fixture
def catalogue() -> FakeCatalogue:
    """A tenant that trusts the issuer."""
    return FakeCatalogue(tenant=make_tenant(make_issuer(algorithms=["RS256", "ES256", "EdDSA"])))


@pytest.fixture
def tokens(catalogue: FakeCatalogue, key_sets: FakeKeySets) -> UserTokens:
    return UserTokens(catalogue, IssuerKeys(key_sets))


def public_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed_symmetrically(secret: bytes, **header: object) -> str:
    """What PyJWT refuses to make: a token whose HMAC is keyed with anything at all."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT", **header}).encode(), json.dumps(make_claims()).encode()]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def with_changed_claims() -> str:
    head, _, signature = sign().split(".")
    body = base64.urlsafe_b64encode(json.dumps(make_claims(sub="somebody-else")).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def with_padding() -> str:
    """Exactly as long as is allowed and a bit."""
    token = sign()
    return sign(note="x" * (MAX_LENGTH - len(token)))


FORGED: dict[str, tuple[str, str]] = {
    # No token at all.
    "dots": ("..", "token-malformed"),
    "no base 64": ("a!.b!.c!", "token-malformed"),
    "no JSON": ("YWJj.YWJj.YWJj", "token-malformed"),
    "not ASCII": ("ä.ö.ü", "token-malformed"),
    "header no object": (f"{base64.urlsafe_b64encode(b'[1]').decode()}.e30.eA", "token-malformed"),
    "claims no object": (forge({"alg": "RS256", "kid": "rsa-1"}, payload=b"[]"), "token-malformed"),
    "deeply nested claims": (forge({"alg": "RS256", "kid": "rsa-1"}, payload=b"[" * 5000), "token-malformed"),
    "encrypted": (forge({"alg": "RS256", "kid": "rsa-1", "typ": "JWE"}), "token-malformed"),
    "another type": (sign(header={"typ": "logout+jwt"}), "token-malformed"),
    "type no text": (forge({"alg": "RS256", "kid": "rsa-1", "typ": 7}), "token-malformed"),
    "critical extension": (sign(header={"crit": ["exp"], "exp": 1}), "token-malformed"),
    "unencoded payload": (forge({"alg": "RS256", "kid": "rsa-1", "b64": False, "crit": ["b64"]}), "token-malformed"),
    "key id no text": (forge({"alg": "RS256", "kid": ["rsa-1"]}), "token-malformed"),
    "too large": (with_padding(), "token-too-large"),
    # The algorithm.
    "unsigned": (jwt.encode(make_claims(), "", algorithm="none", headers={"kid": "rsa-1"}), "token-algorithm-refused"),
    "unsigned, oddly spelt": (forge({"alg": "nOnE", "kid": "rsa-1"}, signature=b""), "token-algorithm-refused"),
    "no algorithm": (forge({"kid": "rsa-1"}), "token-malformed"),
    "algorithm no text": (forge({"alg": 5, "kid": "rsa-1"}), "token-malformed"),
    "public key as a secret": (signed_symmetrically(public_pem(RSA), kid="rsa-1"), "token-algorithm-refused"),
    "published secret": (signed_symmetrically(b"s" * 32, kid="oct"), "token-algorithm-refused"),
    "algorithm not allowed": (sign(algorithm="RS512"), "token-algorithm-refused"),
    "algorithm of another key": (sign(EC, algorithm="ES256"), "token-algorithm-refused"),
    "key of another algorithm": (sign(key_id="ec-1"), "token-algorithm-refused"),
    "key of another curve": (sign(EC, algorithm="ES256", key_id="p-384"), "token-algorithm-refused"),
    "key bound to another algorithm": (sign(OTHER_RSA, key_id="of-another-algorithm"), "token-algorithm-refused"),
    "key for encryption": (sign(OTHER_RSA, key_id="for-encryption"), "token-algorithm-refused"),
    "key not for verifying": (sign(OTHER_RSA, key_id="for-signing"), "token-algorithm-refused"),
    "weak key": (forge({"alg": "RS256", "kid": "weak"}), "token-algorithm-refused"),
    # The key.
    "another signer": (sign(OTHER_RSA), "token-signature-invalid"),
    "garbage for a signature": (forge({"alg": "RS256", "kid": "rsa-1"}), "token-signature-invalid"),
    "no signature": (forge({"alg": "RS256", "kid": "rsa-1"}, signature=b""), "token-signature-invalid"),
    "changed claims": (with_changed_claims(), "token-signature-invalid"),
    "unknown key": (sign(OTHER_RSA, key_id="other"), "token-key-unknown"),
    "published private key": (sign(OTHER_RSA, key_id="private"), "token-key-unknown"),
    "broken key": (forge({"alg": "RS256", "kid": "broken"}), "token-key-unknown"),
    "bare key": (forge({"alg": "RS256", "kid": "bare"}), "token-key-unknown"),
    "key at an address": (
        sign(OTHER_RSA, key_id="other", header={"jku": "https://evil.example/jwks"}),
        "token-key-unknown",
    ),
    "certificate at an address": (
        sign(OTHER_RSA, key_id="other", header={"x5u": "https://evil.example/x5u"}),
        "token-key-unknown",
    ),
    "key brought along": (
        sign(OTHER_RSA, key_id="other", header={"jwk": public_jwk(OTHER_RSA, kid="other")}),
        "token-key-unknown",
    ),
    "key brought along under a known id": (
        sign(OTHER_RSA, header={"jwk": public_jwk(OTHER_RSA, kid="rsa-1"), "jku": "https://evil.example/jwks"}),
        "token-signature-invalid",
    ),
    # The issuer.
    "another issuer": (sign(iss="https://evil.example"), "token-issuer-unknown"),
    "longer issuer": (sign(iss=f"{ISSUER}/"), "token-issuer-unknown"),
    "issuer in another case": (sign(iss=ISSUER.upper()), "token-issuer-unknown"),
    "issuer no text": (forge({"alg": "RS256", "kid": "rsa-1"}, iss=[ISSUER]), "token-issuer-unknown"),
    "no issuer": (sign(iss=None), "token-claim-missing"),
    # The audience.
    "another audience": (sign(aud="anon"), "token-audience-refused"),
    "other audiences": (sign(aud=["a", "b"]), "token-audience-refused"),
    "audience no text": (sign(aud=[7]), "token-audience-refused"),
    "audience an object": (sign(aud={AUDIENCE: True}), "token-audience-refused"),
    "no audience": (sign(aud=None), "token-claim-missing"),
    "empty audience": (sign(aud=[]), "token-claim-missing"),
    # The times.
    "expired": (sign(exp=NOW - 60), "token-expired"),
    "no expiry": (sign(exp=None), "token-claim-missing"),
    "expiry no number": (sign(exp="never"), "token-malformed"),
    "expiry without end": (forge({"alg": "RS256", "kid": "rsa-1"}, exp=float("inf")), "token-signature-invalid"),
    "signed expiry without end": (sign(exp=float("inf")), "token-malformed"),
    "not valid yet": (sign(nbf=NOW + DAY), "token-not-yet-valid"),
    "issued in the future": (sign(iat=NOW + DAY), "token-not-yet-valid"),
    "time of issue no number": (sign(iat="today"), "token-malformed"),
    # The subject.
    "no subject": (sign(sub=None), "token-claim-missing"),
    "empty subject": (sign(sub=""), "token-malformed"),
    "long subject": (sign(sub="x" * 256), "token-malformed"),
    "subject with a null character": (sign(sub="user\0"), "token-malformed"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_forged_token_is_refused(tokens: UserTokens, key_sets: FakeKeySets, name: str) -> None:
    token, code = FORGED[name]
    await tokens.read(sign())
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(token)
    assert caught.value.code == code
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert set(key_sets.asked) == {JWKS_URL}


async def test_subject_that_is_no_text_is_refused(tokens: UserTokens) -> None:
    payload = json.dumps(make_claims(sub=7)).encode()
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"rsa-1"}').rstrip(b"=")
    signed = head + b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signed, RSA)
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read((signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode())
    assert caught.value.code == "token-malformed"


@pytest.mark.parametrize(
    "token",
    [
        sign(),
        sign(EC, algorithm="ES256", key_id="ec-1"),
        sign(ED, algorithm="EdDSA", key_id="ed-1"),
        sign(header={"typ": "at+jwt"}),
        sign(header={"typ": None}),
        sign(ED, algorithm="EdDSA", key_id=None),
        sign(aud=["other", AUDIENCE]),
        sign(exp=NOW + DAY, iat=NOW + 20, nbf=NOW + 20),
        sign(iat=None),
        sign(header={"jku": "https://evil.example/jwks", "x5u": "https://evil.example/x5u"}),
    ],
)
async def test_token_of_the_issuer_is_believed(tokens: UserTokens, key_sets: FakeKeySets, token: str) -> None:
    user = await tokens.read(token)
    assert (user.issuer, user.subject, user.role) == (ISSUER, "user-7", None)
    assert user.external_id == f"{ISSUER}|user-7"
    assert key_sets.asked == [JWKS_URL]


async def test_clocks_may_be_half_a_minute_apart(tokens: UserTokens) -> None:
    await tokens.read(sign(exp=int(time.time()) - 20))
    with pytest.raises(Unauthenticated):
        await tokens.read(sign(exp=int(time.time()) - 31))


async def test_token_without_a_key_id_is_refused_when_several_keys_fit(tokens: UserTokens) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(sign(key_id=None))
    assert caught.value.code == "token-key-unknown"


@pytest.mark.parametrize("tenant", [None, make_tenant().model_copy(update={"issuers": []})])
async def test_nobody_is_believed_when_the_tenant_trusts_nobody(
    catalogue: FakeCatalogue, tokens: UserTokens, key_sets: FakeKeySets, tenant: Any
) -> None:
    catalogue.tenant_config = tenant
    with pytest.raises(Unauthenticated) as caught:
        await tokens.read(sign())
    assert caught.value.code == "token-issuer-unknown"
    assert key_sets.asked == []


async def test_issuers_do_not_answer_for_one_another(
    catalogue: FakeCatalogue, tokens: UserTokens, key_sets: FakeKeySets
) -> None:
    """Both have a key of the same id; each signs for itself alone."""
    other = make_issuer(issuer="https://other.example", jwks_url="https://other.example/jwks")
    catalogue.tenant_config = make_tenant(make_issuer(), other)
    key_sets.published[other.jwks_url] = key_set({"rsa-1": OTHER_RSA})
    await tokens.read(sign(OTHER_RSA, iss="https://other.example"))
    for token in (sign(OTHER_RSA), sign(RSA, iss="https://other.example")):
        with pytest.raises(Unauthenticated) as caught:
            await tokens.read(token)
        assert caught.value.code == "token-signature-invalid"


async def test_symmetric_algorithm_is_refused_though_the_tenant_lists_it(
    catalogue: FakeCatalogue, tokens: UserTokens
) -> None:
    catalogue.tenant_config = make_tenant(make_issuer(algorithms=["HS256", "none", "RS256"]))
    for token in (signed_symmetrically(b"s" * 32, kid="oct"), FORGED["unsigned"][0]):
        with pytest.raises(Unauthenticated) as caught:
            await tokens.read(token)
        assert caught.value.code == "token-algorithm-refused"


async def test_token_cannot_be_checked_when_the_issuer_is_away(tokens: UserTokens, key_sets: FakeKeySets) -> None:
    key_sets.published.clear()
    with pytest.raises(IssuerUnavailable):
        await tokens.read(sign())


@pytest.mark.parametrize(
    ("claims", "path", "role"),
    [
        ({"app_metadata": {"role": "owner"}}, "app_metadata.role", Role.OWNER),
        ({"app_metadata": {"role": "admin"}}, "app_metadata.role", Role.ADMIN),
        ({"app_metadata": {"role": "member"}}, "app_metadata.role", Role.MEMBER),
        ({"app_metadata": {"role": "Owner"}}, "app_metadata.role", None),
        ({"app_metadata": {"role": ""}}, "app_metadata.role", None),
        ({"app_metadata": {"role": True}}, "app_metadata.role", None),
        ({"app_metadata": {"role": {"owner": True}}}, "app_metadata.role", None),
        ({"app_metadata": "owner"}, "app_metadata.role", None),
        ({"role": "owner"}, "app_metadata.role", None),
        ({"role": "owner"}, None, None),
        ({"role": "authenticated"}, "role", None),
        ({"roles": ["member", "admin"]}, "roles", Role.ADMIN),
        ({"roles": [["owner"], "reader"]}, "roles", None),
        ({"app_metadata.role": "owner"}, "app_metadata.role", None),
        ({}, "app_metadata.role", None),
    ],
)
async def test_role_is_read_from_its_claim(
    catalogue: FakeCatalogue, tokens: UserTokens, claims: dict[str, Any], path: str | None, role: Role | None
) -> None:
    catalogue.tenant_config = make_tenant(make_issuer(role_claim=path))
    assert (await tokens.read(sign(**claims))).role is role


@pytest.mark.parametrize(
    ("claims", "name", "email"),
    [
        ({"name": "Ada", "email": "ada@example.com"}, "Ada", "ada@example.com"),
        ({"name": "Ada", "email": "ada@example.com", "email_verified": False}, "Ada", None),
        ({"name": "A\0", "email": ["x"]}, None, None),
        ({"name": "x" * 321, "email": ""}, None, None),
    ],
)
async def test_name_and_address_are_taken_over_where_they_are_plain(
    tokens: UserTokens, claims: dict[str, Any], name: str | None, email: str | None
) -> None:
    user = await tokens.read(sign(**claims))
    assert (user.name, user.email) == (name, email)


def test_issuers_keys_are_of_every_kind() -> None:
    assert {type(key) for key in KEYS.values()} == {type(RSA), type(EC), type(ED)}
