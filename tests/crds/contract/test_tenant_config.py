"""A Tenant's published configuration: pods of another release can still read it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from syntera_crds.contract.agent_config import EndpointAccess, HeaderFromSecret, SecretKey
from syntera_crds.contract.tenant_config import (
    ChallengeConfig,
    Egress,
    FilesConfig,
    Limits,
    S3Config,
    TenantConfig,
    TokenIssuer,
)

FULL = TenantConfig(
    name="acme",
    display_name="Acme Travel",
    issuers=[
        TokenIssuer(
            issuer="https://login.example",
            audiences=["acme"],
            jwks_url="https://login.example/jwks.json",
            algorithms=["ES256"],
            role_claim="app_metadata.role",
            ca_bundle="-----BEGIN CERTIFICATE-----",
        )
    ],
    allowed_origins=["https://www.acme.example"],
    challenge=ChallengeConfig(
        verify_url="https://challenge.example/siteverify",
        secret=SecretKey(name="turnstile", key="secret"),
        hostnames=["www.acme.example"],
    ),
    limits=Limits(
        requests_per_minute=600,
        requests_per_minute_per_key=300,
        requests_per_minute_per_address=60,
        messages_per_minute_per_user=20,
        concurrent_streams=200,
        concurrent_streams_per_user=4,
        tokens_per_month=5_000_000,
        tokens_per_user_per_day=20_000,
        soft_limit_percent=75,
    ),
    trusted_proxies=["10.0.0.0/8"],
    files=FilesConfig(
        max_megabytes=25,
        s3=S3Config(
            endpoint="https://s3.example",
            region="eu-central-1",
            bucket="files",
            prefix="syntera/acme",
            access_key_id=SecretKey(name="bucket", key="access-key-id"),
            secret_access_key=SecretKey(name="bucket", key="secret-access-key"),
        ),
    ),
    egress=Egress(hosts=["crm.tools.svc"], networks=["10.1.0.0/16"]),
    endpoints=[
        EndpointAccess(
            endpoint="main",
            base_url="https://models.example/v1",
            timeout_seconds=60,
            api_key=SecretKey(name="openai", key="api-key"),
            headers_from=[HeaderFromSecret(name="X-Key", secret=SecretKey(name="gateway", key="key"))],
        )
    ],
)


def test_text_is_read_back() -> None:
    least = TenantConfig(name="acme", display_name="Acme")
    for config in (FULL, least):
        assert TenantConfig.model_validate_json(config.to_json()) == config
    assert least.to_json() == '{"name":"acme","displayName":"Acme"}'


def test_text_is_camel_case() -> None:
    [issuer] = json.loads(FULL.to_json())["issuers"]
    assert set(issuer) == {"issuer", "audiences", "jwksUrl", "algorithms", "roleClaim", "caBundle"}


def test_text_of_an_earlier_release_limits_nobody_trusts_no_proxy_and_opens_no_way_out() -> None:
    text = json.loads(FULL.to_json())
    del text["limits"], text["trustedProxies"], text["egress"]
    config = TenantConfig.model_validate_json(json.dumps(text))
    assert config.limits == Limits()
    assert config.trusted_proxies == []
    assert config.egress == Egress()


def test_text_of_an_earlier_release_keeps_files_in_postgresql_demands_no_challenge_and_needs_no_secret() -> None:
    text = json.loads(FULL.to_json())
    del text["files"], text["challenge"], text["endpoints"]
    config = TenantConfig.model_validate_json(json.dumps(text))
    assert config.files == FilesConfig(max_megabytes=10, s3=None)
    assert config.challenge is None
    assert config.endpoints == []
    assert config.secret_keys() == frozenset()


def test_secrets_that_are_needed_are_those_of_the_bucket_the_challenge_and_the_endpoints() -> None:
    assert {(ref.name, ref.key) for ref in FULL.secret_keys()} == {
        ("bucket", "access-key-id"),
        ("bucket", "secret-access-key"),
        ("turnstile", "secret"),
        ("openai", "api-key"),
        ("gateway", "key"),
    }


def test_text_of_a_later_release_is_read_without_what_is_new() -> None:
    text = json.loads(FULL.to_json())
    text["issuers"][0]["tomorrow"] = text["limits"]["tomorrow"] = text["tomorrow"] = {"a": 1}
    assert TenantConfig.model_validate_json(json.dumps(text)) == FULL


@pytest.mark.parametrize("field", ["verifyUrl", "secret"])
def test_text_without_what_verifies_a_challenge_is_refused(field: str) -> None:
    text: dict[str, Any] = json.loads(FULL.to_json())
    del text["challenge"][field]
    with pytest.raises(ValidationError):
        TenantConfig.model_validate_json(json.dumps(text))


@pytest.mark.parametrize("field", ["issuer", "audiences", "jwksUrl", "algorithms"])
def test_text_without_what_guards_a_token_is_refused(field: str) -> None:
    text: dict[str, Any] = json.loads(FULL.to_json())
    del text["issuers"][0][field]
    with pytest.raises(ValidationError):
        TenantConfig.model_validate_json(json.dumps(text))
