"""What a Tenant's runtime acts by: published, changed, and kept while the next one cannot be compiled."""

import json
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_operator.cluster import Reference
from syntera_operator.queue import Key
from tests.support.certificates import make_certificate
from tests.support.make import make_agent_manifest, make_challenge, make_endpoint, make_issuer

from .conftest import World

WITH_BUNDLE = make_issuer(caBundleConfigMapRef={"name": "ca", "key": "ca.crt"})


@pytest.fixture(scope="module")
def bundle() -> str:
    """CA certificates, in PEM."""
    certificate, _ = make_certificate()
    return certificate


def published(world: World) -> dict[str, Any]:
    config_map = world.cluster.get(kube.CONFIG_MAPS, "acme", names.TENANT_CONFIG)
    assert config_map["metadata"]["labels"][names.PUBLISHED_LABEL] == "tenant"
    found: dict[str, Any] = json.loads(config_map["data"][names.TENANT_CONFIG_KEY])
    return found


def endpoints(world: World) -> list[str]:
    return [one["endpoint"] for one in published(world).get("endpoints", ())]


def issuers(world: World) -> list[str]:
    return [one["issuer"] for one in published(world).get("issuers", ())]


async def test_tenant_without_issuers_is_published_all_the_same(world: World, acme: Any) -> None:
    acme(displayName="Acme Travel", models=[])
    await world.tenant()
    assert published(world) == {"name": "acme", "displayName": "Acme Travel"}


async def test_tenant_is_published_before_its_pods(world: World, acme: Any) -> None:
    acme()
    await world.tenant()
    kinds = [(write.kind, write.name) for write in world.cluster.writes]
    assert kinds.index(("ConfigMap", names.TENANT_CONFIG)) < kinds.index(("Deployment", names.RUNTIME))


async def test_tenant_with_another_issuer_is_published_and_its_pods_stay(world: World, acme: Any) -> None:
    tenant = acme(auth={"issuers": [make_issuer()]})
    await world.settle()
    world.cluster.forget_writes()
    world.edit(tenant, auth={"issuers": [make_issuer("https://other.example:8443")], "allowedOrigins": ["https://a"]})
    await world.tenant()
    assert {(write.kind, write.name) for write in world.cluster.writes} == {
        ("ConfigMap", names.TENANT_CONFIG),
        ("NetworkPolicy", names.RUNTIME),
        ("Tenant", "acme"),
    }
    assert issuers(world) == ["https://other.example:8443"]
    assert published(world)["allowedOrigins"] == ["https://a"]
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")


async def test_tenant_that_is_published_already_is_not_written_again(world: World, acme: Any, bundle: str) -> None:
    world.cluster.put_config_map("acme", "ca", ca_crt=bundle)
    acme(auth={"issuers": [WITH_BUNDLE], "allowedOrigins": ["https://www.acme.example"]})
    await world.settle()
    world.cluster.forget_writes()
    await world.tenant()
    assert world.cluster.writes == []


async def test_configuration_that_was_edited_or_deleted_by_hand_is_repaired(world: World, acme: Any) -> None:
    acme(auth={"issuers": [make_issuer()]})
    await world.settle()
    world.cluster.get(kube.CONFIG_MAPS, "acme", names.TENANT_CONFIG)["data"] = {names.TENANT_CONFIG_KEY: "{}"}
    await world.tenant()
    assert issuers(world) == ["https://login.example"]
    world.cluster.remove(kube.CONFIG_MAPS, "acme", names.TENANT_CONFIG)
    await world.tenant()
    assert issuers(world) == ["https://login.example"]


async def test_challenge_is_published_while_its_secret_is_missing(world: World, acme: Any) -> None:
    """The runtime then lets no new visitor in; it must not be left without the word that it has to ask."""
    acme(auth={"challenge": make_challenge()})
    await world.settle()
    assert published(world)["challenge"]["secret"] == {"name": "turnstile", "key": "secret"}


async def test_challenge_whose_provider_is_nowhere_is_refused_by_its_field(world: World, acme: Any) -> None:
    tenant = acme(auth={"challenge": make_challenge(verifyURL="http://localhost/siteverify")})
    await world.tenant()
    assert world.conditions(tenant)["Accepted"] == ("False", "Invalid")
    assert "spec.auth.challenge.verifyURL: 'localhost' is loopback" in world.message(tenant, "Accepted")


async def test_issuer_whose_keys_are_nowhere_is_refused_by_its_field(world: World, acme: Any) -> None:
    sound = make_issuer()
    tenant = acme(auth={"issuers": [sound, make_issuer("https://b", jwksURL="http://localhost/jwks.json")]})
    await world.tenant()
    assert world.conditions(tenant)["Accepted"] == ("False", "Invalid")
    assert world.conditions(tenant)["Stalled"] == ("True", "Invalid")
    assert "spec.auth.issuers[1].jwksURL: 'localhost' is loopback" in world.message(tenant, "Accepted")


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        (
            {"issuers": [make_issuer(jwksURL="http://login.example")]},
            "spec.auth.issuers[0].jwksURL: must be a URL such as",
        ),
        (
            {"challenge": make_challenge(verifyURL="http://challenge.example")},
            "spec.auth.challenge.verifyURL: must be a URL such as",
        ),
        ({"issuers": [make_issuer(algorithms=["HS256"])]}, "spec.auth.issuers[0].algorithms[0]: must be"),
        (
            {"issuers": [make_issuer(), make_issuer()]},
            "spec.auth.issuers[1]: issuer 'https://login.example' stands here twice",
        ),
        ({"allowedOrigins": ["https://*.acme.example"]}, "spec.auth.allowedOrigins[0]: must be an origin such as"),
    ],
)
async def test_auth_that_is_not_sound_changes_nothing_but_conditions(
    world: World, acme: Any, auth: dict[str, Any], message: str
) -> None:
    tenant = acme(auth={"issuers": [make_issuer("https://before.example")]})
    await world.settle()
    world.cluster.forget_writes()
    world.edit(tenant, auth=auth)
    await world.tenant()
    assert [(write.verb, write.kind) for write in world.cluster.writes] == [("status", "Tenant")]
    assert message in world.message(tenant, "Accepted")
    assert issuers(world) == ["https://before.example"]


# CA bundles --------------------------------------------------------------------------------------------------------


async def test_ca_bundle_is_published_with_its_issuer(world: World, acme: Any, bundle: str) -> None:
    world.cluster.put_config_map("acme", "ca", ca_crt=bundle)
    acme(auth={"issuers": [WITH_BUNDLE]})
    await world.settle()
    assert published(world)["issuers"][0]["caBundle"] == bundle
    assert world.cluster.references[Key("Tenant", None, "acme")] == {Reference("ConfigMap", "acme", "ca")}


@pytest.mark.parametrize(
    ("entries", "reason", "hint"),
    [
        (None, "ConfigMapNotFound", "has no ConfigMap 'ca'"),
        ({"other": "x"}, "ConfigMapKeyNotFound", "no text entry 'ca.crt'"),
        ({"ca_crt": "no certificate"}, "Invalid", "no readable PEM certificates"),
    ],
)
async def test_ca_bundle_that_cannot_be_used_is_told_and_what_was_published_last_goes_on(
    world: World, acme: Any, bundle: str, *, entries: dict[str, str] | None, reason: str, hint: str
) -> None:
    tenant = acme(auth={"issuers": [make_issuer("https://before.example")]})
    await world.settle()
    if entries is not None:
        world.cluster.put_config_map("acme", "ca", **entries)
    world.edit(tenant, auth={"issuers": [make_issuer("https://b.example"), WITH_BUNDLE]})
    await world.tenant()
    assert issuers(world) == ["https://before.example"]
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", reason)
    message = world.message(tenant, "ResolvedRefs")
    assert message.startswith("spec.auth.issuers[1].caBundleConfigMapRef: ")
    assert hint in message
    assert message.endswith(" The issuers and origins that were published last stay in force.")

    world.cluster.put_config_map("acme", "ca", ca_crt=bundle)
    await world.tenant()
    assert issuers(world) == ["https://b.example", "https://login.example"]
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")


async def test_ca_bundle_that_is_missing_at_first_holds_up_nothing_else(world: World, acme: Any) -> None:
    tenant = acme(auth={"issuers": [WITH_BUNDLE]})
    await world.settle()
    assert world.cluster.list_names(kube.CONFIG_MAPS, "acme") == []
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "ConfigMapNotFound")
    assert "published last" not in world.message(tenant, "ResolvedRefs")
    assert world.conditions(tenant)["RuntimeReady"] == ("True", "UpToDate")


async def test_secret_that_a_model_endpoint_lacks_does_not_hold_up_the_issuers(world: World, acme: Any) -> None:
    tenant = acme(auth={"issuers": [make_issuer()]})
    endpoint = {**tenant["spec"]["models"][0], "apiKeySecretRef": {"name": "openai", "key": "api-key"}}
    world.edit(tenant, models=[endpoint])
    await world.settle()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert issuers(world) == ["https://login.example"]
    assert "published last" not in world.message(tenant, "ResolvedRefs")


async def test_ca_bundles_that_fit_into_no_config_map_are_told(world: World, acme: Any, bundle: str) -> None:
    world.cluster.put_config_map("acme", "ca", ca_crt=bundle + "\n" * 600_000)
    second = make_issuer("https://other.example", caBundleConfigMapRef={"name": "ca", "key": "ca.crt"})
    tenant = acme(auth={"issuers": [WITH_BUNDLE, second]})
    await world.settle()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "TooLarge")
    assert world.conditions(tenant)["Stalled"] == ("True", "TooLarge")
    assert "spec.auth.issuers: with their CA bundles" in world.message(tenant, "ResolvedRefs")
    assert world.cluster.list_names(kube.CONFIG_MAPS, "acme") == ["ca"]


# Model endpoints ---------------------------------------------------------------------------------------------------


async def test_model_endpoints_are_published_with_what_it_takes_to_reach_them(
    world: World, acme: Any, bundle: str
) -> None:
    world.cluster.put_config_map("acme", "ca", ca_crt=bundle)
    world.cluster.put_secret("acme", "openai", "key")
    key = {"name": "openai", "key": "key"}
    with_all = make_endpoint(
        apiKeySecretRef=key, caBundleConfigMapRef={"name": "ca", "key": "ca.crt"}, proxyURL="http://proxy.example:3128"
    )
    acme(models=[with_all, make_endpoint("other")])
    await world.tenant()
    reached = {"baseUrl": "https://models.example/v1", "timeoutSeconds": 60.0}
    assert published(world)["endpoints"] == [
        {"endpoint": "main", **reached, "apiKey": key, "caBundle": bundle, "proxyUrl": "http://proxy.example:3128"},
        {"endpoint": "other", **reached},
    ]


@pytest.mark.parametrize(
    "lacks",
    [
        {"apiKeySecretRef": {"name": "missing", "key": "key"}},
        {"headers": [{"name": "X-Key", "secretKeyRef": {"name": "unreleased", "key": "key"}}]},
        {"caBundleConfigMapRef": {"name": "missing", "key": "ca.crt"}},
        {"caBundleConfigMapRef": {"name": "unreadable", "key": "ca.crt"}},
    ],
)
async def test_model_endpoint_that_cannot_be_reached_is_left_out(
    world: World, acme: Any, lacks: dict[str, Any]
) -> None:
    world.cluster.put_secret("acme", "unreleased", "key", usable=None)
    world.cluster.put_config_map("acme", "unreadable", ca_crt="no certificate")
    acme(auth={"issuers": [make_issuer()]}, models=[make_endpoint(**lacks), make_endpoint("other")])
    await world.tenant()
    assert (endpoints(world), issuers(world)) == (["other"], ["https://login.example"])


async def test_ca_bundles_of_model_endpoints_do_not_hold_up_the_issuers(world: World, acme: Any, bundle: str) -> None:
    world.cluster.put_config_map("acme", "ca", ca_crt=bundle + "\n" * 600_000)
    large: dict[str, Any] = {"caBundleConfigMapRef": {"name": "ca", "key": "ca.crt"}}
    tenant = acme(auth={"issuers": [make_issuer()]}, models=[make_endpoint(**large), make_endpoint("other", **large)])
    await world.settle()
    assert (endpoints(world), issuers(world)) == ([], ["https://login.example"])
    assert world.conditions(tenant)["ResolvedRefs"] == ("True", "Resolved")


# Beside others -----------------------------------------------------------------------------------------------------


async def test_config_map_of_somebody_else_is_left_alone_and_the_runtime_started_all_the_same(
    world: World, acme: Any
) -> None:
    tenant = acme()
    world.cluster.put_namespace("acme", labels={names.TENANT_LABEL: "acme"})
    world.cluster.put_config_map("acme", names.TENANT_CONFIG, theirs="x")
    await world.settle()
    assert world.conditions(tenant)["NamespaceReady"] == ("False", "NameTaken")
    assert world.conditions(tenant)["RuntimeReady"] == ("True", "UpToDate")
    assert await world.cluster.config_map_data("acme", names.TENANT_CONFIG) == {"theirs": "x"}


async def test_agent_named_like_the_configuration_has_one_of_its_own(world: World, acme: Any) -> None:
    acme(auth={"issuers": [make_issuer()]})
    await world.settle()
    world.cluster.put(make_agent_manifest(names.TENANT_CONFIG))
    await world.agent(names.TENANT_CONFIG)
    await world.tenant()
    assert issuers(world) == ["https://login.example"]
    assert world.cluster.list_names(kube.CONFIG_MAPS, "acme") == ["agent-tenant", "tenant"]
