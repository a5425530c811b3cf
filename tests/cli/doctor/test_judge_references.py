"""What a Tenant refers to, judged without a single value."""

import pytest

from syntera_cli.doctor.findings import Check, Finding, State
from syntera_cli.doctor.judge_references import (
    OWN_SECRETS,
    Outline,
    SeenOutline,
    judge_credentials,
    judge_references,
    list_references,
    outline,
)
from syntera_cli.doctor.manifests import Hidden
from syntera_crds.contract import names
from syntera_operator.desired import credentials
from tests.support.make import make_challenge, make_endpoint, make_issuer

from .make import Json, make_tenant

USABLE = {names.USABLE_LABEL: "true"}


def make_secret(*keys: str, usable: bool = True) -> Outline:
    return Outline(USABLE if usable else {}, frozenset(keys))


def make_referring_tenant(name: str = "openai", key: str = "api-key") -> Json:
    return make_tenant(models=[make_endpoint(apiKeySecretRef={"name": name, "key": key})])


def judge(found: SeenOutline, tenant: Json | None = None) -> list[Finding]:
    return list(judge_references(tenant or make_referring_tenant(), {("Secret", "openai"): found}))


def test_values_are_left_behind() -> None:
    secret = {"metadata": {"labels": USABLE}, "data": {"api-key": "dG9wLXNlY3JldA=="}, "type": "Opaque"}
    assert outline(secret) == Outline(USABLE, frozenset({"api-key"}))
    assert outline({"metadata": {}, "binaryData": {"x": "AA=="}}) == Outline({}, frozenset({"x"}))


def test_own_secrets_are_the_operator_s() -> None:
    assert set(OWN_SECRETS) == credentials.OWN_SECRETS


def test_every_reference_is_found_with_its_field() -> None:
    endpoint = make_endpoint(
        apiKeySecretRef={"name": "a", "key": "1"},
        headers=[{"name": "X", "value": "y"}, {"name": "Y", "secretKeyRef": {"name": "b", "key": "2"}}],
        caBundleConfigMapRef={"name": "c", "key": "3"},
    )
    issuer = make_issuer("https://other.example", caBundleConfigMapRef={"name": "e", "key": "4"})
    tenant = make_tenant(
        models=[make_endpoint(), endpoint],
        auth={"issuers": [make_issuer(), issuer], "challenge": make_challenge()},
        files={"s3": {"endpointURL": "https://a", "bucket": "files", "credentialsSecretRef": {"name": "f"}}},
        exposure={"host": "a.example", "tlsSecretName": "d"},
    )
    assert [(one.field, one.kind, one.name, one.key) for one in list_references(tenant)] == [
        ("spec.models[1].apiKeySecretRef", "Secret", "a", "1"),
        ("spec.models[1].headers[1].secretKeyRef", "Secret", "b", "2"),
        ("spec.models[1].caBundleConfigMapRef", "ConfigMap", "c", "3"),
        ("spec.auth.issuers[1].caBundleConfigMapRef", "ConfigMap", "e", "4"),
        ("spec.auth.challenge.secretKeyRef", "Secret", "turnstile", "secret"),
        ("spec.files.s3.credentialsSecretRef", "Secret", "f", "access-key-id"),
        ("spec.files.s3.credentialsSecretRef", "Secret", "f", "secret-access-key"),
        ("spec.exposure.tlsSecretName", "Secret", "d", ""),
    ]


def test_references_that_lead_somewhere_are_counted() -> None:
    (found,) = judge(make_secret("api-key"))
    assert (found.check, found.state) == (Check.REFERENCES, State.OK)
    (found,) = judge(None, make_tenant())
    assert (found.state, found.says) == (State.OK, "The Tenant refers to no Secret or ConfigMap.")


@pytest.mark.parametrize(
    ("secret", "says", "command"),
    [
        (
            None,
            "spec.models[0].apiKeySecretRef: the Secret 'openai' does not exist in 'acme'.",
            "kubectl -n acme create secret generic openai --from-file=api-key=FILE && "
            "kubectl -n acme label secret openai syntera.io/usable=true",
        ),
        (
            make_secret("api-key", usable=False),
            "may not be used: it lacks the label syntera.io/usable=true.",
            "kubectl -n acme label secret openai syntera.io/usable=true --overwrite",
        ),
        (make_secret("apikey", "other"), "has no entry 'api-key'; its entries: apikey, other.", ""),
        (make_secret(), "has no entry 'api-key'; its entries: none.", ""),
    ],
)
def test_secret_that_cannot_be_used_is_told(secret: SeenOutline, says: str, command: str) -> None:
    (found,) = judge(secret)
    assert (found.state, found.subject, found.command) == (State.PROBLEM, "secret/openai", command)
    assert says in found.says
    assert found.do


def test_operator_s_own_secret_cannot_be_referred_to() -> None:
    tenant = make_referring_tenant(names.STORES_SECRET, names.REDIS_URL_KEY)
    (found,) = judge_references(tenant, {("Secret", names.STORES_SECRET): make_secret(names.REDIS_URL_KEY)})
    assert found.state is State.PROBLEM
    assert "is the operator's own" in found.says


def test_missing_certificates_and_bundles_are_told() -> None:
    endpoint = make_endpoint(caBundleConfigMapRef={"name": "ca", "key": "ca.crt"})
    tenant = make_tenant(models=[endpoint], exposure={"host": "a.example", "tlsSecretName": "tls"})
    bundle, certificate = judge_references(tenant, {})
    assert bundle.command == "kubectl -n acme create configmap ca --from-file=ca.crt=FILE"
    assert certificate.command == "kubectl -n acme create secret tls tls --cert=FILE --key=FILE"


def test_secret_that_many_endpoints_name_is_told_once() -> None:
    endpoints = [make_endpoint(str(n), apiKeySecretRef={"name": "openai", "key": "api-key"}) for n in range(3)]
    (found,) = judge(None, make_tenant(models=endpoints))
    assert "spec.models[0]" in found.says
    (found,) = judge(Hidden("read the Secret 'openai'"), make_tenant(models=endpoints))
    assert found.state is State.FORBIDDEN


def test_two_missing_entries_of_a_secret_are_both_told() -> None:
    endpoints = [make_endpoint(key, apiKeySecretRef={"name": "openai", "key": key}) for key in ("a", "b")]
    assert len(judge(make_secret("c"), make_tenant(models=endpoints))) == 2


def test_credentials_are_judged() -> None:
    whole = {("Secret", name): Outline({}, frozenset(keys)) for name, keys in OWN_SECRETS.items()}
    (found,) = judge_credentials(make_tenant(), whole)
    assert (found.check, found.state) == (Check.STORES, State.OK)

    half = whole | {("Secret", names.STORES_SECRET): Outline({}, frozenset({names.POSTGRESQL_URL_KEY}))}
    (found,) = judge_credentials(make_tenant(), half)
    assert (found.state, found.says) == (
        State.PROBLEM,
        "The Secret 'syntera-stores', which the operator makes, lacks redis-url.",
    )

    hidden = {("Secret", names.ADMIN_SECRET): Hidden("read Secrets")}
    stores, admin, signing = judge_credentials(make_tenant(), hidden)
    assert "does not exist in 'acme'" in stores.says
    assert admin.state is State.FORBIDDEN
    assert "'syntera-signing', which the operator makes, does not exist" in signing.says
    assert "stores" in stores.do
    assert "stores" not in signing.do
