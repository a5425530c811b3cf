"""What becomes of a KnowledgeBase: published, synced by Jobs, told as it is; with a cluster and stores in memory."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from syntera_crds.contract import names
from syntera_crds.contract.knowledge_config import KnowledgeBaseConfig
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden, Invalid, KubeError
from syntera_operator.causes import knowledge_base_key
from syntera_operator.cluster import Reference
from syntera_operator.errors import StoreUnavailable
from syntera_operator.manifest import KNOWLEDGE_BASES, Manifest
from syntera_operator.stores.knowledge_summary import FailureSummary, KnowledgeSummary, SyncSummary, VectorPlace
from tests.support.make import make_embedding, make_endpoint, make_issuer, make_knowledge_base_manifest, make_source

from .conftest import World, make_settings

REQUEST = UUID(int=7)
STARTED = datetime(2026, 1, 1, 3, tzinfo=UTC)
ENDED = datetime(2026, 1, 1, 3, 0, 12, tzinfo=UTC)


def make_sync(**fields: Any) -> SyncSummary:
    given = {"state": "complete", "trigger": "configuration", "started_at": STARTED, "ended_at": ENDED}
    return SyncSummary(**{**given, **fields})


def make_summary(**fields: Any) -> KnowledgeSummary:
    given = {"documents": 3, "indexed": 3, "chunks": 40, "active_index": 1, "last_sync": make_sync()}
    return KnowledgeSummary(**{**given, "last_ended": make_sync(), **fields})


@pytest.fixture
async def handbook(world: World, acme: Callable[..., Manifest]) -> Callable[..., Manifest]:
    """Makes the KnowledgeBase `handbook` of the Tenant `acme`, whose endpoint has an embedding model."""
    acme(models=[make_endpoint(embedding=make_embedding())])
    await world.settle()

    def make(**fields: Any) -> Manifest:
        world.cluster.put(make_knowledge_base_manifest(**fields))
        return world.the_knowledge_base()

    return make


async def settle(world: World) -> None:
    """Have the Tenant make what syncs need, then look at the KnowledgeBase."""
    await world.tenant()
    await world.knows()


def list_jobs(world: World) -> list[str]:
    return world.cluster.list_names(kube.JOBS, "acme")


async def finish_sync(world: World, *, failure: str | None = None, **summary: Any) -> None:
    """Let every Job end, and the stores tell of it."""
    for name in list_jobs(world):
        world.cluster.finish_job("acme", name, failure=failure)
    world.knowledge.summaries["handbook"] = make_summary(**summary)
    await world.knows()


def arguments_of(job: Manifest) -> list[str]:
    [container] = job["spec"]["template"]["spec"]["containers"]
    return list(container["command"])


async def test_new_knowledge_base_is_published_and_synced(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()

    await settle(world)

    published = world.cluster.get(kube.CONFIG_MAPS, "acme", "knowledge-handbook")
    config = KnowledgeBaseConfig.model_validate_json(published["data"][names.KNOWLEDGE_BASE_CONFIG_KEY])
    assert published["metadata"]["labels"][names.PUBLISHED_LABEL] == "knowledgebase"
    assert (config.revision, config.embedding.model, config.embedding.dimensions) == (1, "embed-small", 384)
    [job] = list_jobs(world)
    assert arguments_of(world.cluster.get(kube.JOBS, "acme", job))[-5:] == [
        "sync", "--trigger", "configuration", "--when-busy", "wait",
    ]  # fmt: skip
    manifest = world.the_knowledge_base()
    assert manifest["metadata"]["finalizers"] == [names.KNOWLEDGE_BASE_FINALIZER]
    conditions = world.conditions(manifest)
    assert conditions["Accepted"] == ("True", "Accepted")
    assert conditions["ResolvedRefs"] == ("True", "Resolved")
    assert conditions["Synced"] == ("False", "Syncing")
    assert conditions["Ready"] == ("False", "Syncing")
    assert conditions["Reconciling"] == ("True", "Syncing")


@pytest.mark.parametrize(("kind", "reason"), [("Job", "Rejected"), ("CronJob", "Syncing")])
async def test_what_somebody_forbids_is_told_and_tried_again(
    world: World, handbook: Callable[..., Manifest], kind: str, reason: str
) -> None:
    """A quota, or a webhook; where it is the CronJob, the first sync begins all the same."""
    handbook(schedule={"cron": "@daily"})
    await world.tenant()
    world.cluster.failures["apply", kind] = Forbidden("exceeded quota: tenant")

    outcome = await world.knows()

    assert outcome.requeue_after_seconds == 15.0
    manifest = world.the_knowledge_base()
    assert world.conditions(manifest)["Synced"] == ("False", reason)
    assert "exceeded quota" in world.message(manifest, "Synced")
    assert world.conditions(manifest)["Reconciling"] == ("True", reason)
    del world.cluster.failures["apply", kind]
    await world.knows()
    assert len(list_jobs(world)) == 1


async def test_sync_is_said_to_be_under_way_once_it_says_so_itself(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """A Job may wait for a node, an image or a quota as long as it likes."""
    handbook()
    await settle(world)
    [job] = list_jobs(world)
    assert f"Job {job!r} has not begun to work" in world.message(world.the_knowledge_base(), "Synced")

    running = make_sync(state="running", ended_at=None)
    world.knowledge.summaries["handbook"] = KnowledgeSummary(last_sync=running)
    await world.knows()

    assert "under way" in world.message(world.the_knowledge_base(), "Synced")


async def test_knowledge_base_is_ready_when_its_first_sync_has_ended(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)

    await finish_sync(world)

    manifest = world.the_knowledge_base()
    conditions = world.conditions(manifest)
    assert conditions["Synced"] == ("True", "Synced")
    assert conditions["Ready"] == ("True", "Serving")
    assert conditions["Reconciling"] == ("False", "UpToDate")
    status = manifest["status"]
    assert status["documents"] == {"total": 3, "indexed": 3, "failed": 0}
    assert (status["chunks"], status["activeIndex"], status["lastSyncDurationSeconds"]) == (40, 1, 12)
    assert status["lastSyncTime"] == "2026-01-01T03:00:12Z"
    assert world.state(manifest).name == "CURRENT"


async def test_looking_again_writes_nothing_and_begins_no_second_sync(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.cluster.forget_writes()

    outcome = await world.knows()

    assert (world.cluster.writes, outcome.requeue_after_seconds) == ([], None)


async def test_change_of_another_endpoint_publishes_and_begins_nothing(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    tenant = world.the_tenant()
    others = [make_endpoint("other", baseURL="https://other.example/v1"), make_endpoint("third")]
    world.edit(tenant, models=[*tenant["spec"]["models"], *others])
    await world.tenant()
    world.cluster.forget_writes()

    outcome = await world.knows()

    assert (world.cluster.writes, outcome.requeue_after_seconds) == ([], None)


async def test_sync_waits_for_what_the_tenant_makes_in_the_namespace(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Without their network policy pods reach nobody."""
    handbook()

    outcome = await world.knows()

    assert list_jobs(world) == []
    assert outcome.requeue_after_seconds == 1.0
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "Pending")


async def test_running_sync_is_looked_at_now_and_then(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    running = make_sync(state="running", ended_at=None, estimated_tokens=9000, added=4, unchanged=1)
    world.knowledge.summaries["handbook"] = KnowledgeSummary(building_index=1, last_sync=running)

    outcome = await world.knows()

    assert outcome.requeue_after_seconds == 30.0
    status = world.the_knowledge_base()["status"]
    assert status["rebuild"] == {"index": 1, "estimatedTokens": 9000, "documentsDone": 5}


async def test_change_of_the_sources_begins_a_sync_and_one_of_the_search_does_not(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    manifest = handbook()
    await settle(world)
    await finish_sync(world)
    before = list_jobs(world)

    world.edit(manifest, retrieval={"topK": 9})
    await world.knows()
    assert list_jobs(world) == before
    assert world.the_knowledge_base()["status"]["revision"] == 2

    world.edit(world.the_knowledge_base(), sources=[make_source("other")])
    await world.knows()
    assert len(list_jobs(world)) == 2
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "Syncing")
    assert world.conditions(world.the_knowledge_base())["Ready"] == ("True", "Serving"), "the old index serves"


async def test_going_back_and_forth_begins_a_sync_each_time(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    for number, source in enumerate(("other", "faq", "other"), start=2):
        world.edit(world.the_knowledge_base(), sources=[make_source(source)])
        await world.knows()
        assert len(list_jobs(world)) == number
        ended = make_sync(ended_at=ENDED.replace(minute=number))
        await finish_sync(world, last_sync=ended, last_ended=ended)


async def test_second_sync_waits_for_the_first(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    world.edit(world.the_knowledge_base(), sources=[make_source("other")])

    outcome = await world.knows()
    assert (len(list_jobs(world)), outcome.requeue_after_seconds) == (1, 30.0)

    await finish_sync(world)
    assert len(list_jobs(world)) == 2


async def test_token_begins_a_sync_once_and_is_echoed(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.the_knowledge_base()["metadata"]["annotations"][names.SYNC_ANNOTATION] = "now"

    await world.knows()
    assert len(list_jobs(world)) == 2
    assert world.the_knowledge_base()["status"]["syncToken"] == "now"

    await finish_sync(world)
    assert len(list_jobs(world)) == 2


async def test_request_of_the_api_begins_a_sync_and_is_told_to_the_stores(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)

    await finish_sync(world, request_id=REQUEST)

    assert len(list_jobs(world)) == 2
    assert world.knowledge.begun_requests == [REQUEST]
    await finish_sync(world)
    assert len(list_jobs(world)) == 2


async def test_sync_that_was_begun_is_not_begun_again_where_the_status_could_not_be_written(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await world.tenant()
    world.cluster.failures["status", "KnowledgeBase"] = Invalid("no")
    with pytest.raises(Invalid):
        await world.knows()
    world.cluster.failures.clear()

    await world.knows()

    assert len(list_jobs(world)) == 1


async def test_change_of_a_config_map_begins_a_sync(world: World, handbook: Callable[..., Manifest]) -> None:
    world.cluster.put_config_map("acme", "policies", baggage_md="One bag.")
    handbook(sources=[make_source(configMap={"name": "policies"})])
    await settle(world)
    await finish_sync(world)
    assert (
        Reference("ConfigMap", "acme", "policies") in world.cluster.references[knowledge_base_key("acme", "handbook")]
    )

    world.cluster.put_config_map("acme", "policies", baggage_md="Two bags.")
    await world.knows()

    assert len(list_jobs(world)) == 2


async def test_schedule_becomes_a_cron_job_and_goes_with_it(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook(schedule={"cron": "0 3 * * *", "timeZone": "Europe/Vienna"})
    await settle(world)

    spec = world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["spec"]
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("0 3 * * *", "Europe/Vienna", False)
    assert spec["concurrencyPolicy"] == "Forbid"
    assert world.the_knowledge_base()["status"]["nextSyncTime"] == "2026-01-01T02:00:00Z"

    world.edit(world.the_knowledge_base(), schedule=None)
    await world.knows()
    assert "deletionTimestamp" in world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["metadata"]
    assert "nextSyncTime" not in world.the_knowledge_base()["status"]


async def test_schedule_without_a_time_zone_goes_by_utc_and_says_so(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Else it would go by the clock of whatever machine the cluster's controllers are on."""
    handbook(schedule={"cron": "0 3 * * *"})
    await settle(world)

    assert world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["spec"]["timeZone"] == "Etc/UTC"
    assert world.the_knowledge_base()["status"]["nextSyncTime"] == "2026-01-01T03:00:00Z"


async def test_schedule_that_rests_never_comes_due(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook(schedule={"cron": "@daily", "suspend": True})
    await settle(world)

    assert world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["spec"]["suspend"] is True
    assert "nextSyncTime" not in world.the_knowledge_base()["status"]


async def test_schedule_that_the_api_server_refuses_is_told_and_the_rest_goes_on(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Such as one at minute 61, or in a time zone that the cluster does not know."""
    handbook(schedule={"cron": "61 3 * * *"})
    world.cluster.failures["apply", "CronJob"] = Invalid("spec.schedule: Invalid value")

    await settle(world)

    assert world.the_knowledge_base()["status"]["revision"] == 1
    assert len(list_jobs(world)) == 1, "the first sync needs no schedule"
    assert "spec.schedule" in world.message(world.the_knowledge_base(), "Synced")
    assert world.conditions(world.the_knowledge_base())["Stalled"] == ("True", "Rejected")

    await finish_sync(world)
    conditions = world.conditions(world.the_knowledge_base())
    assert conditions["Synced"] == ("False", "Rejected")
    assert conditions["Ready"] == ("True", "Serving"), "what was indexed is searched"
    assert "The last sync went through all sources" not in world.message(world.the_knowledge_base(), "Synced")

    world.the_knowledge_base()["metadata"]["annotations"][names.SYNC_ANNOTATION] = "now"
    await world.knows()
    assert len(list_jobs(world)) == 2, "nor does one that somebody asks for"


async def test_schedule_that_was_accepted_goes_on_while_its_edit_is_refused(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook(schedule={"cron": "0 3 * * *"})
    await settle(world)
    world.edit(world.the_knowledge_base(), schedule={"cron": "61 3 * * *"})
    world.cluster.failures["apply", "CronJob"] = Invalid("spec.schedule: Invalid value")

    await world.knows()

    assert world.the_knowledge_base()["status"]["nextSyncTime"] == "2026-01-01T03:00:00Z"


async def test_failed_sync_is_tried_once_more_with_each_new_image(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Of a release that may have mended what made it fail."""
    handbook()
    await settle(world)
    for number, image in enumerate(("ingestion:2", "ingestion:3"), start=1):
        failed = make_sync(state="failed", failure="unexpected", message="No.", ended_at=ENDED.replace(minute=number))
        for _ in range(2):
            await finish_sync(world, failure="PodFailurePolicy", last_sync=failed, last_ended=failed)
            assert len(list_jobs(world)) == number, "not again with the same image"
        world.settings = make_settings(ingestion_image=image)
        await world.knows()
        assert len(list_jobs(world)) == number + 1
        assert world.the_knowledge_base()["status"]["syncImage"] == image
        assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "Syncing")


async def test_sync_that_went_well_is_not_repeated_with_a_new_image(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.settings = make_settings(ingestion_image="ingestion:2")

    await world.knows()

    assert len(list_jobs(world)) == 1


async def test_knowledge_base_that_is_one_too_many_says_so_and_waits(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    world.knowledge.has_room_left = False
    handbook(schedule={"cron": "@daily"})
    await settle(world)

    assert list_jobs(world) == world.cluster.list_names(kube.CRON_JOBS, "acme") == []
    manifest = world.the_knowledge_base()
    assert world.conditions(manifest)["Synced"] == ("False", "TooMany")
    assert world.conditions(manifest)["Stalled"] == ("True", "TooMany")
    assert "nextSyncTime" not in manifest["status"]
    assert "TooMany" in [event.reason for event in world.cluster.events]

    world.knowledge.has_room_left = True
    await world.knows()
    assert len(list_jobs(world)) == 1
    assert world.cluster.list_names(kube.CRON_JOBS, "acme") == ["kb-handbook"]


async def test_large_index_that_could_not_be_moved_serves_and_is_told(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)

    await finish_sync(world, stuck="PostgreSQL is not available: no space left on device")

    assert world.conditions(world.the_knowledge_base())["Ready"] == ("True", "Serving")
    assert "no space left on device" in world.message(world.the_knowledge_base(), "Ready")


async def test_suspended_tenant_has_no_syncs(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook(schedule={"cron": "@daily"})
    await settle(world)
    await finish_sync(world)
    world.edit(world.the_tenant(), suspended=True)
    world.edit(world.the_knowledge_base(), sources=[make_source("other")])

    await settle(world)

    assert len(list_jobs(world)) == 1
    assert "deletionTimestamp" in world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["metadata"]
    world.cluster.remove(kube.CRON_JOBS, "acme", "kb-handbook")
    conditions = world.conditions(world.the_knowledge_base())
    assert conditions["Ready"] == ("False", "Suspended")
    assert conditions["Stalled"][0] == "False"
    assert "nextSyncTime" not in world.the_knowledge_base()["status"]

    world.edit(world.the_tenant(), suspended=False)
    await settle(world)
    assert len(list_jobs(world)) == 2
    assert world.the_knowledge_base()["status"]["nextSyncTime"] == "2026-01-02T00:00:00Z"


async def test_suspended_tenant_has_no_syncs_of_what_is_refused_either(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook(schedule={"cron": "@daily"})
    await settle(world)
    [running] = list_jobs(world)
    missing = make_source("policies", configMap={"name": "gone"})
    world.edit(world.the_knowledge_base(), sources=[missing])
    world.edit(world.the_tenant(), suspended=True)

    await settle(world)

    for resource, name in ((kube.JOBS, running), (kube.CRON_JOBS, "kb-handbook")):
        assert world.cluster.get(resource, "acme", name)["metadata"]["deletionTimestamp"]
        world.cluster.remove(resource, "acme", name)
    assert world.conditions(world.the_knowledge_base())["ResolvedRefs"] == ("False", "ConfigMapNotFound")
    assert "nextSyncTime" not in world.the_knowledge_base()["status"]

    world.edit(world.the_knowledge_base(), sources=[make_source()])
    world.edit(world.the_tenant(), suspended=False)
    await settle(world)
    assert len(list_jobs(world)) == 1
    assert world.cluster.list_names(kube.CRON_JOBS, "acme") == ["kb-handbook"]


async def test_failed_sync_stalls_and_what_was_indexed_before_serves_on(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    failed = make_sync(state="failed", failure="budget-exceeded", message="It would embed 9000 tokens.")

    await finish_sync(world, last_sync=failed, last_ended=failed)

    conditions = world.conditions(world.the_knowledge_base())
    assert conditions["Synced"] == ("False", "SyncFailed")
    assert "It would embed 9000 tokens." in world.message(world.the_knowledge_base(), "Synced")
    assert conditions["Ready"] == ("True", "Serving")
    assert conditions["Stalled"] == ("True", "SyncFailed")
    assert [event.reason for event in world.cluster.events if event.about == "handbook"][-1:] == ["Ready"]
    assert "SyncFailed" in [event.reason for event in world.cluster.events]


async def test_job_that_failed_without_a_word_is_told_too(world: World, handbook: Callable[..., Manifest]) -> None:
    """Such as one whose image cannot be pulled: no sync ever began."""
    handbook()
    await settle(world)
    for name in list_jobs(world):
        world.cluster.finish_job("acme", name, failure="DeadlineExceeded")

    await world.knows()

    conditions = world.conditions(world.the_knowledge_base())
    assert conditions["Synced"] == conditions["Ready"] == ("False", "SyncFailed")
    assert "DeadlineExceeded" in world.message(world.the_knowledge_base(), "Synced")


async def test_failures_of_documents_are_told_and_the_rest_is_counted(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    told = [FailureSummary(source="faq", document=f"/{i}.pdf", reason="NoText", message="Scan it.") for i in range(12)]
    sync = make_sync(failed=14, failures=told)

    await finish_sync(world, last_sync=sync, last_ended=sync, failed=14)

    status = world.the_knowledge_base()["status"]
    assert len(status["failures"]) == 10
    assert status["failures"][0] == {"source": "faq", "document": "/0.pdf", "reason": "NoText", "message": "Scan it."}
    assert status["moreFailures"] == 4
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("True", "Synced")


async def test_stores_that_are_away_change_nothing_but_a_condition(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.knowledge.is_away = True
    world.edit(world.the_knowledge_base(), sources=[make_source("other")])

    with pytest.raises(StoreUnavailable):
        await world.knows()

    status = world.the_knowledge_base()["status"]
    assert (status["activeIndex"], status["revision"], len(list_jobs(world))) == (1, 2, 1)
    conditions = world.conditions(world.the_knowledge_base())
    assert conditions["Synced"] == ("False", "Unavailable")
    assert conditions["Ready"] == ("True", "Serving")


@pytest.mark.parametrize(
    ("fields", "type_", "reason"),
    [
        ({"sources": []}, "Accepted", "Invalid"),
        ({"sources": [{"name": "a"}]}, "Accepted", "Invalid"),
        ({"embedding": {"endpoint": "other"}}, "ResolvedRefs", "EndpointNotFound"),
        ({"embedding": {"model": "other"}}, "ResolvedRefs", "ModelNotFound"),
        ({"retrieval": {"rerank": {"endpoint": "other", "model": "m"}}}, "ResolvedRefs", "EndpointNotFound"),
        ({"sources": [make_source(configMap={"name": "none"})]}, "ResolvedRefs", "ConfigMapNotFound"),
        (
            {"sources": [make_source(git={"url": "https://git.example/a", "credentialsSecretRef": {"name": "none"}})]},
            "ResolvedRefs",
            "SecretNotFound",
        ),
        ({"sources": [make_source(git={"url": "https://git.tools.svc/a"})]}, "ResolvedRefs", "HostNotAllowed"),
        ({"sources": [make_source(web={"urls": ["http://10.1.2.3/"]})]}, "ResolvedRefs", "HostNotAllowed"),
        ({"sources": [make_source(web={"urls": ["http://localhost/"]})]}, "Accepted", "Invalid"),
        ({"sources": [make_source(web={"sitemap": "http://169.254.169.254/"})]}, "Accepted", "Invalid"),
    ],
)
async def test_what_is_missing_or_wrong_is_told_and_nothing_new_is_published(
    fields: dict[str, Any], type_: str, reason: str, world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.edit(world.the_knowledge_base(), **fields)

    await world.knows()

    manifest = world.the_knowledge_base()
    assert world.conditions(manifest)[type_] == ("False", reason)
    assert "Revision 1 stays published." in world.message(manifest, type_)
    assert (manifest["status"]["revision"], len(list_jobs(world))) == (1, 1)
    assert manifest["status"]["activeIndex"] == 1


async def test_secret_must_be_released_for_use(world: World, handbook: Callable[..., Manifest]) -> None:
    """Or whoever may write a KnowledgeBase could send any Secret of the namespace to a server of theirs."""
    git = {"url": "https://git.example/a", "credentialsSecretRef": {"name": "private"}}
    world.cluster.put_secret("acme", "private", "username", "password", usable=None)
    handbook(sources=[make_source(git=git)])

    await settle(world)
    assert world.conditions(world.the_knowledge_base())["ResolvedRefs"] == ("False", "SecretNotUsable")

    world.edit(
        world.the_knowledge_base(),
        sources=[make_source(git=git | {"credentialsSecretRef": {"name": "syntera-stores"}})],
    )
    await world.knows()
    assert world.conditions(world.the_knowledge_base())["ResolvedRefs"] == ("False", "SecretNotUsable")


async def test_host_that_the_tenant_allows_may_be_named(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook(sources=[make_source(git={"url": "https://git.tools.svc/a"})])
    world.edit(world.the_tenant(), egress={"hosts": ["git.tools.svc"]})

    await settle(world)

    assert world.conditions(world.the_knowledge_base())["ResolvedRefs"] == ("True", "Resolved")


async def test_knowledge_base_without_a_tenant_is_told_so(world: World) -> None:
    world.cluster.put(make_knowledge_base_manifest(namespace="nobodys"))

    await world.knows(namespace="nobodys")

    manifest = world.the_knowledge_base(namespace="nobodys")
    assert world.conditions(manifest)["ResolvedRefs"] == ("False", "TenantNotFound")
    assert "move the KnowledgeBase" in world.message(manifest, "ResolvedRefs")
    assert manifest["metadata"]["finalizers"] == []


async def test_jobs_of_others_with_the_label_are_no_syncs(world: World, handbook: Callable[..., Manifest]) -> None:
    """Whoever may make a Job in the namespace may label it."""
    labels = {names.MANAGED_BY_LABEL: names.MANAGED_BY, names.KNOWLEDGE_BASE_LABEL: "handbook"}
    metadata = {"name": "forged", "namespace": "acme", "labels": labels}
    world.cluster.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}})
    handbook()

    await settle(world)

    assert len(list_jobs(world)) == 2
    assert "forged" in list_jobs(world)


async def test_job_of_the_schedule_that_runs_keeps_the_next_one_waiting_and_the_state_as_it_is(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook(schedule={"cron": "@daily"})
    await settle(world)
    await finish_sync(world)
    cron_job = world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "kb-handbook", "uid": cron_job["metadata"]["uid"]}
    labels = cron_job["spec"]["jobTemplate"]["metadata"]["labels"]
    metadata = {"name": "kb-handbook-1", "namespace": "acme", "labels": labels, "ownerReferences": [owner]}
    world.cluster.put({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}})

    outcome = await world.knows()

    assert outcome.requeue_after_seconds == 30.0
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("True", "Synced")


async def test_tenant_counts_its_knowledge_bases_and_lets_their_syncs_through(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    assert names.INGESTION not in world.cluster.list_names(kube.NETWORK_POLICIES, "acme")
    handbook(sources=[make_source(git={"url": "https://git.example:8443/a"})])

    await world.tenant()

    assert world.the_tenant()["status"]["knowledgeBases"] == 1
    policy = world.cluster.get(kube.NETWORK_POLICIES, "acme", names.INGESTION)
    ports = {port.get("port") for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {80, 443, 8443, 53, 5432}
    assert "ingress" not in policy["spec"]
    world.cluster.remove(KNOWLEDGE_BASES, "acme", "handbook")
    await world.tenant()
    assert names.INGESTION not in world.cluster.list_names(kube.NETWORK_POLICIES, "acme")
    assert names.INGESTION not in world.cluster.list_names(kube.SERVICE_ACCOUNTS, "acme")


async def test_syncs_reach_what_they_use_and_nothing_else_that_the_tenant_names(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Neither Redis, nor who signs users in, nor where webhooks may go."""
    models = [make_endpoint(baseURL="http://models.gpu.svc", embedding=make_embedding())]
    issuers = [make_issuer("https://login.example", jwksURL="http://keycloak.identity.svc")]
    egress = {"hosts": ["wiki.tools.svc", "hooks.shop.svc"], "networks": ["10.9.0.0/16"]}
    world.edit(world.the_tenant(), models=models, auth={"issuers": issuers}, egress=egress)
    handbook(sources=[make_source(web={"urls": ["http://wiki.tools.svc/"]})])

    await world.tenant()

    spec = world.cluster.get(kube.NETWORK_POLICIES, "acme", names.INGESTION)["spec"]
    peers = [peer for rule in spec["egress"] for peer in rule["to"]]
    spaces = {
        peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name")
        for peer in peers
        if "namespaceSelector" in peer
    }
    assert {"gpu", "tools"} <= spaces
    assert spaces.isdisjoint({"identity", "shop"})
    assert {"ipBlock": {"cidr": "10.9.0.0/16"}} in peers
    assert 6379 not in {port.get("port") for rule in spec["egress"] for port in rule["ports"]}


async def test_sync_reads_the_bucket_of_uploads(world: World, handbook: Callable[..., Manifest]) -> None:
    s3 = {"endpointURL": "https://s3.example", "bucket": "files", "credentialsSecretRef": {"name": "bucket"}}
    world.cluster.put_secret("acme", "bucket", "access-key-id", "secret-access-key")
    world.edit(world.the_tenant(), files={"s3": s3})
    handbook(sources=[make_source(upload={})])

    await settle(world)

    [job] = list_jobs(world)
    volumes = world.cluster.get(kube.JOBS, "acme", job)["spec"]["template"]["spec"]["volumes"]
    [secrets] = [volume["projected"] for volume in volumes if volume["name"] == "secrets"]
    assert [source["secret"]["name"] for source in secrets["sources"]] == ["bucket"]


async def test_summary_of_another_time_is_replaced_whole(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    world.knowledge.summaries["handbook"] = replace(make_summary(), active_index=None, chunks=0, documents=0, indexed=0)

    await world.knows()

    assert "activeIndex" not in world.the_knowledge_base()["status"]
    assert world.conditions(world.the_knowledge_base())["Ready"] == ("False", "Empty")


async def test_sync_that_runs_when_its_tenant_is_suspended_ends_and_is_begun_again(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    [running] = list_jobs(world)
    world.edit(world.the_tenant(), suspended=True)

    await settle(world)
    assert world.cluster.get(kube.JOBS, "acme", running)["metadata"]["deletionTimestamp"]
    world.cluster.remove(kube.JOBS, "acme", running)
    await world.knows()
    assert list_jobs(world) == []
    assert world.conditions(world.the_knowledge_base())["Ready"] == ("False", "Suspended")

    world.edit(world.the_tenant(), suspended=False)
    await settle(world)
    assert len(list_jobs(world)) == 1


async def test_sync_that_a_suspension_ended_is_begun_again_although_the_first_report_of_it_was_lost(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    handbook()
    await settle(world)
    [running] = list_jobs(world)
    world.knowledge.summaries["handbook"] = KnowledgeSummary(last_sync=make_sync(state="running"))
    world.edit(world.the_tenant(), suspended=True)
    world.cluster.failures["status", "KnowledgeBase"] = KubeError("timeout")
    with pytest.raises(KubeError):
        await world.knows()
    del world.cluster.failures["status", "KnowledgeBase"]

    await world.knows()
    world.cluster.remove(kube.JOBS, "acme", running)
    world.edit(world.the_tenant(), suspended=False)
    await settle(world)

    assert len(list_jobs(world)) == 1


@pytest.mark.parametrize("was_synced", [False, True])
async def test_sync_that_failed_before_it_began_is_tried_again_when_its_job_is_gone(
    world: World, handbook: Callable[..., Manifest], was_synced: bool
) -> None:
    """Nobody else tells of it: the stores would have the knowledge base in step."""
    handbook()
    await settle(world)
    if was_synced:
        await finish_sync(world)
        world.cluster.remove(kube.JOBS, "acme", list_jobs(world)[0])
        world.edit(world.the_knowledge_base(), sources=[make_source("other")])
        await settle(world)
    [job] = list_jobs(world)
    made = "2026-01-01T05:00:00Z"
    world.cluster.get(kube.JOBS, "acme", job)["metadata"]["creationTimestamp"] = made
    world.cluster.finish_job("acme", job, failure="DeadlineExceeded")
    for _ in range(2):
        await world.knows()
        assert list_jobs(world) == [job]
        assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "SyncFailed")

    world.cluster.remove(kube.JOBS, "acme", job)
    await world.knows()

    assert len(list_jobs(world)) == 1
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "Syncing")


async def test_sync_is_begun_again_where_the_stores_know_of_none(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Somebody deleted the Job, or what the stores held is lost."""
    handbook()
    await settle(world)
    await finish_sync(world)
    world.cluster.remove(kube.JOBS, "acme", list_jobs(world)[0])
    del world.knowledge.summaries["handbook"]

    await world.knows()

    assert len(list_jobs(world)) == 1


async def test_sync_that_somebody_cut_off_is_told(world: World, handbook: Callable[..., Manifest]) -> None:
    handbook()
    await settle(world)
    await finish_sync(world)
    for name in list_jobs(world):
        world.cluster.remove(kube.JOBS, "acme", name)
    running = make_sync(state="running", ended_at=None)
    world.knowledge.summaries["handbook"] = make_summary(last_sync=running)

    await world.knows()

    assert world.conditions(world.the_knowledge_base())["Synced"] == ("False", "SyncFailed")
    assert "ended before" in world.message(world.the_knowledge_base(), "Synced")


async def test_vectors_that_no_sync_could_erase_are_told_until_somebody_leaves_them(
    world: World, handbook: Callable[..., Manifest]
) -> None:
    """Beside the last sync's success: it is no fault of the sources."""
    manifest = handbook()
    await settle(world)
    places = [VectorPlace(host=f"https://{name}.example", namespace=f"acme-id.handbook-id.{name}") for name in "ab"]

    await finish_sync(world, left=tuple(places))

    synced = world.message(world.the_knowledge_base(), "Synced")
    assert world.conditions(world.the_knowledge_base())["Synced"] == ("True", "Synced")
    assert "acme-id.handbook-id.a at https://a.example, acme-id.handbook-id.b at https://b.example" in synced
    assert names.ABANDON_VECTORS_ANNOTATION in synced

    manifest["metadata"]["annotations"][names.ABANDON_VECTORS_ANNOTATION] = "https://a.example"
    await world.knows()
    await world.knows()

    [told] = [event for event in world.cluster.events if event.reason == "VectorsLeft"]
    assert (told.type, "https://a.example" in told.message) == ("Warning", True)
    assert "https://b.example" not in told.message
    synced = world.message(world.the_knowledge_base(), "Synced")
    assert "https://a.example" not in synced
    assert "https://b.example" in synced
