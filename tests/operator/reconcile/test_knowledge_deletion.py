"""The end of a KnowledgeBase: syncs first, then what the stores hold of it, then the object; and of its Tenant."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from syntera_crds.contract import names
from syntera_kube import resources as kube
from syntera_kube.errors import Forbidden
from syntera_operator.desired.sync_job import erase_job_name
from syntera_operator.errors import StoreUnavailable
from syntera_operator.manifest import KNOWLEDGE_BASES, TENANTS, Manifest, name_of
from syntera_operator.stores.knowledge_summary import KnowledgeSummary, VectorPlace
from tests.support.make import make_embedding, make_endpoint, make_knowledge_base_manifest

from .conftest import World

DELETED = "2026-01-02T00:00:00Z"
ERASE = erase_job_name("handbook", "uid-handbook")
PINECONE = {
    "vectors": {"pinecone": {"indexHost": "https://docs.example", "apiKeySecretRef": {"name": "p", "key": "k"}}}
}
UID = "01234567-0123-0123-0123-012345678901"
PLACE = VectorPlace(host="https://docs.example", namespace="acme-id.handbook-id.1")
TOLD = f"{PLACE.namespace} at {PLACE.host}"
POD_FAILED = "Container ingestion for pod acme/kb-erase-handbook-0123456789-abcde failed with exit code 2 matching FailJob rule at index 0"
"""As the Job's controller tells it."""


@pytest.fixture
async def handbook(world: World, acme: Callable[..., Manifest]) -> Manifest:
    """The KnowledgeBase `handbook`, whose first sync runs, and which has a schedule."""
    acme(models=[make_endpoint(embedding=make_embedding())], finalizers=(names.TENANT_FINALIZER,))
    await world.settle()
    world.cluster.put(make_knowledge_base_manifest(schedule={"cron": "@daily"}))
    await world.tenant()
    await world.knows()
    world.knowledge.summaries["handbook"] = KnowledgeSummary(active_index=1)
    return world.the_knowledge_base()


def delete(manifest: Manifest) -> None:
    manifest["metadata"]["deletionTimestamp"] = DELETED


def end_deleted(world: World) -> None:
    """Do what the garbage collector would: what goes when all that it owns is gone goes."""
    for resource in (kube.JOBS, kube.CRON_JOBS):
        for name in world.cluster.list_names(resource, "acme"):
            if "deletionTimestamp" in world.cluster.get(resource, "acme", name)["metadata"]:
                world.cluster.remove(resource, "acme", name)


def pass_on(world: World) -> None:
    """Let so much time pass that no runtime serves any more what was withdrawn."""
    world.time += timedelta(seconds=10)


def exists(world: World) -> bool:
    return "handbook" in world.cluster.list_names(KNOWLEDGE_BASES, "acme")


def list_jobs(world: World) -> list[str]:
    return world.cluster.list_names(kube.JOBS, "acme")


async def test_running_sync_ends_before_anything_is_erased(world: World, handbook: Manifest) -> None:
    [sync] = list_jobs(world)
    delete(handbook)

    outcome = await world.knows()

    assert outcome.requeue_after_seconds == 2.0
    assert list_jobs(world) == [sync]
    assert world.cluster.get(kube.JOBS, "acme", sync)["metadata"]["deletionTimestamp"]
    assert world.cluster.get(kube.CRON_JOBS, "acme", "kb-handbook")["metadata"]["deletionTimestamp"]
    manifest = world.the_knowledge_base()
    assert world.conditions(manifest)["Ready"] == ("False", "Deleting")
    assert "Jobs are being ended" in world.message(manifest, "Ready")
    assert names.ABANDON_KNOWLEDGE_ANNOTATION in world.message(manifest, "Ready")

    end_deleted(world)
    await world.knows()
    assert list_jobs(world) == [ERASE]


async def test_object_goes_when_the_erasure_has_ended(world: World, handbook: Manifest) -> None:
    delete(handbook)
    await world.knows()
    end_deleted(world)
    await world.knows()
    assert exists(world)
    job = world.cluster.get(kube.JOBS, "acme", ERASE)
    assert job["spec"]["template"]["spec"]["containers"][0]["command"][-1] == "erase"
    assert "ownerReferences" not in job["metadata"], "an owner that is deleted in the foreground would take it along"

    await world.knows()
    assert exists(world)
    world.cluster.finish_job("acme", ERASE)
    pass_on(world)
    await world.knows()

    assert not exists(world)


async def test_what_is_asked_for_until_the_last_moment_goes_too(world: World, handbook: Manifest) -> None:
    """Runtimes serve a moment longer what is published no more, and make rows anew of what somebody uploads or asks for."""
    end_syncs(world)
    delete(handbook)
    await world.knows()
    labels = world.cluster.get(kube.CONFIG_MAPS, "acme", "knowledge-handbook")["metadata"]["labels"]
    assert labels[names.PUBLISHED_LABEL] == "withdrawn", "runtimes are told as soon as the erasure begins"
    world.cluster.finish_job("acme", ERASE)
    world.cluster.get(kube.JOBS, "acme", ERASE)["metadata"]["creationTimestamp"] = world.time.isoformat()

    outcome = await world.knows()

    assert exists(world)
    assert outcome.requeue_after_seconds == 2.0
    assert world.knowledge.forgotten == []
    assert "about to serve it no more" in world.message(world.the_knowledge_base(), "Ready")

    pass_on(world)
    await world.knows()
    assert world.knowledge.forgotten == ["handbook"]
    assert not exists(world)


async def test_erasure_does_without_what_the_garbage_collector_took(world: World, handbook: Manifest) -> None:
    """As a deletion in the foreground has it."""
    end_syncs(world)
    world.cluster.remove(kube.CONFIG_MAPS, "acme", "knowledge-handbook")
    delete(handbook)

    await world.knows()
    assert list_jobs(world) == [ERASE]
    assert "ownerReferences" not in world.cluster.get(kube.CONFIG_MAPS, "acme", "knowledge-handbook")["metadata"]
    world.cluster.finish_job("acme", ERASE)
    pass_on(world)
    await world.knows()

    assert not exists(world)
    assert "knowledge-handbook" not in world.cluster.list_names(kube.CONFIG_MAPS, "acme")


async def test_erasure_that_failed_is_told_and_tried_again(world: World, handbook: Manifest) -> None:
    delete(handbook)
    await world.knows()
    end_deleted(world)
    await world.knows()
    world.cluster.finish_job("acme", ERASE, failure="BackoffLimitExceeded", at="2025-12-31T00:00:00Z")

    await world.knows()

    assert ERASE in world.message(world.the_knowledge_base(), "Ready")
    assert list_jobs(world) == []
    await world.knows()
    assert list_jobs(world) == [ERASE]


async def test_erasure_that_failed_just_now_rests_before_the_next(world: World, handbook: Manifest) -> None:
    delete(handbook)
    await world.knows()
    end_deleted(world)
    await world.knows()
    now = world.time.isoformat().replace("+00:00", "Z")
    world.cluster.finish_job("acme", ERASE, failure="BackoffLimitExceeded", at=now)

    await world.knows()

    assert list_jobs(world) == [ERASE]


async def test_administrator_may_give_up_what_cannot_be_erased(world: World, handbook: Manifest) -> None:
    delete(handbook)
    await world.knows()
    end_deleted(world)
    await world.knows()
    world.cluster.finish_job("acme", ERASE, failure="BackoffLimitExceeded", at="2025-12-31T00:00:00Z")
    world.the_knowledge_base()["metadata"]["annotations"][names.ABANDON_KNOWLEDGE_ANNOTATION] = "true"

    await world.knows()

    assert not exists(world)
    assert ("Warning", "KnowledgeAbandoned") in [(event.type, event.reason) for event in world.cluster.events]


async def test_knowledge_base_that_was_never_published_is_forgotten(
    world: World, acme: Callable[..., Manifest]
) -> None:
    acme()
    await world.settle()
    world.cluster.put(make_knowledge_base_manifest(finalizers=(names.KNOWLEDGE_BASE_FINALIZER,), deleted=DELETED))

    await world.knows()

    assert not exists(world)
    assert world.knowledge.forgotten == ["handbook"]


async def test_vectors_of_an_object_of_the_same_name_before_are_erased(
    world: World, acme: Callable[..., Manifest]
) -> None:
    """A Tenant that was kept and made again finds what it had, though its new KnowledgeBase was never published."""
    acme(models=[make_endpoint(embedding=make_embedding())], stores=PINECONE)
    world.cluster.put_secret("acme", "p", "k")
    await world.settle()
    world.knowledge.vectors["handbook"] = [PLACE]
    world.cluster.put(make_knowledge_base_manifest(finalizers=(names.KNOWLEDGE_BASE_FINALIZER,), deleted=DELETED))

    await world.knows()

    assert (exists(world), world.knowledge.forgotten, list_jobs(world)) == (True, [], [ERASE])


async def test_nothing_is_done_where_the_finalizer_is_gone(world: World, handbook: Manifest) -> None:
    delete(handbook)
    handbook["metadata"]["finalizers"] = ["somebody.example/else"]
    world.cluster.forget_writes()

    await world.knows()

    assert world.cluster.writes == []


async def test_rows_go_by_the_operators_hand_where_the_tenant_is_gone(world: World, handbook: Manifest) -> None:
    end_syncs(world)
    world.cluster.remove(TENANTS, None, "acme")
    delete(handbook)

    await world.knows()

    assert not exists(world)
    assert world.knowledge.forgotten == ["handbook"]
    assert list_jobs(world) == []


async def test_namespace_labelled_with_anothers_tenant_reaches_none_of_its_rows(
    world: World, handbook: Manifest
) -> None:
    """Whoever may label a namespace would erase what they like."""
    label_namespace(world, "foreign")
    world.cluster.put(
        make_knowledge_base_manifest(
            namespace="foreign", finalizers=(names.KNOWLEDGE_BASE_FINALIZER,), deleted=DELETED, uid="uid-foreign"
        )
    )

    await world.knows(namespace="foreign")

    assert world.cluster.list_names(KNOWLEDGE_BASES, "foreign") == []
    assert (exists(world), world.knowledge.forgotten) == (True, [])


async def test_namespace_labelled_with_a_tenant_that_is_gone_reaches_none_of_its_rows(
    world: World, handbook: Manifest
) -> None:
    """Where nothing was ever published, nothing is this KnowledgeBase's."""
    world.cluster.remove(TENANTS, None, "acme")
    label_namespace(world, "foreign")
    world.cluster.put(
        make_knowledge_base_manifest(
            namespace="foreign", finalizers=(names.KNOWLEDGE_BASE_FINALIZER,), deleted=DELETED, uid="uid-foreign"
        )
    )

    await world.knows(namespace="foreign")

    assert world.cluster.list_names(KNOWLEDGE_BASES, "foreign") == []
    assert world.knowledge.forgotten == []


async def test_vectors_elsewhere_that_no_job_can_reach_are_told(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.cluster.remove(TENANTS, None, "acme")
    delete(handbook)

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (False, ["handbook"])
    assert told_left(world) == [("Warning", True)]


async def test_vectors_that_are_elsewhere_still_are_told_whatever_the_tenant_names_by_now(
    world: World, handbook: Manifest
) -> None:
    """The index that was replaced is kept for a day, where it is."""
    await use_pinecone(world)
    await use_postgresql(world)
    delete(world.cluster.get(kube.NAMESPACES, None, "acme"))
    delete(handbook)

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (False, ["handbook"])
    assert told_left(world) == [("Warning", True)]


async def test_vectors_elsewhere_without_a_key_wait_for_one(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    await use_postgresql(world)
    delete(handbook)

    await world.knows()

    assert (exists(world), list_jobs(world)) == (True, [])
    message = world.message(world.the_knowledge_base(), "Ready")
    assert f"({TOLD}) are out of reach: the Tenant's stores.vectors.pinecone names no key" in message
    assert f"kubectl annotate kb handbook -n acme {names.ABANDON_KNOWLEDGE_ANNOTATION}=true" in message

    world.edit(world.the_tenant(), stores=PINECONE)
    await world.knows()
    assert list_jobs(world) == [ERASE]
    assert mounted_secrets(world) == ["p"]


async def test_vectors_elsewhere_of_a_suspended_tenant_are_not_forgotten_for_its_new_ones(
    world: World, handbook: Manifest
) -> None:
    await use_pinecone(world)
    await use_postgresql(world)
    world.edit(world.the_tenant(), suspended=True)
    delete(handbook)

    await world.knows()

    assert (exists(world), world.knowledge.forgotten, list_jobs(world)) == (True, [], [])
    assert TOLD in world.message(world.the_knowledge_base(), "Ready")


async def test_vectors_elsewhere_of_a_knowledge_base_that_is_not_sound_wait(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.cluster.remove(kube.CONFIG_MAPS, "acme", "knowledge-handbook")
    sound = handbook["spec"]
    handbook["spec"] = {"sources": "none"}
    delete(handbook)

    await world.knows()
    assert (exists(world), world.knowledge.forgotten) == (True, [])
    message = world.message(world.the_knowledge_base(), "Ready")
    assert TOLD in message
    assert "spec.sources" in message

    world.the_knowledge_base()["spec"] = sound
    await world.knows()
    assert list_jobs(world) == [ERASE]


async def test_vectors_elsewhere_wait_for_what_is_missing_and_name_it(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.cluster.remove(kube.CONFIG_MAPS, "acme", "knowledge-handbook")
    world.cluster.remove(kube.SECRETS, "acme", "p")
    delete(handbook)

    await world.knows()

    assert (exists(world), list_jobs(world)) == (True, [])
    message = world.message(world.the_knowledge_base(), "Ready")
    assert TOLD in message
    assert "Secret 'p'" in message


async def test_erasure_that_does_not_reach_vectors_names_them(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    delete(handbook)
    await world.knows()
    world.cluster.finish_job("acme", ERASE, failure="BackoffLimitExceeded", at="2025-12-31T00:00:00Z")

    await world.knows()

    message = world.message(world.the_knowledge_base(), "Ready")
    assert TOLD in message
    assert "refuses the key" in message

    world.the_knowledge_base()["metadata"]["annotations"][names.ABANDON_KNOWLEDGE_ANNOTATION] = "true"
    await world.knows()
    [told] = [event for event in world.cluster.events if event.reason == "KnowledgeAbandoned"]
    assert not exists(world)
    assert told.type == "Warning"


async def test_given_up_vectors_are_named(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    await use_postgresql(world)
    handbook["metadata"]["annotations"][names.ABANDON_KNOWLEDGE_ANNOTATION] = "true"
    delete(handbook)

    await world.knows()

    [told] = [event for event in world.cluster.events if event.reason == "KnowledgeAbandoned"]
    assert (exists(world), TOLD in told.message) == (False, True)


@pytest.mark.parametrize("is_suspended", [True, False], ids=["suspended", "failed"])
async def test_many_places_are_named_in_a_message_that_has_room_for_them(
    world: World, handbook: Manifest, is_suspended: bool
) -> None:
    await use_pinecone(world)
    world.knowledge.vectors["handbook"] = [
        VectorPlace(host="https://" + "x" * 1000, namespace=f"{UID}.{UID}.{number}") for number in range(9)
    ]
    world.edit(world.the_tenant(), suspended=is_suspended)
    delete(handbook)
    await world.knows()
    if not is_suspended:
        world.cluster.finish_job("acme", ERASE, failure="PodFailurePolicy", message=POD_FAILED)
        await world.knows()

    message = world.message(world.the_knowledge_base(), "Ready")
    assert f"{UID}.{UID}.0" in message
    assert " more that begin with" in message
    assert message.endswith(f"{names.ABANDON_KNOWLEDGE_ANNOTATION}=true")


async def test_erasure_that_ended_counts_although_the_tenant_was_suspended_meanwhile(
    world: World, handbook: Manifest
) -> None:
    await use_pinecone(world)
    delete(handbook)
    await world.knows()
    world.edit(world.the_tenant(), suspended=True)
    finish_erasure(world)

    await world.knows()

    assert not exists(world)
    assert "knowledge-handbook" not in world.cluster.list_names(kube.CONFIG_MAPS, "acme")
    assert told_left(world) == []


async def test_job_that_somebody_forbids_is_waited_for(world: World, handbook: Manifest) -> None:
    """A quota or a webhook may let it through later; only where the namespace goes nothing will."""
    end_syncs(world)
    delete(handbook)
    world.cluster.failures["apply", "Job"] = Forbidden("exceeded quota: count/jobs.batch")

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (True, [])
    assert "exceeded quota" in world.message(world.the_knowledge_base(), "Ready")


async def test_rows_go_by_the_operators_hand_where_the_namespace_goes(world: World, handbook: Manifest) -> None:
    end_syncs(world)
    delete(world.cluster.get(kube.NAMESPACES, None, "acme"))
    delete(handbook)

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (False, ["handbook"])


async def test_rows_go_by_the_operators_hand_where_no_job_may_be_made(world: World, handbook: Manifest) -> None:
    """The namespace goes, and nobody has told yet."""
    end_syncs(world)
    delete(handbook)
    world.cluster.failures["apply", "Job"] = Forbidden("namespace acme is being terminated")

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (False, ["handbook"])


async def test_rows_go_by_the_operators_hand_where_the_tenant_is_suspended(world: World, handbook: Manifest) -> None:
    end_syncs(world)
    world.edit(world.the_tenant(), suspended=True)
    delete(handbook)

    await world.knows()

    assert (exists(world), world.knowledge.forgotten) == (False, ["handbook"])


async def test_vectors_elsewhere_wait_until_a_suspended_tenant_goes_on(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.edit(world.the_tenant(), suspended=True)
    delete(handbook)

    await world.knows()
    assert exists(world)
    assert "suspended" in world.message(world.the_knowledge_base(), "Ready")

    world.edit(world.the_tenant(), suspended=False)
    await world.knows()
    assert list_jobs(world) == [ERASE]
    assert mounted_secrets(world) == ["p"]


async def test_store_that_is_away_holds_the_object_and_says_so(world: World, handbook: Manifest) -> None:
    end_syncs(world)
    world.cluster.remove(TENANTS, None, "acme")
    world.knowledge.is_away = True
    delete(handbook)

    with pytest.raises(StoreUnavailable):
        await world.knows()
    assert "PostgreSQL does not answer" in world.message(world.the_knowledge_base(), "Ready")

    world.the_knowledge_base()["metadata"]["annotations"][names.ABANDON_KNOWLEDGE_ANNOTATION] = "true"
    await world.knows()
    assert not exists(world)


async def test_tenant_that_is_erased_takes_its_knowledge_bases_first(world: World, handbook: Manifest) -> None:
    end_syncs(world)
    world.edit(world.the_tenant(), deletionPolicy="Delete")
    delete(world.the_tenant())
    # Like an API server, which waits for finalizers.
    await delete_tenant(world)

    assert "KnowledgeBases" in world.message(world.the_tenant(), "Ready")
    assert world.stores.erased == set()
    await world.knows()
    assert (exists(world), world.knowledge.forgotten, list_jobs(world)) == (False, [], [])
    await world.tenant()
    assert len(world.stores.erased) == 1


async def test_tenant_that_is_erased_waits_for_vectors_elsewhere(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.edit(world.the_tenant(), deletionPolicy="Delete")
    delete(world.the_tenant())
    await delete_tenant(world)

    await world.knows()
    assert list_jobs(world) == [ERASE]
    await world.tenant()
    assert world.stores.erased == set()

    finish_erasure(world)
    await world.knows()
    await world.tenant()
    assert len(world.stores.erased) == 1
    assert told_left(world) == []


async def test_tenant_that_is_erased_says_what_its_knowledge_bases_wait_for(world: World, handbook: Manifest) -> None:
    await use_pinecone(world)
    world.edit(world.the_tenant(), deletionPolicy="Delete", suspended=True)
    delete(world.the_tenant())
    await delete_tenant(world)
    await world.knows()

    await world.tenant()

    message = world.message(world.the_tenant(), "Ready")
    assert "KnowledgeBase 'handbook': Its vectors in Pinecone" in message
    assert "suspended" in message
    assert f"{names.ABANDON_KNOWLEDGE_ANNOTATION}=true" in message
    assert world.stores.erased == set()


async def test_tenant_that_is_erased_tells_of_vectors_whose_knowledge_base_is_gone(
    world: World, handbook: Manifest
) -> None:
    """It was given up, or went with a namespace that was deleted before."""
    await use_pinecone(world)
    world.cluster.remove(KNOWLEDGE_BASES, "acme", "handbook")
    world.edit(world.the_tenant(), deletionPolicy="Delete")
    delete(world.the_tenant())

    await world.tenant()

    assert len(world.stores.erased) == 1
    assert told_left(world) == [("Warning", True)]


async def test_tenant_that_is_kept_ends_the_syncs_of_its_knowledge_bases(world: World, handbook: Manifest) -> None:
    """Their pods could not log in any more, and the operator would have no right to end them."""
    delete(world.the_tenant())

    await world.tenant()
    assert world.stores.released == set()
    assert "Jobs of KnowledgeBases are being ended" in world.message(world.the_tenant(), "Ready")

    end_deleted(world)
    await world.tenant()
    assert len(world.stores.released) == 1
    assert exists(world)
    assert world.cluster.list_names(kube.CRON_JOBS, "acme") == []


def label_namespace(world: World, name: str) -> None:
    """Have another namespace say that it is the Tenant's."""
    labels = {names.TENANT_LABEL: "acme"}
    world.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def end_syncs(world: World) -> None:
    """Have no Job and no schedule any more."""
    for resource in (kube.JOBS, kube.CRON_JOBS):
        for name in world.cluster.list_names(resource, "acme"):
            world.cluster.remove(resource, "acme", name)


async def use_pinecone(world: World) -> None:
    """Have the vectors elsewhere, and everything synced."""
    world.cluster.put_secret("acme", "p", "k")
    world.edit(world.the_tenant(), stores=PINECONE)
    await world.tenant()
    await world.knows()
    end_syncs(world)
    world.knowledge.vectors["handbook"] = [PLACE]


async def use_postgresql(world: World) -> None:
    """Have the vectors of the next index in PostgreSQL, while those of the one before are where they are."""
    world.edit(world.the_tenant(), stores=None)
    await world.tenant()
    await world.knows()
    end_syncs(world)


def finish_erasure(world: World) -> None:
    """Do what the Job does, and let runtimes follow."""
    world.knowledge.vectors.clear()
    world.cluster.finish_job("acme", ERASE)
    pass_on(world)


def mounted_secrets(world: World) -> list[str]:
    """Names of the Secrets that the erasure reads."""
    volumes = world.cluster.get(kube.JOBS, "acme", ERASE)["spec"]["template"]["spec"]["volumes"]
    [secrets] = [volume["projected"] for volume in volumes if volume["name"] == "secrets"]
    return [source["secret"]["name"] for source in secrets["sources"]]


def told_left(world: World) -> list[tuple[str, bool]]:
    """The events that tell of vectors which stay, and whether each says where."""
    return [(one.type, TOLD in one.message) for one in world.cluster.events if one.reason == "VectorsLeft"]


async def delete_tenant(world: World) -> None:
    """Have the Tenant ask for its members' deletion, which their finalizers hold."""
    kept: dict[str, Any] = {name_of(one): one for one in world.cluster.knowledge_bases("acme")}
    await world.tenant()
    for name, manifest in kept.items():
        if name not in world.cluster.list_names(KNOWLEDGE_BASES, "acme"):
            world.cluster.put(manifest)
            delete(world.the_knowledge_base(name))
