"""Compiling Tenants."""

from syntera_crds.contract.tenant_config import TenantConfig
from syntera_operator.desired.tenant_config import build_tenant_config
from tests.support.golden import Golden
from tests.support.make import make_challenge, make_endpoint, make_issuer, make_tenant

SUPABASE = make_issuer(
    "https://xyz.supabase.co/auth/v1",
    audiences=["authenticated"],
    jwksURL="https://xyz.supabase.co/auth/v1/.well-known/jwks.json",
    algorithms=["ES256"],
    roleClaim="app_metadata.role",
)
KEYCLOAK = make_issuer("http://keycloak.identity.svc/realms/acme", caBundleConfigMapRef={"name": "ca", "key": "ca.crt"})
LIMITS = {
    "requestsPerMinute": 600,
    "requestsPerMinutePerKey": 300,
    "requestsPerMinutePerAddress": 60,
    "messagesPerMinutePerUser": 20,
    "concurrentStreams": 200,
    "concurrentStreamsPerUser": 4,
    "tokensPerMonth": 5_000_000,
    "tokensPerUserPerDay": 20_000,
    "softLimitPercent": 75,
}


def test_tenant_config_of_a_full_tenant(golden: Golden) -> None:
    origins = ["https://www.acme.example", "http://localhost:3000"]
    tenant = make_tenant(
        displayName="Acme Travel",
        auth={
            "issuers": [SUPABASE, KEYCLOAK],
            "allowedOrigins": origins,
            "challenge": make_challenge(hostnames=["www.acme.example"]),
        },
        limits=LIMITS,
        egress={"hosts": ["crm.tools.svc"], "networks": ["10.1.0.0/16"]},
        models=[
            make_endpoint(
                apiKeySecretRef={"name": "openai", "key": "api-key"},
                headers=[
                    {"name": "X-Team", "value": "travel"},
                    {"name": "X-Key", "secretKeyRef": {"name": "gateway", "key": "key"}},
                ],
                caBundleConfigMapRef={"name": "ca", "key": "ca.crt"},
                proxyURL="http://proxy.example:3128",
                timeoutSeconds=20,
            ),
            make_endpoint("plain", baseURL="http://models.tools.svc:8080/v1"),
        ],
        exposure={"host": "acme.example", "trustedProxies": ["10.0.0.0/8", "2001:db8::/32"]},
        files={
            "maxMegabytes": 25,
            "s3": {
                "endpointURL": "https://s3.example",
                "region": "eu-central-1",
                "bucket": "files",
                "prefix": "syntera/acme",
                "credentialsSecretRef": {"name": "bucket"},
            },
        },
    )
    ref = tenant.spec.auth.issuers[1].ca_bundle_config_map_ref
    assert ref
    config = build_tenant_config(tenant, {ref: "-----BEGIN CERTIFICATE-----"}, endpoints=tenant.spec.models)
    golden.check_text("desired/tenant-config.json", config.model_dump_json(by_alias=True, indent=2) + "\n")


def test_tenant_config_of_the_least_tenant_trusts_nobody() -> None:
    assert build_tenant_config(make_tenant(), {}) == TenantConfig(name="acme", display_name="acme")


def test_tenant_config_when_an_issuer_says_no_algorithm_has_the_documented_ones() -> None:
    [issuer] = build_tenant_config(make_tenant(auth={"issuers": [make_issuer()]}), {}).issuers
    assert issuer.algorithms == ["RS256", "ES256"]


def test_tenant_config_gives_the_same_bytes_for_the_same_input() -> None:
    tenant = make_tenant(auth={"issuers": [SUPABASE, make_issuer()]})
    assert build_tenant_config(tenant, {}).to_json() == build_tenant_config(tenant, {}).to_json()
