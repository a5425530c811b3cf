"""KnowledgeBases against a real API server with its controllers: what is made is taken, stays as it is, and ends in order.

No kubelet runs; how a pod ended is written here in its stead.
"""

from datetime import timedelta
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_kube import resources as kube
from syntera_operator.desired.sync_job import cron_job_name
from syntera_operator.manifest import KNOWLEDGE_BASES, TENANTS, Manifest, name_of
from syntera_operator.reconcile import knowledge_deletion
from syntera_operator.reconcile.knowledge_base import reconcile_knowledge_base
from syntera_operator.reconcile.knowledge_jobs import is_complete
from syntera_operator.reconcile.tenant import reconcile_tenant
from syntera_operator.stores.knowledge_summary import KnowledgeSummary, VectorPlace
from tests.support.apiserver import unique_name
from tests.support.make import (
    make_embedding,
    make_endpoint,
    make_knowledge_base_manifest,
    make_source,
    make_tenant_manifest,
)

from .test_on_api_server import Api, running_api, until

pytestmark = pytest.mark.api

KNOWLEDGE = "handbook"
EVERYTHING: dict[str, Any] = {
    "sources": [
        make_source("faq"),
        make_source("policies", configMap={"name": "policies"}),
        make_source("docs", git={"url": "https://git.example/a", "credentialsSecretRef": {"name": "git"}}),
        make_source("uploads", upload={}),
    ],
    "schedule": {"cron": "0 3 * * *", "timeZone": "Europe/Vienna"},
}


@pytest.fixture
async def name(api: Api) -> str:
    """A Tenant and its namespace, with a KnowledgeBase that was looked at."""
    name = unique_name("acme")
    quota = {"limits.cpu": 4, "limits.memory": "4Gi", "limits.ephemeral-storage": "20Gi", "pods": 5}
    api.put(make_tenant_manifest(name, models=[make_endpoint(embedding=make_embedding())], quota=quota))
    await reconcile_tenant(name, api.context)
    labels = {names.USABLE_LABEL: "true"}
    data = {"username": "a", "password": "b"}
    api.server.send(
        "POST", kube.SECRETS.path(namespace=name), {"metadata": {"name": "git", "labels": labels}, "stringData": data}
    )
    api.server.send(
        "POST", kube.CONFIG_MAPS.path(namespace=name), {"metadata": {"name": "policies"}, "data": {"a.md": "A"}}
    )
    await until(lambda: api.cluster.config_map_version(name, "policies"))
    api.put(make_knowledge_base_manifest(KNOWLEDGE, namespace=name, **EVERYTHING))
    await reconcile_tenant(name, api.context)
    await look(api, name)
    return name


@pytest.fixture
async def api(api_server: Any) -> Any:
    async with running_api(api_server) as running:
        yield running


@pytest.fixture(autouse=True)
def without_runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody serves what is withdrawn a moment longer."""
    monkeypatch.setattr(knowledge_deletion, "_SERVED_ON", timedelta(0))


async def look(api: Api, name: str) -> None:
    """Have the operator look, after it heard of what is there."""
    live = api.get(KNOWLEDGE_BASES, name, KNOWLEDGE)
    api.cluster.observe(KNOWLEDGE_BASES, live, deleted=False)
    await reconcile_knowledge_base(name, KNOWLEDGE, api.context)


def jobs(api: Api, name: str) -> list[Manifest]:
    return list(api.server.send("GET", kube.JOBS.path(namespace=name))["items"])


async def finish(api: Api, name: str) -> None:
    """Do what a kubelet would: end the pods of the namespace's Jobs."""

    def pods() -> list[Manifest]:
        query = {"labelSelector": f"{names.NAME_LABEL}={names.INGESTION}"}
        return list(api.server.send("GET", kube.PODS.path(namespace=name), query=query)["items"])

    await until(pods)
    for pod in pods():
        path = kube.PODS.path(namespace=name, name=name_of(pod), subresource="status")
        api.server.send("PATCH", path, {"status": {"phase": "Succeeded"}}, content_type="application/merge-patch+json")
    await until(lambda: all(map(is_complete, api.cluster.jobs(name))) and api.cluster.jobs(name))


async def test_what_is_made_is_taken_and_written_only_once(api: Api, name: str) -> None:
    [job] = jobs(api, name)
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    assert api.get(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE))["spec"]["timeZone"] == "Europe/Vienna"
    assert api.get(KNOWLEDGE_BASES, name, KNOWLEDGE)["metadata"]["finalizers"] == [names.KNOWLEDGE_BASE_FINALIZER]
    await look(api, name)
    written = len(api.writes)

    await look(api, name)
    await reconcile_tenant(name, api.context)

    assert len(api.writes) == written
    async with running_api(api.server) as restarted:
        restarted.stores, restarted.knowledge = api.stores, api.knowledge
        await reconcile_knowledge_base(name, KNOWLEDGE, restarted.context)
        assert restarted.writes == []


async def test_sync_that_ended_is_seen_and_not_begun_again(api: Api, name: str) -> None:
    await finish(api, name)
    api.knowledge.summaries[KNOWLEDGE] = KnowledgeSummary(documents=1, indexed=1, chunks=2, active_index=1)

    await look(api, name)

    assert len(jobs(api, name)) == 1
    assert api.get(KNOWLEDGE_BASES, name, KNOWLEDGE)["status"]["activeIndex"] == 1


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({"cron": "61 3 * * *"}, "spec.schedule"),
        ({"cron": "0 3 * * *", "timeZone": "Mars/Olympus_Mons"}, "spec.timeZone"),
        ({"cron": "@daily"}, None),
    ],
)
async def test_schedule_that_is_refused_is_told_by_its_field_and_the_first_sync_begins(
    api: Api, name: str, schedule: dict[str, str], field: str | None
) -> None:
    api.put(make_knowledge_base_manifest("other", namespace=name, schedule=schedule))
    api.cluster.observe(KNOWLEDGE_BASES, api.get(KNOWLEDGE_BASES, name, "other"), deleted=False)

    await reconcile_knowledge_base(name, "other", api.context)

    status = api.get(KNOWLEDGE_BASES, name, "other")["status"]
    [synced] = [one for one in status["conditions"] if one["type"] == "Synced"]
    assert (field is None) or field in synced["message"]
    assert synced["reason"] == ("Syncing" if field is None else "Rejected")
    assert api.exists(kube.CRON_JOBS, name, cron_job_name("other")) == ("nextSyncTime" in status) == (field is None)
    assert len(jobs(api, name)) == 2


async def test_schedule_rests_with_its_tenant_and_goes_on_with_it(api: Api, name: str) -> None:
    path = TENANTS.path(name=name)
    for suspended in (True, False):
        spec = {"spec": {"suspended": suspended}}
        api.server.send("PATCH", path, spec, content_type="application/merge-patch+json")
        api.cluster.observe(TENANTS, api.get(TENANTS, None, name), deleted=False)
        await look(api, name)
        if suspended:
            await until(lambda: not api.cluster.child(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE)))
            await until(lambda: not api.cluster.jobs(name))

    assert api.exists(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE))
    assert len(jobs(api, name)) == 1


async def test_pods_of_syncs_are_made_in_a_namespace_with_a_quota(api: Api, name: str) -> None:
    """The Job's controller tells of a pod that admission refuses; here it makes it."""
    await until(lambda: (api.cluster.jobs(name)[0].get("status") or {}).get("active") == 1)


async def test_end_comes_in_order(api: Api, name: str) -> None:
    """The running sync and the schedule first, then the erasure, then the object and what it owns."""
    path = KNOWLEDGE_BASES.path(namespace=name, name=KNOWLEDGE)
    api.server.send("DELETE", path)
    await look(api, name)
    assert "being ended" in ready_message(api, name)

    await until(
        lambda: not api.cluster.jobs(name) and not api.cluster.child(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE))
    )
    await look(api, name)
    [erasure] = jobs(api, name)
    assert erasure["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "erase"
    await until(lambda: api.cluster.jobs(name))
    await look(api, name)

    await finish(api, name)
    await look(api, name)
    assert not api.exists(KNOWLEDGE_BASES, name, KNOWLEDGE)
    assert not api.exists(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}")


async def test_end_in_the_foreground_does_not_take_the_erasure_along(api: Api, name: str) -> None:
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
    api.server.send("DELETE", KNOWLEDGE_BASES.path(namespace=name, name=KNOWLEDGE), body)
    await look(api, name)
    await until(
        lambda: not api.cluster.jobs(name) and not api.cluster.child(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE))
    )
    # What the KnowledgeBase owns goes with it: the erasure has to do without.
    await until(lambda: not api.exists(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}"))
    await look(api, name)
    await finish(api, name)
    assert api.exists(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}")
    await look(api, name)

    await until(lambda: not api.exists(KNOWLEDGE_BASES, name, KNOWLEDGE))
    assert not api.exists(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}")


async def test_vectors_elsewhere_hold_the_object_until_they_can_be_erased(api: Api, name: str) -> None:
    """The Tenant names Pinecone no more; the index that was replaced has its vectors there still."""
    place = VectorPlace(host="https://docs.example", namespace=f"{name}.handbook.1")
    api.knowledge.vectors[KNOWLEDGE] = [place]
    await end_syncs(api, name)
    assert f"({place.namespace} at {place.host}) are out of reach" in ready_message(api, name)
    assert jobs(api, name) == []

    pinecone = {"indexHost": "https://other.example", "apiKeySecretRef": {"name": "pinecone", "key": "key"}}
    tenant = make_tenant_manifest(
        name, models=[make_endpoint(embedding=make_embedding())], stores={"vectors": {"pinecone": pinecone}}
    )
    api.put(tenant)
    await look(api, name)

    [erasure] = jobs(api, name)
    volumes = erasure["spec"]["template"]["spec"]["volumes"]
    assert [volume["projected"]["sources"] for volume in volumes if volume["name"] == "secrets"] == [
        [{"secret": {"name": "pinecone", "optional": True, "items": [{"key": "key", "path": "pinecone/key"}]}}]
    ]
    published = api.get(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}")["data"][names.KNOWLEDGE_BASE_CONFIG_KEY]
    config = KnowledgeBaseConfig.model_validate_json(published)
    assert config.pinecone is not None
    assert config.pinecone.index_host == "https://other.example"

    await until(lambda: api.cluster.jobs(name))
    api.knowledge.vectors.clear()
    await finish(api, name)
    await look(api, name)
    assert not api.exists(KNOWLEDGE_BASES, name, KNOWLEDGE)
    assert not api.exists(kube.CONFIG_MAPS, name, f"knowledge-{KNOWLEDGE}")


async def test_vectors_elsewhere_that_are_given_up_are_named_in_an_event(api: Api, name: str) -> None:
    place = VectorPlace(host="https://docs.example", namespace=f"{name}.handbook.1")
    api.knowledge.vectors[KNOWLEDGE] = [place]
    await end_syncs(api, name)
    annotations = {names.ABANDON_KNOWLEDGE_ANNOTATION: "true"}
    path = KNOWLEDGE_BASES.path(namespace=name, name=KNOWLEDGE)
    patch = {"metadata": {"annotations": annotations}}
    api.server.send("PATCH", path, patch, content_type="application/merge-patch+json")

    await look(api, name)

    assert not api.exists(KNOWLEDGE_BASES, name, KNOWLEDGE)
    events = api.server.send("GET", kube.EVENTS.path(namespace=name))["items"]
    [told] = [one for one in events if one["reason"] == "KnowledgeAbandoned"]
    assert f"{place.namespace} at {place.host}" in told["note"]


async def end_syncs(api: Api, name: str) -> None:
    """Delete the KnowledgeBase, and let its syncs end."""
    api.server.send("DELETE", KNOWLEDGE_BASES.path(namespace=name, name=KNOWLEDGE))
    await look(api, name)
    await until(
        lambda: not api.cluster.jobs(name) and not api.cluster.child(kube.CRON_JOBS, name, cron_job_name(KNOWLEDGE))
    )
    await look(api, name)


def ready_message(api: Api, name: str) -> str:
    conditions = api.get(KNOWLEDGE_BASES, name, KNOWLEDGE)["status"]["conditions"]
    return next(str(one["message"]) for one in conditions if one["type"] == "Ready")
