"""A Tenant's life but its end: made, kept, changed, suspended, and what stands in its way."""

from datetime import timedelta
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.api_key import ApiKey
from syntera_crds.contract.names import tenant_login
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden, Invalid, NotFound, ServerError
from syntera_operator.cluster import Reference
from syntera_operator.desired.namespace import MADE_FOR_ANNOTATION
from syntera_operator.errors import StoreRefused, StoreUnavailable
from syntera_operator.manifest import TENANTS
from syntera_operator.queue import Key
from tests.support.kstatus import Kstatus
from tests.support.make import make_agent_manifest, make_challenge, make_endpoint, make_tenant_manifest

from .conftest import World

KEYED = make_endpoint(apiKeySecretRef={"name": "openai", "key": "api-key"})


async def test_tenant_when_new_gets_everything(world: World, acme: Any) -> None:
    acme()
    assert (await world.tenant()).requeue_after_seconds is None

    cluster = world.cluster
    assert cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["annotations"][MADE_FOR_ANNOTATION] == "uid-acme"
    assert cluster.list_names(kube.ROLE_BINDINGS, "acme") == ["syntera-operator", "syntera-runtime"]
    assert cluster.list_names(kube.SECRETS, "acme") == ["syntera-admin", "syntera-signing", "syntera-stores"]
    assert cluster.list_names(kube.CONFIG_MAPS, "acme") == ["tenant"]
    assert cluster.list_names(kube.NETWORK_POLICIES, "acme") == ["syntera-default-deny", "syntera-runtime"]
    for kind in (kube.SERVICE_ACCOUNTS, kube.ROLES, kube.DEPLOYMENTS, kube.SERVICES, kube.POD_DISRUPTION_BUDGETS):
        assert cluster.list_names(kind, "acme") == ["syntera-runtime"]
    for kind in (kube.HORIZONTAL_POD_AUTOSCALERS, kube.INGRESSES, kube.RESOURCE_QUOTAS, kube.LIMIT_RANGES):
        assert cluster.list_names(kind, "acme") == []
    secret = await cluster.own_secret("acme", "syntera-admin")
    assert secret is not None
    assert ApiKey.parse(secret["api-key"])


async def test_tenant_when_its_pods_are_ready_is_ready(world: World, acme: Any) -> None:
    tenant = acme()
    await world.tenant()
    assert world.conditions(tenant)["RuntimeReady"] == ("False", "Progressing")
    assert world.state(tenant) is Kstatus.IN_PROGRESS

    world.cluster.finish_rollout("acme")
    await world.tenant()
    assert world.conditions(tenant) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "Resolved"),
        "NamespaceReady": ("True", "UpToDate"),
        "DatabaseReady": ("True", "UpToDate"),
        "CacheReady": ("True", "UpToDate"),
        "RuntimeReady": ("True", "UpToDate"),
        "Ready": ("True", "Serving"),
        "Reconciling": ("False", "UpToDate"),
        "Stalled": ("False", "UpToDate"),
    }
    assert world.state(tenant) is Kstatus.CURRENT
    assert [(told.type, told.reason) for told in world.cluster.events] == [("Normal", "Ready")]


async def test_tenant_status_tells_where_it_is(world: World, acme: Any) -> None:
    tenant = acme(exposure={"host": "acme.chat.example", "tlsSecretName": "tls"})
    world.cluster.put(make_agent_manifest("one"))
    world.cluster.put(make_agent_manifest("two"))
    await world.tenant()
    status = tenant["status"]
    assert status["namespace"] == "acme"
    assert status["tenantID"] == str(world.stores.ids["acme"])
    assert status["endpoint"] == "https://acme.chat.example"
    assert status["agents"] == 2
    assert status["observedGeneration"] == 1


async def test_tenant_when_nothing_changed_writes_nothing(world: World, acme: Any) -> None:
    acme(
        quota={"pods": 50, "requests.cpu": "10000m"},
        runtime={"autoscaling": {"min": 1, "max": 3}},
        exposure={"host": "acme.chat.example"},
    )
    await world.settle()
    world.cluster.forget_writes()
    await world.tenant()
    assert world.cluster.writes == []
    assert world.cluster.events == []


async def test_tenant_on_its_first_visit_has_the_finalizer_and_a_status_before_anything_is_made(
    world: World, acme: Any
) -> None:
    acme()
    await world.tenant()
    assert [(write.verb, write.kind) for write in world.cluster.writes[:3]] == [
        ("finalizers", "Tenant"),
        ("status", "Tenant"),
        ("apply", "Namespace"),
    ]


async def test_tenant_keeps_the_finalizers_of_others(world: World, acme: Any) -> None:
    tenant = acme(finalizers=("example.com/theirs",))
    await world.tenant()
    assert tenant["metadata"]["finalizers"] == ["example.com/theirs", names.TENANT_FINALIZER]


async def test_tenant_that_is_gone_forgets_its_references(world: World) -> None:
    await world.tenant("gone")
    assert world.cluster.references == {Key("Tenant", None, "gone"): set()}


async def test_tenant_whose_child_was_deleted_or_edited_by_hand_is_repaired(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    world.cluster.remove(kube.SERVICES, "acme", names.RUNTIME)
    policy = world.cluster.get(kube.NETWORK_POLICIES, "acme", names.RUNTIME)
    policy["spec"]["ingress"] = [{}]
    world.cluster.forget_writes()
    await world.tenant()
    assert {(write.verb, write.kind) for write in world.cluster.writes} == {
        ("apply", "Service"),
        ("apply", "NetworkPolicy"),
    }
    assert world.cluster.get(kube.NETWORK_POLICIES, "acme", names.RUNTIME)["spec"]["ingress"] != [{}]


async def test_tenant_that_no_longer_wants_a_child_has_it_pruned(world: World, acme: Any) -> None:
    tenant = acme(quota={"pods": 50}, exposure={"host": "acme.chat.example"})
    await world.settle()
    world.edit(
        tenant, quota=None, exposure={"host": "acme.chat.example", "gatewayRef": {"name": "g", "namespace": "g"}}
    )
    await world.tenant()
    assert world.cluster.list_names(kube.RESOURCE_QUOTAS, "acme") == []
    assert world.cluster.list_names(kube.LIMIT_RANGES, "acme") == []
    assert world.cluster.list_names(kube.INGRESSES, "acme") == []
    assert world.cluster.list_names(kube.HTTP_ROUTES, "acme") == ["syntera"]


# Accepted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason", "message"),
    [
        ({"runtime": {"replicas": 0}}, "Invalid", "spec.runtime.replicas"),
        ({"models": [make_endpoint(baseURL="ftp://x")]}, "Invalid", "spec.models[0].baseURL"),
        (
            {"models": [make_endpoint(baseURL="http://169.254.169.254/v1")]},
            "Invalid",
            "spec.models[0].baseURL: 169.254",
        ),
        ({"models": [make_endpoint(proxyURL="http://127.0.0.1:1")]}, "Invalid", "spec.models[0].proxyURL: 127.0.0.1"),
        (
            {"namespace": "syntera-system"},
            "NamespaceReserved",
            "'syntera-system' belongs to Kubernetes or to the operator",
        ),
    ],
)
async def test_tenant_that_is_not_sound_is_refused_and_nothing_is_made(
    world: World, acme: Any, spec: dict[str, Any], reason: str, message: str
) -> None:
    tenant = acme(**spec)
    await world.tenant()
    assert world.conditions(tenant)["Accepted"] == ("False", reason)
    assert world.conditions(tenant)["Ready"] == ("False", reason)
    assert world.conditions(tenant)["Stalled"] == ("True", reason)
    assert message in world.message(tenant, "Ready")
    assert world.state(tenant) is Kstatus.FAILED
    assert {write.kind for write in world.cluster.writes} == {"Tenant"}
    assert "finalizers" not in tenant["metadata"] or tenant["metadata"]["finalizers"] == []
    assert [(told.type, told.reason) for told in world.cluster.events] == [("Warning", reason)]


@pytest.mark.parametrize("name", ["system", "default", "kube-system"])
async def test_tenant_whose_name_would_lead_to_a_reserved_namespace_is_refused(world: World, name: str) -> None:
    spec = {"namespace": None} if name == "system" else {"namespace": name}
    world.cluster.put(make_tenant_manifest(name, **spec))
    await world.tenant(name)
    assert world.conditions(world.the_tenant(name))["Accepted"][0] == "False"
    assert world.cluster.list_names(kube.NAMESPACES) == []


async def test_tenant_with_a_bad_edit_changes_nothing_but_its_conditions(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    before = world.conditions(tenant)
    world.cluster.forget_writes()
    world.edit(tenant, models=[make_endpoint("a"), make_endpoint("a")])
    await world.tenant()
    assert [(write.verb, write.kind) for write in world.cluster.writes] == [("status", "Tenant")]
    after = world.conditions(tenant)
    assert after["Accepted"] == ("False", "Invalid")
    assert {type_: after[type_] for type_ in ("DatabaseReady", "RuntimeReady")} == {
        type_: before[type_] for type_ in ("DatabaseReady", "RuntimeReady")
    }
    observed = {one["type"]: one["observedGeneration"] for one in tenant["status"]["conditions"]}
    assert (observed["Ready"], observed["RuntimeReady"]) == (2, 1)


# The namespace -----------------------------------------------------------------------------------------------------


async def test_namespace_that_exists_without_label_is_left_alone_and_told_how_to_hand_it_over(
    world: World, acme: Any
) -> None:
    tenant = acme()
    world.cluster.put_namespace("acme", labels={"team": "x"})
    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.conditions(tenant)["Accepted"] == ("False", "NamespaceTaken")
    assert "kubectl label namespace acme syntera.io/tenant=acme" in world.message(tenant, "Accepted")
    assert world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["labels"] == {"team": "x"}


async def test_namespace_that_its_owner_handed_over_is_adopted_and_keeps_what_the_owner_says(
    world: World, acme: Any
) -> None:
    acme()
    enforce = "pod-security.kubernetes.io/enforce"
    world.cluster.put_namespace("acme", labels={names.TENANT_LABEL: "acme", enforce: "baseline"})
    await world.settle()
    metadata = world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]
    assert metadata["labels"][enforce] == "baseline"
    assert metadata["labels"]["pod-security.kubernetes.io/warn"] == "restricted"
    assert MADE_FOR_ANNOTATION not in metadata["annotations"]


async def test_namespace_of_another_tenant_is_not_taken(world: World) -> None:
    world.cluster.put(make_tenant_manifest("first", namespace="shared"))
    await world.settle("first")
    world.cluster.put(make_tenant_manifest("second", namespace="shared", created="2020-01-01T00:00:00Z"))
    world.cluster.forget_writes()
    await world.tenant("second")
    second = world.the_tenant("second")
    assert world.conditions(second)["Accepted"] == ("False", "NamespaceTaken")
    assert "belongs to Tenant 'first'" in world.message(second, "Accepted")
    assert "kubectl label" not in world.message(second, "Accepted")
    assert {write.name for write in world.cluster.writes} == {"second"}


async def test_namespace_of_a_tenant_that_is_gone_may_be_handed_over(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.put_namespace("acme", labels={names.TENANT_LABEL: "gone"})
    await world.tenant()
    command = "kubectl label namespace acme syntera.io/tenant=acme --overwrite"
    assert command in world.message(tenant, "Accepted")


async def test_namespace_that_two_new_tenants_name_goes_to_the_older(world: World) -> None:
    world.cluster.put(make_tenant_manifest("older", namespace="shared", created="2026-01-01T00:00:00Z"))
    world.cluster.put(make_tenant_manifest("younger", namespace="shared", created="2026-01-01T00:00:01Z"))
    await world.tenant("younger")
    assert world.conditions(world.the_tenant("younger"))["Accepted"] == ("False", "NamespaceTaken")
    await world.tenant("older")
    assert world.conditions(world.the_tenant("older"))["Accepted"] == ("True", "Accepted")


async def test_namespace_whose_label_was_taken_away_is_not_labelled_again(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    del world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["labels"][names.TENANT_LABEL]
    world.cluster.forget_writes()
    await world.tenant()
    assert world.conditions(tenant)["Accepted"] == ("False", "NamespaceTaken")
    assert {write.kind for write in world.cluster.writes} == {"Tenant"}


async def test_namespace_that_changed_hands_keeps_the_first_tenants_objects_while_that_one_lives(world: World) -> None:
    await hand_over(world)
    world.cluster.forget_writes()
    await world.tenant("second")
    second = world.the_tenant("second")
    assert world.conditions(second)["NamespaceReady"] == ("False", "NameTaken")
    assert "belongs to Tenant 'first'" in world.message(second, "NamespaceReady")
    assert {write.kind for write in world.cluster.writes} == {"Tenant", "Namespace"}
    await world.tenant("first")
    assert world.conditions(world.the_tenant("first"))["Accepted"] == ("False", "NamespaceTaken")


async def test_namespace_that_changed_hands_hands_no_credentials_on(world: World) -> None:
    await hand_over(world)
    own = (names.STORES_SECRET, names.ADMIN_SECRET, names.SIGNING_SECRET)
    secrets = {name: world.cluster.secret("shared", name) for name in own}
    world.cluster.remove(TENANTS, None, "first")
    await world.tenant("second")
    stores, admin, signing = (world.cluster.secret("shared", name) for name in own)
    login = tenant_login(world.stores.ids["second"])
    assert f"//{login}:" in stores[names.POSTGRESQL_URL_KEY]
    assert f"//{login}:" in stores[names.REDIS_URL_KEY]
    assert admin[names.ADMIN_API_KEY_KEY] != secrets[names.ADMIN_SECRET][names.ADMIN_API_KEY_KEY]
    assert signing != secrets[names.SIGNING_SECRET]


async def hand_over(world: World) -> None:
    """Two Tenants name one namespace; its owner gives it to the second after the first has moved in."""
    for name in ("first", "second"):
        world.cluster.put(make_tenant_manifest(name, namespace="shared"))
    await world.settle("first")
    world.cluster.get(kube.NAMESPACES, None, "shared")["metadata"]["labels"][names.TENANT_LABEL] = "second"


async def test_secret_of_the_operators_own_is_taken_back_when_its_labels_were_changed(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    before = world.cluster.secret("acme", names.STORES_SECRET)
    labels = world.cluster.get(kube.SECRETS, "acme", names.STORES_SECRET)["metadata"]["labels"]
    labels[names.USABLE_LABEL] = "true"
    labels[names.TENANT_LABEL] = "another"
    await world.tenant()
    after = world.cluster.get(kube.SECRETS, "acme", names.STORES_SECRET)["metadata"]["labels"]
    assert (after[names.USABLE_LABEL], after[names.TENANT_LABEL]) == ("false", "acme")
    assert world.cluster.secret("acme", names.STORES_SECRET).keys() == before.keys()


async def test_namespace_that_is_being_deleted_is_waited_for_and_made_anew(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    world.cluster.forget_writes()
    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.conditions(tenant)["NamespaceReady"] == ("False", "Progressing")
    assert {write.kind for write in world.cluster.writes} == {"Tenant"}

    world.cluster.remove(kube.NAMESPACES, None, "acme")
    await world.tenant()
    assert world.cluster.list_names(kube.NAMESPACES) == ["acme"]


async def test_namespace_of_an_earlier_tenant_of_the_name_is_taken_over_as_made(world: World, acme: Any) -> None:
    acme(uid="uid-new")
    world.cluster.put_namespace(
        "acme", labels={names.TENANT_LABEL: "acme"}, annotations={MADE_FOR_ANNOTATION: "uid-old"}
    )
    world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["managedFields"] = [
        {"manager": names.TENANT_FIELD_MANAGER}
    ]
    await world.tenant()
    annotations = world.cluster.get(kube.NAMESPACES, None, "acme")["metadata"]["annotations"]
    assert annotations[MADE_FOR_ANNOTATION] == "uid-new"


# References --------------------------------------------------------------------------------------------------------


def secret_rules(world: World) -> list[list[str]]:
    rules = world.cluster.get(kube.ROLES, "acme", names.RUNTIME)["rules"]
    return [rule["resourceNames"] for rule in rules if rule["resources"] == ["secrets"]]


@pytest.mark.parametrize(
    ("usable", "keys", "reason", "hint", "state"),
    [
        pytest.param(None, None, "SecretNotFound", "has no Secret 'openai'", Kstatus.IN_PROGRESS, id="missing"),
        pytest.param("", ("api-key",), "SecretNotUsable", "release it", Kstatus.FAILED, id="unlabelled"),
        pytest.param("false", ("api-key",), "SecretNotUsable", "release it", Kstatus.FAILED, id="refused"),
        pytest.param("true", ("other",), "SecretKeyNotFound", "no entry 'api-key'", Kstatus.IN_PROGRESS, id="no entry"),
    ],
)
async def test_secret_that_cannot_be_used_is_told_and_the_runtime_started_all_the_same(
    world: World, acme: Any, *, usable: str | None, keys: tuple[str, ...] | None, reason: str, hint: str, state: Kstatus
) -> None:
    tenant = acme(models=[KEYED])
    if keys is not None:
        world.cluster.put_secret("acme", "openai", *keys, usable=usable or None)
    await world.settle()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", reason)
    assert world.conditions(tenant)["Ready"] == ("False", reason)
    assert world.conditions(tenant)["RuntimeReady"] == ("True", "UpToDate")
    message = world.message(tenant, "ResolvedRefs")
    assert "spec.models[0].apiKeySecretRef" in message
    assert hint in message
    assert world.state(tenant) is state
    assert secret_rules(world) == ([["openai"]] if usable == "true" else [])
    if reason != "SecretKeyNotFound":
        assert "kubectl -n acme label secret openai syntera.io/usable=true" in message


@pytest.mark.parametrize("name", ["syntera-stores", "syntera-signing", "syntera-admin"])
async def test_secret_of_the_operator_cannot_be_referred_to_even_if_its_label_was_changed(
    world: World, acme: Any, name: str
) -> None:
    tenant = acme(models=[make_endpoint(apiKeySecretRef={"name": name, "key": "api-key"})])
    await world.tenant()
    world.cluster.get(kube.SECRETS, "acme", name)["metadata"]["labels"][names.USABLE_LABEL] = "true"
    await world.tenant()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotUsable")
    assert secret_rules(world) == []
    assert world.cluster.get(kube.SECRETS, "acme", name)["metadata"]["labels"][names.USABLE_LABEL] == "false"


async def test_secret_of_the_bucket_is_told_until_it_is_there_and_then_read(world: World, acme: Any) -> None:
    s3 = {"endpointURL": "https://s3.example", "bucket": "files", "credentialsSecretRef": {"name": "bucket"}}
    tenant = acme(files={"s3": s3})
    await world.settle()
    assert world.cluster.references[Key("Tenant", None, "acme")] == {Reference("Secret", "acme", "bucket")}
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert "spec.files.s3.credentialsSecretRef" in world.message(tenant, "ResolvedRefs")
    assert secret_rules(world) == []
    world.cluster.put_secret("acme", "bucket", "access-key-id")
    await world.tenant()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretKeyNotFound")
    world.cluster.put_secret("acme", "bucket", "access-key-id", "secret-access-key")
    await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")
    assert secret_rules(world) == [["bucket"]]


async def test_secret_of_the_challenge_is_told_until_it_is_there_and_then_read(world: World, acme: Any) -> None:
    tenant = acme(auth={"challenge": make_challenge()})
    await world.settle()
    assert world.cluster.references[Key("Tenant", None, "acme")] == {Reference("Secret", "acme", "turnstile")}
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotFound")
    assert "spec.auth.challenge.secretKeyRef" in world.message(tenant, "ResolvedRefs")
    world.cluster.put_secret("acme", "turnstile", "secret", usable=None)
    await world.tenant()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotUsable")
    assert secret_rules(world) == []
    world.cluster.put_secret("acme", "turnstile", "secret")
    await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")
    assert secret_rules(world) == [["turnstile"]]


async def test_secret_of_the_operator_is_no_secret_of_a_challenge(world: World, acme: Any) -> None:
    tenant = acme(auth={"challenge": make_challenge(secretKeyRef={"name": names.SIGNING_SECRET, "key": "key"})})
    await world.settle()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "SecretNotUsable")
    assert secret_rules(world) == []


async def test_secret_that_arrives_makes_the_tenant_ready(world: World, acme: Any) -> None:
    tenant = acme(models=[KEYED])
    await world.settle()
    assert world.cluster.references[Key("Tenant", None, "acme")] == {Reference("Secret", "acme", "openai")}
    world.cluster.put_secret("acme", "openai", "api-key")
    await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")
    assert secret_rules(world) == [["openai"]]


async def test_ca_bundle_that_is_missing_or_no_certificate_is_told(world: World, acme: Any) -> None:
    tenant = acme(models=[make_endpoint(caBundleConfigMapRef={"name": "ca", "key": "ca.crt"})])
    await world.settle()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "ConfigMapNotFound")
    world.cluster.put_config_map("acme", "ca", other="x")
    await world.tenant()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "ConfigMapKeyNotFound")
    world.cluster.put_config_map("acme", "ca", ca_crt="-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----")
    await world.tenant()
    assert world.conditions(tenant)["ResolvedRefs"] == ("False", "Invalid")
    assert world.conditions(tenant)["Stalled"] == ("True", "Invalid")


# Stores ------------------------------------------------------------------------------------------------------------


async def test_tenant_when_postgresql_is_away_at_its_creation_waits_for_its_identity(world: World, acme: Any) -> None:
    tenant = acme()
    world.stores.away = {"PostgreSQL"}
    with pytest.raises(StoreUnavailable):
        await world.tenant()
    assert world.conditions(tenant)["DatabaseReady"] == ("False", "Unavailable")
    assert world.conditions(tenant)["CacheReady"] == ("False", "Pending")
    assert world.conditions(tenant)["RuntimeReady"] == ("False", "Pending")
    assert world.conditions(tenant)["NamespaceReady"] == ("True", "UpToDate")
    assert world.state(tenant) is Kstatus.IN_PROGRESS
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []
    assert world.cluster.list_names(kube.SERVICES, "acme") == [names.RUNTIME]

    world.stores.away = set()
    await world.settle()
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")


async def test_tenant_when_redis_is_away_at_its_creation_keeps_its_database_login(world: World, acme: Any) -> None:
    tenant = acme()
    world.stores.away = {"Redis"}
    with pytest.raises(StoreUnavailable):
        await world.tenant()
    assert world.conditions(tenant)["DatabaseReady"] == ("True", "UpToDate")
    assert world.conditions(tenant)["CacheReady"] == ("False", "Unavailable")
    assert await world.cluster.own_secret("acme", names.STORES_SECRET) == {
        "postgresql-url": "postgresql://t_00000000000000000000000000000001:password@postgresql/syntera"
    }
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []


async def test_tenant_when_a_store_is_away_later_goes_on_with_what_it_can(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    stores_secret = await world.cluster.own_secret("acme", names.STORES_SECRET)
    world.stores.away = {"PostgreSQL", "Redis"}
    world.time += timedelta(minutes=1)
    world.edit(tenant, runtime={"replicas": 3})
    with pytest.raises(StoreUnavailable):
        await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("False", "Unavailable")
    assert world.cluster.get(kube.DEPLOYMENTS, "acme", names.RUNTIME)["spec"]["replicas"] == 3
    assert await world.cluster.own_secret("acme", names.STORES_SECRET) == stores_secret
    assert [told.reason for told in world.cluster.events] == ["Ready", "Unavailable", "Unavailable"]


async def test_tenant_when_a_store_refuses_is_stalled(world: World, acme: Any) -> None:
    tenant = acme()
    world.stores.refusing = {"Redis"}
    with pytest.raises(StoreRefused):
        await world.tenant()
    assert world.conditions(tenant)["Stalled"] == ("True", "Unavailable")
    assert "permission denied" in world.message(tenant, "CacheReady")


async def test_tenant_keeps_its_passwords_and_key(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    admin = await world.cluster.own_secret("acme", names.ADMIN_SECRET)
    stores = await world.cluster.own_secret("acme", names.STORES_SECRET)
    await world.tenant()
    assert await world.cluster.own_secret("acme", names.ADMIN_SECRET) == admin
    assert await world.cluster.own_secret("acme", names.STORES_SECRET) == stores


async def test_tenant_whose_credentials_are_lost_gets_new_ones(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    world.cluster.remove(kube.SECRETS, "acme", names.STORES_SECRET)
    world.cluster.remove(kube.SECRETS, "acme", names.ADMIN_SECRET)
    await world.tenant()
    assert world.cluster.list_names(kube.SECRETS, "acme") == ["syntera-admin", "syntera-signing", "syntera-stores"]


async def test_tenant_asks_postgresql_once_for_a_burst_of_changes(world: World, acme: Any) -> None:
    acme()
    await world.settle()
    world.stores.calls.clear()
    await world.tenant()
    assert world.stores.calls == ["ensure_cache"]
    world.time += timedelta(minutes=1)
    await world.tenant()
    assert "ensure_database" in world.stores.calls


@pytest.mark.parametrize("secret", [names.STORES_SECRET, names.ADMIN_SECRET])
async def test_tenant_asks_postgresql_at_once_when_a_secret_of_the_operator_changed(
    world: World, acme: Any, secret: str
) -> None:
    acme()
    await world.settle()
    world.cluster.get(kube.SECRETS, "acme", secret)["data"] = {"postgresql-url": "cG9zdGdyZXNxbDovL3Q6eEBkYg=="}
    world.stores.calls.clear()
    await world.tenant()
    assert "ensure_database" in world.stores.calls


# Pods --------------------------------------------------------------------------------------------------------------


async def test_tenant_when_suspended_has_no_pods_and_no_autoscaler_and_resumes(world: World, acme: Any) -> None:
    tenant = acme(runtime={"autoscaling": {"min": 2, "max": 5}})
    await world.settle()
    assert world.cluster.list_names(kube.HORIZONTAL_POD_AUTOSCALERS, "acme") == [names.RUNTIME]

    world.edit(tenant, suspended=True)
    await world.tenant()
    deployment = world.cluster.get(kube.DEPLOYMENTS, "acme", names.RUNTIME)
    assert deployment["spec"]["replicas"] == 0
    assert world.cluster.list_names(kube.HORIZONTAL_POD_AUTOSCALERS, "acme") == []
    assert world.conditions(tenant)["Reconciling"] == ("True", "Suspended")

    world.cluster.finish_rollout("acme")
    await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("False", "Suspended")
    assert world.conditions(tenant)["Reconciling"] == ("False", "UpToDate")
    assert world.conditions(tenant)["Stalled"] == ("False", "UpToDate")

    world.edit(tenant, suspended=None)
    await world.tenant()
    assert world.cluster.list_names(kube.HORIZONTAL_POD_AUTOSCALERS, "acme") == [names.RUNTIME]


async def test_tenant_whose_pods_pass_to_an_autoscaler_keeps_their_number_meanwhile(world: World, acme: Any) -> None:
    tenant = acme(runtime={"replicas": 4})
    await world.settle()
    world.edit(tenant, runtime={"autoscaling": {"min": 2, "max": 9}})
    await world.tenant()
    assert world.cluster.get(kube.DEPLOYMENTS, "acme", names.RUNTIME)["spec"]["replicas"] == 4
    world.cluster.forget_writes()
    await world.tenant()
    assert [write.kind for write in world.cluster.writes if write.kind == "Deployment"] == []


async def test_tenant_while_a_change_of_its_pods_rolls_out_is_not_ready(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    world.edit(tenant, runtime={"replicas": 2})
    await world.tenant()
    assert world.conditions(tenant)["Ready"] == ("False", "Progressing")
    assert world.state(tenant) is Kstatus.IN_PROGRESS


async def test_tenant_with_another_model_endpoint_does_not_restart_its_pods(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    world.cluster.forget_writes()
    world.edit(tenant, models=[make_endpoint("other", baseURL="https://other.example:8443/v1")])
    await world.tenant()
    assert {(write.kind, write.name) for write in world.cluster.writes} == {
        ("ConfigMap", names.TENANT_CONFIG),
        ("NetworkPolicy", names.RUNTIME),
        ("Tenant", "acme"),
    }
    assert world.conditions(tenant)["Ready"] == ("True", "Serving")


# Other people's objects, refusals ----------------------------------------------------------------------------------


async def test_tenant_when_an_object_of_somebody_else_has_a_name_of_ours(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.put_namespace("acme", labels={names.TENANT_LABEL: "acme"})
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": names.RUNTIME, "namespace": "acme"}}
    theirs["metadata"]["labels"] = {names.MANAGED_BY_LABEL: names.MANAGED_BY}  # type: ignore[index]
    world.cluster.put({**theirs, "spec": {"selector": {"theirs": "yes"}}})
    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.conditions(tenant)["RuntimeReady"] == ("False", "NameTaken")
    assert world.conditions(tenant)["Stalled"] == ("True", "NameTaken")
    assert world.cluster.get(kube.SERVICES, "acme", names.RUNTIME)["spec"] == {"selector": {"theirs": "yes"}}
    assert world.cluster.list_names(kube.POD_DISRUPTION_BUDGETS, "acme") == [names.RUNTIME]


async def test_tenant_when_a_secret_of_somebody_else_has_a_name_of_ours(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.put_secret("acme", names.STORES_SECRET, "theirs", usable="false")
    outcome = await world.tenant()
    assert outcome.requeue_after_seconds is not None
    assert world.conditions(tenant)["NamespaceReady"] == ("False", "NameTaken")


@pytest.mark.parametrize(
    ("kind", "condition"),
    [("ResourceQuota", "NamespaceReady"), ("Ingress", "RuntimeReady"), ("Role", "NamespaceReady")],
)
async def test_tenant_when_the_api_server_refuses_a_child_says_which_and_writes_the_rest(
    world: World, acme: Any, kind: str, condition: str
) -> None:
    tenant = acme(quota={"pods": 1}, exposure={"host": "acme.chat.example"})
    world.cluster.failures["apply", kind] = Invalid("spec: no")
    await world.tenant()
    assert world.conditions(tenant)[condition] == ("False", "Rejected")
    assert world.conditions(tenant)["Stalled"] == ("True", "Rejected")
    assert f"{kind} " in world.message(tenant, condition)
    assert world.cluster.list_names(kube.SERVICES, "acme") == [names.RUNTIME]


async def test_tenant_when_the_api_server_refuses_a_secret_says_nothing_of_its_content(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.failures["apply", "Secret"] = Invalid(
        'data[postgresql-url]: "cG9zdGdyZXM=" is no good', reason="Invalid"
    )
    await world.tenant()
    assert "cG9zdGdyZXM" not in str(tenant["status"])
    assert "Secret 'syntera-stores': Invalid" in world.message(tenant, "RuntimeReady")
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []


async def test_tenant_without_its_walls_gets_no_pods(world: World, acme: Any) -> None:
    acme()
    world.cluster.failures["apply", "NetworkPolicy"] = Invalid("spec: no")
    await world.tenant()
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == []


async def test_tenant_whose_walls_cannot_be_written_keeps_the_pods_it_has(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    world.edit(tenant, models=[make_endpoint(baseURL="https://other.example:1/v1")])
    world.cluster.failures["apply", "NetworkPolicy"] = Invalid("spec: no")
    await world.tenant()
    assert world.cluster.list_names(kube.DEPLOYMENTS, "acme") == [names.RUNTIME]


async def test_tenant_on_a_cluster_without_gateway_api_is_told_so(world: World, acme: Any) -> None:
    tenant = acme(exposure={"host": "a.example", "gatewayRef": {"name": "g", "namespace": "g"}})
    world.cluster.failures["apply", "HTTPRoute"] = NotFound("the server could not find the requested resource")
    await world.tenant()
    assert "no Gateway API" in world.message(tenant, "RuntimeReady")


async def test_tenant_when_the_operator_has_no_rights_yet_says_so_and_tries_again(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.failures["apply", "Deployment"] = Forbidden("deployments is forbidden")
    with pytest.raises(Forbidden):
        await world.tenant()
    assert world.conditions(tenant)["RuntimeReady"] == ("False", "Rejected")
    assert world.state(tenant) is Kstatus.IN_PROGRESS


async def test_tenant_when_the_operator_may_not_bind_itself_says_so_and_tries_again(world: World, acme: Any) -> None:
    tenant = acme()
    world.cluster.failures["apply", "RoleBinding"] = Forbidden("rolebindings is forbidden")
    with pytest.raises(Forbidden):
        await world.tenant()
    assert world.conditions(tenant)["NamespaceReady"] == ("False", "Unavailable")


async def test_tenant_when_the_api_server_fails_keeps_its_conditions(world: World, acme: Any) -> None:
    tenant = acme()
    await world.settle()
    before = tenant["status"]
    world.cluster.remove(kube.SERVICES, "acme", names.RUNTIME)
    world.cluster.failures["apply", "Service"] = ServerError("try again")
    with pytest.raises(ServerError):
        await world.tenant()
    assert tenant["status"] == before


async def test_tenant_after_the_operator_was_installed_under_another_name_is_bound_anew(
    world: World, acme: Any
) -> None:
    acme()
    await world.settle()
    world.cluster.get(kube.ROLE_BINDINGS, "acme", names.OPERATOR_BINDING)["roleRef"]["name"] = "old-tenant-namespace"
    world.cluster.forget_writes()
    await world.tenant()
    assert [(write.verb, write.kind) for write in world.cluster.writes] == [
        ("delete", "RoleBinding"),
        ("apply", "RoleBinding"),
    ]
